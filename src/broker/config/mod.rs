//! The broker's configuration: RocketMQ's property files, read into one typed [`Config`].
//!
//! ```text
//! broker.conf ── properties ──▶ (line, key, value) ── Table<Config> ──▶ Config + warnings, or every mistake at once
//! ```
//!
//! A key is one of three: **supported** (a row of [`KEYS`]); **known** to Apache RocketMQ 5.5.0 but not supported yet,
//! which is a warning by name, never a silent no-op; or **unknown**, which is an error that names the nearest key.
//! All functions are pure: the file is read, and the host's name and address are found, by whoever starts the broker.
//!
//! Not here: the name server's keys (a [`Table`] of their own beside the binary), what a broker does with a value.

mod keys;
mod nearest;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use keys::{KEYS, TABLE};
pub use settings::{BrokerRole, Config, DelayLevels, FlushDiskType, Host};
pub use table::{ConfigError, Key, Problem, Slot, Table, Warning};
