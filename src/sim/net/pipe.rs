//! One direction of a connection: what is on the wire, what has arrived, and what either side will be told.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::Bytes;

use crate::sim::NodeId;

/// What a segment carries.
#[derive(Debug)]
pub(super) enum Body {
    Data(Bytes),
    Fin,
    Reset,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// True time of arrival.
    pub(super) at: u64,
    /// Of this pipe, counted from 0.
    pub(super) n: u64,
    pub(super) body: Body,
}

#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) wire: VecDeque<Segment>,
    pub(super) segments: u64,
    /// When the link is free for the next byte, and when the last segment arrives.
    pub(super) busy_until: u64,
    pub(super) last_at: u64,
    /// Bytes sent and not yet read.
    pub(super) in_use: usize,
    pub(super) window: usize,
    pub(super) segment_len: usize,
    /// An arrival event for the head of the wire is in the heap.
    pub(super) scheduled: bool,
    /// The head could not arrive: nothing moves until the link heals. Which holding it is.
    pub(super) held: Option<u64>,
    pub(super) holds: u64,
    pub(super) received: VecDeque<Bytes>,
    pub(super) fin_sent: bool,
    pub(super) fin_received: bool,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) read_error: Option<ErrorKind>,
    pub(super) write_error: Option<ErrorKind>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    /// Nothing that is on its way arrives any more.
    pub(super) fn clear_wire(&mut self) {
        self.wire.clear();
        self.held = None;
    }

    pub(super) fn wake_both(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.reader.take());
        woken.extend(self.writer.take());
    }
}

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) addr: SocketAddr,
    /// The process holds a handle, or the connection waits in a backlog.
    pub(super) open: bool,
    /// The kernel knows the connection; otherwise it answers with a reset.
    pub(super) known: bool,
}

/// A connect under way.
#[derive(Debug, Default)]
pub(super) struct Dial {
    pub(super) waker: Option<Waker>,
    pub(super) result: Option<Result<(), ErrorKind>>,
    /// The server's side exists.
    pub(super) accepted: bool,
    pub(super) refused: bool,
}

/// `pipes[0]` runs from the client to the server, `pipes[1]` back.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    pub(super) pipes: [Pipe; 2],
    pub(super) dial: Dial,
    pub(super) connect_until: u64,
}

impl Conn {
    /// No process holds it and nothing of it is still to arrive.
    pub(super) fn is_over(&self) -> bool {
        !self.ends[0].open && !self.ends[1].open && self.pipes.iter().all(|pipe| pipe.wire.is_empty())
    }
}

/// Who sends in direction `dir` and who receives.
pub(super) fn sender(dir: u8) -> usize {
    usize::from(dir)
}

pub(super) fn receiver(dir: u8) -> usize {
    usize::from(1 - dir)
}
