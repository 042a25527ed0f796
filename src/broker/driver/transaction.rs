//! Carries out what the transaction machine asks for: appends, checks, answers.
//!
//! Effects gather while an append waits for the disk; the next turn appends all of them as one unit, so decisions
//! share their syncs as sends do.

use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::answer::ReplyTo;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::handler::send::Draft;
use crate::broker::planted;
use crate::broker::properties;
use crate::broker::refusal::Refusal;
use crate::machine::ids::ConnectionId;
use crate::machine::transaction;
use crate::machine::transaction::Effect;
use crate::machine::transaction::HalfRecord;
use crate::machine::transaction::Op;
use crate::protocol::code::RequestCode;
use crate::protocol::command::transaction::CheckTransactionState;
use crate::protocol::header::Header;
use crate::protocol::ids;
use crate::protocol::properties::name;
use crate::protocol::record;
use crate::protocol::record::NewRecord;
use crate::protocol::record::RecordView;
use crate::protocol::sysflag;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::store::Appended;
use crate::store::ReadError;

/// Who waits for an END_TRANSACTION to be settled.
pub(crate) struct Waiter {
    pub(crate) to: ReplyTo,
    pub(crate) connection: Arc<Connection>,
}

pub(crate) type Effects = Vec<Effect<Waiter>>;

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let mut effects = std::mem::take(&mut *core.transaction_effects.lock());
        core.transactions.lock().on_timer(core.env.now(), &mut effects);
        if !effects.is_empty() {
            carry_out(&core, effects).await;
            continue;
        }
        let deadline = core.transactions.lock().next_deadline().unwrap_or(Mono::NEVER);
        let timer = core.env.clock.sleep_until(deadline);
        let asked = core.wake.transactions.notified();
        tokio::select! {
            biased;
            () = asked => {}
            () = timer => {}
        }
    }
}

/// The half message that was appended as `record` at `at`, for the machine.
pub(crate) fn half_record(record: &NewRecord, at: &Appended) -> HalfRecord {
    let text = std::str::from_utf8(&record.properties).unwrap_or_default();
    HalfRecord::read(at.queue_offset, at.physical, at.store_at, |name| properties::property(text, name))
}

/// An append under way, and whom to tell.
enum Appending {
    Real { origin: QueueOffset },
    Discard { origin: QueueOffset },
    Carry { origin: QueueOffset },
    Op,
}

async fn carry_out(core: &Arc<Core>, effects: Effects) {
    let mut records = Vec::new();
    let mut appending = Vec::new();
    let mut next = Vec::new();
    for effect in effects {
        let (what, physical, record) = match effect {
            Effect::AppendReal { origin, physical, .. } => {
                (Appending::Real { origin }, physical, real(core, physical))
            }
            Effect::AppendDiscard { origin, physical } => {
                (Appending::Discard { origin }, physical, discard(core, physical))
            }
            Effect::Carry { origin, physical, checks } => {
                (Appending::Carry { origin }, physical, carried(core, physical, origin, checks))
            }
            Effect::AppendOp { op } => {
                let lost = core.env.planted(planted::LOSE_OP_RECORD) && matches!(op, Op::Settled(_));
                let op = if lost { Op::Settled(Vec::new()) } else { op };
                records.push(op_record(core, &op));
                appending.push(Appending::Op);
                continue;
            }
            Effect::Check { origin, record, physical, group } => {
                check(core, origin, record, physical, &group, &mut next);
                continue;
            }
            Effect::Confirm { origin, connection, since, group } => {
                confirm(core, origin, connection, since, &group, &mut next);
                continue;
            }
            Effect::Answer { token, result } => {
                answer(token, result);
                continue;
            }
            Effect::Advance { half, op } => {
                core.advance_transactions(half, op);
                continue;
            }
        };
        match record {
            Ok(record) => {
                records.push(record);
                appending.push(what);
            }
            Err(Unreadable::Later) => failed(core, &what, &mut next),
            Err(Unreadable::Never(reason)) => {
                tracing::error!(%physical, reason, "a half message cannot be read; it is set aside");
                unreadable(core, &what, &mut next);
            }
        }
    }
    append(core, records, appending, &mut next).await;
    core.transaction_effects.lock().append(&mut next);
}

