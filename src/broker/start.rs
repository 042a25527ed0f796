//! Bringing a broker up: open the store, read the tables, replay what is a function of the log, listen, register.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand_core::Rng;
use thiserror::Error;

use crate::base::FastSet;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::config::Config;
use crate::broker::config::FlushDiskType;
use crate::broker::core::Core;
use crate::broker::core::Wake;
use crate::broker::counters::Counters;
use crate::broker::driver;
use crate::broker::planted;
use crate::broker::replay;
use crate::broker::session::Door;
use crate::broker::tables::Files;
use crate::broker::tables::Tables;
use crate::broker::waiting::Waiting;
use crate::env::Env;
use crate::env::Task;
use crate::machine::delay::Delay;
use crate::machine::delay::DelayLimits;
use crate::machine::delay::Levels;
use crate::machine::delay::SCHEDULE_TOPIC;
use crate::machine::hold::Hold;
use crate::machine::hold::HoldLimits;
use crate::machine::membership::Membership;
use crate::machine::membership::MembershipLimits;
use crate::machine::offset::Offsets;
use crate::machine::order::Order;
use crate::machine::order::OrderLimits;
use crate::machine::subscription_group::GroupLimits;
use crate::machine::subscription_group::SubscriptionGroups;
use crate::machine::topic::Permission;
use crate::machine::topic::TopicConfig;
use crate::machine::topic::TopicLimits;
use crate::machine::topic::Topics;
use crate::machine::transaction::TransactionLimits;
use crate::machine::transaction::Transactions;
use crate::protocol::ids::UniqueIds;
use crate::remoting;
use crate::remoting::Server;
use crate::store;
use crate::store::Recovery;
use crate::store::Store;
use crate::store::UpkeepError;
use crate::store::config_file::LoadError;

/// A running broker. Dropping it ends it as a crash would; [`Broker::stop`] closes it in order.
pub struct Broker {
    core: Arc<Core>,
    server: Server,
    recovery: Recovery,
    tasks: Vec<Task>,
}

