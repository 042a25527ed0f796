//! What all nodes share: true time, the network, the ledger, the trace, and the driver that makes events happen.
//!
//! The driver is the only task that sleeps on madsim. It wakes for the earliest of all timers and network events, and
//! runs everything that is due in the order of its keys.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::BinaryHeap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

use madsim::runtime::NodeHandle;
use madsim::time::TimeHandle;
use parking_lot::Mutex;

use crate::base::Draw;
use crate::sim::Limits;
use crate::sim::Seed;
use crate::sim::clock::TimerKey;
use crate::sim::clock::Timers;
use crate::sim::clock::TrueSleep;
use crate::sim::executor::Report;
use crate::sim::ledger::Damage;
use crate::sim::ledger::Entry;
use crate::sim::ledger::Ledger;
use crate::sim::net::Network;
use crate::sim::net::State as NetState;
use crate::sim::node::Main;
use crate::sim::node::Node;
use crate::sim::node::NodeId;
use crate::sim::node::NodeState;
use crate::sim::trace::Event;
use crate::sim::trace::Kind;
use crate::sim::trace::Trace;

/// One simulated world. Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Shared>);

pub struct Shared {
    seed: Seed,
    draw: Draw,
    buggify: Option<Draw>,
    time: TimeHandle,
    start: Instant,
    runtime: madsim::runtime::Handle,
    /// Where the driver and the nemesis run: no fault touches it.
    machine: NodeHandle,
    ended: AtomicBool,
    trace: Mutex<Trace>,
    ledger: Mutex<Ledger>,
    probes: Mutex<BTreeMap<&'static str, u64>>,
    planted: Mutex<BTreeSet<String>>,
    pub(super) timers: Mutex<Timers>,
    net: Mutex<NetState>,
    nodes: Mutex<Vec<Arc<NodeState>>>,
    driver: Mutex<Driver>,
}

/// Outstanding timers on madsim, which cannot be taken back, and whom they wake.
#[derive(Default)]
struct Driver {
    waker: Option<Waker>,
    armed: BinaryHeap<Reverse<u64>>,
}

impl Deref for World {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl World {
    pub(super) fn new(seed: Seed, limits: &Limits) -> World {
        let time = TimeHandle::current();
        let draw = Draw::new(seed.0);
        let world = World(Arc::new(Shared {
            seed,
            draw,
            buggify: limits.buggify.then(|| draw.domain("buggify")),
            start: time.now_instant() - time.elapsed(),
            time,
            machine: madsim::runtime::Handle::current().create_node().name("world").build(),
            runtime: madsim::runtime::Handle::current(),
            ended: AtomicBool::new(false),
            trace: Mutex::new(Trace::new(limits.keep_trace)),
            ledger: Mutex::default(),
            probes: Mutex::default(),
            planted: Mutex::new(limits.planted.iter().cloned().collect()),
            timers: Mutex::default(),
            net: Mutex::new(NetState::new(draw.domain("net"))),
            nodes: Mutex::default(),
            driver: Mutex::default(),
        }));
        world.add_node("world", None);
        let driven = world.clone();
        // A join handle that is dropped lets its task run on.
        drop(world.machine.spawn(std::future::poll_fn(move |cx| driven.drive(cx))));
        world
    }

    pub(super) fn add_node(&self, name: &str, main: Option<Box<Main>>) -> Arc<NodeState> {
        let mut nodes = self.nodes.lock();
        assert!(nodes.iter().all(|node| node.name != name), "two nodes have the same name");
        let id = NodeId(u32::try_from(nodes.len()).expect("fewer than 2^32 nodes"));
        let state = Arc::new(NodeState::new(self, id, name, main));
        nodes.push(Arc::clone(&state));
        self.net.lock().add_host(id, name);
        state
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<Node> {
        let state = self.nodes.lock().iter().find(|node| node.name == name).cloned()?;
        Some(Node { world: self.clone(), state })
    }

    /// All nodes, in order of creation.
    pub fn nodes(&self) -> Vec<Node> {
        let states = self.node_states();
        states.into_iter().skip(1).map(|state| Node { world: self.clone(), state }).collect()
    }

    /// Latencies, partitions, resets.
    pub fn net(&self) -> Network {
        Network { world: self.clone() }
    }

    /// Ends after `span` of true time.
    pub async fn sleep(&self, span: Duration) {
        let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.sleep_ns(NodeId::WORLD, ns).await;
    }

    /// Runs `future` as a task of the world itself, which no fault touches.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.machine.spawn(future));
    }

    pub(super) fn sleep_ns(&self, node: NodeId, ns: u64) -> TrueSleep {
        let at = self.now_ns().saturating_add(ns);
        TrueSleep { world: self.clone(), node, at, armed: None }
    }

    pub(super) fn arm(&self, node: NodeId, at: u64, old: Option<TimerKey>, waker: &Waker) -> TimerKey {
        let key = self.timers.lock().arm(node, at, old, waker);
        self.wake_driver_at(at);
        key
    }

    pub(super) fn disarm(&self, key: TimerKey) {
        // The waker is dropped after the lock is released: it may be the last owner of a task.
        let waker = self.timers.lock().disarm(key);
        drop(waker);
    }

    /// Something may now be due earlier than the driver knows.
    pub(super) fn poke(&self) {
        let next = self.net.lock().next_event();
        if let Some(at) = next {
            self.wake_driver_at(at);
        }
    }

