//! What a scenario stands on: one official client's driver processes beside the servers under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clock::{Deadline, nap};
use super::driver::{Driver, DriverError};
use super::install::Installed;
use super::record::{Event, Fault, Got};
use super::target::TargetError;
use super::wire::{Wire, WireError};

/// How long a step may take before the scenario fails. Generous: the machine runs four clients at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a record must stay as it is after the last expected message, so that a duplicate has time to show.
pub(crate) const QUIET: Duration = Duration::from_millis(1500);

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("{0}")]
    Driver(#[from] DriverError),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("negative control: the rule passed a record with {0}")]
    Blind(&'static str),
    #[error("{what} did not happen within {seconds} s")]
    Never { what: &'static str, seconds: u64 },
}

/// What a passed check found, in words for the report.
pub(crate) type Checked = Result<String, CheckError>;

/// An official client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// C++, as packed in the PyPI wheel rocketmq 0.4.4
    Cpp,
    /// Java rocketmq-client 4.9.8
    Java4,
    /// Java rocketmq-client 5.5.0
    Java5,
    /// rocketmq-client-go v2.1.2
    Go,
}

impl Client {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Cpp, Self::Java4, Self::Java5, Self::Go];

    /// Short name, part of every topic and group of its scenarios.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Cpp => "cpp",
            Self::Java4 => "java4",
            Self::Java5 => "java5",
            Self::Go => "go",
        }
    }
}

/// One client beside the servers.
pub(crate) struct Stage<'a> {
    pub(crate) client: Client,
    pub(crate) namesrv: SocketAddr,
    pub(crate) broker: SocketAddr,
    installed: &'a Installed,
    dir: PathBuf,
}

impl<'a> Stage<'a> {
    /// A stage whose drivers write into `dir`.
    pub(crate) fn new(
        client: Client,
        namesrv: SocketAddr,
        broker: SocketAddr,
        installed: &'a Installed,
        dir: &Path,
    ) -> Self {
        Self { client, namesrv, broker, installed, dir: dir.to_owned() }
    }

    /// A topic or group name of this client's.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}_{}", self.client.label())
    }

    /// Starts a driver process called `role`.
    pub(crate) fn driver(&self, role: &str) -> Result<Driver, DriverError> {
        let name = format!("{}-{role}", self.client.label());
        let home = self.dir.join("home").join(&name);
        let mut command = match self.client {
            Client::Cpp => {
                let mut command = Command::new(&self.installed.python);
                command.arg(self.installed.cpp_driver());
                command
            }
            Client::Go => Command::new(&self.installed.go_driver),
            Client::Java4 => java(&self.installed.java_4, &home, "Driver"),
            Client::Java5 => java(&self.installed.java_5, &home, "Driver"),
        };
        command
            .arg(self.namesrv.to_string())
            .env("HOME", &home)
            .env("NAMESRV_ADDR", self.namesrv.to_string());
        let failed = |source| DriverError::Start { name: name.clone(), source };
        std::fs::create_dir_all(&home).map_err(failed)?;
        Driver::start(&name, command, &self.dir)
    }

    /// A connection of the harness's own to the broker.
    pub(crate) fn to_broker(&self) -> Result<Wire, CheckError> {
        Ok(Wire::connect(self.broker)?)
    }

    /// Creates a topic and waits until the name server routes to it.
    pub(crate) fn topic(&self, what: &str, queues: u32) -> Result<String, CheckError> {
        let topic = self.name(what);
        self.to_broker()?.create_topic(&topic, queues)?;
        self.await_route(&topic)?;
        Ok(topic)
    }

    /// Waits until the name server has a route for `topic`.
    pub(crate) fn await_route(&self, topic: &str) -> Result<(), CheckError> {
        let mut names = Wire::connect(self.namesrv)?;
        until("a route", || Ok(names.has_route(topic)?))
    }

    /// Waits until `group` has `count` members at the broker.
    pub(crate) fn await_members(&self, group: &str, count: usize) -> Result<(), CheckError> {
        let mut broker = self.to_broker()?;
        until("the group's membership", || Ok(broker.members(group)? == count))
    }
}

/// A Java command line with a small heap and a quick start.
pub(crate) fn java(class_path: &str, home: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx160m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    command.arg("--add-opens=java.base/java.nio=ALL-UNNAMED").arg(format!("-Duser.home={}", home.display()));
    command.args(["-cp", class_path, class]);
    command
}

/// Looks again until `done`, or patience ends.
pub(crate) fn until(
    what: &'static str,
    mut done: impl FnMut() -> Result<bool, CheckError>,
) -> Result<(), CheckError> {
    let deadline = Deadline::after(PATIENCE);
    while !done()? {
        if deadline.passed() {
            return Err(CheckError::Never { what, seconds: PATIENCE.as_secs() });
        }
        nap(Duration::from_millis(25));
    }
    Ok(())
}

/// Waits until the consumers together received `wanted` messages, then until no more came for [`QUIET`].
///
/// Late is no error here: the rule that judges the record names what is missing.
pub(crate) fn gather(consumers: &[(&Driver, &str)], wanted: usize) -> Result<Vec<Got>, CheckError> {
    let deadline = Deadline::after(PATIENCE);
    let total = || -> Result<usize, CheckError> {
        Ok(consumers.iter().map(|(driver, id)| driver.count(id, "got")).sum::<Result<usize, _>>()?)
    };
    while total()? < wanted && !deadline.passed() {
        nap(Duration::from_millis(25));
    }
    let mut before = total()?;
    let mut quiet = Deadline::after(QUIET);
    while !quiet.passed() && !deadline.passed() {
        nap(Duration::from_millis(50));
        let now = total()?;
        if now != before {
            (before, quiet) = (now, Deadline::after(QUIET));
        }
    }
    let mut all = Vec::new();
    for (driver, id) in consumers {
        let member = format!("{}/{id}", driver.name());
        let events: Vec<Event> = driver.events(id, "got")?;
        all.extend(events.into_iter().map(|event| Got { member: member.clone(), event }));
    }
    // Members report on their own; the machine's wall clock puts them in one sequence.
    all.sort_by_key(|one| one.event.at);
    Ok(all)
}

/// Tells `driver` to produce and waits until it is done.
pub(crate) fn produce(driver: &Driver, id: &str, words: &str) -> Result<Vec<Event>, CheckError> {
    driver.tell(&format!("do=produce id={id} {words}"))?;
    driver.wait(id, "done", 1, PATIENCE)?;
    Ok(driver.events(id, "sent")?)
}

/// Tells `driver` to consume and waits until the client has started.
pub(crate) fn consume(driver: &Driver, id: &str, words: &str) -> Result<(), CheckError> {
    driver.tell(&format!("do=consume id={id} {words}"))?;
    Ok(driver.wait(id, "ready", 1, PATIENCE)?)
}

/// Tells `driver` to stop a client and waits until it has.
pub(crate) fn stop(driver: &Driver, id: &str) -> Result<(), CheckError> {
    driver.tell(&format!("do=stop id={id}"))?;
    Ok(driver.wait(id, "stopped", 1, PATIENCE)?)
}
