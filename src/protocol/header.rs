//! [`Header`]: what is in front of a frame's body, whichever of the two encodings it came in.
//!
//! ```text
//! flag bit 0   response: `opaque` is that of the request, `code` a response code
//! flag bit 1   oneway: nothing is ever sent back
//! ```
//!
//! Both ends of a connection ask and answer, each with its own `opaque` counter: look at bit 0 before matching one.
//!
//! Not here: typed request and response headers (`command`), length framing (`frame`).

mod binary;
mod json;

use bytes::BytesMut;

use crate::protocol::code::Language;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::code::version;
use crate::protocol::ext::Ext;
use crate::protocol::text::Text;

const RESPONSE: i32 = 1;
const ONEWAY: i32 = 2;

/// The header of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// A [`RequestCode`] or, in a response, a [`ResponseCode`]; unknown numbers are kept.
    pub code: i32,
    pub language: Language,
    /// An ordinal of [`version`].
    pub version: i32,
    /// Chosen by the asker, copied by the answerer.
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<Text>,
    pub ext: Ext,
    /// How it arrived, or how it is to be written.
    pub encoding: Encoding,
}

/// The two forms of a header on the wire. Every client understands both, frame by frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Json,
    /// RocketMQ's own, `serializeType` 1. Its code is 16 bits wide.
    Binary,
}

/// Why a header was not understood. The frame around it is intact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("header: expected {expected} at byte {at}")]
    Syntax { expected: &'static str, at: usize },
    #[error("header: {field} is not a 32-bit number")]
    Number { field: &'static str },
    #[error("header: more than {fields_max} ext fields")]
    Fields { fields_max: usize },
    #[error("header: {what} claims {claimed} bytes where {left} are left")]
    Length { what: &'static str, claimed: i64, left: usize },
}

impl Header {
    /// A request of ours. The caller sets `opaque` when it is sent.
    pub fn request(code: RequestCode) -> Header {
        Header {
            code: code.number(),
            language: Language::Rust,
            version: version::CURRENT,
            opaque: 0,
            flag: 0,
            remark: None,
            ext: Ext::default(),
            encoding: Encoding::Json,
        }
    }

    /// The answer to `request`, in its encoding.
    ///
    /// Its language is JAVA: it is the one name that every client's parser knows, and replies from Apache's servers
    /// carry it.
    pub fn response_to(request: &Header, code: ResponseCode) -> Header {
        Header {
            code: code.number(),
            language: Language::Java,
            version: version::CURRENT,
            opaque: request.opaque,
            flag: RESPONSE,
            remark: None,
            ext: Ext::default(),
            encoding: request.encoding,
        }
    }

    pub fn with_remark(mut self, remark: impl Into<Text>) -> Header {
        self.remark = Some(remark.into());
        self
    }

    pub fn oneway(mut self) -> Header {
        self.flag |= ONEWAY;
        self
    }

    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }

    /// What is asked; `None` in a response or for a code nobody knows.
    pub fn request_code(&self) -> Option<RequestCode> {
        if self.is_response() { None } else { RequestCode::from_i32(self.code) }
    }

    /// How it ended; `None` in a request or for a code nobody knows.
    pub fn response_code(&self) -> Option<ResponseCode> {
        if self.is_response() { ResponseCode::from_i32(self.code) } else { None }
    }

    /// The remark, or nothing.
    pub fn remark_text(&self) -> &str {
        self.remark.as_ref().map_or("", Text::as_str)
    }

    /// Reads a header in the given encoding. JSON is unescaped in place, so the bytes are consumed.
    pub fn decode(encoding: Encoding, bytes: BytesMut) -> Result<Header, HeaderError> {
        match encoding {
            Encoding::Json => json::decode(bytes),
            Encoding::Binary => binary::decode(bytes.freeze()),
        }
    }

    /// Appends the header to `out` and says which encoding it took: codes beyond 16 bits only exist in JSON.
    pub fn write(&self, out: &mut BytesMut) -> Encoding {
        match (self.encoding, i16::try_from(self.code)) {
            (Encoding::Binary, Ok(code)) => {
                binary::write(self, code, out);
                Encoding::Binary
            }
            _ => {
                json::write(self, out);
                Encoding::Json
            }
        }
    }
}
