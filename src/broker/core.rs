//! What every handler and driver of one broker shares: the store, the machines, and the way between them.
//!
//! Locks: each machine has its own, held for one input and never across an await or another machine's, but for
//! `members` before `groups`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use crate::base::FastSet;
use crate::base::Mono;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::broker::answer::Response;
use crate::broker::config::Config;
use crate::broker::config::FlushDiskType;
use crate::broker::counters::Counters;
use crate::broker::driver;
use crate::broker::driver::registration::Reasons;
use crate::broker::driver::transaction::Effects;
use crate::broker::driver::transaction::Waiter;
use crate::broker::handler::pull::Parked;
use crate::broker::refusal::Refusal;
use crate::broker::waiting::Waiting;
use crate::env::Env;
use crate::machine::delay::Delay;
use crate::machine::delay::Levels;
use crate::machine::delay::SCHEDULE_TOPIC;
use crate::machine::hold::Hold;
use crate::machine::ids;
use crate::machine::membership::Membership;
use crate::machine::offset::Commit;
use crate::machine::offset::Offsets;
use crate::machine::order::Order;
use crate::machine::subscription_group::SubscriptionGroups;
use crate::machine::topic::Topics;
use crate::machine::transaction;
use crate::machine::transaction::Transactions;
use crate::protocol::ids::UniqueIds;
use crate::protocol::ids::push_offset_message_id;
use crate::protocol::record::NewRecord;
use crate::remoting;
use crate::remoting::Connection;
use crate::remoting::ConnectionId;
use crate::store::AppendError;
use crate::store::Appended;
use crate::store::FlushError;
use crate::store::Published;
use crate::store::Store;

pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) config: Config,
    /// The address clients reach this broker at: part of every message id.
    pub(crate) host: SocketAddr,
    pub(crate) store: Arc<Store>,
    /// Requests to the name servers.
    pub(crate) client: remoting::Client,
    pub(crate) levels: Levels,
    pub(crate) started: (Mono, Timestamp),
    pub(crate) topics: Mutex<Topics>,
    /// Topics whose own reserve time the store knows of.
    pub(crate) reserved: Mutex<BTreeSet<String>>,
    pub(crate) groups: Mutex<SubscriptionGroups>,
    pub(crate) offsets: Mutex<Offsets>,
    pub(crate) members: Mutex<Membership>,
    pub(crate) order: Mutex<Order>,
    pub(crate) holds: Mutex<Hold<Parked>>,
    pub(crate) delay: Mutex<Delay>,
    pub(crate) transactions: Mutex<Transactions<Waiter>>,
    /// Asked for by the transaction machine, not carried out yet.
    pub(crate) transaction_effects: Mutex<Effects>,
    pub(crate) waiting: Waiting,
    pub(crate) connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    pub(crate) counters: Counters,
    /// Held while the leases are written down.
    pub(crate) lease_file: tokio::sync::Mutex<()>,
    pub(crate) wake: Wake,
    pub(crate) names: Mutex<FastSet<Arc<str>>>,
    pub(crate) rng: Mutex<ChaCha8Rng>,
    pub(crate) unique_ids: Mutex<UniqueIds>,
    /// Kept between calls for its allocation.
    pub(crate) published: Mutex<Vec<Published>>,
}

/// What a driver sleeps on, beside its machine's next deadline.
#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) hold: Notify,
    pub(crate) delay: Notify,
    pub(crate) transactions: Notify,
    pub(crate) membership: Notify,
    /// Topics or groups changed: write them down.
    pub(crate) persist: Notify,
    /// Tell the name servers.
    pub(crate) registration: Reasons,
}

