//! The real world: tokio's sockets, timers and tasks, the file system, mapped memory.
//!
//! This is the only code of the product that the simulator does not execute, so it decides nothing: each call is a
//! system call, the cause of its failure in words, and the translation to the words of [`crate::env`]. The suite in
//! [`crate::env::conformance`] holds it to the same rules as the simulator.
//!
//! Runs inside a tokio runtime of either flavour. What blocks (files, the name resolver) runs on tokio's blocking pool.
//!
//! Not here: retries, timeouts, buffering, policy of any kind.

mod clock;
mod disk;
mod file;
mod net;
mod segment;
mod task;
mod tree;

use std::io;
use std::sync::Arc;

use crate::env::{Env, NoHooks};

/// The real world, with random streams that differ from one boot to the next. Call it inside a tokio runtime.
///
/// # Panics
///
/// When the kernel gives no random bytes.
pub fn env() -> Env {
    let mut seed = [0; 8];
    let drawn = rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty());
    assert!(drawn == Ok(seed.len()), "the kernel must give {} random bytes: {drawn:?}", seed.len());
    env_with_seed(u64::from_ne_bytes(seed))
}

/// The real world with the random streams of a given boot seed.
pub fn env_with_seed(boot_seed: u64) -> Env {
    Env {
        clock: Arc::new(clock::RealClock::new()),
        net: Arc::new(net::RealNet),
        disk: Arc::new(disk::RealDisk),
        tasks: Arc::new(task::RealTasks),
        hooks: Arc::new(NoHooks::new(boot_seed)),
    }
}

/// Puts the failed operation and its object in front of an error; the kind stays what it was.
fn named(operation: &str, object: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{operation} {object}: {error}"))
}

/// Runs a call that blocks on the pool that is there for it.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio_real::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(io::Error::new(io::ErrorKind::Interrupted, "the runtime is shutting down")),
    }
}

#[cfg(test)]
mod tests;
