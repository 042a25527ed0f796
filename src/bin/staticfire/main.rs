//! The `staticfire` binary: name server and broker as processes.
//!
//! ```text
//! argv ─▶ args ─▶ dev | namesrv | broker | shutdown ─▶ env::real ─▶ NameServer, Broker ─▶ boot line ─▶ signal ─▶ stop
//!              └▶ store check | dump | repair ─▶ the files of a store that no broker runs ─▶ exit code
//! ```
//!
//! The roles are libraries that take an [`Env`](staticfire::env::Env); what is here is what a process adds to them:
//! command line, property files, boot lines, signals, process-id files, and failures told so that the reader knows what
//! to do next. One thread runs everything: a message passes from socket to log to socket without changing hands.
//!
//! Not here: anything a simulation should execute.

#[cfg(not(madsim))]
mod args;
#[cfg(not(madsim))]
mod broker;
#[cfg(not(madsim))]
mod dev;
#[cfg(not(madsim))]
mod failure;
#[cfg(not(madsim))]
mod file;
#[cfg(not(madsim))]
mod host;
#[cfg(all(test, not(madsim)))]
mod keys_doc;
#[cfg(not(madsim))]
mod logging;
#[cfg(not(madsim))]
mod namesrv;
#[cfg(not(madsim))]
mod namesrv_keys;
#[cfg(not(madsim))]
mod proc;
#[cfg(not(madsim))]
mod running;
#[cfg(not(madsim))]
mod say;
#[cfg(not(madsim))]
mod shutdown;
#[cfg(not(madsim))]
mod signals;
#[cfg(not(madsim))]
mod store;

use std::process::ExitCode;

/// Under `--cfg madsim` the runtime is the simulator's: it has no sockets, no files and no signals of this machine.
#[cfg(madsim)]
fn main() -> ExitCode {
    use std::io::Write;
    let refusal = "error: this staticfire was built for simulation (--cfg madsim) and cannot serve\n\
                   next: build it without that flag, or run the simulation with `cargo ci sim`\n";
    // Standard error may be closed; the exit code still says it.
    let _ = std::io::stderr().write_all(refusal.as_bytes());
    ExitCode::FAILURE
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    let arguments = args::parse();
    let done = logging::start(arguments.log.as_deref()).and_then(|()| run(arguments.command));
    match done {
        Ok(code) => code,
        Err(failure) => {
            say::failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(not(madsim))]
fn run(command: args::Command) -> Result<ExitCode, failure::Failure> {
    let runtime = tokio_real::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failure::Failure::Runtime { error })?;
    let done = runtime.block_on(async {
        let env = staticfire::env::real::env();
        match command {
            args::Command::Dev(options) => dev::run(&env, options).await.map(|()| ExitCode::SUCCESS),
            args::Command::Namesrv(options) => namesrv::run(&env, options).await.map(|()| ExitCode::SUCCESS),
            args::Command::Broker(options) => broker::run(&env, options).await.map(|()| ExitCode::SUCCESS),
            args::Command::Store(what) => store::run(&env, what).await,
            args::Command::Shutdown(options) => {
                shutdown::run(&env, options).await.map(|()| ExitCode::SUCCESS)
            }
        }
    });
    // A blocking call that is still under way (a resolver, say) is not worth waiting for.
    runtime.shutdown_background();
    done
}
