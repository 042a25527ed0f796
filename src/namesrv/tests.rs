//! The name server over real connections on loopback: what brokers, clients and tools see.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::env::real;
use crate::protocol::Ext;
use crate::protocol::Frame;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::registration::RegisterBrokerBody;
use crate::protocol::body::registration::crc;
use crate::protocol::body::topic::DataVersion;
use crate::protocol::body::topic::TopicConfig;
use crate::remoting::Client;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::remoting::Serve;
use crate::remoting::Session;

/// A peer that is never asked anything.
struct Silent;

impl Serve for Silent {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(Silent)
    }
}

impl Session for Silent {
    fn on_frame(&mut self, frame: Frame, _: &mut Replies) {
        panic!("nobody asks a client of the name server: {frame:?}");
    }
}

struct Peer {
    client: Client,
    addr: String,
}

impl Peer {
    fn new(env: &Env, server: &NameServer) -> Peer {
        let client = Client::new(env, Limits::default(), Arc::new(Silent));
        Peer { client, addr: server.local_addr().to_string() }
    }

    async fn ask_as(
        &self,
        version: i32,
        code: RequestCode,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Frame {
        let mut header = Header::request(code);
        header.version = version;
        header.ext = fields.iter().copied().collect::<Ext>();
        self.client.call(&self.addr, header, body.into(), 3_000).await.expect("the name server answers")
    }

    async fn ask(&self, code: RequestCode, fields: &[(&str, &str)]) -> Frame {
        self.ask_as(513, code, fields, Bytes::new()).await
    }

    async fn register(&self, broker: &str, id: &str, addr: &str, topics: &[&str], counter: i64) -> Frame {
        let mut body = RegisterBrokerBody::default();
        let table = &mut body.topic_config_serialize_wrapper;
        table.data_version = DataVersion { counter, ..DataVersion::default() };
        for topic in topics {
            let config = TopicConfig {
                topic_name: (*topic).to_owned(),
                read_queue_nums: 8,
                write_queue_nums: 8,
                ..TopicConfig::default()
            };
            table.topic_config_table.insert((*topic).to_owned(), config);
        }
        let body = body.encode();
        let checksum = crc(&body).to_string();
        let fields = [
            ("brokerName", broker),
            ("brokerId", id),
            ("brokerAddr", addr),
            ("clusterName", "C"),
            ("haServerAddr", "10.0.0.1:10912"),
            ("bodyCrc32", &checksum),
            ("enableActingMaster", "false"),
        ];
        self.ask_as(513, RequestCode::RegisterBroker, &fields, body).await
    }
}

fn scratch(purpose: &str) -> PathBuf {
    let name = format!("staticfire-namesrv-{purpose}-{}", std::process::id());
    std::env::temp_dir().join(name).join("kvConfig.json")
}

fn run<F: Future<Output = ()>>(purpose: &str, story: impl FnOnce(Env, NameServer) -> F) {
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let env = real::env();
        let server = start(&env, purpose).await;
        story(env, server).await;
    });
}

async fn start(env: &Env, purpose: &str) -> NameServer {
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        kv_path: scratch(purpose),
        ..Config::default()
    };
    NameServer::start(env, config).await.expect("it starts")
}

fn text(frame: &Frame) -> &str {
    std::str::from_utf8(&frame.body).expect("bodies are text")
}

fn code(frame: &Frame) -> ResponseCode {
    frame.header.response_code().expect("answers have known codes")
}

#[test]
fn routes_are_written_as_each_generation_of_clients_reads_them() {
    run("routes", |env, server| async move {
        let peer = Peer::new(&env, &server);
        let answer = peer.register("b", "0", "10.0.0.1:10911", &["T", "TBW102"], 1).await;
        assert_eq!(code(&answer), ResponseCode::Success);
        let fields = [("topic", "T")];
        let old = peer.ask_as(317, RequestCode::GetRouteInfoByTopic, &fields, Bytes::new()).await;
        assert_eq!(
            text(&old),
            r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"b","cluster":"C","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#
        );
        let new = peer.ask_as(401, RequestCode::GetRouteInfoByTopic, &fields, Bytes::new()).await;
        assert_eq!(text(&new), text(&old).replace("{0:", r#"{"0":"#));
        let fields = [("topic", "T"), ("acceptStandardJsonOnly", "true")];
        let asked = peer.ask_as(317, RequestCode::GetRouteInfoByTopic, &fields, Bytes::new()).await;
        assert_eq!(text(&asked), text(&new));
        let cluster = peer.ask(RequestCode::GetBrokerClusterInfo, &[]).await;
        assert_eq!(
            text(&cluster),
            r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"b","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["b"]}}"#
        );
    });
}

#[test]
fn an_unknown_topic_is_refused_in_the_words_of_rocketmq() {
    run("unknown-topic", |env, server| async move {
        let peer = Peer::new(&env, &server);
        let answer = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "nowhere")]).await;
        assert_eq!(code(&answer), ResponseCode::TopicNotExist);
        assert_eq!(
            answer.header.remark_text(),
            "No topic route info in name server for the topic: nowhere\nSee \
             https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
        );
        let answer = peer.ask(RequestCode::GetRouteInfoByTopic, &[]).await;
        assert_eq!(
            (code(&answer), answer.header.remark_text()),
            (ResponseCode::SystemError, "the custom field <topic> is null")
        );
        let answer = peer.ask(RequestCode::SendMessageV2, &[]).await;
        assert_eq!(
            (code(&answer), answer.header.remark_text()),
            (ResponseCode::RequestCodeNotSupported, " request type 310 not supported")
        );
    });
}

