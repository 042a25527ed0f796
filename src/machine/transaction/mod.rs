//! Transactional messages: half messages, who decides on them, and who is asked when nobody does.
//!
//! ```text
//!                         end(commit)              on_real_appended
//!   half ──▶ undecided ───────────────▶ applying ──────────────────▶ settling ──▶ settled, forgotten
//!             │  ▲   │    end(rollback)                                 ▲  │ (op record)
//!             │  │   └──────────────────────────────────────────────────┤  ▼
//!        Check│  │ end(unknown), heard of, lost    on_discard_appended  │ AppendOp ── on_op_appended
//!             ▼  │          checks used up: Discard ────────────────────┤
//!            asked                                  unreadable ─────────┘
//! ```
//!
//! Invariants:
//!
//! * the first decision on a half wins; it is settled once, and a second decision is told which was first, but not
//!   before the first is durable;
//! * a real message is appended only after a commit; the op record only after the real message is durable. A crash in
//!   between never loses; it does not commit again either where recovery tells of the committed messages it has seen
//!   ([`History::committed`]);
//! * a half is discarded only after `checks_max` *delivered* checks (rmq#8311 counted those that nobody got);
//! * the half queue's progress passes only settled records and superseded copies; the op queue's only records that
//!   speak of nothing beyond that. Replaying both queues from there gives the live state again: [`Transactions::replay`].
//!
//! **Delivered** is a check that was answered, be it by "unknown"; or whose receiver was heard of, later and over the same
//! connection, before the next check is due. One that left over a connection which then ended, or fell silent, does not
//! count, and somebody else is asked. RocketMQ counts what it tried to send.
//!
//! **Counting checks.** RocketMQ stores the whole half message again before each check, with one more in its
//! TRANSACTION_CHECK_TIMES. Here a delivered check is a few bytes in the op topic (tag `c`, which RocketMQ skips), and
//! the half stays what it is: an offset a client has once been told is good until the transaction is settled, so a late
//! decision finds it, where RocketMQ may commit both the old and the new copy (rmq#10199).
//!
//! **Carrying.** An undecided half holds back the half queue's progress, and its record will be deleted with the log's
//! old files. So one that is `carry_after` old, or too far behind the queue's end, is stored again at the end, its first
//! offset and its count in its properties. How far is too far grows with the number of undecided halves, so that halves
//! of a departed group do not chase each other round for ever. A half is never dropped for its age: RocketMQ drops it
//! after three days, asked or not.
//!
//! **Time** is monotonic, counted from the append; a wall clock that jumps neither hastens nor hinders checks. The
//! sender's CHECK_IMMUNITY_TIME_IN_SECONDS takes the place of `timeout`. It does not refuse late decisions (RocketMQ's
//! 604): they cannot collide with another copy here.
//!
//! Not here: reading and appending messages, choosing the producer to ask, the END_TRANSACTION header.

mod check;
mod form;
mod op;
mod replay;
mod state;

pub use form::DISCARD_TOPIC;
pub use form::HALF_TOPIC;
pub use form::HalfRecord;
pub use form::OP_TOPIC;
pub use form::RealForm;
pub use form::RealFormError;
pub use form::TRANSACTION_GROUP;
pub use form::carried_form;
pub use form::half_form;
pub use form::real_form;
pub use op::Op;
pub use replay::History;
pub use state::Transactions;

use std::time::Duration;

use thiserror::Error;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::machine::ids::ConnectionId;

#[derive(Clone, Copy, Debug)]
pub struct TransactionLimits {
    /// From a half's append to its first check (`transactionTimeOut`).
    pub timeout: Duration,
    /// Between checks of one half (`transactionCheckInterval`).
    pub check_interval: Duration,
    /// Delivered checks before a half is discarded (`transactionCheckMax`).
    pub checks_max: u32,
    /// Undecided halves; beyond it no transaction begins.
    pub undecided_max: usize,
    /// Checks asked for and not reported.
    pub checks_in_flight_max: usize,
    /// Requests waiting for one half to be settled.
    pub waiting_max: usize,
    /// Bytes of an op record's body, but for its last entry (`transactionOpMsgMaxSize`).
    pub op_body_bytes_max: usize,
    /// A half this many offsets behind the half queue's end is carried forward.
    pub carry_lag_max: u64,
    /// A half stored this long ago is carried forward. Well below `fileReservedTime`.
    pub carry_after: Duration,
    /// Wait before a failed append is asked for again.
    pub retry_after: Duration,
    /// Settled halves whose decision is remembered for those who ask again.
    pub remembered_max: usize,
    /// Planted bug, for testing the tests: count checks that nobody got.
    pub planted_count_undelivered: bool,
}

