//! What brokers ask of a consumer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ConsumeFrom;
use super::ConsumeResult;
use super::Handler;
use super::Inner;
use super::MessageView;
use super::OrderResult;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::client::MessageQueue;
use crate::client::broker::wire_offset;
use crate::client::broker::wire_queue;
use crate::client::member::Consumer;
use crate::env::BoxFuture;
use crate::machine::consume::Order;
use crate::protocol::body;
use crate::protocol::body::ConsumeFromWhere;
use crate::protocol::body::ConsumeType;
use crate::protocol::body::DirectResult;
use crate::protocol::body::heartbeat::ConsumerData;
use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::body::running::ConsumeMessageDirectlyResult;
use crate::protocol::body::running::ConsumerRunningInfo;
use crate::protocol::body::running::ProcessQueueInfo;
use crate::protocol::body::running::property;
use crate::protocol::code::version;
use crate::protocol::message::ReceivedMessage;

impl Consumer for Inner {
    fn data(&self) -> ConsumerData {
        ConsumerData {
            consume_from_where: match self.config.from {
                ConsumeFrom::Last => ConsumeFromWhere::LastOffset,
                ConsumeFrom::First => ConsumeFromWhere::FirstOffset,
                ConsumeFrom::At(_) => ConsumeFromWhere::Timestamp,
            },
            consume_type: ConsumeType::Passively,
            group_name: self.config.group.clone(),
            message_model: self.config.model,
            subscription_data_set: self.subscription_data(),
            unit_mode: false,
        }
    }

    fn rebalance_soon(&self) {
        self.divide_soon();
    }

    fn reset(&self, topic: &str, offsets: BTreeMap<body::MessageQueue, i64>) {
        let assigned = self.assigned.lock();
        for (queue, offset) in offsets {
            let (Ok(id), Ok(offset)) = (u32::try_from(queue.queue_id), u64::try_from(offset)) else {
                continue;
            };
            let queue = MessageQueue::new(&queue.topic, &queue.broker_name, QueueId(id));
            if let Some((state, _)) = assigned.get(&queue).filter(|_| &*queue.topic == topic) {
                tracing::info!(%queue, offset, "the offset was reset");
                state.reset(QueueOffset(offset));
            }
        }
    }

    fn positions(&self, topic: &str) -> BTreeMap<body::MessageQueue, i64> {
        let now = self.client.shared.env.now();
        let assigned = self.assigned.lock();
        let of_topic = assigned.iter().filter(|(queue, _)| topic.is_empty() || &*queue.topic == topic);
        of_topic
            .filter_map(|(queue, (state, _))| Some((wire_queue(queue), wire_offset(state.commit(now)?))))
            .collect()
    }

    fn running_info(&self) -> ConsumerRunningInfo {
        let now = self.client.shared.env.now();
        let text = |name: &str, value: String| (name.to_owned(), value);
        let properties = BTreeMap::from([
            text(property::CONSUME_TYPE, ConsumeType::Passively.name().to_owned()),
            text(property::CONSUME_ORDERLY, (self.order() == Order::Orderly).to_string()),
            text(property::CLIENT_VERSION, version::name(version::CURRENT)),
            text(property::THREADPOOL_CORE_SIZE, self.config.concurrency.to_string()),
        ]);
        let assigned = self.assigned.lock();
        let queues = assigned.iter().filter_map(|(queue, (state, _))| {
            let info = state.with_process(|process| ProcessQueueInfo {
                cached_msg_count: i32::try_from(process.len()).unwrap_or(i32::MAX),
                cached_msg_max_offset: wire_offset(process.next_pull()),
                cached_msg_min_offset: wire_offset(process.settled_below()),
                commit_offset: wire_offset(process.settled_below()),
                dropped: process.revoked(),
                locked: process.leased(now),
                ..ProcessQueueInfo::default()
            });
            Some((wire_queue(queue), info?))
        });
        ConsumerRunningInfo {
            mq_table: queues.collect(),
            properties,
            subscription_set: self.subscription_data(),
            ..ConsumerRunningInfo::default()
        }
    }

    fn consume_directly(
        self: Arc<Self>,
        broker: String,
        message: ReceivedMessage,
    ) -> BoxFuture<'static, ConsumeMessageDirectlyResult> {
        Box::pin(async move {
            let env = &self.client.shared.env;
            let started = env.now();
            let queue = MessageQueue::new(&message.message.topic, &broker, message.queue);
            let messages = vec![MessageView::new(message, &queue)];
            let consume_result = match &self.handler {
                Handler::Concurrent(handler) => match handler(messages).await {
                    ConsumeResult::Done => DirectResult::Success,
                    ConsumeResult::Retry | ConsumeResult::RetryAt { .. } | ConsumeResult::DeadLetter => {
                        DirectResult::Later
                    }
                },
                Handler::Ordered(handler) => match handler(messages).await {
                    OrderResult::Done => DirectResult::Success,
                    OrderResult::Suspend { .. } => DirectResult::Later,
                },
            };
            let spent = env.now().since(started).as_millis();
            ConsumeMessageDirectlyResult {
                auto_commit: true,
                consume_result,
                order: self.order() == Order::Orderly,
                remark: None,
                spent_time_mills: i64::try_from(spent).unwrap_or(i64::MAX),
            }
        })
    }
}

impl Inner {
    fn subscription_data(&self) -> Vec<SubscriptionData> {
        let subscriptions = self.subscriptions.iter();
        subscriptions
            .map(|(topic, subscription)| {
                SubscriptionData::by_tags(&**topic, &subscription.expression, subscription.version)
            })
            .collect()
    }
}
