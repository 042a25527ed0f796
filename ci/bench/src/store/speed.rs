//! The comparisons of speed.

use std::hint::black_box;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use staticfire::base::{QueueId, Timestamp};
use staticfire::env::{Access, Env, Segment};
use staticfire::protocol::record::{NewRecord, encoded_len};
use staticfire::store::{AppendError, Appended, Config, Flush, Published, Retention, Store};

use super::Options;
use crate::rounds::{Spread, progress, spread};

/// Records of one append: what a drain of a busy connection holds.
const UNIT: usize = 64;
const BODY_BYTES: usize = 1024;
const QUEUES_PER_TOPIC: usize = 8;

/// A store, and the records it is given, over and over.
pub(super) struct Side {
    pub(super) store: Arc<Store>,
    records: Vec<NewRecord>,
    next: usize,
    out: Vec<Appended>,
    published: Vec<Published>,
    /// For the log's window to open, since the clock of a round was started.
    waited: Duration,
}

pub(super) fn runtime() -> io::Result<tokio_real::runtime::Runtime> {
    tokio_real::runtime::Builder::new_current_thread().enable_all().build()
}

/// When a record must be durable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// After the clock has stopped.
    Later,
    /// Before it stops.
    AtTheEnd,
    EachUnit,
}

/// Bytes per second of the store over those of a bare copy and CRC.
pub(super) fn append(options: &Options) -> io::Result<Spread> {
    against_bare("append", options, Flush::ASYNC, options.burst, Durable::Later)
}

/// The same, but as long as it takes until all of it is durable, and more of it than the store lets run ahead of the
/// disk.
pub(super) fn sustained(options: &Options) -> io::Result<Spread> {
    against_bare("sustained", options, Flush::ASYNC, options.megabytes, Durable::AtTheEnd)
}

/// The same with a sync for every unit, on both sides.
pub(super) fn sync(options: &Options) -> io::Result<Spread> {
    against_bare("sync", options, Flush::Sync, options.megabytes / 4, Durable::EachUnit)
}

fn against_bare(
    what: &str,
    options: &Options,
    flush: Flush,
    megabytes: u64,
    durable: Durable,
) -> io::Result<Spread> {
    runtime()?.block_on(async {
        let env = staticfire::env::real::env();
        let mut side = Side::open(&env, &options.dir.join(what), flush, Input::HOT).await?;
        let count = side.count(megabytes);
        // Memory that the kernel has never given out before costs many times what it costs later.
        side.fill(count).await?;
        side.settle().await?;
        let mut ratios = Vec::new();
        for round in 0..options.rounds {
            let (mut ours, mut bare) = (0.0, 0.0);
            for turn in [round, round + 1] {
                recycle(&options.dir, count * side.record_bytes())?;
                if turn % 2 == 0 {
                    ours = side.fill_as(count, durable).await?;
                } else {
                    bare = Bare::map(&env, &options.dir, count, &side).await?.copy(count, durable).await?;
                }
            }
            ratios.push(bare / ours);
            note(what, round, ours, bare, count);
            if !side.waited.is_zero() {
                let (all, waited) = (ours * 1e3, side.waited.as_secs_f64() * 1e3);
                progress(&format!("  waited {waited:.0} of {all:.0} ms for the log's window"));
            }
            side.settle().await?;
        }
        side.close().await?;
        Ok(spread(ratios))
    })
}

