//! What a name server knows: which brokers are alive and which queues of which topics they hold.
//!
//! ```text
//!              register (first)             register, heartbeat, query of the data version
//!   unknown ----------------------> live --------------------------------------------+
//!      ^                             |  ^                                             |
//!      |  unregister, its connection |  +---------------------------------------------+
//!      |  closed, timeout passed,    |
//!      +-----------------------------+
//!         replaced by a newer one
//! ```
//!
//! An *incarnation* of a broker is the connection over which it registered ([`Origin`], numbered in the order in which
//! connections were accepted). Everything a broker says is judged by it: what an older connection than the registered
//! one says is late, whatever it says. RocketMQ compares addresses alone, so that a late unregister of a broker's former
//! life wipes the registration of its present one (apache/rocketmq#11043).
//!
//! Invariants, checked by [`Route::check_invariants`]:
//!
//! * an address is one broker, and one `(broker name, id)` is one address; both directions agree;
//! * no broker group without a live member, no topic without a broker, no queues of a group that is gone: a route lists
//!   live brokers only;
//! * while a broker is registered over one connection, its data version never goes back.
//!
//! Not here: bodies and headers, the connection table, files. Batches and names of topics are not judged.

mod kv;
mod look_up;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use kv::KvConfig;
pub use look_up::TopicRoute;

use crate::base::Mono;

/// The id of a group's master.
pub const MASTER_ID: u64 = 0;
/// Permission bit: the queues may be read.
pub const PERM_READ: u32 = 4;
/// Permission bit: the queues may be written.
pub const PERM_WRITE: u32 = 2;
/// Milliseconds after which a silent broker is gone, unless it asks for another span (`brokerChannelExpiredTime`).
pub const BROKER_TIMEOUT_MS: u64 = 120_000;

/// The connection over which something was said. Later connections have larger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(pub u64);

/// The state of a broker's topic table. Ordered as RocketMQ compares it: state version, then counter, then timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub state: i64,
    pub counter: i64,
    /// Milliseconds since the epoch, by the broker's clock.
    pub timestamp: i64,
}

/// Who a broker says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    /// The name that a master shares with its slaves.
    pub broker: String,
    pub id: u64,
    /// `host:port`, where clients reach it.
    pub addr: String,
}

/// The queues of one topic on one broker group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    pub read: u32,
    pub write: u32,
    pub perm: u32,
    pub sys_flag: u32,
}

#[derive(Clone, Debug)]
pub struct Registration {
    pub identity: Identity,
    /// Where slaves fetch the log.
    pub ha_addr: String,
    pub timeout_ms: Option<u64>,
    /// `None` from brokers before 5.0.
    pub acting_master: Option<bool>,
    pub version: Version,
    /// Not necessarily all topics: RocketMQ registers a changed topic alone, and large tables in parts.
    pub topics: Vec<(String, Queues)>,
}

/// What a slave learns from its registration. Both are `None` for a master, and as long as there is no master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    pub ha_addr: Option<String>,
    pub master_addr: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A single topic of a broker that has not registered its table: RocketMQ answers "register broker failed".
    #[error("a single topic cannot register a broker")]
    TableMissing,
    /// A newer incarnation, or one with a newer state version, holds the address or the id.
    #[error("superseded by a newer registration")]
    Superseded,
}

/// A broker that fell silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    pub identity: Identity,
    /// Its connection is of no more use.
    pub origin: Origin,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// By broker name.
    groups: BTreeMap<String, Group>,
    /// By address.
    live: BTreeMap<String, Live>,
    /// By topic, then by broker name.
    topics: BTreeMap<String, BTreeMap<String, Held>>,
}

/// The master and slaves of one broker name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub cluster: String,
    pub acting_master: bool,
    pub addrs: BTreeMap<u64, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    broker: String,
    id: u64,
    origin: Origin,
    version: Version,
    ha_addr: String,
    timeout_ms: u64,
    seen: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    queues: Queues,
    /// An operator took the write permission away until the next changed registration.
    wiped: bool,
}

impl Route {
    /// Takes a registration over, or says why not. A registration with an older data version over the same connection
    /// only shows that the broker is alive.
    pub fn register(
        &mut self,
        now: Mono,
        origin: Origin,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        let Registration { identity, ha_addr, timeout_ms, acting_master, version, topics } = registration;
        let known = self.live.get(&identity.addr).filter(|live| self.is(live, &identity)).cloned();
        self.judge(origin, &identity, version, known.is_none() && topics.len() == 1)?;
        let timeout_ms = timeout_ms.unwrap_or(BROKER_TIMEOUT_MS);
        if let Some(known) = known.as_ref().filter(|known| known.origin == origin && version < known.version)
        {
            let live = Live { seen: now, timeout_ms, ..known.clone() };
            self.live.insert(identity.addr.clone(), live);
            return Ok(self.roles(&identity));
        }
        let id_was_known = known.is_some() || self.addr_of(&identity.broker, identity.id).is_some();
        self.make_room(&identity);
        let group = self.groups.entry(identity.broker.clone()).or_insert_with(|| Group {
            cluster: identity.cluster.clone(),
            acting_master: false,
            addrs: BTreeMap::new(),
        });
        group.acting_master = acting_master.unwrap_or(false);
        group.addrs.insert(identity.id, identity.addr.clone());
        let first_id = group.addrs.keys().next().copied();
        let acts = acting_master.is_some() && first_id == Some(identity.id);
        let broker = identity.broker.clone();
        let live = Live { broker, id: identity.id, origin, version, ha_addr, timeout_ms, seen: now };
        self.live.insert(identity.addr.clone(), live);
        if identity.id == MASTER_ID || acts {
            let changed = !id_was_known || known.is_none_or(|known| known.version != version);
            self.take_topics(&identity.broker, changed, topics);
        }
        Ok(self.roles(&identity))
    }

