//! Stories: one rule each. Law: random changes and the data version.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn started(auto_create: bool) -> Topics {
    let mut topics = Topics::new(TopicLimits { auto_create, ..TopicLimits::default() });
    topics.ensure_system(NOW, "DefaultCluster", "broker-a", 18).unwrap();
    topics
}

fn unknown(topic: &str) -> Unknown<'_> {
    Unknown { topic, default_topic: DEFAULT_TOPIC, queues: 4 }
}

#[test]
fn a_send_creates_a_topic_like_the_default_one() {
    let mut topics = started(true);
    let version = topics.version();
    let created = topics.on_unknown(Timestamp(2_000), unknown("orders")).unwrap().clone();
    assert_eq!(created, TopicConfig::new("orders", 4, Permission::READ_WRITE));
    assert_eq!(topics.version().counter, version.counter + 1);
    let many = Unknown { queues: 100, ..unknown("many") };
    assert_eq!(topics.on_unknown(NOW, many).unwrap().write_queues, 8, "no more than the default topic has");
    let odd = Unknown { queues: -3, ..unknown("odd") };
    assert_eq!(topics.on_unknown(NOW, odd).unwrap().write_queues, 1);
    topics.check_invariants();
}

#[test]
fn without_auto_create_a_send_creates_nothing_but_retry_topics() {
    let mut topics = started(false);
    let version = topics.version();
    assert_eq!(topics.on_unknown(NOW, unknown("orders")), Err(TopicError::NotExist));
    assert_eq!(topics.version(), version, "a refusal is no news");
    for name in ["%RETRY%g", "%DLQ%g"] {
        assert_eq!(topics.on_unknown(NOW, unknown(name)).unwrap().queues(), 1);
    }
}

#[test]
fn only_an_inheritable_topic_is_inherited_from() {
    let mut topics = started(true);
    let plain = Unknown { default_topic: "SELF_TEST_TOPIC", ..unknown("orders") };
    assert_eq!(topics.on_unknown(NOW, plain), Err(TopicError::NotExist));
    let missing = Unknown { default_topic: "nowhere", ..unknown("orders") };
    assert_eq!(topics.on_unknown(NOW, missing), Err(TopicError::NotExist));
    let cluster = Unknown { default_topic: "DefaultCluster", ..unknown("orders") };
    assert_eq!(topics.on_unknown(NOW, cluster).unwrap().queues(), 1);
}

#[test]
fn the_brokers_own_topics_are_there_and_ensured_once() {
    let mut topics = started(true);
    let version = topics.version();
    topics.ensure_system(NOW, "DefaultCluster", "broker-a", 18).unwrap();
    assert_eq!(topics.version(), version);
    assert_eq!(topics.topic("SCHEDULE_TOPIC_XXXX").unwrap().queues(), 18);
    assert_eq!(topics.topic("RMQ_SYS_TRANS_HALF_TOPIC").unwrap().queues(), 1);
    assert_eq!(topics.topic("TBW102").unwrap().permission, Permission::INHERITABLE);
    assert!(topics.topic("DefaultCluster_REPLY_TOPIC").is_some() && topics.topic("broker-a").is_some());
    assert!(started(false).topic("TBW102").is_none());
}

#[test]
fn limits_refuse_and_name_themselves() {
    let limits = TopicLimits { topics_max: 1, queues_max: 16, ..TopicLimits::default() };
    let mut topics = Topics::new(limits);
    let wide = TopicConfig::new("t", 17, Permission::READ_WRITE);
    assert_eq!(topics.update(NOW, wide), Err(TopicError::Queues(16)));
    assert_eq!(
        topics.update(NOW, TopicConfig::new("t", 0, Permission::READ_WRITE)),
        Err(TopicError::Queues(16))
    );
    assert_eq!(topics.update(NOW, TopicConfig::new("t", 16, Permission::READ_WRITE)), Ok(true));
    assert_eq!(topics.update(NOW, TopicConfig::new("u", 1, Permission::READ_WRITE)), Err(TopicError::Full));
    assert_eq!(
        topics.update(NOW, TopicConfig::new("t", 1, Permission::READ)),
        Ok(true),
        "a change is no addition"
    );
}

#[test]
fn a_shrunk_topic_is_written_where_messages_are_on_their_way() {
    let shrunk = TopicConfig { write_queues: 2, ..TopicConfig::new("t", 8, Permission::READ_WRITE) };
    assert!(
        shrunk.has_queue(QueueId(7)) && shrunk.can_read_queue(QueueId(7)) && !shrunk.has_queue(QueueId(8))
    );
    let write_only = TopicConfig { read_queues: 0, ..shrunk };
    assert!(write_only.has_queue(QueueId(1)) && !write_only.can_read_queue(QueueId(0)));
}

#[test]
fn permissions_are_rocketmqs_bits() {
    assert!(Permission::READ_WRITE.can_read() && Permission::READ_WRITE.can_write());
    assert!(!Permission::READ_WRITE.can_be_inherited() && Permission::INHERITABLE.can_be_inherited());
    assert!(!Permission::READ.can_write() && !Permission::WRITE.can_read());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_version_moves_with_every_change_and_never_back(
        steps in proptest::collection::vec((0..5u32, 0..4u32, any::<bool>(), -5_000..5_000i64), 0..60),
    ) {
        let mut topics = started(true);
        for (number, queues, delete, at) in steps {
            let (before, contents) = (topics.version(), topics.iter().cloned().collect::<Vec<_>>());
            let name = format!("t{number}");
            if delete {
                topics.delete(Timestamp(at), &name);
            } else {
                let config = TopicConfig::new(&name, queues, Permission::READ_WRITE);
                prop_assert_eq!(topics.update(Timestamp(at), config).is_ok(), queues > 0);
            }
            topics.check_invariants();
            let changed = contents != topics.iter().cloned().collect::<Vec<_>>();
            prop_assert_eq!(topics.version() > before, changed);
            prop_assert!(topics.version() >= before);
        }
        let replayed = Topics::replay(TopicLimits::default(), topics.version(), topics.iter().cloned());
        prop_assert!(replayed.iter().eq(topics.iter()) && replayed.version() == topics.version());
    }
}