impl Core {
    /// True when an acknowledgement promises the disk.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.config.flush_disk_type == FlushDiskType::Sync
    }

    /// Tells parked pulls and drivers what readers may see since the last call.
    pub(crate) fn publish(self: &Arc<Core>) {
        let mut published = std::mem::take(&mut *self.published.lock());
        self.store.take_published(&mut published);
        let mut effects = Vec::new();
        {
            let mut holds = self.holds.lock();
            for message in published.iter().filter(|message| message.max > QueueOffset(0)) {
                let offset = QueueOffset(message.max.0 - 1);
                match message.tags_code {
                    Some(code) => holds.arrived(&message.topic, message.queue, offset, code, &mut effects),
                    None => holds.arrived_some(&message.topic, message.queue, offset, &mut effects),
                }
            }
        }
        if published.iter().any(|message| &*message.topic == SCHEDULE_TOPIC) {
            self.wake.delay.notify_one();
        }
        published.clear();
        *self.published.lock() = published;
        driver::hold::carry_out(self, effects);
    }

    /// Appends records of the broker's own, as many units as they take, and waits until they are as durable as a send's
    /// acknowledgement promises.
    pub(crate) async fn append_promised(
        self: &Arc<Core>,
        records: &[NewRecord],
    ) -> Result<Vec<Appended>, Refusal> {
        let mut appended = Vec::with_capacity(records.len());
        let mut left = records;
        while !left.is_empty() {
            let mut take = left.len();
            loop {
                match self.store.append(left.get(..take).unwrap_or(left), &mut appended) {
                    Ok(()) => break,
                    Err(AppendError::NotReady) => self.store.writable().await,
                    Err(AppendError::UnitTooLarge { .. }) if take > 1 => take = take.div_ceil(2),
                    Err(error) => return Err(error.into()),
                }
            }
            left = left.get(take..).unwrap_or_default();
        }
        self.counters.on_put(records, &appended);
        self.publish();
        if self.waits_for_disk()
            && let Some(end) = appended.last().map(Appended::end)
        {
            loop {
                match self.store.wait_durable(end).await {
                    Ok(()) => break,
                    // It is stored; whether it is durable is not known until the disk says so.
                    Err(FlushError::Timeout(_)) => {}
                    Err(error) => return Err(Refusal::Flush(error)),
                }
            }
        }
        Ok(appended)
    }

    /// The answer to a send that was stored at `appended`, one entry for each message.
    pub(crate) fn send_response(
        &self,
        queue: QueueId,
        transaction_id: Option<&str>,
        appended: &[Appended],
    ) -> Response {
        let mut id = String::with_capacity(33 * appended.len());
        for (index, message) in appended.iter().enumerate() {
            if index > 0 {
                id.push(',');
            }
            push_offset_message_id(self.host, message.physical, &mut id);
        }
        let first = appended.first().map_or(QueueOffset(0), |message| message.queue_offset);
        let mut response = Response::ok();
        response.ext.push("msgId", &id);
        response.ext.push_i64("queueId", i64::from(queue.0));
        response.ext.push_i64("queueOffset", i64::try_from(first.0).unwrap_or(i64::MAX));
        if let Some(transaction_id) = transaction_id {
            response.ext.push("transactionId", transaction_id);
        }
        response.ext.push("MSG_REGION", &self.config.region_id);
        response.ext.push_bool("TRACE_ON", self.config.trace_on);
        response
    }

    /// A half message was appended: from now on it may be decided on.
    pub(crate) fn on_half_appended(&self, record: &NewRecord, at: &Appended) {
        let mut effects = Vec::new();
        let half = driver::transaction::half_record(record, at);
        self.transactions.lock().on_half_appended(self.env.now(), half, &mut effects);
        self.transact(effects);
    }

    /// Hands effects of the transaction machine to its driver, which also looks at its next deadline again.
    pub(crate) fn transact(&self, mut effects: Effects) {
        self.transaction_effects.lock().append(&mut effects);
        self.wake.transactions.notify_one();
    }

    pub(crate) fn advance_transactions(&self, half: QueueOffset, op: QueueOffset) {
        let mut offsets = self.offsets.lock();
        let group = transaction::TRANSACTION_GROUP;
        offsets.rewind(group, transaction::HALF_TOPIC, QueueId(0), half);
        offsets.rewind(group, transaction::OP_TOPIC, QueueId(0), op);
    }

    /// A consumer says it has settled everything below `offset`.
    pub(crate) fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        queue: QueueId,
        offset: i64,
    ) -> Option<Commit> {
        let offset = QueueOffset(u64::try_from(offset).ok()?);
        let end = self.store.bounds(topic, queue).map_or(QueueOffset(0), |bounds| bounds.max);
        let commit = self.offsets.lock().commit(group, topic, queue, offset, end);
        match commit {
            Commit::Advanced | Commit::Same => {}
            Commit::Behind { .. } | Commit::Fenced { .. } | Commit::Beyond { .. } => {
                tracing::info!(
                    group,
                    topic,
                    queue = queue.0,
                    offset = offset.0,
                    ?commit,
                    "did not take a commit"
                );
            }
        }
        Some(commit)
    }

    /// A live connection of a producer group, each in turn.
    pub(crate) fn live_producer(&self, group: &str) -> Option<Arc<Connection>> {
        let tries = self.members.lock().producer_group(group)?.members().count();
        for _ in 0..tries {
            let id = self.members.lock().next_producer(group)?;
            let connection = self.connections.lock().get(&ConnectionId(id.0)).cloned();
            if let Some(connection) = connection.filter(|connection| !connection.is_closed()) {
                return Some(connection);
            }
        }
        None
    }

    pub(crate) fn on_connection_closed(self: &Arc<Core>, connection: &Arc<Connection>) {
        let id = ids::ConnectionId(connection.id().0);
        let mut effects = Vec::new();
        self.members.lock().on_closed(id, &mut effects);
        driver::membership::carry_out(self, effects);
        let mut effects = Vec::new();
        self.holds.lock().gone(id, &mut effects);
        driver::hold::carry_out(self, effects);
        let mut effects = Vec::new();
        self.transactions.lock().on_connection_closed(self.env.now(), id, &mut effects);
        self.transact(effects);
    }

    /// Topics changed: write them down, and tell the name servers at once.
    pub(crate) fn on_topics_changed(&self) {
        self.wake.persist.notify_one();
        self.wake.registration.topics.announce();
    }

    pub(crate) fn unique_id(&self) -> String {
        self.unique_ids.lock().next(self.env.wall())
    }
}
