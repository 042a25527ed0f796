//! [`Client`]: one member of the cluster, shared by its producers and consumers.
//!
//! Two tasks live as long as any handle: one refreshes the routes of all topics in use (every 30 s, and soon after
//! something failed), one tells every broker that the members are alive (every 30 s, at once for a broker that is new or
//! whose connection broke: a broker forgets its clients with their connection).
//!
//! Invariant: a route that was learnt is kept until a newer one is learnt. A name server that has just started knows
//! nothing yet, and its ignorance is no reason to stop.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use rand_core::Rng as _;
use tokio::sync::Notify;

use super::MessageQueue;
use super::RequestError;
use super::RouteError;
use super::StartError;
use super::consumer::PushConsumerBuilder;
use super::member::FromBrokers;
use super::member::Members;
use super::name_server::NameServers;
use super::producer::ProducerBuilder;
use super::pull_consumer::PullConsumerBuilder;
use super::topic_route::TopicRoute;
use crate::env::BoxFuture;
use crate::env::Env;
use crate::env::Task;
use crate::machine::produce::Cursor;
use crate::machine::route::MASTER_ID;
use crate::protocol::ids::UniqueIds;
use crate::protocol::names;
use crate::remoting;
use crate::remoting::Limits;

/// Queues per broker of a topic that a send creates (`defaultTopicQueueNums`).
pub(super) const DEFAULT_QUEUES: u32 = 4;
/// A broker that did not take a heartbeat gets the next one after this many milliseconds.
const BEAT_AGAIN_MS: u64 = 5_000;
/// … and not before so many, though its connection closed: one that closes every connection would be sent one after another.
const BEAT_PAUSE_MS: u64 = 500;
/// Longest wait, in milliseconds, for brokers that a new route names to take their first heartbeat.
const LEARN_MS: u64 = 500;
/// Least milliseconds between two refreshes of all routes.
const REFRESH_PAUSE_MS: u64 = 500;

/// One member of the cluster. Cheap to clone; the last clone that is dropped ends it.
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    _tasks: Arc<[Task; 2]>,
}

/// Says how a [`Client`] is to be. Times default to RocketMQ's.
#[must_use = "a builder does nothing until start"]
pub struct ClientBuilder {
    env: Env,
    name_servers: Vec<String>,
    instance: Option<String>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) request_timeout_ms: u64,
    pub(super) poll_name_server_ms: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) limits: Limits,
}

pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) id: String,
    /// The name under which a process finds its files again.
    pub(super) instance: String,
    pub(super) settings: Settings,
    pub(super) remoting: remoting::Client,
    pub(super) members: Arc<Members>,
    name_servers: NameServers,
    routes: Mutex<Routes>,
    refresh: Notify,
    /// Held while a route is fetched, so that senders share one answer.
    fetching: tokio::sync::Mutex<()>,
    unique_ids: Mutex<UniqueIds>,
}

#[derive(Default)]
struct Routes {
    known: BTreeMap<Arc<str>, Arc<TopicRoute>>,
    cursors: BTreeMap<Arc<str>, Cursor>,
    /// Brokers that took a heartbeat over a connection that has not closed since.
    beaten: BTreeSet<String>,
}

impl ClientBuilder {
    /// Adds name servers: `host:port`, or several joined by `;`.
    pub fn name_server(mut self, addrs: &str) -> ClientBuilder {
        let addrs = addrs.split(';').map(str::trim).filter(|addr| !addr.is_empty());
        self.name_servers.extend(addrs.map(str::to_owned));
        self
    }

    /// Names this instance, which makes its client id `ip@name`: unique among the clients of one host, and the same
    /// after a restart. Broadcast consumers need it to find their offsets again.
    pub fn instance(mut self, name: &str) -> ClientBuilder {
        self.instance = Some(name.to_owned());
        self
    }

    /// Milliseconds that a request other than a send or pull may take.
    pub fn request_timeout_ms(mut self, ms: u64) -> ClientBuilder {
        self.settings.request_timeout_ms = ms;
        self
    }

