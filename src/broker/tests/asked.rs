//! What operators ask of a broker: each request as `mqadmin` sends it, and what must be in its answer.

use super::Fixture;
use super::run;
use crate::broker::Broker;
use crate::broker::config::FlushDiskType;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;

/// A producer of `producers` and a consumer of `consumers`, one client.
const HEARTBEAT: &[u8] =
    br#"{"clientID":"127.0.0.1@1","producerDataSet":[{"groupName":"producers"}],"consumerDataSet":[
    {"groupName":"consumers","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING",
     "consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","unitMode":false,
     "subscriptionDataSet":[{"topic":"orders","subString":"*","subVersion":1,"tagsSet":[],"codeSet":[],
                             "classFilterMode":false,"expressionType":"TAG"}]}]}"#;

const OF_QUEUE: &[(&str, &str)] = &[("topic", "orders"), ("queueId", "1")];
const OF_CONSUMERS: &[(&str, &str)] =
    &[("group", "consumers"), ("consumerGroup", "consumers"), ("topic", "orders")];

/// A request, its fields, its body, and what its answer says somewhere.
type Row = (RequestCode, &'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);

/// In this order: later rows undo what earlier ones made.
const TABLE: &[Row] = &[
    (
        RequestCode::UpdateAndCreateTopicList,
        &[],
        r#"{"topicConfigList":[{"topicName":"listed","readQueueNums":3,"writeQueueNums":3,"perm":6}]}"#,
        &[],
    ),
    (RequestCode::GetAllTopicConfig, &[], "", &["\"listed\"", "\"orders\""]),
    (RequestCode::GetTopicConfig, &[("topic", "listed")], "", &["\"readQueueNums\":3"]),
    (RequestCode::GetSystemTopicListFromBroker, &[], "", &["SCHEDULE_TOPIC_XXXX"]),
    (RequestCode::GetBrokerConfig, &[], "", &["flushDiskType=ASYNC_FLUSH", "brokerName="]),
    (RequestCode::GetMaxOffset, OF_QUEUE, "", &["offset=3"]),
    (RequestCode::GetMinOffset, OF_QUEUE, "", &["offset=0"]),
    (
        RequestCode::SearchOffsetByTimestamp,
        &[("topic", "orders"), ("queueId", "1"), ("timestamp", "0")],
        "",
        &["offset=0"],
    ),
    (
        RequestCode::SearchOffsetByTimestamp,
        &[("topic", "orders"), ("queueId", "1"), ("timestamp", "9999999999999")],
        "",
        &["offset=3"],
    ),
    (RequestCode::GetEarliestMsgStoreTime, OF_QUEUE, "", &["timestamp=1"]),
    (RequestCode::ViewMessageById, &[("offset", "0")], "", &["one"]),
    (RequestCode::CheckClientConfig, &[], r#"{"clientId":"c","group":"consumers"}"#, &[]),
    (RequestCode::GetConsumerConnectionList, OF_CONSUMERS, "", &["127.0.0.1@1", "CONSUME_PASSIVELY"]),
    (
        RequestCode::GetProducerConnectionList,
        &[("producerGroup", "producers")],
        "",
        &["127.0.0.1@1", "connectionSet"],
    ),
    (RequestCode::GetAllProducerInfo, &[], "", &["producers", "127.0.0.1@1"]),
    (
        RequestCode::UpdateConsumerOffset,
        &[("consumerGroup", "consumers"), ("topic", "orders"), ("queueId", "1"), ("commitOffset", "2")],
        "",
        &[],
    ),
    (RequestCode::GetAllConsumerOffset, &[], "", &["orders@consumers", "1:2"]),
    (RequestCode::GetAllDelayOffset, &[], "", &["offsetTable"]),
    (RequestCode::QueryTopicConsumeByWho, &[("topic", "orders")], "", &["consumers"]),
    (RequestCode::QueryTopicsByConsumer, OF_CONSUMERS, "", &["orders"]),
    (RequestCode::QuerySubscriptionByConsumer, OF_CONSUMERS, "", &["\"subString\":\"*\""]),
    (
        RequestCode::InvokeBrokerToResetOffset,
        &[("group", "consumers"), ("topic", "orders"), ("timestamp", "0"), ("isForce", "true")],
        "",
        &["offsetTable", "\"queueId\":1,\"topic\":\"orders\"}:0"],
    ),
    (
        RequestCode::UpdateAndCreateSubscriptionGroupList,
        &[],
        r#"{"groupConfigList":[{"groupName":"listed_group","retryMaxTimes":4}]}"#,
        &[],
    ),
    (RequestCode::GetAllSubscriptionGroupConfig, &[], "", &["listed_group"]),
    (RequestCode::GetSubscriptionGroupConfig, &[("group", "listed_group")], "", &["\"retryMaxTimes\":4"]),
    (RequestCode::DeleteSubscriptionGroup, &[("groupName", "listed_group")], "", &[]),
    (
        RequestCode::LitePullMessage,
        &[
            ("consumerGroup", "consumers"),
            ("topic", "orders"),
            ("queueId", "1"),
            ("queueOffset", "0"),
            ("maxMsgNums", "1"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "1"),
        ],
        "",
        &["one", "nextBeginOffset=1"],
    ),
];

/// A request, its fields, and what its refusal names.
type Refused = (RequestCode, &'static [(&'static str, &'static str)], &'static str);

/// What must be refused afterwards.
const REFUSED: &[Refused] = &[
    (RequestCode::GetTopicConfig, &[("topic", "nowhere")], "nowhere"),
    (RequestCode::GetConsumerConnectionList, &[("consumerGroup", "strangers")], "strangers"),
    (RequestCode::GetProducerConnectionList, &[("producerGroup", "strangers")], "strangers"),
    (RequestCode::ViewMessageById, &[("offset", "77777777")], "77777777"),
    (RequestCode::GetConsumerRunningInfo, &[("clientId", "stranger")], "stranger"),
    (RequestCode::ConsumeMessageDirectly, &[("clientId", "stranger")], "stranger"),
    (
        RequestCode::ViewBrokerStatsData,
        &[("statsName", "TOPIC_PUT_NUMS"), ("statsKey", "nobody")],
        "TOPIC_PUT_NUMS",
    ),
];

fn request(code: RequestCode, fields: &[(&str, &str)]) -> Header {
    let mut header = Header::request(code);
    for (key, value) in fields {
        header.ext.push(key, value);
    }
    header
}

/// Fields and body as one text.
fn all(answer: &Frame) -> String {
    let fields: Vec<String> = answer.header.ext.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{}\n{}", fields.join("\n"), String::from_utf8_lossy(&answer.body))
}

#[test]
fn operators_are_answered() {
    run("asked", FlushDiskType::Async, |fixture: Fixture| async move {
        let _broker = Broker::start(&fixture.env, fixture.config.clone()).await.expect("a broker");
        for body in [&b"one"[..], b"two", b"three"] {
            fixture.send("orders", "", body).await;
        }
        let alive = fixture.call(request(RequestCode::HeartBeat, &[]), HEARTBEAT).await;
        assert_eq!(
            alive.header.response_code(),
            Some(ResponseCode::Success),
            "{}",
            alive.header.remark_text()
        );
        for (code, fields, body, expected) in TABLE {
            let answer = fixture.call(request(*code, fields), body.as_bytes()).await;
            let remark = answer.header.remark_text();
            assert_eq!(answer.header.response_code(), Some(ResponseCode::Success), "{code:?}: {remark}");
            let text = all(&answer);
            for part in *expected {
                assert!(text.contains(part), "{code:?} says nothing of {part}: {text}");
            }
        }
        for (code, fields, named) in REFUSED {
            let answer = fixture.call(request(*code, fields), b"").await;
            assert_ne!(answer.header.response_code(), Some(ResponseCode::Success), "{code:?}");
            assert!(answer.header.remark_text().contains(named), "{code:?}: {}", answer.header.remark_text());
        }
    });
}
