//! Recovery of a killed store, and a store with very many queues.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Advice, fadvise};

use super::child::Report;
use super::{Options, single};
use crate::rounds::progress;

/// Kills a writer, takes what it wrote out of the page cache, and opens it.
pub(super) fn of_a_killed_log(options: &Options, out: &mut String) -> io::Result<()> {
    let dir = options.dir.join("killed");
    let mut writer = child("write", &dir, options.log)?.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = writer.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    writer.kill()?;
    writer.wait()?;
    if line.trim() != "written" {
        return Err(io::Error::other("the writer ended before it had written"));
    }
    progress(&format!("recovery: {} MB are written, their writer is killed", options.log));
    forget_pages(&dir)?;
    let cold = report(child("open", &dir, 0)?)?;
    progress(&format!("recovery: {cold:?}"));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    single(
        out,
        &format!("recovery of {} MB after kill -9, MB read", options.log),
        mb(cold.called_bytes),
        "<= 128",
    );
    let _ = writeln!(out, "{:<52} {:>8} {:>8.1}", "  of them of the log, MB", "", mb(cold.counted_bytes));
    let _ = writeln!(
        out,
        "{:<52} {:>8} {:>8.1}",
        "  from the disk, mapped pages too, MB",
        "",
        mb(cold.disk_bytes)
    );
    single(out, "  exec to the end of the first pull, ms", cold.first_pull_ms, "<= 1000");
    fs::remove_dir_all(&dir)
}

pub(super) fn of_many_queues(options: &Options, out: &mut String) -> io::Result<()> {
    let dir = options.dir.join("held");
    let held = report(child("hold", &dir, options.held as u64)?)?;
    progress(&format!("memory: {held:?}"));
    forget_pages(&dir)?;
    let again = report(child("open", &dir, 0)?)?;
    progress(&format!("memory, opened again: {again:?}"));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let _ = writeln!(out, "{:<52} {:>8} {:>8}", "queues with a message each", "", held.queues);
    single(out, "  resident, MB", mb(held.resident_bytes), "<= 150");
    let _ = writeln!(
        out,
        "{:<52} {:>8} {:>8.1}",
        "  of it not backed by a file, MB",
        "",
        mb(held.anonymous_bytes)
    );
    let _ = writeln!(out, "{:<52} {:>8} {:>8}", "  open files", "", held.open_files);
    let _ = writeln!(out, "{:<52} {:>8} {:>8.1}", "  from nothing to closed, s", "", held.seconds);
    let _ = writeln!(
        out,
        "{:<52} {:>8} {:>8.0}",
        "  opened again, exec to the first pull, ms", "", again.first_pull_ms
    );
    let _ =
        writeln!(out, "{:<52} {:>8} {:>8.1}", "  opened again, resident, MB", "", mb(again.resident_bytes));
    fs::remove_dir_all(&dir)
}

fn child(role: &str, dir: &Path, amount: u64) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("store-child").arg(role).arg("--dir").arg(dir).args(["--amount", &amount.to_string()]);
    command.stdin(Stdio::null());
    Ok(command)
}

fn report(mut child: Command) -> io::Result<Report> {
    let output = child.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("a store's process ended: {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Writes what is dirty and asks the kernel to forget the pages: what is read next comes from the disk.
fn forget_pages(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(fs::File::open(dir)?)?;
    forget_below(dir)
}

fn forget_below(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_below(&path)?;
        } else {
            let file = fs::File::open(&path)?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