impl Default for TransactionLimits {
    fn default() -> TransactionLimits {
        TransactionLimits {
            timeout: Duration::from_secs(6),
            check_interval: Duration::from_secs(30),
            checks_max: 15,
            undecided_max: 200_000,
            checks_in_flight_max: 256,
            waiting_max: 16,
            op_body_bytes_max: 4096,
            carry_lag_max: 100_000,
            carry_after: Duration::from_secs(24 * 3600),
            retry_after: Duration::from_secs(1),
            remembered_max: 4096,
            planted_count_undelivered: false,
        }
    }
}

/// What a producer says of its half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Commit,
    Rollback,
    /// It does not know yet: nothing changes, it will be asked again.
    Unknown,
}

/// How a half ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    RolledBack,
    /// Moved to the discard topic.
    Discarded,
    /// Its record cannot be read: there is nothing to commit or to show (rmq#9500).
    Unreadable,
}

/// An END_TRANSACTION.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// `tranStateTableOffset`
    pub record: QueueOffset,
    /// `commitLogOffset`
    pub physical: PhysicalOffset,
    /// `producerGroup`
    pub group: &'a str,
    pub decision: Decision,
    /// `fromTransactionCheck`: it answers a check.
    pub checked: bool,
}

/// The answer to an END_TRANSACTION that did what it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Settled as asked, and durable; by this request or an earlier one.
    Settled,
    /// The decision was "unknown".
    StillUndecided,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndError {
    /// SYSTEM_ERROR
    #[error("the half message is not there, or was settled some time ago")]
    NotFound,
    /// SYSTEM_ERROR
    #[error("the half message is of another producer group")]
    WrongGroup,
    /// SYSTEM_ERROR
    #[error("the half message is at another commit log offset")]
    WrongPhysicalOffset,
    /// SYSTEM_ERROR
    #[error("the half message has been settled otherwise: {0:?}")]
    AlreadySettled(Outcome),
    /// SYSTEM_ERROR: the half is undecided again and will be checked.
    #[error("the real message could not be stored")]
    NotStored,
    /// SYSTEM_BUSY
    #[error("too many requests wait for this half message")]
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Append the half at `physical` in its real form; then `on_real_appended` once that is durable,
    /// `on_append_failed`, or `on_unreadable`.
    AppendReal { origin: QueueOffset, record: QueueOffset, physical: PhysicalOffset },
    /// Append the half to the discard topic; then `on_discard_appended`, `on_append_failed`, or `on_unreadable`.
    AppendDiscard { origin: QueueOffset, physical: PhysicalOffset },
    /// Append the half to the half queue in its carried form; then `on_carried`, `on_append_failed`, or
    /// `on_unreadable`.
    Carry { origin: QueueOffset, physical: PhysicalOffset, checks: u32 },
    /// Append a record to the op topic; then `on_op_appended` once it is durable, or `on_op_failed`. One at a time.
    AppendOp { op: Op },
    /// Ask one live member of the group; then `on_check_sent` if the request left, `on_check_undeliverable` if
    /// there was nobody to send it to, or `on_unreadable`.
    Check { origin: QueueOffset, record: QueueOffset, physical: PhysicalOffset, group: String },
    /// Say whether the member of the group at this connection has been heard of since: `on_check_delivered`, or
    /// `on_check_undeliverable`.
    Confirm { origin: QueueOffset, connection: ConnectionId, since: Mono, group: String },
    /// Answer an END_TRANSACTION.
    Answer { token: T, result: Result<Ended, EndError> },
    /// Progress to commit for [`TRANSACTION_GROUP`], both or neither.
    Advance { half: QueueOffset, op: QueueOffset },
}

#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;
