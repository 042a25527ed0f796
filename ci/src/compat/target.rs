//! The servers under test: ours, or Apache's own, against which the drivers and the rules are proven.
//!
//! Both are started the same way: two property files in a fresh directory, free ports, and the "boot success" lines that
//! people's scripts wait for.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::clock::{Deadline, nap};
use super::wire::Wire;

/// Which servers a run drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Against {
    /// `target/release/staticfire`.
    #[default]
    Staticfire,
    /// Apache RocketMQ 5.5.0 from Maven Central.
    Apache,
}

/// Why the servers did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{what} ended at start ({status}); see {log}")]
    Ended { what: &'static str, status: String, log: String },
    #[error("{what} did not say `{wanted}` within {seconds} s; see {log}")]
    Silent { what: &'static str, wanted: &'static str, seconds: u64, log: String },
    #[error("no two ports with free neighbours between 11000 and 31000")]
    Ports,
}

/// How to start a server: program and leading arguments of each role.
pub(crate) struct Launch {
    pub(crate) namesrv: Vec<String>,
    pub(crate) broker: Vec<String>,
    /// Property lines for the broker's file; they replace those of the same key.
    pub(crate) properties: Vec<String>,
}

impl Launch {
    /// Our release binary.
    pub(crate) fn staticfire(binary: &Path) -> Self {
        let binary = binary.display().to_string();
        let namesrv = vec![binary.clone(), "namesrv".to_owned()];
        Self { namesrv, broker: vec![binary, "broker".to_owned()], properties: Vec::new() }
    }

    /// Apache's servers out of a directory of jars.
    pub(crate) fn apache(jars: &Path, home: &Path) -> Self {
        let java = |class: &str, heap: &str| {
            let mut words: Vec<String> = ["java", "-Xmx", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
                .iter()
                .map(|word| (*word).to_owned())
                .collect();
            words[1] = format!("-Xmx{heap}");
            words.push(format!("-Duser.home={}", home.display()));
            words.extend(OPENS.iter().map(|open| (*open).to_owned()));
            words.extend(["-cp".to_owned(), format!("{}/*", jars.display()), class.to_owned()]);
            words
        };
        Self {
            namesrv: java("org.apache.rocketmq.namesrv.NamesrvStartup", "128m"),
            broker: java("org.apache.rocketmq.broker.BrokerStartup", "512m"),
            properties: vec!["mappedFileSizeCommitLog=67108864".to_owned()],
        }
    }
}

/// What Apache's servers need of a JDK 17.
const OPENS: &[&str] = &[
    "-XX:MaxDirectMemorySize=1g",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
];

/// A running name server and broker.
pub(crate) struct Target {
    pub(crate) namesrv: SocketAddr,
    pub(crate) broker: SocketAddr,
    launch: Launch,
    dir: PathBuf,
    children: Vec<Child>,
}

impl Target {
    /// Where the broker keeps everything.
    pub(crate) fn store(dir: &Path) -> PathBuf {
        dir.join("store")
    }

    /// Starts both in `dir`, on a store if there is one, and waits until the name server routes to the broker.
    pub(crate) fn start(launch: Launch, dir: &Path) -> Result<Self, TargetError> {
        fs::create_dir_all(dir.join("home/conf"))?;
        let (names_port, broker_port) = free_ports()?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (namesrv, broker) = (loopback(names_port), loopback(broker_port));
        fs::write(dir.join("namesrv.conf"), namesrv_conf(dir, names_port))?;
        let properties = overlaid(&broker_conf(dir, namesrv, broker_port), &launch.properties);
        fs::write(dir.join("broker.conf"), properties)?;
        let mut target = Self { namesrv, broker, launch, dir: dir.to_owned(), children: Vec::new() };
        target.start_both()?;
        Ok(target)
    }

    /// Starts both again, on what they stored, after [`Target::stop`].
    pub(crate) fn start_both(&mut self) -> Result<(), TargetError> {
        self.start_namesrv()?;
        self.start_broker()
    }

    fn start_namesrv(&mut self) -> Result<(), TargetError> {
        let conf = self.dir.join("namesrv.conf").display().to_string();
        let words = [self.launch.namesrv.clone(), vec!["-c".to_owned(), conf]].concat();
        self.launch_one("namesrv", &words, "The Name Server boot success")
    }

    /// Starts the broker, for the first time or again on what it stored.
    pub(crate) fn start_broker(&mut self) -> Result<(), TargetError> {
        let conf = self.dir.join("broker.conf").display().to_string();
        let options = vec!["-n".to_owned(), self.namesrv.to_string(), "-c".to_owned(), conf];
        let words = [self.launch.broker.clone(), options].concat();
        self.launch_one("broker", &words, "boot success")?;
        self.await_route()
    }

