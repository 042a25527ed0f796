//! `staticfire namesrv` and `mqnamesrv`: a name server until a signal.

use std::path::PathBuf;

use staticfire::env::Env;
use staticfire::namesrv::NameServer;
use staticfire::namesrv::StartError;

use crate::args::{Namesrv, Role};
use crate::broker;
use crate::failure::Failure;
use crate::file;
use crate::namesrv_keys::{Settings, TABLE};
use crate::running;
use crate::say;
use crate::signals::Signals;

/// # Errors
/// A bad file, or a name server that cannot start.
pub(crate) async fn run(env: &Env, options: Namesrv) -> Result<(), Failure> {
    let settings = file::properties(env, &TABLE, options.config.as_deref(), Settings::default()).await?;
    if options.print {
        broker::print(&TABLE.show(&settings), options.output);
        return Ok(());
    }
    let mut signals = Signals::listen()?;
    let server = start(env, &settings).await?;
    let address = server.local_addr().to_string();
    let announced = running::announce(env, Role::Namesrv, "name server", &address, data_dir(&settings)).await;
    say::line(&boot_line(&address));
    signals.stop_requested().await;
    signals.or_exit(server.stop()).await;
    announced.withdraw(env).await;
    Ok(())
}

/// # Errors
/// As [`run`].
pub(crate) async fn start(env: &Env, settings: &Settings) -> Result<NameServer, Failure> {
    match NameServer::start(env, settings.config()).await {
        Ok(server) => Ok(server),
        Err(error) => {
            let kind = match &error {
                StartError::Listen { source, .. } | StartError::ReadKv { source, .. } => Some(source.kind()),
                StartError::DamagedKv { .. } => None,
            };
            let (at, dir, cause) = (settings.address(), data_dir(settings), error.to_string());
            Err(Failure::to_start(env, "name server", at, &dir, kind, cause).await)
        }
    }
}

/// The line that scripts wait for (`NamesrvStartup`).
pub(crate) fn boot_line(address: &str) -> String {
    format!("The Name Server boot success. serializeType=JSON, address {address}")
}

fn data_dir(settings: &Settings) -> PathBuf {
    settings.kv_config_path.parent().map(PathBuf::from).unwrap_or_default()
}
