//! Nodes: killing, crashing, pausing, stopping, clocks, and what a run says when it fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand_core::Rng;

use super::simulate;
use crate::base::Mono;
use crate::env::Access;
use crate::env::Env;
use crate::sim::Crash;
use crate::sim::Damage;
use crate::sim::FailureKind;
use crate::sim::FaultKind;
use crate::sim::Faults;
use crate::sim::Limits;
use crate::sim::Node;
use crate::sim::Seed;
use crate::sim::World;
use crate::sim::run;

#[test]
fn handles_of_an_old_life_refuse_every_call() {
    simulate(1, |world| async move {
        let node = world.machine("a");
        let old = node.env();
        let file = old.disk.open(Path::new("f"), Access::Create).await.expect("a healthy disk");
        node.restart();
        assert!(file.write_at(0, Bytes::from_static(b"zombie")).await.is_err());
        assert!(file.sync().await.is_err());
        assert!(old.net.listen(([0, 0, 0, 0], 1).into()).await.is_err());
        assert!(old.disk.open(Path::new("g"), Access::Create).await.is_err());
        let ran = Arc::new(Mutex::new(false));
        let runs = Arc::clone(&ran);
        old.spawn("zombie", async move { *runs.lock() = true }).detach();
        world.sleep(Duration::from_secs(1)).await;
        assert!(!*ran.lock());
        assert!(world.client_env("b").disk.list(Path::new("")).await.is_ok());
    });
}

struct UnlocksLate(Env, Arc<Mutex<Vec<bool>>>);

impl Drop for UnlocksLate {
    fn drop(&mut self) {
        // A destructor that starts work: the cleanest-looking zombie.
        let done = Arc::clone(&self.1);
        self.0.spawn("late", async move { done.lock().push(true) }).detach();
    }
}

#[test]
fn late_destructors_have_no_effect() {
    simulate(2, |world| async move {
        let effects: Arc<Mutex<Vec<bool>>> = Arc::default();
        let seen = Arc::clone(&effects);
        let node = world.node("a", move |env| {
            let seen = Arc::clone(&seen);
            async move {
                let _guard = UnlocksLate(env.clone(), seen);
                let _lock =
                    env.disk.lock(Path::new("lock")).await.expect("the lock of a dead process is free");
                std::future::pending::<()>().await;
            }
        });
        for _ in 0..5 {
            world.sleep(Duration::from_millis(50)).await;
            node.kill();
            node.restart();
        }
        world.sleep(Duration::from_millis(50)).await;
        assert!(effects.lock().is_empty());
        assert_eq!(node.incarnation(), 6);
        assert_eq!(node.tasks(), 1);
    });
}

#[test]
fn kill_and_os_crash_and_loss_are_three_things() {
    simulate(3, |world| async move {
        let node = world.machine("a");
        node.disk().with_faults(|faults| faults.survival = crate::sim::disk::Survival::Nothing);
        let write = async |text: &'static [u8], sync: bool| {
            let env = node.env();
            let file = env.disk.open(Path::new("f"), Access::Create).await.expect("opens");
            file.write_at(0, Bytes::from_static(text)).await.expect("writes");
            if sync {
                file.sync().await.expect("syncs");
                env.disk.sync_dir(Path::new("")).await.expect("syncs");
            }
        };
        let read = || node.disk().image().read("f");
        write(b"one", true).await;
        write(b"two", false).await;
        node.kill();
        assert_eq!(read().as_deref(), Some(&b"two"[..]), "the page cache outlives the process");
        node.restart();
        node.os_crash();
        assert_eq!(read().as_deref(), Some(&b"one"[..]), "the power loss takes what was not synced");
        node.restart();
        node.lose_disk();
        assert_eq!(read(), None);
        let kinds: Vec<Damage> = world.ledger().into_iter().map(|entry| entry.damage).collect();
        assert!(matches!(kinds[0], Damage::Kill));
        assert!(matches!(kinds[1], Damage::OsCrash { pages_lost: 1, .. }));
        assert!(matches!(kinds.last(), Some(Damage::Loss)));
    });
}

#[test]
fn a_clean_stop_is_a_request_that_main_sees() {
    simulate(4, |world| async move {
        let node = world.node_with_stop("a", |env, stop| async move {
            stop.asked().await;
            env.sleep_ms(20).await;
            env.probe("stopped");
        });
        world.sleep(Duration::from_secs(1)).await;
        node.stop().await;
        assert!(!node.is_up());
        assert_eq!(world.probes().get("stopped"), Some(&1));
        node.restart();
        assert!(node.is_up());
    });
}