#[test]
fn a_broker_is_gone_with_its_connection_and_a_reconnected_one_stays() {
    run("closed", |env, server| async move {
        let watcher = Peer::new(&env, &server);
        watcher.ask(RequestCode::GetBrokerClusterInfo, &[]).await;
        let first = Peer::new(&env, &server);
        first.register("b", "0", "10.0.0.1:10911", &["T", "TBW102"], 1).await;
        let second = Peer::new(&env, &server);
        second.register("b", "0", "10.0.0.1:10911", &["T", "TBW102"], 1).await;
        let before = server.server.connection_count();
        drop(first);
        while server.server.connection_count() == before {
            env.sleep_ms(1).await;
        }
        let answer = watcher.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")]).await;
        assert_eq!(code(&answer), ResponseCode::Success);
        drop(second);
        loop {
            let answer = watcher.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")]).await;
            if code(&answer) == ResponseCode::TopicNotExist {
                break;
            }
            env.sleep_ms(1).await;
        }
    });
}

#[test]
fn a_slave_is_told_its_master() {
    run("slave", |env, server| async move {
        let (master, slave) = (Peer::new(&env, &server), Peer::new(&env, &server));
        master.register("b", "0", "10.0.0.1:10911", &["T", "TBW102"], 1).await;
        let answer = slave.register("b", "1", "10.0.0.2:10911", &["T", "TBW102"], 1).await;
        assert_eq!(answer.header.ext.field("masterAddr"), Some("10.0.0.1:10911"));
        assert_eq!(answer.header.ext.field("haServerAddr"), Some("10.0.0.1:10912"));
        let fields = [("clusterName", "C"), ("brokerName", "b")];
        let members = slave.ask(RequestCode::GetBrokerMemberGroup, &fields).await;
        assert_eq!(
            text(&members),
            r#"{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"b","cluster":"C"}}"#
        );
    });
}

