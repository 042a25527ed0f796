//! The nemesis: a swarm of faults from a seed, each with its healing.
//!
//! A swarm draws a random *subset* of the fault kinds, because a run in which everything breaks all the time explores
//! little: a run with only one-way partitions and clock jumps reaches states that a storm of crashes never does. Each
//! of a few lanes then repeats: wait, pick a kind and its victims, break, hold, heal.
//!
//! Kinds that destroy what a disk had promised to keep ([`FaultKind::is_destructive`]) are never drawn unasked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::base::Draw;
use crate::sim::World;
use crate::sim::net::Link;
use crate::sim::node::Crash;
use crate::sim::node::Node;
use crate::sim::node::NodeId;

macro_rules! fault_kinds {
    ($($name:ident $probe:literal $weight:literal,)*) => {
        /// What a nemesis may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind { $($name,)* }

        impl FaultKind {
            pub const ALL: &[FaultKind] = &[$(FaultKind::$name,)*];

            /// Its name among the probes.
            pub fn name(self) -> &'static str {
                match self { $(FaultKind::$name => $probe,)* }
            }

            fn weight(self) -> u64 {
                match self { $(FaultKind::$name => $weight,)* }
            }
        }
    };
}

fault_kinds! {
    Partition "fault.partition" 4,
    OneWay "fault.one_way" 4,
    Isolate "fault.isolate" 4,
    Split "fault.split" 3,
    Bridge "fault.bridge" 2,
    Swizzle "fault.swizzle" 2,
    ResetConnections "fault.reset_connections" 4,
    ResetAtAnyByte "fault.reset_at_any_byte" 3,
    CutOff "fault.cut_off" 3,
    SlowLink "fault.slow_link" 3,
    RoughLinks "fault.rough_links" 3,
    Throttle "fault.throttle" 2,
    ConnectLost "fault.connect_lost" 2,
    ConnectRefused "fault.connect_refused" 2,
    BitFlip "fault.bit_flip" 1,
    DiskStall "fault.disk_stall" 3,
    DiskSlow "fault.disk_slow" 3,
    DiskHang "fault.disk_hang" 1,
    SyncErrorOnce "fault.sync_error_once" 2,
    SyncErrorSticky "fault.sync_error_sticky" 1,
    DirSyncError "fault.dir_sync_error" 1,
    ReadError "fault.read_error" 1,
    WriteError "fault.write_error" 1,
    OpenError "fault.open_error" 1,
    DiskFull "fault.disk_full" 2,
    ReadOnly "fault.read_only" 1,
    LyingSync "fault.lying_sync" 1,
    LostWrite "fault.lost_write" 1,
    MisdirectedWrite "fault.misdirected_write" 1,
    StaleRead "fault.stale_read" 1,
    Rot "fault.rot" 1,
    Unreadable "fault.unreadable" 1,
    Kill "fault.kill" 8,
    OsCrash "fault.os_crash" 8,
    OsCrashAll "fault.os_crash_all" 2,
    CrashAgain "fault.crash_again" 4,
    CleanStop "fault.clean_stop" 3,
    StopThenKill "fault.stop_then_kill" 2,
    Pause "fault.pause" 4,
    SlowCpu "fault.slow_cpu" 2,
    LoseDisk "fault.lose_disk" 1,
    Rollback "fault.rollback" 1,
    ClockDrift "fault.clock_drift" 3,
    ClockForward "fault.clock_forward" 2,
    ClockBack "fault.clock_back" 2,
    ClockStrobe "fault.clock_strobe" 1,
    ClockFrozen "fault.clock_frozen" 1,
    CrashAtProbe "fault.crash_at_probe" 4,
    SyncErrorThenCrash "fault.sync_error_then_crash" 2,
}

impl FaultKind {
    /// Breaks what a healthy disk or network promises, so that even synced data may be lost or changed.
    pub fn is_destructive(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            BitFlip
                | LyingSync
                | LostWrite
                | MisdirectedWrite
                | StaleRead
                | Rot
                | Unreadable
                | LoseDisk
                | Rollback
        )
    }

    fn takes_down(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            Kill | OsCrash
                | OsCrashAll
                | CrashAgain
                | CleanStop
                | StopThenKill
                | LoseDisk
                | Rollback
                | CrashAtProbe
                | SyncErrorThenCrash
        )
    }
}

