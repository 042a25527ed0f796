//! Licences, banned and duplicate crates, and where crates come from: `cargo deny` with two policies.
//!
//! `deny.toml` is strict about what is built and shipped; `ci/deny-simulation.toml` watches the whole lock file for
//! entropy and clocks that would make two runs of one seed differ.
//!
//! `cargo-deny` is taken from the machine, or built once into `target/tools`: without optimisation, which takes 90
//! seconds of processor time instead of 230 and makes no difference to a check of a second.
//!
//! Not here: advisories. Their database is a git repository that not every machine reaches; the step says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{cargo, target_dir};
use crate::step::{Failed, Gate, Passed, capture};

const VERSION: &str = "0.20.2";
const POLICIES: [&str; 2] = ["deny.toml", "ci/deny-simulation.toml"];

pub(crate) fn deny(gate: &mut Gate) {
    let root = gate.root.clone();
    if find(&root).is_none() {
        gate.step("deny: build cargo-deny", || {
            let mut install = cargo(&root);
            install.args(["install", "--locked", "--debug", "--version", VERSION, "cargo-deny", "--root"]);
            // Its own flags and directory: the workspace's build must not wait for it, nor share its settings.
            install.arg(tools(&root)).arg("--target-dir").arg(target_dir(&root).join("tools-build"));
            capture(&mut install)?;
            Ok(Passed::default())
        });
    }
    gate.step("deny", || {
        let program =
            find(&root).ok_or_else(|| Failed::because("cargo-deny could not be built, see above"))?;
        for policy in POLICIES {
            let mut command = Command::new(&program);
            command.current_dir(&root).args(["--workspace", "--config", policy, "check"]);
            capture(command.args(["bans", "licenses", "sources"]))?;
        }
        let note =
            "bans, licences, sources; advisories not run: their database may be out of reach".to_owned();
        Ok(Passed { checks: POLICIES.len() as u64 * 3, note, ..Passed::default() })
    });
}

fn tools(root: &Path) -> PathBuf {
    target_dir(root).join("tools")
}

fn find(root: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([tools(root).join("bin")]);
    dirs.map(|dir| dir.join("cargo-deny")).find(|program| program.is_file())
}
