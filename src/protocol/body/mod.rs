//! The JSON bodies of requests and answers, one type each.
//!
//! Every member has a default, because some client leaves it out; members are declared in alphabetical order of their wire
//! names, because that is how they are written. [`Body`] reads and writes them in fastjson's dialect.
//!
//! Not here: the dialect (`fastjson`), header fields (`command`).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::fastjson;
use crate::protocol::fastjson::JsonError;
use crate::protocol::fastjson::Keys;

mod enums;

pub mod config;
pub mod connection;
pub mod group;
pub mod heartbeat;
pub mod offset;
pub mod queue;
pub mod registration;
pub mod route;
pub mod running;
pub mod stats;
pub mod topic;

pub use enums::ConsumeFromWhere;
pub use enums::ConsumeType;
pub use enums::DirectResult;
pub use enums::MessageModel;
pub use queue::MessageQueue;

/// A JSON body.
pub trait Body: Serialize + DeserializeOwned {
    /// Reads a body, however the peer writes it. No bytes at all are an empty object.
    fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        let nothing = bytes.iter().all(u8::is_ascii_whitespace);
        fastjson::from_slice(if nothing { b"{}" } else { bytes })
    }

    /// The body as Java's servers and clients write it.
    fn encode(&self) -> Vec<u8> {
        fastjson::to_vec(self, Keys::Bare)
    }

    /// The body for parsers of standard JSON.
    fn encode_standard(&self) -> Vec<u8> {
        fastjson::to_vec(self, Keys::Quoted)
    }
}

impl<T: Serialize + DeserializeOwned> Body for T {}

#[cfg(test)]
mod tests;
