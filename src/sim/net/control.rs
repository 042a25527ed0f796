//! The network as the nemesis and a scenario see it: links, cuts, resets.

use std::task::Waker;

use super::link::Link;
use super::link::Timeouts;
use super::state::ConnId;
use crate::sim::NodeId;
use crate::sim::World;
use crate::sim::ledger::Damage;
use crate::sim::node::Node;
use crate::sim::trace::Kind;

/// Breaks and mends the network of a world.
pub struct Network {
    pub(in crate::sim) world: World,
}

/// Directions that are cut until this is dropped. Cuts may overlap: a direction heals with its last one.
#[must_use = "dropping a Cut heals it"]
pub struct Cut {
    world: World,
    one_way: bool,
    directions: Vec<(NodeId, NodeId, usize)>,
}

impl Network {
    /// What every pair of nodes has from now on that has no link of its own.
    pub fn set_default(&self, link: Link) {
        self.world.net_state().lock().default_link = link;
    }

    pub fn default_link(&self) -> Link {
        self.world.net_state().lock().default_link
    }

    /// What `from` to `to` has from now on; connections keep the window and segment length they began with.
    pub fn set_link(&self, from: &Node, to: &Node, link: Link) {
        self.world.net_state().lock().links.insert((from.id(), to.id()), link);
    }

    /// Every pair has the default again.
    pub fn clear_links(&self) {
        self.world.net_state().lock().links.clear();
    }

    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.world.net_state().lock().timeouts = timeouts;
    }

    pub fn timeouts(&self) -> Timeouts {
        self.world.net_state().lock().timeouts
    }

    /// Both directions get `ns` more latency, either way.
    pub fn delay(&self, a: &Node, b: &Node, ns: u64) {
        for (from, to) in [(a, b), (b, a)] {
            let mut net = self.world.net_state().lock();
            let default = net.default_link;
            let link = net.links.entry((from.id(), to.id())).or_insert(default);
            link.latency_ns = (link.latency_ns.0 + ns, link.latency_ns.1 + ns);
        }
    }

    /// Nothing passes between `a` and `b`.
    pub fn partition(&self, a: &Node, b: &Node) -> Cut {
        self.cut(false, &[(a.id(), b.id()), (b.id(), a.id())])
    }

    /// Nothing passes from `from` to `to`; the other direction works.
    pub fn one_way(&self, from: &Node, to: &Node) -> Cut {
        self.cut(true, &[(from.id(), to.id())])
    }

    /// Nothing passes between `node` and any other.
    pub fn isolate(&self, node: &Node) -> Cut {
        let others: Vec<Node> =
            self.world.nodes().into_iter().filter(|other| other.id() != node.id()).collect();
        self.split(std::slice::from_ref(node), &others)
    }

    /// Nothing passes between the two sides.
    pub fn split(&self, left: &[Node], right: &[Node]) -> Cut {
        let mut directions = Vec::new();
        for a in left {
            for b in right {
                directions.extend([(a.id(), b.id()), (b.id(), a.id())]);
            }
        }
        self.cut(false, &directions)
    }

    fn cut(&self, one_way: bool, directions: &[(NodeId, NodeId)]) -> Cut {
        let mut made = Vec::new();
        for (from, to) in directions.iter().copied().filter(|(from, to)| from != to) {
            self.world.net_state().lock().cut(from, to);
            self.world.event(from, Kind::Cut, u64::from(to.0), u64::from(one_way));
            let entry = self.world.damage(from, Damage::Partition { to, until: None });
            made.push((from, to, entry));
        }
        Cut { world: self.world.clone(), one_way, directions: made }
    }

    /// Resets every connection between the two, whatever is on its way. Says how many there were.
    pub fn reset_connections(&self, a: &Node, b: &Node) -> usize {
        let mut net = self.world.net_state().lock();
        let mut ids: Vec<ConnId> = Vec::new();
        for (id, conn) in &net.conns {
            let ends = [conn.ends[0].node, conn.ends[1].node];
            if ends == [a.id(), b.id()] || ends == [b.id(), a.id()] {
                ids.push(*id);
            }
        }
        ids.sort_unstable();
        let mut woken: Vec<Waker> = Vec::new();
        for id in &ids {
            net.break_connection(&self.world, *id, &mut woken);
        }
        drop(net);
        woken.into_iter().for_each(Waker::wake);
        ids.len()
    }

    /// Connections that some process still holds, or that still have something on the wire.
    pub fn connections(&self) -> usize {
        self.world.net_state().lock().conns.len()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if self.world.has_ended() {
            return;
        }
        let now = self.world.now_ns();
        for (from, to, entry) in self.directions.drain(..) {
            self.world.net_state().lock().uncut(from, to, now);
            self.world.event(from, Kind::Heal, u64::from(to.0), u64::from(self.one_way));
            self.world.close_damage(entry);
        }
        self.world.poke();
    }
}
