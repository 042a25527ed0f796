//! The result as a table for people, with the goals beside it.

use std::fmt::Write as _;

use crate::rounds::{Result, Spread};

pub(crate) fn table(result: &Result) -> String {
    let mut out = String::new();
    let place = if result.pinned { "server and client on a core each" } else { "not pinned" };
    let _ = writeln!(
        out,
        "sends of {} bytes, {} in flight on one connection, {} rounds of {} ms, {place}\n",
        result.body_bytes, result.in_flight, result.rounds, result.millis
    );
    let _ = writeln!(
        out,
        "{:<22} {:>9} {:>21}  {:>11}  {:>11}",
        "", "msg/s", "(min .. max)", "CPU µs/msg", "client busy"
    );
    for server in &result.servers {
        let rate = server.messages_per_second;
        let _ = writeln!(
            out,
            "{:<22} {:>9.0} {:>21}  {:>11.2}  {:>9.0} %{}{}",
            server.name,
            rate.median,
            format!("({:.0} .. {:.0})", rate.min, rate.max),
            server.cpu_us_per_message.median,
            server.client_busy * 100.0,
            if server.client_bound { "  the client is the limit" } else { "" },
            if server.refused > 0 { format!("  {} REFUSED", server.refused) } else { String::new() },
        );
    }
    if result.sync_to_probe.median > 1.0 {
        let why = "the broker reads on while a sync is under way; the probe, which does one after the other, does not";
        let _ = writeln!(out, "\nabove 1: {why}");
    }
    let _ = writeln!(out, "\n{:<44} {:>7} {:>7} {:>7}   goal", "", "min", "median", "max");
    let mut row = |name: &str, spread: Spread, digits: usize, goal: &str| {
        let Spread { min, median, max } = spread;
        let _ = writeln!(out, "{name:<44} {min:>7.digits$} {median:>7.digits$} {max:>7.digits$}   {goal}");
    };
    row("broker async / bare echo", result.async_to_echo, 2, ">= 0.30");
    row("broker sync / echo + append + sync", result.sync_to_probe, 2, ">= 0.30");
    row("exec to first acknowledged send, ms", result.first_ack_ms, 1, "<= 100");
    let _ = write!(
        out,
        "{:<44} {:>7} {:>7.1} {:>7}   <= 30  ({:.1} of it not backed by a file)",
        "idle memory, MB",
        "",
        mega(result.idle_bytes),
        "",
        mega(result.idle_anonymous_bytes)
    );
    out
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