/// What a nemesis may do, to whom, how often.
#[derive(Clone)]
pub struct Faults {
    pub kinds: BTreeSet<FaultKind>,
    /// Who may be crashed, paused, and have a bad disk or clock.
    pub victims: Vec<Node>,
    /// Who may be cut off: the victims and their clients, say.
    pub connected: Vec<Node>,
    /// Milliseconds between two faults of a lane.
    pub gap_ms: (u64, u64),
    /// Milliseconds that a fault lasts.
    pub hold_ms: (u64, u64),
    /// Faults at once.
    pub lanes: usize,
    /// Victims that may be down at once; [`FaultKind::OsCrashAll`] needs as many as there are.
    pub down_max: usize,
    /// Restart a victim that ended by itself, as an init system does.
    pub supervise: bool,
}

impl Faults {
    /// A random subset of all kinds that destroy nothing, over `nodes`.
    pub fn swarm(draw: Draw, nodes: &[Node]) -> Faults {
        let draw = draw.domain("swarm");
        let share = draw.range("share", 0, 0, 100_000, 700_000);
        let kinds = FaultKind::ALL.iter().copied().filter(|kind| {
            let share = u32::try_from(share).unwrap_or(0);
            !kind.is_destructive() && draw.chance("kind", *kind as u64, 0, share)
        });
        let gap = draw.range("gap", 0, 0, 50, 3_000);
        let hold = draw.range("hold", 0, 0, 100, 8_000);
        Faults {
            kinds: kinds.collect(),
            victims: nodes.to_vec(),
            connected: nodes.to_vec(),
            gap_ms: (gap / 4, gap * 2),
            hold_ms: (hold / 8, hold * 2),
            lanes: usize::try_from(draw.range("lanes", 0, 0, 1, 4)).unwrap_or(1),
            down_max: nodes.len(),
            supervise: true,
        }
    }

    /// Exactly these kinds.
    pub fn only(mut self, kinds: &[FaultKind]) -> Faults {
        self.kinds = kinds.iter().copied().collect();
        self
    }

    /// These as well, destructive ones too.
    pub fn with(mut self, kinds: &[FaultKind]) -> Faults {
        self.kinds.extend(kinds);
        self
    }

    pub fn without(mut self, kinds: &[FaultKind]) -> Faults {
        self.kinds.retain(|kind| !kinds.contains(kind));
        self
    }

    /// Also these nodes may be cut off, but nothing else happens to them.
    pub fn clients(mut self, nodes: &[Node]) -> Faults {
        self.connected.extend_from_slice(nodes);
        self
    }
}

/// Breaks things until it is stopped.
#[must_use = "a nemesis that is not stopped never heals what it broke"]
pub struct Nemesis(Arc<State>);

struct State {
    world: World,
    faults: Faults,
    draw: Draw,
    stopped: AtomicBool,
    stop: Notify,
    running: AtomicUsize,
    ended: Notify,
    /// Victims that a lane keeps down on purpose.
    kept_down: Mutex<BTreeSet<NodeId>>,
}

impl World {
    /// Starts breaking things.
    pub fn nemesis(&self, faults: Faults) -> Nemesis {
        let lanes = if faults.kinds.is_empty() { 0 } else { faults.lanes };
        let supervisors = usize::from(faults.supervise);
        let state = Arc::new(State {
            world: self.clone(),
            draw: self.draw().domain("nemesis"),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            running: AtomicUsize::new(lanes + supervisors),
            ended: Notify::new(),
            kept_down: Mutex::default(),
            faults,
        });
        for lane in 0..lanes {
            let state = Arc::clone(&state);
            self.spawn(async move {
                state.run_lane(lane as u64).await;
                state.lane_ended();
            });
        }
        if supervisors > 0 {
            let state = Arc::clone(&state);
            self.spawn(async move {
                state.supervise().await;
                state.lane_ended();
            });
        }
        Nemesis(state)
    }

