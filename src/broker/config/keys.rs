//! The broker's keys: the one list of what a `broker.conf` may say.
//!
//! Names and defaults are those of Apache RocketMQ 5.5.0 (`BrokerConfig`, `MessageStoreConfig`, `NettyServerConfig`),
//! ranges are what the code here can honour. `fileReservedBytes` is ours alone.

use super::settings::{BrokerRole, Config, DelayLevels, FlushDiskType};
use super::table::{Key, Slot, Table};

/// How a broker's property file is read.
pub static TABLE: Table<Config> = Table { keys: &KEYS, apache: include_str!("apache_keys.txt") };

const DAY_MS: u64 = 86_400_000;

/// Every supported key.
pub static KEYS: [Key<Config>; 46] = [
    key("brokerClusterName", Slot::Name(|c| &mut c.cluster_name), "the cluster it belongs to"),
    key("brokerName", Slot::Name(|c| &mut c.broker_name), "its name in the cluster; the host's unless set"),
    key("brokerId", BROKER_ID, "0, a master: no replication yet"),
    key("brokerRole", BROKER_ROLE, "only ASYNC_MASTER: no replication yet"),
    key("regionId", Slot::Name(|c| &mut c.region_id), "the region that send answers carry"),
    key("brokerIP1", Slot::Ip(|c| &mut c.broker_ip1), "the address clients are told"),
    key("bindAddress", Slot::Ip(|c| &mut c.bind_address), "the address it listens at"),
    key("listenPort", Slot::Port(|c| &mut c.listen_port), "the port it listens at; 0 for any free one"),
    key("haListenPort", Slot::Port(|c| &mut c.ha_listen_port), "announced only: no replication yet"),
    key("namesrvAddr", Slot::Addresses(|c| &mut c.namesrv_addr), "name servers to register with"),
    key("registerNameServerPeriod", REGISTER, "between two registrations"),
    key("autoCreateTopicEnable", Slot::Flag(|c| &mut c.auto_create_topic), "a send may create its topic"),
    key(
        "autoCreateSubscriptionGroup",
        Slot::Flag(|c| &mut c.auto_create_subscription_group),
        "a consumer may create its group",
    ),
    key("defaultTopicQueueNums", TOPIC_QUEUES, "most queues of a topic that a send creates"),
    key("brokerPermission", PERMISSION, "2 write, 4 read, 6 both"),
    key("traceOn", Slot::Flag(|c| &mut c.trace_on), "ask producers for traces"),
    key("storePathRootDir", Slot::Path(|c| &mut c.store_path_root), "where everything is kept"),
    key("flushDiskType", FLUSH, "acknowledge from memory or from the disk"),
    key("syncFlushTimeout", ms(|c| &mut c.sync_flush_timeout_ms), "longest wait of a send for its sync"),
    key("flushIntervalCommitLog", ms(|c| &mut c.flush_interval_ms), "between two syncs in ASYNC_FLUSH"),
    key("mappedFileSizeCommitLog", COMMIT_LOG, "size of a commit-log segment"),
    key("mappedFileSizeConsumeQueue", CONSUME_QUEUE, "size of a consume-queue file, rounded up to 20 bytes"),
    key("messageIndexEnable", Slot::Flag(|c| &mut c.message_index), "messages can be looked up by key"),
    key("maxHashSlotNum", INDEX_SLOTS, "slots of an index file; files of other sizes are built again"),
    key("maxIndexNum", INDEX_ENTRIES, "entries of an index file, and one; 20 bytes each as they are used"),
    key("maxMessageSize", BODY, "largest message body"),
    key("deleteWhen", DELETE_WHEN, "when expired segments are deleted, by the machine's time zone"),
    key("fileReservedTime", RESERVED, "how long a segment is kept"),
    key(
        "fileReservedBytes",
        RESERVED_BYTES,
        "more commit log than this, and the oldest segments go; 0 no limit",
    ),
    key("diskMaxUsedSpaceRatio", DISK_USED, "fuller than this, expired segments go at any hour"),
    key(
        "cleanFileForciblyEnable",
        Slot::Flag(|c| &mut c.clean_file_forcibly),
        "on a disk fuller than diskSpaceCleanForciblyRatio, the oldest segments go, expired or not",
    ),
    key("diskSpaceCleanForciblyRatio", DISK_FORCIBLY, "see cleanFileForciblyEnable; 100 never"),
    key("diskSpaceWarningLevelRatio", DISK_WARNING, "fuller than this, messages are refused; 100 never"),
    key("messageDelayLevel", DELAY_LEVELS, "the wait of each delay level"),
    key("longPollingEnable", Slot::Flag(|c| &mut c.long_polling), "hold a pull that finds nothing"),
    key(
        "notifyConsumerIdsChangedEnable",
        Slot::Flag(|c| &mut c.notify_consumer_ids_changed),
        "tell members that their group changed",
    ),
    key("channelExpiredTimeout", ms(|c| &mut c.channel_expired_ms), "a client silent for longer is gone"),
    key(
        "flushConsumerOffsetInterval",
        ms(|c| &mut c.flush_consumer_offset_ms),
        "between two saves of offsets",
    ),
    key(
        "flushDelayOffsetInterval",
        ms(|c| &mut c.flush_delay_offset_ms),
        "between two saves of delay progress",
    ),
    key("rejectTransactionMessage", Slot::Flag(|c| &mut c.reject_transactions), "refuse half messages"),
    key(
        "transactionTimeOut",
        ms(|c| &mut c.transaction_timeout_ms),
        "age of a half message at its first check",
    ),
    key(
        "transactionCheckInterval",
        ms(|c| &mut c.transaction_check_interval_ms),
        "between two rounds of checks",
    ),
    key("transactionCheckMax", CHECKS, "delivered checks before a half message is put aside"),
    key("enablePropertyFilter", NO_FILTER, "only false: no SQL filter yet"),
    key("slaveReadEnable", NO_SLAVE, "only false: no replication yet"),
    key("transientStorePoolEnable", NO_POOL, "only false: every write goes to the page cache"),
];

