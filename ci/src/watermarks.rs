//! What a broker removes and refuses as its file system fills, seen from outside on one of 128 MiB: the second half of
//! `cargo ci full-disk`.
//!
//! ```text
//!   64 segments are written; the first eight are made old, then the next eight
//!   hour    the old ones go at an hour of deleteWhen, by the broker's time zone
//!   78 %    the old ones go at any hour, and nothing else
//!   87 %    cleanFileForciblyEnable=false: a warning, and nothing goes
//!   92 %    sends are refused by name, reads go on, nothing goes; with space again sends are taken
//!   88 %    cleanFileForciblyEnable=true: the oldest go until 85 %, each told, and whose unread messages they were
//! ```
//!
//! A segment is made old while the broker is down, by the store times of its records: no checksum covers them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::compat::clock::{Deadline, Stopwatch, nap, wall_ms};
use crate::compat::target::{Launch, Target};
use crate::compat::wire::Wire;
use crate::full_disk::{Ballast, Disk, FullDiskError};

const DISK_BYTES: u64 = 128 << 20;
const SEGMENT_BYTES: u64 = 1 << 20;
const SEGMENTS: u64 = 64;
/// Four of them fill a segment, but for the filler.
const BODY_BYTES: usize = 260_000;
/// Until the broker has looked at its disk, which it does every ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "watermarks";
const GROUP: &str = "slow";
/// Where a record with an IPv4 born host says when it was stored.
const STORED_AT: u64 = 56;
const GET_MIN_OFFSET: u16 = 31;
const UPDATE_CONSUMER_OFFSET: u16 = 15;

/// A broker on the small disk.
struct Stage<'a> {
    binary: &'a Path,
    dir: &'a Path,
    store: PathBuf,
}

/// What each mark did, in words.
pub(crate) fn run(binary: &Path, dir: &Path, progress: &mut dyn Write) -> Result<(), FullDiskError> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let store = Target::store(dir);
    fs::create_dir_all(&store)?;
    let _disk = Disk::mount(&store, DISK_BYTES)?;
    let stage = Stage { binary, dir, store };
    let watch = Stopwatch::start();
    // Progress is a courtesy: a closed pipe must not fail the run.
    let mut tell =
        |what: &str| drop(writeln!(progress, "watermarks: {what} ({} s)", watch.elapsed().as_secs()));
    stage.fill()?;
    tell("64 segments");
    stage.the_hour_is_local()?;
    tell("an hour of deleteWhen, five zones east: the old ones went");
    stage.expired_go_first()?;
    tell("78 %: the old ones went, and nothing else");
    stage.refuses_and_keeps()?;
    tell("87 %: told, nothing went; 92 %: refused, read, and taken again");
    stage.gives_up_the_oldest()?;
    tell("88 % with cleanFileForciblyEnable: the oldest went, by name");
    Ok(())
}

