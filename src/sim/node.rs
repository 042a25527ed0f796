//! One machine and the process on it.
//!
//! ```text
//!            start             kill: page cache lives          os_crash: any un-synced page may go
//!   down ───────────▶ alive ─────────────────────────▶ down    lose_disk: nothing is left
//!     ▲                 │ main ends, stop                │
//!     └────── restart ──┴────────────────────────────────┘
//! ```
//!
//! Each start is a new [`Life`]. Every handle that the process gets (clock, sockets, files, tasks) carries its life and
//! refuses once it is over: madsim drops the tasks of a killed node late and in random order, interleaved with the next
//! life, and no destructor of the old one may touch the new.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use madsim::runtime::NodeHandle;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::env::BoxFuture;
use crate::env::Env;
use crate::sim::World;
use crate::sim::clock::HostClock;
use crate::sim::clock::NodeClock;
use crate::sim::clock::SimClock;
use crate::sim::disk::DiskControl;
use crate::sim::disk::NodeDisk;
use crate::sim::disk::SimDisk;
use crate::sim::hooks::SimHooks;
use crate::sim::hooks::Sites;
use crate::sim::ledger::Damage;
use crate::sim::net::SimNet;
use crate::sim::tasks::SimTasks;
use crate::sim::trace::Kind;

/// A node's number, in order of creation. Zero is the world itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    pub const WORLD: NodeId = NodeId(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// 10.0.x.y, by number.
    pub(super) fn ip(self) -> IpAddr {
        let [_, high, middle, low] = self.0.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, high, middle, low))
    }
}

/// How a process ends against its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Only the process: its kernel closes the sockets, and the page cache lives.
    Process,
    /// The machine loses power: sockets go silent, and any subset of un-synced pages and names is lost.
    Os,
}

/// Builds the process's future at every start.
pub(super) type Main = dyn Fn(Env, Stop) -> BoxFuture<'static, ()> + Send + Sync;

pub(super) struct NodeState {
    pub(super) id: NodeId,
    pub(super) name: String,
    main: Option<Box<Main>>,
    pub(super) clock: Mutex<HostClock>,
    pub(super) disk: Arc<NodeDisk>,
    pub(super) sites: Mutex<Sites>,
    run: Mutex<Run>,
    down: Notify,
}

struct Run {
    life: Option<Arc<Life>>,
    incarnation: u64,
    paused: Option<usize>,
}

/// One incarnation of a process.
pub(super) struct Life {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    alive: AtomicBool,
    pub(super) machine: NodeHandle,
    /// Host time at which this life began, and what its monotonic clock showed then.
    pub(super) host_zero: u64,
    pub(super) mono_start: u64,
    pub(super) tasks: Arc<AtomicU64>,
    pub(super) polls: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    stop: Stop,
}

impl Life {
    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}

/// The request to end cleanly (SIGTERM), as the main future sees it.
#[derive(Clone, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    asked: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Ends once [`Node::stop`] asked.
    pub async fn asked(&self) {
        while !self.is_asked() {
            let notified = self.0.notify.notified();
            if self.is_asked() {
                return;
            }
            notified.await;
        }
    }

    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
        self.0.notify.notify_waiters();
    }
}

/// A handle to a machine. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub(super) world: World,
    pub(super) state: Arc<NodeState>,
}

impl NodeState {
    pub(super) fn new(world: &World, id: NodeId, name: &str, main: Option<Box<Main>>) -> NodeState {
        NodeState {
            id,
            name: name.to_owned(),
            main,
            clock: Mutex::new(HostClock::new()),
            disk: Arc::new(NodeDisk::new(id, world.draw().domain("disk").domain(name))),
            sites: Mutex::new(Sites::default()),
            run: Mutex::new(Run { life: None, incarnation: 0, paused: None }),
            down: Notify::new(),
        }
    }

    pub(super) fn life(&self) -> Option<Arc<Life>> {
        self.run.lock().life.clone()
    }

    /// Marks the present life dead, if there is one. From here on all its handles refuse.
    fn end_life(&self) -> Option<Arc<Life>> {
        let life = self.run.lock().life.take()?;
        life.alive.store(false, Ordering::Relaxed);
        Some(life)
    }
}

