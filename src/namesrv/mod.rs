//! The name server: which brokers are alive and which topics they hold.
//!
//! ```text
//! connection ─▶ session ─▶ dispatch ─▶ handler ─▶ machine::route, kv ─▶ answer
//!      closed ─▶ session ─────────────────────▶ route (its brokers are gone at once)
//!        time ─▶ driver ──────────────────────▶ route (silent brokers are gone)
//!                driver ◀── changed kv ── answers wait until kvConfig.json holds the change
//! ```
//!
//! Name servers know nothing of each other: each broker registers with all of them, each client asks one.
//!
//! Invariant: a change of the key-value configuration is acknowledged only when it is in its file.
//!
//! Not here: what counts as alive ([`crate::machine::route`]), the command line, the controller's requests.

mod answer;
mod dispatch;
mod driver;
mod handler;
mod kv_file;
mod session;
mod tables;
#[cfg(test)]
mod tests;

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::env::Env;
use crate::env::Task;
use crate::remoting::Limits;
use crate::remoting::Server;

/// The port that RocketMQ's name servers listen on.
pub const PORT: u16 = 9876;

/// A running name server. Dropping it stops it as a kill would.
///
/// ```no_run
/// # use staticfire::{env::Env, namesrv};
/// # async fn run(env: Env) -> Result<(), namesrv::StartError> {
/// let server = namesrv::NameServer::start(&env, namesrv::Config::default()).await?;
/// println!("listening on {}", server.local_addr());
/// server.stop().await;
/// # Ok(()) }
/// ```
pub struct NameServer {
    server: Server,
    driver: Arc<driver::Driver>,
    _tasks: [Task; 2],
}

/// Keys of RocketMQ's `namesrv.conf`, by meaning.
#[derive(Clone, Debug)]
pub struct Config {
    /// `listenPort`, and where.
    pub listen: SocketAddr,
    /// `kvConfigPath`; its directory is created.
    pub kv_path: PathBuf,
    /// `orderMessageEnable`: routes carry the ordered topics' queue counts.
    pub order_message_enable: bool,
    /// `returnOrderTopicConfigToBroker`: registrations are answered with them.
    pub return_order_topic_config_to_broker: bool,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            kv_path: PathBuf::from("namesrv/kvConfig.json"),
            order_message_enable: false,
            return_order_topic_config_to_broker: true,
            limits: Limits::default(),
        }
    }
}

/// Why a name server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {at}: {source}; is another name server running there?")]
    Listen { at: SocketAddr, source: io::Error },
    #[error("cannot read the key-value configuration {path}: {source}")]
    ReadKv { path: PathBuf, source: io::Error },
    #[error(
        "the key-value configuration {path} is not what a name server writes: {reason}; move it away to start empty"
    )]
    DamagedKv { path: PathBuf, reason: String },
}

impl NameServer {
    /// Loads the key-value configuration, listens and serves.
    pub async fn start(env: &Env, config: Config) -> Result<NameServer, StartError> {
        let kv = kv_file::load(env, &config.kv_path).await?;
        let (at, limits) = (config.listen, config.limits);
        let driver = Arc::new(driver::Driver::new(env, config, kv));
        let service = Arc::new(session::Sessions::new(Arc::clone(&driver)));
        let server = Server::listen(env, at, service, limits)
            .await
            .map_err(|source| StartError::Listen { at, source })?;
        let tasks = [
            env.spawn("name server timer", Arc::clone(&driver).watch_brokers()),
            env.spawn("name server kv file", Arc::clone(&driver).save_kv()),
        ];
        Ok(NameServer { server, driver, _tasks: tasks })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Saves what is not saved yet, then closes everything.
    pub async fn stop(self) {
        self.driver.flush_kv().await;
    }
}
