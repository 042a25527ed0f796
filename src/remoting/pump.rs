//! The task of one connection: reads, turns, writes.
//!
//! It holds one read buffer and one write queue. While more than `unsent_bytes_high` bytes wait for the peer, or while
//! the session holds its turn, nothing is read: TCP's window then stops the peer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;

use crate::env::Env;
use crate::env::Stream;
use crate::protocol::frame;
use crate::protocol::frame::FrameError;
use crate::remoting::Connection;
use crate::remoting::Limits;
use crate::remoting::Replies;
use crate::remoting::Session;
use crate::remoting::connection::Taken;

/// Slices offered to one vectored write. Linux takes 1024; beyond some dozens nothing is gained.
const SLICES_MAX: usize = 64;

/// Turns one poll may take before other tasks get theirs.
const TURNS_MAX: usize = 16;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("closed by the peer")]
    ByPeer,
    #[error("closed here")]
    Here,
    #[error("{0}")]
    Malformed(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the connection until it ends.
pub(super) async fn run(
    env: Env,
    connection: Arc<Connection>,
    stream: Box<dyn Stream>,
    session: Box<dyn Session>,
    limits: Limits,
) -> Ended {
    connection.touch(env.now());
    let mut pump = Pump {
        env,
        connection,
        stream,
        session,
        limits,
        input: BytesMut::new(),
        replies: Replies::default(),
        writing: VecDeque::new(),
        writing_bytes: 0,
        turn_open: false,
    };
    let ended = match poll_fn(|cx| pump.poll(cx)).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    pump.connection.close();
    pump.session.on_closed();
    ended
}

enum Never {}

struct Pump {
    env: Env,
    connection: Arc<Connection>,
    stream: Box<dyn Stream>,
    session: Box<dyn Session>,
    limits: Limits,
    input: BytesMut,
    replies: Replies,
    writing: VecDeque<Bytes>,
    writing_bytes: usize,
    /// Frames were handed over and the session has not ended their turn yet.
    turn_open: bool,
}

impl Pump {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Never, Ended>> {
        for _ in 0..TURNS_MAX {
            let ended_turn = self.poll_turn_end(cx);
            let wrote = self.poll_write(cx)?;
            let read = !self.turn_open
                && self.writing_bytes < self.limits.unsent_bytes_high
                && self.poll_read(cx)?;
            if !(ended_turn || wrote || read) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// True if a held turn ended now.
    fn poll_turn_end(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.turn_open {
            return false;
        }
        let ended = self.session.poll_turn_end(cx, &mut self.replies).is_ready();
        self.writing_bytes += self.replies.drain_into(&mut self.writing);
        self.turn_open = !ended;
        ended
    }

    /// True if it must be called again before waiting: the wakers are registered only by a call that does nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let before = self.writing.len();
        match self.connection.take_unsent(&mut self.writing, cx.waker()) {
            Taken::Closed => return Err(Ended::Here),
            Taken::Nothing => {}
            Taken::Some => self.writing_bytes += self.writing.range(before..).map(Bytes::len).sum::<usize>(),
        }
        let taken = self.writing.len() > before;
        let mut wrote = false;
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.writing) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(Ended::Io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.advance(written),
                Poll::Ready(Err(error)) => return Err(Ended::Io(error)),
            }
            wrote = true;
        }
        if wrote {
            self.connection.touch(self.env.now());
        }
        Ok(taken || wrote)
    }

    /// True if bytes came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if self.input.capacity() - self.input.len() < self.limits.read_bytes / 4 {
            self.input.reserve(self.limits.read_bytes);
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(Ended::ByPeer),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(Ended::Io(error)),
        }
        self.connection.touch(self.env.now());
        while let Some(frame) = frame::cut(&mut self.input, self.limits.frame_bytes_max)? {
            if frame.header.is_response() {
                self.connection.on_response(frame);
            } else {
                self.session.on_frame(frame, &mut self.replies);
                self.turn_open = true;
            }
        }
        self.poll_turn_end(cx);
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        self.writing_bytes -= written;
        while let Some(front) = self.writing.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.writing.pop_front();
        }
        assert_eq!(written, 0, "no more was written than was offered");
    }
}
