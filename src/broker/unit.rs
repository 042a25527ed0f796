//! The messages of one turn of one connection, appended to the log as one unit.
//!
//! ```text
//! handler::send ─ stage ─▶ Unit ─ append (one lock, one copy) ─▶ answers now            (async flush)
//!                                                            └─▶ Waiting, until durable (sync flush)
//! ```

use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::broker::answer::ReplyTo;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::protocol::code::ResponseCode;
use crate::protocol::record::NewRecord;
use crate::protocol::text::Text;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::store::AppendError;
use crate::store::Appended;

/// What one turn wants appended, and whom to answer.
#[derive(Default)]
pub(crate) struct Unit {
    records: Vec<NewRecord>,
    staged: Vec<Staged>,
    appended: Vec<Appended>,
    /// Where handlers build property blocks: one allocation serves many messages.
    pub(crate) scratch: BytesMut,
}

/// One request of the unit.
pub(crate) struct Staged {
    pub(crate) to: ReplyTo,
    pub(crate) kind: Kind,
    /// False when the sender asked not to wait for the disk (property WAIT=false).
    pub(crate) wait: bool,
    /// How many records of the unit belong to the request.
    pub(crate) records: usize,
}

/// What the request was, as far as its answer differs.
pub(crate) enum Kind {
    Send {
        queue: QueueId,
    },
    /// A half message: the transaction machine is told where it is, and the producer how to name it.
    Half {
        queue: QueueId,
        transaction_id: String,
    },
    SendBack,
}

/// An answer that waits for the disk.
pub(crate) struct Owed {
    pub(crate) to: ReplyTo,
    pub(crate) response: Response,
    /// The answer's code if the disk does not keep its promise in time.
    pub(crate) late: ResponseCode,
}

impl Unit {
    pub(crate) fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    pub(crate) fn stage(&mut self, staged: Staged, records: impl IntoIterator<Item = NewRecord>) {
        let before = self.records.len();
        self.records.extend(records);
        assert_eq!(
            self.records.len() - before,
            staged.records,
            "a staged request brings the records it counts"
        );
        self.staged.push(staged);
    }

    /// Appends everything staged. Pending when the log cannot take it right now: nothing was appended then.
    pub(crate) fn append(
        &mut self,
        core: &Arc<Core>,
        connection: &Arc<Connection>,
        replies: &mut Replies,
    ) -> Poll<()> {
        self.appended.clear();
        match core.store.append(&self.records, &mut self.appended) {
            Ok(()) => self.on_appended(core, connection, replies),
            Err(AppendError::NotReady) => return Poll::Pending,
            Err(error) => self.on_refused(core, error, replies),
        }
        self.records.clear();
        Poll::Ready(())
    }

    fn on_appended(&mut self, core: &Arc<Core>, connection: &Arc<Connection>, replies: &mut Replies) {
        assert_eq!(self.appended.len(), self.records.len(), "a unit is appended whole or not at all");
        core.counters.on_put(&self.records, &self.appended);
        let mut end = PhysicalOffset(0);
        let mut owed = Vec::new();
        let mut records = self.records.as_slice();
        let mut appended = self.appended.as_slice();
        for staged in self.staged.drain(..) {
            let (own_records, rest) = records.split_at(staged.records);
            records = rest;
            let (own, rest) = appended.split_at(staged.records);
            appended = rest;
            if let (Kind::Half { .. }, [record], [at]) = (&staged.kind, own_records, own) {
                core.on_half_appended(record, at);
            }
            let response = response(core, &staged.kind, own);
            if staged.wait && core.waits_for_disk() {
                end = own.last().map_or(end, Appended::end);
                owed.push(Owed { to: staged.to, response, late: ResponseCode::FlushDiskTimeout });
            } else {
                staged.to.answer(response, replies);
            }
        }
        if !owed.is_empty() {
            core.waiting.push(core.env.now(), end, connection, owed);
        }
        core.publish();
    }

    fn on_refused(&mut self, core: &Core, error: AppendError, replies: &mut Replies) {
        core.counters.on_put_failed(self.staged.len());
        let refusal = Refusal::from(error);
        tracing::warn!(requests = self.staged.len(), %refusal, "messages were not stored");
        let (code, remark) = (refusal.code(), Text::from(refusal.to_string()));
        for staged in self.staged.drain(..) {
            staged.to.answer(Response::code(code).with_remark(remark.clone()), replies);
        }
    }
}

fn response(core: &Core, kind: &Kind, appended: &[Appended]) -> Response {
    match kind {
        Kind::SendBack => Response::ok(),
        Kind::Send { queue } => core.send_response(*queue, None, appended),
        Kind::Half { queue, transaction_id } => core.send_response(*queue, Some(transaction_id), appended),
    }
}
