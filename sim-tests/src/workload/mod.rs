//! What the clients of a run do: independent workloads, composed on one cluster by the seed.
//!
//! ```text
//! producer-1 …   plain (also oneway and batches) and ordered sends        produce.rs
//! trader-1 …     transactions, decided by a listener                      trade.rs
//! member-1 …     consumes everything, each group in its own way           consume.rs
//! ```
//!
//! A client is a process that dies like any other. What it must remember over its deaths (which message is next, how
//! often one failed) is on this side, in [`Site`]: a user's database, say.

pub(crate) mod consume;
pub(crate) mod produce;
pub(crate) mod trade;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use staticfire::base::Draw;
use staticfire::client::Message;
use staticfire::client::RequestError;
use staticfire::client::SendCause;
use staticfire::client::SendError;
use staticfire::client::SendReceipt;
use staticfire::client::SendStatus;
use staticfire::protocol::ResponseCode;
use staticfire_chaos::cluster::Process;
use staticfire_chaos::history::History;
use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::SendOutcome;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;

use crate::oracle::NONSENSE;
use crate::swarm::plan::Plan;

pub(crate) const PLAIN: &str = "plain";
pub(crate) const ORDERS: &str = "orders";
pub(crate) const TRADES: &str = "trades";
/// Every topic, with the group that consumes it, and whether in order.
pub(crate) const TOPICS: [(&str, &str, bool); 3] =
    [(PLAIN, "g-plain", false), (ORDERS, "g-orders", true), (TRADES, "g-trades", false)];
/// Further attempts of a message before it becomes a dead letter.
pub(crate) const RETRIES: u32 = 2;
/// Attempts of one send.
pub(crate) const ATTEMPTS: u32 = 3;

/// What all processes of a run share.
pub(crate) struct Site {
    pub(crate) plan: Plan,
    pub(crate) draw: Draw,
    pub(crate) promise: Promise,
    history: History,
    jobs: Mutex<BTreeMap<String, Job>>,
    /// How often a group was handed a message.
    handed: Mutex<BTreeMap<(Name, MessageKey), u32>>,
    asked: Mutex<BTreeMap<MessageKey, u32>>,
}

/// What one process has still to do, over all its lives.
#[derive(Default)]
struct Job {
    producer: u16,
    left: u64,
    next: BTreeMap<u32, u32>,
    /// One was taken, and its sending has not begun.
    in_hand: bool,
}

/// What a listener knows in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Commit,
    Rollback,
    /// Nobody will ever know.
    Never,
}

impl Site {
    pub(crate) fn new(plan: Plan, draw: Draw, promise: Promise, history: &History) -> Site {
        Site {
            plan,
            draw: draw.domain("site"),
            promise,
            history: history.clone(),
            jobs: Mutex::default(),
            handed: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Gives a process `count` messages to send.
    pub(crate) fn assign(&self, job: &str, count: u64) {
        let producer = self.history.next_producer();
        self.jobs.lock().insert(job.to_owned(), Job { producer, left: count, ..Job::default() });
    }

    /// Takes one message from a job. The next one of its shard is later in every respect.
    pub(crate) fn next(&self, job: &str, shard: impl FnOnce(u64) -> u32) -> Option<MessageKey> {
        let mut jobs = self.jobs.lock();
        let job = jobs.get_mut(job).expect("a job was assigned before its process started");
        job.in_hand = job.left > 0;
        job.left = job.left.checked_sub(1)?;
        let shard = shard(job.left);
        let seq = job.next.entry(shard).or_insert(0);
        *seq += 1;
        Some(MessageKey { producer: job.producer, shard, seq: *seq })
    }

    /// Messages that nobody has begun to send.
    pub(crate) fn left(&self) -> u64 {
        self.jobs.lock().values().map(|job| job.left + u64::from(job.in_hand)).sum()
    }

    /// How often a group was handed the message before.
    pub(crate) fn handed(&self, group: Name, key: MessageKey) -> u32 {
        let mut handed = self.handed.lock();
        let times = handed.entry((group, key)).or_insert(0);
        *times += 1;
        *times - 1
    }

    pub(crate) fn asked(&self, key: MessageKey) -> u32 {
        let mut asked = self.asked.lock();
        let times = asked.entry(key).or_insert(0);
        *times += 1;
        *times
    }

    /// A number below `below` that a message has for one purpose.
    pub(crate) fn of(&self, purpose: &str, key: MessageKey, below: u64) -> u64 {
        let subject = (u64::from(key.producer) << 32) | u64::from(key.shard);
        self.draw.range(purpose, subject, u64::from(key.seq), 0, below)
    }

    pub(crate) fn truth(&self, key: MessageKey) -> Truth {
        match self.of("truth", key, 100) {
            0..60 => Truth::Commit,
            60..90 => Truth::Rollback,
            _ => Truth::Never,
        }
    }

    /// Makes the message and notes that it is about to be sent.
    pub(crate) fn invoke(&self, process: &Process, topic: &str, key: MessageKey, intent: Intent) -> Message {
        if let Some(job) = self.jobs.lock().values_mut().find(|job| job.producer == key.producer) {
            job.in_hand = false;
        }
        let len = match (self.plan.even_bytes, self.of("len", key, 100)) {
            (Some(bytes), _) => bytes,
            (_, 0..3) => 5_000,
            // Several sectors, so that a power cut tears it.
            (_, 3..60) if self.plan.only_crashes => 1_000 + self.of("bytes", key, 2_500),
            _ => 22 + self.of("bytes", key, 400),
        };
        let sealed = key.seal(self.draw, len as usize);
        process.note(What::SendInvoked {
            key,
            topic: self.history.name(topic),
            intent,
            len: u32::try_from(sealed.body.len()).unwrap_or(u32::MAX),
            crc: sealed.crc,
        });
        let text = format!("{}-{}-{}", key.producer, key.shard, key.seq);
        Message::new(topic, sealed.body).with_tag(tag(key)).with_keys([text.as_str()])
    }

    /// What an answer to a send says of the message at `index` of it.
    pub(crate) fn outcome(
        &self,
        process: &Process,
        sent: &Result<SendReceipt, SendError>,
        index: u64,
    ) -> SendOutcome {
        match sent {
            Ok(receipt) => {
                let queue = self.history.queue(&receipt.queue);
                let offset = staticfire::base::QueueOffset(receipt.offset.0 + index);
                match receipt.status {
                    SendStatus::Ok => SendOutcome::Ok { queue, offset, promise: self.promise },
                    SendStatus::FlushDiskTimeout
                    | SendStatus::FlushSlaveTimeout
                    | SendStatus::SlaveNotAvailable => SendOutcome::Weak { queue, offset },
                }
            }
            Err(error) => {
                process.history().world().trace(|| format!("{}: {error}", process.name()));
                note_nonsense(process, &error.cause);
                if error.may_be_stored {
                    SendOutcome::Info { attempts: error.attempts }
                } else {
                    SendOutcome::Fail
                }
            }
        }
    }
}

/// An answer that is none of RocketMQ's, or that cannot be read.
fn note_nonsense(process: &Process, cause: &SendCause) {
    let code = match cause {
        SendCause::Request(RequestError::Malformed { .. }) => 0,
        SendCause::Request(RequestError::Refused { code, .. }) if ResponseCode::from_i32(*code).is_none() => {
            u64::from(code.unsigned_abs())
        }
        _ => return,
    };
    process.note(What::Noted(process.history().name(NONSENSE), code));
}

pub(crate) fn tag(key: MessageKey) -> String {
    format!("t{}", key.shard % 3)
}
