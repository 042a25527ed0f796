//! [`Config`]: every setting of one broker, with RocketMQ's defaults.
//!
//! Field names say the unit. The property each one comes from is in the table of `keys.rs`.
//!
//! Not here: parsing.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::base::limits;

/// Settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    // -- who it is ----------------------------------------------------------------------------------
    pub cluster_name: String,
    /// Unique within the cluster. The host's name unless set.
    pub broker_name: String,
    /// 0 is the master of its name; there are no others yet.
    pub broker_id: u64,
    pub broker_role: BrokerRole,
    /// `MSG_REGION` of every send answer.
    pub region_id: String,

    // -- where it is --------------------------------------------------------------------------------
    /// The address that clients are told, and that stands in every message id.
    pub broker_ip1: IpAddr,
    /// The address it listens at.
    pub bind_address: IpAddr,
    /// 0: any free port.
    pub listen_port: u16,
    /// Announced to name servers beside the address; nothing listens there before replication exists.
    pub ha_listen_port: u16,
    /// Name servers as `host:port`. Empty: the broker registers nowhere.
    pub namesrv_addr: Vec<String>,
    /// Between two registrations of an unchanged broker. RocketMQ keeps it within 10 s and 60 s.
    pub register_name_server_ms: u64,

    // -- topics, groups, permissions ----------------------------------------------------------------
    pub auto_create_topic: bool,
    pub auto_create_subscription_group: bool,
    /// Most queues of a topic that a send created.
    pub default_topic_queues: u32,
    /// 2 write, 4 read, 6 both.
    pub broker_permission: u32,
    /// `TRACE_ON` of every send answer.
    pub trace_on: bool,

    // -- store --------------------------------------------------------------------------------------
    pub store_path_root: PathBuf,
    pub flush_disk_type: FlushDiskType,
    /// Longest wait of a sync-flush send for its sync.
    pub sync_flush_timeout_ms: u64,
    /// Between two syncs of an async-flush log.
    pub flush_interval_ms: u64,
    pub commit_log_segment_bytes: u64,
    /// A multiple of the 20-byte unit.
    pub consume_queue_segment_bytes: u64,
    /// Messages can be looked up by key.
    pub message_index: bool,
    pub index_slots: u32,
    /// One more than the entries an index file holds.
    pub index_entries: u32,
    /// Largest message body.
    pub body_bytes_max: u32,
    /// Hours of the day, by the machine's time zone, at which expired segments are deleted.
    pub delete_when_hours: Vec<u8>,
    pub file_reserved_hours: u64,
    /// Bytes of commit log above which the oldest segments are deleted, whatever their age; 0 sets no limit.
    pub file_reserved_bytes: u64,
    /// Percent of the file system in use above which expired segments are deleted at any hour.
    pub disk_used_percent_max: u8,
    /// Percent above which the oldest segments are deleted, expired or not, if `clean_file_forcibly`.
    pub disk_clean_forcibly_percent: u8,
    /// Off, where RocketMQ's is on: messages that nobody has read are given up only by whoever says so (rmq#2138).
    pub clean_file_forcibly: bool,
    /// Percent above which messages are refused.
    pub disk_warning_percent: u8,

    // -- delivery -----------------------------------------------------------------------------------
    pub delay_levels: DelayLevels,
    pub long_polling: bool,
    pub notify_consumer_ids_changed: bool,
    /// A client without a heartbeat for this long is gone.
    pub channel_expired_ms: u64,
    pub flush_consumer_offset_ms: u64,
    pub flush_delay_offset_ms: u64,

    // -- transactions -------------------------------------------------------------------------------
    pub reject_transactions: bool,
    /// A half message is left alone for this long before the first check.
    pub transaction_timeout_ms: u64,
    pub transaction_check_interval_ms: u64,
    /// Delivered checks after which a half message is put aside.
    pub transaction_check_max: u32,
}

/// When a send is acknowledged (`flushDiskType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushDiskType {
    /// Once it is in the page cache: it survives the process, not the machine's power.
    #[default]
    Async,
    /// Once it is on the disk.
    Sync,
}

