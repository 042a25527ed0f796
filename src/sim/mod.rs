//! The simulated world: a second implementation of [`Env`](crate::env::Env), with faults.
//!
//! ```text
//!   run(seed, limits, |world| scenario)            executor.rs   one thread, one seed, one outcome
//!        │
//!      World ── Node (kill · os_crash · lose_disk) world.rs node.rs
//!        │        ├── Env of one life ───────────  every handle carries the life and refuses after it
//!        │        ├── clock: drift, jumps          clock.rs
//!        │        ├── disk: cache and platter      disk/
//!        │        └── hooks: rng, probes, bugs     hooks.rs
//!        ├── net: links, windows, partitions       net/
//!        ├── nemesis: a swarm of faults            faults.rs
//!        ├── ledger: what was destroyed            ledger.rs
//!        └── trace: typed events and their hash    trace.rs
//! ```
//!
//! madsim supplies the executor, virtual time and the killing of tasks, nothing else. Random decisions are
//! [`Draw`](crate::base::Draw)s by key, so that removing one fault leaves all others as they were; only the order in
//! which ready tasks run comes from madsim's own generator.
//!
//! Killing a process, crashing its operating system and losing its disk are three verbs everywhere.
//!
//! Not here: anything of RocketMQ, and any promise that a broker makes.

mod clock;
pub mod disk;
mod executor;
mod faults;
mod hooks;
mod ledger;
pub mod net;
mod node;
mod tasks;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use clock::NodeClock;
pub use clock::WALL_START_MS;
pub use executor::Failure;
pub use executor::FailureKind;
pub use executor::Limits;
pub use executor::Outcome;
pub use executor::Report;
pub use executor::Seed;
pub use executor::run;
pub use faults::FaultKind;
pub use faults::Faults;
pub use faults::Nemesis;
pub use ledger::Damage;
pub use ledger::Entry;
pub use node::Crash;
pub use node::Node;
pub use node::NodeId;
pub use node::Stop;
pub use trace::Event;
pub use trace::Kind;
pub use trace::Line;
pub use world::World;
