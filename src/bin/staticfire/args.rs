//! The command line, under one's own name and under RocketMQ's.
//!
//! `mqnamesrv`, `mqbroker` and `mqshutdown` are links to the same binary; their options are those of Apache's launchers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A RocketMQ-compatible message broker.
#[derive(Debug, Parser)]
#[command(name = "staticfire", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to log to standard error: error, warn, info, debug, trace, or `module=level,…` [default: $RUST_LOG, or warn]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a name server and a broker in one process, on loopback, with data in ./staticfire-data
    Dev(Dev),
    /// Run a name server (also as `mqnamesrv`)
    Namesrv(Namesrv),
    /// Run a broker (also as `mqbroker`)
    Broker(Broker),
    /// Stop the servers of this machine and user (also as `mqshutdown`)
    Shutdown(Shutdown),
    /// Look at the files of a store that no broker runs, or mend them
    #[command(subcommand)]
    Store(Store),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read everything and say what is there, what is damaged, and what a start would do (exit code 0 whole, 1 damaged,
    /// 2 could not look). Changes nothing
    Check(Check),
    /// Print records, or units of queue files. Changes nothing
    Dump(Dump),
    /// Say what would be mended; with --yes, mend it: end the log at its last valid record, build queue files again from
    /// the log. What is cut or rewritten is kept in DIR/repair-<time>
    Repair(Repair),
}

/// The directory, and what cannot be seen from its files.
#[derive(Debug, Args)]
pub(crate) struct StoreDir {
    /// The store's directory (storePathRootDir)
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Bytes of a commit-log segment (mappedFileSizeCommitLog) [default: by the files]
    #[arg(long, value_name = "BYTES")]
    pub(crate) segment_bytes: Option<u64>,
    /// Bytes of a queue file (mappedFileSizeConsumeQueue) [default: by the files]
    #[arg(long, value_name = "BYTES")]
    pub(crate) queue_file_bytes: Option<u64>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) store: StoreDir,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    pub(crate) store: StoreDir,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) store: StoreDir,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Only this queue of the topic; --from and --to are offsets in it then
    #[arg(long, value_name = "ID", requires = "topic")]
    pub(crate) queue: Option<u32>,
    /// From this position of the log, or offset of the queue, on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// Up to, and without, this position or offset
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) to: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) limit: u64,
    /// Print bodies as well
    #[arg(long)]
    pub(crate) body: bool,
    /// Units of queue files instead of records
    #[arg(long, conflicts_with = "body")]
    pub(crate) units: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "staticfire-data")]
    pub(crate) data: PathBuf,
    /// Port of the name server
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub(crate) namesrv_port: u16,
    /// Port of the broker
    #[arg(long, value_name = "PORT", default_value_t = 10911)]
    pub(crate) listen_port: u16,
    /// Further settings of the broker, as a property file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Namesrv {
    /// Settings, as a property file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting with its value, and exit
    #[arg(short, long)]
    pub(crate) print: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Broker {
    /// Name servers, as `host:port;host:port` [default: the file's namesrvAddr, or $NAMESRV_ADDR]
    #[arg(short, long, value_name = "ADDRESSES")]
    pub(crate) namesrv: Option<String>,
    /// Settings, as a property file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting with its value, and exit
    #[arg(short, long)]
    pub(crate) print: bool,
    /// Print the settings one usually sets, and exit
    #[arg(short = 'm', long, conflicts_with = "print")]
    pub(crate) print_important: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Shutdown {
    /// Which servers to stop
    #[arg(value_enum)]
    pub(crate) role: Role,
    /// Only the one that keeps its data here, not every one of this user
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How long to wait for each of them to end, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) wait: u64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// What a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Broker,
    Namesrv,
    Dev,
}

/// The command line of this process. Ends it with code 2 and a usage message when it is malformed, with 0 for help.
pub(crate) fn parse() -> Arguments {
    Arguments::parse_from(by_name(std::env::args_os().collect()))
}

/// `mqbroker -c F` is `staticfire broker -c F`.
fn by_name(mut argv: Vec<OsString>) -> Vec<OsString> {
    let name = argv.first().map(Path::new).and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let command = match name {
        Some("mqnamesrv") => "namesrv",
        Some("mqbroker") => "broker",
        Some("mqshutdown") => "shutdown",
        _ => return argv,
    };
    argv.insert(1, command.into());
    argv
}

impl Role {
    /// The name of RocketMQ's launcher, by which people's scripts know it.
    pub(crate) fn launcher(self) -> &'static str {
        match self {
            Role::Broker => "mqbroker",
            Role::Namesrv => "mqnamesrv",
            Role::Dev => "staticfire dev",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, Command, Role, by_name};

    fn parsed(line: &str) -> Command {
        let argv = by_name(line.split(' ').map(Into::into).collect());
        Arguments::try_parse_from(argv).expect("a command line").command
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rocketmqs_launchers_work_by_their_names() {
        assert!(matches!(parsed("/opt/mq/bin/mqnamesrv -c f -p"), Command::Namesrv(o) if o.print));
        let broker = parsed("mqbroker -n 192.0.2.1:9876 -c broker.conf -m");
        assert!(matches!(broker, Command::Broker(o) if o.print_important && o.namesrv.is_some()));
        assert!(matches!(parsed("mqshutdown namesrv"), Command::Shutdown(o) if o.role == Role::Namesrv));
        assert!(matches!(parsed("staticfire dev"), Command::Dev(o) if o.listen_port == 10911));
    }
}
