//! How a message leaves: checked, given an id, folded, sent to one queue after the other as [`Produce`] decides.

use bytes::Bytes;
use bytes::BytesMut;

use super::MessageQueue;
use super::RequestError;
use super::SendCause;
use super::SendError;
use super::instance::DEFAULT_QUEUES;
use super::instance::Shared;
use super::topic_route::TopicRoute;
use crate::base::Mono;
use crate::base::QueueOffset;
use crate::base::limits::BODY_BYTES_MAX;
use crate::base::limits::PROPERTIES_BYTES_MAX;
use crate::machine::produce::GiveUp;
use crate::machine::produce::Limits;
use crate::machine::produce::Produce;
use crate::machine::produce::Step;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::batch;
use crate::protocol::command::send::SendHeader;
use crate::protocol::compress;
use crate::protocol::message::Message;
use crate::protocol::names;
use crate::protocol::properties::Properties;
use crate::protocol::properties::name;
use crate::protocol::sysflag;

/// How sure the broker was. All four mean that the message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As durable as the broker is configured to make it.
    Ok,
    /// The disk did not confirm in time.
    FlushDiskTimeout,
    /// A slave did not confirm in time.
    FlushSlaveTimeout,
    /// There is no slave that keeps up.
    SlaveNotAvailable,
}

/// Where a message is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendReceipt {
    pub status: SendStatus,
    /// The id that this client gave it, the same over all attempts. Those of a batch are joined by commas.
    pub message_id: String,
    /// The id that says where it is in the broker's log.
    pub offset_message_id: String,
    pub queue: MessageQueue,
    /// The first one's, for a batch.
    pub offset: QueueOffset,
    pub transaction_id: Option<String>,
}

/// Chooses one of the queues of a topic by its index.
pub(super) type Selector<'a> = &'a (dyn Fn(&[MessageQueue]) -> usize + Send + Sync);

pub(super) enum Target<'a> {
    /// Any queue, in turn.
    Any,
    /// The one that is chosen, whatever happens to it.
    Selected(Selector<'a>),
    Queue(&'a MessageQueue),
}

/// A message in the form in which it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: String,
    topic: String,
    flag: i32,
    code: RequestCode,
    sys_flag: i32,
    properties: String,
    body: Bytes,
    reconsume_times: i32,
    max_reconsume_times: Option<i32>,
}

impl Outgoing {
    /// Checks a message and folds its body if it has `compress_over` bytes or more.
    pub(super) fn message(
        shared: &Shared,
        mut message: Message,
        compress_over: usize,
    ) -> Result<Outgoing, SendCause> {
        check(&message)?;
        let id = identify(shared, &mut message);
        let mut reconsume_times = 0;
        let mut max_reconsume_times = None;
        if names::is_retry(&message.topic) {
            // On retry topics these two travel in the header.
            let mut number = |name| message.properties.remove(name).and_then(|text| text.parse::<i32>().ok());
            reconsume_times = number(name::RECONSUME_TIME).unwrap_or(0);
            max_reconsume_times = number(name::MAX_RECONSUME_TIMES);
        }
        let folded = (message.body.len() >= compress_over)
            .then(|| compress::deflate(&message.body, compress::LEVEL_DEFAULT))
            .filter(|folded| folded.len() < message.body.len());
        let (sys_flag, body) = match folded {
            Some(folded) => (sysflag::COMPRESSED, Bytes::from(folded)),
            None => (0, message.body),
        };
        Ok(Outgoing {
            id,
            topic: message.topic,
            flag: message.flag,
            code: RequestCode::SendMessageV2,
            sys_flag,
            properties: encode_properties(&message.properties)?,
            body,
            reconsume_times,
            max_reconsume_times,
        })
    }

