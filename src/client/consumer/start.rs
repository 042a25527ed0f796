//! Building and starting a [`PushConsumer`].

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::Semaphore;

use super::Config;
use super::ConsumeFrom;
use super::ConsumeResult;
use super::Handler;
use super::Inner;
use super::MessageModel;
use super::MessageView;
use super::OrderResult;
use super::PushConsumer;
use super::Subscription;
use super::offsets::OffsetFile;
use super::offsets::Offsets;
use crate::client::Client;
use crate::client::MessageQueue;
use crate::client::StartError;
use crate::client::member::Consumer;
use crate::machine::consume::Window;
use crate::machine::rebalance::Division;
use crate::protocol::names;
use crate::protocol::subscription;
use crate::protocol::subscription::TagFilter;

/// Says how a push consumer is to be. Defaults are RocketMQ's.
#[must_use = "a builder does nothing until start"]
pub struct PushConsumerBuilder {
    client: Client,
    config: Config,
    subscriptions: Vec<(String, String)>,
    handler: Option<Handler>,
}

impl PushConsumerBuilder {
    pub(in crate::client) fn new(client: Client, group: &str) -> PushConsumerBuilder {
        let config = Config {
            group: group.to_owned(),
            model: MessageModel::Clustering,
            from: ConsumeFrom::default(),
            division: Division::Averagely,
            concurrency: 20,
            batch_max: 1,
            pull_max: 32,
            window: Window::default(),
            max_reconsume: None,
            suspend_ms: 15_000,
            pull_timeout_ms: 30_000,
            rebalance_ms: 20_000,
            persist_ms: 5_000,
            renew_lock_ms: 20_000,
            stop_timeout_ms: 30_000,
            offset_dir: PathBuf::from(".rocketmq_offsets"),
        };
        PushConsumerBuilder { client, config, subscriptions: Vec::new(), handler: None }
    }

    /// Adds a topic. `tags` is `*`, or tags joined by `||`. Every member of a group must subscribe to the same.
    pub fn subscribe(mut self, topic: &str, tags: &str) -> PushConsumerBuilder {
        self.subscriptions.push((topic.to_owned(), tags.to_owned()));
        self
    }

    /// Sets the handler for messages in any order. It is called for several batches at once.
    pub fn handler<F, R>(mut self, handler: F) -> PushConsumerBuilder
    where
        F: Fn(Vec<MessageView>) -> R + Send + Sync + 'static,
        R: Future<Output = ConsumeResult> + Send + 'static,
    {
        self.handler = Some(Handler::Concurrent(Arc::new(move |messages| Box::pin(handler(messages)))));
        self
    }

    /// Sets the handler for messages in the order of their queue. It is called for several queues at once, and for one
    /// batch of each.
    pub fn ordered_handler<F, R>(mut self, handler: F) -> PushConsumerBuilder
    where
        F: Fn(Vec<MessageView>) -> R + Send + Sync + 'static,
        R: Future<Output = OrderResult> + Send + 'static,
    {
        self.handler = Some(Handler::Ordered(Arc::new(move |messages| Box::pin(handler(messages)))));
        self
    }

    /// Each member gets each message. Offsets are kept in a file below `dir`, by the client's instance name; messages
    /// whose handling fails do not come again.
    pub fn broadcasting(mut self, dir: impl AsRef<Path>) -> PushConsumerBuilder {
        self.config.model = MessageModel::Broadcasting;
        self.config.offset_dir = dir.as_ref().to_owned();
        self
    }

    /// Where the group starts in queues that it has no offset of.
    pub fn consume_from(mut self, from: ConsumeFrom) -> PushConsumerBuilder {
        self.config.from = from;
        self
    }

    /// How the group divides its queues; every member must do it the same way.
    pub fn division(mut self, division: Division<MessageQueue>) -> PushConsumerBuilder {
        self.config.division = division;
        self
    }

    /// Batches that are handled at once, over all queues (`consumeThreadMax`).
    pub fn concurrency(mut self, batches: usize) -> PushConsumerBuilder {
        self.config.concurrency = batches.max(1);
        self
    }

