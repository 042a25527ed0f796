//! One seed is one run: in any thread, in any process, first or second.

use std::process::Command;

use super::workload::outcome;

/// Set in a child process: print the hash of this seed and end.
const CHILD: &str = "STATICFIRE_SIM_CHILD_SEED";

fn hash(seed: u64) -> (u64, u64) {
    let outcome = outcome(seed, &[]);
    let hash = (outcome.report.trace_hash, outcome.report.events);
    outcome.expect_ok();
    hash
}

#[test]
fn a_seed_gives_the_same_trace_twice_in_a_process_and_another_seed_another() {
    for seed in [3, 11] {
        assert_eq!(hash(seed), hash(seed));
    }
    assert_ne!(hash(3), hash(11));
}

#[test]
fn a_seed_gives_the_same_trace_in_parallel_threads() {
    let alone = hash(5);
    #[expect(
        clippy::disallowed_methods,
        reason = "the point is that simulations in real threads do not disturb each other"
    )]
    let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || (hash(n + 20), hash(5)).1)).collect();
    for thread in threads {
        assert_eq!(thread.join().expect("the run passes"), alone);
    }
}

#[test]
fn a_seed_gives_the_same_trace_in_a_fresh_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        let (hash, events) = hash(seed.parse().expect("a seed"));
        std::fs::write(
            std::env::var(format!("{CHILD}_OUT")).expect("a path"),
            format!("{hash:016x} {events}"),
        )
        .expect("the parent reads it");
        return;
    }
    // Not the first run of this process: that one must not be special.
    let _ = hash(1);
    let (here, events) = hash(7);
    for nth in 0..2 {
        let out = std::env::temp_dir().join(format!("staticfire-sim-{}-{nth}", std::process::id()));
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "sim::tests::determinism::a_seed_gives_the_same_trace_in_a_fresh_process"])
            .env(CHILD, "7")
            .env(format!("{CHILD}_OUT"), &out)
            .output()
            .expect("a child process");
        assert!(status.status.success());
        let text = std::fs::read_to_string(&out).expect("the child's answer");
        let _ = std::fs::remove_file(&out);
        assert_eq!(text, format!("{here:016x} {events}"));
    }
}
