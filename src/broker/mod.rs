//! The broker: handlers, drivers and the dispatch table over store, machines and remoting.

pub mod config;
pub mod planted;

mod answer;
mod core;
mod counters;
mod disk_marks;
mod dispatch;
mod driver;
mod handler;
mod placement;
mod properties;
mod refusal;
mod replay;
mod session;
mod start;
mod tables;
mod unit;
mod unread;
mod waiting;

pub use start::Broker;
pub use start::StartError;
pub use start::Tuning;

#[cfg(test)]
mod tests;
