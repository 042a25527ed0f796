//! The saturating client: one connection, one thread, a fixed number of sends in flight.
//!
//! Each send is a write of its own, as official clients do it; answers are read as they come. An answer makes room for
//! one send.

use std::io;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::frames::{Sends, is_success, whole};
use crate::server::cpu_us;

/// Before the measurement: connections, caches and the server's buffers find their size.
const WARM_UP: Duration = Duration::from_millis(300);
const READ_BYTES: usize = 256 << 10;

/// What one load process saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Acknowledged within the measured time.
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    /// Acknowledged from start to end, for what is counted per message over the whole run.
    pub(crate) all_messages: u64,
    /// Answers that said anything but success.
    pub(crate) refused: u64,
    /// Processor time of the client within the measured time, over that time.
    pub(crate) client_busy: f64,
}

/// Runs one load to its end: sends stop, the last answers are waited for.
///
/// # Errors
/// The server is not there, or goes away.
pub(crate) fn run(port: u16, millis: u64, in_flight: usize, body: usize) -> io::Result<Load> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut sends = Sends::new(body);
    let mut answers = Answers::new();

    let start = Instant::now();
    let span = Duration::from_millis(millis);
    let mut window = None;
    let mut flying = 0;
    for _ in 0..in_flight {
        stream.write_all(sends.next())?;
        flying += 1;
    }
    loop {
        let arrived = answers.read(&mut stream)?;
        flying -= arrived;
        let now = Instant::now();
        if window.is_none() && now - start >= WARM_UP {
            window = Some((now, answers.seen, cpu_us(std::process::id())?));
        }
        if let Some((from, seen, cpu)) = window
            && now - from >= span
        {
            let seconds = (now - from).as_secs_f64();
            let messages = answers.seen - seen;
            let busy = (cpu_us(std::process::id())? - cpu) as f64 / 1e6 / seconds;
            while flying > 0 {
                flying -= answers.read(&mut stream)?;
            }
            let (all_messages, refused) = (answers.seen, answers.refused);
            return Ok(Load { messages, seconds, all_messages, refused, client_busy: busy });
        }
        for _ in 0..arrived {
            stream.write_all(sends.next())?;
        }
        flying += arrived;
    }
}

/// Sends one message and gives back its answer.
///
/// # Errors
/// The server is not there, goes away, or refuses.
pub(crate) fn one(port: u16, body: usize) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(Sends::new(body).next())?;
    let mut answer = Vec::new();
    let mut part = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..count]);
        if let Some(length) = whole(&answer) {
            answer.truncate(length);
            if is_success(&answer) {
                return Ok(answer);
            }
            let words = String::from_utf8_lossy(answer.get(8..).unwrap_or_default()).into_owned();
            return Err(io::Error::other(format!("the first send was refused: {words}")));
        }
    }
}

/// Counts the answers of a stream.
struct Answers {
    buffer: Vec<u8>,
    filled: usize,
    seen: u64,
    refused: u64,
}

impl Answers {
    fn new() -> Answers {
        Answers { buffer: vec![0; READ_BYTES], filled: 0, seen: 0, refused: 0 }
    }

    /// Waits for bytes; how many answers they complete.
    fn read(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let count = stream.read(&mut self.buffer[self.filled..])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        self.filled += count;
        let (mut at, mut arrived) = (0, 0);
        while let Some(length) = whole(&self.buffer[at..self.filled]) {
            self.refused += u64::from(!is_success(&self.buffer[at..at + length]));
            at += length;
            arrived += 1;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        self.seen += arrived as u64;
        Ok(arrived)
    }
}
