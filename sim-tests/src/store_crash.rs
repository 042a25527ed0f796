//! The store on a disk that loses power at every sync.
//!
//! The promise (O1, O2, O5, O21 for a store alone): after a crash at any moment the log is a prefix of what was
//! appended, in order and whole; everything whose `wait_durable` had returned is in it; queues are a function of it;
//! recovering again, or crashing inside recovery, changes nothing. A later, shorter tail never uncovers an older one.
//!
//! How: a workload runs once and the disk keeps an image from just before each sync takes effect. From each image several
//! legal successors of a power loss are drawn; each is recovered, compared with the model, crashed again inside that
//! recovery, recovered, appended to, and crashed once more.
//!
//! What is unknown: records that were appended and not waited for may be there or not, but only as a prefix.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use staticfire::base::Draw;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::base::Timestamp;
use staticfire::env::Env;
use staticfire::protocol::record::NewRecord;
use staticfire::protocol::record::RecordView;
use staticfire::protocol::record::tags_code;
use staticfire::sim::Limits;
use staticfire::sim::Node;
use staticfire::sim::Outcome;
use staticfire::sim::Seed;
use staticfire::sim::World;
use staticfire::sim::disk::DiskImage;
use staticfire::sim::run;
use staticfire::store::AppendError;
use staticfire::store::Appended;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::ReadLimits;
use staticfire::store::ReadStatus;
use staticfire::store::Store;
use staticfire::store::planted;

const QUEUES: u32 = 4;

/// What to do how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    operations: u64,
    images: usize,
    flush: Flush,
}

/// The workload's view: records by number, and how many were acknowledged when.
#[derive(Default)]
struct Model {
    /// Queue of each record, by number: its place in the log.
    queue_of: Vec<u32>,
    /// Bytes of its body.
    size_of: Vec<usize>,
    acked: usize,
}

/// An image, and what had been promised when it was taken.
struct Moment {
    image: DiskImage,
    acked: usize,
}

pub(crate) fn config(flush: Flush) -> Config {
    let mut config = Config::small("store");
    config.segment_bytes = 16 * 1024;
    config.queue_file_units = 40;
    config.checkpoint_bytes = 24 * 1024;
    config.checkpoint_interval_ms = 50;
    config.window_bytes = 64 * 1024;
    config.hot_bytes = 8 * 1024;
    config.open_files = 3;
    config.flush = flush;
    config
}

pub(crate) fn new_record(number: usize, queue: u32, bytes: usize) -> NewRecord {
    let mut body = (number as u64).to_be_bytes().to_vec();
    body.resize(bytes.max(8), number as u8);
    let properties = Bytes::from_static(b"TAGS\x01TagA\x02");
    NewRecord {
        topic: if queue % 2 == 0 { Arc::from("even") } else { Arc::from("odd") },
        queue: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: std::net::SocketAddr::from(([10, 0, 0, 1], 5_000)),
        store_host: std::net::SocketAddr::from(([10, 0, 0, 2], 10_911)),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from(body),
        tags_code: tags_code(&properties),
        properties,
    }
}

fn topic_of(queue: u32) -> &'static str {
    if queue % 2 == 0 { "even" } else { "odd" }
}

pub(crate) async fn append(store: &Store, unit: &[NewRecord]) -> Result<Vec<Appended>, AppendError> {
    let mut out = Vec::new();
    loop {
        match store.append(unit, &mut out) {
            Ok(()) => return Ok(out),
            Err(AppendError::NotReady) => store.writable().await,
            Err(error) => return Err(error),
        }
    }
}

/// Record numbers of all queues, and of each record the queue and the place in it. Panics on anything that is not whole.
async fn contents(store: &Store) -> Vec<(usize, u32, u64)> {
    let mut found = Vec::new();
    for queue in 0..QUEUES {
        let Some(bounds) = store.bounds(topic_of(queue), QueueId(queue)) else { continue };
        let mut next = QueueOffset(0);
        while next < bounds.max {
            let limits = ReadLimits::pull(32);
            let read = store.read(topic_of(queue), QueueId(queue), next, &limits, &|_| true).await;
            let read = read.expect("a healthy disk is readable");
            assert_eq!(read.status, ReadStatus::Found, "queue {queue} at {next} of {}", bounds.max);
            for (nth, record) in read.records.iter().enumerate() {
                let view = RecordView::decode(record).expect("what is read is a record");
                view.verify_body().expect("what is read is intact");
                let number = view.body.first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
                let number = usize::try_from(number.expect("a body begins with its number")).expect("small");
                assert_eq!(view.queue_offset.0, next.0 + nth as u64);
                found.push((number, queue, view.queue_offset.0));
            }
            next = read.next;
        }
    }
    found.sort_unstable();
    found
}

