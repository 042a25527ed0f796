//! Other processes, as far as `/proc` tells. Where there is no `/proc`, nothing is known and nothing fails.

use std::path::{Path, PathBuf};

use staticfire::env::Env;

use crate::file;

/// How much of a command line is worth showing, in characters.
const COMMAND_CHARS_MAX: usize = 60;

/// A process, for a sentence: `process 4711 (java -cp …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.command.is_empty() {
            write!(f, "process {}", self.pid)
        } else {
            write!(f, "process {} ({})", self.pid, self.command)
        }
    }
}

/// The process `pid` with its command line; the line is empty when `/proc` does not tell.
pub(crate) fn process(pid: u32) -> Process {
    let line = file::kernel(&of(pid, "cmdline"));
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let full = words.join(" ");
    let mut command: String = full.chars().take(COMMAND_CHARS_MAX).collect();
    if command.len() < full.len() {
        command.push('…');
    }
    Process { pid, command }
}

/// When `pid` started, in clock ticks since boot: with the number itself this names one process for good. `None` when
/// there is no such process, or when it is a zombie that only waits to be collected.
pub(crate) fn started(pid: u32) -> Option<u64> {
    start_ticks(&String::from_utf8_lossy(&file::kernel(&of(pid, "stat"))))
}

/// The process that listens on TCP `port`, if this user may know.
pub(crate) async fn listener(env: &Env, port: u16) -> Option<Process> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = file::kernel(Path::new(table));
        sockets.extend(listening_inodes(&String::from_utf8_lossy(&text), port));
    }
    if sockets.is_empty() {
        return None;
    }
    for entry in env.disk.list(Path::new("/proc")).await.ok()? {
        let Ok(pid) = entry.name.parse::<u32>() else { continue };
        let dir = of(pid, "fd");
        for open in env.disk.list(&dir).await.unwrap_or_default() {
            let link = rustix::fs::readlink(dir.join(&open.name), Vec::new()).unwrap_or_default();
            let link = link.to_string_lossy().into_owned();
            if sockets.iter().any(|inode| link == format!("socket:[{inode}]")) {
                return Some(process(pid));
            }
        }
    }
    None
}

fn of(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// Field 22 of `/proc/PID/stat`. The name in field 2 may hold blanks and brackets, so fields count from its end.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Inodes of the sockets of a `/proc/net/tcp` that listen (state `0A`) on `port`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
        listens.then(|| fields.get(9)?.parse().ok())?
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::{listening_inodes, start_ticks};

    #[test]
    fn a_start_time_is_found_behind_any_name() {
        let tail = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20";
        assert_eq!(start_ticks(&format!("7 (a) b) S {tail}")), Some(424_242));
        assert_eq!(start_ticks(&format!("7 (a) Z {tail}")), None);
        assert_eq!(start_ticks("7 (a"), None);
    }

    #[test]
    fn only_the_listener_of_the_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:2694 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n\
            1: 0100007F:2694 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n\
            2: 0100007F:2695 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0\n";
        assert_eq!(listening_inodes(table, 9876), [11]);
        assert!(listening_inodes("garbage\n\n", 9876).is_empty());
    }
}
