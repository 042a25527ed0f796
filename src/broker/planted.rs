//! Planted bugs of the broker, for testing the tests: switched on by name in the simulator, constant off in production.

/// The op record of a settled transaction names nothing: after a restart the decision is forgotten.
pub const LOSE_OP_RECORD: &str = "broker.lose_op_record";
/// A check that nobody got counts as one (rmq#8311).
pub const COUNT_UNDELIVERED_CHECKS: &str = "broker.count_undelivered_checks";

/// Every planted bug of the broker.
pub const ALL: [&str; 2] = [LOSE_OP_RECORD, COUNT_UNDELIVERED_CHECKS];
