//! A cluster in one world: name servers, brokers and client processes, each on a node of its own.
//!
//! ```text
//! name-server-1 …   NameServer::start ── until asked to stop ── stop
//! broker-a, -b …    Broker::start_tuned on small files ── until asked to stop ── stop; a restart boots the same disk
//! any other name    a client's process, which a fault may end like any other
//! operator          the test's own hand: creates topics, reads offsets (see operator.rs)
//! ```
//!
//! Settings are RocketMQ's unless the builder says otherwise; only the store's files are small, so that a minute of
//! simulated time rolls, checkpoints and recovers many times.
//!
//! Not here: what a client does, which faults there are.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use staticfire::broker;
use staticfire::broker::Broker;
use staticfire::broker::Tuning;
use staticfire::broker::config::FlushDiskType;
use staticfire::broker::config::Host;
use staticfire::client::Client;
use staticfire::client::ClientBuilder;
use staticfire::client::MessageQueue;
use staticfire::env::Env;
use staticfire::namesrv;
use staticfire::namesrv::NameServer;
use staticfire::remoting;
use staticfire::sim::Node;
use staticfire::sim::Stop;
use staticfire::sim::World;
use staticfire::store;

use crate::history::History;
use crate::history::Promise;
use crate::history::Recorder;
use crate::history::What;
use crate::operator::NotLive;
use crate::operator::Operator;

/// The port that every broker listens on.
pub const BROKER_PORT: u16 = 10_911;

/// One read takes at most so many bytes: what a turn stores must fit into the small store's unit.
const READ_BYTES: usize = 16 * 1024;

/// How long a new cluster may take to find itself.
const BUILD_LIMIT: Duration = Duration::from_secs(60);

type Change<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

/// Says how a cluster is to be.
#[must_use = "a builder does nothing until build"]
pub struct ClusterBuilder {
    world: World,
    history: History,
    name_servers: usize,
    brokers: usize,
    flush: FlushDiskType,
    queues: u32,
    topics: Vec<(String, u32)>,
    broker: Vec<Change<broker::config::Config>>,
    store: Vec<Change<store::Config>>,
    name_server: Vec<Change<namesrv::Config>>,
}

/// A running cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    world: World,
    history: History,
    name_servers: Vec<Node>,
    brokers: Vec<Node>,
    addrs: String,
    flush: FlushDiskType,
    operator: Operator,
    exits: Exits,
}

/// A server that did not start, or did not stop in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub at: Duration,
    pub node: String,
    pub life: u64,
    pub reason: String,
}

#[derive(Clone, Default)]
struct Exits(Arc<Mutex<Vec<Exit>>>);

/// What a client's process has: its world, its way to the cluster, its pen.
#[derive(Clone)]
pub struct Process {
    pub env: Env,
    /// Asked when the process shall end in order.
    pub stop: Stop,
    pub recorder: Recorder,
    name_servers: String,
}

impl Cluster {
    pub fn builder(world: &World) -> ClusterBuilder {
        ClusterBuilder {
            world: world.clone(),
            history: History::new(world),
            name_servers: 1,
            brokers: 1,
            flush: FlushDiskType::Async,
            queues: 4,
            topics: Vec::new(),
            broker: Vec::new(),
            store: Vec::new(),
            name_server: Vec::new(),
        }
    }

    pub fn world(&self) -> &World {
        &self.0.world
    }

    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// Creates topics, looks at offsets, reads; no fault befalls it unless a scenario asks for that.
    pub fn operator(&self) -> &Operator {
        &self.0.operator
    }

    pub fn name_servers(&self) -> &[Node] {
        &self.0.name_servers
    }

    pub fn name_server(&self, index: usize) -> &Node {
        &self.0.name_servers[index]
    }

    pub fn brokers(&self) -> &[Node] {
        &self.0.brokers
    }

    pub fn broker(&self, index: usize) -> &Node {
        &self.0.brokers[index]
    }

    /// Name servers and brokers.
    pub fn servers(&self) -> Vec<Node> {
        self.0.name_servers.iter().chain(&self.0.brokers).cloned().collect()
    }

    /// The node that takes writes for a queue.
    pub fn master_of(&self, queue: &MessageQueue) -> &Node {
        let found = self.0.brokers.iter().find(|node| node.name() == &*queue.broker);
        found.expect("a queue lies on a broker of this cluster")
    }

    /// What an acknowledged send of this cluster is promised.
    pub fn promise(&self) -> Promise {
        match self.0.flush {
            FlushDiskType::Sync => Promise::Disk,
            FlushDiskType::Async => Promise::Memory,
        }
    }

    /// `host:port` of every name server, joined by `;`.
    pub fn name_server_addrs(&self) -> &str {
        &self.0.addrs
    }

