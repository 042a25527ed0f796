//! The JSON that RocketMQ's bodies are written in: fastjson's dialect.
//!
//! ```text
//! {"brokerAddrs":{0:"ip:10911"}}                                    numeric keys are not quoted
//! {"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:10}}   an object may be a key
//! ```
//!
//! Keys are in alphabetical order, absent members are left out, doubles look like Java's (`1.0E7`). Writing is exact
//! to the byte; [`Keys::Quoted`] is the form for peers that read standard JSON only.
//!
//! Reading is generous, because clients differ: both key forms, enums by name or ordinal, numbers as strings and strings
//! as numbers, missing and null members as defaults, `{"$ref":"$.path"}` resolved. Depth, size and growth are bounded.
//!
//! Not here: the bodies themselves (`body`), headers, which have a reader of their own (`header`).

mod parse;
mod read;
mod write;

pub use parse::DEPTH_MAX;
pub use parse::JsonError;
pub use parse::NODES_MAX;
pub use parse::parse;
pub use read::from_slice;
pub use read::from_value;
pub use write::Keys;
pub use write::to_string;
pub use write::to_vec;

#[cfg(test)]
mod tests;