    /// Several messages of one topic that are stored together, in one queue.
    pub(super) fn batch(shared: &Shared, messages: Vec<Message>) -> Result<Outgoing, SendCause> {
        let Some(topic) = messages.first().map(|message| message.topic.clone()) else {
            return Err(SendCause::Batch { what: "a batch of no messages" });
        };
        if names::is_retry(&topic) {
            return Err(SendCause::Batch { what: "a batch to a retry topic" });
        }
        let (mut body, mut ids) = (BytesMut::new(), Vec::with_capacity(messages.len()));
        for mut message in messages {
            check(&message)?;
            match () {
                () if message.topic != topic => {
                    return Err(SendCause::Batch { what: "the messages of a batch are of different topics" });
                }
                () if message.delay_level() > 0 => {
                    return Err(SendCause::Batch { what: "a batch cannot be delayed" });
                }
                () => {}
            }
            ids.push(identify(shared, &mut message));
            let properties = Bytes::from(encode_properties(&message.properties)?);
            batch::encode(
                &batch::BatchItem { flag: message.flag, body: message.body, properties },
                &mut body,
            );
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(SendCause::BodyTooLong { bytes: body.len(), bytes_max: BODY_BYTES_MAX });
        }
        Ok(Outgoing {
            id: ids.join(","),
            topic,
            flag: 0,
            code: RequestCode::SendBatchMessage,
            sys_flag: 0,
            properties: String::new(),
            body: body.freeze(),
            reconsume_times: 0,
            max_reconsume_times: None,
        })
    }

    /// The first half of a transaction. `message` must carry the properties that say so.
    pub(super) fn into_half(mut self) -> Outgoing {
        self.sys_flag = sysflag::with_transaction(self.sys_flag, sysflag::TRANSACTION_PREPARED);
        self
    }

    fn header<'a>(&'a self, shared: &Shared, group: &'a str, queue: &'a MessageQueue) -> SendHeader<'a> {
        SendHeader {
            producer_group: group,
            topic: &self.topic,
            default_topic: names::AUTO_CREATE_TOPIC,
            default_topic_queue_nums: DEFAULT_QUEUES.cast_signed(),
            queue_id: super::broker::wire_id(queue),
            sys_flag: self.sys_flag,
            born_timestamp: shared.env.wall(),
            flag: self.flag,
            properties: &self.properties,
            reconsume_times: self.reconsume_times,
            unit_mode: false,
            max_reconsume_times: self.max_reconsume_times,
            batch: self.code == RequestCode::SendBatchMessage,
            broker_name: Some(&queue.broker),
        }
    }
}

/// Sends until it is stored, or until there is no use in going on. With a fixed queue it is tried again only as long as
/// no copy may be stored: whoever chooses the queue wants an order.
pub(super) async fn send(
    shared: &Shared,
    group: &str,
    limits: Limits,
    outgoing: &Outgoing,
    target: Target<'_>,
) -> Result<SendReceipt, SendError> {
    let started = shared.env.now();
    let mut produce = Produce::new(started, limits);
    match attempts(shared, group, &mut produce, outgoing, target).await {
        Ok(mut receipt) => {
            receipt.message_id.clone_from(&outgoing.id);
            Ok(receipt)
        }
        Err(cause) => Err(failed(shared, &outgoing.topic, &produce, started, cause)),
    }
}

/// Sends once and learns nothing about what became of it.
pub(super) async fn send_oneway(
    shared: &Shared,
    group: &str,
    limits: Limits,
    outgoing: &Outgoing,
) -> Result<(), SendError> {
    let started = shared.env.now();
    let mut produce = Produce::new(started, Limits { attempts_max: 1, ..limits });
    let result = async {
        let route = shared.publish_route(&outgoing.topic, produce.left_ms(shared.env.now())).await?;
        let index = choose(shared, &mut produce, &route, &outgoing.topic, None)?.0;
        let queue = &route.writable()[index];
        let addr = address(&route, queue)?;
        let mut header = Header::request(outgoing.code);
        outgoing.header(shared, group, queue).encode(outgoing.code, &mut header.ext);
        shared.remoting.oneway(addr, header, outgoing.body.clone()).await.map_err(RequestError::from)?;
        Ok(())
    };
    let result: Result<(), SendCause> = result.await;
    result.map_err(|cause| failed(shared, &outgoing.topic, &produce, started, cause))
}

/// The error for a message that was refused before anything was sent.
pub(super) fn refused(topic: &str, cause: SendCause) -> SendError {
    SendError { topic: topic.to_owned(), attempts: 0, elapsed_ms: 0, may_be_stored: false, cause }
}

