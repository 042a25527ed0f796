//! Random decisions by key, not by order: removing one draw leaves every other draw as it was.

use super::hash::fnv64_extend;

/// A deterministic source of integers, addressed by what they are for.
///
/// `draw.at("net.delay", link, n)` is always the same number for the same seed, whatever else was drawn. The mixer is
/// SplitMix64's finaliser (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, 2014). Integers only:
/// floating point differs between platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    seed: u64,
}

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw { seed: mix(seed) }
    }

    /// A source for one domain, independent of every other domain's.
    pub fn domain(self, name: &str) -> Draw {
        Draw { seed: mix(fnv64_extend(self.seed, name.as_bytes())) }
    }

    /// The `n`-th number drawn for `purpose` by `subject`.
    pub fn at(self, purpose: &str, subject: u64, n: u64) -> u64 {
        let key = fnv64_extend(self.seed, purpose.as_bytes());
        mix(mix(mix(key) ^ subject).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// As [`Draw::at`], within `low..high` (`low` if the range is empty).
    pub fn range(self, purpose: &str, subject: u64, n: u64, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.at(purpose, subject, n) % (high - low) }
    }

    /// True `per_million` times in a million.
    pub fn chance(self, purpose: &str, subject: u64, n: u64, per_million: u32) -> bool {
        self.at(purpose, subject, n) % 1_000_000 < u64::from(per_million)
    }
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_key_alone() {
        let draw = Draw::new(7).domain("net");
        let first = draw.at("delay", 1, 0);
        let _ = draw.at("delay", 1, 1);
        assert_eq!(first, Draw::new(7).domain("net").at("delay", 1, 0));
        assert_ne!(first, draw.at("delay", 1, 1));
        assert_ne!(first, draw.at("delay", 2, 0));
        assert_ne!(first, Draw::new(8).domain("net").at("delay", 1, 0));
    }
}