impl Stage<'_> {
    fn start(&self, zone: &str, properties: &[String]) -> Result<Target, FullDiskError> {
        let mut launch = Launch::staticfire(self.binary);
        launch.broker.splice(0..0, ["env".to_owned(), format!("TZ={zone}")]);
        launch.properties = vec![
            format!("mappedFileSizeCommitLog={SEGMENT_BYTES}"),
            "messageIndexEnable=false".to_owned(),
            "fileReservedTime=1".to_owned(),
        ];
        launch.properties.extend_from_slice(properties);
        Ok(Target::start(launch, self.dir)?)
    }

    fn fill(&self) -> Result<(), FullDiskError> {
        let target = self.start("UTC0", &[self.never()])?;
        let mut wire = Wire::connect(target.broker)?;
        wire.create_topic(TOPIC, 1)?;
        let body = vec![b'w'; BODY_BYTES];
        while self.segments()?.len() as u64 <= SEGMENTS {
            let answer = wire.send(TOPIC, 0, &body)?;
            self.expect(answer.code == 0, || format!("a send was answered {answer:?}"))?;
        }
        let standing = json!({ "consumerGroup": GROUP, "topic": TOPIC, "queueId": "0", "commitOffset": "1" });
        wire.must(UPDATE_CONSUMER_OFFSET, &standing, &[])?;
        Ok(())
    }

    fn the_hour_is_local(&self) -> Result<(), FullDiskError> {
        self.make_old(0..8)?;
        let hour = hour_of_utc();
        // POSIX counts westwards: this zone is five hours east of Greenwich.
        let there = format!("deleteWhen={:02};{:02}", (hour + 5) % 24, (hour + 6) % 24);
        let target = self.start("EAST-5", &[there])?;
        self.await_first(8)?;
        self.first_offset_is_above_zero(&target)
    }

    fn expired_go_first(&self) -> Result<(), FullDiskError> {
        self.make_old(8..16)?;
        let target = self.start("UTC0", &[self.never(), "cleanFileForciblyEnable=true".to_owned()])?;
        nap(Duration::from_millis(500));
        self.expect_first(8, "at no hour of deleteWhen and with space left")?;
        let _ballast = self.ballast(78)?;
        self.await_first(16)?;
        self.first_offset_is_above_zero(&target)
    }

    fn refuses_and_keeps(&self) -> Result<(), FullDiskError> {
        let target = self.start("UTC0", &[self.never()])?;
        let some = self.ballast(87)?;
        self.await_log("the disk fills: 87 % of the file system of")?;
        let more = self.ballast(92)?;
        let mut wire = Wire::connect(target.broker)?;
        let body = vec![b'w'; 100];
        let deadline = Deadline::after(PATIENCE);
        let refused = loop {
            let answer = wire.send(TOPIC, 0, &body)?;
            if answer.code != 0 {
                break answer;
            }
            self.expect(!deadline.passed(), || "sends are taken at 92 %".to_owned())?;
            nap(Duration::from_millis(20));
        };
        let said = refused.fields.get("remark").and_then(|remark| remark.as_str()).unwrap_or_default();
        let path = self.store.display().to_string();
        for part in ["92 %", &path, "90 % (diskSpaceWarningLevelRatio)", "free space there"] {
            self.expect(refused.code == 14 && said.contains(part), || {
                format!("the refusal ({}) says nothing of {part}: `{said}`", refused.code)
            })?;
        }
        let first = wire.must(GET_MIN_OFFSET, &json!({ "topic": TOPIC, "queueId": "0" }), &[])?;
        let pulled = wire.pull(TOPIC, 0, first.number("offset").unwrap_or_default())?;
        self.expect(pulled.code == 0 && !pulled.body.is_empty(), || {
            format!("a read at 92 %: {}", pulled.code)
        })?;
        self.expect_first(16, "with cleanFileForciblyEnable=false")?;
        drop((some, more));
        let watch = Stopwatch::start();
        while wire.send(TOPIC, 0, &body)?.code != 0 {
            self.expect(watch.elapsed() < Duration::from_secs(5), || {
                "sends are refused 5 s after there was space".to_owned()
            })?;
            nap(Duration::from_millis(20));
        }
        self.expect_first(16, "with cleanFileForciblyEnable=false")
    }

    fn gives_up_the_oldest(&self) -> Result<(), FullDiskError> {
        let _ballast = self.ballast(88)?;
        let target = self.start("UTC0", &[self.never(), "cleanFileForciblyEnable=true".to_owned()])?;
        self.await_log("the oldest segment was removed, expired or not: ")?;
        self.await_log("more than 85 % (diskSpaceCleanForciblyRatio)")?;
        self.await_log(&format!("group {GROUP} had not read"))?;
        let deadline = Deadline::after(PATIENCE);
        while self.used_percent()? >= 86 {
            self.expect(!deadline.passed(), || "removal by force does not end below the mark".to_owned())?;
            nap(Duration::from_millis(50));
        }
        let first = self.first()?;
        self.expect((18..24).contains(&first), || format!("{first} segments are gone, 3 % are four"))?;
        let answer = Wire::connect(target.broker)?.send(TOPIC, 0, b"still taken")?;
        self.expect(answer.code == 0, || format!("a send after it was answered {answer:?}"))
    }

    /// `deleteWhen` at an hour that this run does not see.
    fn never(&self) -> String {
        format!("deleteWhen={:02}", (hour_of_utc() + 12) % 24)
    }

    /// Sets the first records of the segments behind these back by a day: a segment is as old as what comes after it.
    fn make_old(&self, segments: std::ops::Range<u64>) -> io::Result<()> {
        let yesterday = wall_ms() - 86_400_000;
        for segment in segments {
            let path = self.store.join(format!("commitlog/{:020}", (segment + 1) * SEGMENT_BYTES));
            let file = OpenOptions::new().write(true).open(path)?;
            file.write_all_at(&yesterday.to_be_bytes(), STORED_AT)?;
        }
        Ok(())
    }

    /// The numbers of the segments there are.
    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(self.store.join("commitlog"))? {
            let name = entry?.file_name();
            segments
                .extend(name.to_str().and_then(|name| name.parse::<u64>().ok()).map(|at| at / SEGMENT_BYTES));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn first(&self) -> io::Result<u64> {
        Ok(self.segments()?.first().copied().unwrap_or_default())
    }

    /// Waits until the log begins with a segment.
    fn await_first(&self, wanted: u64) -> Result<(), FullDiskError> {
        let deadline = Deadline::after(PATIENCE);
        while self.first()? < wanted {
            self.expect(!deadline.passed(), || {
                format!("the log begins with segment {:?}, not {wanted}", self.first().ok())
            })?;
            nap(Duration::from_millis(20));
        }
        // Nothing goes that was not to go: not now, nor at the next look.
        nap(Duration::from_millis(1_500));
        self.expect_first(wanted, "of those that had not expired")
    }

    fn expect_first(&self, wanted: u64, when: &str) -> Result<(), FullDiskError> {
        let first = self.first()?;
        self.expect(first == wanted, || format!("segments {wanted} to {first} went {when}"))
    }

    fn first_offset_is_above_zero(&self, target: &Target) -> Result<(), FullDiskError> {
        let mut wire = Wire::connect(target.broker)?;
        let answer = wire.must(GET_MIN_OFFSET, &json!({ "topic": TOPIC, "queueId": "0" }), &[])?;
        let (first, min) = (self.first()?, answer.number("offset").unwrap_or_default());
        self.expect(min >= i64::try_from(first).unwrap_or(i64::MAX), || {
            format!("the log begins with segment {first} and the queue at offset {min}")
        })?;
        let moved = wire.pull(TOPIC, 0, 0)?;
        let next = moved.number("nextBeginOffset");
        self.expect(moved.code == 21 && next == Some(min), || {
            format!("a pull from 0 is told {} {next:?}", moved.code)
        })
    }

    fn await_log(&self, wanted: &str) -> Result<(), FullDiskError> {
        let deadline = Deadline::after(PATIENCE);
        let log = self.dir.join("broker.out");
        while !fs::read_to_string(&log)?.contains(wanted) {
            self.expect(!deadline.passed(), || format!("{} does not say `{wanted}`", log.display()))?;
            nap(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Fills the disk to between `percent` and one more; it is free again when the value goes.
    fn ballast(&self, percent: u64) -> Result<Weight, FullDiskError> {
        let (size, available) = self.space()?;
        let wanted = size * percent / 100 + size / 200;
        let path = self.store.join(format!("ballast-{percent}"));
        drop(Ballast::of(&path, wanted.saturating_sub(size - available))?);
        Ok(Weight { path })
    }

    fn used_percent(&self) -> Result<u64, FullDiskError> {
        let (size, available) = self.space()?;
        Ok((size - available) * 100 / size)
    }

    /// Bytes of the file system, and those available.
    fn space(&self) -> Result<(u64, u64), FullDiskError> {
        let done = Command::new("df").args(["-B1", "--output=size,avail"]).arg(&self.store).output()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let words: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match words.as_slice() {
            [size, available] => Ok((*size, *available)),
            _ => Err(FullDiskError::Mark { what: format!("df says `{said}`") }),
        }
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), FullDiskError> {
        if holds { Ok(()) } else { Err(FullDiskError::Mark { what: what() }) }
    }
}

/// A file that is in the way.
struct Weight {
    path: PathBuf,
}

impl Drop for Weight {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn hour_of_utc() -> u64 {
    wall_ms() / 3_600_000 % 24
}
