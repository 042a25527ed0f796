//! END_TRANSACTION (37): a producer decides on its half message. Ordinarily oneway; answered once settled if not.

use std::sync::Arc;

use crate::base::QueueOffset;
use crate::broker::answer::Answer;
use crate::broker::answer::ReplyTo;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::driver::transaction::Waiter;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::transaction::Decision;
use crate::machine::transaction::End;
use crate::protocol::command::transaction;
use crate::protocol::command::transaction::EndTransaction;

pub(crate) fn end(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = EndTransaction::decode(&request.frame.header)?;
    let decision = match asked.decision() {
        Some(transaction::Decision::Commit) => Decision::Commit,
        Some(transaction::Decision::Rollback) => Decision::Rollback,
        Some(transaction::Decision::Unknown) => Decision::Unknown,
        // RocketMQ logs it and answers nothing.
        None => return Ok(Answer::Now(Response::ok())),
    };
    let end = End {
        record: QueueOffset(u64::try_from(asked.tran_state_table_offset).unwrap_or(u64::MAX)),
        physical: asked.commit_log_offset,
        group: &asked.producer_group,
        decision,
        checked: asked.from_transaction_check,
    };
    let waiter =
        Waiter { to: ReplyTo::request(&request.frame.header), connection: Arc::clone(&request.connection) };
    let mut effects = Vec::new();
    core.transactions.lock().end(core.env.now(), end, waiter, &mut effects);
    core.transact(effects);
    Ok(Answer::Held)
}
