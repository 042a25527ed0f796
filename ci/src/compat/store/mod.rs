//! A store changes hands: what one broker wrote before it was killed, the other opens and serves.
//!
//! ```text
//!   seed      the official Java client writes everything a store can hold, over several segments
//!   pull      every record of every queue, as the first broker serves it
//!   kill -9   and half a record behind the log's end
//!   open      by the other broker: the same bytes by offset, id and key; the same consumer offsets
//!   seed      the delayed come, the undecided are checked, the group goes on
//! ```
//!
//! Both directions. Not here: what the client writes (`seed`), how records are compared (`served`), a store that lost its
//! oldest segments (`retired`).

mod retired;
mod seed;
mod served;
mod torn;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) use self::retired::Retired;

use self::seed::Names;
use self::served::Served;
use self::torn::Half;
use super::install::Installed;
use super::record::{Fault, output};
use super::scenario::refuses;
use super::stage::{CheckError, Checked, Client, Stage};
use super::target::{Launch, Target};

/// Small segments, so that a run fills several.
const SEGMENT_BYTES: u64 = 1 << 20;

/// Who writes and who opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Apache RocketMQ writes, Staticfire opens.
    FromApache,
    /// Staticfire writes, Apache RocketMQ opens.
    ToApache,
}

/// One run.
pub(super) struct Handover<'a> {
    pub(super) direction: Direction,
    pub(super) installed: &'a Installed,
    /// Our release binary.
    pub(super) binary: &'a Path,
    /// Directory of its own.
    pub(super) dir: PathBuf,
}

impl Handover<'_> {
    /// Runs it from the first write to the last delivery.
    pub(super) fn run(&self) -> Checked {
        fs::create_dir_all(&self.dir)?;
        let (first, second) = (self.dir.join("first"), self.dir.join("second"));
        let from_apache = self.direction == Direction::FromApache;
        // Nothing undecided is checked before the kill.
        let patient = ["transactionTimeOut=3600000", "transactionCheckInterval=3600000"];
        let mut target = Target::start(self.launch(from_apache, &patient), &first)?;
        let stage = self.stage(&target, "first");
        let names = Names::create(&stage)?;
        let driver = stage.driver("seed")?;
        names.write(&driver, target.broker, &Target::store(&first), from_apache)?;
        let before = Served::pull(target.broker, &names.queues())?;
        let still = [names.plain.as_str(), names.rich.as_str()];
        if from_apache {
            before.found_by_key(target.broker, &still)?;
            self.refuses_a_store_in_use(&first)?;
        }
        let consumed = names.consumed(&stage)?;
        target.kill_broker();
        driver.end();
        drop(target);
        names.covered(&before, SEGMENT_BYTES)?;
        // Apache looks at the body only.
        let half = if from_apache { Half::OfProperties } else { Half::OfBody };
        torn::half_a_record(&Target::store(&first), half)?;
        self.hand_over(&first, &second)?;
        if from_apache {
            self.refuses_a_flipped_byte(&first, &names, &before)?;
        }
        // Apache counts a check although there was nobody to ask, so let it count far.
        let eager = ["transactionCheckInterval=2000", "transactionCheckMax=1000"];
        let target = Target::start(self.launch(!from_apache, &eager), &second)?;
        if from_apache {
            let said = fs::read_to_string(second.join("broker.out"))?;
            output(&said, &["the log ends at"], &["rebuilding all queues"])?;
        }
        let stage = self.stage(&target, "second");
        let after = Served::pull(target.broker, &names.queues())?;
        before.kept_by(&after, &still)?;
        for (edit, tampered) in after.tampered() {
            refuses(edit, after.kept_by(&tampered, &still))?;
        }
        before.found_by_id(target.broker)?;
        before.found_by_key(target.broker, &still)?;
        let now = names.consumed(&stage)?;
        if now != consumed {
            let what = format!("the group had consumed {consumed:?}, now it is {now:?}");
            return Err(Fault::Stored { place: names.plain.clone(), what }.into());
        }
        let told = names.go_on(&stage, &before)?;
        Ok(format!(
            "{} records of {} queues the same by offset, id and key; {told}",
            before.records.len(),
            before.ends.len()
        ))
    }

    fn launch(&self, apache: bool, properties: &[&str]) -> Launch {
        let mut launch = if apache {
            Launch::apache(&self.installed.server_jars, &self.dir.join("home"))
        } else {
            Launch::staticfire(self.binary)
        };
        launch.properties = vec![format!("mappedFileSizeCommitLog={SEGMENT_BYTES}")];
        if apache {
            // On a busy machine Apache refuses requests that waited for 200 ms; this run is not about that.
            launch.properties.push("waitTimeMillsInSendQueue=20000".to_owned());
            // After a kill Apache removes its index files; so told, it fills new ones from the log.
            launch.properties.push("messageIndexSafe=true".to_owned());
        }
        launch.properties.extend(properties.iter().map(|line| (*line).to_owned()));
        launch
    }

    fn stage(&self, target: &Target, role: &str) -> Stage<'_> {
        Stage::new(Client::Java5, target.namesrv, target.broker, self.installed, &self.dir.join(role))
    }

    /// A copy of the killed broker's store, holes and all.
    fn hand_over(&self, from: &Path, to: &Path) -> Result<(), CheckError> {
        fs::create_dir_all(to)?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--sparse=always"]).arg(Target::store(from)).arg(Target::store(to));
        if copy.status()?.success() {
            return Ok(());
        }
        Err(CheckError::Never { what: "a copy of the store", seconds: 0 })
    }

    /// Our broker must not touch a store on which Apache's is running.
    fn refuses_a_store_in_use(&self, first: &Path) -> Result<(), CheckError> {
        let conf = self.dir.join("refused.conf");
        fs::write(&conf, format!("listenPort=0\nstorePathRootDir={}\n", Target::store(first).display()))?;
        let ended = Command::new(self.binary).args(["broker", "-c"]).arg(&conf).output()?;
        output(&String::from_utf8_lossy(&ended.stderr), &["is in use"], &["the log ends"])?;
        Ok(output(&String::from_utf8_lossy(&ended.stdout), &[], &["boot success"])?)
    }

    /// Negative control, live: the same store with one byte of one record changed must not pass.
    fn refuses_a_flipped_byte(&self, first: &Path, names: &Names, before: &Served) -> Result<(), CheckError> {
        let damaged = self.dir.join("damaged");
        self.hand_over(first, &damaged)?;
        let middle = before.of(&names.rich).nth(5).map_or(0, |stored| stored.position);
        torn::flip_a_byte(&Target::store(&damaged), SEGMENT_BYTES, middle + 90)?;
        let target = Target::start(self.launch(false, &[]), &damaged)?;
        let verdict = match Served::pull(target.broker, &names.queues()) {
            Ok(after) => before.kept_by(&after, &[]),
            Err(CheckError::Fault(fault)) => Err(fault),
            Err(other) => return Err(other),
        };
        refuses("a byte of a stored record changed", verdict)
    }
}
