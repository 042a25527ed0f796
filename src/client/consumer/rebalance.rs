//! Taking and giving up queues as the group and the routes change.
//!
//! An answer that did not come changes nothing: who takes a queue that another member still has handles it twice, who
//! gives one up that nobody takes leaves it alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Inner;
use super::MessageModel;
use super::worker;
use super::worker::Assigned;
use crate::client::MessageQueue;
use crate::client::topic_route::TopicRoute;
use crate::machine::rebalance;

impl Inner {
    /// Divides at once, whenever something changed, and every 20 s in case a notice was lost.
    pub(super) async fn keep_rebalancing(self: Arc<Inner>) {
        let env = self.client.shared.env.clone();
        for topic in self.subscriptions.keys() {
            // Learning the route also tells the brokers that this member is here.
            let _ = self.client.shared.subscribe_route(topic).await;
        }
        self.client.shared.beat_all().await;
        loop {
            if self.is_stopping() {
                return;
            }
            for topic in self.subscriptions.keys() {
                self.rebalance_topic(topic).await;
            }
            let pause = env.clock.sleep_until(env.now().plus_ms(self.config.rebalance_ms));
            tokio::select! {
                biased;
                () = self.rebalance.notified() => {}
                () = pause => {}
            }
        }
    }

    pub(super) fn divide_soon(&self) {
        self.rebalance.notify_one();
    }

    /// The worker of a queue has let go of it.
    pub(super) fn release(&self, assigned: &Arc<Assigned>) {
        let mut table = self.assigned.lock();
        let ours = table.get(&assigned.queue).is_some_and(|(held, _)| Arc::ptr_eq(held, assigned));
        let gone = if ours { table.remove(&assigned.queue) } else { None };
        drop(table);
        self.released.notify_one();
        // It may have been assigned again meanwhile.
        self.divide_soon();
        drop(gone);
    }

    async fn rebalance_topic(self: &Arc<Inner>, topic: &Arc<str>) {
        let shared = &self.client.shared;
        let route = match shared.subscribe_route(topic).await {
            Ok(route) => route,
            Err(error) => {
                tracing::debug!(%topic, %error, "no route yet");
                return;
            }
        };
        let share: BTreeSet<MessageQueue> = match self.config.model {
            MessageModel::Broadcasting => route.readable().iter().cloned().collect(),
            MessageModel::Clustering => {
                let Some(members) = self.members(topic, &route).await else { return };
                if !members.contains(&shared.id) {
                    shared.beat_soon();
                }
                self.config.division.share(&shared.id, &members, route.readable()).into_iter().collect()
            }
        };
        self.take_over(topic, &share);
    }

    /// The group's members, by the first broker of the topic that answers. Every member knows every broker, so every broker
    /// knows every member.
    async fn members(&self, topic: &str, route: &TopicRoute) -> Option<Vec<String>> {
        for broker in route.brokers().keys() {
            let Some(addr) = route.any(broker) else { continue };
            match self.client.shared.consumer_ids(addr, &self.config.group).await {
                Ok(members) => return Some(members),
                Err(error) => {
                    tracing::info!(group = self.config.group, topic, %error, "the members are not known");
                }
            }
        }
        None
    }

    fn take_over(self: &Arc<Inner>, topic: &Arc<str>, share: &BTreeSet<MessageQueue>) {
        if self.is_stopping() {
            return;
        }
        let mut table = self.assigned.lock();
        let held: BTreeSet<MessageQueue> =
            table.keys().filter(|queue| queue.topic == *topic).cloned().collect();
        let change = rebalance::change(&held, share);
        for queue in &change.revoked {
            tracing::info!(group = self.config.group, %queue, "gives up");
            if let Some((assigned, _)) = table.get(queue) {
                assigned.revoke();
            }
        }
        for queue in change.assigned {
            tracing::info!(group = self.config.group, %queue, "takes");
            let assigned = Arc::new(Assigned::new(queue.clone()));
            let work = worker::run(Arc::clone(self), Arc::clone(&assigned));
            let task = self.client.shared.env.spawn("queue worker", work);
            table.insert(queue, (assigned, task));
        }
    }
}
