//! What a seed makes of a run: its cluster, its work, its faults.

use staticfire::base::Draw;
use staticfire::broker::config::FlushDiskType;

/// Everything that is drawn before a run begins. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) flush: FlushDiskType,
    pub(crate) name_servers: usize,
    pub(crate) brokers: usize,
    /// Of each topic on each broker.
    pub(crate) queues: u32,
    pub(crate) producers: usize,
    pub(crate) traders: usize,
    pub(crate) members: usize,
    /// Messages of each producer or trader.
    pub(crate) plain: u64,
    pub(crate) orders: u64,
    pub(crate) trades: u64,
    pub(crate) plain_gap_ms: u64,
    pub(crate) orders_gap_ms: u64,
    pub(crate) trades_gap_ms: u64,
    /// Half of the longest time that a handler takes.
    pub(crate) handling_ms: u64,
    /// How long things break.
    pub(crate) chaos_ms: u64,
    /// Nothing else breaks, but the brokers' disks are slow to sync and their power goes again and again.
    pub(crate) only_crashes: bool,
    /// The restart after everything has settled takes the power, not only the process.
    pub(crate) power: bool,
}

/// `transactionTimeOut`, `transactionCheckInterval`, `transactionCheckMax`.
pub(crate) const CHECK_AFTER_MS: u64 = 2_000;
pub(crate) const CHECK_EVERY_MS: u64 = 2_000;
pub(crate) const CHECKS_MAX: u32 = 4;
/// A broker forgets a client that is silent for so long.
pub(crate) const EXPIRY_MS: u64 = 10_000;
/// `messageDelayLevel`; retries begin with the third.
pub(crate) const LEVELS: &str = "1s 1s 1s 2s 3s 3s";
pub(crate) const RETRY_NS: [u64; 2] = [1_000_000_000, 2_000_000_000];

impl Plan {
    pub(crate) fn draw(draw: Draw) -> Plan {
        let draw = draw.domain("plan");
        let range = |what: &str, low, high| draw.range(what, 0, 0, low, high);
        let only_crashes = range("only crashes", 0, 5) == 0;
        let chaos_ms = if only_crashes { 36_000 } else { range("chaos", 8_000, 40_000) };
        let flush = if !only_crashes && range("flush", 0, 3) == 0 {
            FlushDiskType::Async
        } else {
            FlushDiskType::Sync
        };
        let (plain, orders, trades) =
            (range("plain", 10, 80), range("orders", 10, 60), range("trades", 4, 30));
        let slow = range("slow handlers", 0, 3) == 0;
        Plan {
            flush,
            name_servers: range("name servers", 1, 3) as usize,
            brokers: range("brokers", 1, 3) as usize,
            queues: range("queues", 1, 4) as u32,
            producers: range("producers", 1, 3) as usize,
            traders: range("traders", 1, 3) as usize,
            members: range("members", 1, 4) as usize,
            plain,
            orders,
            trades,
            plain_gap_ms: chaos_ms / plain,
            orders_gap_ms: chaos_ms / orders,
            trades_gap_ms: chaos_ms / trades,
            handling_ms: if slow { range("slow", 200, 1_500) } else { range("fast", 1, 40) },
            chaos_ms,
            only_crashes,
            power: flush == FlushDiskType::Sync && range("power", 0, 2) == 0,
        }
    }
}
