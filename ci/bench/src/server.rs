//! The servers under load: the broker as a process, the two echoes, and what `/proc` says about each.

use std::fs::{File, OpenOptions};
use std::io;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_real::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::frames::whole;
use crate::load;

/// A server process, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

/// Bytes of the probe's log; it starts over at the end, on blocks that exist.
const LOG_BYTES: u64 = 64 << 20;
/// What one drain of the echo takes at most: as much as the kernel holds for a connection.
const DRAIN_BYTES: usize = 256 << 10;
const START_MAX: Duration = Duration::from_secs(30);

impl Server {
    /// This program as an echo that answers `reply`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn echo(reply: &Path, log: Option<&Path>) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("echo").arg("--reply").arg(reply);
        if let Some(log) = log {
            command.arg("--log").arg(log);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the echo did not start"))?;
        Ok(Server { child, port })
    }

    /// The broker on an empty store, and its answer to the first send with the time from exec to that answer.
    ///
    /// # Errors
    /// It does not start, or refuses the send.
    pub(crate) fn broker(
        binary: &Path,
        dir: &Path,
        flush: &str,
        body: usize,
    ) -> io::Result<(Server, Vec<u8>, Duration)> {
        let store = dir.join(format!("store-{flush}"));
        if store.exists() {
            std::fs::remove_dir_all(&store)?;
        }
        let port = free_port()?;
        let conf = dir.join(format!("{flush}.conf"));
        let text = format!(
            "brokerName=bench\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nlistenPort={port}\n\
             storePathRootDir={}\nflushDiskType={flush}\n",
            store.display()
        );
        std::fs::write(&conf, text)?;
        let log = File::create(dir.join(format!("{flush}.log")))?;
        let mut command = Command::new(binary);
        command.arg("broker").arg("-c").arg(&conf).env_remove("NAMESRV_ADDR");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn()?;
        let mut server = Server { child, port };
        let answer = server.first_answer(started, body)?;
        Ok((server, answer, started.elapsed()))
    }

    fn first_answer(&mut self, started: Instant, body: usize) -> io::Result<Vec<u8>> {
        loop {
            match load::one(self.port, body) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(io::Error::other(format!("the broker ended: {status}; see its log")));
                    }
                    if started.elapsed() > START_MAX {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the broker does not listen"));
                    }
                    // Not a wait for a condition to come true by luck: a look every 200 µs until it does.
                    std::thread::sleep(Duration::from_micros(200));
                }
                answer => return answer,
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until killed: answers each frame with the bytes of the file `reply`, all frames of a drain in one write.
///
/// # Errors
/// A file cannot be read or made, or a write to the log fails.
pub(crate) fn echo(reply: &Path, log: Option<&Path>) -> io::Result<()> {
    let reply = std::fs::read(reply)?;
    let mut log = log.map(Log::create).transpose()?;
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio_real::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        crate::print(&listener.local_addr()?.port().to_string())?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // One connection at a time is all that is measured. A client that goes ends only its connection.
            if let Err(error) = answer(&mut stream, &reply, log.as_mut()).await
                && error.kind() != io::ErrorKind::ConnectionReset
            {
                return Err(error);
            }
        }
    })
}

async fn answer(
    stream: &mut tokio_real::net::TcpStream,
    reply: &[u8],
    mut log: Option<&mut Log>,
) -> io::Result<()> {
    let mut buffer = vec![0; DRAIN_BYTES * 2];
    let mut replies = Vec::new();
    let mut filled = 0;
    loop {
        let end = (filled + DRAIN_BYTES).min(buffer.len());
        let count = stream.read(&mut buffer[filled..end]).await?;
        if count == 0 {
            return Ok(());
        }
        if let Some(log) = log.as_deref_mut() {
            log.append(&buffer[filled..filled + count])?;
        }
        filled += count;
        let mut at = 0;
        while let Some(length) = whole(&buffer[at..filled]) {
            at += length;
            replies.extend_from_slice(reply);
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        stream.write_all(&replies).await?;
        replies.clear();
    }
}

/// What a log costs at least: the bytes, and one sync of them.
struct Log {
    file: File,
    at: u64,
}

impl Log {
    fn create(path: &Path) -> io::Result<Log> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        // Written, not only reserved: the first sync of a reserved block also syncs that it is in use.
        let zeros = vec![0; 1 << 20];
        for _ in 0..LOG_BYTES >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Log { file, at: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.at + bytes.len() as u64 > LOG_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()
    }
}

/// Processor time of a process so far, user and system, in microseconds.
///
/// # Errors
/// There is no such process.
pub(crate) fn cpu_us(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    let ticks: u64 =
        fields.into_iter().flatten().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Resident memory of a process in bytes, and the part of it that no file holds.
///
/// # Errors
/// There is no such process.
pub(crate) fn resident(pid: u32) -> io::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    Ok((bytes("VmRSS:"), bytes("RssAnon:")))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
