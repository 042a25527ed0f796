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
