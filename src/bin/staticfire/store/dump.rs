//! `staticfire store dump`: records of the log, or units of queue files, one a line.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use staticfire::env::Env;
use staticfire::protocol::properties::{name, pairs};
use staticfire::protocol::record::RecordView;
use staticfire::store::inspect::{ClosedStore, InspectError, Records, Seen, UnitSeen};

use super::text::instant;
use super::{failed, open};
use crate::args::{Dump, Output};
use crate::failure::Failure;
use crate::say;

/// # Errors
/// There is no store, a broker runs it, or a file cannot be read.
pub(super) async fn run(env: &Env, options: Dump) -> Result<ExitCode, Failure> {
    let closed = open(env, &options.store).await?;
    let dumped =
        if options.units { units(&closed, &options).await } else { records(&closed, &options).await };
    let damaged = dumped.map_err(failed(&options.store))?;
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// True when the log was damaged on the way.
async fn records(closed: &ClosedStore, options: &Dump) -> Result<bool, InspectError> {
    let mut lines = say::Lines::new();
    let mut walk = beginning(closed, options).await?;
    let (mut damaged, mut left) = (false, options.limit);
    while left > 0 {
        let Some(seen) = walk.next().await? else { break };
        let line = match &seen {
            Seen::Damage { at, why, next } => {
                if options.queue.is_none() && *at >= options.to {
                    break;
                }
                damaged = true;
                damage(*at, why, *next, options.store.output)
            }
            Seen::Record(bytes) => {
                let Ok(view) = RecordView::decode(bytes) else { continue };
                match place(&view, options) {
                    Place::Behind => break,
                    Place::Elsewhere => continue,
                    Place::Asked => {}
                }
                left -= 1;
                match options.store.output {
                    Output::Json => in_json(&view, options.body).to_string(),
                    Output::Text => in_words(&view, options.body),
                }
            }
        };
        if !lines.line(&line) {
            break;
        }
    }
    Ok(damaged)
}

/// Where a record stands to what was asked for.
enum Place {
    Asked,
    Elsewhere,
    /// No later record was asked for either.
    Behind,
}

fn place(view: &RecordView<'_>, options: &Dump) -> Place {
    let range = options.from..options.to;
    let Some(queue) = options.queue else {
        return match &options.topic {
            _ if view.physical.0 >= options.to => Place::Behind,
            Some(topic) if topic != view.topic => Place::Elsewhere,
            _ => Place::Asked,
        };
    };
    let is_it = options.topic.as_deref() == Some(view.topic) && view.queue.0 == queue;
    if is_it && view.is_queued() && range.contains(&view.queue_offset.0) {
        Place::Asked
    } else {
        Place::Elsewhere
    }
}

/// With a queue and an offset, the queue's own unit says where to begin; without a trustworthy one, the log's start.
async fn beginning<'a>(closed: &'a ClosedStore, options: &Dump) -> Result<Records<'a>, InspectError> {
    if let (Some(topic), Some(queue)) = (&options.topic, options.queue) {
        let at = closed.position_of(topic, queue, options.from).await?;
        return at.map_or_else(|| closed.records(0), |at| Ok(closed.records_at(at)));
    }
    closed.records(options.from)
}

async fn units(closed: &ClosedStore, options: &Dump) -> Result<bool, InspectError> {
    let mut lines = say::Lines::new();
    let mut left = options.limit;
    for (topic, queue) in closed.queues().await? {
        let asked = options.topic.as_ref().is_none_or(|asked| *asked == topic);
        if !asked || options.queue.is_some_and(|asked| asked != queue) {
            continue;
        }
        let mut take = |unit: UnitSeen| {
            if left == 0 {
                return false;
            }
            left -= 1;
            lines.line(&unit_line(&topic, queue, unit, options.store.output))
        };
        closed.units(&topic, queue, (options.from, options.to), &mut take).await?;
    }
    Ok(false)
}

fn unit_line(topic: &str, queue: u32, unit: UnitSeen, output: Output) -> String {
    let UnitSeen { offset, physical, size, tags_code, is_gap } = unit;
    match output {
        Output::Json => json!({
            "topic": topic, "queueId": queue, "queueOffset": offset, "commitLogOffset": physical,
            "size": size, "tagsCode": tags_code, "gap": is_gap,
        })
        .to_string(),
        Output::Text if is_gap => format!("{} {queue} {offset}  no message", plain(topic)),
        Output::Text => {
            format!("{} {queue} {offset}  at {physical}, {size} bytes, tags code {tags_code}", plain(topic))
        }
    }
}

fn damage(at: u64, why: &str, next: u64, output: Output) -> String {
    match output {
        Output::Json => json!({ "damagedAt": at, "why": why, "next": next }).to_string(),
        Output::Text => format!("{at}  DAMAGED: {why}; going on at {next}"),
    }
}

fn in_words(view: &RecordView<'_>, body: bool) -> String {
    let mut line = format!(
        "{}  {} {} {}  {} bytes, stored {}",
        view.physical.0,
        plain(view.topic),
        view.queue.0,
        view.queue_offset.0,
        view.total,
        instant(view.store_at.0)
    );
    for (key, value) in pairs(view.properties) {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        line.push_str(&format!("  {}={}", plain(&key), plain(&value)));
    }
    if !view.is_queued() {
        line.push_str("  (in no queue)");
    }
    if body {
        line.push_str(&match std::str::from_utf8(view.body) {
            Ok(text) => format!("\n    {}", plain(text)),
            Err(_) => format!("\n    0x{}", hex(view.body)),
        });
    }
    line
}

/// Control characters of a stranger's text do not reach the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn in_json(view: &RecordView<'_>, body: bool) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let properties: Map<String, Value> =
        pairs(view.properties).map(|(key, value)| (text(key), text(value).into())).collect();
    let mut record = json!({
        "topic": view.topic,
        "queueId": view.queue.0,
        "queueOffset": view.queue_offset.0,
        "commitLogOffset": view.physical.0,
        "storeSize": view.total,
        "keys": view.property(name::KEYS),
        "tags": view.property(name::TAGS),
        "bornTimestamp": view.born_at.0,
        "storeTimestamp": view.store_at.0,
        "bornHost": view.born_host.to_string(),
        "storeHost": view.store_host.to_string(),
        "flag": view.flag,
        "sysFlag": view.sys_flag,
        "reconsumeTimes": view.reconsume_times,
        "preparedTransactionOffset": view.prepared_transaction_offset,
        "bodyCRC": view.body_crc,
        "bodySize": view.body.len(),
        "queued": view.is_queued(),
        "properties": properties,
    });
    if body {
        match std::str::from_utf8(view.body) {
            Ok(text) => record["body"] = text.into(),
            Err(_) => record["bodyHex"] = hex(view.body).into(),
        }
    }
    record
}