const REGISTER: Slot<Config> =
    Slot::Whole(|c| &mut c.register_name_server_ms, 10_000..=60_000, "milliseconds");
const TOPIC_QUEUES: Slot<Config> = Slot::Count(|c| &mut c.default_topic_queues, 1..=1_024, "queues");
const COMMIT_LOG: Slot<Config> =
    Slot::Whole(|c| &mut c.commit_log_segment_bytes, 65_536..=2_147_483_647, "bytes");
const INDEX_SLOTS: Slot<Config> = Slot::Count(|c| &mut c.index_slots, 1..=100_000_000, "slots");
const INDEX_ENTRIES: Slot<Config> = Slot::Count(|c| &mut c.index_entries, 2..=100_000_000, "entries");
const BODY: Slot<Config> = Slot::Count(|c| &mut c.body_bytes_max, 1..=8 << 20, "bytes");
const RESERVED: Slot<Config> = Slot::Whole(|c| &mut c.file_reserved_hours, 1..=876_000, "hours");
/// As far as Java's long, and so the log's positions, go.
const RESERVED_BYTES: Slot<Config> =
    Slot::Whole(|c| &mut c.file_reserved_bytes, 0..=9_223_372_036_854_775_807, "bytes");
const DISK_USED: Slot<Config> = Slot::Percent(|c| &mut c.disk_used_percent_max, 10..=95);
const DISK_FORCIBLY: Slot<Config> = Slot::Percent(|c| &mut c.disk_clean_forcibly_percent, 30..=100);
const DISK_WARNING: Slot<Config> = Slot::Percent(|c| &mut c.disk_warning_percent, 35..=100);
const CHECKS: Slot<Config> = Slot::Count(|c| &mut c.transaction_check_max, 1..=1_000, "checks");

const BROKER_ID: Slot<Config> = Slot::Other {
    expected: "0, a master (replication is not supported yet)",
    read: |_, value| value == "0",
    show: |c| c.broker_id.to_string(),
};