async fn attempts(
    shared: &Shared,
    group: &str,
    produce: &mut Produce,
    outgoing: &Outgoing,
    target: Target<'_>,
) -> Result<SendReceipt, SendCause> {
    let mut fixed: Option<MessageQueue> = None;
    let mut last: Option<SendCause> = None;
    loop {
        let left_ms = produce.left_ms(shared.env.now());
        if fixed.is_some() && produce.may_be_stored() {
            return Err(last.unwrap_or(SendCause::TimeSpent));
        }
        let route = shared.publish_route(&outgoing.topic, left_ms.max(1)).await?;
        if fixed.is_none() {
            fixed = fixed_queue(&route, &target)?;
        }
        let (index, budget_ms) = match choose(shared, produce, &route, &outgoing.topic, fixed.as_ref()) {
            Ok(chosen) => chosen,
            Err(cause) => return Err(last.unwrap_or(cause)),
        };
        let queue = fixed.as_ref().unwrap_or_else(|| &route.writable()[index]);
        let header = outgoing.header(shared, group, queue);
        let sent = match address(&route, queue) {
            Ok(addr) => {
                shared.send_message(addr, outgoing.code, &header, outgoing.body.clone(), budget_ms).await
            }
            Err(error) => Err(error),
        };
        match sent {
            Ok(receipt) => {
                produce.on_stored();
                return Ok(receipt);
            }
            Err(error) => {
                tracing::debug!(topic = outgoing.topic, %queue, %error, "an attempt to send failed");
                produce.on_failed(&queue.broker, error.failure());
                shared.refresh_soon();
                last = Some(SendCause::Request(error));
            }
        }
    }
}

fn fixed_queue(route: &TopicRoute, target: &Target<'_>) -> Result<Option<MessageQueue>, SendCause> {
    match target {
        Target::Any => Ok(None),
        Target::Queue(queue) => Ok(Some((*queue).clone())),
        Target::Selected(_) if route.writable().is_empty() => Err(SendCause::NoQueue),
        Target::Selected(select) => {
            let (index, len) = (select(route.writable()), route.writable().len());
            let queue = route.writable().get(index).ok_or(SendCause::Selector { index, len })?;
            Ok(Some(queue.clone()))
        }
    }
}

fn choose(
    shared: &Shared,
    produce: &mut Produce,
    route: &TopicRoute,
    topic: &str,
    fixed: Option<&MessageQueue>,
) -> Result<(usize, u64), SendCause> {
    let now: Mono = shared.env.now();
    let queues = route.writable();
    let step = match fixed {
        Some(_) => produce.next_to(now, 0),
        None => shared.with_cursor(topic, |cursor| {
            produce.next(now, |index| &*queues[index].broker, queues.len(), cursor)
        }),
    };
    match step {
        Step::Send { index, budget_ms } => Ok((index, budget_ms)),
        Step::GiveUp(GiveUp::NoQueue) => Err(SendCause::NoQueue),
        Step::GiveUp(GiveUp::AttemptsSpent | GiveUp::TimeSpent | GiveUp::Pointless) => {
            Err(SendCause::TimeSpent)
        }
    }
}

fn address<'a>(route: &'a TopicRoute, queue: &MessageQueue) -> Result<&'a str, RequestError> {
    route.master(&queue.broker).ok_or_else(|| RequestError::NoAddress { broker: queue.broker.to_string() })
}

fn failed(shared: &Shared, topic: &str, produce: &Produce, started: Mono, cause: SendCause) -> SendError {
    let elapsed = shared.env.now().since(started).as_millis();
    SendError {
        topic: topic.to_owned(),
        attempts: produce.attempts(),
        elapsed_ms: u64::try_from(elapsed).unwrap_or(u64::MAX),
        may_be_stored: produce.may_be_stored(),
        cause,
    }
}

fn check(message: &Message) -> Result<(), SendCause> {
    names::check_topic(&message.topic)?;
    if message.body.is_empty() {
        return Err(SendCause::BodyEmpty);
    }
    if message.body.len() > BODY_BYTES_MAX {
        return Err(SendCause::BodyTooLong { bytes: message.body.len(), bytes_max: BODY_BYTES_MAX });
    }
    let broken = message.properties.iter().find(|(name, value)| !Properties::is_encodable(name, value));
    match broken {
        Some((name, _)) => Err(SendCause::Property { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// The message's id; it keeps the one it has.
fn identify(shared: &Shared, message: &mut Message) -> String {
    if let Some(id) = message.unique_id() {
        return id.to_owned();
    }
    let id = shared.unique_id();
    message.properties.set(name::UNIQ_KEY, id.clone());
    id
}

fn encode_properties(properties: &Properties) -> Result<String, SendCause> {
    let encoded = properties.encode();
    let (bytes, bytes_max) = (encoded.len(), PROPERTIES_BYTES_MAX);
    if bytes > bytes_max { Err(SendCause::PropertiesTooLong { bytes, bytes_max }) } else { Ok(encoded) }
}
