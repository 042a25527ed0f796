//! Steps of the gate: their names, their outcome, how they are told to people and to machines.
//!
//! A step that fails does not stop the others: one run names everything that is wrong.

use std::fmt::Write as _;
use std::io;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// A run of the gate.
pub(crate) struct Gate {
    pub(crate) root: PathBuf,
    output: Output,
    started: Instant,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    name: String,
    ok: bool,
    seconds: f64,
    passed: u64,
    failed: u64,
    note: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    figures: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    failure: String,
}

#[derive(Serialize)]
struct Summary {
    ok: bool,
    seconds: f64,
    passed: u64,
    failed: u64,
    steps: Vec<Step>,
}

/// What a step has to say when it holds.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Single checks within the step: tests, rules, files.
    pub(crate) checks: u64,
    /// Half a line for the reader.
    pub(crate) note: String,
    /// What was measured, for machines.
    pub(crate) figures: Vec<serde_json::Value>,
}

/// What a step has to say when it does not hold.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// All that is needed to understand it.
    pub(crate) output: String,
}

pub(crate) type Outcome = Result<Passed, Failed>;

impl Gate {
    pub(crate) fn new(root: PathBuf, output: Output) -> Gate {
        Gate { root, output, started: Instant::now(), steps: Vec::new() }
    }

    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) {
        self.say(&format!("{name:<28} "));
        let started = Instant::now();
        let outcome = run();
        let seconds = started.elapsed().as_secs_f64();
        let mut step = Step {
            name: name.to_owned(),
            ok: outcome.is_ok(),
            seconds,
            passed: 0,
            failed: 0,
            note: String::new(),
            figures: Vec::new(),
            failure: String::new(),
        };
        match outcome {
            Ok(passed) => {
                self.say(&format!("ok     {seconds:>6.1} s  {}\n", passed.note));
                step.passed = passed.checks.max(1);
                step.note = passed.note;
                step.figures = passed.figures;
            }
            Err(failed) => {
                self.say(&format!("FAILED {seconds:>6.1} s\n\n{}\n\n", failed.output.trim_end()));
                step.passed = failed.passed;
                step.failed = failed.failed.max(1);
                step.failure = failed.output;
            }
        }
        self.steps.push(step);
    }

    /// Prints the sum and says how the process ends.
    pub(crate) fn finish(self) -> ExitCode {
        let failed_steps: Vec<&str> =
            self.steps.iter().filter(|step| !step.ok).map(|step| step.name.as_str()).collect();
        let summary = |steps: Vec<Step>| Summary {
            ok: steps.iter().all(|step| step.ok),
            seconds: self.started.elapsed().as_secs_f64(),
            passed: steps.iter().map(|step| step.passed).sum(),
            failed: steps.iter().map(|step| step.failed).sum(),
            steps,
        };
        let mut last_lines = String::new();
        if !failed_steps.is_empty() {
            let _ = writeln!(last_lines, "failed: {}", failed_steps.join(", "));
        }
        let output = self.output;
        let summary = summary(self.steps);
        let _ = writeln!(last_lines, "{} passed, {} failed", summary.passed, summary.failed);
        let printed = match output {
            Output::Text => io::stdout().write_all(last_lines.as_bytes()),
            Output::Json => serde_json::to_writer(io::stdout(), &summary)
                .map_err(io::Error::from)
                .and_then(|()| io::stdout().write_all(b"\n")),
        };
        if summary.ok && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn say(&self, words: &str) {
        // Nobody listens: then nobody is told.
        let _ = match self.output {
            Output::Text => io::stdout().write_all(words.as_bytes()).and_then(|()| io::stdout().flush()),
            Output::Json => io::stderr().write_all(words.as_bytes()),
        };
    }
}

impl Failed {
    pub(crate) fn because(output: impl Into<String>) -> Failed {
        Failed { passed: 0, failed: 1, output: output.into() }
    }
}

/// Runs a program and gives back all that it printed; an error when it could not start or did not end well.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failed> {
    capture_telling(command, |_| {})
}

/// As [`capture`], and hands each line on while the command still runs.
pub(crate) fn capture_telling(command: &mut Command, mut tell: impl FnMut(&str)) -> Result<String, Failed> {
    let shown = format!("$ {}", shown(command));
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let ended = (|| {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command keeps the pipe's writing ends; without this the reader would wait for ourselves.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut reader = BufReader::new(reader);
        let (mut printed, mut line) = (String::new(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            tell(text.trim_end());
            printed.push_str(&text);
            line.clear();
        }
        Ok::<_, io::Error>((child.wait()?, printed))
    })();
    match ended {
        Ok((status, printed)) if status.success() => Ok(printed),
        Ok((status, printed)) => Err(Failed::because(format!("{shown}\n{printed}\n{status}"))),
        Err(error) => Err(Failed::because(format!("{shown}\ncannot run it: {error}"))),
    }
}

/// Runs a program on the terminal: for what people want to watch.
pub(crate) fn watch(command: &mut Command) -> Outcome {
    let shown = shown(command);
    match command.status() {
        Ok(status) if status.success() => Ok(Passed::default()),
        Ok(status) => Err(Failed::because(format!("$ {shown}\n{status}"))),
        Err(error) => Err(Failed::because(format!("$ {shown}\ncannot run it: {error}"))),
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_shows_both_its_streams() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo to stdout; echo to stderr >&2; exit 3"]);
        let failed = capture(&mut command).expect_err("it exits with 3");
        for words in ["to stdout", "to stderr", "exit status: 3", "$ sh -c"] {
            assert!(failed.output.contains(words), "{words} is missing in {}", failed.output);
        }
    }

    #[test]
    fn a_program_that_is_missing_is_a_failure_with_its_name() {
        let failed = capture(&mut Command::new("no-such-program")).expect_err("there is none");
        assert!(failed.output.contains("no-such-program"), "{}", failed.output);
    }
}
