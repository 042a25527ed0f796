//! Bodies as RocketMQ 5.5.0 prints them, and as the other clients send them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::*;
use crate::base::Timestamp;
use crate::protocol::body::connection::ConsumerConnection;
use crate::protocol::body::group::SubscriptionGroupConfig;
use crate::protocol::body::heartbeat::Heartbeat;
use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::body::offset::ResetOffsetBody;
use crate::protocol::body::queue::LockBatch;
use crate::protocol::body::registration::RegisterBrokerBody;
use crate::protocol::body::registration::RegistrationError;
use crate::protocol::body::registration::crc;
use crate::protocol::body::route::BrokerData;
use crate::protocol::body::route::ClusterInfo;
use crate::protocol::body::running::ConsumeMessageDirectlyResult;
use crate::protocol::body::running::ConsumeStatus;
use crate::protocol::body::running::ConsumerRunningInfo;
use crate::protocol::body::running::ProcessQueueInfo;
use crate::protocol::body::stats::ConsumeStats;
use crate::protocol::body::stats::OffsetWrapper;
use crate::protocol::body::stats::TopicOffset;
use crate::protocol::body::stats::TopicStats;
use crate::protocol::body::topic::DataVersion;
use crate::protocol::body::topic::TopicConfig;

/// `body` is written as `text`, and `text` is read as `body`.
fn is_written_as<T: Body + PartialEq + std::fmt::Debug>(body: &T, text: &str) {
    assert_eq!(String::from_utf8(body.encode()).unwrap(), text);
    assert_eq!(&T::decode(text.as_bytes()).unwrap(), body);
    assert_eq!(&T::decode(&body.encode_standard()).unwrap(), body);
}

#[test]
fn tables_by_queue_are_those_of_java() {
    let queues = [MessageQueue::new("T", "b", 0), MessageQueue::new("T", "b", 1)];
    let offsets = [TopicOffset { max_offset: 3, ..TopicOffset::default() }, TopicOffset::default()];
    is_written_as(
        &TopicStats { offset_table: queues.iter().cloned().zip(offsets).collect(), topic_put_tps: 0.0 },
        r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":3,"minOffset":0},{"brokerName":"b","queueId":1,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}},"topicPutTps":0.0}"#,
    );
    is_written_as(
        &ConsumeStats {
            consume_tps: 0.0,
            offset_table: BTreeMap::from([(queues[0].clone(), OffsetWrapper::default())]),
        },
        r#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"brokerOffset":0,"consumerOffset":0,"lastTimestamp":0,"pullOffset":0}}}"#,
    );
    is_written_as(
        &ResetOffsetBody { offset_table: queues.iter().cloned().zip([10, 12]).collect() },
        r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:10,{"brokerName":"b","queueId":1,"topic":"T"}:12}}"#,
    );
}

