//! Requests to brokers, one function each: encode, call, decode. No retry, no decision.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::MessageQueue;
use super::RequestError;
use super::SendReceipt;
use super::SendStatus;
use super::instance::Shared;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::protocol::Ext;
use crate::protocol::Frame;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::connection::ConsumerIdList;
use crate::protocol::body::queue::LockBatch;
use crate::protocol::body::queue::LockBatchReply;
use crate::protocol::command::FieldError;
use crate::protocol::command::client::OfConsumerGroup;
use crate::protocol::command::client::UnregisterClient;
use crate::protocol::command::offset::GetMaxOffset;
use crate::protocol::command::offset::OfQueue;
use crate::protocol::command::offset::OffsetReply;
use crate::protocol::command::offset::QueryConsumerOffset;
use crate::protocol::command::offset::SearchOffset;
use crate::protocol::command::offset::UpdateConsumerOffset;
use crate::protocol::command::pull::Pull;
use crate::protocol::command::pull::PullReply;
use crate::protocol::command::query::QueryMessage;
use crate::protocol::command::send::SendBack;
use crate::protocol::command::send::SendHeader;
use crate::protocol::command::send::SendReply;

/// What a pull found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    Found,
    /// Nothing there yet.
    NothingNew,
    /// Nothing that the subscription lets through; go on behind it.
    NothingMatched,
    /// The offset is not one of the queue's any more, or not yet.
    OffsetIllegal,
}

/// The answer to a pull, not decoded further.
#[derive(Debug)]
pub(super) struct PullAnswer {
    pub(super) status: PullStatus,
    pub(super) next: QueueOffset,
    pub(super) min: QueueOffset,
    pub(super) max: QueueOffset,
    /// Which member of the broker group to ask next.
    pub(super) suggested: i64,
    /// Message records.
    pub(super) body: Bytes,
}