#[test]
fn a_process_crashes_at_the_point_that_was_named() {
    simulate(5, |world| async move {
        let reached = Arc::new(Mutex::new(0));
        let counts = Arc::clone(&reached);
        let node = world.node("a", move |env| {
            let counts = Arc::clone(&counts);
            async move {
                loop {
                    env.probe("before_sync");
                    env.sleep_ms(1).await;
                    *counts.lock() += 1;
                }
            }
        });
        node.crash_at("before_sync", 3, Crash::Os);
        node.down().await;
        assert_eq!(*reached.lock(), 2);
    });
}

fn count(synced: &Mutex<(u64, u64)>, is_good: bool) {
    let mut counts = synced.lock();
    *if is_good { &mut counts.0 } else { &mut counts.1 } += 1;
}

/// A process that writes and syncs without end, and counts what came of it.
fn a_writer(world: &World, synced: &Arc<Mutex<(u64, u64)>>) -> Node {
    let synced = Arc::clone(synced);
    world.node("a", move |env| {
        let synced = Arc::clone(&synced);
        async move {
            let file = env.disk.open(Path::new("f"), Access::Create).await.expect("creates");
            loop {
                file.write_at(0, Bytes::from_static(b"x")).await.expect("writes");
                env.probe("before_sync");
                let outcome = file.sync().await;
                count(&synced, outcome.is_ok());
                env.sleep_ms(20).await;
            }
        }
    })
}

/// Lets one kind of fault loose on a writer: how often it bit, how often the writer was started, what its syncs said.
fn nemesis_of(kind: FaultKind, seed: u64) -> (u64, u64, (u64, u64)) {
    let out = Arc::new(Mutex::new((0, 0)));
    let inside = Arc::clone(&out);
    let outcome = run(Seed(seed), Limits::default(), move |world| async move {
        let node = a_writer(&world, &inside);
        let faults = Faults::swarm(world.draw(), std::slice::from_ref(&node)).only(&[kind]);
        world.sleep(Duration::from_secs(1)).await;
        let nemesis = world.nemesis(faults);
        world.sleep(Duration::from_secs(120)).await;
        nemesis.stop().await;
        node.incarnation()
    });
    let bites = outcome.report.probes.get(kind.name()).copied().unwrap_or(0);
    let counts = *out.lock();
    (bites, outcome.result.expect("nothing panics"), counts)
}

#[test]
fn a_nemesis_crashes_who_passes_a_probe() {
    let (bites, starts, _) = nemesis_of(FaultKind::CrashAtProbe, 6);
    assert!(bites > 0 && starts == bites + 1, "{bites} bites, {starts} starts");
}

#[test]
fn a_nemesis_fails_syncs_before_it_takes_the_power() {
    let (bites, starts, (good, failed)) = nemesis_of(FaultKind::SyncErrorThenCrash, 6);
    assert!(bites > 0 && starts == bites + 1, "{bites} bites, {starts} starts");
    assert!(good > 0 && failed > 0, "{good} good syncs, {failed} failed");
}

#[test]
fn a_paused_node_does_nothing_until_it_is_resumed() {
    simulate(6, |world| async move {
        let turns = Arc::new(Mutex::new(0));
        let counts = Arc::clone(&turns);
        let node = world.node("a", move |env| {
            let counts = Arc::clone(&counts);
            async move {
                loop {
                    env.sleep_ms(10).await;
                    *counts.lock() += 1;
                }
            }
        });
        world.sleep(Duration::from_millis(105)).await;
        node.pause();
        let before = *turns.lock();
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(*turns.lock(), before);
        node.resume();
        world.sleep(Duration::from_millis(105)).await;
        assert!(*turns.lock() > before);
        assert!(world.ledger().iter().any(|entry| {
            matches!(entry.damage, Damage::Pause { ns } if (10_000_000_000..10_001_000_000).contains(&ns))
        }));
        node.pause();
        node.kill();
        node.restart();
        let before = *turns.lock();
        world.sleep(Duration::from_millis(105)).await;
        assert!(*turns.lock() > before, "a new process is not paused");
    });
}

