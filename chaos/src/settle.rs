//! The end of a story: faults stop, everything is healed, servers that are down start again, and what was begun must
//! come to its end.
//!
//! A client's process that is down stays down: whether it comes back is part of the story. Cuts heal with their guards.
//!
//! What is not done within the limit is a failure of liveness, which says what is left and which server did not start.

use std::collections::BTreeSet;
use std::time::Duration;

use staticfire::sim::net::Link;

use crate::actors::SENT_EVERYTHING;
use crate::cluster::Cluster;
use crate::history::SendOutcome;
use crate::history::Verdict;
use crate::history::What;
use crate::operator::NotLive;
use crate::operator::wait_looking;

/// Virtual time between two looks, each of which asks brokers a lot.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Says what must have come to its end.
#[must_use = "nothing settles until within"]
pub struct Settle<'a> {
    cluster: &'a Cluster,
    drained: Vec<(String, String)>,
    decided: bool,
    sent: bool,
}

impl Cluster {
    /// Mends links, disks and clocks, wakes who is paused, starts the servers that are down.
    pub fn heal(&self) {
        let world = self.world();
        world.net().set_default(Link::CALM);
        world.net().clear_links();
        for node in world.nodes() {
            node.disk().heal();
            node.clock().heal();
            node.resume();
        }
        for server in self.servers() {
            if !server.is_up() {
                server.restart();
            }
        }
    }

    pub fn settle(&self) -> Settle<'_> {
        Settle { cluster: self, drained: Vec::new(), decided: false, sent: false }
    }
}

impl Settle<'_> {
    /// A group has consumed, and committed, all of a topic and of its own retry topic.
    pub fn drained(mut self, group: &str, topic: &str) -> Self {
        self.drained.push((group.to_owned(), topic.to_owned()));
        self
    }

    /// Each half message whose listener was called has been decided.
    pub fn decided(mut self) -> Self {
        self.decided = true;
        self
    }

    /// Each producer that lives has sent all that it had to send.
    pub fn sent(mut self) -> Self {
        self.sent = true;
        self
    }

    /// Heals, and waits until all of it is so.
    pub async fn within(self, limit: Duration) -> Result<(), NotLive> {
        self.cluster.heal();
        let what = "everything to settle";
        let world = self.cluster.world();
        wait_looking(world, what, LOOK_EVERY, limit, || self.look()).await.map_err(|mut not_live| {
            for exit in self.cluster.exits() {
                let at = exit.at.as_secs_f64();
                not_live.seen += &format!("; {} did not serve at {at:.3} s: {}", exit.node, exit.reason);
            }
            not_live
        })
    }

    async fn look(&self) -> Result<(), String> {
        if let Some(down) = self.cluster.servers().iter().find(|node| !node.is_up()) {
            down.restart();
            return Err(format!("{} is down", down.name()));
        }
        if self.sent {
            self.all_sent()?;
        }
        if self.decided {
            self.all_decided()?;
        }
        for (group, topic) in &self.drained {
            let retry = format!("%RETRY%{group}");
            for topic in [topic, &retry] {
                let lag =
                    self.cluster.operator().lag(group, topic).await.map_err(|error| error.to_string())?;
                if lag > 0 {
                    return Err(format!("group {group} is {lag} messages behind in {topic}"));
                }
            }
        }
        Ok(())
    }

    fn all_sent(&self) -> Result<(), String> {
        let history = self.cluster.history();
        let done = history.name(SENT_EVERYTHING);
        let sending = history.with_events(|events| {
            let mut sending = BTreeSet::new();
            for event in events {
                match event.what {
                    What::SendInvoked { .. } => _ = sending.insert((event.node, event.life)),
                    What::Noted(name, _) if name == done => _ = sending.remove(&(event.node, event.life)),
                    _ => {}
                }
            }
            sending
        });
        for (node, life) in sending {
            let name = history.text(node);
            let node = self.cluster.world().find(&name);
            if node.is_some_and(|node| node.is_up() && node.incarnation() == u64::from(life)) {
                return Err(format!("{name} still sends"));
            }
        }
        Ok(())
    }

    fn all_decided(&self) -> Result<(), String> {
        let undecided = self.cluster.history().with_events(|events| {
            let halves = events.iter().filter_map(|event| match event.what {
                What::Executing { key } => Some(key),
                _ => None,
            });
            halves.into_iter().find(|half| {
                !events.iter().any(|event| {
                    matches!(event.what, What::Decision { key, verdict, .. }
                        if key == *half && verdict != Verdict::Unknown)
                })
            })
        });
        undecided.map_or(Ok(()), |key| Err(format!("nobody has decided about {key}")))
    }
}

impl Cluster {
    /// How many messages a process has handled for a group so far.
    pub fn handled_by(&self, process: &str, group: &str) -> usize {
        let (node, group) = (self.history().name(process), self.history().name(group));
        self.history().with_events(|events| {
            let ended = events.iter().filter(|event| {
                event.node == node && matches!(event.what, What::HandlerEnded(of, _) if of.group == group)
            });
            ended.count()
        })
    }

    /// How many different queues a process has handled messages of for a group so far.
    pub fn queues_of(&self, process: &str, group: &str) -> usize {
        let (node, group) = (self.history().name(process), self.history().name(group));
        self.history().with_events(|events| {
            let queues = events.iter().filter_map(|event| match event.what {
                What::HandlerStarted(of) if event.node == node && of.group == group => Some(of.queue),
                _ => None,
            });
            queues.collect::<BTreeSet<_>>().len()
        })
    }

    /// How many sends were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.history().count(|what| matches!(what, What::SendEnded { outcome: SendOutcome::Ok { .. }, .. }))
    }
}