    /// Arms one timer on madsim, unless an earlier or equal one is outstanding. Exact to the nanosecond: madsim clamps
    /// new sleeps to a millisecond, but not a reset one.
    fn wake_driver_at(&self, at: u64) {
        if self.has_ended() {
            return;
        }
        let mut driver = self.driver.lock();
        if driver.armed.peek().is_some_and(|Reverse(armed)| *armed <= at) {
            return;
        }
        let Some(waker) = driver.waker.clone() else { return };
        driver.armed.push(Reverse(at));
        drop(driver);
        let deadline = self.start + Duration::from_nanos(at);
        let mut sleep = std::pin::pin!(self.time.sleep_until(deadline));
        sleep.as_mut().reset(deadline);
        if sleep.poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
    }

    fn drive(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended() {
            return Poll::Ready(());
        }
        let now = self.now_ns();
        let mut driver = self.driver.lock();
        if driver.waker.is_none() {
            driver.waker = Some(cx.waker().clone());
        }
        while driver.armed.peek().is_some_and(|Reverse(armed)| *armed <= now) {
            driver.armed.pop();
        }
        drop(driver);
        loop {
            let due = self.timers.lock().pop_due(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
        let mut woken = Vec::new();
        let next_event = self.net.lock().step(self, now, &mut woken);
        for waker in woken {
            waker.wake();
        }
        let next_timer = self.timers.lock().next();
        if let Some(at) = [next_event, next_timer].into_iter().flatten().min() {
            self.wake_driver_at(at);
        }
        Poll::Pending
    }

    pub(super) fn report(&self) -> Report {
        let mut trace = self.trace.lock();
        Report {
            trace_hash: trace.hash(),
            events: trace.count(),
            virtual_ns: self.now_ns(),
            ledger: self.ledger.lock().entries().to_vec(),
            probes: self.probes.lock().clone(),
            lines: trace.take_lines(),
            names: self.nodes.lock().iter().map(|node| node.name.clone()).collect(),
        }
    }

    /// Kills everything and lets go of every waker, so that nothing keeps anything alive.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.end_all_lives();
        self.runtime.kill(self.machine.id());
        let timers = self.timers.lock().take_all();
        let wakers = self.net.lock().clear();
        let driver = self.driver.lock().waker.take();
        if let Some(waker) = &driver {
            waker.wake_by_ref();
        }
        // A process's main may hold the world that holds it.
        let nodes = std::mem::take(&mut *self.nodes.lock());
        drop((timers, wakers, driver, nodes));
    }
}

impl Shared {
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Decisions of this run, by key.
    pub fn draw(&self) -> Draw {
        self.draw
    }

    /// True virtual time since the start of the run.
    pub fn now(&self) -> Duration {
        self.time.elapsed()
    }

    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.time.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Writes a line into the trace if it is kept. Not part of the hash; rendered only then.
    pub fn trace(&self, text: impl FnOnce() -> String) {
        let now = self.now_ns();
        let mut trace = self.trace.lock();
        if trace.keeps() {
            trace.text(now, text());
        }
    }

    /// Writes an event of a test into the trace and its hash.
    pub fn mark(&self, what: &'static str, a: u64, b: u64) {
        self.event(NodeId::WORLD, Kind::Mark(what), a, b);
    }

    /// Equal for equal runs up to here.
    pub fn trace_hash(&self) -> u64 {
        self.trace.lock().hash()
    }

    pub fn ledger(&self) -> Vec<Entry> {
        self.ledger.lock().entries().to_vec()
    }

    /// How often each probe, rare branch and fault was hit so far.
    pub fn probes(&self) -> BTreeMap<&'static str, u64> {
        self.probes.lock().clone()
    }

    /// Counts a state that should be reached now and then; reported with the probes.
    pub fn count(&self, name: &'static str) {
        *self.probes.lock().entry(name).or_insert(0) += 1;
    }

    /// Switches the planted bug `name` on, for every node.
    pub fn plant(&self, name: &str) {
        self.planted.lock().insert(name.to_owned());
    }

    pub fn is_planted(&self, name: &str) -> bool {
        self.planted.lock().contains(name)
    }

    pub(super) fn event(&self, node: NodeId, kind: Kind, a: u64, b: u64) {
        let at = self.now_ns();
        self.trace.lock().event(Event { at, node, kind, a, b });
    }

    /// A fault made a difference: counted, and part of the trace.
    pub(super) fn bite(&self, node: NodeId, what: &'static str) {
        self.count(what);
        self.event(node, Kind::Bite(what), 0, 0);
    }

    pub(super) fn damage(&self, node: NodeId, damage: Damage) -> usize {
        self.ledger.lock().add(self.now_ns(), node, damage)
    }

    pub(super) fn close_damage(&self, index: usize) {
        self.ledger.lock().close(index, self.now_ns());
    }

    pub(super) fn buggify_draw(&self) -> Option<Draw> {
        self.buggify
    }

    pub(super) fn runtime(&self) -> &madsim::runtime::Handle {
        &self.runtime
    }

    pub(super) fn net_state(&self) -> &Mutex<NetState> {
        &self.net
    }

    pub(super) fn node_states(&self) -> Vec<Arc<NodeState>> {
        self.nodes.lock().clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
