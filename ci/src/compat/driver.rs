//! A child process that speaks the drivers' line protocol, and what it has said so far.
//!
//! Standard output and error go to files, so the evidence of a failed run stays; the harness reads the file as it grows.
//! Closing standard input ends a driver, so none outlives the harness.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Deadline, nap};
use super::record::Event;

/// Why a driver did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error("{name}: cannot start: {source}")]
    Start { name: String, source: io::Error },
    #[error("{name}: cannot be told anything: {source}")]
    Tell { name: String, source: io::Error },
    #[error("{name}: its output cannot be read: {source}")]
    Read { name: String, source: io::Error },
    #[error("{name}: {id} failed: {error}")]
    Failed { name: String, id: String, error: String },
    #[error("{name}: ended ({status}) while {what} was awaited; see {log}")]
    Ended { name: String, status: String, what: String, log: String },
    #[error("{name}: {what}: {is} of {wanted} after {seconds} s; see {log}")]
    Late { name: String, what: String, is: usize, wanted: usize, seconds: u64, log: String },
}

/// A running driver.
pub(crate) struct Driver {
    name: String,
    log: PathBuf,
    state: Mutex<State>,
}

struct State {
    child: Child,
    input: Option<ChildStdin>,
    output: File,
    partial: Vec<u8>,
    events: BTreeMap<(String, String), Vec<Event>>,
}

impl Driver {
    /// Starts `command` with its output in `dir/name.jsonl` and `dir/name.err`, and waits until it says that it is up.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self, DriverError> {
        let log = dir.join(format!("{name}.jsonl"));
        let failed = |source| DriverError::Start { name: name.to_owned(), source };
        let written = File::create(&log).map_err(failed)?;
        let errors = File::create(dir.join(format!("{name}.err"))).map_err(failed)?;
        command.stdin(Stdio::piped()).stdout(written).stderr(errors);
        let mut child = command.spawn().map_err(failed)?;
        let input = child.stdin.take();
        let output = File::open(&log).map_err(failed)?;
        let state = State { child, input, output, partial: Vec::new(), events: BTreeMap::new() };
        let driver = Self { name: name.to_owned(), log, state: Mutex::new(state) };
        driver.wait("", "up", 1, Duration::from_secs(60))?;
        Ok(driver)
    }

    /// The name it was started under.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends one command line.
    pub(crate) fn tell(&self, line: &str) -> Result<(), DriverError> {
        let failed = |source| DriverError::Tell { name: self.name.clone(), source };
        let mut state = self.state.lock();
        let input = state.input.as_mut().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).map_err(failed)
    }

    /// Waits until `id` has reported `wanted` events of kind `ev`.
    pub(crate) fn wait(
        &self,
        id: &str,
        ev: &str,
        wanted: usize,
        patience: Duration,
    ) -> Result<(), DriverError> {
        let deadline = Deadline::after(patience);
        loop {
            let is = self.count(id, ev)?;
            if is >= wanted {
                return Ok(());
            }
            let what = format!("{id} {ev}");
            let log = self.log.display().to_string();
            if let Some(status) = self.ended() {
                return Err(DriverError::Ended { name: self.name.clone(), status, what, log });
            }
            if deadline.passed() {
                let seconds = patience.as_secs();
                return Err(DriverError::Late { name: self.name.clone(), what, is, wanted, seconds, log });
            }
            nap(Duration::from_millis(20));
        }
    }

    /// How many events of kind `ev` has `id` reported? Fails when it reported a failure.
    pub(crate) fn count(&self, id: &str, ev: &str) -> Result<usize, DriverError> {
        let mut state = self.state.lock();
        state.read_on().map_err(|source| DriverError::Read { name: self.name.clone(), source })?;
        if let Some(event) = state.of(id, "failed").first() {
            let (name, id, error) = (self.name.clone(), id.to_owned(), event.error.clone());
            return Err(DriverError::Failed { name, id, error });
        }
        Ok(state.of(id, ev).len())
    }

    /// All events of kind `ev` that `id` has reported, in order.
    pub(crate) fn events(&self, id: &str, ev: &str) -> Result<Vec<Event>, DriverError> {
        self.count(id, ev)?;
        Ok(self.state.lock().of(id, ev).to_vec())
    }

    /// Ends it the hard way: SIGKILL.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock();
        // It may have ended by itself; then there is nothing to kill.
        drop(state.child.kill());
        drop(state.child.wait());
    }

    /// Closes its input, which is how a driver is asked to end, and waits for it.
    pub(crate) fn end(&self) {
        self.state.lock().input = None;
        let deadline = Deadline::after(Duration::from_secs(10));
        while self.ended().is_none() && !deadline.passed() {
            nap(Duration::from_millis(10));
        }
        self.kill();
    }

    fn ended(&self) -> Option<String> {
        self.state.lock().child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    fn of(&self, id: &str, ev: &str) -> &[Event] {
        self.events.get(&(id.to_owned(), ev.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Reads what was written since and keeps a half line for the next time.
    fn read_on(&mut self) -> io::Result<()> {
        self.output.read_to_end(&mut self.partial)?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.partial.split_off(end + 1);
        for line in std::mem::replace(&mut self.partial, rest).split(|byte| *byte == b'\n') {
            // A client's own chatter on standard output is not an event.
            if let Ok(event) = serde_json::from_slice::<Event>(line) {
                self.events.entry((event.id.clone(), event.ev.clone())).or_default().push(event);
            }
        }
        Ok(())
    }
}
