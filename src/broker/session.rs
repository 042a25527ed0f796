//! One connection's requests: staged sends become one append per turn; everything else is answered as it comes.

use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use crate::broker::answer::Answer;
use crate::broker::answer::ReplyTo;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::dispatch;
use crate::broker::dispatch::Route;
use crate::broker::refusal::Refusal;
use crate::broker::unit::Unit;
use crate::protocol::code::RequestCode;
use crate::protocol::frame::Frame;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::remoting::Serve;
use crate::remoting::Session;

/// One request and where it came from.
pub(crate) struct Request {
    pub(crate) frame: Frame,
    pub(crate) connection: Arc<Connection>,
}

/// Opens a session of the broker for each connection.
pub(crate) struct Door(pub(crate) Arc<Core>);

impl Serve for Door {
    fn open(&self, connection: &Arc<Connection>) -> Box<dyn Session> {
        let core = Arc::clone(&self.0);
        core.connections.lock().insert(connection.id(), Arc::clone(connection));
        Box::new(BrokerSession { core, connection: Arc::clone(connection), unit: Unit::default() })
    }
}

/// Name servers ask nothing of a broker over the connection it opened; whoever does gets told so.
pub(crate) struct Unasked;

impl Serve for Unasked {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(Unasked)
    }
}

impl Session for Unasked {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        let refusal = Refusal::UnknownCode(frame.header.code);
        ReplyTo::request(&frame.header).answer(Response::from(refusal), replies);
    }
}

struct BrokerSession {
    core: Arc<Core>,
    connection: Arc<Connection>,
    unit: Unit,
}

impl Session for BrokerSession {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        let request = Request { frame, connection: Arc::clone(&self.connection) };
        let Some(code) = RequestCode::from_i32(request.frame.header.code) else {
            return self.refuse(Refusal::UnknownCode(request.frame.header.code), &request, replies);
        };
        match dispatch::route(code) {
            Route::Stage(stage) => {
                if let Err(refusal) = stage(&self.core, &request, &mut self.unit) {
                    self.refuse(refusal, &request, replies);
                }
            }
            Route::Answer(handle) => {
                // What this connection sent before comes first. If the log is not ready it has not been acknowledged
                // either, so nobody can tell.
                if !self.unit.is_empty() {
                    let _ = self.unit.append(&self.core, &self.connection, replies);
                }
                match handle(&self.core, &request) {
                    Ok(answer) => self.answer(answer, request, replies),
                    Err(refusal) => self.refuse(refusal, &request, replies),
                }
            }
            Route::Unsupported => self.refuse(Refusal::Unsupported(code), &request, replies),
        }
    }

    fn poll_turn_end(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<()> {
        while !self.unit.is_empty() {
            if self.unit.append(&self.core, &self.connection, replies).is_ready() {
                break;
            }
            if self.core.store.poll_writable(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn on_closed(&mut self) {
        self.core.connections.lock().remove(&self.connection.id());
        self.core.on_connection_closed(&self.connection);
    }
}

impl BrokerSession {
    fn answer(&self, answer: Answer, request: Request, replies: &mut Replies) {
        let to = ReplyTo::request(&request.frame.header);
        match answer {
            Answer::Now(response) => to.answer(response, replies),
            Answer::Held => {}
            Answer::Later(future) => {
                let connection = request.connection;
                let task = async move {
                    let response = future.await.unwrap_or_else(Response::from);
                    let mut replies = Replies::default();
                    to.answer(response, &mut replies);
                    connection.send(&mut replies);
                };
                self.core.env.spawn("late answer", task).detach();
            }
        }
    }

    fn refuse(&self, refusal: Refusal, request: &Request, replies: &mut Replies) {
        tracing::debug!(
            peer = %self.connection.peer(), code = request.frame.header.code, %refusal,
            "refused a request"
        );
        ReplyTo::request(&request.frame.header).answer(Response::from(refusal), replies);
    }
}
