//! Sending and consuming: what every official client must be able to do against the servers under test.
//!
//! Each scenario judges counts and contents, and then shows that its rule can fail by running it on its own record with an
//! edit. Not here: failing messages and transactions (`settle`), Apache's admin tool (`admin`).

use std::time::Duration;

use super::clock::nap;
use super::driver::Driver;
use super::record::{self, Causes, Fault, Got, exactly_once, expected};
use super::stage::{CheckError, Checked, Client, Stage, consume, gather, produce, stop, until};
use super::target::Against;

/// Messages of the large synchronous scenario.
const SYNC_SENDS: u64 = 10_000;

/// Synchronous sends to a topic that the first of them creates; two members of a group, in two processes, share them.
pub(crate) fn sync_pair(stage: &Stage<'_>, a: &Driver, b: &Driver) -> Checked {
    let (topic, group) = (stage.name("sync"), stage.name("pair"));
    produce(a, "sync0", &format!("kind=sync group={topic}_p topic={topic} prefix=warm count=1"))?;
    stage.await_route(&topic)?;
    join_pair(stage, (a, b), "pair", &format!("kind=concurrent topic={topic} group={group}"), &group)?;
    let words = format!("kind=sync group={topic}_p topic={topic} prefix=sync count={SYNC_SENDS}");
    let sent = produce(a, "sync", &words)?;
    let wanted = usize::try_from(SYNC_SENDS).unwrap_or(usize::MAX);
    record::acknowledged(wanted, &sent)?;
    let mut tampered = sent.clone();
    tampered.pop();
    refuses("one acknowledgement missing", record::acknowledged(wanted, &tampered))?;
    let got = without_prefix(&gather(&[(a, "pair"), (b, "pair")], wanted + 1)?, "warm");
    let causes = whole("sync", SYNC_SENDS, &got, &topic)?;
    record::shared_by(&[&member(a, "pair"), &member(b, "pair")], &got)?;
    Ok(format!("{SYNC_SENDS} acknowledged, {} received by two members{}", got.len(), told(&causes)))
}

/// Sends without an answer, all of which arrive on an idle machine.
pub(crate) fn oneway(stage: &Stage<'_>, a: &Driver) -> Checked {
    let topic = stage.topic("oneway", 4)?;
    consume(a, "oneway_c", &format!("kind=concurrent topic={topic} group={topic}_c"))?;
    produce(a, "oneway", &format!("kind=oneway group={topic}_p topic={topic} prefix=oneway count=500"))?;
    let got = gather(&[(a, "oneway_c")], 500)?;
    let causes = whole("oneway", 500, &got, &topic)?;
    Ok(format!("500 sent, {} received{}", got.len(), told(&causes)))
}

/// Twenty keys through a queue selector; two orderly members in two processes see each key in order.
pub(crate) fn ordered(stage: &Stage<'_>, a: &Driver, b: &Driver) -> Checked {
    const KEYS: u64 = 20;
    const EACH: u64 = 50;
    let topic = stage.topic("ordered", 8)?;
    let group = stage.name("ordered_c");
    join_pair(stage, (a, b), "ordered_c", &format!("kind=orderly topic={topic} group={group}"), &group)?;
    let words = format!("kind=ordered group={topic}_p topic={topic} prefix=o keys={KEYS} count={EACH}");
    let sent = produce(a, "ordered", &words)?;
    let wanted = usize::try_from(KEYS * EACH).unwrap_or(usize::MAX);
    record::acknowledged(wanted, &sent)?;
    let got = gather(&[(a, "ordered_c"), (b, "ordered_c")], wanted)?;
    let all: Vec<_> = (0..KEYS).flat_map(|key| expected(&format!("o-k{key}"), EACH)).collect();
    let causes = exactly_once(&all, &got, &topic)?;
    record::ordered(&got)?;
    record::shared_by(&[&member(a, "ordered_c"), &member(b, "ordered_c")], &got)?;
    refuses("two messages of a key exchanged", record::ordered(&record::swapped(&got)))?;
    controls(&got, |got| exactly_once(&all, got, &topic))?;
    Ok(format!("{KEYS} keys of {EACH} in order, {} received by two members{}", got.len(), told(&causes)))
}

/// Batches: one request, many messages, each of them whole at the other end.
pub(crate) fn batch(stage: &Stage<'_>, a: &Driver, against: Against) -> Checked {
    let topic = stage.topic("batch", 4)?;
    consume(a, "batch_c", &format!("kind=concurrent topic={topic} group={topic}_c"))?;
    let words = format!("kind=batch group={topic}_p topic={topic} prefix=batch count=200 size=20");
    let sent = produce(a, "batch", &words)?;
    record::acknowledged(200, &sent)?;
    if stage.client == Client::Cpp && against == Against::Apache {
        // Apache reads this client's `batch=1` as false and stores the ten requests as ten messages.
        let got = gather(&[(a, "batch_c")], 10)?;
        return match exactly_once(&expected("batch", 200), &got, &topic) {
            Err(fault) => Ok(format!("Apache does not split this client's batches ({fault})")),
            Ok(_) => Ok("200 in batches of 20".to_owned()),
        };
    }
    let got = gather(&[(a, "batch_c")], 200)?;
    let causes = whole("batch", 200, &got, &topic)?;
    Ok(format!("200 in batches of 20, {} received{}", got.len(), told(&causes)))
}

