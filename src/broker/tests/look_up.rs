//! Finding messages by key, by id and by time, as clients ask for them.

use super::*;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::protocol::command::offset::SearchOffset;
use crate::protocol::command::query::QueryMessage;
use crate::protocol::command::query::ViewMessage;

fn by_key(topic: &str, key: &str) -> QueryMessage {
    QueryMessage {
        topic: topic.to_owned(),
        key: key.to_owned(),
        max_num: 64,
        begin_timestamp: Timestamp(0),
        end_timestamp: Timestamp(i64::MAX),
        ..QueryMessage::default()
    }
}

impl Fixture {
    async fn query(&self, asked: &QueryMessage) -> Frame {
        let mut header = Header::request(RequestCode::QueryMessage);
        asked.encode(&mut header.ext);
        self.call(header, b"").await
    }

    async fn view(&self, offset: PhysicalOffset) -> Frame {
        let mut header = Header::request(RequestCode::ViewMessageById);
        ViewMessage { topic: None, offset }.encode(&mut header.ext);
        self.call(header, b"").await
    }

    async fn offset_at(&self, timestamp: Timestamp, boundary: Option<&str>) -> Option<String> {
        let mut header = Header::request(RequestCode::SearchOffsetByTimestamp);
        let boundary_type = boundary.map(str::to_owned);
        let asked = SearchOffset { topic: "orders".to_owned(), queue_id: 1, timestamp, boundary_type };
        asked.encode(&mut header.ext);
        self.call(header, b"").await.header.ext.field("offset").map(str::to_owned)
    }
}

#[test]
fn a_message_is_found_by_key_id_tag_and_place() {
    run("by-key", FlushDiskType::Async, |fixture| async move {
        let mut broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        fixture.send("orders", "UNIQ_KEY\u{1}ID1\u{2}KEYS\u{1}a b\u{2}TAGS\u{1}red\u{2}", b"one").await;
        fixture.send("orders", "UNIQ_KEY\u{1}ID2\u{2}KEYS\u{1}b\u{2}TAGS\u{1}blue\u{2}", b"two").await;
        fixture.send("bills", "UNIQ_KEY\u{1}ID3\u{2}KEYS\u{1}b\u{2}", b"three").await;
        for _ in 0..2 {
            let both = fixture.query(&by_key("orders", "b")).await;
            assert_eq!(bodies(&both), [b"one".to_vec(), b"two".to_vec()]);
            assert_eq!(bodies(&fixture.query(&by_key("orders", "a")).await), [b"one".to_vec()]);
            let youngest = fixture.query(&QueryMessage { max_num: 1, ..by_key("orders", "b") }).await;
            assert_eq!(bodies(&youngest), [b"two".to_vec()]);
            let last = fixture.query(&by_key("bills", "b")).await;
            assert_eq!(bodies(&last), [b"three".to_vec()]);
            let record = RecordView::decode(&last.body).expect("a record");
            let field = |name| last.header.ext.field(name).and_then(|text| text.parse::<i64>().ok());
            assert_eq!(field("indexLastUpdateTimestamp"), Some(record.store_at.0));
            assert_eq!(field("indexLastUpdatePhyoffset"), i64::try_from(record.physical.0).ok());
            let unique = QueryMessage { unique_key_query: true, max_num: 0, ..by_key("orders", "ID2") };
            assert_eq!(bodies(&fixture.query(&unique).await), [b"two".to_vec()]);
            let tag = QueryMessage { index_type: Some("T".to_owned()), ..by_key("orders", "red") };
            assert_eq!(bodies(&fixture.query(&tag).await), [b"one".to_vec()]);
            for nothing in [
                by_key("orders", "c"),
                by_key("nowhere", "b"),
                QueryMessage { max_num: -1, ..by_key("orders", "b") },
            ] {
                let answer = fixture.query(&nothing).await;
                assert_eq!(answer.header.response_code(), Some(ResponseCode::QueryNotFound), "{nothing:?}");
            }
            assert_eq!(bodies(&fixture.view(record.physical).await), [b"three".to_vec()]);
            let inside = fixture.view(PhysicalOffset(record.physical.0 + 1)).await;
            assert_eq!(inside.header.response_code(), Some(ResponseCode::SystemError));
            broker.stop().await.expect("a clean stop");
            broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        }
        drop(broker);
    });
}

#[test]
fn a_time_stands_for_the_first_or_the_last_message_of_it() {
    run("by-time", FlushDiskType::Async, |fixture| async move {
        let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        // Two messages of one turn share their time.
        let pair = [fixture.send("orders", "", b"0"), fixture.send("orders", "", b"1")];
        let [first, second] = pair;
        tokio::join!(first, second);
        fixture.env.sleep_ms(5).await;
        fixture.send("orders", "", b"2").await;
        let pulled = fixture.pull("orders", 0, 0).await;
        let times: Vec<Timestamp> = split_records(&pulled.body)
            .map(|record| RecordView::decode(&record.expect("a record")).expect("a record").store_at)
            .collect();
        let first_at = |time: Timestamp| times.iter().position(|at| *at >= time).unwrap_or(3).to_string();
        let last_at = |time: Timestamp| times.iter().rposition(|at| *at <= time).unwrap_or(0).to_string();
        let asked = times.iter().flat_map(|at| [at.plus_ms(-1), *at, at.plus_ms(1)]);
        for time in asked.chain([Timestamp(0), Timestamp(i64::MAX)]) {
            assert_eq!(fixture.offset_at(time, None).await, Some(first_at(time)));
            assert_eq!(fixture.offset_at(time, Some("LOWER")).await, Some(first_at(time)));
            assert_eq!(fixture.offset_at(time, Some("UPPER")).await, Some(last_at(time)));
        }
        let empty = broker.recovery().end;
        assert_eq!(empty, PhysicalOffset(0), "the broker began with nothing");
        assert_eq!(times.len() as u64, QueueOffset(3).0);
    });
}
