//! The simulator's side of [`Hooks`]: random streams, rare branches, probes, crash points, planted bugs.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::base::FastMap;
use crate::base::fnv64;
use crate::base::fnv64_extend;
use crate::env::Hooks;
use crate::sim::World;
use crate::sim::node::Crash;
use crate::sim::node::Life;
use crate::sim::node::NodeState;

/// A site is active in a quarter of the worlds, and then fires in a quarter of its visits (FoundationDB's odds).
const SITE_ACTIVE_PER_MILLION: u32 = 250_000;
const SITE_FIRES_PER_MILLION: u32 = 250_000;

pub(super) struct SimHooks {
    pub(super) world: World,
    pub(super) node: Arc<NodeState>,
    pub(super) life: Arc<Life>,
}

/// Per node: how often each site was visited, and where it shall crash.
#[derive(Default)]
pub(super) struct Sites {
    visits: FastMap<&'static str, u64>,
    crash_points: Vec<CrashPoint>,
    /// Every probe that was ever passed here.
    passed: BTreeSet<&'static str>,
    /// Crashes at crash points.
    crashes: u64,
}

struct CrashPoint {
    name: String,
    visits_left: u64,
    crash: Crash,
}

impl Sites {
    pub(super) fn crash_at(&mut self, name: &str, visit: u64, crash: Crash) {
        self.crash_points.push(CrashPoint { name: name.to_owned(), visits_left: visit.max(1), crash });
    }

    pub(super) fn forget_crash_points(&mut self) {
        self.crash_points.clear();
    }

    pub(super) fn passed(&self) -> Vec<&'static str> {
        self.passed.iter().copied().collect()
    }

    pub(super) fn crashes(&self) -> u64 {
        self.crashes
    }

    /// A process passes a probe, and may not survive it.
    fn pass(&mut self, name: &'static str) -> Option<Crash> {
        self.passed.insert(name);
        let crash = self.crash_point(name)?;
        self.crashes += 1;
        Some(crash)
    }

    fn crash_point(&mut self, name: &str) -> Option<Crash> {
        let index = self.crash_points.iter_mut().position(|point| {
            let here = point.name == name;
            if here {
                point.visits_left -= 1;
            }
            here && point.visits_left == 0
        })?;
        Some(self.crash_points.remove(index).crash)
    }
}

impl Hooks for SimHooks {
    /// Independent per node, incarnation and label; the same label in the same life gives the same stream again.
    fn rng(&self, label: &str) -> ChaCha8Rng {
        let node = fnv64_extend(self.world.seed().0, self.node.name.as_bytes());
        let life = fnv64_extend(node, &self.life.incarnation.to_le_bytes());
        ChaCha8Rng::seed_from_u64(fnv64_extend(life, label.as_bytes()))
    }

    fn buggify(&self, site: &'static str) -> bool {
        let Some(draw) = self.world.buggify_draw() else { return false };
        let site_hash = fnv64(site.as_bytes());
        if !draw.chance("active", site_hash, 0, SITE_ACTIVE_PER_MILLION) {
            return false;
        }
        let mut sites = self.node.sites.lock();
        let visits = sites.visits.entry(site).or_insert(0);
        *visits += 1;
        let n = *visits;
        drop(sites);
        let fires =
            draw.chance("fires", site_hash ^ fnv64(self.node.name.as_bytes()), n, SITE_FIRES_PER_MILLION);
        if fires {
            self.world.count(site);
        }
        fires
    }

    fn probe(&self, name: &'static str) {
        if !self.life.is_alive() {
            return;
        }
        self.world.count(name);
        let crash = self.node.sites.lock().pass(name);
        if let Some(crash) = crash {
            self.world.crash(&self.node, crash);
        }
    }

    fn planted(&self, name: &'static str) -> bool {
        self.world.is_planted(name)
    }
}
