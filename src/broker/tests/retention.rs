//! What a consumer is told of messages that are not, or no longer, there; and who removes them.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use super::*;
use crate::base::Mono;
use crate::broker::StartError;
use crate::broker::driver::retention::reserve;
use crate::env::BoxFuture;
use crate::env::Clock;
use crate::protocol::command::offset::OfQueue;
use crate::protocol::command::topic::CreateTopic;

/// The smallest that `mappedFileSizeCommitLog` takes.
const SEGMENT_BYTES: u64 = 65_536;
const BODY: &[u8] = &[b'x'; 4096];

/// Of a pull's answer: code, next, min, max.
type Told = (ResponseCode, u64, u64, u64);

impl Fixture {
    async fn told(&self, topic: &str, from: u64, tags: &str) -> Told {
        let answer = self.pull_tagged(topic, i64::try_from(from).unwrap(), 0, tags).await;
        let field = |name| answer.header.ext.field(name).and_then(|text| text.parse().ok()).expect(name);
        let code = answer.header.response_code().expect("a code");
        (code, field("nextBeginOffset"), field("minOffset"), field("maxOffset"))
    }

    /// Updates a topic of eight queues.
    async fn attributes(&self, topic: &str, attributes: &str) -> Frame {
        let mut header = Header::request(RequestCode::UpdateAndCreateTopic);
        let update = CreateTopic {
            topic: topic.to_owned(),
            read_queue_nums: 8,
            write_queue_nums: 8,
            perm: 6,
            attributes: Some(attributes.to_owned()),
            ..CreateTopic::default()
        };
        update.encode(&mut header.ext);
        self.call(header, b"").await
    }

    async fn remark(&self, topic: &str, from: i64) -> String {
        self.pull(topic, from, 0).await.header.remark_text().to_owned()
    }

    async fn min(&self, topic: &str) -> u64 {
        let mut header = Header::request(RequestCode::GetMinOffset);
        OfQueue { topic: topic.to_owned(), queue_id: 1 }.encode(&mut header.ext);
        let answer = self.call(header, b"").await;
        answer.header.ext.field("offset").and_then(|text| text.parse().ok()).expect("an offset")
    }

    /// A broker whose log has outgrown `fileReservedBytes`: everything in `idle`, and the first of `busy`, is removed.
    async fn overgrown(&self) -> Broker {
        let config = Config { commit_log_segment_bytes: SEGMENT_BYTES, ..self.config.clone() };
        let broker = Broker::start(&self.env, config.clone()).await.expect("a broker");
        for _ in 0..3 {
            self.send("idle", "TAGS\u{1}a\u{2}", b"old").await;
        }
        for _ in 0..100 {
            let sent = self.send("busy", "TAGS\u{1}a\u{2}", BODY).await;
            assert_eq!(sent.header.response_code(), Some(ResponseCode::Success));
        }
        broker.stop().await.expect("a clean stop");
        let config = Config { file_reserved_bytes: 2 * SEGMENT_BYTES, ..config };
        let broker = Broker::start(&self.env, config).await.expect("a broker");
        let started = self.env.now();
        while let stats = broker.core().store.stats()
            && stats.max.0 - stats.min.0 > 2 * SEGMENT_BYTES
        {
            assert!(self.env.now().since(started).as_millis() < 20_000, "retention never came: {stats:?}");
            self.env.sleep_ms(5).await;
        }
        broker
    }
}

#[test]
fn where_a_pull_stands_decides_its_answer() {
    use ResponseCode::{PullNotFound, PullOffsetMoved, PullRetryImmediately, Success};
    run("stands", FlushDiskType::Async, |fixture| async move {
        let _broker = fixture.overgrown().await;
        let min = fixture.min("busy").await;
        assert!(min > 32, "more than two segments of 64 KiB are gone: {min}");
        let table = [
            // Below the oldest message, wherever below.
            ("busy", 0, "*", (PullOffsetMoved, min, min, 100)),
            ("busy", min - 1, "*", (PullOffsetMoved, min, min, 100)),
            ("busy", 99, "*", (Success, 100, min, 100)),
            ("busy", 99, "b", (PullRetryImmediately, 100, min, 100)),
            ("busy", 100, "*", (PullNotFound, 100, min, 100)),
            ("busy", 101, "*", (PullOffsetMoved, 100, min, 100)),
            ("busy", i64::MAX.unsigned_abs(), "*", (PullOffsetMoved, 100, min, 100)),
            // All of this queue is removed, and its offsets go on.
            ("idle", 0, "*", (PullOffsetMoved, 3, 3, 3)),
            ("idle", 2, "b", (PullOffsetMoved, 3, 3, 3)),
            ("idle", 3, "*", (PullNotFound, 3, 3, 3)),
            ("idle", 4, "*", (PullOffsetMoved, 3, 3, 3)),
            // This one has never had a message.
            ("TBW102", 0, "*", (PullNotFound, 0, 0, 0)),
            ("TBW102", 7, "*", (PullOffsetMoved, 0, 0, 0)),
        ];
        for (topic, from, tags, expected) in table {
            assert_eq!(fixture.told(topic, from, tags).await, expected, "{topic} from {from} by {tags}");
        }
        let first = fixture.told("busy", min, "*").await;
        assert_eq!((first.0, first.1 > min), (Success, true));
        let overtaken = format!(
            "OFFSET_TOO_SMALL: {min} messages from offset 0 on are no longer kept, the oldest is at {min}"
        );
        assert_eq!(fixture.remark("busy", 0).await, overtaken);
        assert!(fixture.remark("busy", 101).await.starts_with("OFFSET_OVERFLOW_BADLY: offset 101"));
        assert!(fixture.remark("TBW102", 7).await.starts_with("NO_MESSAGE_IN_QUEUE: offset 7"));

        fixture.send("idle", "", b"new").await;
        let pulled = fixture.pull("idle", 3, 0).await;
        assert_eq!(bodies(&pulled), [b"new".to_vec()]);
    });
}

