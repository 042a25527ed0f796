//! The store on a disk that loses power at every sync.
//!
//! The promises of a store alone, after a crash at any moment:
//!
//! * O1: everything whose `wait_durable` had returned is in the log; after a kill, everything appended;
//! * O2, O3: what is read was appended, and every byte of it is as it was;
//! * O4: the log is a prefix of what was appended, and each record has the offset it was given;
//! * O5: under sync flush, whatever a reader could see before is still there;
//! * O21: recovering twice is recovering once; crashing inside recovery leads to the same log; a later record never
//!   uncovers what stood behind the cut; queues are what a rebuild without queue files makes of the log.
//!
//! ```text
//! workload ─ before each sync ─▶ Moment ─ each Survival ─▶ image ─▶ recover ─▶ power ─▶ recover ─▶ append ─▶ power ─▶ recover
//!                                                            │ the image before a sync of this recovery, drawn
//!                                                            └────────────▶ power ─▶ recover
//! ```
//!
//! What is unknown: records that were appended and not waited for may be there or not, but only as a prefix.
//!
//! `cargo ci crash-images` runs 1,000 operations under both flush modes and says how many recoveries a core makes in an
//! hour; the ordinary test run does the same with fewer operations.

mod images;
mod records;
mod recover;
pub(crate) mod tests;
mod work;

pub(crate) use records::append;
pub(crate) use records::config;
pub(crate) use records::new_record;
pub(crate) use records::record;
