//! The contract of `Env`, held against the simulated one: alone, between two machines, and over unpleasant links.

use std::path::Path;

use super::simulate;
use crate::env::conformance::Ground;
use crate::env::conformance::run_all;
use crate::env::conformance::run_all_on;
use crate::sim::net::Link;

const SEEDS: u64 = 8;

#[test]
fn a_machine_keeps_every_rule_with_itself() {
    for seed in 0..SEEDS {
        simulate(seed, |world| async move {
            let node = world.machine("a");
            node.env().disk.create_dir_all(Path::new("/scratch")).await.expect("a healthy disk");
            run_all(node.env(), Path::new("/scratch"), [127, 0, 0, 1].into()).await;
        });
    }
}

#[test]
fn two_machines_keep_every_rule_over_any_link_that_breaks_nothing() {
    // The suite writes some 40 kB before it reads, so the windows are not the small ones.
    let rough = Link { window: Link::CALM.window, ..Link::ROUGH };
    for (seed, link) in (0..SEEDS).flat_map(|seed| [(seed, Link::CALM), (seed + SEEDS, rough)]) {
        simulate(seed, move |world| async move {
            world.net().set_default(link);
            let (node, peer) = (world.machine("a"), world.machine("b"));
            node.env().disk.create_dir_all(Path::new("/scratch")).await.expect("a healthy disk");
            let ground = Ground::new(node.env(), Path::new("/scratch"), node.ip()).peer(peer.env());
            run_all_on(&ground).await;
        });
    }
}