    /// Servers that ended with an error, so far.
    pub fn exits(&self) -> Vec<Exit> {
        self.0.exits.0.lock().clone()
    }

    /// A machine with a process whose work is done by whoever holds its [`Process`]. Spawn the work with
    /// `process.env.spawn`, so that it dies with the machine.
    pub fn client(&self, name: &str) -> Process {
        let node = self.0.world.machine(name);
        self.process_on(&node, node.env(), Stop::default())
    }

    /// A machine whose process runs `main`, now and after each restart.
    pub fn process<F, Fut>(&self, name: &str, main: F) -> Node
    where
        F: Fn(Process) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (world, history, addrs) = (self.0.world.clone(), self.0.history.clone(), self.0.addrs.clone());
        let owned = name.to_owned();
        let main = Arc::new(main);
        self.0.world.node_with_stop(name, move |env, stop| {
            let (world, history, main) = (world.clone(), history.clone(), Arc::clone(&main));
            let (name, name_servers) = (owned.clone(), addrs.clone());
            async move {
                let node = world.find(&name).expect("a process runs on a node");
                let recorder = history.recorder(&node);
                main(Process { env, stop, recorder, name_servers }).await;
            }
        })
    }

    fn process_on(&self, node: &Node, env: Env, stop: Stop) -> Process {
        let recorder = self.0.history.recorder(node);
        Process { env, stop, recorder, name_servers: self.0.addrs.clone() }
    }
}

impl Process {
    /// A client of the cluster, not started yet.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(&self.env).name_server(&self.name_servers)
    }

    pub fn node(&self) -> &Node {
        self.recorder.node()
    }

    pub fn name(&self) -> &str {
        self.node().name()
    }

    pub fn history(&self) -> &History {
        self.recorder.history()
    }

    pub fn note(&self, what: What) {
        self.recorder.note(what);
    }
}

impl ClusterBuilder {
    /// Notes into an existing history instead of one of its own.
    pub fn history(mut self, history: &History) -> ClusterBuilder {
        self.history = history.clone();
        self
    }

    pub fn name_servers(mut self, count: usize) -> ClusterBuilder {
        self.name_servers = count;
        self
    }

    pub fn brokers(mut self, count: usize) -> ClusterBuilder {
        self.brokers = count;
        self
    }

    pub fn flush(mut self, flush: FlushDiskType) -> ClusterBuilder {
        self.flush = flush;
        self
    }

    /// Queues per broker of a topic that is created by a send, and of [`ClusterBuilder::topic`].
    pub fn queues(mut self, count: u32) -> ClusterBuilder {
        self.queues = count;
        self
    }

    /// A topic that exists from the start, with the queues that [`ClusterBuilder::queues`] said before.
    pub fn topic(mut self, name: &str) -> ClusterBuilder {
        self.topics.push((name.to_owned(), self.queues));
        self
    }

    /// Changes `broker.conf` of every broker.
    pub fn broker_config(
        mut self,
        change: impl Fn(&mut broker::config::Config) + Send + Sync + 'static,
    ) -> ClusterBuilder {
        self.broker.push(Arc::new(change));
        self
    }

    /// Changes the store's settings of every broker.
    pub fn store_config(
        mut self,
        change: impl Fn(&mut store::Config) + Send + Sync + 'static,
    ) -> ClusterBuilder {
        self.store.push(Arc::new(change));
        self
    }

    pub fn name_server_config(
        mut self,
        change: impl Fn(&mut namesrv::Config) + Send + Sync + 'static,
    ) -> ClusterBuilder {
        self.name_server.push(Arc::new(change));
        self
    }

    /// Milliseconds before the first check of a half message, and between checks. RocketMQ's: 6,000 and 30,000.
    pub fn transaction_checks(self, timeout_ms: u64, interval_ms: u64) -> ClusterBuilder {
        self.broker_config(move |config| {
            config.transaction_timeout_ms = timeout_ms;
            config.transaction_check_interval_ms = interval_ms;
        })
    }

    /// Starts everything and waits until every name server knows every broker and every topic.
    pub async fn build(self) -> Result<Cluster, NotLive> {
        let exits = Exits::default();
        let name_servers: Vec<Node> =
            (1..=self.name_servers).map(|n| self.start_name_server(n, &exits)).collect();
        let addr_of = |node: &Node| format!("{}:{}", node.ip(), namesrv::PORT);
        let addrs: Vec<String> = name_servers.iter().map(addr_of).collect();
        let brokers: Vec<Node> = (0..self.brokers).map(|n| self.start_broker(n, &addrs, &exits)).collect();
        let operator = Operator::start(&self.history, &addrs, &brokers).await;
        let cluster = Cluster(Arc::new(Inner {
            world: self.world,
            history: self.history,
            name_servers,
            brokers,
            addrs: addrs.join(";"),
            flush: self.flush,
            operator,
            exits,
        }));
        let operator = cluster.operator();
        operator.wait_registered(BUILD_LIMIT).await?;
        for (topic, queues) in &self.topics {
            operator.create_topic(topic, *queues, BUILD_LIMIT).await?;
        }
        Ok(cluster)
    }