const BROKER_ROLE: Slot<Config> = Slot::Other {
    expected: "ASYNC_MASTER (replication is not supported yet)",
    read: |c, value| {
        let known = value == "ASYNC_MASTER";
        if known {
            c.broker_role = BrokerRole::AsyncMaster;
        }
        known
    },
    show: |c| match c.broker_role {
        BrokerRole::AsyncMaster => "ASYNC_MASTER".to_owned(),
    },
};

const PERMISSION: Slot<Config> = Slot::Other {
    expected: "2 (write), 4 (read) or 6 (both)",
    read: |c, value| {
        let permission = value.parse().ok().filter(|bits| [2, 4, 6].contains(bits));
        c.broker_permission = permission.unwrap_or(c.broker_permission);
        permission.is_some()
    },
    show: |c| c.broker_permission.to_string(),
};

const FLUSH: Slot<Config> = Slot::Other {
    expected: "ASYNC_FLUSH or SYNC_FLUSH",
    read: |c, value| {
        let flush = match value {
            "ASYNC_FLUSH" => FlushDiskType::Async,
            "SYNC_FLUSH" => FlushDiskType::Sync,
            _ => return false,
        };
        c.flush_disk_type = flush;
        true
    },
    show: |c| match c.flush_disk_type {
        FlushDiskType::Async => "ASYNC_FLUSH".to_owned(),
        FlushDiskType::Sync => "SYNC_FLUSH".to_owned(),
    },
};

/// Apache rounds up to whole units too (`MessageStoreConfig`), so that a common `300000` means 15,000 entries there and
/// here.
const CONSUME_QUEUE: Slot<Config> = Slot::Other {
    expected: "a whole number of bytes from 20 to 2147483640",
    read: |c, value| {
        let bytes = value.parse::<u64>().ok().filter(|bytes| (20..=2_147_483_640).contains(bytes));
        c.consume_queue_segment_bytes =
            bytes.map_or(c.consume_queue_segment_bytes, |bytes| bytes.next_multiple_of(20));
        bytes.is_some()
    },
    show: |c| c.consume_queue_segment_bytes.to_string(),
};

const DELETE_WHEN: Slot<Config> = Slot::Other {
    expected: "hours of the day from 00 to 23, several of them between semicolons",
    read: |c, value| {
        let hours: Option<Vec<u8>> =
            value.split(';').map(|hour| hour.trim().parse::<u8>().ok().filter(|hour| *hour < 24)).collect();
        let taken = hours.is_some();
        if let Some(hours) = hours {
            c.delete_when_hours = hours;
        }
        taken
    },
    show: |c| c.delete_when_hours.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";"),
};

const DELAY_LEVELS: Slot<Config> = Slot::Other {
    expected: "waits such as `1s 5s 10m 2h`, between blanks, in s, m, h or d",
    read: |c, value| {
        let levels = DelayLevels::parse(value);
        let taken = levels.is_some();
        if let Some(levels) = levels {
            c.delay_levels = levels;
        }
        taken
    },
    show: |c| c.delay_levels.to_string(),
};

const NO_FILTER: Slot<Config> = only_false("false (filtering by SQL expression is not supported yet)");
const NO_SLAVE: Slot<Config> = only_false("false (replication is not supported yet)");
const NO_POOL: Slot<Config> = only_false("false (messages are written to the page cache at once)");

/// A switch that cannot be on: said at once rather than ignored, because a user who sets it relies on it.
const fn only_false(expected: &'static str) -> Slot<Config> {
    Slot::Other {
        expected,
        read: |_, value| value.eq_ignore_ascii_case("false"),
        show: |_| "false".to_owned(),
    }
}

const fn ms(at: fn(&mut Config) -> &mut u64) -> Slot<Config> {
    Slot::Whole(at, 1..=DAY_MS, "milliseconds")
}

const fn key(name: &'static str, slot: Slot<Config>, about: &'static str) -> Key<Config> {
    Key { name, slot, about }
}