#[test]
fn sleeps_are_exact_and_follow_the_nodes_own_clock() {
    simulate(7, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let start = world.now();
        for _ in 0..1_000 {
            env.clock.sleep_until(Mono(env.now().0 + 10_000)).await;
        }
        let took = world.now() - start;
        assert!((Duration::from_micros(10_000)..Duration::from_micros(10_500)).contains(&took), "{took:?}");
        node.clock().drift(250_000);
        let start = world.now();
        env.sleep_ms(1_000).await;
        let took = world.now() - start;
        assert!((Duration::from_millis(799)..Duration::from_millis(801)).contains(&took), "{took:?}");
        // A sleeper under way sees the change of rate too.
        let start = world.now();
        let sleeper = env.sleep_ms(10_000);
        let changes = async {
            world.sleep(Duration::from_secs(4)).await;
            node.clock().drift(-500_000);
        };
        tokio::join!(biased; sleeper, changes);
        let took = world.now() - start;
        assert!((Duration::from_millis(13_999)..Duration::from_millis(14_001)).contains(&took), "{took:?}");
    });
}

#[test]
fn the_wall_jumps_and_the_monotonic_clock_does_not() {
    simulate(8, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let (mono, wall) = (env.now(), env.wall());
        node.clock().jump(-3_600_000);
        assert!(env.now() >= mono);
        assert!((-3_600_001..=-3_599_990).contains(&env.wall().ms_since(wall)));
        node.clock().set_wall(crate::base::Timestamp(0));
        assert!((0..5).contains(&env.wall().0));
        node.clock().freeze(true);
        let frozen = env.wall();
        world.sleep(Duration::from_secs(5)).await;
        assert_eq!(env.wall(), frozen);
        node.clock().heal();
        assert!((5_000..5_010).contains(&(env.wall().ms_since(wall))));
    });
}

#[test]
fn a_stream_of_randomness_belongs_to_node_life_and_label() {
    simulate(9, |world| async move {
        let node = world.machine("a");
        let first = node.env().rng("x").next_u64();
        assert_eq!(node.env().rng("x").next_u64(), first);
        assert_ne!(node.env().rng("y").next_u64(), first);
        assert_ne!(world.client_env("b").rng("x").next_u64(), first);
        node.restart();
        assert_ne!(node.env().rng("x").next_u64(), first);
    });
}

#[test]
fn a_panic_is_a_failure_that_says_where() {
    let outcome = run(Seed(10), Limits::default(), |world| async move {
        let _node = world.node("broken", |env: Env| async move {
            let _task = env.spawn("thinker", async { panic!("the invariant is gone") });
            std::future::pending::<()>().await;
        });
        world.sleep(Duration::from_secs(1)).await;
    });
    let story = outcome.story().expect("it failed");
    let failure = outcome.result.expect_err("it failed");
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(failure.message, "the invariant is gone");
    assert_eq!(failure.task.map(|(_, name)| name), Some("thinker"));
    assert!(failure.location.expect("a location").contains("life.rs"));
    assert!(story.contains("SEED=0x0000_0000_0000_000a"), "{story}");
    assert!(story.contains("of broken"), "{story}");
}

#[test]
fn a_run_that_cannot_go_on_or_goes_on_for_ever_fails() {
    let dead = run(Seed(11), Limits::default(), |_| std::future::pending::<()>());
    assert_eq!(dead.result.expect_err("it failed").kind, FailureKind::Deadlock);
    let endless = run(Seed(11), Limits::default(), |world| async move {
        loop {
            world.sleep(Duration::from_secs(60)).await;
        }
    });
    let failure: crate::sim::Failure = endless.result.map(|(): ()| ()).expect_err("it failed");
    assert_eq!(failure.kind, FailureKind::TimeLimit);
    let limits = Limits { real_time: Duration::from_millis(200), ..Limits::default() };
    let hung = run(Seed(11), limits, |_| async {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let _ = receiver.recv();
        drop(sender);
    });
    assert_eq!(hung.result.expect_err("it failed").kind, FailureKind::Hung);
}

#[test]
fn everything_is_let_go_when_a_run_ends() {
    struct Counted(Arc<Mutex<i32>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            *self.0.lock() -= 1;
        }
    }
    let live = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&live);
    run(Seed(12), Limits::default(), move |world| async move {
        for n in 0..5 {
            let counts = Arc::clone(&counts);
            let _node = world.node(&format!("n{n}"), move |env: Env| {
                let counts = Arc::clone(&counts);
                async move {
                    *counts.lock() += 1;
                    let _counted = Counted(counts);
                    let listener = env.net.listen(([0, 0, 0, 0], 1).into()).await.expect("a free port");
                    let _ = listener.accept().await;
                    env.sleep_ms(1).await;
                }
            });
        }
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(*counts.lock(), 5);
    })
    .expect_ok();
    assert_eq!(*live.lock(), 0);
}