    /// Forgets a broker on its own word. False when it is not registered, or by another connection: then the word is
    /// that of another life.
    pub fn unregister(&mut self, origin: Origin, identity: &Identity) -> bool {
        let held = self.live.get(&identity.addr).filter(|live| self.is(live, identity));
        if held.is_none_or(|live| live.origin != origin) {
            return false;
        }
        self.remove(&identity.addr);
        true
    }

    /// Forgets the brokers that registered over a connection. Those that have registered over a newer one stay.
    pub fn closed(&mut self, origin: Origin) -> Vec<Identity> {
        let gone: Vec<String> = self
            .live
            .iter()
            .filter(|(_, live)| live.origin == origin)
            .map(|(addr, _)| addr.clone())
            .collect();
        gone.iter().map(|addr| self.remove(addr)).collect()
    }

    /// The light sign of life. False for a broker that must register (again) to be seen.
    pub fn heartbeat(&mut self, now: Mono, origin: Origin, addr: &str) -> bool {
        match self.live.get_mut(addr) {
            Some(live) if live.origin <= origin => {
                live.seen = now;
                // The broker lives at the far end of this connection now; the former one may close any time.
                live.origin = origin;
                true
            }
            _ => false,
        }
    }

    /// Whether a broker with this data version has to register, and the version known here. Only a broker whose present
    /// connection holds the registration is told "unchanged": otherwise the closing of its former one would remove it.
    pub fn query_version(
        &mut self,
        now: Mono,
        origin: Origin,
        addr: &str,
        version: Version,
    ) -> (bool, Option<Version>) {
        let Some(live) = self.live.get_mut(addr) else { return (true, None) };
        let unchanged = live.origin == origin && live.version == version;
        if unchanged {
            live.seen = now;
        }
        (!unchanged, Some(live.version))
    }

    /// Forgets the brokers that were silent for longer than they asked for.
    pub fn on_timer(&mut self, now: Mono) -> Vec<Expired> {
        let due: Vec<(String, Origin)> = self
            .live
            .iter()
            .filter(|(_, live)| live.deadline() <= now)
            .map(|(addr, live)| (addr.clone(), live.origin))
            .collect();
        due.into_iter().map(|(addr, origin)| Expired { identity: self.remove(&addr), origin }).collect()
    }

