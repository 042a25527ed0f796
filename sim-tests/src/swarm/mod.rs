//! The generic swarm: one seed, one cluster, one mix of work and faults; then healing, settling, judging.
//!
//! ```text
//! seed ─▶ Plan ─▶ scenario: build ▸ work + nemesis ▸ heal ▸ settle ▸ look ▸ restart all ▸ settle ▸ look
//!                     │ Record, Contract
//!                     ▼
//!                 oracles ─▶ Ran { broken, excused, premises, hash } ─▶ report: story, replay line, sums
//! ```
//!
//! Not here: the promises (`oracle`), what clients do (`workload`).

mod disks;
pub(crate) mod plan;
mod report;
mod scenario;
pub(crate) mod seed;
mod settling;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;
