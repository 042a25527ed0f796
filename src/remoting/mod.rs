//! Connections: frames in, frames out, requests in both directions.
//!
//! One task owns one connection and runs each turn to completion: it reads what the socket holds, cuts it into frames,
//! hands every frame to its [`Session`], and writes all answers of the turn with one vectored write. Nothing on that
//! path hops to another task.
//!
//! ```text
//! socket ─ read ─▶ cut ─▶ Session::on_frame × n ─▶ Session::poll_turn_end ─▶ writev ─▶ socket
//!                                   ▲                          other tasks: Connection::send ─┘
//!                                   └ poll_turn_end may hold the turn: no further read (back-pressure)
//! ```
//!
//! Not here: what a request code means.

mod call;
mod client;
mod connection;
mod pump;
mod replies;
mod server;
mod session;

pub use call::CallError;
pub use client::Client;
pub use connection::Connection;
pub use connection::ConnectionId;
pub use replies::Replies;
pub use server::Server;
pub use session::Serve;
pub use session::Session;

/// What one connection may cost. Defaults are RocketMQ's where it has one (`NettyServerConfig`, `NettyClientConfig`).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest frame accepted, in bytes.
    pub frame_bytes_max: usize,
    /// Space offered to one read, in bytes: the largest turn.
    pub read_bytes: usize,
    /// Above this many unsent bytes a connection is no longer read, until its peer has taken some.
    pub unsent_bytes_high: usize,
    /// Above this many unsent bytes the connection is closed: its peer asks and does not read.
    pub unsent_bytes_max: usize,
    /// A connection that is silent in both directions for so long is closed, in milliseconds.
    pub idle_ms: u64,
    /// How long a connect may take, in milliseconds.
    pub connect_ms: u64,
    /// Connections a server holds at once.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: crate::base::limits::FRAME_BYTES_MAX,
            read_bytes: 128 * 1024,
            unsent_bytes_high: 4 * 1024 * 1024,
            unsent_bytes_max: 256 * 1024 * 1024,
            idle_ms: 120_000,
            connect_ms: 3_000,
            connections_max: 50_000,
        }
    }
}

#[cfg(test)]
mod tests;
