//! What a handler answers, before it is a frame.

use bytes::Bytes;

use crate::protocol::Ext;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::ResponseCode;
use crate::protocol::command::FieldError;

/// When an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now,
    /// Once the key-value file holds what the request changed.
    KvSaved,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    pub(super) remark: Option<String>,
    pub(super) ext: Ext,
    pub(super) body: Bytes,
    pub(super) when: When,
}

/// Errors are answers too; this lets a handler use `?` on a missing field.
pub(super) type Handled = Result<Answer, Box<Answer>>;

impl Answer {
    pub(super) fn ok() -> Answer {
        Answer::code(ResponseCode::Success)
    }

    pub(super) fn refused(code: ResponseCode, remark: impl Into<String>) -> Box<Answer> {
        Box::new(Answer { remark: Some(remark.into()), ..Answer::code(code) })
    }

    /// RocketMQ's words for a code that a server does not know.
    pub(super) fn not_supported(number: i32) -> Box<Answer> {
        let remark = format!(" request type {number} not supported");
        Answer::refused(ResponseCode::RequestCodeNotSupported, remark)
    }

    /// A code that RocketMQ knows and that is of no name server, or not of this one.
    pub(super) fn not_served(code: RequestCode) -> Box<Answer> {
        Answer::not_supported(code.number())
    }

    pub(super) fn with_body(mut self, body: impl Into<Bytes>) -> Answer {
        self.body = body.into();
        self
    }

    pub(super) fn with_ext(mut self, write: impl FnOnce(&mut Ext)) -> Answer {
        write(&mut self.ext);
        self
    }

    pub(super) fn once_saved(mut self) -> Answer {
        self.when = When::KvSaved;
        self
    }

    pub(super) fn into_frame(self, request: &Header) -> (Header, Bytes) {
        let mut header = Header::response_to(request, self.code);
        if let Some(remark) = self.remark {
            header = header.with_remark(remark);
        }
        header.ext = self.ext;
        (header, self.body)
    }

    fn code(code: ResponseCode) -> Answer {
        Answer { code, remark: None, ext: Ext::default(), body: Bytes::new(), when: When::Now }
    }
}

impl From<FieldError> for Box<Answer> {
    fn from(error: FieldError) -> Box<Answer> {
        Answer::refused(ResponseCode::SystemError, error.to_string())
    }
}
