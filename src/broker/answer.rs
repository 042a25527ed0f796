//! What a handler says, and how it becomes a frame.

use bytes::Bytes;

use crate::broker::refusal::Refusal;
use crate::env::BoxFuture;
use crate::protocol::code::ResponseCode;
use crate::protocol::ext::Ext;
use crate::protocol::header::Header;
use crate::protocol::text::Text;
use crate::remoting::Replies;

/// A handler's word on one request.
#[expect(
    clippy::large_enum_variant,
    reason = "an answer carries its fields inline, so that replying allocates nothing"
)]
pub(crate) enum Answer {
    /// Nothing to wait for.
    Now(Response),
    /// I/O first. The connection serves other requests meanwhile.
    Later(BoxFuture<'static, Result<Response, Refusal>>),
    /// Parked: whoever holds the request answers it.
    Held,
}

/// Where an answer goes: the request without its content. Kept while a request waits.
pub(crate) struct ReplyTo {
    header: Header,
    oneway: bool,
}

/// The content of a response, before it has the opaque number and encoding of its request.
pub(crate) struct Response {
    pub(crate) code: ResponseCode,
    pub(crate) remark: Option<Text>,
    pub(crate) ext: Ext,
    pub(crate) body: Body,
}

#[derive(Default)]
pub(crate) enum Body {
    #[default]
    None,
    Bytes(Bytes),
    /// Slices of the commit log, sent as they are.
    Slices(Vec<Bytes>),
}

impl Response {
    pub(crate) fn ok() -> Response {
        Response::code(ResponseCode::Success)
    }

    pub(crate) fn code(code: ResponseCode) -> Response {
        Response { code, remark: None, ext: Ext::default(), body: Body::None }
    }

    pub(crate) fn with_body(body: impl Into<Bytes>) -> Response {
        Response { body: Body::Bytes(body.into()), ..Response::ok() }
    }

    pub(crate) fn with_remark(mut self, remark: impl Into<Text>) -> Response {
        self.remark = Some(remark.into());
        self
    }
}

impl ReplyTo {
    pub(crate) fn request(request: &Header) -> ReplyTo {
        ReplyTo { header: Header::response_to(request, ResponseCode::Success), oneway: request.is_oneway() }
    }

    /// Queues the frame that answers the request; a oneway request gets none.
    pub(crate) fn answer(self, response: Response, replies: &mut Replies) {
        if self.oneway {
            return;
        }
        let mut header = self.header;
        header.code = response.code.number();
        header.remark = response.remark;
        header.ext = response.ext;
        match response.body {
            Body::None => replies.push(&header, Bytes::new()),
            Body::Bytes(bytes) => replies.push(&header, bytes),
            Body::Slices(slices) => {
                let len = slices.iter().map(Bytes::len).sum();
                replies.push_slices(&header, len, slices);
            }
        }
    }
}
