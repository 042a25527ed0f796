//! `cargo ci kill9`: kill -9 of the broker under load with synchronous flush, again and again.
//!
//! ```text
//!   round:  writers send and note each acknowledgement  ─┐
//!           a reader follows every queue                 ├─ SIGKILL ─ restart ─ read to the end ─ judge the round
//!   end:    read everything once more from offset 0 and compare with what was acknowledged and with what was read
//! ```
//!
//! Judged: every acknowledged message is at its acknowledged place with its contents; every record's checksum holds; offsets
//! leave no gap; what a reader once saw stays. A message whose answer never came may or may not be there.
//!
//! Not here: loss of un-synced pages, which no process kill can cause (the simulation does that).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;

use crate::compat::clock::{Deadline, Stopwatch, nap};
use crate::compat::target::{Launch, Target, TargetError};
use crate::compat::wire::{Wire, WireError};

/// Topic of the load.
pub(crate) const TOPIC: &str = "kill9";
/// Its queues, each with its own writers.
pub(crate) const QUEUES: u32 = 4;
/// Writers per queue: acknowledgements of one queue come from several connections.
const WRITERS_PER_QUEUE: u32 = 2;

/// What to run.
pub(crate) struct Options {
    /// Directory for servers and logs; emptied first.
    pub(crate) dir: PathBuf,
    /// The servers.
    pub(crate) launch: Launch,
    /// How many kills, or floods of the disk.
    pub(crate) rounds: u32,
}

/// Why the run did not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kill9Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("round {round}: {fault}")]
    Round { round: u32, fault: Fault },
    #[error("at the end: {0}")]
    End(Fault),
    #[error("negative control: the judge passed {0}")]
    Blind(&'static str),
    #[error("round {0}: nothing was acknowledged before the kill, so nothing was proven")]
    NoLoad(u32),
}

/// What must not happen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("acknowledged message `{id}` is not at queue {queue} offset {offset}: there is {there}")]
    Lost { queue: u32, offset: i64, id: String, there: String },
    #[error("queue {queue} offset {offset}: the record is corrupt ({what})")]
    Corrupt { queue: u32, offset: i64, what: &'static str },
    #[error("queue {queue}: offset {is} came where {wanted} was due")]
    Gap { queue: u32, is: i64, wanted: i64 },
    #[error("queue {queue} ends at {end}, and its reader had reached {reached}")]
    Shrunk { queue: u32, end: i64, reached: i64 },
    #[error("queue {queue} offset {offset} was `{was}` for a reader and is `{is}` now")]
    Changed { queue: u32, offset: i64, was: String, is: String },
}

/// What a run that held has to tell.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: u32,
    acknowledged: usize,
    read: usize,
    restarts: Vec<Duration>,
    elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut restarts = self.restarts.clone();
        restarts.sort_unstable();
        let middle = restarts.get(restarts.len() / 2).copied().unwrap_or_default().as_millis();
        let worst = restarts.last().copied().unwrap_or_default().as_millis();
        let Self { rounds, acknowledged, read, elapsed, .. } = self;
        write!(
            f,
            "{rounds} kills, {acknowledged} messages acknowledged, {read} read, none lost, none corrupt; restart to \
             route {middle} ms median, {worst} ms worst; {} s",
            elapsed.as_secs()
        )
    }
}

/// Place of a message.
pub(crate) type Place = (u32, i64);

/// One acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    pub(crate) place: Place,
    pub(crate) id: String,
}

/// Runs all rounds; tells each on `progress`.
pub(crate) fn run(options: Options, progress: &mut dyn Write) -> Result<Report, Kill9Error> {
    let watch = Stopwatch::start();
    if options.dir.exists() {
        fs::remove_dir_all(&options.dir)?;
    }
    let mut launch = options.launch;
    // Small segments, so that kills also meet the roll from one file to the next.
    launch.properties =
        vec!["flushDiskType=SYNC_FLUSH".to_owned(), "mappedFileSizeCommitLog=4194304".to_owned()];
    let mut target = Target::start(launch, &options.dir)?;
    Wire::connect(target.broker)?.create_topic(TOPIC, QUEUES)?;
    let mut reader = Reader::default();
    let mut acknowledged: Vec<Ack> = Vec::new();
    let mut restarts = Vec::new();
    for round in 0..options.rounds {
        // 80 to 400 ms of load, differently long each time and the same in every run.
        let load = Duration::from_millis(80 + u64::from(round * 7919 % 320));
        let acks = under_load(&mut target, round, load, &mut reader)?;
        let restart = Stopwatch::start();
        target.start_broker()?;
        restarts.push(restart.elapsed());
        let fault = |fault| Kill9Error::Round { round, fault };
        reader.read_to_end(target.broker)?.map_err(fault)?;
        judge(&acks, &reader.seen).map_err(fault)?;
        if acks.is_empty() {
            return Err(Kill9Error::NoLoad(round));
        }
        // Progress is a courtesy: a closed pipe must not fail the run.
        drop(writeln!(
            progress,
            "round {round}: {} acknowledged, {} read in all, restart {} ms",
            acks.len(),
            reader.seen.len(),
            restart.elapsed().as_millis()
        ));
        acknowledged.extend(acks);
    }
    let mut again = Reader::default();
    again.read_to_end(target.broker)?.map_err(Kill9Error::End)?;
    judge(&acknowledged, &again.seen).map_err(Kill9Error::End)?;
    unchanged(&reader.seen, &again.seen).map_err(Kill9Error::End)?;
    controls(&acknowledged, &again.seen)?;
    let (rounds, read) = (options.rounds, again.seen.len());
    Ok(Report { rounds, acknowledged: acknowledged.len(), read, restarts, elapsed: watch.elapsed() })
}

