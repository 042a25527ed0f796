//! Why the broker refuses a request, and the response code of each reason. The only place where the two meet.

use std::net::SocketAddr;

use thiserror::Error;

use crate::broker::answer::Response;
use crate::machine::retry::RetryError;
use crate::machine::subscription_group::GroupError;
use crate::machine::topic::TopicError;
use crate::machine::transaction::EndError;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::FieldError;
use crate::store::AppendError;
use crate::store::FlushError;
use crate::store::ReadError;
use crate::store::UpkeepError;
use crate::store::config_file::SaveError;

#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Field(#[from] FieldError),
    #[error("the body of {what} cannot be read: {cause}")]
    Body { what: &'static str, cause: String },
    #[error(" request type {0} not supported")]
    UnknownCode(i32),
    #[error(" request type {} ({}) not supported by this broker; docs/COMPAT.md lists what is", .0.number(), .0.name())]
    Unsupported(RequestCode),
    #[error(
        "topic[{topic}] not exist, apply first please! Create it with updateTopic, or set autoCreateTopicEnable=true"
    )]
    TopicMissing { topic: String },
    #[error("topic name {topic:?} is refused: {cause}")]
    TopicName { topic: String, cause: String },
    #[error("the topic[{topic}] is conflict with system topic, sending to it is forbidden")]
    SystemTopic { topic: String },
    #[error("the {what} of this broker[{broker}] is forbidden")]
    NoPermission { what: String, broker: String },
    #[error("request queueId[{queue}] is illegal, topic {topic} has {queues} queues on this broker")]
    QueueIllegal { topic: String, queue: i64, queues: u32 },
    #[error("the message is {measured} bytes, more than the limit of {limit}; {what}")]
    TooLarge { what: &'static str, measured: usize, limit: usize },
    #[error("{0}")]
    Illegal(String),
    #[error(
        "subscription group [{group}]: {error}; create it with updateSubGroup, or set autoCreateSubscriptionGroup=true"
    )]
    Group { group: String, error: GroupError },
    #[error(
        "topic[{topic}] not exist, apply first please! {error}: create it with updateTopic, or set autoCreateTopicEnable=true"
    )]
    Topic { topic: String, error: TopicError },
    #[error("consumer group [{group}]: {error}")]
    Retry { group: String, error: RetryError },
    #[error("{0}")]
    Transaction(EndError),
    #[error("queueId[{queue}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}]")]
    PullQueue { topic: String, queue: i32, queues: u32 },
    /// There is no such message, offset or key.
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Flush(FlushError),
    #[error("{0}")]
    Upkeep(UpkeepError),
    #[error("{0}")]
    Save(SaveError),
    #[error("{0}")]
    Parameter(String),
    #[error("the producer group [{group}] has no live member on this broker")]
    NoProducer { group: String },
    #[error("the consumer's group info not exist: {group} has no live member on this broker")]
    GroupOffline { group: String },
    #[error("the consumer's subscription not exist: {group} does not subscribe {topic}")]
    NotSubscribed { group: String, topic: String },
    #[error("the consumer's subscription of {topic} in {group} is older than the request's")]
    SubscriptionStale { group: String, topic: String },
    #[error("The broker does not support consumer to filter message by {kind}")]
    FilterUnsupported { kind: String },
    #[error("no consumer for this group, {group}")]
    NoConsumer { group: String },
    #[error("{what} [{name}] is not online on this broker")]
    NotOnline { what: &'static str, name: String },
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("client {address} did not answer: {cause}")]
    Peer { address: SocketAddr, cause: String },
}

impl Refusal {
    pub(crate) fn code(&self) -> ResponseCode {
        match self {
            Refusal::Field(_)
            | Refusal::Body { .. }
            | Refusal::NoProducer { .. }
            | Refusal::Upkeep(_)
            | Refusal::Save(_) => ResponseCode::SystemError,
            Refusal::Peer { .. } | Refusal::NoConsumer { .. } => ResponseCode::SystemError,
            Refusal::UnknownCode(_) | Refusal::Unsupported(_) => ResponseCode::RequestCodeNotSupported,
            Refusal::TopicMissing { .. } => ResponseCode::TopicNotExist,
            Refusal::Parameter(_) | Refusal::TopicName { .. } | Refusal::QueueIllegal { .. } => {
                ResponseCode::InvalidParameter
            }
            Refusal::SystemTopic { .. } | Refusal::NoPermission { .. } => ResponseCode::NoPermission,
            Refusal::TooLarge { .. } | Refusal::Illegal(_) => ResponseCode::MessageIllegal,
            Refusal::Group { error: GroupError::Name(_), .. } => ResponseCode::InvalidParameter,
            Refusal::Group { error: GroupError::Full, .. } => ResponseCode::SystemError,
            Refusal::Group { error: GroupError::NotExist, .. } => ResponseCode::SubscriptionGroupNotExist,
            Refusal::Topic { error: TopicError::NotExist, .. } => ResponseCode::TopicNotExist,
            Refusal::Topic { error: TopicError::Full, .. } => ResponseCode::SystemError,
            Refusal::Topic { error: TopicError::Queues(_), .. } => ResponseCode::InvalidParameter,
            Refusal::Retry { error: RetryError::GroupUnknown, .. } => ResponseCode::SubscriptionGroupNotExist,
            Refusal::Retry { error: RetryError::NotPermitted, .. } => ResponseCode::NoPermission,
            Refusal::Transaction(EndError::Busy) => ResponseCode::SystemBusy,
            Refusal::Transaction(_) | Refusal::PullQueue { .. } | Refusal::Missing(_) | Refusal::Flush(_) => {
                ResponseCode::SystemError
            }
            Refusal::GroupOffline { .. } | Refusal::NotSubscribed { .. } => {
                ResponseCode::SubscriptionNotExist
            }
            Refusal::SubscriptionStale { .. } => ResponseCode::SubscriptionNotLatest,
            Refusal::FilterUnsupported { .. } => ResponseCode::SystemError,
            Refusal::NotOnline { .. } => ResponseCode::ConsumerNotOnline,
            Refusal::NotFound(_) => ResponseCode::QueryNotFound,
            Refusal::Append(error) => append_code(error),
            Refusal::Read(_) => ResponseCode::SystemError,
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Response {
        Response::code(refusal.code()).with_remark(refusal.to_string())
    }
}

fn append_code(error: &AppendError) -> ResponseCode {
    match error {
        AppendError::NotReady => ResponseCode::SystemBusy,
        AppendError::DiskFull(_)
        | AppendError::OverMark(_)
        | AppendError::Latched(_)
        | AppendError::Closed => ResponseCode::ServiceNotAvailable,
        AppendError::Record { .. }
        | AppendError::RecordTooLarge { .. }
        | AppendError::UnitTooLarge { .. } => ResponseCode::MessageIllegal,
    }
}
