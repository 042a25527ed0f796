//! Stored messages by what they are called: QUERY_MESSAGE (12) by key, VIEW_MESSAGE_BY_ID (33) by place in the commit log.

use std::sync::Arc;

use crate::broker::answer::Answer;
use crate::broker::answer::Body;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::query::QueryMessage;
use crate::protocol::command::query::QueryMessageReply;
use crate::protocol::command::query::ViewMessage;
use crate::store::KeyKind;
use crate::store::KeyQuery;

/// Most messages that share a unique id, as RocketMQ answers them (`defaultQueryMaxNum`).
const UNIQUE_MESSAGES_MAX: usize = 32;

/// `indexType` is K, U or T; a client of before 5.5 sends `_UNIQUE_KEY_QUERY` for U. As RocketMQ, nothing found is
/// QUERY_NOT_FOUND, and an unknown type is a key.
pub(crate) fn by_key(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = QueryMessage::decode(&request.frame.header)?;
    let kind = match asked.index_type.as_deref() {
        _ if asked.unique_key_query => KeyKind::Unique,
        Some("U") => KeyKind::Unique,
        Some("T") => KeyKind::Tags,
        _ => KeyKind::Key,
    };
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let max = usize::try_from(asked.max_num).unwrap_or(0);
        let found = core.store.query(KeyQuery {
            topic: &asked.topic,
            kind,
            key: &asked.key,
            max: if asked.unique_key_query { UNIQUE_MESSAGES_MAX } else { max },
            begin: asked.begin_timestamp,
            end: asked.end_timestamp,
        });
        let found = found.await?;
        if found.records.is_empty() {
            let response = Response::code(ResponseCode::QueryNotFound);
            return Ok(response.with_remark("can not find message, maybe time range not correct"));
        }
        let mut response = Response::ok();
        let reply = QueryMessageReply {
            index_last_update_timestamp: found.indexed_at,
            index_last_update_offset: found.indexed,
        };
        reply.encode(&mut response.ext);
        response.body = Body::Slices(found.records);
        Ok(response)
    })))
}

pub(crate) fn view_by_id(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = ViewMessage::decode(&request.frame.header)?;
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let Some(record) = core.store.view(asked.offset).await? else {
            let offset = asked.offset.0;
            return Err(Refusal::Missing(format!("can not find message by the offset, {offset}")));
        };
        let mut response = Response::ok();
        response.body = Body::Slices(vec![record]);
        Ok(response)
    })))
}
