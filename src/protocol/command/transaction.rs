//! END_TRANSACTION 37 and CHECK_TRANSACTION_STATE 39.

use crate::base::PhysicalOffset;
use crate::protocol::command::field::header;
use crate::protocol::sysflag;

header! {
    /// A producer's decision on a half message. Oneway.
    pub struct EndTransaction {
        topic: Option<String> = "topic",
        producer_group: String = "producerGroup",
        /// The half message's index in the half topic's queue.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        commit_log_offset: PhysicalOffset = "commitLogOffset",
        /// A transaction type of `sysflag`: 0 unknown, 8 commit, 12 rollback.
        commit_or_rollback: i32 = "commitOrRollback",
        from_transaction_check: bool = "fromTransactionCheck" or false,
        /// The half message's unique id.
        msg_id: Option<String> = "msgId",
        transaction_id: Option<String> = "transactionId",
        broker_name: Option<String> = "bname",
    }

    /// A broker asks a producer about a half message, which is the body. Oneway.
    pub struct CheckTransactionState {
        topic: Option<String> = "topic",
        tran_state_table_offset: i64 = "tranStateTableOffset",
        commit_log_offset: PhysicalOffset = "commitLogOffset",
        msg_id: Option<String> = "msgId",
        transaction_id: Option<String> = "transactionId",
        offset_msg_id: Option<String> = "offsetMsgId",
        broker_name: Option<String> = "bname",
    }
}

/// What a producer decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    Commit,
    Rollback,
    /// Not yet: ask again later.
    Unknown,
}

impl Decision {
    /// The wire's number, a transaction type of `sysflag`.
    pub fn number(self) -> i32 {
        match self {
            Decision::Commit => sysflag::TRANSACTION_COMMIT,
            Decision::Rollback => sysflag::TRANSACTION_ROLLBACK,
            Decision::Unknown => sysflag::TRANSACTION_NONE,
        }
    }
}

impl EndTransaction {
    /// `None` if the number is no decision.
    pub fn decision(&self) -> Option<Decision> {
        match self.commit_or_rollback {
            sysflag::TRANSACTION_COMMIT => Some(Decision::Commit),
            sysflag::TRANSACTION_ROLLBACK => Some(Decision::Rollback),
            sysflag::TRANSACTION_NONE => Some(Decision::Unknown),
            _ => None,
        }
    }
}
