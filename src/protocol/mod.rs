//! Bytes to types and back: frames, headers, bodies, message records. Pure: no clock, no I/O, no task.
//!
//! ```text
//! frame     header (json | binary) + body, cut out of a stream
//! code      what a header's number means
//! ext       a header's named fields, as slices of the frame
//! command   the typed form of those fields, one type per code
//! body      JSON bodies in fastjson's dialect
//! message   what a client sends and receives; record is what the log stores
//! ```
//!
//! Strangers' bytes are parsed into types or refused with an error that names what was wrong; they never panic and never
//! allocate without bound.

pub mod batch;
pub mod body;
pub mod code;
pub mod command;
pub mod compress;
pub mod ext;
pub mod fastjson;
pub mod frame;
pub mod header;
pub mod ids;
pub mod message;
pub mod names;
pub mod number;
mod plain;
pub mod properties;
pub mod properties_file;
pub mod record;
pub mod subscription;
pub mod sysflag;
pub mod text;

pub use code::Language;
pub use code::RequestCode;
pub use code::ResponseCode;
pub use ext::Ext;
pub use frame::Frame;
pub use frame::FrameError;
pub use header::Encoding;
pub use header::Header;
pub use message::Message;
pub use message::ReceivedMessage;
pub use properties::Properties;
pub use text::Text;

#[cfg(test)]
pub(crate) mod fixtures;
