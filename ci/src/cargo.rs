//! How cargo is called, and what its test output says.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Failed, Outcome, Passed, capture};

/// The repository: the directory above this crate.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_owned(), Path::to_owned)
}

/// `cargo` in the repository, without the variables that `cargo run` gave to this process: with them a build would
/// differ from one that was typed by hand, and both would be built.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_CRATE_NAME"
        {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Where builds go, unless somebody moved it.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Runs `cargo test …` and counts.
pub(crate) fn run_tests(command: &mut Command) -> Outcome {
    match capture(command) {
        Ok(printed) => {
            let counts = Counts::of(&printed);
            Ok(Passed { checks: counts.passed, note: counts.to_string(), ..Passed::default() })
        }
        Err(failed) => {
            let counts = Counts::of(&failed.output);
            Err(Failed { passed: counts.passed, failed: counts.failed.max(1), output: failed.output })
        }
    }
}

/// The sum over the test binaries of one `cargo test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// Adds up lines like `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; …`.
    pub(crate) fn of(printed: &str) -> Counts {
        let mut counts = Counts::default();
        for line in printed.lines() {
            let Some((_, result)) = line.split_once("test result: ") else { continue };
            let numbers = result.split(['.', ';']).filter_map(|part| part.trim().split_once(' '));
            for (number, what) in numbers {
                let Ok(number) = number.parse::<u64>() else { continue };
                match what {
                    "passed" => counts.passed += number,
                    "failed" => counts.failed += number,
                    "ignored" => counts.ignored += number,
                    _ => {}
                }
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tests", self.passed + self.failed)?;
        if self.ignored > 0 { write!(f, ", {} ignored", self.ignored) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_binaries() {
        let printed = "\
running 2 tests
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s
noise
test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(Counts::of(printed), Counts { passed: 5, failed: 4, ignored: 1 });
        assert_eq!(Counts::of("error: could not compile"), Counts::default());
    }
}
