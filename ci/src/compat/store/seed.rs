//! What is written before a store changes hands, and what must come out of it afterwards, by the official Java client.
//!
//! ```text
//!   before   plain · batch · rich (all a record can carry, long enough for several segments) · delayed, delivered and not
//!            · transactions decided and not · a group that has consumed and committed
//!   after    the group goes on where it was · the delayed come, at their time · the undecided are checked and come ·
//!            the rolled back never
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::served::Served;
use crate::compat::clock::nap;
use crate::compat::driver::Driver;
use crate::compat::record::{self, Expected, Fault, exactly_once, expected};
use crate::compat::scenario::{controls, refuses};
use crate::compat::stage::{CheckError, PATIENCE, Stage, consume, gather, produce, stop, until};
use crate::compat::wire::Wire;

/// Messages whose consumption is committed.
const PLAIN: u64 = 120;
/// Rich messages; one in four has 150 kB, so they fill several segments of 1 MiB.
const RICH: u64 = 64;
/// Level 4: not delivered before the kill.
const LATER_MS: i64 = 30_000;

/// Topics and groups of one run.
pub(super) struct Names {
    pub(super) plain: String,
    pub(super) rich: String,
    delay: String,
    tx: String,
    group: String,
    tx_group: String,
}

/// The committed offsets of [`Names::group`], queue by queue.
pub(super) type Consumed = Vec<Option<i64>>;

const QUEUES: u32 = 4;

impl Names {
    /// Creates the topics.
    pub(super) fn create(stage: &Stage<'_>) -> Result<Self, CheckError> {
        Ok(Self {
            plain: stage.topic("plain", QUEUES)?,
            rich: stage.topic("rich", QUEUES)?,
            delay: stage.topic("delay", QUEUES)?,
            tx: stage.topic("tx", QUEUES)?,
            group: stage.name("plain_c"),
            tx_group: stage.name("tx_p"),
        })
    }

    /// Everything that is compared: topics and their numbers of queues.
    pub(super) fn queues(&self) -> Vec<(String, u32)> {
        let own = [&self.plain, &self.rich, &self.delay, &self.tx].map(|topic| (topic.clone(), QUEUES));
        let system = [
            ("SCHEDULE_TOPIC_XXXX", 18),
            ("RMQ_SYS_TRANS_HALF_TOPIC", 1),
            ("RMQ_SYS_TRANS_OP_HALF_TOPIC", 1),
        ];
        own.into_iter().chain(system.map(|(topic, count)| (topic.to_owned(), count))).collect()
    }

    /// What the group has consumed of the plain topic.
    pub(super) fn consumed(&self, stage: &Stage<'_>) -> Result<Consumed, CheckError> {
        let mut wire = stage.to_broker()?;
        let of = |wire: &mut Wire, queue| Ok(wire.consumed(&self.group, &self.plain, queue)?);
        (0..QUEUES).map(|queue| of(&mut wire, queue)).collect()
    }

