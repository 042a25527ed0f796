//! VIEW_MESSAGE_BY_ID (33): one stored message by its place in the commit log.

use std::sync::Arc;

use crate::broker::answer::Answer;
use crate::broker::answer::Body;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::protocol::command::query::ViewMessage;

pub(crate) fn view_by_id(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = ViewMessage::decode(&request.frame.header)?;
    let Some(record) = core.store.record_at(asked.offset)? else {
        let offset = asked.offset.0;
        return Err(Refusal::Missing(format!("can not find message by the offset, {offset}")));
    };
    let mut response = Response::ok();
    response.body = Body::Slices(vec![record]);
    Ok(Answer::Now(response))
}
