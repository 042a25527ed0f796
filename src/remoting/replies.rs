//! The answers of one turn, gathered so that they leave in one vectored write.

use std::collections::VecDeque;

use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::frame;
use crate::protocol::header::Header;

/// Bodies up to this size are copied behind their header; larger ones travel as slices.
const COPY_BYTES_MAX: usize = 4 * 1024;

#[derive(Default)]
pub struct Replies {
    /// Frames encoded back to back; cut off when a slice must follow.
    open: BytesMut,
    closed: VecDeque<Bytes>,
}

impl Replies {
    /// Queues one frame.
    pub fn push(&mut self, header: &Header, body: Bytes) {
        if body.len() <= COPY_BYTES_MAX {
            frame::encode_with_body(header, &body, &mut self.open);
        } else {
            self.push_slices(header, body.len(), std::iter::once(body));
        }
    }

    /// Queues one frame whose body is `slices`, `body_len` bytes in all, without copying them.
    pub fn push_slices(&mut self, header: &Header, body_len: usize, slices: impl IntoIterator<Item = Bytes>) {
        frame::encode(header, body_len, &mut self.open);
        self.close();
        let before = self.closed.len();
        self.closed.extend(slices);
        let sent: usize = self.closed.range(before..).map(Bytes::len).sum();
        assert_eq!(sent, body_len, "a frame's slices are as long as its length field says");
    }

    /// Queues frames that were encoded before.
    pub fn push_encoded(&mut self, frames: Bytes) {
        self.close();
        if !frames.is_empty() {
            self.closed.push_back(frames);
        }
    }

    /// Takes everything queued, in order.
    pub fn take(&mut self) -> VecDeque<Bytes> {
        self.close();
        std::mem::take(&mut self.closed)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    /// Moves everything queued to the end of `out`; returns its bytes.
    pub(super) fn drain_into(&mut self, out: &mut VecDeque<Bytes>) -> usize {
        self.close();
        let bytes = self.closed.iter().map(Bytes::len).sum();
        out.append(&mut self.closed);
        bytes
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push_back(self.open.split().freeze());
        }
    }
}
