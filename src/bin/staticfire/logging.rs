//! What the product traces, as lines on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Installs the log. `--log` wins over `RUST_LOG`, which wins over `warn`.
///
/// # Errors
/// A filter that does not parse.
pub(crate) fn start(filter: Option<&str>) -> Result<(), Failure> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let text = filter.map(str::to_owned).or(from_env).unwrap_or_else(|| "warn".to_owned());
    let filter =
        EnvFilter::try_new(&text).map_err(|error| Failure::Filter { text, cause: error.to_string() })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
    Ok(())
}