impl Shared {
    /// Asks, and takes any answer.
    pub(super) async fn ask(
        &self,
        addr: &str,
        header: Header,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<Frame, RequestError> {
        Ok(self.remoting.call(addr, header, body, timeout_ms).await?)
    }

    pub(super) async fn send_message(
        &self,
        addr: &str,
        code: RequestCode,
        send: &SendHeader<'_>,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<SendReceipt, RequestError> {
        let mut header = Header::request(code);
        send.encode(code, &mut header.ext);
        let answer = self.ask(addr, header, body, timeout_ms).await?;
        let status = match answer.header.response_code() {
            Some(ResponseCode::Success) => SendStatus::Ok,
            Some(ResponseCode::FlushDiskTimeout) => SendStatus::FlushDiskTimeout,
            Some(ResponseCode::SlaveNotAvailable) => SendStatus::SlaveNotAvailable,
            Some(ResponseCode::FlushSlaveTimeout) => SendStatus::FlushSlaveTimeout,
            _ => return Err(refused(addr, &answer)),
        };
        let reply = SendReply::decode(&answer.header).map_err(|error| malformed(addr, &error))?;
        let broker = send.broker_name.unwrap_or_default();
        let id = queue_id(addr, reply.queue_id)?;
        Ok(SendReceipt {
            status,
            message_id: String::new(),
            offset_message_id: reply.msg_id,
            queue: MessageQueue::new(send.topic, broker, id),
            offset: offset(addr, reply.queue_offset)?,
            transaction_id: reply.transaction_id,
        })
    }

    pub(super) async fn pull(
        &self,
        addr: &str,
        pull: &Pull,
        timeout_ms: u64,
    ) -> Result<PullAnswer, RequestError> {
        let header = request(RequestCode::PullMessage, |ext| pull.encode(ext));
        let answer = self.ask(addr, header, Bytes::new(), timeout_ms).await?;
        let status = match answer.header.response_code() {
            Some(ResponseCode::Success) => PullStatus::Found,
            Some(ResponseCode::PullNotFound) => PullStatus::NothingNew,
            Some(ResponseCode::PullRetryImmediately) => PullStatus::NothingMatched,
            Some(ResponseCode::PullOffsetMoved) => PullStatus::OffsetIllegal,
            _ => return Err(refused(addr, &answer)),
        };
        let reply = PullReply::decode(&answer.header).map_err(|error| malformed(addr, &error))?;
        Ok(PullAnswer {
            status,
            next: offset(addr, reply.next_begin_offset)?,
            min: offset(addr, reply.min_offset)?,
            max: offset(addr, reply.max_offset)?,
            suggested: reply.suggest_which_broker_id,
            body: answer.body,
        })
    }

    /// The records that a broker finds by key, as it sends them; none where it finds none.
    pub(super) async fn query_message(
        &self,
        addr: &str,
        query: &QueryMessage,
    ) -> Result<Bytes, RequestError> {
        let header = request(RequestCode::QueryMessage, |ext| query.encode(ext));
        let answer = self.ask(addr, header, Bytes::new(), self.settings.request_timeout_ms).await?;
        match answer.header.response_code() {
            Some(ResponseCode::Success) => Ok(answer.body),
            Some(ResponseCode::QueryNotFound) => Ok(Bytes::new()),
            _ => Err(refused(addr, &answer)),
        }
    }

    /// `None` when the group has no offset for the queue. An error is no answer: nobody starts anywhere on one.
    pub(super) async fn committed(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<QueueOffset>, RequestError> {
        let query = QueryConsumerOffset {
            consumer_group: group.to_owned(),
            topic: queue.topic.to_string(),
            queue_id: wire_id(queue),
            set_zero_if_not_found: None,
        };
        let header = request(RequestCode::QueryConsumerOffset, |ext| query.encode(ext));
        let answer = self.ask(addr, header, Bytes::new(), self.settings.request_timeout_ms).await?;
        match answer.header.response_code() {
            Some(ResponseCode::Success) => offset_of(addr, &answer).map(Some),
            Some(ResponseCode::QueryNotFound) => Ok(None),
            _ => Err(refused(addr, &answer)),
        }
    }

    /// Waits for the broker's acknowledgement.
    pub(super) async fn commit(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        to: QueueOffset,
    ) -> Result<(), RequestError> {
        let update = UpdateConsumerOffset {
            consumer_group: group.to_owned(),
            topic: queue.topic.to_string(),
            queue_id: wire_id(queue),
            commit_offset: wire_offset(to),
        };
        let header = request(RequestCode::UpdateConsumerOffset, |ext| update.encode(ext));
        self.done(addr, header, Bytes::new()).await
    }

    pub(super) async fn max_offset(
        &self,
        addr: &str,
        queue: &MessageQueue,
    ) -> Result<QueueOffset, RequestError> {
        let ask = GetMaxOffset { topic: queue.topic.to_string(), queue_id: wire_id(queue), committed: true };
        self.offset(addr, request(RequestCode::GetMaxOffset, |ext| ask.encode(ext))).await
    }

    pub(super) async fn min_offset(
        &self,
        addr: &str,
        queue: &MessageQueue,
    ) -> Result<QueueOffset, RequestError> {
        let ask = OfQueue { topic: queue.topic.to_string(), queue_id: wire_id(queue) };
        self.offset(addr, request(RequestCode::GetMinOffset, |ext| ask.encode(ext))).await
    }

    /// The first offset stored at or after a time.
    pub(super) async fn offset_at(
        &self,
        addr: &str,
        queue: &MessageQueue,
        time: Timestamp,
    ) -> Result<QueueOffset, RequestError> {
        let ask = SearchOffset {
            topic: queue.topic.to_string(),
            queue_id: wire_id(queue),
            timestamp: time,
            boundary_type: None,
        };
        self.offset(addr, request(RequestCode::SearchOffsetByTimestamp, |ext| ask.encode(ext))).await
    }

    /// Client ids of a group's members, as one broker knows them.
    pub(super) async fn consumer_ids(&self, addr: &str, group: &str) -> Result<Vec<String>, RequestError> {
        let ask = OfConsumerGroup { consumer_group: group.to_owned() };
        let header = request(RequestCode::GetConsumerListByGroup, |ext| ask.encode(ext));
        let answer = self.ask(addr, header, Bytes::new(), self.settings.request_timeout_ms).await?;
        expect_success(addr, &answer)?;
        let list = ConsumerIdList::decode(&answer.body).map_err(|error| malformed(addr, &error))?;
        Ok(list.consumer_id_list)
    }

    /// True if the broker granted (or renewed) the lock of a queue.
    pub(super) async fn lock(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<bool, RequestError> {
        let header = Header::request(RequestCode::LockBatchMq);
        let body = self.lock_body(group, queue);
        let answer = self.ask(addr, header, body, self.settings.request_timeout_ms).await?;
        expect_success(addr, &answer)?;
        let granted = LockBatchReply::decode(&answer.body).map_err(|error| malformed(addr, &error))?;
        let wanted = wire_queue(queue);
        Ok(granted.lock_ok_mq_set.contains(&wanted))
    }

    pub(super) async fn unlock(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<(), RequestError> {
        let header = Header::request(RequestCode::UnlockBatchMq);
        self.done(addr, header, self.lock_body(group, queue)).await
    }

    /// Gives a message back for a later attempt, or to the dead letters.
    pub(super) async fn send_back(&self, addr: &str, back: &SendBack) -> Result<(), RequestError> {
        let header = request(RequestCode::ConsumerSendMsgBack, |ext| back.encode(ext));
        self.done(addr, header, Bytes::new()).await
    }

    pub(super) async fn heartbeat(&self, addr: &str) -> Result<(), RequestError> {
        let body = Bytes::from(self.members.heartbeat(&self.id).encode());
        self.done(addr, Header::request(RequestCode::HeartBeat), body).await
    }

    pub(super) async fn unregister(
        &self,
        addr: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Result<(), RequestError> {
        let leave = UnregisterClient {
            client_id: self.id.clone(),
            producer_group: producer_group.map(str::to_owned),
            consumer_group: consumer_group.map(str::to_owned),
        };
        let header = request(RequestCode::UnregisterClient, |ext| leave.encode(ext));
        self.done(addr, header, Bytes::new()).await
    }

    async fn done(&self, addr: &str, header: Header, body: Bytes) -> Result<(), RequestError> {
        let answer = self.ask(addr, header, body, self.settings.request_timeout_ms).await?;
        expect_success(addr, &answer)
    }

    async fn offset(&self, addr: &str, header: Header) -> Result<QueueOffset, RequestError> {
        let answer = self.ask(addr, header, Bytes::new(), self.settings.request_timeout_ms).await?;
        expect_success(addr, &answer)?;
        offset_of(addr, &answer)
    }

    fn lock_body(&self, group: &str, queue: &MessageQueue) -> Bytes {
        let request = LockBatch {
            client_id: self.id.clone(),
            consumer_group: group.to_owned(),
            mq_set: BTreeSet::from([wire_queue(queue)]),
            only_this_broker: false,
        };
        Bytes::from(request.encode())
    }
}

/// Where the half message of an offset message id is, for END_TRANSACTION.
pub(super) fn commit_log_offset(offset_message_id: &str) -> Option<PhysicalOffset> {
    crate::protocol::ids::parse_offset_message_id(offset_message_id).map(|(_, offset)| offset)
}

pub(super) fn wire_id(queue: &MessageQueue) -> i32 {
    i32::try_from(queue.id.0).expect("queue ids come from the wire, where they are 31 bits")
}

pub(super) fn wire_offset(offset: QueueOffset) -> i64 {
    i64::try_from(offset.0).expect("offsets come from the wire, where they are 63 bits")
}

pub(super) fn wire_queue(queue: &MessageQueue) -> crate::protocol::body::MessageQueue {
    crate::protocol::body::MessageQueue {
        topic: queue.topic.to_string(),
        broker_name: queue.broker.to_string(),
        queue_id: wire_id(queue),
    }
}

fn request(code: RequestCode, encode: impl FnOnce(&mut Ext)) -> Header {
    let mut header = Header::request(code);
    encode(&mut header.ext);
    header
}

fn expect_success(addr: &str, answer: &Frame) -> Result<(), RequestError> {
    match answer.header.response_code() {
        Some(ResponseCode::Success) => Ok(()),
        _ => Err(refused(addr, answer)),
    }
}

fn offset_of(addr: &str, answer: &Frame) -> Result<QueueOffset, RequestError> {
    let reply = OffsetReply::decode(&answer.header).map_err(|error: FieldError| malformed(addr, &error))?;
    offset(addr, reply.offset)
}

/// A negative offset is no position; taken as one it would repeat a queue from its beginning.
fn offset(addr: &str, number: i64) -> Result<QueueOffset, RequestError> {
    match u64::try_from(number) {
        Ok(offset) => Ok(QueueOffset(offset)),
        Err(_) => Err(malformed(addr, &format_args!("offset {number}"))),
    }
}

fn queue_id(addr: &str, number: i32) -> Result<crate::base::QueueId, RequestError> {
    match u32::try_from(number) {
        Ok(id) => Ok(crate::base::QueueId(id)),
        Err(_) => Err(malformed(addr, &format_args!("queue id {number}"))),
    }
}

fn refused(addr: &str, answer: &Frame) -> RequestError {
    let remark = answer.header.remark_text().to_owned();
    RequestError::Refused { by: addr.to_owned(), code: answer.header.code, remark }
}

fn malformed(addr: &str, what: &dyn std::fmt::Display) -> RequestError {
    RequestError::Malformed { by: addr.to_owned(), what: what.to_string() }
}
