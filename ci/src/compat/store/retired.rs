//! A store whose oldest segments are gone changes hands: Apache RocketMQ opens it, and tells every pull the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::SEGMENT_BYTES;
use crate::compat::clock::{Deadline, nap};
use crate::compat::install::Installed;
use crate::compat::record::Fault;
use crate::compat::stage::{CheckError, Checked};
use crate::compat::target::{Launch, Target};
use crate::compat::wire::Wire;

/// Five of them fill a segment, but for the filler.
const BODY_BYTES: usize = 200_000;
const BUSY: i64 = 24;
/// Of five segments two are kept: three times five messages go.
const BUSY_GONE: i64 = 15;
const IDLE: i64 = 3;
const GET_MIN_OFFSET: u16 = 31;
const PATIENCE: Duration = Duration::from_secs(30);

/// Where pulls start: in a queue that lost its first messages, in one that lost all, and in one that never had any.
const PULLS: &[(&str, i64)] = &[
    ("busy", 0),
    ("busy", BUSY_GONE - 1),
    ("busy", BUSY_GONE),
    ("busy", BUSY - 1),
    ("busy", BUSY),
    ("busy", BUSY + 1),
    ("idle", 0),
    ("idle", IDLE),
    ("idle", IDLE + 1),
    ("empty", 0),
    ("empty", 7),
];

/// What a pull was told: code, next, minimum, maximum, and the first word of the remark where it is moved.
#[derive(Debug, PartialEq, Eq)]
struct Told([Option<i64>; 4], Option<String>);

/// One run.
pub(in crate::compat) struct Retired<'a> {
    pub(in crate::compat) installed: &'a Installed,
    /// Our release binary.
    pub(in crate::compat) binary: &'a Path,
    /// Directory of its own.
    pub(in crate::compat) dir: PathBuf,
}

impl Retired<'_> {
    /// Runs it from the first write to the last pull.
    pub(in crate::compat) fn run(&self) -> Checked {
        fs::create_dir_all(&self.dir)?;
        let mut target = self.ours(&[])?;
        self.write(&target)?;
        target.stop(PATIENCE);
        let mut target = self.ours(&[format!("fileReservedBytes={}", 2 * SEGMENT_BYTES)])?;
        await_retention(&target)?;
        let here = told(&target)?;
        target.stop(PATIENCE);
        let mut launch = Launch::apache(&self.installed.server_jars, &self.dir.join("home"));
        launch.properties = vec![format!("mappedFileSizeCommitLog={SEGMENT_BYTES}")];
        let target = Target::start(launch, &self.dir)?;
        let there = told(&target)?;
        for (((topic, from), here), there) in PULLS.iter().zip(&here).zip(&there) {
            if here != there {
                let what = format!("a pull from {from} is told {here:?} by us and {there:?} by Apache");
                return Err(Fault::Stored { place: (*topic).to_owned(), what }.into());
            }
        }
        let codes: Vec<Option<i64>> = here.iter().map(|Told(numbers, _)| numbers[0]).collect();
        for wanted in [0, 19, 21] {
            if !codes.contains(&Some(wanted)) {
                return Err(Fault::Value { what: "pulls told this code", is: 0, due: wanted }.into());
            }
        }
        Ok(format!("{} pulls around what is gone are told the same by both", PULLS.len()))
    }

    fn ours(&self, properties: &[String]) -> Result<Target, CheckError> {
        let mut launch = Launch::staticfire(self.binary);
        launch.properties = vec![format!("mappedFileSizeCommitLog={SEGMENT_BYTES}")];
        launch.properties.extend_from_slice(properties);
        Ok(Target::start(launch, &self.dir)?)
    }

    fn write(&self, target: &Target) -> Result<(), CheckError> {
        let mut wire = Wire::connect(target.broker)?;
        for topic in ["busy", "idle", "empty"] {
            wire.create_topic(topic, 1)?;
        }
        for (topic, count, bytes) in [("idle", IDLE, 100), ("busy", BUSY, BODY_BYTES)] {
            for n in 0..count {
                let answer = wire.send(topic, 0, &vec![b'r'; bytes])?;
                if (answer.code, answer.number("queueOffset")) != (0, Some(n)) {
                    return Err(Fault::Value { what: "the code of a send", is: answer.code, due: 0 }.into());
                }
            }
        }
        Ok(())
    }
}

fn await_retention(target: &Target) -> Result<(), CheckError> {
    let mut wire = Wire::connect(target.broker)?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        let answer = wire.must(GET_MIN_OFFSET, &json!({ "topic": "busy", "queueId": "0" }), &[])?;
        if answer.number("offset") == Some(BUSY_GONE) {
            return Ok(());
        }
        if deadline.passed() {
            return Err(CheckError::Never { what: "the oldest segments to go", seconds: PATIENCE.as_secs() });
        }
        nap(Duration::from_millis(20));
    }
}

fn told(target: &Target) -> Result<Vec<Told>, CheckError> {
    let mut wire = Wire::connect(target.broker)?;
    let mut told = Vec::new();
    for (topic, from) in PULLS {
        let answer = wire.pull(topic, 0, *from)?;
        let [next, min, max] = ["nextBeginOffset", "minOffset", "maxOffset"].map(|name| answer.number(name));
        let remark = answer.fields.get("remark").and_then(|remark| remark.as_str()).unwrap_or_default();
        let word = remark.split([':', ' ']).next().unwrap_or_default().to_owned();
        told.push(Told([Some(answer.code), next, min, max], (answer.code == 21).then_some(word)));
    }
    Ok(told)
}
