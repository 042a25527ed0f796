//! What happened, as small typed events, and a 64-bit hash over all of them.
//!
//! Two runs of one seed are the same run exactly when their hashes are equal. An event is four words and is hashed as
//! such; text exists only where somebody asks for it: when the trace is kept ([`Limits::keep_trace`]) or when a failure
//! prints its last events.
//!
//! Not hashed: anything that differs between processes (task ids, addresses of memory) and free text
//! ([`World::trace`]), which is not even rendered unless the trace is kept.
//!
//! [`Limits::keep_trace`]: crate::sim::Limits::keep_trace
//! [`World::trace`]: crate::sim::World::trace

use std::collections::VecDeque;
use std::fmt;

use crate::base::fnv64;
use crate::sim::NodeId;

/// How many of the last events a failing run prints although its trace was not kept.
const LAST_EVENTS: usize = 48;

/// What kind of thing happened. The two words of an [`Event`] mean what the comment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// (incarnation, 0)
    Start,
    /// The main future ended by itself: (incarnation, 0)
    Exit,
    /// (incarnation, 0)
    Kill,
    /// (incarnation, pages of un-synced data lost)
    OsCrash,
    LoseDisk,
    Rollback,
    Pause,
    Resume,
    StopAsked,
    /// A listener opened: (port, 0)
    Listen,
    /// A client's connect ended well: (connection, peer node)
    Connected,
    /// (connection, peer node)
    Refused,
    /// (connection, peer node)
    ConnectTimedOut,
    /// Bytes reached this node: (connection, length << 32 | CRC-32)
    Delivered,
    /// End of stream reached this node: (connection, 0)
    Fin,
    /// (connection, 0)
    Reset,
    /// Un-acknowledged for too long: (connection, 0)
    TimedOut,
    /// (other node, 1 when one way)
    Cut,
    /// (other node, 1 when one way)
    Heal,
    /// (inode, length << 32 | CRC-32)
    Write,
    /// (inode, pages made durable)
    Sync,
    /// (inode, pages dropped)
    SyncFailed,
    /// (hash of the path, 0)
    Name,
    /// (hash of the path, operations made durable)
    SyncDir,
    /// (new drift in ppm, wall offset in ms), as two's complement
    Clock,
    /// A fault made a difference: (0, 0)
    Bite(&'static str),
    /// Noted by a test: (its words)
    Mark(&'static str),
}

/// One event. `at` is true virtual time in nanoseconds, whatever the node's own clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: u64,
    pub node: NodeId,
    pub kind: Kind,
    pub a: u64,
    pub b: u64,
}

/// A kept line: an event, or text that a test wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Event(Event),
    Text { at: u64, text: String },
}

#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    kept: Option<Vec<Line>>,
    last: VecDeque<Line>,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Trace {
        Trace { hash: fnv64(b"trace"), count: 0, kept: keep.then(Vec::new), last: VecDeque::new() }
    }

    pub(super) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    pub(super) fn event(&mut self, event: Event) {
        let (code, name) = event.kind.code();
        let head = (u64::from(event.node.0) << 8) | u64::from(code);
        for word in [event.at, head, event.a, event.b] {
            self.hash = extend(self.hash, word);
        }
        if let Some(name) = name {
            self.hash = extend(self.hash, fnv64(name.as_bytes()));
        }
        self.count += 1;
        self.line(Line::Event(event));
    }

    pub(super) fn text(&mut self, at: u64, text: String) {
        self.line(Line::Text { at, text });
    }

    fn line(&mut self, line: Line) {
        if let Some(kept) = &mut self.kept {
            kept.push(line);
            return;
        }
        if self.last.len() == LAST_EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Every line when the trace was kept, else the last few.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        match &mut self.kept {
            Some(kept) => std::mem::take(kept),
            None => self.last.drain(..).collect(),
        }
    }
}