    /// When [`Route::on_timer`] next has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.live.values().map(Live::deadline).min()
    }

    /// Removes a topic, of one cluster if one is named.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(held) = self.topics.get_mut(topic) else { return };
        held.retain(|broker, _| {
            let of = self.groups.get(broker).map(|group| group.cluster.as_str());
            cluster.is_some_and(|cluster| of != Some(cluster))
        });
        if held.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Adds a topic by hand. False, and nothing is changed, when one of the brokers is unknown.
    pub fn register_topic(&mut self, topic: &str, queues: &[(String, Queues)]) -> bool {
        if queues.is_empty() || queues.iter().any(|(broker, _)| !self.groups.contains_key(broker)) {
            return false;
        }
        let held = self.topics.entry(topic.to_owned()).or_default();
        for (broker, queues) in queues {
            held.insert(broker.clone(), Held { queues: *queues, wiped: false });
        }
        true
    }

    /// Takes the write permission away from every topic of a broker, until its next changed registration. Returns how
    /// many topics it holds.
    pub fn wipe_write(&mut self, broker: &str) -> usize {
        self.for_each_held(broker, |held| held.wiped = true)
    }

    /// Gives the write permission to every topic of a broker. Returns how many topics it holds.
    pub fn add_write(&mut self, broker: &str) -> usize {
        self.for_each_held(broker, |held| {
            held.wiped = false;
            held.queues.perm |= PERM_READ | PERM_WRITE;
        })
    }

    pub fn check_invariants(&self) {
        for (addr, live) in &self.live {
            let group = self.groups.get(&live.broker);
            let listed = group.and_then(|group| group.addrs.get(&live.id));
            assert_eq!(listed, Some(addr), "a live broker is listed under its name and id");
        }
        let members: usize = self.groups.values().map(|group| group.addrs.len()).sum();
        assert_eq!(members, self.live.len(), "every listed address is live");
        assert!(self.groups.values().all(|group| !group.addrs.is_empty()), "no group without a member");
        for held in self.topics.values() {
            assert!(!held.is_empty(), "no topic without a broker");
            assert!(held.keys().all(|broker| self.groups.contains_key(broker)), "queues are of live brokers");
        }
    }

    fn judge(
        &self,
        origin: Origin,
        identity: &Identity,
        version: Version,
        one_topic_first: bool,
    ) -> Result<(), RegisterError> {
        if self.live.get(&identity.addr).is_some_and(|live| live.origin > origin) {
            return Err(RegisterError::Superseded);
        }
        let rival = self.addr_of(&identity.broker, identity.id).filter(|addr| **addr != identity.addr);
        let rival = rival.and_then(|addr| self.live.get(addr));
        if rival.is_some_and(|rival| rival.origin > origin || rival.version.state > version.state) {
            return Err(RegisterError::Superseded);
        }
        if one_topic_first && rival.is_none() {
            return Err(RegisterError::TableMissing);
        }
        Ok(())
    }

    /// Removes whoever else held the address, and whoever else held the id: the same broker before it moved.
    fn make_room(&mut self, identity: &Identity) {
        let rival =
            self.addr_of(&identity.broker, identity.id).filter(|addr| **addr != identity.addr).cloned();
        let other_life = self.live.get(&identity.addr).is_some_and(|live| !self.is(live, identity));
        if other_life {
            self.unlist(&identity.addr);
        }
        if let Some(rival) = rival {
            self.unlist(&rival);
        }
        // A group that changed its cluster starts again: RocketMQ has one cluster per broker name.
        if let Some(group) = self.groups.get_mut(&identity.broker) {
            group.cluster.clone_from(&identity.cluster);
        }
        self.drop_orphans(Some(&identity.broker));
    }

    fn take_topics(&mut self, broker: &str, changed: bool, topics: Vec<(String, Queues)>) {
        for (topic, queues) in topics {
            let of_topic = self.topics.entry(topic).or_default();
            let was_wiped = of_topic.get(broker).is_some_and(|held| held.wiped);
            // The queues are taken over even if the version is the known one: the parts of a split registration share
            // one version (apache/rocketmq#10425).
            of_topic.insert(broker.to_owned(), Held { queues, wiped: was_wiped && !changed });
        }
    }

    fn roles(&self, identity: &Identity) -> Registered {
        let master = self.addr_of(&identity.broker, MASTER_ID).filter(|_| identity.id != MASTER_ID);
        let live = master.and_then(|addr| self.live.get(addr));
        Registered { ha_addr: live.map(|live| live.ha_addr.clone()), master_addr: master.cloned() }
    }

    fn is(&self, live: &Live, identity: &Identity) -> bool {
        let cluster = self.groups.get(&live.broker).map(|group| group.cluster.as_str());
        live.broker == identity.broker && live.id == identity.id && cluster == Some(identity.cluster.as_str())
    }

    fn addr_of(&self, broker: &str, id: u64) -> Option<&String> {
        self.groups.get(broker).and_then(|group| group.addrs.get(&id))
    }

    fn remove(&mut self, addr: &str) -> Identity {
        let cluster = self.live.get(addr).and_then(|live| self.groups.get(&live.broker));
        let cluster = cluster.map(|group| group.cluster.clone()).unwrap_or_default();
        let live = self.unlist(addr);
        self.drop_orphans(None);
        Identity { cluster, broker: live.broker, id: live.id, addr: addr.to_owned() }
    }

    fn unlist(&mut self, addr: &str) -> Live {
        let live = self.live.remove(addr);
        assert!(live.is_some(), "only a live broker is removed");
        let live = live.unwrap_or_else(|| unreachable!("asserted above"));
        if let Some(group) = self.groups.get_mut(&live.broker) {
            let listed = group.addrs.remove(&live.id);
            assert_eq!(listed.as_deref(), Some(addr), "a live broker is listed under its id");
        }
        live
    }

    /// Removes groups without members and what they held, but for one that is about to get a member.
    fn drop_orphans(&mut self, awaited: Option<&str>) {
        let awaited = awaited.unwrap_or_default();
        let before = self.groups.len();
        self.groups.retain(|broker, group| !group.addrs.is_empty() || broker == awaited);
        if self.groups.len() == before {
            return;
        }
        for held in self.topics.values_mut() {
            held.retain(|broker, _| self.groups.contains_key(broker));
        }
        self.topics.retain(|_, held| !held.is_empty());
    }

    fn for_each_held(&mut self, broker: &str, mut change: impl FnMut(&mut Held)) -> usize {
        let held = self.topics.values_mut().filter_map(|held| held.get_mut(broker));
        held.map(&mut change).count()
    }
}

impl Live {
    fn deadline(&self) -> Mono {
        self.seen.plus_ms(self.timeout_ms)
    }
}
