//! [`TransactionProducer`]: messages that become visible when their sender says so.
//!
//! ```text
//! send half ─▶ stored, invisible ─▶ listener.execute ─▶ END_TRANSACTION: commit / rollback / unknown
//!                       │ no decision in time
//!                       └─▶ broker asks any member of the group ─▶ listener.check ─▶ END_TRANSACTION
//! ```
//!
//! A decision is sent without an answer, as RocketMQ does: if it is lost, the broker asks. So a listener's `check` must be
//! able to decide about a message that another process sent, from what that process left behind.

use std::sync::Arc;

use tokio::sync::mpsc;

pub use crate::protocol::command::transaction::Decision;

use super::Client;
use super::SendCause;
use super::SendError;
use super::SendReceipt;
use super::SendStatus;
use super::StartError;
use super::broker;
use super::member::Check;
use super::producer::Producer;
use super::producer::Settings;
use super::send;
use super::send::Target;
use crate::env::BoxFuture;
use crate::env::Task;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::command::transaction::EndTransaction;
use crate::protocol::message::Message;
use crate::protocol::message::ReceivedMessage;
use crate::protocol::names;
use crate::protocol::properties::name;

/// Checks that wait to be answered; beyond it they are dropped, and the broker asks again.
const CHECKS_MAX: usize = 2_000;

/// Decides about transactions.
pub trait TransactionListener: Send + Sync {
    /// The half message is stored: do what it announces, and say what became of it.
    fn execute<'a>(&'a self, message: &'a Message, transaction_id: &'a str) -> BoxFuture<'a, Decision>;

    /// What became of a message of this group, sent by this process or another one?
    fn check<'a>(&'a self, message: &'a ReceivedMessage) -> BoxFuture<'a, Decision>;
}

/// The end of a transaction as its sender saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionReceipt {
    /// Of the half message; its queue is where the message will be.
    pub half: SendReceipt,
    /// What the listener decided; the broker asks again after [`Decision::Unknown`], and when the decision got lost.
    pub decision: Decision,
}

/// Sends transactions and answers checks. Dropping it leaves the checks to the group's other members.
pub struct TransactionProducer {
    producer: Producer,
    listener: Arc<dyn TransactionListener>,
    _checks: Task,
}

impl TransactionProducer {
    pub(super) fn start(
        client: Client,
        group: String,
        settings: Settings,
        listener: impl TransactionListener + 'static,
    ) -> Result<TransactionProducer, StartError> {
        names::check_group(&group)?;
        let (sender, checks) = mpsc::channel(CHECKS_MAX);
        let membership = client.shared.members.join_producer(&group, Some(sender))?;
        let listener: Arc<dyn TransactionListener> = Arc::new(listener);
        let answering = answer_checks(checks, Arc::clone(&listener), group.clone());
        let task = client.shared.env.spawn("transaction checks", answering);
        let producer = Producer::joined(client, group, settings, membership);
        Ok(TransactionProducer { producer, listener, _checks: task })
    }

    /// The producer of the same group, for plain messages.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Sends a half message, lets the listener execute its transaction, and tells the broker the decision. An error means
    /// that the half message is not stored as promised: the listener was not asked to execute anything.
    pub async fn send_in_transaction(&self, mut message: Message) -> Result<TransactionReceipt, SendError> {
        if message.delay_level() > 0 {
            return Err(send::refused(&message.topic, SendCause::DelayedTransaction));
        }
        message.properties.set(name::TRAN_MSG, "true");
        message.properties.set(name::PRODUCER_GROUP, self.producer.group());
        let outgoing = self.producer.outgoing(message.clone())?.into_half();
        let half = self.producer.send_outgoing(&outgoing, Target::Any).await?;
        message.properties.set(name::UNIQ_KEY, outgoing.id.clone());
        let transaction_id = half.transaction_id.clone().unwrap_or_else(|| outgoing.id.clone());
        let decision = match half.status {
            SendStatus::Ok => self.listener.execute(&message, &transaction_id).await,
            // Not as durable as promised: nothing may depend on it.
            SendStatus::FlushDiskTimeout | SendStatus::FlushSlaveTimeout | SendStatus::SlaveNotAvailable => {
                Decision::Rollback
            }
        };
        self.end(&half, &transaction_id, decision).await;
        Ok(TransactionReceipt { half, decision })
    }

    /// Leaves the group.
    pub async fn stop(self) {
        self.producer.stop().await;
    }

    async fn end(&self, half: &SendReceipt, transaction_id: &str, decision: Decision) {
        let shared = &self.producer.client.shared;
        let Some(commit_log_offset) = broker::commit_log_offset(&half.offset_message_id) else {
            tracing::warn!(id = half.offset_message_id, "not a place in a log: the broker will have to ask");
            return;
        };
        let Some(addr) = shared.master(&half.queue.broker) else { return };
        let end = EndTransaction {
            topic: Some(half.queue.topic.to_string()),
            producer_group: self.producer.group().to_owned(),
            tran_state_table_offset: broker::wire_offset(half.offset),
            commit_log_offset,
            commit_or_rollback: decision.number(),
            from_transaction_check: false,
            msg_id: Some(half.message_id.clone()),
            transaction_id: Some(transaction_id.to_owned()),
            broker_name: Some(half.queue.broker.to_string()),
        };
        let mut header = Header::request(RequestCode::EndTransaction);
        end.encode(&mut header.ext);
        if let Err(error) = shared.remoting.oneway(&addr, header, bytes::Bytes::new()).await {
            tracing::info!(%error, "a decision was not sent: the broker will ask for it");
        }
    }
}

async fn answer_checks(
    mut checks: mpsc::Receiver<Check>,
    listener: Arc<dyn TransactionListener>,
    group: String,
) {
    while let Some(Check { connection, question, message }) = checks.recv().await {
        let decision = listener.check(&message).await;
        let id = message.message.unique_id().map(str::to_owned).or(question.msg_id);
        let end = EndTransaction {
            topic: question.topic.or_else(|| Some(message.message.topic.clone())),
            producer_group: group.clone(),
            tran_state_table_offset: question.tran_state_table_offset,
            commit_log_offset: question.commit_log_offset,
            commit_or_rollback: decision.number(),
            from_transaction_check: true,
            msg_id: id,
            transaction_id: question.transaction_id,
            broker_name: question.broker_name,
        };
        let mut header = Header::request(RequestCode::EndTransaction).oneway();
        end.encode(&mut header.ext);
        connection.send_frame(&header, bytes::Bytes::new());
    }
}
