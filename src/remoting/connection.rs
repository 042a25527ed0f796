//! One connection as everybody but its own task sees it: a place to put frames.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::base::Mono;
use crate::env::Env;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;
use crate::remoting::CallError;
use crate::remoting::Limits;
use crate::remoting::Replies;

/// Unique within one process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

pub struct Connection {
    id: ConnectionId,
    peer: SocketAddr,
    local: SocketAddr,
    unsent_bytes_max: usize,
    /// Nanoseconds of [`Mono`] when a byte last moved.
    active_at: AtomicU64,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// The connection's task, when it waits. Absent while it runs: it looks again before it waits.
    waker: Option<Waker>,
    closed: bool,
    calls: BTreeMap<i32, oneshot::Sender<Frame>>,
    next_opaque: i32,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, peer: SocketAddr, local: SocketAddr, limits: &Limits) -> Connection {
        Connection {
            id,
            peer,
            local,
            unsent_bytes_max: limits.unsent_bytes_max,
            active_at: AtomicU64::new(0),
            shared: Mutex::default(),
        }
    }

    /// Queues frames and wakes the connection's task. Frames sent to a closed connection are dropped.
    pub fn send(&self, frames: &mut Replies) {
        let mut shared = self.shared.lock();
        if shared.closed {
            frames.take();
            return;
        }
        let Shared { unsent, unsent_bytes, .. } = &mut *shared;
        *unsent_bytes += frames.drain_into(unsent);
        if shared.unsent_bytes > self.unsent_bytes_max {
            tracing::warn!(
                peer = %self.peer, unsent = shared.unsent_bytes, limit = self.unsent_bytes_max,
                "closing a connection whose peer does not read its answers"
            );
            shared.close();
        }
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Queues one frame with a small body: an answer that took a while, or a oneway request to the peer.
    pub fn send_frame(&self, header: &Header, body: Bytes) {
        let mut frames = Replies::default();
        frames.push(header, body);
        self.send(&mut frames);
    }

    /// Asks the peer and waits for its answer. `header.opaque` is set here.
    pub async fn call(
        &self,
        env: &Env,
        header: Header,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<Frame, CallError> {
        let (opaque, answer) = self.expect_answer();
        // Forgets the call however this future ends, also when it is dropped.
        let _pending = PendingCall { connection: self, opaque };
        let mut header = header;
        header.opaque = opaque;
        self.send_frame(&header, body);
        match env.timeout_ms(timeout_ms, answer).await {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(_)) => Err(CallError::Closed { address: self.peer.to_string() }),
            None => Err(CallError::Timeout { address: self.peer.to_string(), waited_ms: timeout_ms }),
        }
    }

    /// Ends the connection. What is queued and unsent is lost; pending calls fail.
    pub fn close(&self) {
        let mut shared = self.shared.lock();
        shared.close();
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    pub(super) fn active_at(&self) -> Mono {
        Mono(self.active_at.load(Ordering::Relaxed))
    }

    pub(super) fn touch(&self, now: Mono) {
        self.active_at.store(now.0, Ordering::Relaxed);
    }

    /// Hands a response of the peer to whoever waits for it. A response nobody waits for came too late: dropped.
    pub(super) fn on_response(&self, frame: Frame) {
        let waiting = self.shared.lock().calls.remove(&frame.header.opaque);
        if let Some(waiting) = waiting {
            let _ = waiting.send(frame);
        }
    }

    /// Moves what is unsent behind `writing`. Registers `waker` if there is nothing, so that a later send wakes it.
    pub(super) fn take_unsent(&self, writing: &mut VecDeque<Bytes>, waker: &Waker) -> Taken {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Taken::Closed;
        }
        if shared.unsent.is_empty() {
            if !shared.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                shared.waker = Some(waker.clone());
            }
            return Taken::Nothing;
        }
        shared.waker = None;
        writing.append(&mut shared.unsent);
        shared.unsent_bytes = 0;
        Taken::Some
    }

    fn expect_answer(&self) -> (i32, oneshot::Receiver<Frame>) {
        let (sender, receiver) = oneshot::channel();
        let mut shared = self.shared.lock();
        let opaque = shared.next_opaque;
        shared.next_opaque = opaque.wrapping_add(1);
        if !shared.closed {
            shared.calls.insert(opaque, sender);
        }
        (opaque, receiver)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Some,
    Nothing,
    Closed,
}

impl Shared {
    fn close(&mut self) {
        self.closed = true;
        self.unsent.clear();
        self.unsent_bytes = 0;
        // Dropping the senders fails the calls.
        self.calls.clear();
    }
}

struct PendingCall<'a> {
    connection: &'a Connection,
    opaque: i32,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.connection.shared.lock().calls.remove(&self.opaque);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} to {}", self.id.0, self.peer)
    }
}