/// How many records are there; they must be the first ones, each where the model has it.
async fn check(store: &Store, model: &Model, at_least: usize, story: &str) -> usize {
    let found = contents(store).await;
    let mut places = [0; QUEUES as usize];
    for (expected, (number, queue, place)) in found.iter().enumerate() {
        assert_eq!(*number, expected, "{story}: the log is not a prefix of what was appended");
        assert_eq!(
            Some(queue),
            model.queue_of.get(expected),
            "{story}: record {number} was never sent there"
        );
        let next = &mut places[*queue as usize];
        assert_eq!(*place, *next, "{story}: record {number} has another place in its queue");
        *next += 1;
    }
    assert!(found.len() >= at_least, "{story}: {} records, {at_least} were acknowledged", found.len());
    found.len()
}

/// Runs the workload on `node`; returns what the disk looked like before each sync.
async fn work(world: &World, node: &Node, plan: Plan, model: &mut Model) -> Vec<Moment> {
    let draw = world.draw().domain("workload");
    let mut moments = Vec::new();
    node.disk().record_images();
    let (mut store, _) = Store::open(&node.env(), config(plan.flush)).await.expect("opens");
    for n in 0..plan.operations {
        let before = model.acked;
        if draw.chance("restart", 0, n, 30_000) {
            if draw.chance("clean", 0, n, 500_000) {
                store.shutdown().await.expect("shuts down");
            }
            drop(store);
            node.kill();
            node.restart();
            (store, _) = Store::open(&node.env(), config(plan.flush)).await.expect("opens again");
            // A killed process loses nothing: what was appended is in the page cache.
            assert_eq!(
                check(&store, model, model.queue_of.len(), "after a restart").await,
                model.queue_of.len()
            );
            model.acked = model.queue_of.len();
        } else {
            let unit: Vec<NewRecord> = (0..draw.range("unit", 0, n, 1, 6))
                .map(|i| {
                    let key = n << 8 | i;
                    let queue =
                        u32::try_from(draw.range("queue", 0, key, 0, u64::from(QUEUES))).expect("few");
                    let bytes = draw.range("bytes", 0, key, 8, 1 << draw.range("scale", 0, key, 4, 12));
                    model.queue_of.push(queue);
                    model.size_of.push(bytes as usize);
                    new_record(model.queue_of.len() - 1, queue, bytes as usize)
                })
                .collect();
            let appended = append(&store, &unit).await.expect("appends");
            let waits = draw.chance("wait", 0, n, 700_000);
            if let Some(last) = appended.last().filter(|_| waits) {
                store.wait_durable(last.end()).await.expect("becomes durable");
                model.acked = model.queue_of.len();
            } else if draw.chance("pause", 0, n, 200_000) {
                node.env().sleep_ms(draw.range("pause.ms", 0, n, 1, 100)).await;
            }
        }
        let images = node.disk().take_images().into_iter();
        moments.extend(images.map(|image| Moment { image, acked: before }));
    }
    moments.push(Moment { image: node.disk().image(), acked: model.acked });
    moments
}

async fn open_image(node: &Node, image: DiskImage, flush: Flush) -> (Arc<Store>, Env) {
    if node.is_up() {
        node.kill();
    }
    node.disk().restore(image);
    node.restart();
    let env = node.env();
    let (store, _) = Store::open(&env, config(flush)).await.expect("a crashed store opens");
    (store, env)
}

