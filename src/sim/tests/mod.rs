//! Laws of the simulated world, told as small stories.

mod conformance;
mod determinism;
mod disk;
mod disk_catalogue;
mod life;
mod net;
mod workload;

use crate::sim::Limits;
use crate::sim::Seed;
use crate::sim::World;
use crate::sim::run;

/// Runs a scenario of a test and fails with its story.
fn simulate<T, F, Fut>(seed: u64, scenario: F) -> T
where
    T: Send + 'static,
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    run(Seed(seed), Limits::default(), scenario).expect_ok()
}
