//! The groups that this client is in, and what brokers ask of it.
//!
//! ```text
//! 39 CHECK_TRANSACTION_STATE        ─▶ the producer of the message's group
//! 40 NOTIFY_CONSUMER_IDS_CHANGED    ─▶ the consumer divides its queues again
//! 220 RESET_CONSUMER_CLIENT_OFFSET  ─▶ the consumer starts elsewhere
//! 221, 307 status, running info     ─▶ answered here
//! 309 CONSUME_MESSAGE_DIRECTLY      ─▶ the consumer's handler, then answered
//! ```
//!
//! A request for a group that is not here is refused; a oneway one is dropped: the broker learns of it by heartbeat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::StartError;
use super::instance::Shared;
use super::instance::join_all;
use crate::base::limits::BODY_BYTES_MAX;
use crate::env::BoxFuture;
use crate::env::Env;
use crate::protocol::Frame;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::MessageQueue;
use crate::protocol::body::heartbeat::ConsumerData;
use crate::protocol::body::heartbeat::Heartbeat;
use crate::protocol::body::heartbeat::ProducerData;
use crate::protocol::body::offset::ConsumerStatusBody;
use crate::protocol::body::offset::ResetOffsetBody;
use crate::protocol::body::running::ConsumeMessageDirectlyResult;
use crate::protocol::body::running::ConsumerRunningInfo;
use crate::protocol::command::client::ConsumeMessageDirectly;
use crate::protocol::command::client::GetConsumerRunningInfo;
use crate::protocol::command::client::GetConsumerStatus;
use crate::protocol::command::client::OfConsumerGroup;
use crate::protocol::command::offset::ResetOffset;
use crate::protocol::command::transaction::CheckTransactionState;
use crate::protocol::message::ReceivedMessage;
use crate::protocol::properties::name;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::remoting::Serve;
use crate::remoting::Session;

/// A body that was folded by somebody may unfold into as much: what brokers accept, and some room.
pub(super) const UNFOLDED_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// A consumer, as brokers see it.
pub(super) trait Consumer: Send + Sync {
    fn data(&self) -> ConsumerData;
    fn rebalance_soon(&self);
    /// Starts the queues of a topic elsewhere.
    fn reset(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>);
    /// What may be committed, by queue.
    fn positions(&self, topic: &str) -> BTreeMap<MessageQueue, i64>;
    fn running_info(&self) -> ConsumerRunningInfo;
    /// Hands one message to the handler, and says how it fared. Nothing is committed.
    fn consume_directly(
        self: Arc<Self>,
        broker: String,
        message: ReceivedMessage,
    ) -> BoxFuture<'static, ConsumeMessageDirectlyResult>;
}

/// A broker wants to know what became of a transaction.
pub(super) struct Check {
    /// The answer goes back where the question came from.
    pub(super) connection: Arc<Connection>,
    pub(super) question: CheckTransactionState,
    pub(super) message: ReceivedMessage,
}

#[derive(Default)]
pub(super) struct Members {
    /// Brokers should hear of the members, now.
    pub(super) beat: Notify,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    producers: BTreeMap<String, Option<mpsc::Sender<Check>>>,
    consumers: BTreeMap<String, Weak<dyn Consumer>>,
}

/// A place in a group; dropping it leaves the group.
pub(super) struct Membership {
    members: Arc<Members>,
    kind: Kind,
    group: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Producer,
    Consumer,
}

impl Members {
    /// Joins as the producer of a group; `checks` takes what brokers ask about transactions.
    pub(super) fn join_producer(
        self: &Arc<Members>,
        group: &str,
        checks: Option<mpsc::Sender<Check>>,
    ) -> Result<Membership, StartError> {
        let mut table = self.table.lock();
        if table.producers.contains_key(group) {
            return Err(StartError::Duplicate { kind: "producer", group: group.to_owned() });
        }
        table.producers.insert(group.to_owned(), checks);
        Ok(Membership { members: Arc::clone(self), kind: Kind::Producer, group: group.to_owned() })
    }

