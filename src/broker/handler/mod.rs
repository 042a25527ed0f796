//! One file per noun of the request table. Every handler has the same paragraphs: decode, check permission and
//! arguments, ask the machine or the store, encode. None holds state or starts a task.

pub(crate) mod admin;
pub(crate) mod consumer;
pub(crate) mod end_transaction;
pub(crate) mod heartbeat;
pub(crate) mod lock_queue;
pub(crate) mod offset;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod send;
pub(crate) mod send_back;