/// What the rest of the system needs of a broker beyond its own configuration.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Settings of the store that `broker.conf` does not have: small files in simulation.
    pub store: Option<store::Config>,
    pub remoting: Option<remoting::Limits>,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error("{0}")]
    Store(#[from] store::OpenError),
    #[error("{0}")]
    Table(#[from] LoadError),
    #[error("messageDelayLevel: {0}")]
    Levels(String),
    #[error(
        "fileReservedBytes is {bytes}: the segment that is written is never removed, so it takes at least two of \
         {segment} bytes (mappedFileSizeCommitLog); set {} or more, or 0 for no limit",
        .segment.saturating_mul(2)
    )]
    ReservedBytes { bytes: u64, segment: u64 },
    #[error("cannot listen at {at}: {source}")]
    Listen { at: SocketAddr, source: std::io::Error },
    #[error("cannot read the transaction topics: {0}")]
    Transactions(#[from] store::ReadError),
    #[error("cannot create the broker's own topics: {0}")]
    Topics(#[from] crate::machine::topic::TopicError),
}

impl Broker {
    /// Starts a broker on its configuration alone.
    pub async fn start(env: &Env, config: Config) -> Result<Broker, StartError> {
        Broker::start_tuned(env, config, Tuning::default()).await
    }

    /// As [`Broker::start`], with settings that are not RocketMQ's.
    pub async fn start_tuned(env: &Env, config: Config, tuning: Tuning) -> Result<Broker, StartError> {
        let levels = levels(&config)?;
        check_reserved_bytes(&config)?;
        let store_config = tuning.store.clone().unwrap_or_else(|| store_config(&config));
        let (store, recovery) = Store::open(env, store_config).await?;
        // Nobody can connect before the store is recovered; port 0 becomes a number here.
        let at = SocketAddr::new(config.bind_address, config.listen_port);
        let listener = env.net.listen(at).await.map_err(|source| StartError::Listen { at, source })?;
        let host = SocketAddr::new(config.broker_ip1, listener.local_addr().port());
        let tables = Tables::load(env, &Files::new(&config.store_path_root)).await?;
        let core = Arc::new(core(env, config, host, store, levels, tables)?);
        // Before anybody asks: no queue begins where it did not begin before.
        driver::retention::reserve(&core).await;
        driver::retention::say_too_long(&core);
        // What was cut back is to be on the disk before a message takes a lost one's offset: a process that dies soon after
        // would find the old table beside a longer queue, and its groups would skip what is new.
        driver::persist::save_progress(&core).await;
        let history = replay::history(&core).await?;
        *core.transactions.lock() =
            Transactions::replay(transaction_limits(&core), env.now(), env.wall(), history);
        let limits = tuning.remoting.unwrap_or_default();
        let server = Server::serve(env, listener, Arc::new(Door(Arc::clone(&core))), limits);
        let mut broker = Broker { core, server, recovery, tasks: Vec::new() };
        broker.start_drivers();
        Ok(broker)
    }

    /// Where it listens. With `listenPort` 0 this is how to learn the port.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// What was found in the store.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub fn name(&self) -> &str {
        &self.core.config.broker_name
    }

    /// Leaves the name servers, answers what is parked, writes everything down, closes the store.
    pub async fn stop(self) -> Result<(), UpkeepError> {
        let Broker { core, server, tasks, .. } = self;
        driver::registration::unregister(&core).await;
        let mut effects = Vec::new();
        core.holds.lock().drain(&mut effects);
        driver::hold::carry_out(&core, effects);
        drop(server);
        drop(tasks);
        driver::persist::save_all(&core).await;
        core.store.shutdown().await
    }

    fn start_drivers(&mut self) {
        let core = &self.core;
        let env = &core.env;
        self.tasks = vec![
            env.spawn("flush driver", driver::flush::run(Arc::clone(core))),
            env.spawn("hold driver", driver::hold::run(Arc::clone(core))),
            env.spawn("membership driver", driver::membership::run(Arc::clone(core))),
            env.spawn("delay driver", driver::delay::run(Arc::clone(core))),
            env.spawn("transaction driver", driver::transaction::run(Arc::clone(core))),
            env.spawn("persist driver", driver::persist::run(Arc::clone(core))),
            env.spawn("retention driver", driver::retention::run(Arc::clone(core))),
            env.spawn("registration driver", driver::registration::run(Arc::clone(core))),
        ];
    }
}

fn levels(config: &Config) -> Result<Levels, StartError> {
    let text: Vec<String> = config.delay_levels.millis().iter().map(|ms| format!("{}s", ms / 1000)).collect();
    Levels::parse(&text.join(" ")).map_err(|error| StartError::Levels(error.to_string()))
}

/// No limit that could never be kept.
fn check_reserved_bytes(config: &Config) -> Result<(), StartError> {
    let (bytes, segment) = (config.file_reserved_bytes, config.commit_log_segment_bytes);
    if bytes != 0 && bytes < segment.saturating_mul(2) {
        return Err(StartError::ReservedBytes { bytes, segment });
    }
    Ok(())
}

fn store_config(config: &Config) -> store::Config {
    store::Config {
        segment_bytes: config.commit_log_segment_bytes,
        queue_file_units: u32::try_from(config.consume_queue_segment_bytes / 20).unwrap_or(u32::MAX),
        flush: match config.flush_disk_type {
            FlushDiskType::Sync => store::Flush::Sync,
            FlushDiskType::Async => match store::Flush::ASYNC {
                store::Flush::Async { least_pages, thorough_ms, .. } => {
                    store::Flush::Async { interval_ms: config.flush_interval_ms, least_pages, thorough_ms }
                }
                store::Flush::Sync => store::Flush::Sync,
            },
        },
        sync_timeout_ms: config.sync_flush_timeout_ms,
        delay_levels_ms: config
            .delay_levels
            .millis()
            .iter()
            .map(|ms| i64::try_from(*ms).unwrap_or(i64::MAX))
            .collect(),
        retention: store::Retention {
            keep_ms: i64::try_from(config.file_reserved_hours)
                .ok()
                .map(|hours| hours.saturating_mul(3_600_000)),
            keep_bytes: (config.file_reserved_bytes > 0).then_some(config.file_reserved_bytes),
        },
        index: config
            .message_index
            .then_some(store::IndexShape { slots: config.index_slots, entries: config.index_entries }),
        ..store::Config::new(&config.store_path_root)
    }
}