    fn start_name_server(&self, number: usize, exits: &Exits) -> Node {
        let mut config = namesrv::Config::default();
        config.limits = remoting::Limits { read_bytes: READ_BYTES, ..config.limits };
        self.name_server.iter().for_each(|change| change(&mut config));
        let name = format!("name-server-{number}");
        let pen = Pen::new(&self.history, &name, exits);
        self.world.node_with_stop(&name, move |env, stop| {
            let (config, pen) = (config.clone(), pen.clone());
            async move {
                match NameServer::start(&env, config).await {
                    Ok(server) => {
                        pen.serving();
                        stop.asked().await;
                        server.stop().await;
                    }
                    Err(error) => pen.failed(error.to_string()),
                }
            }
        })
    }

    fn start_broker(&self, index: usize, name_servers: &[String], exits: &Exits) -> Node {
        let letter = char::from(b'a' + u8::try_from(index).expect("fewer than 26 brokers"));
        let name = format!("broker-{letter}");
        let pen = Pen::new(&self.history, &name, exits);
        let world = self.world.clone();
        let (flush, queues, name_servers) = (self.flush, self.queues, name_servers.to_vec());
        let (changes, store_changes) = (self.broker.clone(), self.store.clone());
        let node_name = name.clone();
        self.world.node_with_stop(&name, move |env, stop| {
            let (world, pen, name) = (world.clone(), pen.clone(), node_name.clone());
            let (name_servers, changes, store_changes) =
                (name_servers.clone(), changes.clone(), store_changes.clone());
            async move {
                let ip = world.find(&name).expect("a broker runs on a node").ip();
                let mut config = broker::config::Config::new(&Host { name, ip });
                config.listen_port = BROKER_PORT;
                config.namesrv_addr = name_servers;
                config.store_path_root = "store".into();
                config.flush_disk_type = flush;
                config.default_topic_queues = queues;
                // A simulated disk is full by a fault, not by messages; what was acknowledged is to be found again.
                config.clean_file_forcibly = false;
                changes.iter().for_each(|change| change(&mut config));
                let mut store = small_store(&config);
                store_changes.iter().for_each(|change| change(&mut store));
                serve_broker(&env, &stop, config, store, &pen).await;
            }
        })
    }
}

async fn serve_broker(
    env: &Env,
    stop: &Stop,
    config: broker::config::Config,
    store: store::Config,
    pen: &Pen,
) {
    let limits = remoting::Limits { read_bytes: READ_BYTES, ..remoting::Limits::default() };
    let tuning = Tuning { store: Some(store), remoting: Some(limits) };
    match Broker::start_tuned(env, config, tuning).await {
        Ok(broker) => {
            pen.serving();
            stop.asked().await;
            if let Err(error) = broker.stop().await {
                pen.failed(format!("did not stop in order: {error}"));
            }
        }
        Err(error) => pen.failed(error.to_string()),
    }
}

/// The store of a broker, in small files.
fn small_store(config: &broker::config::Config) -> store::Config {
    let millis = config.delay_levels.millis().iter();
    let small = store::Config::small(&config.store_path_root);
    store::Config {
        flush: match config.flush_disk_type {
            FlushDiskType::Sync => store::Flush::Sync,
            FlushDiskType::Async => store::Flush::ASYNC,
        },
        sync_timeout_ms: config.sync_flush_timeout_ms,
        delay_levels_ms: millis.map(|ms| i64::try_from(*ms).unwrap_or(i64::MAX)).collect(),
        ..small
    }
}

/// With which a server says that it serves, or why not.
#[derive(Clone)]
struct Pen {
    history: History,
    name: String,
    exits: Exits,
}

impl Pen {
    fn new(history: &History, name: &str, exits: &Exits) -> Pen {
        Pen { history: history.clone(), name: name.to_owned(), exits: exits.clone() }
    }

    fn node(&self) -> Node {
        self.history.world().find(&self.name).expect("a server runs on a node")
    }

    fn serving(&self) {
        self.history.recorder(&self.node()).note(What::Serving);
    }

    fn failed(&self, reason: String) {
        let world = self.history.world();
        world.trace(|| format!("{} ended: {reason}", self.name));
        let exit = Exit { at: world.now(), node: self.name.clone(), life: self.node().incarnation(), reason };
        self.exits.0.lock().push(exit);
    }
}