/// Recovers one image in every way; says how many recoveries that took.
async fn recover(node: &Node, image: DiskImage, model: &Model, acked: usize, seed: u64, plan: Plan) -> u64 {
    node.disk().record_images();
    node.disk().take_images();
    let (store, env) = open_image(node, image, plan.flush).await;
    let inside: Vec<DiskImage> = node.disk().take_images();
    let kept = check(&store, model, acked, "after a power loss").await;
    let mut recoveries = 1;

    // What recovery found is durable now: another power loss takes nothing of it.
    drop(store);
    drop(env);
    let after: Vec<DiskImage> = node.disk().image().crash_images(seed, 3).collect();
    let again = after.into_iter().nth(2).expect("three were asked for");
    let (store, _) = open_image(node, again, plan.flush).await;
    assert_eq!(check(&store, model, kept, "after a second power loss").await, kept);
    recoveries += 1;

    // One record more, as long as the one that was torn away: whatever stood behind that one must not come back. Then
    // the last power loss.
    let queue = model.queue_of.get(kept).copied().unwrap_or(0);
    let bytes = model.size_of.get(kept).copied().unwrap_or(8);
    let mut longer =
        Model { queue_of: model.queue_of.get(..kept).expect("a prefix").to_vec(), ..Model::default() };
    longer.queue_of.push(queue);
    let appended = append(&store, &[new_record(kept, queue, bytes)]).await.expect("appends after recovery");
    store.wait_durable(appended.last().expect("one record").end()).await.expect("becomes durable");
    drop(store);
    let last = node.disk().image().crash_images(seed ^ 1, 1).next().expect("one was asked for");
    let (store, _) = open_image(node, last, plan.flush).await;
    assert_eq!(check(&store, &longer, kept + 1, "after one more record").await, kept + 1);
    drop(store);
    recoveries += 1;

    for (nth, image) in inside.into_iter().enumerate() {
        let crashed =
            image.crash_images(seed.wrapping_add(nth as u64), 5).last().expect("five were asked for");
        let (store, _) = open_image(node, crashed, plan.flush).await;
        check(&store, model, acked, "after a power loss inside recovery").await;
        recoveries += 1;
    }
    recoveries
}

fn crash_everywhere(seed: u64, plan: Plan, bug: Option<&'static str>) -> Outcome<(u64, u64)> {
    let limits = Limits {
        virtual_time: Duration::from_secs(1_000_000),
        real_time: Duration::from_secs(600),
        planted: bug.map(str::to_owned).into_iter().collect(),
        ..Limits::default()
    };
    run(Seed(seed), limits, move |world| async move {
        let mut model = Model::default();
        let node = world.machine("broker");
        let moments = work(&world, &node, plan, &mut model).await;
        let patient = world.machine("patient");
        let mut recoveries = 0;
        let syncs = moments.len() as u64;
        for (nth, moment) in moments.into_iter().enumerate() {
            let seed = Draw::new(seed).at("image", nth as u64, 0);
            for image in moment.image.crash_images(seed, plan.images) {
                recoveries += recover(&patient, image, &model, moment.acked, seed, plan).await;
            }
        }
        (syncs, recoveries)
    })
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| Seed::parse(&text)).map(|seed| seed.0);
    if let Some(seed) = read("SEED") {
        return seed..seed + 1;
    }
    let from = read("FROM").unwrap_or(0);
    from..from + read("SEEDS").map_or(count, |seeds| seeds.min(count))
}

const LAZY: Flush = Flush::Async { interval_ms: 5, least_pages: 1, thorough_ms: 50 };

#[test]
fn no_power_loss_bends_a_log_that_is_flushed_at_once() {
    for seed in seeds(6) {
        let plan = Plan { operations: 40, images: 6, flush: Flush::Sync };
        let (syncs, recoveries) = crash_everywhere(seed, plan, None).expect_ok();
        assert!(syncs > 20 && recoveries > syncs * 12, "{syncs} syncs, {recoveries} recoveries");
    }
}

#[test]
fn no_power_loss_bends_a_log_that_is_flushed_lazily() {
    for seed in seeds(6) {
        let plan = Plan { operations: 40, images: 6, flush: LAZY };
        crash_everywhere(seed, plan, None).expect_ok();
    }
}

#[test]
fn every_planted_bug_is_found() {
    let sync = [planted::SKIP_SYNC, planted::ACK_BEFORE_SYNC, planted::NO_DIR_SYNC];
    let lazy = [
        planted::RECOVERY_SKIPS_CRC,
        planted::KEEP_TORN_TAIL,
        planted::CHECKPOINT_AHEAD,
        planted::RECOVERY_SKIPS_SYNC,
    ];
    let all = sync.map(|bug| (bug, Flush::Sync)).into_iter().chain(lazy.map(|bug| (bug, LAZY)));
    for (bug, flush) in all {
        let plan = Plan { operations: 40, images: 6, flush };
        let found = (0..40).find(|seed| crash_everywhere(*seed, plan, Some(bug)).result.is_err());
        assert!(found.is_some(), "{bug} was not found");
    }
}
