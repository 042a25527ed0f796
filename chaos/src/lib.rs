//! The scenario library that users import, and the directed scenarios under `tests/`.
//!
//! ```text
//! scenario("name").seeds(20).run(story)      scenario.rs   one thread per seed, replay, what a failure prints
//!        │
//!      Story ── Cluster ── Process             cluster.rs    name servers, brokers and clients as nodes of one world
//!        │         └────── Operator            operator.rs   topics, offsets and reads that no fault touches
//!        ├── History ─ Record                  history.rs    what happened, typed, in one order
//!        │         └── MessageKey              identity.rs   bodies that say who they are
//!        ├── producers, consumers              actors.rs     client processes that note what they do
//!        ├── settle                            settle.rs     faults end; everything must drain
//!        └── promises                          promises.rs   what a history must not show
//! ```
//!
//! Everything is simulated: the crate is empty unless it is built with `--cfg madsim`, which `cargo ci sim` does.

#[cfg(madsim)]
pub mod actors;
#[cfg(madsim)]
pub mod cluster;
#[cfg(madsim)]
pub mod history;
#[cfg(madsim)]
pub mod identity;
#[cfg(madsim)]
pub mod operator;
#[cfg(madsim)]
pub mod prelude;
#[cfg(madsim)]
pub mod promises;
#[cfg(madsim)]
pub mod scenario;
#[cfg(madsim)]
pub mod settle;
#[cfg(madsim)]
pub mod story;

#[cfg(madsim)]
pub use scenario::scenario;

// `cargo ci sim` sets the variable; without the flag there would be nothing to run, and nothing would pass.
#[cfg(not(madsim))]
const _: () = assert!(
    option_env!("STATICFIRE_SIMULATION").is_none() && option_env!("REQUIRE_MADSIM").is_none(),
    "--cfg madsim did not reach this build: the simulation would compile to nothing"
);
