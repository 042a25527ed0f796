//! Pure state machines: no clock, no I/O, no lock, no task.
//!
//! ```text
//!            verb(now, …)                      Vec<Effect>
//!  handler ───────────────▶  ┌─────────┐  ───────────────▶  driver ──▶ store / remoting / clock
//!  driver  ── on_timer(now) ▶ │ machine │                       │
//!  store   ── on_appended ──▶ └─────────┘ ◀── on_… (same name) ─┘
//!                 next_deadline() ──▶ driver sleeps until then
//! ```
//!
//! What RocketMQ guarantees is decided here and nowhere else; whoever calls carries it out. An input returns at
//! once, an effect that needs an answer names the input to call back, time comes in as an argument, limits at
//! construction, and restart is an input of its own (`replay`).

pub mod consume;
pub mod delay;
pub mod edit;
pub mod hold;
pub mod ids;
pub mod membership;
pub mod offset;
pub mod order;
pub mod produce;
pub mod rebalance;
pub mod reserve;
pub mod retry;
pub mod route;
pub mod subscription;
pub mod subscription_group;
pub mod topic;
pub mod transaction;