    pub(super) fn join_consumer(
        self: &Arc<Members>,
        group: &str,
        consumer: Weak<dyn Consumer>,
    ) -> Result<Membership, StartError> {
        let mut table = self.table.lock();
        if table.consumers.contains_key(group) {
            return Err(StartError::Duplicate { kind: "consumer", group: group.to_owned() });
        }
        table.consumers.insert(group.to_owned(), consumer);
        Ok(Membership { members: Arc::clone(self), kind: Kind::Consumer, group: group.to_owned() })
    }

    pub(super) fn is_empty(&self) -> bool {
        let table = self.table.lock();
        table.producers.is_empty() && table.consumers.is_empty()
    }

    pub(super) fn has_consumers(&self) -> bool {
        !self.table.lock().consumers.is_empty()
    }

    pub(super) fn heartbeat(&self, client_id: &str) -> Heartbeat {
        let groups: Vec<String> = self.table.lock().producers.keys().cloned().collect();
        Heartbeat {
            client_id: client_id.to_owned(),
            consumer_data_set: self.consumers().iter().map(|consumer| consumer.data()).collect(),
            producer_data_set: groups.into_iter().map(|group_name| ProducerData { group_name }).collect(),
            ..Heartbeat::default()
        }
    }

    pub(super) fn routes_changed(&self) {
        for consumer in self.consumers() {
            consumer.rebalance_soon();
        }
    }

    fn consumers(&self) -> Vec<Arc<dyn Consumer>> {
        self.table.lock().consumers.values().filter_map(Weak::upgrade).collect()
    }

    fn consumer(&self, group: &str) -> Option<Arc<dyn Consumer>> {
        self.table.lock().consumers.get(group).and_then(Weak::upgrade)
    }

    fn checks(&self, group: &str) -> Option<mpsc::Sender<Check>> {
        self.table.lock().producers.get(group).cloned().flatten()
    }
}

impl Membership {
    /// Leaves the group and tells the brokers, so that they need not wait for the next heartbeat.
    pub(super) async fn leave(self, shared: &Shared) {
        let (kind, group) = (self.kind, self.group.clone());
        drop(self);
        let (producer, consumer) = match kind {
            Kind::Producer => (Some(group.as_str()), None),
            Kind::Consumer => (None, Some(group.as_str())),
        };
        let addrs = shared.broker_addrs();
        let leaving: Vec<BoxFuture<'_, ()>> = addrs
            .iter()
            .map(|addr| -> BoxFuture<'_, ()> {
                Box::pin(async move {
                    if let Err(error) = shared.unregister(addr, producer, consumer).await {
                        tracing::info!(broker = addr, %error, "left without a word");
                    }
                })
            })
            .collect();
        join_all(leaving).await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut table = self.members.table.lock();
        match self.kind {
            Kind::Producer => drop(table.producers.remove(&self.group)),
            Kind::Consumer => drop(table.consumers.remove(&self.group)),
        }
    }
}

/// Answers what brokers ask over the client's connections.
pub(super) struct FromBrokers {
    env: Env,
    members: Arc<Members>,
}

impl FromBrokers {
    pub(super) fn new(env: &Env, members: Arc<Members>) -> FromBrokers {
        FromBrokers { env: env.clone(), members }
    }
}

impl Serve for FromBrokers {
    fn open(&self, connection: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(FromBroker {
            env: self.env.clone(),
            members: Arc::clone(&self.members),
            connection: Arc::clone(connection),
        })
    }
}

struct FromBroker {
    env: Env,
    members: Arc<Members>,
    connection: Arc<Connection>,
}

impl Session for FromBroker {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        let answer = self.answer(&frame);
        if let Some((header, body)) = answer
            && !frame.header.is_oneway()
        {
            replies.push(&header, body);
        }
    }

    fn on_closed(&mut self) {
        // The broker forgot this client with the connection: its groups must hear from it again.
        self.members.beat.notify_one();
    }
}

