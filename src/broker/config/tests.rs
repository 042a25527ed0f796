//! What a `broker.conf` means, told by examples; and laws that hold for every row of the table.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::{Config, ConfigError, FlushDiskType, Host, KEYS, TABLE, Warning};

fn read(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    TABLE.read("broker.conf", text, Config::default())
}

#[test]
fn the_host_fills_what_the_file_leaves_out() {
    let host = Host { name: "cape".to_owned(), ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)) };
    let (config, warnings) = TABLE.read("broker.conf", "# empty\n", Config::new(&host)).expect("reads");
    assert_eq!((config.broker_name.as_str(), config.broker_ip1), ("cape", host.ip));
    assert_eq!(warnings, []);
}

#[test]
fn apaches_own_example_file_reads_without_a_word() {
    let text = "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\n\
                fileReservedTime = 48\nbrokerRole = ASYNC_MASTER\nflushDiskType = SYNC_FLUSH\n\
                namesrvAddr=192.0.2.1:9876;ns-2:9876\nmappedFileSizeConsumeQueue=300000\n";
    let (config, warnings) = read(text).expect("reads");
    assert_eq!(warnings, []);
    assert_eq!(config.broker_name, "broker-a");
    assert_eq!(config.file_reserved_hours, 48);
    assert_eq!(config.flush_disk_type, FlushDiskType::Sync);
    assert_eq!(config.namesrv_addr, ["192.0.2.1:9876", "ns-2:9876"]);
    assert_eq!(config.consume_queue_segment_bytes, 300_000);
}