#[test]
fn damaged_registrations_are_refused_and_change_nothing() {
    run("damaged", |env, server| async move {
        let peer = Peer::new(&env, &server);
        let broker = [
            ("brokerName", "b"),
            ("brokerId", "0"),
            ("brokerAddr", "a:1"),
            ("clusterName", "C"),
            ("haServerAddr", "a:2"),
        ];
        let mut fields = broker.to_vec();
        fields.push(("bodyCrc32", "7"));
        let answer = peer.ask_as(513, RequestCode::RegisterBroker, &fields, "{}").await;
        assert_eq!(
            (code(&answer), answer.header.remark_text()),
            (ResponseCode::SystemError, "crc32 not match")
        );
        let answer = peer.ask_as(513, RequestCode::RegisterBroker, &broker, "{{{{").await;
        assert_eq!(code(&answer), ResponseCode::SystemError);
        let one = peer.register("b", "0", "a:1", &["T"], 1).await;
        assert_eq!(
            (code(&one), one.header.remark_text()),
            (ResponseCode::SystemError, "register broker failed")
        );
        let topics = peer.ask(RequestCode::GetAllTopicListFromNameServer, &[]).await;
        assert_eq!(text(&topics), r#"{"topicList":[]}"#);
    });
}

#[test]
fn an_acknowledged_key_is_there_after_a_restart() {
    run("restart", |env, server| async move {
        let key = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T")];
        let peer = Peer::new(&env, &server);
        let put = [key[0], key[1], ("value", "b:4")];
        assert_eq!(code(&peer.ask(RequestCode::PutKvConfig, &put).await), ResponseCode::Success);
        // Dropped, not stopped: as after a kill.
        drop(server);
        let server = start(&env, "restart").await;
        let peer = Peer::new(&env, &server);
        let got = peer.ask(RequestCode::GetKvConfig, &key).await;
        assert_eq!(got.header.ext.field("value"), Some("b:4"));
        let registered = peer.register("b", "0", "a:1", &["T", "TBW102"], 1).await;
        assert_eq!(text(&registered), r#"{"table":{"T":"b:4"}}"#);
        assert_eq!(code(&peer.ask(RequestCode::DeleteKvConfig, &key).await), ResponseCode::Success);
        let gone = peer.ask(RequestCode::GetKvConfig, &key).await;
        assert_eq!(
            (code(&gone), gone.header.remark_text()),
            (ResponseCode::QueryNotFound, "No config item, Namespace: ORDER_TOPIC_CONFIG Key: T")
        );
        server.stop().await;
    });
}

#[test]
fn configuration_is_read_and_changed_but_not_where_files_are() {
    run("config", |env, server| async move {
        let peer = Peer::new(&env, &server);
        let update = |text: &'static str| peer.ask_as(513, RequestCode::UpdateNameServerConfig, &[], text);
        let answer = update("orderMessageEnable=true\nkvConfigPath=/etc/passwd").await;
        assert_eq!(
            (code(&answer), answer.header.remark_text()),
            (ResponseCode::NoPermission, "Can not update config in black list.")
        );
        let config = peer.ask(RequestCode::GetNameServerConfig, &[]).await;
        assert!(text(&config).contains("orderMessageEnable=false\n"), "a refused update changes nothing");
        assert_eq!(code(&update("orderMessageEnable=true").await), ResponseCode::Success);
        let config = peer.ask(RequestCode::GetNameServerConfig, &[]).await;
        assert!(text(&config).contains("orderMessageEnable=true\n"));
        assert_eq!(code(&update("noSuchKey=1").await), ResponseCode::InvalidParameter);
    });
}

#[test]
fn operators_are_answered() {
    run("asked", |env, server| async move {
        let peer = Peer::new(&env, &server);
        let registered = peer.register("b", "0", "10.0.0.1:10911", &["orders", "TBW102"], 1).await;
        assert_eq!(code(&registered), ResponseCode::Success, "{}", registered.header.remark_text());
        let told = async |asked, fields: &[(&str, &str)], body: &str| {
            let answer = peer.ask_as(513, asked, fields, Bytes::from(body.to_owned())).await;
            assert_eq!(code(&answer), ResponseCode::Success, "{asked:?}: {}", answer.header.remark_text());
            let ext: Vec<String> =
                answer.header.ext.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{} {}", ext.join(" "), text(&answer))
        };
        let of_b =
            [("brokerName", "b"), ("brokerAddr", "10.0.0.1:10911"), ("clusterName", "C"), ("brokerId", "0")];
        let lists = async |asked, fields: &[(&str, &str)], topic: &str| {
            let list = told(asked, fields, "").await;
            assert!(list.contains(topic), "{asked:?} does not list {topic}: {list}");
        };

        // Flag 1: a topic of a unit; flag 2: one that units subscribe to.
        for (topic, flag) in [("of_unit", 1), ("subscribed", 2)] {
            let queues = format!(
                r#"{{"queueDatas":[{{"brokerName":"b","perm":6,"readQueueNums":1,"writeQueueNums":1,"topicSysFlag":{flag}}}]}}"#
            );
            told(RequestCode::RegisterTopicInNameServer, &[("topic", topic)], &queues).await;
        }
        lists(RequestCode::GetTopicsByCluster, &[("cluster", "C")], "orders").await;
        lists(RequestCode::GetSystemTopicListFromNameServer, &[], "\"C\"").await;
        lists(RequestCode::GetUnitTopicList, &[], "of_unit").await;
        lists(RequestCode::GetHasUnitSubTopicList, &[], "subscribed").await;
        lists(RequestCode::GetHasUnitSubUnunitTopicList, &[], "subscribed").await;

        told(RequestCode::PutKvConfig, &[("namespace", "N"), ("key", "k"), ("value", "v")], "").await;
        lists(RequestCode::GetKvListByNamespace, &[("namespace", "N")], "\"k\":\"v\"").await;

        let version = r#"{"counter":2,"stateVersion":0,"timestamp":0}"#;
        let changed = told(RequestCode::QueryDataVersion, &of_b, version).await;
        assert!(changed.contains("changed=true"), "{changed}");
        told(RequestCode::BrokerHeartbeat, &of_b, "").await;
        let wiped = told(RequestCode::WipeWritePermOfBroker, &[("brokerName", "b")], "").await;
        assert!(wiped.contains("wipeTopicCount=4"), "{wiped}");
        let added = told(RequestCode::AddWritePermOfBroker, &[("brokerName", "b")], "").await;
        assert!(added.contains("addTopicCount=4"), "{added}");

        told(RequestCode::UnregisterBroker, &of_b, "").await;
        let gone = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "orders")]).await;
        assert_eq!(code(&gone), ResponseCode::TopicNotExist);
    });
}