/// Bytes per second of a store with many queues over those of one with one.
pub(super) fn queues(options: &Options) -> io::Result<Spread> {
    runtime()?.block_on(async {
        let env = staticfire::env::real::env();
        let mut one = Side::open(&env, &options.dir.join("one"), Flush::ASYNC, Input::cold(1)).await?;
        let mut many =
            Side::open(&env, &options.dir.join("many"), Flush::ASYNC, Input::cold(options.queues)).await?;
        let count = one.count(options.megabytes);
        // The first message of a queue is another matter: creating it.
        let began = Instant::now();
        many.fill(options.queues).await?;
        let new = began.elapsed().as_secs_f64();
        progress(&format!("queues: a message each for {} new queues took {new:.2} s", options.queues));
        one.fill(options.queues).await?;
        one.settle().await?;
        many.settle().await?;
        let mut ratios = Vec::new();
        for round in 0..options.rounds {
            let (mut of_many, mut of_one) = (0.0, 0.0);
            for turn in [round, round + 1] {
                recycle(&options.dir, count * one.record_bytes())?;
                if turn % 2 == 0 {
                    of_many = many.fill(count).await?;
                } else {
                    of_one = one.fill(count).await?;
                }
                one.settle().await?;
                many.settle().await?;
            }
            ratios.push(of_one / of_many);
            note("queues", round, of_many, of_one, count);
        }
        one.close().await?;
        many.close().await?;
        Ok(spread(ratios))
    })
}

/// Pages for the page cache that were in use just before. A virtual machine's first touch of memory costs many times a
/// later one, and whoever came second in a round would pay it.
fn recycle(dir: &Path, bytes: usize) -> io::Result<()> {
    let path = dir.join("recycled");
    let mut file = std::fs::File::create(&path)?;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..bytes.div_ceil(chunk.len()) {
        file.write_all(&chunk)?;
    }
    drop(file);
    std::fs::remove_file(&path)?;
    // Where the file system discards freed blocks, it does so now and not beside whoever comes next.
    Ok(rustix::fs::syncfs(std::fs::File::open(dir)?)?)
}

fn note(what: &str, round: usize, ours: f64, other: f64, count: usize) {
    let rate = |seconds: f64| count as f64 / seconds / 1e3;
    progress(&format!("{what} {}: {:.0} k/s against {:.0} k/s", round + 1, rate(ours), rate(other)));
}

impl Side {
    pub(super) async fn open(env: &Env, root: &Path, flush: Flush, input: Input) -> io::Result<Side> {
        let mut config = Config::new(root);
        config.flush = flush;
        config.retention = Retention { keep_ms: None, keep_bytes: Some(2 << 30) };
        let (store, _) = Store::open(env, config).await.map_err(io::Error::other)?;
        let records = records(input, BODY_BYTES);
        Ok(Side { store, records, next: 0, out: Vec::new(), published: Vec::new(), waited: Duration::ZERO })
    }

    /// Records that make up so many megabytes; whole units.
    pub(super) fn count(&self, megabytes: u64) -> usize {
        let count = megabytes * 1_000_000 / self.record_bytes() as u64;
        usize::try_from(count).unwrap_or(usize::MAX).next_multiple_of(UNIT)
    }

    fn record_bytes(&self) -> usize {
        encoded_len(&self.records[0]).expect("the record is an ordinary one")
    }

