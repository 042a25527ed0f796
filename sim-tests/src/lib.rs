//! Simulation tests: swarm, promises, planted bugs, determinism.

// `cargo ci sim` sets the variable; without the flag there would be nothing to run, and nothing would pass.
#[cfg(not(madsim))]
const _: () = assert!(
    option_env!("STATICFIRE_SIMULATION").is_none(),
    "--cfg madsim did not reach this build: the simulation would compile to nothing"
);

#[cfg(all(test, madsim))]
mod logical_costs;
#[cfg(all(test, madsim))]
mod oracle;
#[cfg(all(test, madsim))]
mod store_crash;
#[cfg(all(test, madsim))]
mod store_faults;
#[cfg(all(test, madsim))]
mod store_index;
#[cfg(all(test, madsim))]
mod store_retention;
#[cfg(all(test, madsim))]
mod swarm;
#[cfg(all(test, madsim))]
mod workload;
#[cfg(all(test, madsim))]
mod zoo;
