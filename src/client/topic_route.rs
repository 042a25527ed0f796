//! Where a topic's queues are, as the last answer of a name server had it.
//!
//! Not here: fetching it (`instance`), who reads which queue ([`crate::machine::rebalance`]).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::MessageQueue;
use crate::base::QueueId;
use crate::machine::route::MASTER_ID;
use crate::machine::route::PERM_READ;
use crate::machine::route::PERM_WRITE;
use crate::protocol::body::route;

/// More queues than this in one topic of one broker are a mistake of a stranger, not a route.
const QUEUES_MAX: i32 = 65_536;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicRoute {
    /// Addresses by broker name and id.
    brokers: BTreeMap<Arc<str>, BTreeMap<i64, String>>,
    /// Queues that take messages, on brokers with a master.
    writable: Vec<MessageQueue>,
    readable: Vec<MessageQueue>,
}

impl TopicRoute {
    pub(super) fn new(topic: &str, data: &route::TopicRoute) -> TopicRoute {
        let topic: Arc<str> = Arc::from(topic);
        let mut brokers: BTreeMap<Arc<str>, BTreeMap<i64, String>> = BTreeMap::new();
        for broker in &data.broker_datas {
            let addrs = brokers.entry(Arc::from(broker.broker_name.as_str())).or_default();
            addrs.extend(broker.broker_addrs.iter().map(|(id, addr)| (*id, addr.clone())));
        }
        let mut route = TopicRoute { brokers, writable: Vec::new(), readable: Vec::new() };
        let (mut writable, mut readable) = (BTreeSet::new(), BTreeSet::new());
        for queues in &data.queue_datas {
            let Some((broker, _)) = route.brokers.get_key_value(queues.broker_name.as_str()) else {
                continue;
            };
            let range = |count: i32| {
                let (topic, broker) = (topic.clone(), Arc::clone(broker));
                let ids = (0..count.clamp(0, QUEUES_MAX)).map(|id| QueueId(id.unsigned_abs()));
                ids.map(move |id| MessageQueue { topic: topic.clone(), broker: broker.clone(), id })
            };
            if allows(queues.perm, PERM_WRITE) && route.master(broker).is_some() {
                writable.extend(range(queues.write_queue_nums));
            }
            if allows(queues.perm, PERM_READ) {
                readable.extend(range(queues.read_queue_nums));
            }
        }
        route.writable = writable.into_iter().collect();
        route.readable = readable.into_iter().collect();
        route
    }

    /// The route that a topic will have once a broker creates it by the template whose route this is: at most
    /// `queues_max` queues per broker.
    pub(super) fn as_template_for(&self, topic: &str, queues_max: u32) -> TopicRoute {
        let topic: Arc<str> = Arc::from(topic);
        let queues = self.writable.iter().filter(|queue| queue.id.0 < queues_max);
        let writable = queues.map(|queue| MessageQueue { topic: topic.clone(), ..queue.clone() }).collect();
        TopicRoute { brokers: self.brokers.clone(), writable, readable: Vec::new() }
    }

    pub(super) fn writable(&self) -> &[MessageQueue] {
        &self.writable
    }

    pub(super) fn readable(&self) -> &[MessageQueue] {
        &self.readable
    }

    pub(super) fn brokers(&self) -> &BTreeMap<Arc<str>, BTreeMap<i64, String>> {
        &self.brokers
    }

    pub(super) fn master(&self, broker: &str) -> Option<&str> {
        self.addr(broker, MASTER_ID.cast_signed())
    }

    pub(super) fn addr(&self, broker: &str, id: i64) -> Option<&str> {
        self.brokers.get(broker)?.get(&id).map(String::as_str)
    }

    /// Any member of the group, the master if there is one.
    pub(super) fn any(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.values().next().map(String::as_str)
    }
}

fn allows(perm: i32, bit: u32) -> bool {
    perm.cast_unsigned() & bit != 0
}