    async fn append(&mut self) -> io::Result<()> {
        let unit = &self.records[self.next..self.next + UNIT];
        self.next = (self.next + UNIT) % self.records.len();
        self.out.clear();
        loop {
            match self.store.append(unit, &mut self.out) {
                Ok(()) => break,
                Err(AppendError::NotReady) => {
                    let began = Instant::now();
                    self.store.writable().await;
                    self.waited += began.elapsed();
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        self.published.clear();
        self.store.take_published(&mut self.published);
        Ok(())
    }

    /// Seconds for `count` records, while the store's flush is at work; the last of them are durable when it returns.
    pub(super) async fn fill(&mut self, count: usize) -> io::Result<f64> {
        self.fill_as(count, Durable::Later).await
    }

    async fn fill_as(&mut self, count: usize, durable: Durable) -> io::Result<f64> {
        self.waited = Duration::ZERO;
        let began = Instant::now();
        for _ in 0..count.div_ceil(UNIT) {
            self.append().await?;
            match durable {
                // As between two turns of the broker: the store's tasks get theirs.
                Durable::Later | Durable::AtTheEnd => next_turn().await,
                Durable::EachUnit => self.durable().await?,
            }
        }
        if durable == Durable::AtTheEnd {
            self.durable().await?;
        }
        let took = began.elapsed().as_secs_f64();
        self.durable().await?;
        Ok(took)
    }

    async fn durable(&self) -> io::Result<()> {
        self.store.wait_durable(self.store.appended()).await.map_err(io::Error::other)
    }

    /// Until nothing is under way any more; what is old goes.
    async fn settle(&self) -> io::Result<()> {
        while self.store.stats().checkpoint < self.store.appended() {
            tokio_real::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.store.run_retention(Timestamp(0)).await.map_err(io::Error::other)?;
        Ok(())
    }

    pub(super) async fn close(&self) -> io::Result<()> {
        self.store.shutdown().await.map_err(io::Error::other)
    }
}

/// Lets the other tasks that are ready have their turn, as a busy connection's does. (tokio's own `yield_now` asks the
/// kernel for news each time, which a runtime with tasks that are ready does every 61 turns.)
async fn next_turn() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a store is given: records for so many queues in turn.
#[derive(Clone, Copy)]
pub(super) struct Input {
    queues: usize,
    records: usize,
}

impl Input {
    /// A unit, over and over: what a broker has just decoded is in the cache, as the record of the bare copy is.
    const HOT: Input = Input { queues: 1, records: UNIT };

    /// One record for each queue, and at least as many as make one queue's input as cold as that of 40,000.
    pub(super) fn cold(queues: usize) -> Input {
        Input { queues, records: queues.next_multiple_of(UNIT).max(40_000) }
    }
}

/// The records of an input, which share one body.
pub(super) fn records(input: Input, body_bytes: usize) -> Vec<NewRecord> {
    let Input { queues, records } = input;
    let body = Bytes::from(vec![b'x'; body_bytes]);
    let topics: Vec<Arc<str>> =
        (0..queues.div_ceil(QUEUES_PER_TOPIC)).map(|topic| Arc::from(format!("topic-{topic}"))).collect();
    let new = |at: usize| {
        let queue = at % queues;
        NewRecord {
            topic: Arc::clone(&topics[queue / QUEUES_PER_TOPIC]),
            queue: QueueId(u32::try_from(queue % QUEUES_PER_TOPIC).expect("few queues")),
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(1),
            born_host: std::net::SocketAddr::from(([127, 0, 0, 1], 5_000)),
            store_host: std::net::SocketAddr::from(([127, 0, 0, 1], 10_911)),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.clone(),
            properties: Bytes::new(),
            tags_code: 0,
        }
    };
    (0..records).map(new).collect()
}

/// The bare copy: the bytes of a record, the CRC of its body, into a mapping made as the store makes its own.
struct Bare {
    segment: Arc<dyn Segment>,
    record: Vec<u8>,
    path: std::path::PathBuf,
}

impl Bare {
    async fn map(env: &Env, dir: &Path, count: usize, like: &Side) -> io::Result<Bare> {
        let path = dir.join("bare");
        let record = vec![b'x'; like.record_bytes()];
        let bytes = Config::new(dir).segment_bytes.max((count * record.len()) as u64);
        let segment = env.disk.map(&path, bytes, Access::Create).await?;
        Ok(Bare { segment, record, path })
    }

    fn unit(&self, at: &mut u64) -> io::Result<()> {
        let record = self.record.as_slice();
        self.segment.fill(*at, UNIT * record.len(), &mut |room| {
            for room in room.chunks_exact_mut(record.len()) {
                black_box(crc32fast::hash(black_box(&record[..BODY_BYTES])));
                room.copy_from_slice(black_box(record));
            }
        })?;
        *at += (UNIT * record.len()) as u64;
        Ok(())
    }

    /// Seconds for `count` records.
    async fn copy(self, count: usize, durable: Durable) -> io::Result<f64> {
        let began = Instant::now();
        let mut at = 0;
        for _ in 0..count / UNIT {
            let from = at;
            self.unit(&mut at)?;
            if durable == Durable::EachUnit {
                self.segment.sync(from, at - from).await?;
            }
        }
        if durable == Durable::AtTheEnd {
            self.segment.sync(0, at).await?;
        }
        let took = began.elapsed().as_secs_f64();
        if durable == Durable::Later {
            self.segment.sync(0, at).await?;
        }
        std::fs::remove_file(&self.path)?;
        Ok(took)
    }
}
