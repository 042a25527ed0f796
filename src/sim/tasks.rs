//! Tasks of one life. They end with the process, and a dead life starts none.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use parking_lot::Mutex;

use crate::env::BoxFuture;
use crate::env::Spawn;
use crate::env::TaskHandle;
use crate::sim::NodeId;
use crate::sim::executor::set_running;
use crate::sim::node::Life;

pub(super) struct SimTasks {
    pub(super) life: Arc<Life>,
}

impl Spawn for SimTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        if !self.life.is_alive() {
            return Box::new(Ended);
        }
        Box::new(SimTask(self.life.spawn(name, future)))
    }

    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }
}

impl Life {
    pub(super) fn spawn(
        &self,
        name: &'static str,
        future: BoxFuture<'static, ()>,
    ) -> madsim::task::AbortHandle {
        let running = Counted::new(&self.tasks);
        let polls = Arc::clone(&self.polls);
        let named = Named { node: self.node, name, future, polls, _running: running };
        self.machine.spawn(named).abort_handle()
    }
}

struct SimTask(madsim::task::AbortHandle);

impl TaskHandle for SimTask {
    fn abort(&self) {
        self.0.abort();
    }
}

struct Ended;

impl TaskHandle for Ended {
    fn abort(&self) {}
}

/// Says who is running, so that a panic can be told as a story.
struct Named {
    node: NodeId,
    name: &'static str,
    future: BoxFuture<'static, ()>,
    polls: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    _running: Counted,
}

impl Future for Named {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.polls.lock().entry(self.name).or_insert(0) += 1;
        let before = set_running(Some((self.node, self.name)));
        let poll = self.future.as_mut().poll(cx);
        // Not reached on a panic: the hook has then read it, and the run is over.
        set_running(before);
        poll
    }
}

struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
