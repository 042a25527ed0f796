//! What operators ask: topics, groups, connections, consumption, the broker itself.

pub(crate) mod connection;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod runtime;
pub(crate) mod topic;