impl FromBroker {
    /// `None` when the answer comes later, or not at all.
    fn answer(&self, frame: &Frame) -> Option<(Header, Bytes)> {
        let header = &frame.header;
        let result = match header.request_code() {
            Some(RequestCode::CheckTransactionState) => self.check_transaction(frame).map(|()| Bytes::new()),
            Some(RequestCode::NotifyConsumerIdsChanged) => self.ids_changed(frame).map(|()| Bytes::new()),
            Some(RequestCode::ResetConsumerClientOffset) => self.reset(frame).map(|()| Bytes::new()),
            Some(RequestCode::GetConsumerStatusFromClient) => self.status(frame),
            Some(RequestCode::GetConsumerRunningInfo) => self.running_info(frame),
            Some(RequestCode::ConsumeMessageDirectly) => match self.consume_directly(frame) {
                Ok(()) => return None,
                Err(refusal) => Err(refusal),
            },
            _ => {
                let remark = format!(" request type {} not supported", header.code);
                let answer = Header::response_to(header, ResponseCode::RequestCodeNotSupported);
                return Some((answer.with_remark(remark), Bytes::new()));
            }
        };
        match result {
            Ok(body) => Some((Header::response_to(header, ResponseCode::Success), body)),
            Err(remark) => {
                tracing::debug!(code = header.code, remark, "cannot answer a broker");
                let answer = Header::response_to(header, ResponseCode::SystemError).with_remark(remark);
                Some((answer, Bytes::new()))
            }
        }
    }

    fn check_transaction(&self, frame: &Frame) -> Result<(), String> {
        let question = CheckTransactionState::decode(&frame.header).map_err(|error| error.to_string())?;
        let message = ReceivedMessage::from_record(&frame.body, UNFOLDED_BYTES_MAX);
        let message = message.map_err(|error| error.to_string())?;
        let group = message.message.properties.value(name::PRODUCER_GROUP).unwrap_or_default();
        let Some(checks) = self.members.checks(group) else {
            return Err(format!("no transaction producer of group {group} is here"));
        };
        let check = Check { connection: Arc::clone(&self.connection), question, message };
        checks.try_send(check).map_err(|_| "too many checks wait already".to_owned())
    }

    fn ids_changed(&self, frame: &Frame) -> Result<(), String> {
        let of = OfConsumerGroup::decode(&frame.header).map_err(|error| error.to_string())?;
        self.consumer(&of.consumer_group)?.rebalance_soon();
        Ok(())
    }

    fn reset(&self, frame: &Frame) -> Result<(), String> {
        let reset = ResetOffset::decode(&frame.header).map_err(|error| error.to_string())?;
        let body = ResetOffsetBody::decode(&frame.body).map_err(|error| error.to_string())?;
        self.consumer(&reset.group)?.reset(&reset.topic, body.offset_table);
        Ok(())
    }

    fn status(&self, frame: &Frame) -> Result<Bytes, String> {
        let asked = GetConsumerStatus::decode(&frame.header).map_err(|error| error.to_string())?;
        let positions = self.consumer(&asked.group)?.positions(&asked.topic);
        let body = ConsumerStatusBody { message_queue_table: positions, ..ConsumerStatusBody::default() };
        Ok(Bytes::from(body.encode()))
    }

    fn running_info(&self, frame: &Frame) -> Result<Bytes, String> {
        let asked = GetConsumerRunningInfo::decode(&frame.header).map_err(|error| error.to_string())?;
        Ok(Bytes::from(self.consumer(&asked.consumer_group)?.running_info().encode()))
    }

    fn consume_directly(&self, frame: &Frame) -> Result<(), String> {
        let asked = ConsumeMessageDirectly::decode(&frame.header).map_err(|error| error.to_string())?;
        let message = ReceivedMessage::from_record(&frame.body, UNFOLDED_BYTES_MAX);
        let message = message.map_err(|error| error.to_string())?;
        let consumer = self.consumer(&asked.consumer_group)?;
        let connection = Arc::clone(&self.connection);
        let answer = Header::response_to(&frame.header, ResponseCode::Success);
        let handled = async move {
            let result = consumer.consume_directly(asked.broker_name.unwrap_or_default(), message).await;
            connection.send_frame(&answer, Bytes::from(result.encode()));
        };
        self.env.spawn("consume directly", handled).detach();
        Ok(())
    }

    fn consumer(&self, group: &str) -> Result<Arc<dyn Consumer>, String> {
        self.members.consumer(group).ok_or_else(|| format!("no consumer of group {group} is here"))
    }
}
