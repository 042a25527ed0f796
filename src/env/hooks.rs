//! Where the simulator looks in: randomness, rare branches, probes, planted bugs.

use rand_chacha::ChaCha8Rng;

pub trait Hooks: Send + Sync {
    fn rng(&self, label: &str) -> ChaCha8Rng;

    fn buggify(&self, site: &'static str) -> bool {
        let _ = site;
        false
    }

    fn probe(&self, name: &'static str) {
        let _ = name;
    }

    fn planted(&self, name: &'static str) -> bool {
        let _ = name;
        false
    }
}

/// Hooks of a world without a simulator: streams from one boot seed, nothing rare, nothing planted.
pub struct NoHooks {
    boot_seed: u64,
}

impl NoHooks {
    pub fn new(boot_seed: u64) -> NoHooks {
        NoHooks { boot_seed }
    }
}

impl Hooks for NoHooks {
    fn rng(&self, label: &str) -> ChaCha8Rng {
        use rand_core::SeedableRng;
        ChaCha8Rng::seed_from_u64(crate::base::fnv64_extend(self.boot_seed, label.as_bytes()))
    }
}
