//! CONSUMER_SEND_MSG_BACK (36): a consumer could not process a message.
//!
//! What becomes of it is decided by [`retry`]; it is appended with the rest of the turn, so a consumer that got the
//! answer may commit past the message: its copy is as durable as a send's.

use std::sync::Arc;

use crate::broker::answer::ReplyTo;
use crate::broker::core::Core;
use crate::broker::handler::send::Draft;
use crate::broker::properties;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::unit::Kind;
use crate::broker::unit::Staged;
use crate::broker::unit::Unit;
use crate::machine::retry;
use crate::machine::retry::Outcome;
use crate::protocol::command::send::SendBack;
use crate::protocol::ids;
use crate::protocol::properties::name;
use crate::protocol::record::RecordView;

pub(crate) fn stage(core: &Arc<Core>, request: &Request, unit: &mut Unit) -> Result<(), Refusal> {
    let back = SendBack::decode(&request.frame.header)?;
    let stored = core.store.record_at(back.offset)?.ok_or_else(|| {
        Refusal::Missing(format!("there is no message at commit log offset {}", back.offset.0))
    })?;
    let view = RecordView::decode(&stored).map_err(|error| {
        Refusal::Missing(format!("there is no message at commit log offset {}: {error}", back.offset.0))
    })?;
    let text = std::str::from_utf8(view.properties)
        .map_err(|_| Refusal::Illegal("the stored message's properties are not UTF-8".to_owned()))?;
    let message_id = ids::offset_message_id(view.store_host, view.physical);
    let asked = retry::SendBack {
        group: &back.group,
        delay_level: back.delay_level,
        client_max: back.max_reconsume_times,
        client_version: request.frame.header.version,
        reconsume_times: view.reconsume_times,
        topic: view.topic,
        retry_topic: properties::property(text, name::RETRY_TOPIC),
        origin_message_id: properties::property(text, name::ORIGIN_MESSAGE_ID),
        message_id: &message_id,
        draw: core.draw(),
    };
    let outcome = retry::send_back(&asked, core.group_retry(&back.group))
        .map_err(|error| Refusal::Retry { group: back.group.clone(), error })?;
    let to = ReplyTo::request(&request.frame.header);
    let mut draft = Draft::copy_of(core, &stored, &view, text);
    match outcome {
        Outcome::Retry { topic, queue, delay_level, reconsume_times, edits } => {
            draft.topic = core.retry_topic(&topic);
            draft.queue = queue;
            draft.reconsume_times = reconsume_times;
            draft.edits.extend(edits);
            draft.delay_level = i64::from(delay_level);
        }
        Outcome::DeadLetter { topic, queue, reconsume_times, edits } => {
            draft.topic = core.dead_letter_topic(&topic);
            draft.queue = queue;
            draft.reconsume_times = reconsume_times;
            draft.edits.extend(edits);
        }
        Outcome::Dropped | Outcome::Store => {
            unit.stage(Staged { to, kind: Kind::SendBack, wait: false, records: 0 }, []);
            return Ok(());
        }
    }
    let record = draft.into_record(core, &mut unit.scratch);
    unit.stage(Staged { to, kind: Kind::SendBack, wait: true, records: 1 }, [record]);
    Ok(())
}
