//! What a seed makes of a run: its cluster, its work, its faults.

use staticfire::base::Draw;
use staticfire::broker::config::FlushDiskType;
use staticfire::store;

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
    /// How often a bit of a closed record flips.
    pub(crate) rots: u64,
    /// All bodies are as long as each other, as where machines send: a record fits where another one stood.
    pub(crate) even_bytes: Option<u64>,
    pub(crate) shape: Shape,
}

/// Sizes and times of a broker's store, in bytes and ms: small beside a run, so that files roll, units settle and reads
/// miss memory in the middle of it, and each for itself, so that they do so in any order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    segment_bytes: u64,
    queue_file_units: u32,
    flush_bytes: u64,
    checkpoint_bytes: u64,
    checkpoint_interval_ms: u64,
    journal_bytes: u64,
    settle_interval_ms: u64,
    pub(crate) hot_bytes: u64,
    tail_units: usize,
}

impl Shape {
    /// `cold` leaves little of the log to memory.
    fn draw(draw: Draw, cold: bool) -> Shape {
        let draw = draw.domain("shape");
        let one_of = |what: &str, of: &[u64]| {
            let at = draw.range(what, 0, 0, 0, of.len() as u64);
            of[usize::try_from(at).expect("a short list")]
        };
        Shape {
            segment_bytes: one_of("segment", &[16_384, 32_768, 65_536, 65_536, 262_144]),
            queue_file_units: one_of("queue file", &[8, 30, 200, 200, 1_000]) as u32,
            flush_bytes: one_of("flush bytes", &[4_096, 16_384, 16_384, 1 << 20]),
            checkpoint_bytes: one_of("checkpoint bytes", &[8_192, 65_536, 65_536, 131_072]),
            checkpoint_interval_ms: one_of("checkpoint interval", &[50, 300, 1_000, 1_000, 10_000]),
            journal_bytes: one_of("journal", &[1_024, 4_096, 4_096, 65_536]),
            settle_interval_ms: one_of("settle interval", &[100, 1_000, 1_000, 10_000, 60_000]),
            hot_bytes: if cold { 8_192 } else { one_of("hot", &[8_192, 131_072]) },
            tail_units: one_of("tail", &[64, 4_096]) as usize,
        }
    }

    pub(crate) fn put_into(self, config: &mut store::Config) {
        config.segment_bytes = self.segment_bytes;
        config.queue_file_units = self.queue_file_units;
        config.flush_bytes = self.flush_bytes;
        config.checkpoint_bytes = self.checkpoint_bytes;
        config.checkpoint_interval_ms = self.checkpoint_interval_ms;
        config.journal_bytes = self.journal_bytes;
        config.settle_interval_ms = self.settle_interval_ms;
        config.hot_bytes = self.hot_bytes;
        config.tail_units = self.tail_units;
    }

    /// What a look at the closed files must know of them.
    pub(crate) fn sizes(self) -> store::inspect::Sizes {
        store::inspect::Sizes {
            segment_bytes: Some(self.segment_bytes),
            queue_file_bytes: Some(u64::from(self.queue_file_units) * 20),
        }
    }
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
        // What was never promised to be durable is not told apart from what rotted.
        let rots =
            if flush == FlushDiskType::Sync && range("rot", 0, 4) == 0 { range("rots", 1, 6) } else { 0 };
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
            rots,
            even_bytes: (range("even", 0, 3) == 0).then(|| range("even bytes", 22, 3_500)),
            shape: Shape::draw(draw, rots > 0),
        }
    }
}