    /// Writes everything; ends once the group's offsets are in `store`'s table. `nul`: with a zero in a property.
    pub(super) fn write(
        &self,
        driver: &Driver,
        broker: SocketAddr,
        store: &Path,
        nul: bool,
    ) -> Result<(), CheckError> {
        let Self { plain, rich, delay, tx, group, tx_group } = self;
        let wanted = usize::try_from(PLAIN).unwrap_or(usize::MAX);
        consume(driver, "c", &format!("kind=concurrent topic={plain} group={group}"))?;
        let sent = produce(
            driver,
            "s",
            &format!("kind=sync group={plain}_p topic={plain} prefix=s count={}", PLAIN / 2),
        )?;
        record::acknowledged(wanted / 2, &sent)?;
        let batch = format!("kind=batch group={plain}_p topic={plain} prefix=b count={} size=20", PLAIN / 2);
        record::acknowledged(wanted / 2, &produce(driver, "b", &batch)?)?;
        let nul = if nul { " nul=yes" } else { "" };
        let words = format!("kind=rich group={rich}_p topic={rich} prefix=r count={RICH}{nul}");
        record::acknowledged(usize::try_from(RICH).unwrap_or(usize::MAX), &produce(driver, "r", &words)?)?;
        produce(
            driver,
            "soon",
            &format!("kind=delay group={delay}_p topic={delay} prefix=soon count=5 level=1"),
        )?;
        driver.tell(&format!("do=txstart id=tx group={tx_group}"))?;
        driver.wait("tx", "ready", 1, PATIENCE)?;
        for (done, prefix) in (1..).zip(["commit", "rollback", "unknown"]) {
            transact(driver, tx, prefix, 5, done)?;
        }
        let got = gather(&[(driver, "c")], wanted)?;
        exactly_once(&[expected("s", PLAIN / 2), expected("b", PLAIN / 2)].concat(), &got, plain)?;
        stop(driver, "c")?;
        let key = format!("\"{plain}@{group}\"");
        until("the group's offsets on disk", || Ok(offsets_in(store, &key)? == PLAIN))?;
        settled(broker, 10)?;
        // Last, so that their time has not come when the broker is killed.
        produce(
            driver,
            "later",
            &format!("kind=delay group={delay}_p topic={delay} prefix=later count=8 level=4"),
        )?;
        Ok(())
    }

    /// Rule: what was written is varied enough to prove something, and waits where it should.
    pub(super) fn covered(&self, before: &Served, segment_bytes: u64) -> Result<(), Fault> {
        let count = |what, is: usize, due: usize| {
            if is == due { Ok(()) } else { Err(Fault::Value { what, is: number(is), due: number(due) }) }
        };
        let of_prefix = |topic: &str, prefix: &str| {
            let own = |keys: &str| keys.starts_with(&format!("{prefix}-"));
            let keys = before.of(topic).filter_map(|stored| stored.properties.get("KEYS"));
            keys.filter(|keys| own(keys)).count()
        };
        count("segments", usize::from(before.last_position() > 2 * segment_bytes), 1)?;
        count("plain records", before.of(&self.plain).count(), usize::try_from(PLAIN).unwrap_or(0))?;
        count("rich records", before.of(&self.rich).count(), usize::try_from(RICH).unwrap_or(0))?;
        count("compressed", before.of(&self.rich).filter(|one| one.is_compressed).count(), 32)?;
        count("two keys", before.of(&self.rich).filter(|one| one.keys().len() == 2).count(), 64)?;
        count("delivered of level 1", of_prefix(&self.delay, "soon"), 5)?;
        count("delivered of level 4", of_prefix(&self.delay, "later"), 0)?;
        count("waiting of level 4", of_prefix("SCHEDULE_TOPIC_XXXX", "later"), 8)?;
        count("half messages", before.of("RMQ_SYS_TRANS_HALF_TOPIC").count(), 15)?;
        count("committed", before.of(&self.tx).count(), 5)
    }

    /// The other broker goes on where the first was killed.
    pub(super) fn go_on(&self, stage: &Stage<'_>, before: &Served) -> Result<String, CheckError> {
        let Self { plain, delay, tx, group, tx_group, .. } = self;
        for topic in [plain, delay, tx] {
            stage.await_route(topic)?;
        }
        let driver = stage.driver("after")?;
        driver.tell(&format!("do=txstart id=tx group={tx_group}"))?;
        driver.wait("tx", "ready", 1, PATIENCE)?;
        consume(&driver, "plain", &format!("kind=concurrent topic={plain} group={group}"))?;
        consume(&driver, "delay", &format!("kind=concurrent topic={delay} group={delay}_c"))?;
        consume(&driver, "tx", &format!("kind=concurrent topic={tx} group={tx}_c"))?;
        // A producer is known to a broker once it has sent something; then it can be asked about what it left undecided.
        transact(&driver, tx, "commitafter", 2, 1)?;
        produce(&driver, "new", &format!("kind=sync group={plain}_p topic={plain} prefix=new count=20"))?;
        let got = gather(&[(&driver, "plain")], 20)?;
        exactly_once(&expected("new", 20), &got, plain)?;
        controls(&got, |got| exactly_once(&expected("new", 20), got, plain))?;
        let wanted = [expected("commit", 5), expected("commitafter", 2), expected("unknown", 5)].concat();
        let got = gather(&[(&driver, "tx")], wanted.len())?;
        exactly_once(&wanted, &got, tx)?;
        record::checked(&expected("unknown", 5), &driver.events("tx", "check")?)?;
        self.delayed(&driver, before)?;
        driver.end();
        Ok("the group went on, 5 undecided were checked and 8 delayed came in time".to_owned())
    }

