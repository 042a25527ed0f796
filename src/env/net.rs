//! Byte streams between nodes.
//!
//! Contract, checked by the conformance suite on both implementations: bytes arrive in order or not at all; a write is
//! sent without a flush; `shutdown` closes one direction; a stream that is dropped with unread input resets its peer;
//! writing to a peer that does not read blocks after a bounded number of bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::BoxFuture;

pub trait Net: Send + Sync {
    /// Port 0 asks for any free port. Fails with `AddrInUse` when somebody listens there.
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// `ConnectionRefused` when the host lives and nobody listens; `TimedOut` when it does not answer.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;

    /// Addresses of `host:port`, in a stable order.
    fn resolve<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

pub trait Listener: Send + Sync {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
    fn local_addr(&self) -> SocketAddr;
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn peer_addr(&self) -> SocketAddr;
    fn local_addr(&self) -> SocketAddr;
}
