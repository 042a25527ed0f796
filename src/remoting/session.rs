//! What a server does with the frames of one connection.

use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use crate::protocol::frame::Frame;
use crate::remoting::Connection;
use crate::remoting::Replies;

/// Opens a [`Session`] for each new connection.
pub trait Serve: Send + Sync {
    fn open(&self, connection: &Arc<Connection>) -> Box<dyn Session>;
}

/// One connection's side of a service. Called only by the connection's own task, never at the same time.
pub trait Session: Send {
    /// A request of the peer. An answer goes into `replies` now, or to [`Connection::send`] later; a oneway request
    /// gets none. Responses to our own requests do not come here.
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies);

    /// All frames that one read brought have been handed over: carry out what was gathered. While it is pending the
    /// connection is not read and no frame is handed over; the session has kept `cx`'s waker.
    fn poll_turn_end(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<()> {
        let _ = (cx, replies);
        Poll::Ready(())
    }

    /// The connection is gone. Called exactly once.
    fn on_closed(&mut self) {}
}