/// Writers and a reader at work until the broker is killed under them; returns what was acknowledged.
fn under_load(
    target: &mut Target,
    round: u32,
    load: Duration,
    reader: &mut Reader,
) -> Result<Vec<Ack>, Kill9Error> {
    let acks = Mutex::new(Vec::new());
    let broker = target.broker;
    let read = std::thread::scope(|scope| {
        for writer in 0..QUEUES * WRITERS_PER_QUEUE {
            let acks = &acks;
            scope.spawn(move || write_until_killed(broker, round, writer, acks));
        }
        let follow = scope.spawn(|| {
            // Ends when the connection does; a fault of the records is kept.
            let mut result = Ok(());
            while result.is_ok() {
                match reader.read_to_end(broker) {
                    Ok(judged) => result = judged,
                    Err(_) => break,
                }
            }
            result
        });
        // The load is measured from the first acknowledgement: a kill before it proves nothing.
        let patience = Deadline::after(Duration::from_secs(10));
        while acks.lock().is_empty() && !patience.passed() {
            nap(Duration::from_millis(1));
        }
        nap(load);
        target.kill_broker();
        follow.join()
    });
    match read {
        Ok(judged) => judged.map_err(|fault| Kill9Error::Round { round, fault })?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    Ok(acks.into_inner())
}

fn write_until_killed(broker: SocketAddr, round: u32, writer: u32, acks: &Mutex<Vec<Ack>>) {
    let Ok(mut wire) = Wire::connect(broker) else { return };
    let queue = writer % QUEUES;
    for n in 0_u64.. {
        let id = format!("{round}-{writer}-{n}");
        let Ok(answer) = wire.send(TOPIC, queue, &body(&id)) else { return };
        if let (0, Some(offset)) = (answer.code, answer.number("queueOffset")) {
            acks.lock().push(Ack { place: (queue, offset), id });
        }
    }
}

/// The body of message `id`: the id, then letters that follow from it, 200 to 3,200 bytes.
pub(crate) fn body(id: &str) -> Vec<u8> {
    let sum: u32 = id.bytes().map(u32::from).sum();
    let length = 200 + usize::try_from(sum * 31 % 3000).unwrap_or(0);
    let start = usize::try_from(sum % 26).unwrap_or(0);
    let letters = b"abcdefghijklmnopqrstuvwxyz".iter().cycle().skip(start).copied();
    id.bytes().chain([b'|']).chain(letters).take(length).collect()
}

/// Follows every queue of the topic.
#[derive(Default)]
pub(crate) struct Reader {
    next: BTreeMap<u32, i64>,
    seen: BTreeMap<Place, String>,
}

impl Reader {
    /// What was read, by place.
    pub(crate) fn seen(&self) -> &BTreeMap<Place, String> {
        &self.seen
    }

    /// Reads every queue to its end. The outer error is the connection's, the inner one a broken promise.
    pub(crate) fn read_to_end(&mut self, broker: SocketAddr) -> Result<Result<(), Fault>, WireError> {
        let mut wire = Wire::connect(broker)?;
        for queue in 0..QUEUES {
            let patience = Deadline::after(Duration::from_secs(20));
            loop {
                let next = self.next.get(&queue).copied().unwrap_or(0);
                let answer = wire.pull(TOPIC, queue, next)?;
                let end = answer.number("maxOffset").unwrap_or(-1);
                if end < next {
                    return Ok(Err(Fault::Shrunk { queue, end, reached: next }));
                }
                if let Err(fault) = self.take(queue, &answer.body) {
                    return Ok(Err(fault));
                }
                let reached = self.next.get(&queue).copied().unwrap_or(0);
                if reached >= end || patience.passed() {
                    break;
                }
            }
        }
        Ok(Ok(()))
    }

    fn take(&mut self, queue: u32, mut records: &[u8]) -> Result<(), Fault> {
        while !records.is_empty() {
            let wanted = self.next.get(&queue).copied().unwrap_or(0);
            let corrupt = |what| Fault::Corrupt { queue, offset: wanted, what };
            let (record, rest) = Record::cut(records).map_err(corrupt)?;
            if record.queue_offset != wanted {
                return Err(Fault::Gap { queue, is: record.queue_offset, wanted });
            }
            let id = record.body.split(|byte| *byte == b'|').next().unwrap_or_default();
            let id = String::from_utf8_lossy(id).into_owned();
            if record.body != body(&id) {
                return Err(corrupt("the body is not what was sent"));
            }
            self.seen.insert((queue, wanted), id);
            self.next.insert(queue, wanted + 1);
            records = rest;
        }
        Ok(())
    }
}

/// The parts of a stored record that are judged. IPv4 addresses only, which is what a loopback load has.
///
/// ```text
/// 0 size · 4 magic · 8 body crc · 20 queue offset i8 · 36 sysFlag · 84 body length · 88 body · … to size
/// ```
struct Record<'a> {
    queue_offset: i64,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    fn cut(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), &'static str> {
        const MAGIC: u32 = 0xDAA3_20A7;
        let u32_at = |at: usize| -> Result<u32, &'static str> {
            let four = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or("truncated")?;
            Ok(u32::from_be_bytes(*four))
        };
        let usize_at = |at| u32_at(at).and_then(|n| usize::try_from(n).map_err(|_| "size"));
        let (record, rest) = bytes.split_at_checked(usize_at(0)?).ok_or("truncated")?;
        if u32_at(4)? != MAGIC {
            return Err("magic");
        }
        if u32_at(36)? & 0x30 != 0 {
            return Err("an IPv6 host");
        }
        let length = usize_at(84)?;
        let body = record.get(88..).and_then(|tail| tail.get(..length)).ok_or("body length")?;
        if u32_at(8)? != crc32(body) & 0x7FFF_FFFF {
            return Err("checksum");
        }
        let offset = bytes.get(20..).and_then(<[u8]>::first_chunk::<8>).ok_or("truncated")?;
        Ok((Self { queue_offset: i64::from_be_bytes(*offset), body }, rest))
    }
}