    /// Mends everything that can be mended: links, clocks, disks; resumes and restarts every node that has a process to
    /// run. Cuts heal with their guards.
    pub fn heal_all(&self) {
        self.net().set_default(Link::CALM);
        self.net().clear_links();
        for node in self.nodes() {
            node.disk().heal();
            node.clock().heal();
            node.resume();
            if !node.is_up() {
                node.restart();
            }
        }
    }
}

impl Nemesis {
    /// No new faults; each present one is healed; then [`World::heal_all`].
    pub async fn stop(self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        self.0.stop.notify_waiters();
        while self.0.running.load(Ordering::Relaxed) > 0 {
            let ended = self.0.ended.notified();
            if self.0.running.load(Ordering::Relaxed) == 0 {
                break;
            }
            ended.await;
        }
        self.0.world.heal_all();
    }
}

/// Undoes a fault.
type Heal = Box<dyn FnOnce() + Send>;

impl State {
    fn lane_ended(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends early when the nemesis is stopped.
    async fn wait_ms(&self, ms: u64) {
        let stop = self.stop.notified();
        if self.is_stopped() {
            return;
        }
        tokio::select! {
            biased;
            () = stop => {}
            () = self.world.sleep(Duration::from_millis(ms)) => {}
        }
    }

    async fn run_lane(&self, lane: u64) {
        let (gap, hold) = (self.faults.gap_ms, self.faults.hold_ms);
        for n in 0.. {
            self.wait_ms(self.draw.range("gap", lane, n, gap.0, gap.1)).await;
            if self.is_stopped() {
                return;
            }
            let kind = self.pick(lane, n);
            let pick = Pick { draw: self.draw.domain(kind.name()), lane, n };
            let span = self.draw.range("hold", lane, n, hold.0, hold.1);
            if kind.takes_down() {
                self.take_down(kind, &pick, span).await;
                continue;
            }
            let Some(heal) = self.inject(kind, &pick, span) else { continue };
            self.world.bite(NodeId::WORLD, kind.name());
            self.wait_ms(span).await;
            heal();
        }
    }

    fn pick(&self, lane: u64, n: u64) -> FaultKind {
        let total: u64 = self.faults.kinds.iter().map(|kind| kind.weight()).sum();
        let mut at = self.draw.range("kind", lane, n, 0, total);
        for kind in &self.faults.kinds {
            if at < kind.weight() {
                return *kind;
            }
            at -= kind.weight();
        }
        unreachable!("the weights of the kinds add up to their total")
    }

    /// Restarts, after a second or so, who ended by itself.
    async fn supervise(&self) {
        for n in 0.. {
            self.wait_ms(self.draw.range("supervise", 0, n, 300, 1_500)).await;
            if self.is_stopped() {
                return;
            }
            for node in &self.faults.victims {
                if !node.is_up() && !self.kept_down.lock().contains(&node.id()) {
                    self.world.count("fault.supervised_restart");
                    node.restart();
                }
            }
        }
    }

    // -- processes -------------------------------------------------------------------------------------

    async fn take_down(&self, kind: FaultKind, pick: &Pick, span: u64) {
        let victims = &self.faults.victims;
        let down = victims.iter().filter(|node| !node.is_up()).count();
        let all = kind == FaultKind::OsCrashAll;
        let wanted = if all { victims.len() } else { 1 };
        let candidates = self.candidates(kind);
        let Some(victim) = pick.one(&candidates, 0) else { return };
        if down + wanted > self.faults.down_max || (!all && !victim.is_up()) {
            return;
        }
        if kind != FaultKind::CrashAtProbe {
            self.world.bite(NodeId::WORLD, kind.name());
        }
        let taken: Vec<Node> = if all { victims.clone() } else { vec![victim.clone()] };
        let ids: Vec<NodeId> = taken.iter().map(Node::id).collect();
        self.kept_down.lock().extend(&ids);
        match kind {
            FaultKind::Kill => victim.kill(),
            FaultKind::OsCrashAll => taken.iter().for_each(Node::os_crash),
            FaultKind::CleanStop => self.stop_cleanly(victim, 30_000).await,
            FaultKind::StopThenKill => self.stop_cleanly(victim, pick.range("patience", 0, 200)).await,
            FaultKind::LoseDisk => victim.lose_disk(),
            FaultKind::Rollback => {
                let old = victim.disk().image();
                self.wait_ms(span).await;
                victim.os_crash();
                let mut old = old;
                old.crash(Draw::new(pick.range("image", 0, u64::MAX)), crate::sim::disk::Survival::Drawn);
                victim.disk().restore(old);
            }
            FaultKind::CrashAgain => {
                victim.os_crash();
                // Again in the middle of recovery, as often as drawn.
                for _ in 0..pick.range("times", 1, 4) {
                    self.wait_ms(span / 8).await;
                    victim.restart();
                    self.wait_ms(pick.range("recovering", 0, 60)).await;
                    let os = pick.range("how", 0, 2) == 0;
                    victim.crash(if os { Crash::Os } else { Crash::Process });
                }
            }
            FaultKind::SyncErrorThenCrash => self.fail_syncs_then_crash(victim, pick, span).await,
            FaultKind::CrashAtProbe if !self.crash_at_probe(victim, pick, span).await => {
                self.kept_down.lock().remove(&victim.id());
                return;
            }
            FaultKind::CrashAtProbe => self.world.bite(NodeId::WORLD, kind.name()),
            _ => victim.os_crash(),
        }
        self.wait_ms(span).await;
        for node in &taken {
            self.kept_down.lock().remove(&node.id());
            if !node.is_up() {
                node.restart();
            }
        }
    }

    /// Whom a kind that takes down can hurt: a crash at a probe needs one that passes probes, a bad disk one that writes.
    fn candidates(&self, kind: FaultKind) -> Vec<Node> {
        let fits = |node: &&Node| match kind {
            FaultKind::CrashAtProbe => !node.probes_passed().is_empty(),
            FaultKind::SyncErrorThenCrash => node.disk().used() > 0,
            _ => true,
        };
        self.faults.victims.iter().filter(fits).cloned().collect()
    }

    /// Crashes the process at one of the places that its program marked with a probe and that it passed before, each of
    /// them as likely as any other: those passed seldom are where crashes by the clock hardly ever strike. False when it
    /// did not come by in time.
    async fn crash_at_probe(&self, victim: &Node, pick: &Pick, span: u64) -> bool {
        let probes = victim.probes_passed();
        let at = usize::try_from(pick.range("probe", 0, probes.len() as u64)).unwrap_or(0);
        let Some(probe) = probes.get(at) else { return false };
        let crash = if pick.range("how", 0, 2) == 0 { Crash::Os } else { Crash::Process };
        victim.crash_at(probe, pick.range("visit", 1, 4), crash);
        let crashed = tokio::select! {
            biased;
            () = victim.crashed_at_probe() => true,
            () = self.wait_ms(1_000 + span) => false,
        };
        victim.forget_crash_points();
        crashed
    }

    /// Syncs fail, some or all of them, and then the power goes: what a process took for synced is gone.
    async fn fail_syncs_then_crash(&self, victim: &Node, pick: &Pick, span: u64) {
        let rate = u32::try_from(pick.range("rate", 20_000, 1_000_000)).unwrap_or(0);
        let sticks = pick.range("sticks", 0, 2) == 0;
        victim.disk().with_faults(|faults| {
            faults.sync_error = rate;
            faults.sync_error_sticks = sticks;
        });
        self.wait_ms(pick.range("failing", 0, 200 + span)).await;
        victim.os_crash();
        victim.disk().heal();
    }

    async fn stop_cleanly(&self, victim: &Node, patience_ms: u64) {
        victim.ask_to_stop();
        tokio::select! {
            biased;
            () = victim.down() => {}
            () = self.world.sleep(Duration::from_millis(patience_ms)) => victim.kill(),
        }
    }

    // -- everything that heals by itself ------------------------------------------------------------------

    fn inject(&self, kind: FaultKind, pick: &Pick, span: u64) -> Option<Heal> {
        use FaultKind::*;
        match kind {
            Partition | OneWay | Isolate | Split | Bridge | Swizzle => self.cut(kind, pick),
            ResetConnections | ResetAtAnyByte | CutOff | SlowLink | RoughLinks | Throttle | ConnectLost
            | ConnectRefused | BitFlip => self.worsen_links(kind, pick),
            ClockDrift | ClockForward | ClockBack | ClockStrobe | ClockFrozen => self.bend_clock(kind, pick),
            Pause => {
                let node = pick.one(&self.faults.victims, 0).filter(|node| node.is_up())?.clone();
                node.pause();
                Some(Box::new(move || node.resume()))
            }
            SlowCpu => self.slow_down(pick),
            _ => self.spoil_disk(kind, pick, span),
        }
    }

    /// The process runs in slices with long gaps between them.
    fn slow_down(&self, pick: &Pick) -> Option<Heal> {
        let node = pick.one(&self.faults.victims, 0).filter(|node| node.is_up())?.clone();
        let (runs, waits) = (pick.range("runs", 1, 20), pick.range("waits", 1, 60));
        let over = Arc::new(AtomicBool::new(false));
        let (world, is_over) = (self.world.clone(), Arc::clone(&over));
        self.world.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                node.pause();
                world.sleep(Duration::from_millis(waits)).await;
                node.resume();
                world.sleep(Duration::from_millis(runs)).await;
            }
        });
        Some(Box::new(move || over.store(true, Ordering::Relaxed)))
    }

    fn cut(&self, kind: FaultKind, pick: &Pick) -> Option<Heal> {
        let nodes = &self.faults.connected;
        let net = self.world.net();
        let (a, b) = pick.two(nodes)?;
        let cuts = match kind {
            FaultKind::Partition => vec![net.partition(a, b)],
            FaultKind::OneWay => vec![net.one_way(a, b)],
            FaultKind::Isolate => vec![net.isolate(a)],
            FaultKind::Split => {
                let (left, right) = pick.halves(nodes);
                vec![net.split(&left, &right)]
            }
            FaultKind::Bridge => {
                // Two halves that only one node can reach both of.
                let rest: Vec<Node> = nodes.iter().filter(|node| node.id() != a.id()).cloned().collect();
                let (left, right) = pick.halves(&rest);
                vec![net.split(&left, &right)]
            }
            _ => nodes
                .iter()
                .filter(|node| pick.at("swizzle", node).is_multiple_of(2))
                .map(|node| net.isolate(node))
                .collect(),
        };
        Some(Box::new(move || drop(cuts)))
    }

    fn worsen_links(&self, kind: FaultKind, pick: &Pick) -> Option<Heal> {
        let net = self.world.net();
        let (a, b) = pick.two(&self.faults.connected)?;
        if kind == FaultKind::ResetConnections {
            net.reset_connections(a, b);
            return Some(Box::new(|| {}));
        }
        let before = net.default_link();
        let rate = |low, high| u32::try_from(pick.range("rate", low, high)).unwrap_or(0);
        let mut link = before;
        match kind {
            FaultKind::ResetAtAnyByte => link.reset_per_million = rate(500, 20_000),
            FaultKind::CutOff => link.cut_off_per_million = rate(500, 20_000),
            FaultKind::RoughLinks => link = Link::ROUGH,
            FaultKind::Throttle => link.bytes_per_ms = pick.range("speed", 20, 2_000),
            FaultKind::ConnectLost => link.connect_lost_per_million = rate(50_000, 600_000),
            FaultKind::ConnectRefused => link.refuse_per_million = rate(50_000, 600_000),
            FaultKind::BitFlip => link.flip_per_million = rate(100, 5_000),
            _ => {
                let slow = pick.range("slow", 1_000_000, 2_000_000_000);
                link.latency_ns = (slow / 2, slow);
                link.jitter_ns = slow / 4;
            }
        }
        if matches!(kind, FaultKind::SlowLink | FaultKind::Throttle) {
            net.set_link(a, b, link);
            net.set_link(b, a, link);
            let (world, a, b) = (self.world.clone(), a.clone(), b.clone());
            return Some(Box::new(move || {
                world.net().set_link(&a, &b, before);
                world.net().set_link(&b, &a, before);
            }));
        }
        net.set_default(link);
        let world = self.world.clone();
        Some(Box::new(move || world.net().set_default(Link::CALM)))
    }

    fn bend_clock(&self, kind: FaultKind, pick: &Pick) -> Option<Heal> {
        let node = pick.one(&self.faults.victims, 0)?.clone();
        let ms = i64::try_from(pick.range("ms", 1, 120_000)).unwrap_or(1);
        let clock = node.clock();
        match kind {
            FaultKind::ClockDrift => {
                let ppm = i64::try_from(pick.range("ppm", 0, 400_000)).unwrap_or(0) - 200_000;
                clock.drift(ppm);
            }
            FaultKind::ClockForward => clock.jump(ms),
            FaultKind::ClockBack => clock.jump(-ms),
            FaultKind::ClockFrozen => clock.freeze(true),
            _ => {
                let world = self.world.clone();
                let (node, step) = (node.clone(), pick.range("step", 1, 200));
                self.world.spawn(async move {
                    for turn in 0..20 {
                        node.clock().jump(if turn % 2 == 0 { ms } else { -ms });
                        world.sleep(Duration::from_millis(step)).await;
                    }
                });
                return Some(Box::new(|| {}));
            }
        }
        Some(Box::new(move || node.clock().heal()))
    }

    fn spoil_disk(&self, kind: FaultKind, pick: &Pick, span: u64) -> Option<Heal> {
        use FaultKind::*;
        let node = pick.one(&self.faults.victims, 0)?.clone();
        let disk = node.disk();
        let rate = u32::try_from(pick.range("rate", 1_000, 200_000)).unwrap_or(0);
        match kind {
            DiskStall => disk.stall(span * 1_000_000),
            DiskHang => disk.stall(u64::MAX),
            Rot => _ = disk.rot(pick.range("platter", 0, 2) == 0),
            Unreadable => _ = disk.make_unreadable(),
            _ => disk.with_faults(|faults| match kind {
                DiskSlow => {
                    faults.latency_ns = (1_000_000, 20_000_000);
                    faults.sync_latency_ns = (5_000_000, 400_000_000);
                    faults.ns_per_kib = pick.range("kib", 0, 2_000_000);
                }
                SyncErrorOnce => faults.sync_error = rate,
                SyncErrorSticky => {
                    faults.sync_error = rate;
                    faults.sync_error_sticks = true;
                }
                DirSyncError => faults.dir_sync_error = rate,
                ReadError => faults.read_error = rate,
                WriteError => faults.write_error = rate,
                OpenError => faults.open_error = rate,
                ReadOnly => faults.read_only = true,
                LyingSync => faults.lying_sync = 1_000_000,
                LostWrite => faults.lost_write = rate / 8,
                MisdirectedWrite => faults.misdirected_write = rate / 8,
                StaleRead => faults.stale_read = rate / 8,
                _ => {}
            }),
        }
        if kind == DiskFull {
            let used = disk.used();
            disk.with_faults(|faults| faults.capacity = used + pick.range("room", 0, 8_192));
        }
        Some(Box::new(move || node.disk().heal()))
    }
}