/// `brokerRole`. `SYNC_MASTER` and `SLAVE` need replication, which does not exist yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokerRole {
    #[default]
    AsyncMaster,
}

/// `messageDelayLevel`: level `n` waits `millis()[n - 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels {
    millis: Vec<u64>,
}

/// What only the machine knows: fills `brokerName` and `brokerIP1` when the file does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub ip: IpAddr,
}

impl Config {
    /// RocketMQ's defaults on `host`.
    pub fn new(host: &Host) -> Config {
        Config {
            cluster_name: "DefaultCluster".to_owned(),
            broker_name: host.name.clone(),
            broker_id: 0,
            broker_role: BrokerRole::AsyncMaster,
            region_id: "DefaultRegion".to_owned(),
            broker_ip1: host.ip,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            listen_port: 10_911,
            ha_listen_port: 10_912,
            namesrv_addr: Vec::new(),
            register_name_server_ms: 30_000,
            auto_create_topic: true,
            auto_create_subscription_group: true,
            default_topic_queues: 8,
            broker_permission: 6,
            trace_on: true,
            store_path_root: PathBuf::from("./staticfire-data/broker"),
            flush_disk_type: FlushDiskType::Async,
            sync_flush_timeout_ms: 5_000,
            flush_interval_ms: 500,
            commit_log_segment_bytes: 1 << 30,
            consume_queue_segment_bytes: 300_000 * 20,
            message_index: true,
            index_slots: 5_000_000,
            index_entries: 20_000_000,
            body_bytes_max: limits::BODY_BYTES_MAX as u32,
            delete_when_hours: vec![4],
            file_reserved_hours: 72,
            file_reserved_bytes: 0,
            disk_used_percent_max: 75,
            disk_clean_forcibly_percent: 85,
            clean_file_forcibly: false,
            disk_warning_percent: 90,
            delay_levels: DelayLevels::default(),
            long_polling: true,
            notify_consumer_ids_changed: true,
            channel_expired_ms: 120_000,
            flush_consumer_offset_ms: 5_000,
            flush_delay_offset_ms: 10_000,
            reject_transactions: false,
            transaction_timeout_ms: 6_000,
            transaction_check_interval_ms: 30_000,
            transaction_check_max: 15,
        }
    }
}

/// A broker on loopback, by the name RocketMQ gives one whose host has none.
impl Default for Config {
    fn default() -> Config {
        Config::new(&Host { name: "DEFAULT_BROKER".to_owned(), ip: IpAddr::V4(Ipv4Addr::LOCALHOST) })
    }
}

impl DelayLevels {
    /// Levels as RocketMQ writes them: whole numbers with `s`, `m`, `h` or `d`, between blanks. `None` if one is not.
    pub fn parse(text: &str) -> Option<DelayLevels> {
        let millis: Option<Vec<u64>> = text.split_whitespace().map(span_ms).collect();
        millis.filter(|millis| !millis.is_empty()).map(|millis| DelayLevels { millis })
    }

    /// The wait of each level in milliseconds, level 1 first.
    pub fn millis(&self) -> &[u64] {
        &self.millis
    }
}

impl Default for DelayLevels {
    fn default() -> DelayLevels {
        DelayLevels::parse("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h")
            .expect("RocketMQ's own levels parse")
    }
}

impl std::fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, &millis) in self.millis.iter().enumerate() {
            let (unit_ms, unit) = UNITS
                .into_iter()
                .find(|(unit_ms, _)| millis % unit_ms == 0 && millis >= *unit_ms)
                .unwrap_or((1_000, 's'));
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{}{unit}", millis / unit_ms)?;
        }
        Ok(())
    }
}

const UNITS: [(u64, char); 4] = [(86_400_000, 'd'), (3_600_000, 'h'), (60_000, 'm'), (1_000, 's')];

fn span_ms(word: &str) -> Option<u64> {
    let unit = word.chars().next_back()?;
    let (unit_ms, _) = UNITS.into_iter().find(|(_, letter)| *letter == unit)?;
    let count: u64 = word.strip_suffix(unit)?.parse().ok()?;
    count.checked_mul(unit_ms).filter(|&ms| ms <= 365 * 86_400_000)
}
