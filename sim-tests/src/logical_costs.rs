//! What a drain of sends costs, counted and not timed.
//!
//! The promise: 64 sends that a connection reads at once are appended as one unit, each message is copied once, at most
//! one sync is waited for, and no task but the connection's own stands between request and answer. Under async flush the
//! answers do not wait for the disk at all.
//!
//! How: a disk counts its writes and their bytes (a unit is one write to the mapped segment, and its bytes are copied
//! by that alone) and its syncs; the executor counts which tasks run.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytes::BytesMut;
use staticfire::base::Timestamp;
use staticfire::broker::Broker;
use staticfire::broker::Tuning;
use staticfire::broker::config::Config;
use staticfire::broker::config::FlushDiskType;
use staticfire::env::Stream;
use staticfire::protocol::code::RequestCode;
use staticfire::protocol::code::ResponseCode;
use staticfire::protocol::command::send::SendHeader;
use staticfire::protocol::frame;
use staticfire::protocol::header::Header;
use staticfire::sim::Limits;
use staticfire::sim::Node;
use staticfire::sim::Seed;
use staticfire::sim::disk::DiskStats;
use staticfire::sim::run;
use staticfire::store;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

const PORT: u16 = 10_911;
const BODY_BYTES: usize = 100;
/// The frame limit does not matter here.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What happened between the requests and the last answer.
struct Cost {
    disk: DiskStats,
    before: DiskStats,
    polls: BTreeMap<&'static str, u64>,
    answers: usize,
}

fn requests(count: usize) -> Bytes {
    let mut out = BytesMut::new();
    for nth in 0..count {
        let mut header = Header::request(RequestCode::SendMessageV2);
        header.opaque = i32::try_from(nth).expect("few requests");
        let fields = SendHeader {
            producer_group: "producers",
            topic: "orders",
            queue_id: 1,
            born_timestamp: Timestamp(1),
            ..SendHeader::default()
        };
        fields.encode(RequestCode::SendMessageV2, &mut header.ext);
        frame::encode_with_body(&header, &[7; BODY_BYTES], &mut out);
    }
    out.freeze()
}

/// Sends `count` requests by one write and reads their answers, all of which must be good.
async fn exchange(stream: &mut dyn Stream, count: usize) -> usize {
    stream.write_all(&requests(count)).await.expect("the broker listens");
    let mut input = BytesMut::new();
    let mut answers = 0;
    while answers < count {
        let read = stream.read_buf(&mut input).await.expect("the broker answers");
        assert!(read > 0, "the broker closed the connection");
        while let Some(frame) = frame::cut(&mut input, FRAME_BYTES_MAX).expect("answers are frames") {
            assert_eq!(frame.header.code, ResponseCode::Success as i32, "{:?}", frame.header.remark);
            answers += 1;
        }
    }
    answers
}

async fn measure(node: &Node, stream: &mut dyn Stream, count: usize) -> Cost {
    let (before, polls) = (node.disk().stats(), node.polls());
    let answers = exchange(stream, count).await;
    let mut after = node.polls();
    for (name, count) in polls {
        if let Some(after) = after.get_mut(name) {
            *after -= count;
        }
    }
    after.retain(|_, count| *count > 0);
    Cost { disk: node.disk().stats(), before, polls: after, answers }
}

/// A drain of one send and one of 64, on a broker that has nothing else to do.
fn drains(flush: FlushDiskType) -> (Cost, Cost) {
    run(Seed(1), Limits::default(), move |world| async move {
        let node = world.machine("broker");
        let config = Config {
            listen_port: PORT,
            store_path_root: "store".into(),
            flush_disk_type: flush,
            ..Config::default()
        };
        let flush = match flush {
            FlushDiskType::Async => store::Flush::ASYNC,
            FlushDiskType::Sync => store::Flush::Sync,
        };
        let small = store::Config::small("store");
        // As in production, a drain is not much beside what starts a flush.
        let flush_bytes = store::Config::new("store").flush_bytes;
        let store = store::Config { flush, flush_bytes, segment_bytes: 1 << 20, ..small };
        let tuning = Tuning { store: Some(store), ..Tuning::default() };
        let broker = Broker::start_tuned(&node.env(), config, tuning).await.expect("starts");
        let client = world.client_env("client");
        let to = std::net::SocketAddr::new(node.ip(), PORT);
        let mut stream = client.net.connect(to).await.expect("connects");
        // The topic is new, and written down; then all is quiet.
        exchange(&mut *stream, 1).await;
        client.sleep_ms(30_000).await;
        let one = measure(&node, &mut *stream, 1).await;
        client.sleep_ms(30_000).await;
        let many = measure(&node, &mut *stream, 64).await;
        drop(broker);
        (one, many)
    })
    .expect_ok()
}

fn check(one: &Cost, many: &Cost, syncs: u64) {
    assert_eq!((one.answers, many.answers), (1, 64));
    let writes = |cost: &Cost| cost.disk.writes - cost.before.writes;
    let bytes = |cost: &Cost| cost.disk.bytes_written - cost.before.bytes_written;
    assert_eq!((writes(one), writes(many)), (1, 1), "a drain is one append unit");
    assert!(bytes(one) > BODY_BYTES as u64);
    assert_eq!(bytes(many), 64 * bytes(one), "each message is copied once");
    assert_eq!(many.disk.syncs - many.before.syncs, syncs, "one sync serves the drain");
    assert_eq!(many.disk.reads, many.before.reads, "nothing is read to store a message");
    assert_eq!(one.polls, many.polls, "64 sends make the same tasks run as often as one does");
}

#[test]
fn a_drain_is_one_unit_without_a_hop() {
    let (one, many) = drains(FlushDiskType::Async);
    check(&one, &many, 0);
    // The flush task learns that there is something to flush; nobody waits for it.
    let ran = [("connection", 1), ("store.flush", 1)];
    assert_eq!(many.polls, BTreeMap::from(ran));
}

#[test]
fn a_drain_waits_for_one_sync() {
    let (one, many) = drains(FlushDiskType::Sync);
    check(&one, &many, 1);
}
