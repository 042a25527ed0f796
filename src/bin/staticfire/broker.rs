//! `staticfire broker` and `mqbroker`: a broker until a signal.

use std::io;
use std::net::SocketAddr;

use staticfire::broker::config::{Config, FlushDiskType, TABLE};
use staticfire::broker::{Broker, StartError};
use staticfire::env::Env;
use staticfire::store::OpenError;

use crate::args::{Broker as Options, Output, Role};
use crate::failure::{Failure, chain};
use crate::file;
use crate::host;
use crate::running;
use crate::say;
use crate::signals::Signals;

/// The keys that `-m` prints: those Apache marks as important and this broker supports.
const IMPORTANT: [&str; 14] = [
    "brokerClusterName",
    "brokerName",
    "brokerId",
    "brokerRole",
    "brokerIP1",
    "listenPort",
    "namesrvAddr",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "storePathRootDir",
    "flushDiskType",
    "deleteWhen",
    "fileReservedTime",
    "rejectTransactionMessage",
];

/// # Errors
/// A bad file or option, a broker that cannot start, or one that could not save what it held when it stopped.
pub(crate) async fn run(env: &Env, options: Options) -> Result<(), Failure> {
    let config = config(env, &options).await?;
    if options.print || options.print_important {
        let mut shown = TABLE.show(&config);
        shown.retain(|(key, _)| options.print || IMPORTANT.contains(key));
        print(&shown, options.output);
        return Ok(());
    }
    if config.broker_ip1.is_loopback() && !config.bind_address.is_loopback() {
        say::warning("no address but loopback found: other machines need brokerIP1 to be set");
    }
    let mut signals = Signals::listen()?;
    let broker = start(env, &config).await?;
    let address = advertised(&config, &broker).to_string();
    let announced =
        running::announce(env, Role::Broker, &config.broker_name, &address, config.store_path_root.clone())
            .await;
    say::line(&boot_line(&config, &address));
    signals.stop_requested().await;
    stop(&mut signals, broker).await?;
    announced.withdraw(env).await;
    Ok(())
}

/// Defaults of this host, under `$NAMESRV_ADDR`, under the file, under `-n`: as Apache's launcher does it.
async fn config(env: &Env, options: &Options) -> Result<Config, Failure> {
    let mut base = Config::new(&host::find().await);
    if let Ok(text) = std::env::var("NAMESRV_ADDR") {
        name_servers(&mut base, &text)?;
    }
    let mut config = file::properties(env, &TABLE, options.config.as_deref(), base).await?;
    if let Some(text) = &options.namesrv {
        name_servers(&mut config, text)?;
    }
    Ok(config)
}

fn name_servers(config: &mut Config, text: &str) -> Result<(), Failure> {
    TABLE.set(config, "namesrvAddr", text).map_err(|_| Failure::NameServers { text: text.to_owned() })?;
    Ok(())
}

/// # Errors
/// As [`run`].
pub(crate) async fn start(env: &Env, config: &Config) -> Result<Broker, Failure> {
    match Broker::start(env, config.clone()).await {
        Ok(broker) => Ok(broker),
        Err(error) => Err(not_started(env, config, error).await),
    }
}

async fn not_started(env: &Env, config: &Config, error: StartError) -> Failure {
    let cause = chain(&error);
    let kind = match error {
        StartError::Store(OpenError::Locked { .. }) => return Failure::Locked { cause },
        StartError::Store(OpenError::SegmentSize { path, is, asked }) => {
            return Failure::SegmentSize { segment: path, is, asked };
        }
        StartError::Store(OpenError::DiskFull { .. }) => Some(io::ErrorKind::StorageFull),
        StartError::Store(OpenError::Io { error, .. }) => Some(error.kind()),
        StartError::Listen { source, .. } => Some(source.kind()),
        _ => None,
    };
    let at = SocketAddr::new(config.bind_address, config.listen_port);
    Failure::to_start(env, "broker", at, &config.store_path_root, kind, cause).await
}

/// Flushes, unregisters, and removes the mark of an unclean end; a second signal cuts it short.
///
/// # Errors
/// Something could not be saved.
pub(crate) async fn stop(signals: &mut Signals, broker: Broker) -> Result<(), Failure> {
    let stopped = signals.or_exit(broker.stop()).await;
    stopped.map_err(|error| Failure::Stop { what: "broker", cause: chain(&error) })
}

/// The address that clients are told.
pub(crate) fn advertised(config: &Config, broker: &Broker) -> SocketAddr {
    SocketAddr::new(config.broker_ip1, broker.local_addr().port())
}

/// The line that scripts wait for (`BrokerStartup`).
pub(crate) fn boot_line(config: &Config, address: &str) -> String {
    let name = &config.broker_name;
    let mut line = format!("The broker[{name}, {address}] boot success. serializeType=JSON");
    if !config.namesrv_addr.is_empty() {
        line.push_str(" and name server is ");
        line.push_str(&config.namesrv_addr.join(";"));
    }
    line
}

/// What an acknowledgement promises.
pub(crate) fn durability(config: &Config) -> &'static str {
    match config.flush_disk_type {
        FlushDiskType::Async => {
            "an acknowledged message survives a crash of this process, not of the machine (ASYNC_FLUSH)"
        }
        FlushDiskType::Sync => {
            "an acknowledged message survives a crash of this process and of the machine (SYNC_FLUSH)"
        }
    }
}

/// Settings as a property file, or as one JSON object.
pub(crate) fn print(settings: &[(&'static str, String)], output: Output) {
    match output {
        Output::Text => settings.iter().for_each(|(key, value)| say::line(&format!("{key}={value}"))),
        Output::Json => {
            let object = settings.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into()));
            say::json(&serde_json::Value::Object(object.collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use staticfire::broker::config::{Config, TABLE};

    use super::{IMPORTANT, boot_line};

    #[test]
    fn the_boot_line_is_rocketmqs_own() {
        let mut config = Config { broker_name: "broker-a".to_owned(), ..Config::default() };
        let alone = "The broker[broker-a, 192.0.2.7:10911] boot success. serializeType=JSON";
        assert_eq!(boot_line(&config, "192.0.2.7:10911"), alone);
        config.namesrv_addr = vec!["a:9876".to_owned(), "b:9876".to_owned()];
        let registered = format!("{alone} and name server is a:9876;b:9876");
        assert_eq!(boot_line(&config, "192.0.2.7:10911"), registered);
    }

    #[test]
    fn every_important_key_is_a_key() {
        let keys = TABLE.keys.iter().map(|key| key.name).collect::<Vec<_>>();
        assert!(IMPORTANT.iter().all(|key| keys.contains(key)));
    }
}