#[test]
fn a_cluster_is_that_of_java() {
    let addrs = [(0, "1.2.3.4:10911".to_owned()), (1, "1.2.3.4:20911".to_owned())];
    let broker = BrokerData {
        broker_addrs: BTreeMap::from(addrs),
        broker_name: "b".into(),
        cluster: "C".into(),
        ..BrokerData::default()
    };
    let cluster = ClusterInfo {
        broker_addr_table: BTreeMap::from([("b".to_owned(), broker)]),
        cluster_addr_table: BTreeMap::from([("C".to_owned(), BTreeSet::from(["b".to_owned()]))]),
    };
    is_written_as(
        &cluster,
        r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"1.2.3.4:10911",1:"1.2.3.4:20911"},"brokerName":"b","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["b"]}}"#,
    );
    let standard = String::from_utf8(cluster.encode_standard()).unwrap();
    assert!(standard.contains(r#"{"0":"1.2.3.4:10911","1":"1.2.3.4:20911"}"#));
}

#[test]
fn what_a_consumer_tells_is_that_of_java() {
    let info = ConsumerRunningInfo {
        mq_table: BTreeMap::from([(MessageQueue::new("T", "b", 0), ProcessQueueInfo::default())]),
        status_table: BTreeMap::from([("T".to_owned(), ConsumeStatus::default())]),
        ..ConsumerRunningInfo::default()
    };
    is_written_as(
        &info,
        r#"{"mqPopTable":{},"mqTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"cachedMsgCount":0,"cachedMsgMaxOffset":0,"cachedMsgMinOffset":0,"cachedMsgSizeInMiB":0,"commitOffset":0,"droped":false,"lastConsumeTimestamp":0,"lastLockTimestamp":0,"lastPullTimestamp":0,"locked":false,"transactionMsgCount":0,"transactionMsgMaxOffset":0,"transactionMsgMinOffset":0,"tryUnlockTimes":0}},"properties":{},"statusTable":{"T":{"consumeFailedMsgs":0,"consumeFailedTPS":0.0,"consumeOKTPS":0.0,"consumeRT":0.0,"pullRT":0.0,"pullTPS":0.0}},"subscriptionSet":[],"userConsumerInfo":{}}"#,
    );
    is_written_as(
        &ConsumeMessageDirectlyResult { auto_commit: true, ..ConsumeMessageDirectlyResult::default() },
        r#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":0}"#,
    );
    let by_ordinal = ConsumeMessageDirectlyResult::decode(br#"{"consumeResult":4}"#).unwrap();
    assert_eq!(by_ordinal.consume_result, DirectResult::ThrowException);
}

#[test]
fn configurations_are_those_of_java() {
    is_written_as(
        &SubscriptionGroupConfig::named("G"),
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#,
    );
    let mut config = TopicConfig { topic_name: "T".into(), ..TopicConfig::default() };
    is_written_as(
        &config,
        r#"{"attributes":{},"order":false,"perm":6,"readQueueNums":16,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":16}"#,
    );
    config.read_queue_nums = 4;
    config.write_queue_nums = 4;
    config.attributes.insert("message.type".into(), "FIFO".into());
    assert_eq!(config.to_line(), r#"T 4 4 6 SINGLE_TAG {"message.type":"FIFO"}"#);
    assert_eq!(TopicConfig::from_line(&config.to_line()), Some(config));
    assert_eq!(TopicConfig::from_line("T 4 4 6 SINGLE_TAG").unwrap().perm, 6);
    assert_eq!(TopicConfig::from_line("T 4 x 6 SINGLE_TAG"), None);
    is_written_as(
        &DataVersion { counter: 0, state_version: 0, timestamp: Timestamp(1_795_251_572_035) },
        r#"{"counter":0,"stateVersion":0,"timestamp":1795251572035}"#,
    );
}

#[test]
fn heartbeats_of_every_client_are_understood() {
    let java = br#"{"clientID":"10.0.0.1@1#2","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"BROADCASTING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":1795174877914,"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"P"}],"withoutSub":false}"#;
    let heartbeat = Heartbeat::decode(java).unwrap();
    assert_eq!(heartbeat.encode(), java);
    assert_eq!(heartbeat.client_id, "10.0.0.1@1#2");
    assert_eq!(heartbeat.consumer_data_set[0].message_model, MessageModel::Broadcasting);
    let built = SubscriptionData::by_tags("T", "TagA", 1_795_174_877_914);
    assert_eq!(heartbeat.consumer_data_set[0].subscription_data_set, [built]);

    let cpp = b"{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":0,\"consumeType\":1,\"groupName\":\"G\",\
        \"messageModel\":1,\"subscriptionDataSet\":[{\"codeSet\":[0,0],\"subString\":\"A || B\",\"subVersion\":\"17\",\
        \"tagsSet\":[\"A\",\"B\"],\"topic\":\"T\"}]}]}\n";
    let heartbeat = Heartbeat::decode(cpp).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(
        (consumer.consume_type, consumer.message_model),
        (ConsumeType::Passively, MessageModel::Clustering)
    );
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!(subscription.sub_version, 17);
    assert!(subscription.is_tag_type());
    assert_eq!(subscription.filter().codes().collect::<Vec<_>>(), [65, 66]);

    let go = br#"{"clientID":"g","producerDataSet":null,"consumerDataSet":[{"groupName":"G","consumeType":"CONSUME_PASSIVELY","messageModel":"Clustering?","consumeFromWhere":"4","subscriptionDataSet":[{"codeSet":["2598919"],"topic":"T","subString":"TagA","subVersion":3,"expressionType":""}]}]}"#;
    let heartbeat = Heartbeat::decode(go).unwrap();
    assert_eq!(heartbeat.consumer_data_set[0].consume_from_where, ConsumeFromWhere::FirstOffset);
    assert!(heartbeat.consumer_data_set[0].subscription_data_set[0].is_tag_type());
    assert_eq!(Heartbeat::decode(b"").unwrap(), Heartbeat::default());
}

#[test]
fn a_lock_request_of_go_is_understood() {
    let go = br#"{"consumerGroup":"G","clientId":"c","mqSet":[{"topic":"T","brokerName":"b","queueId":1}]}"#;
    let lock = LockBatch::decode(go).unwrap();
    assert_eq!(lock.mq_set, BTreeSet::from([MessageQueue::new("T", "b", 1)]));
    assert!(!lock.only_this_broker);
}

#[test]
fn a_registration_survives_both_forms_and_its_checksum_counts() {
    let mut body = RegisterBrokerBody::default();
    body.filter_server_list.push("f:1".into());
    let table = &mut body.topic_config_serialize_wrapper;
    table.data_version = DataVersion { counter: 7, state_version: 1, timestamp: Timestamp(9) };
    for name in ["A", "B"] {
        table
            .topic_config_table
            .insert(name.into(), TopicConfig { topic_name: name.into(), ..TopicConfig::default() });
    }
    let info = serde_json::json!({"topic": "A", "totalQueues": 3});
    table.topic_queue_mapping_info_map.insert("A".into(), info);
    let plain = body.encode();
    assert_eq!(
        RegisterBrokerBody::from_request(&plain, crc(&plain).cast_signed(), false).as_ref(),
        Ok(&body)
    );
    let folded = body.to_compressed();
    assert_eq!(RegisterBrokerBody::from_request(&folded, 0, true).as_ref(), Ok(&body));
    let wrong = RegisterBrokerBody::from_request(&plain, 1, false).unwrap_err();
    assert!(matches!(wrong, RegistrationError::Crc { claimed: 1, .. }));
    let cut = crate::protocol::compress::deflate(&[0, 0, 0, 9, b'{'], 1);
    let error = RegisterBrokerBody::from_request(&cut, 0, true).unwrap_err();
    assert_eq!(error.to_string(), "compressed registration ends within the data version");
}

#[test]
fn connections_name_their_language() {
    let text = r#"{"connectionSet":[{"clientAddr":"1.2.3.4:5","clientId":"c","language":"GO","version":317}],"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionTable":{}}"#;
    let connection = ConsumerConnection::decode(text.as_bytes()).unwrap();
    assert_eq!(connection.connection_set[0].language, crate::protocol::Language::Go);
    is_written_as(&connection, text);
}

#[test]
fn queues_are_ordered_by_topic_broker_number() {
    let mut queues = [
        MessageQueue::new("U", "a", 0),
        MessageQueue::new("T", "b", 0),
        MessageQueue::new("T", "a", 10),
        MessageQueue::new("T", "a", 9),
    ];
    queues.sort();
    let text: Vec<_> = queues.iter().map(MessageQueue::to_string).collect();
    assert_eq!(text, ["T@a:9", "T@a:10", "T@b:0", "U@a:0"]);
}