    /// Milliseconds between two looks at the routes.
    pub fn poll_name_server_ms(mut self, ms: u64) -> ClientBuilder {
        self.settings.poll_name_server_ms = ms;
        self
    }

    /// Milliseconds between two heartbeats to each broker.
    pub fn heartbeat_ms(mut self, ms: u64) -> ClientBuilder {
        self.settings.heartbeat_ms = ms;
        self
    }

    /// Starts the client. Name servers and brokers that do not answer are no error: they may come.
    pub async fn start(self) -> Result<Client, StartError> {
        if self.name_servers.is_empty() {
            return Err(StartError::NoNameServer);
        }
        let ClientBuilder { env, name_servers, instance, settings } = self;
        let name_servers = NameServers::new(name_servers, env.rng("name server").next_u64());
        let members = Arc::new(Members::default());
        let from_brokers = FromBrokers::new(&env, Arc::clone(&members));
        let remoting = remoting::Client::new(&env, settings.limits, Arc::new(from_brokers));
        let local = match remoting.connection(name_servers.current(), settings.limits.connect_ms).await {
            Ok(connection) => connection.local(),
            Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let ip = local.ip();
        // A stream of random numbers depends on its label alone: port and time tell two clients of one process apart.
        let mut rng = env.rng(&format!("client {} {}", local.port(), env.now().0));
        let (salt, pid) = (rng.next_u32(), rng.next_u32() as u16);
        let nanos = i128::from(env.wall().0) * 1_000_000 + i128::from(salt % 1_000_000);
        let id = match &instance {
            Some(name) => format!("{ip}@{name}"),
            None => format!("{ip}@{pid}#{nanos}"),
        };
        let shared = Arc::new(Shared {
            id,
            instance: instance.unwrap_or_else(|| "DEFAULT".to_owned()),
            settings,
            remoting,
            members,
            name_servers,
            routes: Mutex::default(),
            refresh: Notify::new(),
            fetching: tokio::sync::Mutex::new(()),
            unique_ids: Mutex::new(UniqueIds::new(ip, pid, salt)),
            env: env.clone(),
        });
        let tasks = [
            env.spawn("client routes", Arc::clone(&shared).keep_routes()),
            env.spawn("client heartbeats", Arc::clone(&shared).keep_beating()),
        ];
        Ok(Client { shared, _tasks: Arc::new(tasks) })
    }
}

impl Client {
    pub fn builder(env: &Env) -> ClientBuilder {
        let settings = Settings {
            request_timeout_ms: 3_000,
            poll_name_server_ms: 30_000,
            heartbeat_ms: 30_000,
            limits: Limits::default(),
        };
        ClientBuilder { env: env.clone(), name_servers: Vec::new(), instance: None, settings }
    }

    /// What brokers know this client by.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// A producer of a group: members of one group answer each other's transaction checks.
    pub fn producer(&self, group: &str) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), group)
    }

    /// A consumer that is handed messages, and shares its topics' queues with its group.
    pub fn push_consumer(&self, group: &str) -> PushConsumerBuilder {
        PushConsumerBuilder::new(self.clone(), group)
    }

    /// A consumer that asks for messages of queues it chooses itself.
    pub fn pull_consumer(&self, group: &str) -> PullConsumerBuilder {
        PullConsumerBuilder::new(self.clone(), group)
    }
}

impl Shared {
    /// A new unique message id.
    pub(super) fn unique_id(&self) -> String {
        self.unique_ids.lock().next(self.env.wall())
    }

