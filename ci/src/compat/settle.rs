//! Messages whose fate is decided later: those whose consumer fails, and those in a transaction.

use std::time::Duration;

use super::clock::nap;
use super::driver::Driver;
use super::record::{self, Expected, Got, expected};
use super::scenario::{controls, refuses, told, whole};
use super::stage::{CheckError, Checked, Client, PATIENCE, Stage, consume, gather, produce};
use super::target::Against;

/// Delay level 3, which the first failure of a message leads to, in milliseconds.
const FIRST_RETRY_MS: i64 = 10_000;

/// A failing message comes back after ten seconds, fails again, and ends in the dead-letter queue; its neighbours do not.
pub(crate) fn dead_letter(stage: &Stage<'_>, a: &Driver, b: &Driver, against: Against) -> Checked {
    let topic = stage.topic("fail", 4)?;
    let group = stage.name("fail_c");
    // The C++ client sends back everything it pulled together, so one failure at a time shows what happens to it.
    let failing = if stage.client == Client::Cpp { 1 } else { 5 };
    let tries = usize::try_from(20 + 2 * failing).unwrap_or(usize::MAX);
    stage.to_broker()?.create_group(&group, 1)?;
    consume(a, "fail_c", &format!("kind=concurrent topic={topic} group={group} fail=bad max=1"))?;
    produce(a, "good", &format!("kind=sync group={topic}_p topic={topic} prefix=good count=20"))?;
    gather(&[(a, "fail_c")], 20)?;
    produce(a, "bad", &format!("kind=sync group={topic}_p topic={topic} prefix=bad count={failing}"))?;
    a.wait("fail_c", "got", tries, PATIENCE)?;
    let dead = format!("%DLQ%{group}");
    let buried = if stage.client == Client::Cpp && against == Against::Apache {
        // This client's send-back names no origin topic, and Apache 5.5.0 answers the last one with a NullPointerException.
        "Apache refuses this client's last send-back, so none".to_owned()
    } else {
        stage.await_route(&dead)?;
        consume(b, "dead_c", &format!("kind=concurrent topic={dead} group={group}_dead"))?;
        let died = gather(&[(b, "dead_c")], usize::try_from(failing).unwrap_or(usize::MAX))?;
        whole("bad", failing, &died, &dead)?;
        format!("all {failing}")
    };
    let got = gather(&[(a, "fail_c")], tries)?;
    let (bad, good): (Vec<Got>, Vec<Got>) =
        got.into_iter().partition(|one| one.event.body.starts_with("bad"));
    whole("good", 20, &good, &topic)?;
    let waited = twice(&expected("bad", failing), &bad, &topic)?;
    Ok(format!("20 good once; {failing} bad twice, {waited} ms apart, then {buried} in {dead}"))
}

/// Judges the two deliveries of each failing message and returns the shortest wait between them, in milliseconds.
fn twice(failing: &[Expected], bad: &[Got], topic: &str) -> Result<i64, CheckError> {
    record::retried(failing, bad, &[FIRST_RETRY_MS])?;
    refuses("a later due time", record::retried(failing, bad, &[6_000_000]))?;
    let once: Vec<Got> = bad.iter().filter(|one| one.event.times == 0).cloned().collect();
    refuses("no second try", record::retried(failing, &once, &[FIRST_RETRY_MS]))?;
    if let Some(other) = bad.iter().find(|one| one.event.topic != topic) {
        let (body, is) = (other.event.body.clone(), other.event.topic.clone());
        return Err(
            record::Fault::Altered { body, field: "topic of a retry", is, was: topic.to_owned() }.into()
        );
    }
    let first = |number| bad.iter().filter(|one| one.event.times == number).map(|one| one.event.at).min();
    Ok(first(1).unwrap_or(0) - first(0).unwrap_or(0))
}

/// Transactions: committed messages arrive once, rolled back ones never, undecided ones after a check, also when the producer
/// that left them undecided was killed and another of its group answers.
pub(crate) fn transactions(stage: &Stage<'_>, a: &Driver, b: &Driver) -> Checked {
    let topic = stage.topic("tx", 4)?;
    let group = stage.name("tx_p");
    consume(a, "tx_c", &format!("kind=concurrent topic={topic} group={group}_c"))?;
    let victim = stage.driver("victim")?;
    for (driver, id) in [(a, "tx_a"), (b, "tx_b"), (&victim, "tx_v")] {
        driver.tell(&format!("do=txstart id={id} group={group}"))?;
        driver.wait(id, "ready", 1, PATIENCE)?;
    }
    transact(b, "tx_b", &topic, "commitb", 5)?;
    transact(&victim, "tx_v", &topic, "commitv", 5)?;
    // Half messages whose producer is killed in the middle of its local transaction.
    victim.tell(&format!("do=txsend id=tx_v topic={topic} prefix=hang count=5"))?;
    victim.wait("tx_v", "half", 5 + 5, PATIENCE)?;
    victim.kill();
    transact(a, "tx_a", &topic, "commit", 20)?;
    transact(a, "tx_a", &topic, "rollback", 20)?;
    transact(a, "tx_a", &topic, "unknown", 10)?;
    let undecided = [expected("unknown", 10), expected("hang", 5)].concat();
    let wanted: Vec<Expected> =
        [expected("commitb", 5), expected("commitv", 5), expected("commit", 20), undecided.clone()].concat();
    gather(&[(a, "tx_c")], wanted.len())?;
    // Two more check intervals, in which a rolled back message would show, or a committed one come again.
    nap(Duration::from_secs(9));
    let got = gather(&[(a, "tx_c")], wanted.len())?;
    let causes = record::exactly_once(&wanted, &got, &topic)?;
    controls(&got, |got| record::exactly_once(&wanted, got, &topic))?;
    let mut leaked = got.clone();
    leaked.extend(got.first().map(rolled_back));
    refuses("a rolled back message delivered", record::exactly_once(&wanted, &leaked, &topic).map(drop))?;
    let checks = [a.events("tx_a", "check")?, b.events("tx_b", "check")?].concat();
    record::checked(&undecided, &checks)?;
    refuses("no check at all", record::checked(&undecided, &[]))?;
    let by_others = checks.iter().filter(|check| check.body.starts_with("hang")).count();
    Ok(format!(
        "30 committed and 15 undecided delivered once, 20 rolled back never; {} checks, {by_others} of them for the \
         producer that was killed{}",
        checks.len(),
        told(&causes)
    ))
}

fn transact(driver: &Driver, id: &str, topic: &str, prefix: &str, count: usize) -> Result<(), CheckError> {
    let before = driver.count(id, "done")?;
    let sent = driver.count(id, "sent")?;
    driver.tell(&format!("do=txsend id={id} topic={topic} prefix={prefix} count={count}"))?;
    driver.wait(id, "done", before + 1, PATIENCE)?;
    let events = driver.events(id, "sent")?;
    // Offsets of half messages belong to the half topic, so only the status is judged.
    let bare: Vec<_> =
        events.into_iter().skip(sent).map(|one| record::Event { queue: None, ..one }).collect();
    Ok(record::acknowledged(count, &bare)?)
}

fn rolled_back(like: &Got) -> Got {
    let mut leaked = like.clone();
    leaked.event.body = record::payload("rollback", 0);
    leaked
}
