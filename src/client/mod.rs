//! The client library: producers and consumers.
//!
//! ```text
//! Producer ─┐                                  ┌─▶ name servers   routes, every 30 s and after failures
//! PushConsumer ─┤─▶ Client ─▶ remoting::Client ─┤
//! PullConsumer ─┘     ▲                         └─▶ brokers        sends, pulls, heartbeats every 30 s
//!                     └────── requests of brokers: transaction checks, changed groups, reset offsets
//! ```
//!
//! A [`Client`] is one member of the cluster: one client id, one connection to each server, one cache of routes. All
//! producers and consumers of a process share it. It takes an [`Env`](crate::env::Env), so that the simulator runs the
//! very same code; a program passes `env::real`'s.
//!
//! ```no_run
//! use staticfire::client::{Client, ConsumeResult, Message};
//! # async fn run(env: staticfire::env::Env) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(&env).name_server("127.0.0.1:9876").start().await?;
//!
//! let producer = client.producer("order-service").start().await?;
//! let receipt = producer.send(Message::new("orders", "1 pair of boots").with_tag("new")).await?;
//! println!("stored as {}", receipt.message_id);
//!
//! let consumer = client
//!     .push_consumer("billing")
//!     .subscribe("orders", "new || paid")
//!     .handler(|messages| async move {
//!         for message in &messages {
//!             println!("{}: {} bytes", message.id(), message.body().len());
//!         }
//!         ConsumeResult::Done
//!     })
//!     .start()
//!     .await?;
//! // …
//! consumer.stop().await;
//! # Ok(()) }
//! ```
//!
//! Promises: a message counts as consumed only after its handler said so, or after the broker acknowledged that it took
//! it back; nothing else moves the offset of a group. An ordered queue is handled by one member at a time, and is given
//! back only when its handler has returned. Anything may be dropped at any await.
//!
//! Not here: POP consumption, message trace, request-reply, SQL filters evaluated on this side.

mod broker;
mod consumer;
mod error;
mod instance;
mod member;
mod name_server;
mod planted;
mod producer;
mod pull_consumer;
mod queue;
mod send;
mod topic_route;
mod transaction;

pub use broker::PullStatus;
pub use consumer::ConsumeFrom;
pub use consumer::ConsumeResult;
pub use consumer::MessageModel;
pub use consumer::MessageView;
pub use consumer::OrderResult;
pub use consumer::PushConsumer;
pub use consumer::PushConsumerBuilder;
pub use error::RequestError;
pub use error::RouteError;
pub use error::SendCause;
pub use error::SendError;
pub use error::StartError;
pub use instance::Client;
pub use instance::ClientBuilder;
pub use planted::PLANTED;
pub use producer::Producer;
pub use producer::ProducerBuilder;
pub use pull_consumer::PullConsumer;
pub use pull_consumer::PullConsumerBuilder;
pub use pull_consumer::Pulled;
pub use queue::MessageQueue;
pub use send::SendReceipt;
pub use send::SendStatus;
pub use transaction::Decision;
pub use transaction::TransactionListener;
pub use transaction::TransactionProducer;
pub use transaction::TransactionReceipt;

pub use crate::machine::rebalance::Division;
pub use crate::protocol::message::Message;
pub use crate::protocol::message::ReceivedMessage;
