//! The simulated network: byte streams over links that can be slow, cut, reset and lied to.
//!
//! ```text
//! Stream::poll_write ─▶ pipe: window, segments ─▶ wire (FIFO, latency, bandwidth) ─▶ received ─▶ Stream::poll_read
//!                                  one event per pipe: the head of its wire
//! ```
//!
//! Bytes of one connection arrive in order or not at all, each direction has a bounded window, and nothing crosses a cut
//! link: not data, not an end of stream, not a reset. So half-open connections exist, as after a power loss.
//!
//! Invariants: every random decision is a draw keyed by connection (client node and its own count), direction and
//! segment; events are ordered by (time, connection, kind), never by insertion.
//!
//! Not here: datagrams; packet loss as such (a stream shows it as latency: [`Link::tail_ns`]).

mod control;
mod link;
mod pipe;
mod state;
mod stream;

pub use control::Cut;
pub use control::Network;
pub use link::Link;
pub use link::Timeouts;
pub(super) use state::State;
pub(super) use stream::SimNet;
