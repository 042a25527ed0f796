//! Planted bugs of the broker, for testing the tests: switched on by name in the simulator, constant off in production.

/// The op record of a settled transaction names nothing: after a restart the decision is forgotten.
pub const LOSE_OP_RECORD: &str = "broker.lose_op_record";
/// A check that nobody got counts as one (rmq#8311).
pub const COUNT_UNDELIVERED_CHECKS: &str = "broker.count_undelivered_checks";
/// A consumer that retention has overtaken is sent to the end of its queue, not to what is left of it.
pub const OVERTAKEN_GOES_TO_THE_END: &str = "broker.overtaken_goes_to_the_end";

/// Every planted bug of the broker.
pub const ALL: [&str; 3] = [LOSE_OP_RECORD, COUNT_UNDELIVERED_CHECKS, OVERTAKEN_GOES_TO_THE_END];
