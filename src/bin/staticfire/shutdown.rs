//! `mqshutdown broker|namesrv`: asks the servers of this machine and user to stop, and waits until they have.
//!
//! The first two lines are those of Apache's script.

use staticfire::env::Env;

use crate::args::{Output, Shutdown};
use crate::failure::Failure;
use crate::running;
use crate::running::Running;
use crate::say;

/// Between two looks at a process that is stopping.
const LOOK_MS: u64 = 20;

/// # Errors
/// None runs, one cannot be signalled, or one does not end in time.
pub(crate) async fn run(env: &Env, options: Shutdown) -> Result<(), Failure> {
    let mut servers = running::find(env, options.role).await;
    if let Some(data) = &options.data {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.clone());
        servers.retain(|server| server.data == data);
    }
    if servers.is_empty() {
        return Err(Failure::NotRunning { role: options.role });
    }
    let mut stopped = Vec::new();
    for server in servers {
        let launcher = options.role.launcher();
        let pid = server.pid;
        if options.output == Output::Text {
            say::line(&format!("The {launcher}({pid}) is running..."));
        }
        terminate(pid)?;
        if options.output == Output::Text {
            say::line(&format!("Send shutdown request to {launcher}({pid}) OK"));
        }
        let took_ms = wait(env, &server, options.wait).await?;
        if options.output == Output::Text {
            let Running { name, address, data, .. } = &server;
            say::line(&format!("Stopped {name} at {address} (data in {}) in {took_ms} ms", data.display()));
        }
        stopped.push(serde_json::json!({
            "role": server.role, "pid": pid, "name": server.name, "address": server.address,
            "data": server.data, "tookMs": took_ms,
        }));
    }
    if options.output == Output::Json {
        say::json(&serde_json::Value::Array(stopped));
    }
    Ok(())
}

fn terminate(pid: u32) -> Result<(), Failure> {
    let signalled = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    signalled.map_err(|error| Failure::Signal { pid, error: error.into() })
}

async fn wait(env: &Env, server: &Running, seconds: u64) -> Result<u128, Failure> {
    let asked = env.now();
    while server.alive() {
        if env.now().since(asked).as_secs() >= seconds {
            return Err(Failure::StillRunning { pid: server.pid, seconds });
        }
        env.sleep_ms(LOOK_MS).await;
    }
    Ok(env.now().since(asked).as_millis())
}