    /// Rule: those that waited come once, not early; those delivered before may come again, as after any crash.
    fn delayed(&self, driver: &Driver, before: &Served) -> Result<(), CheckError> {
        until("the delayed messages", || {
            let got = driver.events("delay", "got")?;
            Ok(got.iter().filter(|one| one.body.starts_with("later")).count() >= 8)
        })?;
        nap(Duration::from_millis(500));
        let all = gather(&[(driver, "delay")], 13)?;
        let later: Vec<_> = all.iter().filter(|one| one.event.body.starts_with("later")).cloned().collect();
        exactly_once(&expected("later", 8), &later, &self.delay)?;
        let soon: Vec<Expected> = expected("soon", 5);
        let missing = soon.iter().find(|one| {
            let body = record::payload(&one.prefix, one.n);
            all.iter().all(|got| got.event.body != body)
        });
        if let Some(one) = missing {
            let first = record::payload(&one.prefix, one.n);
            return Err(Fault::Missing { missing: 1, of: 5, first }.into());
        }
        not_early(&later, before, LATER_MS)?;
        refuses("a later due time", not_early(&later, before, 6_000_000))
    }
}

/// Waits until the op topic says of `count` half messages that they are settled: Apache gathers such records for seconds,
/// and would be right to ask again about those it lost.
fn settled(broker: SocketAddr, count: usize) -> Result<(), CheckError> {
    let topic = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
    until("records of what was decided", || {
        let ops = Served::pull(broker, &[(topic.to_owned(), 1)])?;
        Ok(ops.of(topic).flat_map(|op| &op.body).filter(|byte| **byte == b',').count() >= count)
    })
}

/// Sends messages in transactions of producer `tx`, which has then `done` calls behind it.
fn transact(driver: &Driver, topic: &str, prefix: &str, count: u64, done: usize) -> Result<(), CheckError> {
    driver.tell(&format!("do=txsend id=tx topic={topic} prefix={prefix} count={count}"))?;
    Ok(driver.wait("tx", "done", done, PATIENCE)?)
}

/// Rule: each came `wait_ms` after it was stored, or later.
fn not_early(later: &[record::Got], before: &Served, wait_ms: i64) -> Result<(), Fault> {
    for stored in before.of("SCHEDULE_TOPIC_XXXX") {
        let keys = stored.properties.get("KEYS").cloned().unwrap_or_default();
        if let Some(early) =
            later.iter().find(|one| one.event.keys == keys && one.event.at < stored.store_at + wait_ms)
        {
            let ms = early.event.at - stored.store_at;
            return Err(Fault::Early { body: keys, ms, due: wait_ms });
        }
    }
    Ok(())
}

/// The sum of the offsets under `key` in a store's table of consumer offsets, which is JSON with numbers as names.
fn offsets_in(store: &Path, key: &str) -> Result<u64, CheckError> {
    let text = match fs::read_to_string(store.join("config/consumerOffset.json")) {
        Ok(text) => text,
        // Not written yet, or being replaced.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let table = text.split(key).nth(1).and_then(|behind| behind.split('}').next()).unwrap_or_default();
    let values = table.split(',').filter_map(|pair| pair.rsplit(':').next()?.trim().parse::<u64>().ok());
    Ok(values.sum())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
