//! The only door to the world: clock, network, disk, randomness, tasks.
//!
//! Production hands the product [`real`]; the simulator hands it clocks, networks and disks that it can break. Every
//! trait is object-safe, so no signature above this layer carries a type parameter; a virtual call beside an I/O is
//! noise.
//!
//! Not here: what any byte means.

mod clock;
pub mod conformance;
mod disk;
mod hooks;
mod net;
pub mod real;
mod task;

use std::pin::Pin;
use std::sync::Arc;

pub use clock::Clock;
pub use disk::{Access, DirEntry, DirLock, Disk, File, Piece, Segment, Space, Tree};
pub use hooks::{Hooks, NoHooks};
pub use net::{Listener, Net, Stream};
use rand_chacha::ChaCha8Rng;
pub use task::{Spawn, Task, TaskHandle};

use crate::base::{Mono, Timestamp};

/// A boxed future: what an object-safe trait returns where `async fn` cannot stand.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One process's view of the world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub net: Arc<dyn Net>,
    pub disk: Arc<dyn Disk>,
    pub tasks: Arc<dyn Spawn>,
    pub hooks: Arc<dyn Hooks>,
}

impl Env {
    pub fn now(&self) -> Mono {
        self.clock.now()
    }

    pub fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    pub async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep_until(self.clock.now().plus_ms(ms)).await;
    }

    /// `None` when `span_ms` passed first; the future is dropped then.
    pub async fn timeout_ms<T>(&self, span_ms: u64, future: impl Future<Output = T>) -> Option<T> {
        let deadline = self.clock.sleep_until(self.clock.now().plus_ms(span_ms));
        tokio::select! {
            biased;
            value = future => Some(value),
            () = deadline => None,
        }
    }

    /// Runs `future` until it ends or the returned [`Task`] is dropped. `name` appears in traces.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task::new(self.tasks.spawn(name, Box::pin(future)))
    }

    /// The result of `work`, which only computes, made where it holds up no task. `None` when the process ends first.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = move || {
            // Nobody waits for it any more: then nobody misses it.
            let _ = tell.send(work());
        };
        self.tasks.aside(Box::new(work)).await;
        told.await.ok()
    }

    /// An independent stream of randomness for `label`: drawing from one never shifts another.
    pub fn rng(&self, label: &str) -> ChaCha8Rng {
        self.hooks.rng(label)
    }

    /// True now and then in simulation, never in production: makes a legal rarity common (FoundationDB's BUGGIFY).
    pub fn buggify(&self, site: &'static str) -> bool {
        self.hooks.buggify(site)
    }

    /// Notes that a rare state was reached; the simulator reports which states no seed ever reached.
    pub fn probe(&self, name: &'static str) {
        self.hooks.probe(name);
    }

    /// True when the simulator switched the planted bug `name` on. Constant false in production.
    pub fn planted(&self, name: &'static str) -> bool {
        self.hooks.planted(name)
    }
}