#[test]
fn a_key_without_effect_and_a_key_set_twice_are_warnings() {
    let (config, warnings) =
        read("sendMessageThreadPoolNums=64\nlistenPort=1\nstorePathIndex=/x\nlistenPort=2\n").expect("reads");
    assert_eq!(config.listen_port, 2);
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    line 1: `sendMessageThreadPoolNums` of Apache RocketMQ is not supported yet: it has no effect
    line 3: `storePathIndex` of Apache RocketMQ is not supported yet: it has no effect
    line 4: `listenPort` was already set on line 2: the last value counts
    ");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_with_its_line() {
    let text = "flushDisktype=SYNC_FLUSH\nlistenPort=70000\nautoCreateTopicEnable=yes\nbrokerIp=192.0.2.1\n\
                brokerRole=SLAVE\nbrokerIP1=localhost\nfavouriteColour=red\nmessageDelayLevel=1s 5x\n\
                transactionCheckMax=0\nnamesrvAddr=ns-1\nbrokerName=\nenablePropertyFilter=true\n\
                fileReservedTime=-1\ndeleteWhen=24\nbrokerId=1\nmappedFileSizeCommitLog=1G\n";
    insta::assert_snapshot!(read(text).expect_err("refused").to_string(), @r"
    broker.conf:1: `flushDisktype` is a key of neither Staticfire nor Apache RocketMQ; did you mean `flushDiskType`?
    broker.conf:2: `listenPort` is `70000`: expected a port from 0 to 65535
    broker.conf:3: `autoCreateTopicEnable` is `yes`: expected true or false
    broker.conf:4: `brokerIp` is a key of neither Staticfire nor Apache RocketMQ; did you mean `brokerIP1`?
    broker.conf:5: `brokerRole` is `SLAVE`: expected ASYNC_MASTER (replication is not supported yet)
    broker.conf:6: `brokerIP1` is `localhost`: expected an IP address, not a host name
    broker.conf:7: `favouriteColour` is a key of neither Staticfire nor Apache RocketMQ
    broker.conf:8: `messageDelayLevel` is `1s 5x`: expected waits such as `1s 5s 10m 2h`, between blanks, in s, m, h or d
    broker.conf:9: `transactionCheckMax` is `0`: expected a whole number of checks from 1 to 1000
    broker.conf:10: `namesrvAddr` is `ns-1`: expected host:port, several of them between semicolons
    broker.conf:11: `brokerName` is empty: expected a name of 1 to 127 bytes
    broker.conf:12: `enablePropertyFilter` is `true`: expected false (filtering by SQL expression is not supported yet)
    broker.conf:13: `fileReservedTime` is `-1`: expected a whole number of hours from 1 to 876000
    broker.conf:14: `deleteWhen` is `24`: expected hours of the day from 00 to 23, several of them between semicolons
    broker.conf:15: `brokerId` is `1`: expected 0, a master (replication is not supported yet)
    broker.conf:16: `mappedFileSizeCommitLog` is `1G`: expected a whole number of bytes from 65536 to 2147483647
    ");
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let mut config = Config::default();
    for (key, value) in [
        ("messageDelayLevel", "90s 1d 2h"),
        ("deleteWhen", "4;16"),
        ("brokerPermission", "4"),
        ("namesrvAddr", "a:1; b:2;"),
        ("mappedFileSizeConsumeQueue", "41"),
    ] {
        assert_eq!(TABLE.set(&mut config, key, value), Ok(true), "{key}");
    }
    let mut text = String::new();
    for (key, value) in TABLE.show(&config) {
        writeln!(text, "{key}={value}").expect("a string takes it");
    }
    assert_eq!(read(&text), Ok((config.clone(), vec![])));
    let (plain, _) = read("").expect("reads");
    assert_ne!(plain, config);
}

#[test]
fn a_refused_value_changes_nothing() {
    for row in &KEYS {
        let mut config = Config::default();
        let refused = TABLE.set(&mut config, row.name, "\u{1}").is_err();
        // A name or path may be any text.
        let any_text = matches!(row.slot, super::Slot::Name(_) | super::Slot::Path(_));
        assert!(refused != any_text, "{}", row.name);
        assert!(any_text || config == Config::default(), "{}", row.name);
    }
}

#[test]
fn every_supported_key_is_apaches_and_has_apaches_default() {
    let defaults: Vec<(&str, String)> = TABLE.show(&Config::default());
    for (key, value) in &defaults {
        if let Some((_, ours)) = OUR_DEFAULTS.iter().find(|(name, _)| name == key) {
            assert_eq!(value, ours, "{key}");
            continue;
        }
        assert!(TABLE.apache.lines().any(|known| known == *key), "{key} is not a key of Apache's");
        let own = ["brokerName", "brokerIP1", "namesrvAddr", "storePathRootDir", "listenPort"];
        if let Some((_, theirs)) = APACHE_DEFAULTS.iter().find(|(name, _)| name == key) {
            assert_eq!(value, theirs, "{key}");
        } else {
            assert!(own.contains(key), "{key} has no default to compare with");
        }
    }
}

/// What is not as in Apache's: a key it does not have, and one whose default gives up messages that nobody has read.
const OUR_DEFAULTS: &[(&str, &str)] = &[("fileReservedBytes", "0"), ("cleanFileForciblyEnable", "false")];

/// As Apache RocketMQ 5.5.0 starts without a file.
const APACHE_DEFAULTS: &[(&str, &str)] = &[
    ("brokerClusterName", "DefaultCluster"),
    ("brokerId", "0"),
    ("brokerRole", "ASYNC_MASTER"),
    ("regionId", "DefaultRegion"),
    ("bindAddress", "0.0.0.0"),
    ("haListenPort", "10912"),
    ("registerNameServerPeriod", "30000"),
    ("autoCreateTopicEnable", "true"),
    ("autoCreateSubscriptionGroup", "true"),
    ("defaultTopicQueueNums", "8"),
    ("brokerPermission", "6"),
    ("traceOn", "true"),
    ("flushDiskType", "ASYNC_FLUSH"),
    ("syncFlushTimeout", "5000"),
    ("flushIntervalCommitLog", "500"),
    ("mappedFileSizeCommitLog", "1073741824"),
    ("mappedFileSizeConsumeQueue", "6000000"),
    ("messageIndexEnable", "true"),
    ("maxHashSlotNum", "5000000"),
    ("maxIndexNum", "20000000"),
    ("maxMessageSize", "4194304"),
    ("deleteWhen", "04"),
    ("fileReservedTime", "72"),
    ("diskMaxUsedSpaceRatio", "75"),
    ("diskSpaceCleanForciblyRatio", "85"),
    ("diskSpaceWarningLevelRatio", "90"),
    ("messageDelayLevel", "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"),
    ("longPollingEnable", "true"),
    ("notifyConsumerIdsChangedEnable", "true"),
    ("channelExpiredTimeout", "120000"),
    ("flushConsumerOffsetInterval", "5000"),
    ("flushDelayOffsetInterval", "10000"),
    ("rejectTransactionMessage", "false"),
    ("transactionTimeOut", "6000"),
    ("transactionCheckInterval", "30000"),
    ("transactionCheckMax", "15"),
    ("enablePropertyFilter", "false"),
    ("slaveReadEnable", "false"),
    ("transientStorePoolEnable", "false"),
];
