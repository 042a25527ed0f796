//! Typed request and response headers: one type per shape, read from and written to a header's ext fields.
//!
//! ```text
//! Header.ext  --decode-->  command::pull::Pull { topic, queue_id, … }  --encode-->  Ext
//! ```
//!
//! `header!` states each field once: its name here, its type, its name on the wire, its default. A field that is absent
//! or does not read as its type is a [`FieldError`] that names it; the answer is `SYSTEM_ERROR` with that text.
//! Numbers, booleans and texts are read as leniently as `field` says. Sends decode into borrowed texts, without
//! allocation; every other type owns its texts, so that a parked request can keep them.
//!
//! Not here: JSON bodies (`body`), whether a value makes sense (`broker`, `namesrv`).

mod field;

pub mod client;
pub mod group;
pub mod kv;
pub mod offset;
pub mod pull;
pub mod query;
pub mod registration;
pub mod route;
pub mod send;
pub mod topic;
pub mod transaction;

pub use field::FieldError;

#[cfg(test)]
mod tests;
