//! Words to the user: results and boot lines on standard output, warnings and failures on standard error.
//!
//! A closed output is not an error of a server: it goes on serving.

use std::io::{BufWriter, Stdout, Write, stderr, stdout};

use crate::failure::Failure;

pub(crate) fn line(text: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

pub(crate) fn json(value: &serde_json::Value) {
    line(&format!("{value:#}"));
}

/// Many lines of output, gathered. A reader that has gone (`| head`) ends the work instead of failing it.
pub(crate) struct Lines {
    out: BufWriter<Stdout>,
}

impl Lines {
    pub(crate) fn new() -> Lines {
        Lines { out: BufWriter::with_capacity(64 << 10, stdout()) }
    }

    /// False once nobody reads.
    pub(crate) fn line(&mut self, text: &str) -> bool {
        writeln!(self.out, "{text}").is_ok()
    }
}

pub(crate) fn warning(text: &str) {
    let _ = writeln!(stderr().lock(), "warning: {text}");
}

pub(crate) fn failure(failure: &Failure) {
    let mut err = stderr().lock();
    let _ = writeln!(err, "error: {failure}");
    if let Some(step) = failure.next_step() {
        let _ = writeln!(err, "next: {step}");
    }
}
