//! What a run recorded, and the rules that judge it.
//!
//! Drivers report events; nothing here talks to a process or a socket, so each rule is a plain function that can be shown to
//! fail: [`tampered`] edits a good record in every way the rule forbids, and the harness runs the rule on each edit.
//!
//! Not here: who produces the events (`driver`), which rule judges which scenario (`scenario`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One line a driver wrote. Which fields are present depends on `ev`; see `ci/compat/README.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    pub(crate) ev: String,
    pub(crate) id: String,
    pub(crate) prefix: String,
    pub(crate) n: u64,
    pub(crate) status: String,
    pub(crate) body: String,
    pub(crate) tag: String,
    pub(crate) keys: String,
    pub(crate) seq: String,
    pub(crate) topic: String,
    pub(crate) queue: Option<i64>,
    pub(crate) offset: Option<i64>,
    pub(crate) times: i64,
    pub(crate) msg: String,
    /// RETRY_TOPIC of a message that went through the retry topic.
    pub(crate) origin: String,
    /// Wall milliseconds at the driver.
    pub(crate) at: i64,
    pub(crate) error: String,
}

/// A message as the producer was told to make it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expected {
    pub(crate) prefix: String,
    pub(crate) n: u64,
}

/// A message as one member of a group received it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) member: String,
    pub(crate) event: Event,
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{missing} of {of} messages never arrived, the first is `{first}`")]
    Missing { missing: usize, of: usize, first: String },
    #[error("`{body}` arrived {times} times and nothing explains it ({copies})")]
    Duplicate { body: String, times: usize, copies: String },
    #[error("`{0}` arrived, and nobody sent it")]
    Unknown(String),
    #[error("`{body}`: {field} is `{is}`, sent was `{was}`")]
    Altered { body: String, field: &'static str, is: String, was: String },
    #[error("key {key}: number {is} came where {wanted} was due")]
    Order { key: String, is: u64, wanted: u64 },
    #[error("key {key} came from queues {queues:?}")]
    Scattered { key: String, queues: Vec<i64> },
    #[error("{acknowledged} sends were acknowledged, {wanted} were made")]
    Acknowledged { acknowledged: usize, wanted: usize },
    #[error("send {prefix}-{n} ended as {status}")]
    Status { prefix: String, n: u64, status: String },
    #[error("queue {queue}: offset {offset} was acknowledged twice")]
    OffsetReused { queue: i64, offset: i64 },
    #[error("queue {queue}: acknowledged offsets {from}..={to} hold {count} messages")]
    OffsetGap { queue: i64, from: i64, to: i64, count: usize },
    #[error("member {0} received nothing")]
    Idle(String),
    #[error("`{body}` came back after {ms} ms, due were {due} ms")]
    Early { body: String, ms: i64, due: i64 },
    #[error("`{body}`: deliveries were numbered {is:?}, due were {due:?}")]
    Attempts { body: String, is: Vec<i64>, due: Vec<i64> },
    #[error("`{0}` was checked back, and its producer had decided it")]
    CheckedDecided(String),
    #[error("`{0}` was never checked back")]
    NeverChecked(String),
    #[error("the output lacks `{0}`")]
    OutputLacks(String),
    #[error("the output holds `{0}`")]
    OutputHolds(String),
    #[error("{place}: {what}")]
    Stored { place: String, what: String },
    #[error("{what} is {is}, due was {due}")]
    Value { what: &'static str, is: i64, due: i64 },
}

/// Duplicates a rule accepted, each with its cause.
pub(crate) type Causes = Vec<String>;

/// The body of message `n` of `prefix`: what every driver builds and what must come out at the other end.
///
/// Lengths differ; one in a thousand is long enough that clients compress it; the end is not ASCII.
pub(crate) fn payload(prefix: &str, n: u64) -> String {
    let length = if n % 1000 == 7 { 6000 } else { n * 37 % 200 };
    let letters = b"abcdefghijklmnopqrstuvwxyz".iter().cycle().skip(usize::try_from(n % 26).unwrap_or(0));
    let filler: String = letters.take(usize::try_from(length).unwrap_or(0)).map(|b| char::from(*b)).collect();
    format!("{prefix}-{n}-{filler}-\u{e9}\u{4e2d}")
}

/// Messages 0..count of `prefix`.
pub(crate) fn expected(prefix: &str, count: u64) -> Vec<Expected> {
    (0..count).map(|n| Expected { prefix: prefix.to_owned(), n }).collect()
}

/// Rule: every message arrived with its contents; more than once only when its queue changed hands in between.
pub(crate) fn exactly_once(sent: &[Expected], got: &[Got], topic: &str) -> Result<Causes, Fault> {
    let mut copies: BTreeMap<&str, Vec<&Got>> = BTreeMap::new();
    for one in got {
        copies.entry(&one.event.body).or_default().push(one);
    }
    let mut causes = Causes::new();
    let mut missing = Vec::new();
    let mut bodies = BTreeSet::new();
    for message in sent {
        let body = payload(&message.prefix, message.n);
        match copies.get(body.as_str()).map(Vec::as_slice) {
            None | Some([]) => missing.push(body.clone()),
            Some(all) => {
                all.iter().try_for_each(|one| same_contents(message, one, topic))?;
                if all.len() > 1 {
                    causes.push(changed_hands(all).ok_or_else(|| duplicate(&body, all))?);
                }
            }
        }
        bodies.insert(body);
    }
    if let Some(first) = missing.first() {
        return Err(Fault::Missing { missing: missing.len(), of: sent.len(), first: short(first) });
    }
    match copies.keys().find(|body| !bodies.contains(**body)) {
        Some(stranger) => Err(Fault::Unknown(short(stranger))),
        None => Ok(causes),
    }
}

/// Rule: each member is one of those named and none stayed idle.
pub(crate) fn shared_by(members: &[&str], got: &[Got]) -> Result<(), Fault> {
    match members.iter().find(|member| got.iter().all(|one| one.member != **member)) {
        Some(idle) => Err(Fault::Idle((*idle).to_owned())),
        None => Ok(()),
    }
}

/// Rule: within each prefix (the ordering key) the first deliveries are 0, 1, 2, … and come from one queue.
pub(crate) fn ordered(got: &[Got]) -> Result<(), Fault> {
    let mut next: BTreeMap<&str, (u64, BTreeSet<i64>)> = BTreeMap::new();
    for one in got {
        let key = key_of(&one.event);
        let number = one.event.seq.parse().unwrap_or(u64::MAX);
        let (wanted, queues) = next.entry(key).or_default();
        queues.insert(one.event.queue.unwrap_or(-1));
        if number > *wanted {
            return Err(Fault::Order { key: key.to_owned(), is: number, wanted: *wanted });
        }
        *wanted = (*wanted).max(number.saturating_add(1));
    }
    match next.into_iter().find(|(_, (_, queues))| queues.len() != 1) {
        Some((key, (_, queues))) => {
            Err(Fault::Scattered { key: key.to_owned(), queues: queues.into_iter().collect() })
        }
        None => Ok(()),
    }
}

/// Rule: every send was acknowledged as stored, and the acknowledged offsets of each queue follow each other without gap.
///
/// A client that does not report the queue is judged by status alone.
pub(crate) fn acknowledged(wanted: usize, sent: &[Event]) -> Result<(), Fault> {
    let numbers: BTreeSet<(&str, u64)> = sent.iter().map(|one| (one.prefix.as_str(), one.n)).collect();
    if numbers.len() != wanted || sent.len() != wanted {
        return Err(Fault::Acknowledged { acknowledged: sent.len(), wanted });
    }
    let mut queues: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for one in sent {
        if one.status != "SEND_OK" {
            let (prefix, n, status) = (one.prefix.clone(), one.n, one.status.clone());
            return Err(Fault::Status { prefix, n, status });
        }
        if let (Some(queue), Some(offset)) = (one.queue, one.offset)
            && !queues.entry(queue).or_default().insert(offset)
        {
            return Err(Fault::OffsetReused { queue, offset });
        }
    }
    for (queue, offsets) in queues {
        let (Some(from), Some(to)) = (offsets.first().copied(), offsets.last().copied()) else { continue };
        if usize::try_from(to - from + 1) != Ok(offsets.len()) {
            return Err(Fault::OffsetGap { queue, from, to, count: offsets.len() });
        }
    }
    Ok(())
}

/// Rule: each message was tried once per entry of `waits_ms` plus the first time, numbered from 0, and never came back early.
pub(crate) fn retried(sent: &[Expected], got: &[Got], waits_ms: &[i64]) -> Result<(), Fault> {
    for message in sent {
        let body = payload(&message.prefix, message.n);
        let tries: Vec<&Event> = got.iter().map(|one| &one.event).filter(|one| one.body == body).collect();
        let due: Vec<i64> = (0..).take(waits_ms.len() + 1).collect();
        let is: Vec<i64> = tries.iter().map(|one| one.times).collect();
        if is != due {
            return Err(Fault::Attempts { body: short(&body), is, due });
        }
        for (pair, due) in tries.windows(2).zip(waits_ms) {
            if let [first, second] = pair
                && second.at - first.at < *due
            {
                return Err(Fault::Early { body: short(&body), ms: second.at - first.at, due: *due });
            }
        }
    }
    Ok(())
}

/// Rule: each of `undecided` was checked back; a message that its producer decided was not.
pub(crate) fn checked(undecided: &[Expected], checks: &[Event]) -> Result<(), Fault> {
    let open: BTreeSet<String> = undecided.iter().map(|one| payload(&one.prefix, one.n)).collect();
    let asked: BTreeSet<&str> = checks.iter().map(|one| one.body.as_str()).collect();
    if let Some(decided) = asked.iter().find(|body| !open.contains(**body)) {
        return Err(Fault::CheckedDecided(short(decided)));
    }
    match open.iter().find(|body| !asked.contains(body.as_str())) {
        Some(body) => Err(Fault::NeverChecked(short(body))),
        None => Ok(()),
    }
}

/// Rule: the output holds each of `must` and none of `must_not`.
pub(crate) fn output(text: &str, must: &[&str], must_not: &[&str]) -> Result<(), Fault> {
    if let Some(lacking) = must.iter().find(|word| !text.contains(**word)) {
        return Err(Fault::OutputLacks((*lacking).to_owned()));
    }
    match must_not.iter().find(|word| text.contains(**word)) {
        Some(present) => Err(Fault::OutputHolds((*present).to_owned())),
        None => Ok(()),
    }
}

/// Every edit of a good record that [`exactly_once`] must refuse, by name.
pub(crate) fn tampered(got: &[Got]) -> Vec<(&'static str, Vec<Got>)> {
    let middle = got.len() / 2;
    let mut missing = got.to_vec();
    let mut twice = got.to_vec();
    let mut altered = got.to_vec();
    let mut mislabelled = got.to_vec();
    if let Some(one) = got.get(middle) {
        missing.retain(|other| other.event.body != one.event.body);
        twice.push(one.clone());
    }
    if let Some(one) = altered.get_mut(middle) {
        one.event.body = one.event.body.replacen('-', "_", 1);
    }
    if let Some(one) = mislabelled.get_mut(middle) {
        one.event.tag.push('x');
    }
    vec![
        ("one message missing", missing),
        ("one message twice", twice),
        ("one body changed", altered),
        ("one tag changed", mislabelled),
    ]
}

/// The record with the first two messages of its middle key exchanged, which [`ordered`] must refuse.
pub(crate) fn swapped(got: &[Got]) -> Vec<Got> {
    let mut swapped = got.to_vec();
    if let Some(key) = got.get(got.len() / 2).map(|one| key_of(&one.event).to_owned()) {
        let places: Vec<usize> =
            (0..got.len()).filter(|at| got.get(*at).is_some_and(|one| key_of(&one.event) == key)).collect();
        if let [first, second, ..] = places.as_slice() {
            swapped.swap(*first, *second);
        }
    }
    swapped
}

/// The ordering key of a message: its `keys` without the number behind the last dash.
fn key_of(event: &Event) -> &str {
    event.keys.rsplit_once('-').map_or(event.keys.as_str(), |(key, _)| key)
}

fn same_contents(message: &Expected, one: &Got, topic: &str) -> Result<(), Fault> {
    let event = &one.event;
    let differs = |field, is: &str, was: &str| {
        let (is, was) = (is.to_owned(), was.to_owned());
        Err(Fault::Altered { body: short(&event.body), field, is, was })
    };
    let tag = format!("T{}", message.n % 3);
    let keys = format!("{}-{}", message.prefix, message.n);
    if event.tag != tag {
        return differs("tag", &event.tag, &tag);
    }
    if event.keys != keys {
        return differs("keys", &event.keys, &keys);
    }
    if event.seq != message.n.to_string() {
        return differs("property seq", &event.seq, &message.n.to_string());
    }
    if event.topic != topic {
        return differs("topic", &event.topic, topic);
    }
    Ok(())
}

/// The cause of several copies, if there is one: the same place in the same queue, handed from one member to another.
fn changed_hands(copies: &[&Got]) -> Option<String> {
    let places: BTreeSet<_> = copies.iter().map(|one| (one.event.queue, one.event.offset)).collect();
    let members: BTreeSet<&str> = copies.iter().map(|one| one.member.as_str()).collect();
    (places.len() == 1 && members.len() == copies.len()).then(|| {
        let queue = copies.first().and_then(|one| one.event.queue).unwrap_or(-1);
        format!("rebalance: queue {queue} changed hands among {members:?}")
    })
}

fn duplicate(body: &str, copies: &[&Got]) -> Fault {
    let list: Vec<String> = copies
        .iter()
        .map(|one| {
            let (queue, offset) = (one.event.queue.unwrap_or(-1), one.event.offset.unwrap_or(-1));
            format!("{} queue {queue} offset {offset} try {}", one.member, one.event.times)
        })
        .collect();
    Fault::Duplicate { body: short(body), times: copies.len(), copies: list.join(", ") }
}

fn short(body: &str) -> String {
    body.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(member: &str, prefix: &str, n: u64) -> Got {
        let event = Event {
            body: payload(prefix, n),
            tag: format!("T{}", n % 3),
            keys: format!("{prefix}-{n}"),
            seq: n.to_string(),
            topic: "t".to_owned(),
            queue: Some(0),
            offset: i64::try_from(n).ok(),
            ..Event::default()
        };
        Got { member: member.to_owned(), event }
    }

    fn sent(n: u64) -> Event {
        let (prefix, status) = ("p".to_owned(), "SEND_OK".to_owned());
        Event { prefix, n, status, queue: Some(0), offset: i64::try_from(n).ok(), ..Event::default() }
    }

    #[test]
    fn a_whole_record_passes_and_each_edit_of_it_is_refused() {
        let all: Vec<Got> = (0..50).map(|n| got("a", "p", n)).collect();
        assert_eq!(exactly_once(&expected("p", 50), &all, "t"), Ok(vec![]));
        for (edit, record) in tampered(&all) {
            assert!(exactly_once(&expected("p", 50), &record, "t").is_err(), "{edit} must be refused");
        }
    }

    #[test]
    fn a_duplicate_is_excused_only_when_its_queue_changed_hands() {
        let mut all: Vec<Got> = (0..5).map(|n| got("a", "p", n)).collect();
        all.push(got("b", "p", 3));
        assert_eq!(exactly_once(&expected("p", 5), &all, "t").map(|causes| causes.len()), Ok(1));
        all.push(got("b", "p", 3));
        assert!(matches!(exactly_once(&expected("p", 5), &all, "t"), Err(Fault::Duplicate { times: 3, .. })));
    }

    #[test]
    fn order_is_per_key_and_a_swap_is_refused() {
        let all: Vec<Got> = (0..9).flat_map(|n| [got("a", "p-k1", n), got("a", "p-k2", n)]).collect();
        assert_eq!(ordered(&all), Ok(()));
        assert!(matches!(ordered(&swapped(&all)), Err(Fault::Order { is: 1, wanted: 0, .. })));
    }

    #[test]
    fn acknowledged_offsets_leave_no_gap_and_none_is_used_twice() {
        let all: Vec<Event> = (0..9).map(sent).collect();
        assert_eq!(acknowledged(9, &all), Ok(()));
        let mut gap = all.clone();
        gap.iter_mut().filter(|one| one.n == 8).for_each(|one| one.offset = Some(9));
        assert!(matches!(acknowledged(9, &gap), Err(Fault::OffsetGap { .. })));
        let mut reused = all.clone();
        reused.iter_mut().filter(|one| one.n == 8).for_each(|one| one.offset = Some(7));
        assert!(matches!(acknowledged(9, &reused), Err(Fault::OffsetReused { .. })));
        assert!(matches!(acknowledged(10, &all), Err(Fault::Acknowledged { .. })));
    }

    #[test]
    fn a_retry_that_is_early_or_one_too_many_is_refused() {
        let mut tries = vec![got("a", "p", 0), got("a", "p", 0)];
        tries.iter_mut().zip([(0, 0), (1, 10_001)]).for_each(|(one, (times, at))| {
            one.event.times = times;
            one.event.at = at;
        });
        assert_eq!(retried(&expected("p", 1), &tries, &[10_000]), Ok(()));
        assert!(matches!(retried(&expected("p", 1), &tries, &[10_002]), Err(Fault::Early { .. })));
        assert!(matches!(retried(&expected("p", 1), &tries, &[1, 1]), Err(Fault::Attempts { .. })));
    }

    #[test]
    fn every_undecided_message_is_checked_and_no_decided_one() {
        let check = |body: String| Event { body, ..Event::default() };
        let open = expected("unknown", 1);
        assert_eq!(checked(&open, &[check(payload("unknown", 0))]), Ok(()));
        assert!(matches!(checked(&open, &[]), Err(Fault::NeverChecked(_))));
        let both = [check(payload("unknown", 0)), check(payload("commit", 0))];
        assert!(matches!(checked(&open, &both), Err(Fault::CheckedDecided(_))));
    }
}
