//! The order of a run: start everything, measure in rounds that alternate, and sum up.

use std::io;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use crate::Options;
use crate::Placement;
use crate::load::Load;
use crate::server::{Server, cpu_us, resident};

/// A client busier than this is what limits the messages per second.
const CLIENT_BOUND: f64 = 0.9;

/// All that is known after a run.
#[derive(Debug, Serialize)]
pub(crate) struct Result {
    pub(crate) rounds: usize,
    pub(crate) millis: u64,
    pub(crate) in_flight: usize,
    pub(crate) body_bytes: usize,
    pub(crate) pinned: bool,
    pub(crate) answer_bytes: usize,
    pub(crate) servers: Vec<Measured>,
    pub(crate) async_to_echo: Spread,
    pub(crate) sync_to_probe: Spread,
    pub(crate) first_ack_ms: Spread,
    pub(crate) idle_bytes: u64,
    pub(crate) idle_anonymous_bytes: u64,
}

/// One server over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) messages_per_second: Spread,
    pub(crate) cpu_us_per_message: Spread,
    pub(crate) client_busy: f64,
    pub(crate) client_bound: bool,
    pub(crate) refused: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// Names of the four, in the order of `run`.
const NAMES: [&str; 4] = ["bare echo", "broker, async flush", "echo + append + sync", "broker, sync flush"];
/// Starts that are timed: the first of them also reads the binary from the disk.
const STARTS: usize = 5;

/// # Errors
/// A process does not start, or one ends while it is measured.
pub(crate) fn run(options: &Options) -> io::Result<Result> {
    std::fs::create_dir_all(&options.dir)?;
    let cpus = std::thread::available_parallelism()?.get();
    let pinned = options.placement == Placement::Split && cpus >= 2;
    let pin = |cpu| if pinned { pin_to(cpu) } else { Ok(()) };

    pin(1)?;
    let binary = options.binary();
    let broker = |flush| Server::broker(&binary, &options.dir, flush, options.body);
    let mut first_acks = Vec::new();
    for _ in 1..STARTS {
        let (_, _, took) = broker("ASYNC_FLUSH")?;
        first_acks.push(took.as_secs_f64() * 1e3);
    }
    let (on_async, answer, took) = broker("ASYNC_FLUSH")?;
    first_acks.push(took.as_secs_f64() * 1e3);
    // Idle: nothing but timers since the first send.
    std::thread::sleep(Duration::from_secs(1));
    let (idle_bytes, idle_anonymous_bytes) = resident(on_async.pid())?;
    let (on_sync, _, _) = broker("SYNC_FLUSH")?;
    let reply = options.dir.join("answer.bin");
    std::fs::write(&reply, &answer)?;
    let echo = Server::echo(&reply, None)?;
    let probe = Server::echo(&reply, Some(&options.dir.join("probe.log")))?;
    pin(0)?;

    let servers = [&echo, &on_async, &probe, &on_sync];
    let mut samples: [Vec<Sample>; 4] = Default::default();
    for round in 0..options.rounds {
        let mut order = [0, 1, 2, 3];
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            samples[index].push(measure(options, servers[index])?);
        }
        progress(&format!("round {} of {}", round + 1, options.rounds));
    }
    drop((echo, on_async, probe, on_sync));
    clear(&options.dir)?;
    let rates = |index: usize| samples[index].iter().map(|sample| sample.per_second);
    let ratio = |above, below| spread(rates(above).zip(rates(below)).map(|(a, b)| a / b).collect());
    Ok(Result {
        rounds: options.rounds,
        millis: options.millis,
        in_flight: options.in_flight,
        body_bytes: options.body,
        pinned,
        answer_bytes: answer.len(),
        async_to_echo: ratio(1, 0),
        sync_to_probe: ratio(3, 2),
        servers: NAMES.iter().zip(&samples).map(|(name, samples)| sum(name, samples)).collect(),
        first_ack_ms: spread(first_acks),
        idle_bytes,
        idle_anonymous_bytes,
    })
}

/// Gigabytes of messages that nobody will read. Logs, settings and the result stay.
fn clear(dir: &Path) -> io::Result<()> {
    for store in ["store-ASYNC_FLUSH", "store-SYNC_FLUSH"] {
        std::fs::remove_dir_all(dir.join(store))?;
    }
    std::fs::remove_file(dir.join("probe.log"))
}

/// One server in one round.
struct Sample {
    per_second: f64,
    cpu_us: f64,
    client_busy: f64,
    refused: u64,
}

fn measure(options: &Options, server: &Server) -> io::Result<Sample> {
    let before = cpu_us(server.pid())?;
    let output = Command::new(std::env::current_exe()?)
        .arg("load")
        .args(["--port", &server.port.to_string()])
        .args(["--millis", &options.millis.to_string()])
        .args(["--in-flight", &options.in_flight.to_string()])
        .args(["--body", &options.body.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the load ended: {}", output.status)));
    }
    let load: Load = serde_json::from_slice(&output.stdout)?;
    let cpu = cpu_us(server.pid())? - before;
    Ok(Sample {
        per_second: load.messages as f64 / load.seconds,
        cpu_us: cpu as f64 / load.all_messages as f64,
        client_busy: load.client_busy,
        refused: load.refused,
    })
}

fn sum(name: &'static str, samples: &[Sample]) -> Measured {
    let busy = spread(samples.iter().map(|sample| sample.client_busy).collect()).median;
    Measured {
        name,
        messages_per_second: spread(samples.iter().map(|sample| sample.per_second).collect()),
        cpu_us_per_message: spread(samples.iter().map(|sample| sample.cpu_us).collect()),
        client_busy: busy,
        client_bound: busy >= CLIENT_BOUND,
        refused: samples.iter().map(|sample| sample.refused).sum(),
    }
}

pub(crate) fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
    Spread { min: at(0), median, max: at(last) }
}

/// This thread, and every process it starts from now on, runs on `cpu` alone.
fn pin_to(cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(None, &cpus)?)
}

pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let of = |values: &[f64]| {
            let spread = spread(values.to_vec());
            (spread.min, spread.median, spread.max)
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert!(of(&[]).1.is_nan());
    }
}