    /// SIGKILL to the broker, and nothing else.
    pub(crate) fn kill_broker(&mut self) {
        if let Some(mut child) = self.children.pop() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// How the broker ended, if it has.
    pub(crate) fn broker_ended(&mut self) -> Option<ExitStatus> {
        self.children.last_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// SIGTERM to both, broker first; returns whether both ended by themselves within `patience`.
    pub(crate) fn stop(&mut self, patience: Duration) -> bool {
        let mut graceful = true;
        while let Some(mut child) = self.children.pop() {
            drop(Command::new("kill").args(["-TERM", &child.id().to_string()]).status());
            let deadline = Deadline::after(patience);
            while matches!(child.try_wait(), Ok(None)) && !deadline.passed() {
                nap(Duration::from_millis(20));
            }
            graceful &= matches!(child.try_wait(), Ok(Some(_)));
            drop(child.kill());
            drop(child.wait());
        }
        graceful
    }

    fn launch_one(
        &mut self,
        what: &'static str,
        words: &[String],
        wanted: &'static str,
    ) -> Result<(), TargetError> {
        let log = self.dir.join(format!("{what}.out"));
        let (program, arguments) = words.split_first().ok_or(TargetError::Ports)?;
        let out = File::create(&log)?;
        let errors = out.try_clone()?;
        let child = Command::new(program)
            .args(arguments)
            .env("ROCKETMQ_HOME", self.dir.join("home"))
            .env("HOME", self.dir.join("home"))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(|source| TargetError::Start { program: program.clone(), source })?;
        self.children.push(child);
        let patience = Duration::from_secs(90);
        let deadline = Deadline::after(patience);
        while !fs::read_to_string(&log)?.contains(wanted) {
            let log = log.display().to_string();
            if let Some(status) = self.children.last_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(TargetError::Ended { what, status: status.to_string(), log });
            }
            if deadline.passed() {
                return Err(TargetError::Silent { what, wanted, seconds: patience.as_secs(), log });
            }
            nap(Duration::from_millis(5));
        }
        Ok(())
    }

    fn await_route(&self) -> Result<(), TargetError> {
        let deadline = Deadline::after(Duration::from_secs(30));
        loop {
            let routed = Wire::connect(self.namesrv)
                .is_ok_and(|mut names| matches!(names.has_route("TBW102"), Ok(true)));
            if routed && Wire::connect(self.broker).is_ok() {
                return Ok(());
            }
            if deadline.passed() {
                let log = self.dir.display().to_string();
                return Err(TargetError::Silent {
                    what: "namesrv",
                    wanted: "a route to the broker",
                    seconds: 30,
                    log,
                });
            }
            nap(Duration::from_millis(10));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

fn namesrv_conf(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!("listenPort={port}\nrocketmqHome={dir}/home\nkvConfigPath={dir}/kvConfig.json\n")
}

/// Transactions are checked sooner than by default, so that a run does not take minutes.
fn broker_conf(dir: &Path, namesrv: SocketAddr, port: u16) -> String {
    let dir = dir.display();
    format!(
        "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\n\
         listenPort={port}\nnamesrvAddr={namesrv}\nstorePathRootDir={dir}/store\n\
         storePathCommitLog={dir}/store/commitlog\nautoCreateTopicEnable=true\n\
         autoCreateSubscriptionGroup=true\ntransactionTimeOut=5000\ntransactionCheckInterval=4000\n"
    )
}

/// `conf` with `lines` in it, each instead of the line of its key.
fn overlaid(conf: &str, lines: &[String]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let replaced = |line: &str| lines.iter().any(|other| key(other) == key(line));
    let kept = conf.lines().filter(|line| !replaced(line));
    kept.chain(lines.iter().map(String::as_str)).map(|line| format!("{line}\n")).collect()
}

/// A port for the name server, and one for the broker whose neighbours (fast port −2, replication +1) are free too.
///
/// Below the range the kernel draws clients' ports from: a client must not sit on a port while its server restarts.
fn free_ports() -> Result<(u16, u16), TargetError> {
    const FIRST: u32 = 11_000;
    const LAST: u32 = 31_000;
    const APART: usize = 10;
    // Pairs already handed out by this process: their servers may not listen yet.
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    // Two runs on one machine begin their search at different places.
    let begin = FIRST + std::process::id() * 97 % (LAST - FIRST);
    let candidates =
        (begin..LAST).chain(FIRST..begin).step_by(APART).filter_map(|port| u16::try_from(port).ok());
    let candidates = candidates.skip(TAKEN.fetch_add(100, Ordering::Relaxed));
    let mut free = candidates.filter(|port| [port - 2, *port, port + 1].into_iter().all(is_free));
    free.next().zip(free.next()).ok_or(TargetError::Ports)
}
