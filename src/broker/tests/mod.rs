//! A broker on the real environment, spoken to as a client would.

mod asked;
mod hostile;
mod look_up;
mod retention;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Timestamp;
use crate::broker::Broker;
use crate::broker::config::Config;
use crate::broker::config::FlushDiskType;
use crate::broker::session::Unasked;
use crate::env::Env;
use crate::env::real;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::pull::Pull;
use crate::protocol::command::pull::pull_flag;
use crate::protocol::command::send::SendHeader;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;
use crate::protocol::record::RecordView;
use crate::protocol::record::split_records;
use crate::remoting::Client;
use crate::remoting::Limits;

struct Fixture {
    env: Env,
    config: Config,
    client: Client,
    address: String,
}

fn run<F: Future<Output = ()>>(name: &str, flush: FlushDiskType, test: impl FnOnce(Fixture) -> F) {
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let env = real::env();
        let root: PathBuf = std::env::temp_dir().join(format!("staticfire-{name}-{}", std::process::id()));
        let free = env.net.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let port = free.local_addr().port();
        drop(free);
        let config = Config {
            listen_port: port,
            store_path_root: root.clone(),
            flush_disk_type: flush,
            commit_log_segment_bytes: 1024 * 1024,
            ..Config::default()
        };
        let client = Client::new(&env, Limits::default(), Arc::new(Unasked));
        test(Fixture { address: format!("127.0.0.1:{port}"), env, config, client }).await;
        remove(&root);
    });
}

#[expect(clippy::disallowed_methods, reason = "a test cleans up after itself")]
fn remove(root: &PathBuf) {
    let _ = std::fs::remove_dir_all(root);
}

impl Fixture {
    async fn call(&self, header: Header, body: &'static [u8]) -> Frame {
        self.client.call(&self.address, header, Bytes::from_static(body), 5_000).await.expect("an answer")
    }

    async fn send(&self, topic: &str, properties: &str, body: &'static [u8]) -> Frame {
        let mut header = Header::request(RequestCode::SendMessageV2);
        let fields = SendHeader {
            producer_group: "producers",
            topic,
            queue_id: 1,
            born_timestamp: Timestamp(1),
            properties,
            ..SendHeader::default()
        };
        fields.encode(RequestCode::SendMessageV2, &mut header.ext);
        self.call(header, body).await
    }

    async fn pull(&self, topic: &str, offset: i64, suspend_ms: i64) -> Frame {
        self.pull_tagged(topic, offset, suspend_ms, "*").await
    }

    async fn pull_tagged(&self, topic: &str, offset: i64, suspend_ms: i64, tags: &str) -> Frame {
        let mut header = Header::request(RequestCode::PullMessage);
        let fields = Pull {
            consumer_group: "consumers".to_owned(),
            topic: topic.to_owned(),
            queue_id: 1,
            queue_offset: offset,
            max_msg_nums: 32,
            sys_flag: pull_flag::SUBSCRIPTION | if suspend_ms > 0 { pull_flag::SUSPEND } else { 0 },
            suspend_timeout_ms: suspend_ms,
            subscription: Some(tags.to_owned()),
            ..Pull::default()
        };
        fields.encode(&mut header.ext);
        self.call(header, b"").await
    }
}

fn bodies(frame: &Frame) -> Vec<Vec<u8>> {
    split_records(&frame.body)
        .map(|record| RecordView::decode(&record.expect("a record")).expect("a record").body.to_vec())
        .collect()
}

#[test]
fn what_was_acknowledged_is_pulled_also_after_a_restart() {
    for flush in [FlushDiskType::Async, FlushDiskType::Sync] {
        run(&format!("restart-{flush:?}"), flush, |fixture| async move {
            let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
            for body in [&b"one"[..], b"two", b"three"] {
                let sent = fixture.send("orders", "TAGS\u{1}a\u{2}", body).await;
                assert_eq!(
                    sent.header.response_code(),
                    Some(ResponseCode::Success),
                    "{:?}",
                    sent.header.remark
                );
                assert_eq!(sent.header.ext.field("queueId"), Some("1"));
                assert_eq!(sent.header.ext.field("MSG_REGION"), Some("DefaultRegion"));
            }
            let pulled = fixture.pull("orders", 0, 0).await;
            assert_eq!(pulled.header.ext.field("nextBeginOffset"), Some("3"));
            assert_eq!(bodies(&pulled), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
            broker.stop().await.expect("a clean stop");

            let broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
            assert!(broker.recovery().clean, "a clean stop is seen as one");
            let pulled = fixture.pull("orders", 1, 0).await;
            assert_eq!(bodies(&pulled), [b"two".to_vec(), b"three".to_vec()]);
            drop(broker);
        });
    }
}

#[test]
fn a_parked_pull_is_answered_by_the_send_it_waited_for() {
    run("park", FlushDiskType::Sync, |fixture| async move {
        let _broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        fixture.send("orders", "", b"one").await;
        let started = fixture.env.now();
        let (pulled, _) = tokio::join!(fixture.pull("orders", 1, 15_000), async {
            fixture.env.sleep_ms(50).await;
            fixture.send("orders", "", b"two").await
        });
        assert_eq!(bodies(&pulled), [b"two".to_vec()]);
        assert!(fixture.env.now().since(started).as_millis() < 5_000, "the send wakes the pull");
        let empty = fixture.pull("orders", 2, 60).await;
        assert_eq!(empty.header.response_code(), Some(ResponseCode::PullNotFound));
        assert_eq!(empty.header.ext.field("maxOffset"), Some("2"));
    });
}

#[test]
fn a_delayed_message_comes_after_its_delay() {
    run("delay", FlushDiskType::Async, |fixture| async move {
        let _broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        let started = fixture.env.now();
        fixture.send("orders", "DELAY\u{1}1\u{2}", b"later").await;
        let pulled = fixture.pull("orders", 0, 5_000).await;
        let waited = fixture.env.now().since(started).as_millis();
        assert_eq!(bodies(&pulled), [b"later".to_vec()]);
        assert!((1_000..3_000).contains(&waited), "level 1 is one second, this took {waited} ms");
    });
}

#[test]
fn refusals_name_what_is_wrong_and_leave_the_connection_alone() {
    run("refuse", FlushDiskType::Async, |fixture| async move {
        let _broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        let missing = fixture.pull("nowhere", 0, 0).await;
        assert_eq!(missing.header.response_code(), Some(ResponseCode::TopicNotExist));
        let bad = fixture.send("bad topic!", "", b"x").await;
        assert_eq!(bad.header.response_code(), Some(ResponseCode::InvalidParameter));
        let half = fixture.send("RMQ_SYS_TRANS_HALF_TOPIC", "", b"x").await;
        assert_eq!(half.header.response_code(), Some(ResponseCode::NoPermission));
        let pop = fixture.call(Header::request(RequestCode::PopMessage), b"").await;
        assert_eq!(pop.header.response_code(), Some(ResponseCode::RequestCodeNotSupported));
        let sent = fixture.send("orders", "", b"x").await;
        assert_eq!(sent.header.response_code(), Some(ResponseCode::Success));
    });
}
