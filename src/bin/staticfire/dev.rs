//! `staticfire dev`: a name server and a broker in one process, for this machine only.

use std::net::{IpAddr, Ipv4Addr};

use staticfire::broker::config::{Config, Host, TABLE};
use staticfire::env::Env;

use crate::args::{Dev, Role};
use crate::broker;
use crate::failure::Failure;
use crate::file;
use crate::namesrv;
use crate::namesrv_keys::Settings;
use crate::running;
use crate::say;
use crate::signals::Signals;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A gibibyte a segment is reserved at once: too much of a laptop's disk for a first look.
const SEGMENT_BYTES: u64 = 128 << 20;

/// # Errors
/// A bad file, a server that cannot start, or a broker that could not save what it held when it stopped.
pub(crate) async fn run(env: &Env, options: Dev) -> Result<(), Failure> {
    let settings = Settings {
        bind_address: LOOPBACK,
        listen_port: options.namesrv_port,
        kv_config_path: options.data.join("namesrv").join("kvConfig.json"),
        ..Settings::default()
    };
    let base = Config {
        bind_address: LOOPBACK,
        listen_port: options.listen_port,
        store_path_root: options.data.join("broker"),
        commit_log_segment_bytes: SEGMENT_BYTES,
        // A laptop's disk is often fuller than a broker's may be, and not by messages.
        disk_warning_percent: 100,
        disk_clean_forcibly_percent: 100,
        ..Config::new(&Host { name: "dev".to_owned(), ip: LOOPBACK })
    };
    let mut config = file::properties(env, &TABLE, options.config.as_deref(), base).await?;

    let mut signals = Signals::listen()?;
    let name_server = namesrv::start(env, &settings).await?;
    let name_server_address = name_server.local_addr().to_string();
    config.namesrv_addr = vec![name_server_address.clone()];
    let server = broker::start(env, &config).await?;
    let broker_address = broker::advertised(&config, &server).to_string();
    let announced =
        running::announce(env, Role::Dev, &config.broker_name, &broker_address, options.data.clone()).await;

    say::line(&namesrv::boot_line(&name_server_address));
    say::line(&broker::boot_line(&config, &broker_address));
    let data = std::path::absolute(&options.data).unwrap_or(options.data);
    say::line(&welcome(&config, &name_server_address, &broker_address, &data.display().to_string()));

    signals.stop_requested().await;
    say::line("stopping");
    broker::stop(&mut signals, server).await?;
    signals.or_exit(name_server.stop()).await;
    announced.withdraw(env).await;
    say::line("stopped: everything is on the disk");
    Ok(())
}

fn welcome(config: &Config, name_server: &str, broker: &str, data: &str) -> String {
    let Config { broker_name, cluster_name, .. } = config;
    let durability = broker::durability(config);
    let topics = if config.auto_create_topic {
        "The first send creates its topic."
    } else {
        "Topics must be created first (autoCreateTopicEnable=false)."
    };
    format!(
        "
  name server  {name_server}
  broker       {broker}  ({broker_name} of {cluster_name})
  data         {data}
  promise      {durability}

Connect a RocketMQ client of the remoting protocol (4.x, or 5.x without a proxy):

  Java    producer.setNamesrvAddr(\"{name_server}\");
  Go      producer.WithNameServer([]string{{\"{name_server}\"}})
  Python  producer.set_namesrv_addr(\"{name_server}\")
  shell   mqadmin clusterList -n {name_server}

{topics} Ctrl-C stops.
"
    )
}