fn extend(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl Kind {
    /// A stable number for the hash, and the name where the number alone does not say it.
    fn code(self) -> (u8, Option<&'static str>) {
        match self {
            Kind::Start => (1, None),
            Kind::Exit => (2, None),
            Kind::Kill => (3, None),
            Kind::OsCrash => (4, None),
            Kind::LoseDisk => (5, None),
            Kind::Rollback => (6, None),
            Kind::Pause => (7, None),
            Kind::Resume => (8, None),
            Kind::StopAsked => (9, None),
            Kind::Listen => (10, None),
            Kind::Connected => (11, None),
            Kind::Refused => (12, None),
            Kind::ConnectTimedOut => (13, None),
            Kind::Delivered => (14, None),
            Kind::Fin => (15, None),
            Kind::Reset => (16, None),
            Kind::TimedOut => (17, None),
            Kind::Cut => (18, None),
            Kind::Heal => (19, None),
            Kind::Write => (20, None),
            Kind::Sync => (21, None),
            Kind::SyncFailed => (22, None),
            Kind::Name => (23, None),
            Kind::SyncDir => (24, None),
            Kind::Clock => (25, None),
            Kind::Bite(name) => (26, Some(name)),
            Kind::Mark(name) => (27, Some(name)),
        }
    }
}

/// Virtual time as `mm:ss.mmm_uuu`.
pub(super) struct At(pub(super) u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0 / 1_000;
        let (ms, s) = (us / 1_000, us / 1_000_000);
        write!(f, "{:02}:{:02}.{:03}_{:03}", s / 60, s % 60, ms % 1_000, us % 1_000)
    }
}

/// Renders a line; `names` gives each node's name by number.
pub(super) struct Rendered<'a>(pub(super) &'a Line, pub(super) &'a [String]);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = match self.0 {
            Line::Text { at, text } => return write!(f, "{}  {:<14} {text}", At(*at), ""),
            Line::Event(event) => event,
        };
        let name = |node: u64| -> &str {
            usize::try_from(node).ok().and_then(|node| self.1.get(node)).map_or("?", String::as_str)
        };
        let (a, b) = (event.a, event.b);
        write!(f, "{}  {:<14} ", At(event.at), name(u64::from(event.node.0)))?;
        match event.kind {
            Kind::Start => write!(f, "starts, life {a}"),
            Kind::Exit => write!(f, "ends by itself, life {a}"),
            Kind::Kill => write!(f, "FAULT Kill, life {a}"),
            Kind::OsCrash => write!(f, "FAULT OsCrash, life {a}, {b} un-synced pages lost"),
            Kind::LoseDisk => write!(f, "FAULT disk lost"),
            Kind::Rollback => write!(f, "FAULT old disk image restored"),
            Kind::Pause => write!(f, "FAULT paused"),
            Kind::Resume => write!(f, "resumed"),
            Kind::StopAsked => write!(f, "asked to stop"),
            Kind::Listen => write!(f, "listens on port {a}"),
            Kind::Connected => write!(f, "connected to {} as {a:#x}", name(b)),
            Kind::Refused => write!(f, "refused by {} ({a:#x})", name(b)),
            Kind::ConnectTimedOut => write!(f, "no answer from {} ({a:#x})", name(b)),
            Kind::Delivered => write!(f, "receives {} bytes on {a:#x}, crc {:08x}", b >> 32, b as u32),
            Kind::Fin => write!(f, "end of stream on {a:#x}"),
            Kind::Reset => write!(f, "reset on {a:#x}"),
            Kind::TimedOut => write!(f, "nothing acknowledged for too long on {a:#x}"),
            Kind::Cut => write!(f, "FAULT cut from {}{}", name(a), if b == 1 { ", one way" } else { "" }),
            Kind::Heal => write!(f, "healed to {}{}", name(a), if b == 1 { ", one way" } else { "" }),
            Kind::Write => write!(f, "writes {} bytes to inode {a}, crc {:08x}", b >> 32, b as u32),
            Kind::Sync => write!(f, "sync of inode {a}: {b} pages durable"),
            Kind::SyncFailed => write!(f, "FAULT sync of inode {a} failed, {b} pages dropped"),
            Kind::Name => write!(f, "names changed, path {a:016x}"),
            Kind::SyncDir => write!(f, "directory sync, path {a:016x}: {b} operations durable"),
            Kind::Clock => {
                write!(f, "FAULT clock: drift {} ppm, wall {:+} ms", a.cast_signed(), b.cast_signed())
            }
            Kind::Bite(what) => write!(f, "fault bit: {what}"),
            Kind::Mark(what) => write!(f, "{what} {a} {b}"),
        }
    }
}
