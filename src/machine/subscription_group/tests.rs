//! Stories: one rule each.

use super::*;

const NOW: Timestamp = Timestamp(1_000);

#[test]
fn a_group_nobody_created_comes_with_rocketmqs_defaults() {
    let mut groups = SubscriptionGroups::new(GroupLimits::default());
    let (group, new) = groups.ensure(NOW, "g").unwrap();
    assert!(new && group.consume_enable && group.retry_max_times == 16 && group.retry_queue_nums == 1);
    let version = groups.version();
    assert!(!groups.ensure(NOW, "g").unwrap().1);
    assert_eq!(groups.version(), version);
    assert_eq!(groups.retry("g"), Some(GroupRetry { max: 16, queues: 1, permitted: true }));
    assert_eq!(groups.retry("h"), None);
}

#[test]
fn without_auto_create_only_system_groups_are_made_up() {
    let mut groups = SubscriptionGroups::new(GroupLimits { auto_create: false, ..GroupLimits::default() });
    assert_eq!(groups.ensure(NOW, "g").unwrap_err(), GroupError::NotExist);
    assert!(groups.ensure(NOW, "CID_RMQ_SYS_TRANS").is_ok());
    assert!(groups.update(NOW, SubscriptionGroupConfig::new("g")).unwrap());
    assert!(groups.ensure(NOW, "g").is_ok());
}

#[test]
fn a_change_moves_the_version_and_repeating_it_does_not() {
    let mut groups = SubscriptionGroups::new(GroupLimits::default());
    let config = SubscriptionGroupConfig { retry_max_times: 3, ..SubscriptionGroupConfig::new("g") };
    assert!(groups.update(NOW, config.clone()).unwrap());
    let version = groups.version();
    assert!(!groups.update(Timestamp(9_000), config.clone()).unwrap());
    assert_eq!(groups.version(), version);
    // The clock was set back.
    assert!(groups.delete(Timestamp(1), "g") && !groups.delete(Timestamp(1), "g"));
    assert!(groups.version() > version);
    let replayed = SubscriptionGroups::replay(GroupLimits::default(), version, [config]);
    assert_eq!(replayed.group("g").map(|group| group.retry_max_times), Some(3));
    replayed.check_invariants();
}

#[test]
fn names_and_numbers_of_groups_are_bounded() {
    let mut groups = SubscriptionGroups::new(GroupLimits { groups_max: 1, ..GroupLimits::default() });
    for name in ["", "a b", "a\u{e9}", &"g".repeat(256)] {
        assert!(matches!(groups.ensure(NOW, name), Err(GroupError::Name(_))), "{name:?}");
    }
    assert!(groups.ensure(NOW, "g").is_ok());
    assert_eq!(groups.ensure(NOW, "h").unwrap_err(), GroupError::Full);
    groups.check_invariants();
}