/// Broadcasting: two members in two processes, each gets everything.
pub(crate) fn broadcast(stage: &Stage<'_>, a: &Driver, b: &Driver) -> Checked {
    let topic = stage.topic("cast", 4)?;
    let group = stage.name("cast_c");
    for driver in [a, b] {
        consume(driver, "cast_c", &format!("kind=broadcast topic={topic} group={group}"))?;
    }
    probe_until_both_listen(a, b, &topic)?;
    produce(a, "cast", &format!("kind=sync group={topic}_p topic={topic} prefix=cast count=300"))?;
    for driver in [a, b] {
        until("300 messages at each member", || {
            let got = driver.events("cast_c", "got")?;
            Ok(got.iter().filter(|one| one.body.starts_with("cast")).count() >= 300)
        })?;
        let got = gather(&[(driver, "cast_c")], 300)?;
        whole("cast", 300, &without_prefix(&got, "probe"), &topic)?;
    }
    Ok("300 sent, 300 received by each of two members".to_owned())
}

/// A consumer that stops and starts again in a new process goes on where it left.
pub(crate) fn resume(stage: &Stage<'_>, a: &Driver) -> Checked {
    let topic = stage.topic("resume", 4)?;
    let group = stage.name("resume_c");
    let words = format!("kind=concurrent topic={topic} group={group}");
    let first = stage.driver("resume1")?;
    consume(&first, "resume", &words)?;
    produce(a, "before", &format!("kind=sync group={topic}_p topic={topic} prefix=before count=200"))?;
    let got = gather(&[(&first, "resume")], 200)?;
    whole("before", 200, &got, &topic)?;
    stop(&first, "resume")?;
    first.end();
    produce(a, "after", &format!("kind=sync group={topic}_p topic={topic} prefix=after count=200"))?;
    let second = stage.driver("resume2")?;
    consume(&second, "resume", &words)?;
    let got = gather(&[(&second, "resume")], 200)?;
    whole("after", 200, &got, &topic)?;
    second.end();
    Ok("200 before, 200 after the restart; none of the first 200 came again".to_owned())
}

/// Judges a record that must hold messages 0..count of `prefix` once each, and shows that each edit of it is refused.
pub(crate) fn whole(prefix: &str, count: u64, got: &[Got], topic: &str) -> Result<Causes, CheckError> {
    let sent = expected(prefix, count);
    let causes = exactly_once(&sent, got, topic)?;
    controls(got, |got| exactly_once(&sent, got, topic))?;
    Ok(causes)
}

/// Negative controls: the rule must refuse every edit of the record it just passed.
pub(crate) fn controls(
    got: &[Got],
    rule: impl Fn(&[Got]) -> Result<Causes, Fault>,
) -> Result<(), CheckError> {
    record::tampered(got).into_iter().try_for_each(|(edit, record)| refuses(edit, rule(&record).map(drop)))
}

/// A rule that passes `edit` is blind.
pub(crate) fn refuses(edit: &'static str, verdict: Result<(), Fault>) -> Result<(), CheckError> {
    verdict.map_or(Ok(()), |()| Err(CheckError::Blind(edit)))
}

/// A member's name in the record.
pub(crate) fn member(driver: &Driver, id: &str) -> String {
    format!("{}/{id}", driver.name())
}

/// Causes for the report; silent when there are none.
pub(crate) fn told(causes: &Causes) -> String {
    causes.first().map_or(String::new(), |first| format!("; {} duplicates, {first}", causes.len()))
}

/// The record without helpers such as probes.
pub(crate) fn without_prefix(got: &[Got], prefix: &str) -> Vec<Got> {
    got.iter().filter(|one| !one.event.body.starts_with(prefix)).cloned().collect()
}

fn join_pair(
    stage: &Stage<'_>,
    (a, b): (&Driver, &Driver),
    id: &str,
    words: &str,
    group: &str,
) -> Result<(), CheckError> {
    consume(a, id, words)?;
    consume(b, id, words)?;
    stage.await_members(group, 2)?;
    // The broker has told both; a moment for them to divide the queues keeps the run free of hand-overs. Correctness does
    // not rest on it: a hand-over is a cause the rules know.
    nap(Duration::from_secs(2));
    Ok(())
}

/// A broadcasting member may start at the end of each queue, so it is probed until it has heard something from every queue.
///
/// Java's divides the queues on its twenty-second timer when the start of its client was slow.
fn probe_until_both_listen(a: &Driver, b: &Driver, topic: &str) -> Result<(), CheckError> {
    const QUEUES: usize = 4;
    const ROUNDS: usize = 40;
    for round in 0..ROUNDS {
        let words = format!("kind=sync group={topic}_p topic={topic} prefix=probe{round} count=8");
        produce(a, &format!("probe{round}"), &words)?;
        nap(Duration::from_secs(1));
        let heard = |driver: &Driver| -> Result<bool, CheckError> {
            let mut queues: Vec<_> = driver.events("cast_c", "got")?.iter().map(|one| one.queue).collect();
            queues.sort_unstable();
            queues.dedup();
            Ok(queues.len() == QUEUES)
        };
        if heard(a)? && heard(b)? {
            return Ok(());
        }
    }
    Err(CheckError::Never { what: "both broadcasting members hearing every queue", seconds: 40 })
}