fn core(
    env: &Env,
    config: Config,
    host: SocketAddr,
    store: Arc<Store>,
    levels: Levels,
    tables: Tables,
) -> Result<Core, StartError> {
    let now = env.wall();
    let mut rng = env.rng("broker");
    let salt = rng.next_u32();
    let topic_limits = TopicLimits {
        auto_create: config.auto_create_topic,
        default_queues: config.default_topic_queues,
        ..TopicLimits::default()
    };
    let (version, topics) = tables.topics;
    let mut topics = Topics::replay(topic_limits, version, topics);
    topics.ensure_system(now, &config.cluster_name, &config.broker_name, levels.max())?;
    // A topic that was created and not yet written down when the power went still has its messages.
    for name in store.topics() {
        let queues = store.queues_of(&name).last().map_or(1, |queue| queue.0 + 1);
        topics.ensure(now, TopicConfig::new(&name, queues, Permission::READ_WRITE))?;
    }
    let group_limits =
        GroupLimits { auto_create: config.auto_create_subscription_group, ..GroupLimits::default() };
    let (version, groups) = tables.groups;
    let groups = SubscriptionGroups::replay(group_limits, version, groups);
    let wake = Wake::default();
    let offsets = cut_back(&store, Offsets::replay(&tables.offsets));
    let mut delay = Delay::replay(levels.clone(), DelayLimits::default(), &tables.delays);
    for level in 1..=levels.max() {
        let end =
            store.bounds(SCHEDULE_TOPIC, QueueId(level - 1)).map_or(QueueOffset(0), |bounds| bounds.max);
        delay.cut(level, end);
    }
    let members = MembershipLimits {
        expiry: Duration::from_millis(config.channel_expired_ms),
        ..MembershipLimits::default()
    };
    Ok(Core {
        env: env.clone(),
        started: (env.now(), now),
        host,
        topics: Mutex::new(topics),
        reserved: Mutex::default(),
        groups: Mutex::new(groups),
        offsets: Mutex::new(offsets),
        members: Mutex::new(Membership::new(members)),
        order: Mutex::new(Order::replay(OrderLimits::default(), env.now(), tables.leases)),
        holds: Mutex::new(Hold::new(HoldLimits::default())),
        delay: Mutex::new(delay),
        transactions: Mutex::new(Transactions::new(TransactionLimits::default())),
        transaction_effects: Mutex::default(),
        waiting: Waiting::default(),
        connections: Mutex::default(),
        counters: Counters::default(),
        lease_file: tokio::sync::Mutex::default(),
        client: remoting::Client::new(env, remoting::Limits::default(), Arc::new(wake.registration.clone())),
        wake,
        names: Mutex::new(FastSet::default()),
        unique_ids: Mutex::new(UniqueIds::new(config.broker_ip1, 0, salt)),
        rng: Mutex::new(rng),
        published: Mutex::default(),
        config,
        store,
        levels,
    })
}

/// An offset beyond its queue's end speaks of messages that the log has lost: new ones would be skipped (rmq#4771).
fn cut_back(store: &Store, mut offsets: Offsets) -> Offsets {
    // Not by the store's topics: a queue that the log has lost altogether is none of them.
    for (topic, queue) in offsets.queues() {
        let end = store.bounds(&topic, queue).map_or(QueueOffset(0), |bounds| bounds.max);
        offsets.cut(&topic, queue, end);
    }
    offsets
}

fn transaction_limits(core: &Core) -> TransactionLimits {
    TransactionLimits {
        timeout: Duration::from_millis(core.config.transaction_timeout_ms),
        check_interval: Duration::from_millis(core.config.transaction_check_interval_ms),
        checks_max: core.config.transaction_check_max,
        planted_count_undelivered: core.env.planted(planted::COUNT_UNDELIVERED_CHECKS),
        ..TransactionLimits::default()
    }
}