/// CRC-32 (IEEE), bit by bit: an independent witness for what the broker stored.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
            },
        )
    })
}

/// Every acknowledged message is where it was acknowledged.
pub(crate) fn judge(acks: &[Ack], seen: &BTreeMap<Place, String>) -> Result<(), Fault> {
    match acks.iter().find(|ack| seen.get(&ack.place) != Some(&ack.id)) {
        Some(ack) => {
            let there = seen.get(&ack.place).cloned().unwrap_or_else(|| "nothing".to_owned());
            let (queue, offset) = ack.place;
            Err(Fault::Lost { queue, offset, id: ack.id.clone(), there })
        }
        None => Ok(()),
    }
}

/// What a reader once saw is still there.
fn unchanged(before: &BTreeMap<Place, String>, now: &BTreeMap<Place, String>) -> Result<(), Fault> {
    match before.iter().find(|(place, id)| now.get(place) != Some(id)) {
        Some(((queue, offset), was)) => {
            let is = now.get(&(*queue, *offset)).cloned().unwrap_or_else(|| "nothing".to_owned());
            Err(Fault::Changed { queue: *queue, offset: *offset, was: was.clone(), is })
        }
        None => Ok(()),
    }
}

/// The judge must refuse a record with a message taken out and one with two exchanged.
fn controls(acks: &[Ack], seen: &BTreeMap<Place, String>) -> Result<(), Kill9Error> {
    let Some(middle) = acks.get(acks.len() / 2) else { return Ok(()) };
    let mut without = seen.clone();
    without.remove(&middle.place);
    if judge(acks, &without).is_ok() || unchanged(seen, &without).is_ok() {
        return Err(Kill9Error::Blind("a lost message"));
    }
    let mut other = seen.clone();
    other.insert(middle.place, "another".to_owned());
    if judge(acks, &other).is_ok() || unchanged(seen, &other).is_ok() {
        return Err(Kill9Error::Blind("an exchanged message"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_record_with_one_bit_changed_is_corrupt() {
        let body = body("1-2-3");
        let mut record = vec![0_u8; 88];
        record.extend(&body);
        let size = u32::try_from(record.len()).unwrap_or(0);
        record[..4].copy_from_slice(&size.to_be_bytes());
        record[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
        record[8..12].copy_from_slice(&(crc32(&body) & 0x7FFF_FFFF).to_be_bytes());
        record[84..88].copy_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        let mut reader = Reader::default();
        assert_eq!(reader.take(0, &record), Ok(()));
        assert_eq!(reader.seen.get(&(0, 0)).map(String::as_str), Some("1-2-3"));
        record[100] ^= 1;
        let corrupt = Fault::Corrupt { queue: 1, offset: 0, what: "checksum" };
        assert_eq!(reader.take(1, &record), Err(corrupt));
    }
}