#[test]
fn a_pull_at_the_end_of_a_queue_that_lost_everything_waits_for_the_next_message() {
    run("waits", FlushDiskType::Async, |fixture| async move {
        let _broker = fixture.overgrown().await;
        let (pulled, sent) = tokio::join!(fixture.pull("idle", 3, 15_000), async {
            fixture.env.sleep_ms(50).await;
            fixture.send("idle", "", b"new").await
        });
        assert_eq!(sent.header.response_code(), Some(ResponseCode::Success));
        assert_eq!(bodies(&pulled), [b"new".to_vec()]);
    });
}

#[test]
fn a_log_above_its_bytes_shrinks_while_the_broker_runs_and_stays_so() {
    run("bytes", FlushDiskType::Async, |fixture| async move {
        let broker = fixture.overgrown().await;
        let kept = broker.core().store.stats();
        assert!(kept.max.0 - kept.min.0 <= 2 * SEGMENT_BYTES, "{kept:?}");
        assert!(kept.max.0 - kept.min.0 > SEGMENT_BYTES, "no more goes than must: {kept:?}");
        broker.stop().await.expect("a clean stop");
        // Without the limit nothing else is removed: none of it is old.
        let config = Config { commit_log_segment_bytes: SEGMENT_BYTES, ..fixture.config.clone() };
        let broker = Broker::start(&fixture.env, config).await.expect("a broker");
        assert_eq!(broker.core().store.stats().min, kept.min);
    });
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused_by_name() {
    run("two-segments", FlushDiskType::Async, |fixture| async move {
        let config = Config { file_reserved_bytes: 2 * 1024 * 1024 - 1, ..fixture.config.clone() };
        let refused = Broker::start(&fixture.env, config).await.err().expect("refused");
        assert!(matches!(refused, StartError::ReservedBytes { .. }), "{refused}");
        for part in
            ["fileReservedBytes is 2097151", "two of 1048576 bytes (mappedFileSizeCommitLog)", "set 2097152"]
        {
            assert!(refused.to_string().contains(part), "{refused}");
        }
    });
}

/// The real clock, whose wall shows a later time.
struct Ahead {
    clock: Arc<dyn Clock>,
    by_ms: Arc<AtomicI64>,
}

impl Clock for Ahead {
    fn now(&self) -> Mono {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.clock.wall().0 + self.by_ms.load(Ordering::Relaxed))
    }

    fn zone_ms(&self, at: Timestamp) -> i64 {
        self.clock.zone_ms(at)
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(deadline)
    }
}

#[test]
fn a_topic_with_its_own_reserve_time_ends_earlier_and_the_log_keeps_it() {
    use ResponseCode::{PullNotFound, PullOffsetMoved, Success};
    run("reserve", FlushDiskType::Async, |mut fixture| async move {
        let by_ms = Arc::new(AtomicI64::new(0));
        fixture.env.clock =
            Arc::new(Ahead { clock: Arc::clone(&fixture.env.clock), by_ms: Arc::clone(&by_ms) });
        let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        let an_hour = || by_ms.fetch_add(3_600_000, Ordering::Relaxed);
        for topic in ["short", "long"] {
            fixture.send(topic, "KEYS\u{1}k\u{2}", b"old").await;
        }
        an_hour();
        an_hour();
        fixture.send("short", "", b"new").await;

        let refused = fixture.attributes("short", "+reserve.time=1d").await;
        assert_eq!(refused.header.response_code(), Some(ResponseCode::InvalidParameter));
        assert!(refused.header.remark_text().contains("`1d`"), "{}", refused.header.remark_text());
        fixture.attributes("short", "+reserve.time=1").await;
        assert_eq!(reserve(broker.core()).await, 1);
        assert_eq!(fixture.told("short", 0, "*").await, (PullOffsetMoved, 1, 1, 2));
        assert_eq!(fixture.told("short", 1, "*").await, (Success, 2, 1, 2));
        assert_eq!(fixture.told("long", 0, "*").await, (Success, 1, 0, 1));
        assert_eq!(broker.core().store.stats().min.0, 0, "the log keeps it");
        assert_eq!(reserve(broker.core()).await, 0, "nothing has changed");
        broker.stop().await.expect("a clean stop");

        // It holds again before the first request is served, and a longer one shows more.
        let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        assert_eq!(fixture.min("short").await, 1);
        an_hour();
        an_hour();
        assert_eq!(reserve(broker.core()).await, 1);
        assert_eq!(fixture.told("short", 2, "*").await, (PullNotFound, 2, 2, 2));
        fixture.attributes("short", "+reserve.time=3").await;
        assert_eq!(reserve(broker.core()).await, 1);
        assert_eq!(fixture.min("short").await, 1);
        fixture.attributes("short", "-reserve.time").await;
        assert_eq!(reserve(broker.core()).await, 1);
        assert_eq!(fixture.told("short", 0, "*").await, (Success, 2, 0, 2));
    });
}
