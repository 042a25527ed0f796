//! What can go wrong, one enum per operation. Each says what happened, where, and what to look at next.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::machine::produce::Failure;
use crate::protocol::ResponseCode;
use crate::remoting::CallError;

/// A request to one server failed.
#[derive(Debug, Error)]
pub enum RequestError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{by} refused with code {}: {remark}", name_of(*.code))]
    Refused { by: String, code: i32, remark: String },
    #[error("{by} gave an answer that makes no sense: {what}")]
    Malformed { by: String, what: String },
    #[error("no address of broker {broker} is known")]
    NoAddress { broker: String },
}

/// The route of a topic is not known.
#[derive(Debug, Error)]
pub enum RouteError {
    #[error("topic {topic} does not exist")]
    NoTopic { topic: String },
    #[error("no name server answered ({}); the last error: {last}", .tried.join(", "))]
    Unreachable { tried: Vec<String>, last: RequestError },
}

/// A producer, consumer or client did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("no name server was given: call name_server(\"host:9876\")")]
    NoNameServer,
    #[error("{0}")]
    Name(#[from] crate::protocol::names::NameError),
    #[error("this client has a {kind} of group {group} already; one per group and client")]
    Duplicate { kind: &'static str, group: String },
    #[error("consumer {group} subscribes to nothing: call subscribe(topic, \"*\")")]
    NothingSubscribed { group: String },
    #[error("consumer {group} has no handler: call handler or ordered_handler")]
    NoHandler { group: String },
    #[error("cannot read the offsets in {path}: {source}")]
    ReadOffsets { path: PathBuf, source: io::Error },
    #[error("the offsets in {path} are damaged: {reason}; move the file away to start anew")]
    DamagedOffsets { path: PathBuf, reason: String },
}

/// A message was not sent, as far as is known.
#[derive(Debug, Error)]
#[error("cannot send to topic {topic} ({attempts} attempts in {elapsed_ms} ms): {cause}; {}", self.next_step())]
pub struct SendError {
    pub topic: String,
    /// Attempts that reached for a broker.
    pub attempts: u32,
    pub elapsed_ms: u64,
    /// True when an attempt may have been stored although no answer came. Sending again may store a second copy; not
    /// sending again may lose the message.
    pub may_be_stored: bool,
    pub cause: SendCause,
}

/// Why a send failed: the last attempt's error.
#[derive(Debug, Error)]
pub enum SendCause {
    #[error("{0}")]
    Topic(#[from] crate::protocol::names::NameError),
    #[error("the body has {bytes} bytes, at most {bytes_max} are allowed")]
    BodyTooLong { bytes: usize, bytes_max: usize },
    #[error("the body is empty")]
    BodyEmpty,
    #[error("property {name} contains a separator character or has no name")]
    Property { name: String },
    #[error("the properties take {bytes} bytes, at most {bytes_max} fit")]
    PropertiesTooLong { bytes: usize, bytes_max: usize },
    #[error("{what}")]
    Batch { what: &'static str },
    #[error("a transaction was asked for by a message with a delay")]
    DelayedTransaction,
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("no broker takes writes for it")]
    NoQueue,
    #[error("the selector chose queue {index} of {len}")]
    Selector { index: usize, len: usize },
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the time ran out before the first attempt")]
    TimeSpent,
}

impl RequestError {
    /// The code a server refused with, if it did.
    pub fn refusal(&self) -> Option<i32> {
        match self {
            RequestError::Refused { code, .. } => Some(*code),
            RequestError::Call(_) | RequestError::Malformed { .. } | RequestError::NoAddress { .. } => None,
        }
    }

    /// How a send that failed so is to be judged.
    pub(super) fn failure(&self) -> Failure {
        match self {
            RequestError::Refused { code, .. } => Failure::Refused(*code),
            RequestError::Call(error) if error.never_sent() => Failure::Unreachable,
            RequestError::Call(_) | RequestError::Malformed { .. } => Failure::Unanswered,
            RequestError::NoAddress { .. } => Failure::Unreachable,
        }
    }
}

impl SendError {
    /// What to look at.
    fn next_step(&self) -> &'static str {
        match &self.cause {
            _ if self.may_be_stored => {
                "it may be stored all the same: send again if a duplicate does no harm"
            }
            SendCause::Route(RouteError::NoTopic { .. }) => {
                "create the topic, or let a broker create it (autoCreateTopicEnable)"
            }
            SendCause::Route(RouteError::Unreachable { .. }) => "check the name servers' addresses",
            SendCause::NoQueue => "check that a master is alive and that the topic is writable",
            SendCause::Request(RequestError::Call(_) | RequestError::NoAddress { .. }) => {
                "check that the broker runs and that its address (brokerIP1) can be reached from here"
            }
            SendCause::Request(_) => "see the broker's words",
            SendCause::TimeSpent => "allow more time",
            SendCause::Topic(_)
            | SendCause::BodyTooLong { .. }
            | SendCause::BodyEmpty
            | SendCause::Property { .. }
            | SendCause::PropertiesTooLong { .. }
            | SendCause::Batch { .. }
            | SendCause::DelayedTransaction
            | SendCause::Selector { .. } => "change the message",
        }
    }
}

fn name_of(code: i32) -> String {
    ResponseCode::from_i32(code).map_or_else(|| code.to_string(), |known| known.to_string())
}