/// Draws for one injection.
struct Pick {
    draw: Draw,
    lane: u64,
    n: u64,
}

impl Pick {
    fn range(&self, purpose: &str, low: u64, high: u64) -> u64 {
        self.draw.range(purpose, self.lane, self.n, low, high)
    }

    fn at(&self, purpose: &str, node: &Node) -> u64 {
        self.draw.at(purpose, (self.lane << 32) | u64::from(node.id().0), self.n)
    }

    fn one<'a>(&self, nodes: &'a [Node], skip: usize) -> Option<&'a Node> {
        let len = nodes.len() as u64;
        let at = usize::try_from(self.range("victim", 0, len)).unwrap_or(0);
        nodes.get((at + skip) % nodes.len().max(1))
    }

    fn two<'a>(&self, nodes: &'a [Node]) -> Option<(&'a Node, &'a Node)> {
        let apart = self.range("apart", 1, nodes.len() as u64);
        let a = self.one(nodes, 0)?;
        let b = self.one(nodes, usize::try_from(apart).unwrap_or(1))?;
        (a.id() != b.id()).then_some((a, b))
    }

    fn halves(&self, nodes: &[Node]) -> (Vec<Node>, Vec<Node>) {
        nodes.iter().cloned().partition(|node| self.at("side", node).is_multiple_of(2))
    }
}