    /// Messages per call of the handler (`consumeMessageBatchMaxSize`).
    pub fn batch_max(mut self, messages: usize) -> PushConsumerBuilder {
        self.config.batch_max = messages.max(1);
        self
    }

    /// How much of a queue may be in memory.
    pub fn window(mut self, window: Window) -> PushConsumerBuilder {
        self.config.window = window;
        self
    }

    /// After so many further attempts a message becomes a dead letter (`maxReconsumeTimes`): 16 unless set, without end
    /// for an ordered handler.
    pub fn max_reconsume_times(mut self, times: u32) -> PushConsumerBuilder {
        self.config.max_reconsume = Some(i32::try_from(times).unwrap_or(i32::MAX));
        self
    }

    /// Milliseconds that a broker may hold a pull that finds nothing.
    pub fn suspend_ms(mut self, ms: u64) -> PushConsumerBuilder {
        self.config.suspend_ms = ms;
        self.config.pull_timeout_ms = ms.saturating_mul(2).max(3_000);
        self
    }

    /// Milliseconds between two divisions when nothing asks for one.
    pub fn rebalance_ms(mut self, ms: u64) -> PushConsumerBuilder {
        self.config.rebalance_ms = ms;
        self
    }

    /// Milliseconds between two commits of a queue.
    pub fn persist_ms(mut self, ms: u64) -> PushConsumerBuilder {
        self.config.persist_ms = ms;
        self
    }

    /// Milliseconds that [`PushConsumer::stop`] waits for handlers.
    pub fn stop_timeout_ms(mut self, ms: u64) -> PushConsumerBuilder {
        self.config.stop_timeout_ms = ms;
        self
    }

    /// Joins the group. Topics that do not exist yet are no error: they may come.
    pub async fn start(self) -> Result<PushConsumer, StartError> {
        let PushConsumerBuilder { client, config, subscriptions, handler } = self;
        names::check_group(&config.group)?;
        let handler = handler.ok_or_else(|| StartError::NoHandler { group: config.group.clone() })?;
        if subscriptions.is_empty() {
            return Err(StartError::NothingSubscribed { group: config.group });
        }
        let shared = Arc::clone(&client.shared);
        let (subscriptions, offsets) = match config.model {
            MessageModel::Clustering => {
                let retry = (names::retry_topic(&config.group), subscription::ALL.to_owned());
                (subscribed(subscriptions.into_iter().chain([retry]), shared.env.wall().0)?, Offsets::Broker)
            }
            MessageModel::Broadcasting => {
                let path = config.offset_dir.join(&shared.instance).join(&config.group).join("offsets.json");
                let file = OffsetFile::load(&shared.env, path).await?;
                (subscribed(subscriptions.into_iter(), shared.env.wall().0)?, Offsets::File(file))
            }
        };
        let inner = Arc::new(Inner {
            permits: Arc::new(Semaphore::new(config.concurrency)),
            client,
            config,
            handler,
            subscriptions,
            offsets,
            assigned: Mutex::default(),
            rebalance: Notify::new(),
            released: Notify::new(),
            stopping: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&inner);
        let member: Weak<dyn Consumer> = weak;
        let membership = shared.members.join_consumer(&inner.config.group, member)?;
        let tasks = vec![
            shared.env.spawn("rebalance", Arc::clone(&inner).keep_rebalancing()),
            shared.env.spawn("offset file", Arc::clone(&inner).keep_saving()),
        ];
        Ok(PushConsumer { inner, membership: Some(membership), _tasks: tasks })
    }
}

impl Inner {
    /// Saves a broadcast member's offsets every few seconds.
    async fn keep_saving(self: Arc<Inner>) {
        loop {
            self.client.shared.env.sleep_ms(self.config.persist_ms).await;
            self.offsets.save(&self.client.shared.env).await;
        }
    }
}

fn subscribed(
    subscriptions: impl Iterator<Item = (String, String)>,
    version: i64,
) -> Result<BTreeMap<Arc<str>, Subscription>, StartError> {
    let mut by_topic = BTreeMap::new();
    for (topic, expression) in subscriptions {
        names::check_topic(&topic)?;
        let filter = TagFilter::parse(&expression);
        by_topic.insert(Arc::from(topic), Subscription { expression, filter, version });
    }
    Ok(by_topic)
}
