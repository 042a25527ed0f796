//! One function per request code, by noun. A handler decodes, asks the tables, encodes; it holds nothing.

pub(super) mod broker;
pub(super) mod config;
pub(super) mod kv;
pub(super) mod topic;
