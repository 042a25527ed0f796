//! The tasks of a broker: each takes inputs to its machine, carries out the effects, sleeps until the next deadline.
//! None of them decides anything.

pub(crate) mod delay;
pub(crate) mod flush;
pub(crate) mod hold;
pub(crate) mod membership;
pub(crate) mod persist;
pub(crate) mod registration;
pub(crate) mod retention;
pub(crate) mod transaction;