async fn append(core: &Arc<Core>, records: Vec<NewRecord>, appending: Vec<Appending>, next: &mut Effects) {
    if records.is_empty() {
        return;
    }
    match core.append_promised(&records).await {
        Ok(appended) => {
            let now = core.env.now();
            for (what, at) in appending.iter().zip(&appended) {
                let mut transactions = core.transactions.lock();
                match what {
                    Appending::Real { origin } => transactions.on_real_appended(*origin, next),
                    Appending::Discard { origin } => transactions.on_discard_appended(*origin, next),
                    Appending::Carry { origin } => {
                        transactions.on_carried(now, *origin, at.queue_offset, at.physical, next);
                    }
                    Appending::Op => transactions.on_op_appended(now, at.queue_offset, next),
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "transactions wait: their records cannot be stored");
            for what in &appending {
                failed(core, what, next);
            }
        }
    }
}

fn failed(core: &Core, what: &Appending, next: &mut Effects) {
    let now = core.env.now();
    let mut transactions = core.transactions.lock();
    match what {
        Appending::Real { origin } | Appending::Discard { origin } | Appending::Carry { origin } => {
            transactions.on_append_failed(now, *origin, next);
        }
        Appending::Op => transactions.on_op_failed(now),
    }
}

fn unreadable(core: &Core, what: &Appending, next: &mut Effects) {
    match what {
        Appending::Real { origin } | Appending::Discard { origin } | Appending::Carry { origin } => {
            core.transactions.lock().on_unreadable(*origin, next);
        }
        Appending::Op => unreachable!("an op record is made, not read"),
    }
}

/// Why a half message's record was not had.
enum Unreadable {
    /// It is not visible yet, or the disk failed to give it: try again.
    Later,
    Never(String),
}

/// A half message's record, and its properties as text.
fn with_half<T>(
    core: &Core,
    physical: PhysicalOffset,
    make: impl FnOnce(&Bytes, &RecordView<'_>, &str) -> Result<T, String>,
) -> Result<T, Unreadable> {
    let never = |error: &dyn std::fmt::Display| Unreadable::Never(error.to_string());
    let stored = match core.store.record_at(physical) {
        Ok(Some(stored)) => stored,
        Ok(None) if physical >= core.store.durable() => return Err(Unreadable::Later),
        Ok(None) => return Err(Unreadable::Never("its record is gone".to_owned())),
        // The disk may give tomorrow what it refuses today; a half that is set aside for that would be lost.
        Err(ReadError::Io { .. }) => return Err(Unreadable::Later),
        Err(error) => return Err(never(&error)),
    };
    let view = RecordView::decode(&stored).map_err(|error| never(&error))?;
    view.verify_body().map_err(|error| never(&error))?;
    let text = std::str::from_utf8(view.properties).map_err(|error| never(&error))?;
    make(&stored, &view, text).map_err(Unreadable::Never)
}

fn real(core: &Core, physical: PhysicalOffset) -> Result<NewRecord, Unreadable> {
    with_half(core, physical, |stored, view, text| {
        let form = real_form(text)?;
        let mut draft = Draft::copy_of(core, stored, view, text);
        draft.topic = core.intern(&form.topic);
        draft.queue = form.queue;
        draft.edits = form.edits;
        draft.sys_flag = sysflag::with_transaction(view.sys_flag, sysflag::TRANSACTION_COMMIT);
        draft.prepared_transaction_offset = i64::try_from(physical.0).unwrap_or(i64::MAX);
        Ok(draft.into_record(core, &mut BytesMut::new()))
    })
}

fn discard(core: &Core, physical: PhysicalOffset) -> Result<NewRecord, Unreadable> {
    with_half(core, physical, |stored, view, text| {
        let mut draft = Draft::copy_of(core, stored, view, text);
        draft.topic = core.discard_topic();
        draft.queue = QueueId(0);
        Ok(draft.into_record(core, &mut BytesMut::new()))
    })
}

fn carried(
    core: &Core,
    physical: PhysicalOffset,
    origin: QueueOffset,
    checks: u32,
) -> Result<NewRecord, Unreadable> {
    with_half(core, physical, |stored, view, text| {
        let mut draft = Draft::copy_of(core, stored, view, text);
        draft.edits = transaction::carried_form(origin, checks);
        Ok(draft.into_record(core, &mut BytesMut::new()))
    })
}

fn op_record(core: &Core, op: &Op) -> NewRecord {
    let now = core.env.wall();
    let mut block = BytesMut::new();
    properties::put(name::TAGS, op.tag(), &mut block);
    let block = block.freeze();
    NewRecord {
        topic: core.intern(transaction::OP_TOPIC),
        queue: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at: now,
        born_host: core.host,
        store_host: core.host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from(op.body()),
        tags_code: record::tags_code(&block),
        properties: block,
    }
}

/// Asks one live member of the producer group what became of its half message.
fn check(
    core: &Arc<Core>,
    origin: QueueOffset,
    half: QueueOffset,
    physical: PhysicalOffset,
    group: &str,
    next: &mut Effects,
) {
    let now = core.env.now();
    let Some(producer) = core.live_producer(group) else {
        tracing::debug!(group, "no live producer to ask about a half message");
        return core.transactions.lock().on_check_undeliverable(now, origin, next);
    };
    match with_half(core, physical, |stored, view, text| question(core, half, stored, view, text)) {
        Ok((header, body)) => {
            producer.send_frame(&header, body);
            let connection = ConnectionId(producer.id().0);
            core.transactions.lock().on_check_sent(now, origin, connection, next);
        }
        Err(Unreadable::Later) => core.transactions.lock().on_check_undeliverable(now, origin, next),
        Err(Unreadable::Never(reason)) => {
            tracing::error!(%physical, reason, "a half message cannot be read; it is set aside");
            core.transactions.lock().on_unreadable(origin, next);
        }
    }
}

/// Whether who was asked has been heard of since. A connection that only this side believes in brings no heartbeat.
fn confirm(
    core: &Core,
    origin: QueueOffset,
    connection: ConnectionId,
    since: Mono,
    group: &str,
    next: &mut Effects,
) {
    let now = core.env.now();
    let heard = core.members.lock().producer_heard_since(group, connection, since);
    let mut transactions = core.transactions.lock();
    if heard {
        transactions.on_check_delivered(now, origin, next);
    } else {
        tracing::debug!(group, %origin, "nobody knows whether a check arrived; it is made again");
        transactions.on_check_undeliverable(now, origin, next);
    }
}

/// CHECK_TRANSACTION_STATE with the half message, its own topic and queue restored.
fn question(
    core: &Core,
    half: QueueOffset,
    stored: &Bytes,
    view: &RecordView<'_>,
    text: &str,
) -> Result<(Header, Bytes), String> {
    let form = real_form(text)?;
    let mut block = BytesMut::new();
    properties::rewrite(text, &[], &mut block);
    let message = NewRecord {
        topic: core.intern(&form.topic),
        queue: form.queue,
        flag: view.flag,
        sys_flag: view.sys_flag,
        born_at: view.born_at,
        born_host: view.born_host,
        store_host: view.store_host,
        reconsume_times: view.reconsume_times,
        prepared_transaction_offset: view.prepared_transaction_offset,
        body: stored.slice_ref(view.body),
        tags_code: 0,
        properties: block.freeze(),
    };
    let mut body = vec![0; record::encoded_len(&message).map_err(|error| error.to_string())?];
    record::encode_into(&message, view.queue_offset, view.physical, view.store_at, &mut body);
    let unique = properties::property(text, "UNIQ_KEY").map(str::to_owned);
    let fields = CheckTransactionState {
        topic: Some(form.topic),
        tran_state_table_offset: i64::try_from(half.0).unwrap_or(i64::MAX),
        commit_log_offset: view.physical,
        msg_id: unique.clone(),
        transaction_id: unique,
        offset_msg_id: Some(ids::offset_message_id(view.store_host, view.physical)),
        broker_name: Some(core.config.broker_name.clone()),
    };
    let mut header = Header::request(RequestCode::CheckTransactionState).oneway();
    fields.encode(&mut header.ext);
    Ok((header, Bytes::from(body)))
}

fn real_form(text: &str) -> Result<transaction::RealForm, String> {
    let topic = properties::property(text, name::REAL_TOPIC);
    let queue = properties::property(text, name::REAL_QUEUE_ID);
    transaction::real_form(topic, queue).map_err(|error| error.to_string())
}

fn answer(waiter: Waiter, result: Result<transaction::Ended, transaction::EndError>) {
    let response = match result {
        Ok(_) => Response::ok(),
        Err(error) => Response::from(Refusal::Transaction(error)),
    };
    let mut replies = Replies::default();
    waiter.to.answer(response, &mut replies);
    waiter.connection.send(&mut replies);
}
