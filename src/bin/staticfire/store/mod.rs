//! `staticfire store`: the files of a store that no broker runs.
//!
//! Exit codes: 0 whole, or done; 1 damaged; 2 could not look.

mod check;
mod dump;
mod repair;
mod text;

use std::process::ExitCode;

use staticfire::env::Env;
use staticfire::store::inspect::{ClosedStore, InspectError, Sizes};

use crate::args::{Store, StoreDir};
use crate::failure::Failure;

/// # Errors
/// There is no store, a broker runs it, or a file cannot be read.
pub(crate) async fn run(env: &Env, what: Store) -> Result<ExitCode, Failure> {
    match what {
        Store::Check(options) => check::run(env, options).await,
        Store::Dump(options) => dump::run(env, options).await,
        Store::Repair(options) => repair::run(env, options).await,
    }
}

async fn open(env: &Env, options: &StoreDir) -> Result<ClosedStore, Failure> {
    let sizes = Sizes { segment_bytes: options.segment_bytes, queue_file_bytes: options.queue_file_bytes };
    ClosedStore::open(env, &options.dir, sizes).await.map_err(failed(options))
}

fn failed(options: &StoreDir) -> impl FnOnce(InspectError) -> Failure + Clone + use<> {
    let dir = options.dir.clone();
    move |error| Failure::Store { dir, error }
}