    /// Where a topic's messages go: its route, or that of TBW102 when it does not exist yet.
    pub(super) async fn publish_route(
        &self,
        topic: &str,
        timeout_ms: u64,
    ) -> Result<Arc<TopicRoute>, RouteError> {
        if let Some(route) = self.cached(topic).filter(|route| !route.writable().is_empty()) {
            return Ok(route);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(route) = self.cached(topic).filter(|route| !route.writable().is_empty()) {
            return Ok(route);
        }
        let route = match self.fetch(topic, timeout_ms).await {
            Err(RouteError::NoTopic { topic }) => {
                let template = self.fetch(names::AUTO_CREATE_TOPIC, timeout_ms).await;
                template.map_err(|error| no_topic(&topic, error))?.as_template_for(&topic, DEFAULT_QUEUES)
            }
            other => other?,
        };
        Ok(self.learn(topic, route).await)
    }

    /// Where a topic's messages are.
    pub(super) async fn subscribe_route(&self, topic: &str) -> Result<Arc<TopicRoute>, RouteError> {
        if let Some(route) = self.cached(topic).filter(|route| !route.readable().is_empty()) {
            return Ok(route);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(route) = self.cached(topic).filter(|route| !route.readable().is_empty()) {
            return Ok(route);
        }
        let route = self.fetch(topic, self.settings.request_timeout_ms).await?;
        Ok(self.learn(topic, route).await)
    }

    /// Learns where the brokers are that have `topic`, without anything to send: a member that has sent nothing yet must
    /// be known to them all the same, or nobody asks it about its group's transactions.
    pub(super) fn meet_brokers(&self, topic: &str) {
        self.routes.lock().known.entry(Arc::from(topic)).or_default();
        self.refresh_soon();
    }

    /// Looks at all routes again, soon.
    pub(super) fn refresh_soon(&self) {
        self.refresh.notify_one();
    }

    /// Tells brokers about the members as they are now.
    pub(super) fn beat_soon(&self) {
        self.members.beat.notify_one();
    }

    pub(super) fn cached(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.routes.lock().known.get(topic).cloned()
    }

    /// The address of a broker's master, by any route that names it.
    pub(super) fn master(&self, broker: &str) -> Option<String> {
        self.addr(broker, MASTER_ID.cast_signed())
    }

    /// As [`Shared::master`], of the broker that has a queue; without one the request cannot be made.
    pub(super) fn master_of(&self, queue: &MessageQueue) -> Result<String, RequestError> {
        let addr = self.master(&queue.broker);
        addr.ok_or_else(|| RequestError::NoAddress { broker: queue.broker.to_string() })
    }

    pub(super) fn addr(&self, broker: &str, id: i64) -> Option<String> {
        let routes = self.routes.lock();
        routes.known.values().find_map(|route| route.addr(broker, id)).map(str::to_owned)
    }

    /// The address of any member of a broker group, the master if there is one.
    pub(super) fn any(&self, broker: &str) -> Option<String> {
        let routes = self.routes.lock();
        routes.known.values().find_map(|route| route.any(broker)).map(str::to_owned)
    }

    /// Takes the turn of a topic's next queue.
    pub(super) fn with_cursor<T>(&self, topic: &str, choose: impl FnOnce(&mut Cursor) -> T) -> T {
        let mut routes = self.routes.lock();
        if !routes.cursors.contains_key(topic) {
            // Producers of one cluster should not all begin with the same queue.
            let start = Cursor(self.env.rng(topic).next_u32());
            routes.cursors.insert(Arc::from(topic), start);
        }
        choose(routes.cursors.get_mut(topic).expect("inserted above"))
    }

    /// Heartbeats to all brokers now; false if one did not take it.
    pub(super) async fn beat_all(&self) -> bool {
        self.beat(self.broker_addrs()).await
    }

    async fn fetch(&self, topic: &str, timeout_ms: u64) -> Result<TopicRoute, RouteError> {
        let timeout_ms = timeout_ms.min(self.settings.request_timeout_ms);
        self.name_servers.route(&self.remoting, topic, timeout_ms).await
    }

    /// Keeps a route. A broker seen for the first time learns of us before anything is sent to it: it may have to ask
    /// this very member about a transaction.
    async fn learn(&self, topic: &str, route: TopicRoute) -> Arc<TopicRoute> {
        let route = Arc::new(route);
        let new = {
            let mut routes = self.routes.lock();
            routes.known.insert(Arc::from(topic), Arc::clone(&route));
            let addrs = addrs_to_beat(&route, self.members.has_consumers());
            addrs.into_iter().filter(|addr| !routes.beaten.contains(addr)).collect()
        };
        if self.env.timeout_ms(LEARN_MS, self.beat(new)).await.is_none() {
            // One of them does not answer; the others must not wait for it.
            self.beat_soon();
        }
        route
    }

    async fn keep_routes(self: Arc<Shared>) {
        loop {
            let pause = self.env.clock.sleep_until(self.env.now().plus_ms(self.settings.poll_name_server_ms));
            tokio::select! {
                biased;
                () = self.refresh.notified() => {}
                () = pause => {}
            }
            if self.refresh_all().await {
                self.members.routes_changed();
            }
            self.env.sleep_ms(REFRESH_PAUSE_MS).await;
        }
    }

    /// True if a route changed.
    async fn refresh_all(&self) -> bool {
        let topics: Vec<Arc<str>> = self.routes.lock().known.keys().cloned().collect();
        let mut changed = false;
        for topic in topics {
            match self.fetch(&topic, self.settings.request_timeout_ms).await {
                Ok(route) => {
                    if self.cached(&topic).is_none_or(|known| *known != route) {
                        tracing::debug!(%topic, ?route, "a route changed");
                        changed = true;
                        self.learn(&topic, route).await;
                    }
                }
                // Not created yet, or the name server has just started.
                Err(RouteError::NoTopic { .. }) => {}
                Err(error @ RouteError::Unreachable { .. }) => {
                    tracing::info!(%error, "routes are kept as they are");
                    break;
                }
            }
        }
        changed
    }

    async fn keep_beating(self: Arc<Shared>) {
        loop {
            let taken = self.beat_all().await;
            let wait_ms = if taken {
                self.settings.heartbeat_ms
            } else {
                self.env.sleep_ms(BEAT_PAUSE_MS).await;
                BEAT_AGAIN_MS
            };
            let pause = self.env.clock.sleep_until(self.env.now().plus_ms(wait_ms));
            tokio::select! {
                biased;
                () = self.members.beat.notified() => {}
                () = pause => {}
            }
        }
    }

    pub(super) fn broker_addrs(&self) -> BTreeSet<String> {
        let consuming = self.members.has_consumers();
        let routes = self.routes.lock();
        routes.known.values().flat_map(|route| addrs_to_beat(route, consuming)).collect()
    }

    async fn beat(&self, addrs: BTreeSet<String>) -> bool {
        if self.members.is_empty() {
            return true;
        }
        let taken = Mutex::new(true);
        let beats: Vec<BoxFuture<'_, ()>> =
            addrs.into_iter().map(|addr| self.beat_one(addr, &taken)).collect();
        join_all(beats).await;
        taken.into_inner()
    }

    fn beat_one<'a>(&'a self, addr: String, all_taken: &'a Mutex<bool>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self.heartbeat(&addr).await {
                Ok(()) => drop(self.routes.lock().beaten.insert(addr)),
                Err(error) => {
                    tracing::info!(broker = addr, %error, "no heartbeat");
                    self.routes.lock().beaten.remove(&addr);
                    *all_taken.lock() = false;
                }
            }
        })
    }
}

/// Producers talk to masters only; consumers may read from slaves.
fn addrs_to_beat(route: &TopicRoute, consuming: bool) -> BTreeSet<String> {
    let members = route.brokers().values().flat_map(BTreeMap::iter);
    let wanted = members.filter(|(id, _)| consuming || **id == MASTER_ID.cast_signed());
    wanted.map(|(_, addr)| addr.clone()).collect()
}

fn no_topic(topic: &str, error: RouteError) -> RouteError {
    match error {
        RouteError::NoTopic { .. } => RouteError::NoTopic { topic: topic.to_owned() },
        unreachable @ RouteError::Unreachable { .. } => unreachable,
    }
}

/// Runs futures side by side until all have ended.
pub(super) async fn join_all(mut futures: Vec<BoxFuture<'_, ()>>) {
    poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