impl World {
    /// A machine whose process runs `main`, started now and at every [`Node::restart`].
    pub fn node<F, Fut>(&self, name: &str, main: F) -> Node
    where
        F: Fn(Env) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.node_with_stop(name, move |env, _| main(env))
    }

    /// As [`World::node`], for a process that can end cleanly: `main` gets a [`Stop`] to await.
    pub fn node_with_stop<F, Fut>(&self, name: &str, main: F) -> Node
    where
        F: Fn(Env, Stop) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let main: Box<Main> = Box::new(move |env, stop| Box::pin(main(env, stop)));
        let node = Node { world: self.clone(), state: self.add_node(name, Some(main)) };
        self.start(&node.state);
        node
    }

    /// A machine with a process that only lends its [`Env`] ([`Node::env`]): clients, tests of a store.
    pub fn machine(&self, name: &str) -> Node {
        let node = Node { world: self.clone(), state: self.add_node(name, None) };
        self.start(&node.state);
        node
    }

    /// The environment of a new [`World::machine`].
    pub fn client_env(&self, name: &str) -> Env {
        self.machine(name).env()
    }

    fn start(&self, state: &Arc<NodeState>) {
        let machine = self.runtime().create_node().name(state.name.as_str()).build();
        let host_zero = state.clock.lock().host(self.now_ns());
        let mut run = state.run.lock();
        assert!(run.life.is_none(), "a process starts only where none runs");
        run.incarnation += 1;
        let draw = self.draw().domain("life");
        let life = Arc::new(Life {
            node: state.id,
            incarnation: run.incarnation,
            alive: AtomicBool::new(true),
            machine,
            host_zero,
            mono_start: draw.range("mono", u64::from(state.id.0), run.incarnation, 1, 3_600_000_000_000),
            tasks: Arc::default(),
            polls: Arc::default(),
            stop: Stop::default(),
        });
        run.life = Some(Arc::clone(&life));
        drop(run);
        self.net_state().lock().host_up(state.id, self.now_ns());
        self.poke();
        self.event(state.id, Kind::Start, life.incarnation, 0);
        if let Some(main) = &state.main {
            let env = self.env_of(state, &life);
            let future = main(env, life.stop.clone());
            let (world, state, of) = (self.clone(), Arc::clone(state), Arc::clone(&life));
            let whole = Box::pin(async move {
                future.await;
                world.process_exited(&state, &of);
            });
            let _ = life.spawn("main", whole);
        }
    }

    fn env_of(&self, state: &Arc<NodeState>, life: &Arc<Life>) -> Env {
        let (world, node, life) = (self.clone(), Arc::clone(state), Arc::clone(life));
        Env {
            clock: Arc::new(SimClock {
                world: world.clone(),
                node: Arc::clone(&node),
                life: Arc::clone(&life),
            }),
            net: Arc::new(SimNet { world: world.clone(), life: Arc::clone(&life) }),
            disk: Arc::new(SimDisk::new(world.clone(), Arc::clone(&node.disk), Arc::clone(&life))),
            tasks: Arc::new(SimTasks { life: Arc::clone(&life) }),
            hooks: Arc::new(SimHooks { world, node, life }),
        }
    }

    fn process_exited(&self, state: &NodeState, life: &Life) {
        if !life.is_alive() {
            return;
        }
        self.event(state.id, Kind::Exit, life.incarnation, 0);
        self.process_ended(state, Crash::Process);
    }

    /// Ends the life against its will, at once.
    pub(super) fn crash(&self, state: &NodeState, crash: Crash) {
        let running = state.life();
        let incarnation = running.as_ref().map_or(0, |life| life.incarnation);
        match crash {
            Crash::Process => {
                if running.is_none() {
                    return;
                }
                self.event(state.id, Kind::Kill, incarnation, 0);
                self.damage(state.id, Damage::Kill);
                self.process_ended(state, crash);
            }
            Crash::Os => {
                // The fence goes up first: nothing may be written between the crash and the death.
                self.process_ended(state, crash);
                let loss = state.disk.os_crash(self);
                self.event(state.id, Kind::OsCrash, incarnation, loss.pages_lost);
                self.damage(
                    state.id,
                    Damage::OsCrash {
                        pages_lost: loss.pages_lost,
                        pages_torn: loss.pages_torn,
                        names_lost: loss.names_lost,
                    },
                );
            }
        }
    }

    fn process_ended(&self, state: &NodeState, crash: Crash) {
        let life = state.end_life();
        match crash {
            Crash::Process => self.net_state().lock().process_down(state.id, self.now_ns()),
            Crash::Os => self.net_state().lock().power_down(state.id),
        }
        state.disk.process_ended();
        self.poke();
        let paused = state.run.lock().paused.take();
        if let Some(entry) = paused {
            self.close_damage(entry);
        }
        if let Some(life) = life {
            // Drops or wakes tasks, whose destructors find their life over. No lock of ours is held here.
            self.runtime().kill(life.machine.id());
            state.down.notify_waiters();
        }
    }

    pub(super) fn end_all_lives(&self) {
        for state in self.node_states() {
            if let Some(life) = state.end_life() {
                self.runtime().kill(life.machine.id());
            }
        }
    }
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.state.id
    }

    pub fn name(&self) -> &str {
        &self.state.name
    }

    pub fn ip(&self) -> IpAddr {
        self.world.net_state().lock().ip_of(self.state.id)
    }

    /// The machine comes back under another address. Only while nothing runs on it.
    pub fn readdress(&self, ip: IpAddr) {
        assert!(!self.is_up(), "a machine changes its address while it is down");
        self.world.net_state().lock().set_ip(self.state.id, ip);
    }

    /// The environment of the process that runs now. It refuses everything once that process is gone.
    pub fn env(&self) -> Env {
        let life = self.state.life();
        let life = life.expect("a node that is down has no environment: restart it first");
        self.world.env_of(&self.state, &life)
    }

    pub fn is_up(&self) -> bool {
        self.state.life().is_some()
    }

    /// How many times a process was started here.
    pub fn incarnation(&self) -> u64 {
        self.state.run.lock().incarnation
    }

    /// How often the tasks of the present process have run since its start, by their names. One that hands work to
    /// another makes both run.
    pub fn polls(&self) -> BTreeMap<&'static str, u64> {
        self.state.life().map(|life| life.polls.lock().clone()).unwrap_or_default()
    }

    /// Tasks of the running process that have not ended.
    pub fn tasks(&self) -> u64 {
        self.state.life().map_or(0, |life| life.tasks.load(Ordering::Relaxed))
    }

    /// Kills the process. What it wrote stays in the page cache; its kernel closes its sockets.
    pub fn kill(&self) {
        self.world.crash(&self.state, Crash::Process);
    }

    /// Cuts the machine's power: un-synced data may be lost, and its peers hear nothing.
    pub fn os_crash(&self) {
        self.world.crash(&self.state, Crash::Os);
    }

    pub fn crash(&self, crash: Crash) {
        self.world.crash(&self.state, crash);
    }

    /// Cuts the power, and the disk is gone: the next process finds an empty one.
    pub fn lose_disk(&self) {
        self.world.crash(&self.state, Crash::Os);
        self.state.disk.lose();
        self.world.event(self.state.id, Kind::LoseDisk, 0, 0);
        self.world.damage(self.state.id, Damage::Loss);
    }

    /// Crashes the process when it passes the probe `name` for the `visit`-th time from now (1 is the next).
    pub fn crash_at(&self, name: &str, visit: u64, crash: Crash) {
        self.state.sites.lock().crash_at(name, visit, crash);
    }

    /// No crash that [`Node::crash_at`] asked for happens any more.
    pub fn forget_crash_points(&self) {
        self.state.sites.lock().forget_crash_points();
    }

    /// Every probe that a process of this node has passed so far, by name.
    pub fn probes_passed(&self) -> Vec<&'static str> {
        self.state.sites.lock().passed()
    }

    /// Ends when a process here dies of [`Node::crash_at`].
    pub(super) async fn crashed_at_probe(&self) {
        let crashes = || self.state.sites.lock().crashes();
        let before = crashes();
        loop {
            let notified = self.state.down.notified();
            if crashes() > before {
                return;
            }
            notified.await;
        }
    }

    /// Starts the process again. One that still runs is killed first.
    pub fn restart(&self) {
        self.kill();
        self.world.start(&self.state);
    }

    /// Asks the process to end and waits until it did. A main future that does not watch its [`Stop`] never does.
    pub async fn stop(&self) {
        self.ask_to_stop();
        self.down().await;
    }

    pub fn ask_to_stop(&self) {
        if let Some(life) = self.state.life() {
            self.world.event(self.state.id, Kind::StopAsked, life.incarnation, 0);
            life.stop.ask();
        }
    }

    /// Ends when no process runs here.
    pub async fn down(&self) {
        while self.is_up() {
            let notified = self.state.down.notified();
            if !self.is_up() {
                return;
            }
            notified.await;
        }
    }

    /// No task of this node runs until [`Node::resume`]; network, disk and time go on (SIGSTOP, a long pause).
    pub fn pause(&self) {
        let Some(life) = self.state.life() else { return };
        if self.state.run.lock().paused.is_some() {
            return;
        }
        self.world.event(self.state.id, Kind::Pause, 0, 0);
        let entry = self.world.damage(self.state.id, Damage::Pause { ns: u64::MAX });
        self.state.run.lock().paused = Some(entry);
        self.world.runtime().pause(life.machine.id());
    }

    pub fn resume(&self) {
        let paused = self.state.run.lock().paused.take();
        if let (Some(entry), Some(life)) = (paused, self.state.life()) {
            self.world.close_damage(entry);
            self.world.event(self.state.id, Kind::Resume, 0, 0);
            self.world.runtime().resume(life.machine.id());
        }
    }

    pub fn is_paused(&self) -> bool {
        self.state.run.lock().paused.is_some()
    }

    /// Faults, images and figures of the disk.
    pub fn disk(&self) -> DiskControl<'_> {
        DiskControl { world: &self.world, node: &self.state }
    }

    pub fn clock(&self) -> NodeClock<'_> {
        NodeClock { world: &self.world, node: &self.state }
    }
}
