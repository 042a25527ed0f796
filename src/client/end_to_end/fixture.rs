//! A cluster of one name server and one broker on loopback, and a box to collect what handlers saw.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use staticfire::broker;
use staticfire::broker::Broker;
use staticfire::client::Client;
use staticfire::client::Message;
use staticfire::client::MessageView;
use staticfire::client::Producer;
use staticfire::env::Env;
use staticfire::env::real;
use staticfire::namesrv;
use staticfire::namesrv::NameServer;
use tokio::sync::Notify;

/// Longest wait of any test, in milliseconds: beyond it something is broken.
const PATIENCE_MS: u64 = 30_000;

pub(crate) struct Cluster {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) config: broker::config::Config,
    name_server: NameServer,
    pub(crate) broker: Option<Broker>,
}

/// Runs a story on a cluster of its own.
pub(crate) fn run<F: Future<Output = ()>>(
    name: &str,
    adapt: impl FnOnce(&mut broker::config::Config),
    story: impl FnOnce(Cluster) -> F,
) {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = std::env::temp_dir().join(format!("staticfire-client-{name}-{}", std::process::id()));
    remove(&dir);
    runtime.block_on(async {
        let env = real::env();
        let cluster = Cluster::start(&env, dir.clone(), adapt).await;
        let told = env.timeout_ms(4 * PATIENCE_MS, story(cluster)).await;
        assert!(told.is_some(), "the story came to an end");
    });
    remove(&dir);
}

#[expect(clippy::disallowed_methods, reason = "a test cleans up around itself")]
fn remove(dir: &PathBuf) {
    let _ = std::fs::remove_dir_all(dir);
}

impl Cluster {
    async fn start(env: &Env, dir: PathBuf, adapt: impl FnOnce(&mut broker::config::Config)) -> Cluster {
        let name_server = NameServer::start(
            env,
            namesrv::Config {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                kv_path: dir.join("namesrv/kvConfig.json"),
                ..namesrv::Config::default()
            },
        );
        let name_server = name_server.await.expect("the name server starts");
        let free = env.net.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
        let port = free.local_addr().port();
        drop(free);
        let mut config = broker::config::Config {
            broker_name: "broker-a".to_owned(),
            listen_port: port,
            bind_address: Ipv4Addr::LOCALHOST.into(),
            namesrv_addr: vec![name_server.local_addr().to_string()],
            store_path_root: dir.join("store"),
            commit_log_segment_bytes: 8 * 1024 * 1024,
            delay_levels: broker::config::DelayLevels::parse("1s 1s 1s 1s 1s 1s").expect("levels"),
            ..broker::config::Config::default()
        };
        adapt(&mut config);
        let mut cluster = Cluster { env: env.clone(), dir, config, name_server, broker: None };
        cluster.start_broker().await;
        cluster
    }

    pub(crate) async fn start_broker(&mut self) {
        loop {
            match Broker::start(&self.env, self.config.clone()).await {
                Ok(broker) => break self.broker = Some(broker),
                // A dropped one lets go of its directory when the last of its connections has ended.
                Err(broker::StartError::Store(error)) if error.to_string().contains("held by") => {
                    self.env.sleep_ms(10).await;
                }
                Err(error) => panic!("the broker does not start: {error}"),
            }
        }
    }

    pub(crate) async fn client(&self) -> Client {
        self.named_client(None).await
    }

    /// `host:port` of the name server.
    pub(crate) fn name_server(&self) -> String {
        self.name_server.local_addr().to_string()
    }

    pub(crate) async fn named_client(&self, instance: Option<&str>) -> Client {
        let mut builder = Client::builder(&self.env)
            .name_server(&self.name_server())
            .poll_name_server_ms(500)
            .heartbeat_ms(1_000);
        if let Some(instance) = instance {
            builder = builder.instance(instance);
        }
        builder.start().await.expect("a client starts")
    }

    /// A producer that finds the broker: its registration may still be on its way.
    pub(crate) async fn producer(&self, client: &Client, group: &str) -> Producer {
        let producer = client.producer(group).start().await.expect("a producer starts");
        while producer.queues("Warmup").await.is_err() {
            self.env.sleep_ms(10).await;
        }
        producer
    }
}

/// What handlers saw, in the order in which they saw it.
#[derive(Clone)]
pub(crate) struct Seen {
    env: Env,
    bodies: Arc<Mutex<Vec<String>>>,
    more: Arc<Notify>,
}

impl Seen {
    pub(crate) fn new(env: &Env) -> Seen {
        Seen { env: env.clone(), bodies: Arc::default(), more: Arc::default() }
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        self.bodies.lock().push(text.into());
        self.more.notify_one();
    }

    pub(crate) fn note_bodies(&self, messages: &[MessageView]) {
        for message in messages {
            self.note(body(message));
        }
    }

    pub(crate) fn list(&self) -> Vec<String> {
        self.bodies.lock().clone()
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut list = self.list();
        list.sort_unstable();
        list
    }

    /// Waits until handlers saw `count` messages.
    pub(crate) async fn wait_for(&self, count: usize) {
        let enough = async {
            while self.bodies.lock().len() < count {
                self.more.notified().await;
            }
        };
        let came = self.env.timeout_ms(PATIENCE_MS, enough).await;
        assert!(came.is_some(), "{count} messages come, not only {:?}", self.list());
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(env: &Env, what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            env.sleep_ms(5).await;
        }
    };
    assert!(env.timeout_ms(PATIENCE_MS, holds).await.is_some(), "{what}");
}

pub(crate) fn body(message: &MessageView) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

pub(crate) fn numbered(topic: &str, number: usize) -> Message {
    Message::new(topic, format!("{number:04}"))
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:04}")).collect()
}
