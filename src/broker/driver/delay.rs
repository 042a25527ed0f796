//! Carries out what the delay machine asks for: reads the level queues, appends what is due.

use std::sync::Arc;

use bytes::BytesMut;

use crate::base::Mono;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::core::Core;
use crate::broker::handler::send::Draft;
use crate::broker::properties;
use crate::machine::delay::Effect;
use crate::machine::delay::SCHEDULE_TOPIC;
use crate::machine::delay::Unit;
use crate::machine::delay::deliver_form;
use crate::protocol::properties::name;
use crate::protocol::record::NewRecord;
use crate::protocol::record::RecordView;
use crate::store::ReadError;
use crate::store::ReadLimits;
use crate::store::ReadStatus;

/// Bytes of one read of a level queue.
const READ_BYTES: usize = 1024 * 1024;

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut effects = Vec::new();
    loop {
        note_extended(&core, &mut effects);
        core.delay.lock().on_timer(core.env.now(), &mut effects);
        if !effects.is_empty() {
            let asked = std::mem::take(&mut effects);
            carry_out(&core, asked, &mut effects).await;
            continue;
        }
        let deadline = core.delay.lock().next_deadline().unwrap_or(Mono::NEVER);
        let timer = core.env.clock.sleep_until(deadline);
        let appended = core.wake.delay.notified();
        tokio::select! {
            biased;
            () = appended => {}
            () = timer => {}
        }
    }
}

fn note_extended(core: &Core, effects: &mut Vec<Effect>) {
    for queue in core.store.queues_of(SCHEDULE_TOPIC) {
        if let Some(bounds) = core.store.bounds(SCHEDULE_TOPIC, queue) {
            core.delay.lock().on_extended(queue.0 + 1, bounds.min, bounds.max, effects);
        }
    }
}

async fn carry_out(core: &Arc<Core>, asked: Vec<Effect>, effects: &mut Vec<Effect>) {
    let mut due = Vec::new();
    for effect in asked {
        match effect {
            Effect::Read { level, from, max } => read(core, level, from, max, effects).await,
            Effect::Deliver { level, unit } => due.push((level, unit)),
        }
    }
    deliver(core, due, effects).await;
}

async fn read(core: &Core, level: u32, from: QueueOffset, max: usize, effects: &mut Vec<Effect>) {
    let limits = ReadLimits { messages: max, bytes: READ_BYTES, scan: max };
    let read = core.store.read(SCHEDULE_TOPIC, QueueId(level - 1), from, &limits, &|_| true).await;
    let (units, next) = match read {
        Ok(read) => {
            let units: Vec<Unit> =
                read.records.iter().filter_map(|record| unit(core, level, record)).collect();
            let next =
                if read.status == ReadStatus::OffsetOverflowBadly { from } else { read.next.max(from) };
            (units, next)
        }
        Err(error) => {
            tracing::error!(%error, level, "cannot read a delay level");
            core.env.sleep_ms(core.config.flush_delay_offset_ms).await;
            (Vec::new(), from)
        }
    };
    let (now, wall) = (core.env.now(), core.env.wall());
    core.delay.lock().on_read(now, wall, level, &units, next, effects);
}

fn unit(core: &Core, level: u32, record: &[u8]) -> Option<Unit> {
    let view = RecordView::decode(record).ok()?;
    let deliver_at = core.deliver_at(level, view.store_at);
    let size = u32::try_from(view.total).ok()?;
    Some(Unit { offset: view.queue_offset, physical: view.physical, size, deliver_at })
}

/// Appends all that is due as one unit, waits until it is as durable as a send would be, reports.
async fn deliver(core: &Arc<Core>, due: Vec<(u32, Unit)>, effects: &mut Vec<Effect>) {
    let mut records = Vec::new();
    let mut appending = Vec::new();
    for (level, unit) in due {
        match delivered_form(core, &unit) {
            Ok(record) => {
                records.push(record);
                appending.push((level, unit));
            }
            Err(Undeliverable::Later(error)) => {
                tracing::warn!(level, offset = unit.offset.0, %error, "a delayed message waits: it cannot be read");
                core.delay.lock().on_failed(core.env.now(), level, unit.offset);
            }
            Err(Undeliverable::Never(reason)) => {
                tracing::error!(
                    level,
                    offset = unit.offset.0,
                    reason,
                    "a delayed message cannot be delivered"
                );
                core.delay.lock().on_delivered(core.env.now(), level, unit.offset, effects);
            }
        }
    }
    if records.is_empty() {
        return;
    }
    let stored = core.append_promised(&records).await;
    let now = core.env.now();
    let mut delay = core.delay.lock();
    for (level, unit) in appending {
        match &stored {
            Ok(_) => delay.on_delivered(now, level, unit.offset, effects),
            Err(_) => delay.on_failed(now, level, unit.offset),
        }
    }
    drop(delay);
    if let Err(error) = stored {
        tracing::warn!(%error, "delayed messages wait: they cannot be stored");
    }
}

/// Why a delayed message cannot be delivered now.
enum Undeliverable {
    /// The disk failed to give it; it may give it the next time.
    Later(ReadError),
    Never(String),
}

fn delivered_form(core: &Core, unit: &Unit) -> Result<NewRecord, Undeliverable> {
    let never = |error: &dyn std::fmt::Display| Undeliverable::Never(error.to_string());
    let stored = match core.store.record_at(unit.physical) {
        Ok(Some(stored)) => stored,
        Ok(None) => return Err(never(&"its record is gone")),
        Err(error @ ReadError::Io { .. }) => return Err(Undeliverable::Later(error)),
        Err(error) => return Err(never(&error)),
    };
    let view = RecordView::decode(&stored).map_err(|error| never(&error))?;
    let text = std::str::from_utf8(view.properties).map_err(|error| never(&error))?;
    let real_topic = properties::property(text, name::REAL_TOPIC);
    let form = deliver_form(real_topic, properties::property(text, name::REAL_QUEUE_ID))
        .map_err(|error| never(&error))?;
    let mut draft = Draft::copy_of(core, &stored, &view, text);
    draft.topic = core.intern(&form.topic);
    draft.queue = form.queue;
    draft.edits = form.edits;
    Ok(draft.into_record(core, &mut BytesMut::new()))
}
