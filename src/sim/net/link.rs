//! What a link does to bytes, as integers: no float decides anything, because they differ between platforms.

use crate::base::Draw;

/// One direction between two nodes. Rates are parts in a million; a range is `low..high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Nanoseconds one way; drawn once per pair of nodes.
    pub latency_ns: (u64, u64),
    /// Each segment waits up to this much longer.
    pub jitter_ns: u64,
    /// A segment that is retransmitted waits up to `tail_ns` longer: how loss looks on a stream.
    pub tail_per_million: u32,
    pub tail_ns: u64,
    /// 0: as fast as you like.
    pub bytes_per_ms: u64,
    /// Largest segment in bytes; drawn once per connection and direction.
    pub segment: (u64, u64),
    /// Bytes sent and not yet read before a writer blocks; drawn once per connection and direction.
    pub window: (u64, u64),
    /// A read or a write takes only a part of what it could.
    pub short_io_per_million: u32,
    /// A segment is cut somewhere and followed by a reset, of both ends.
    pub reset_per_million: u32,
    /// A segment is cut somewhere and followed by an end of stream; what follows it is answered with a reset.
    pub cut_off_per_million: u32,
    /// A bit of a segment changes, past every checksum.
    pub flip_per_million: u32,
    /// A connect is refused although somebody listens.
    pub refuse_per_million: u32,
    /// A connect request is lost and sent again after a second, then two, then four.
    pub connect_lost_per_million: u32,
}

impl Link {
    /// A healthy local network.
    pub const CALM: Link = Link {
        latency_ns: (100_000, 500_000),
        jitter_ns: 100_000,
        tail_per_million: 0,
        tail_ns: 0,
        bytes_per_ms: 125_000,
        segment: (16 << 10, (16 << 10) + 1),
        window: (64 << 10, (64 << 10) + 1),
        short_io_per_million: 0,
        reset_per_million: 0,
        cut_off_per_million: 0,
        flip_per_million: 0,
        refuse_per_million: 0,
        connect_lost_per_million: 0,
    };

    /// A node to itself.
    pub(super) const LOOPBACK: Link =
        Link { latency_ns: (10_000, 20_000), jitter_ns: 5_000, bytes_per_ms: 0, ..Link::CALM };

    /// Legal but unpleasant: odd segments, short reads and writes, small windows, long tails. Breaks nothing.
    pub const ROUGH: Link = Link {
        latency_ns: (50_000, 5_000_000),
        jitter_ns: 2_000_000,
        tail_per_million: 5_000,
        tail_ns: 400_000_000,
        bytes_per_ms: 50_000,
        segment: (200, 9_000),
        window: (4 << 10, 64 << 10),
        short_io_per_million: 50_000,
        reset_per_million: 0,
        cut_off_per_million: 0,
        flip_per_million: 0,
        refuse_per_million: 0,
        connect_lost_per_million: 10_000,
    };
}

impl Default for Link {
    fn default() -> Link {
        Link::CALM
    }
}

/// How long kernels wait. Defaults are scaled down from Linux's so that runs stay short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connect without an answer fails with `TimedOut`.
    pub connect_ns: u64,
    /// Sent bytes that nobody acknowledges for so long fail the connection with `TimedOut`.
    pub user_ns: u64,
    /// Held segments are sent again within four of these after a link heals.
    pub retransmit_ns: u64,
    /// Connections that wait to be accepted; more are answered late.
    pub backlog: usize,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect_ns: 20_000_000_000,
            user_ns: 60_000_000_000,
            retransmit_ns: 200_000_000,
            backlog: 128,
        }
    }
}

/// The delay of segment `n` of `subject` over `link` between the pair `pair`.
pub(super) fn delay(draw: Draw, link: &Link, pair: u64, subject: u64, n: u64) -> u64 {
    let base = draw.range("base", pair, 0, link.latency_ns.0, link.latency_ns.1);
    let jitter = draw.range("jitter", subject, n, 0, link.jitter_ns);
    let tail = if draw.chance("tail", subject, n, link.tail_per_million) {
        // Two draws multiplied: short tails are common, long ones rare.
        let a = draw.range("tail.a", subject, n, 0, 1 << 16);
        let b = draw.range("tail.b", subject, n, 0, 1 << 16);
        u64::try_from((u128::from(link.tail_ns) * u128::from(a * b)) >> 32).unwrap_or(0)
    } else {
        0
    };
    base + jitter + tail
}
