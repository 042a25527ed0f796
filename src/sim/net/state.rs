//! All hosts, listeners and connections, and the heap of what happens to them next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::Bytes;

use super::link::Link;
use super::link::Timeouts;
use super::link::delay;
use super::pipe::Body;
use super::pipe::Conn;
use super::pipe::Dial;
use super::pipe::End;
use super::pipe::Pipe;
use super::pipe::Segment;
use super::pipe::receiver;
use super::pipe::sender;
use crate::base::Draw;
use crate::base::FastMap;
use crate::sim::NodeId;
use crate::sim::World;
use crate::sim::ledger::Damage;
use crate::sim::trace::Kind;

/// The client's node and how many connects it had made: the same whatever other nodes do.
pub(super) type ConnId = u64;

const FIRST_EPHEMERAL_PORT: u16 = 32_768;
const FIRST_RETRY_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// The head of a pipe's wire arrives.
    Arrive {
        dir: u8,
    },
    /// A connect request arrives, for the n-th time.
    Request {
        attempt: u32,
    },
    /// Its answer arrives.
    Answer {
        attempt: u32,
    },
    GiveUp,
    UserTimeout {
        dir: u8,
        holding: u64,
    },
}

struct Host {
    up: bool,
    ip: IpAddr,
    name: String,
    connects: u64,
    next_port: u16,
}

pub(super) struct Listening {
    addr: SocketAddr,
    pub(super) backlog: VecDeque<ConnId>,
    pub(super) acceptors: Vec<Waker>,
}

pub(in crate::sim) struct State {
    pub(super) draw: Draw,
    pub(super) default_link: Link,
    pub(super) links: BTreeMap<(NodeId, NodeId), Link>,
    pub(super) timeouts: Timeouts,
    /// How many cuts lie on a direction.
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    hosts: Vec<Host>,
    pub(super) listening: BTreeMap<(NodeId, u16), Listening>,
    pub(super) conns: FastMap<ConnId, Conn>,
    heap: BinaryHeap<Reverse<(u64, ConnId, Next)>>,
}

impl State {
    pub(in crate::sim) fn new(draw: Draw) -> State {
        State {
            draw,
            default_link: Link::CALM,
            links: BTreeMap::new(),
            timeouts: Timeouts::default(),
            cuts: BTreeMap::new(),
            hosts: Vec::new(),
            listening: BTreeMap::new(),
            conns: FastMap::default(),
            heap: BinaryHeap::new(),
        }
    }

    // -- hosts ------------------------------------------------------------------------------------

    pub(in crate::sim) fn add_host(&mut self, id: NodeId, name: &str) {
        assert!(self.hosts.len() == id.index(), "hosts are added in the order of their numbers");
        self.hosts.push(Host {
            up: false,
            ip: id.ip(),
            name: name.to_owned(),
            connects: 0,
            next_port: FIRST_EPHEMERAL_PORT,
        });
    }

    pub(in crate::sim) fn host_up(&mut self, node: NodeId, now: u64) {
        let host = &mut self.hosts[node.index()];
        if !host.up {
            host.up = true;
            self.release(now, |_, to| to == node);
        }
    }

    /// The process is gone, its kernel is not: it closes what was open and refuses what comes.
    pub(in crate::sim) fn process_down(&mut self, node: NodeId, now: u64) {
        let ports: Vec<u16> =
            self.listening.keys().filter(|(at, _)| *at == node).map(|(_, port)| *port).collect();
        for port in ports {
            // Its acceptors died with the process.
            let _ = self.stop_listening(node, port, now);
        }
        for (id, end) in self.ends_at(node) {
            self.close(id, end, now);
        }
    }

    /// Nothing is sent any more, and nothing answers.
    pub(in crate::sim) fn power_down(&mut self, node: NodeId) {
        self.listening.retain(|(at, _), _| *at != node);
        self.hosts[node.index()].up = false;
        for (id, end) in self.ends_at(node) {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.ends[end].open = false;
            conn.ends[end].known = false;
            conn.pipes[end].clear_wire();
            self.reap(id);
        }
    }

    fn ends_at(&self, node: NodeId) -> Vec<(ConnId, usize)> {
        let mut ends: Vec<(ConnId, usize)> = Vec::new();
        for (id, conn) in &self.conns {
            ends.extend((0..2).filter(|end| conn.ends[*end].node == node).map(|end| (*id, end)));
        }
        ends.sort_unstable();
        ends
    }

    pub(in crate::sim) fn ip_of(&self, node: NodeId) -> IpAddr {
        self.hosts[node.index()].ip
    }

    pub(in crate::sim) fn set_ip(&mut self, node: NodeId, ip: IpAddr) {
        let taken = self.hosts.iter().any(|host| host.ip == ip);
        assert!(!taken, "two hosts have the same address");
        self.hosts[node.index()].ip = ip;
    }

    pub(super) fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.hosts.iter().find(|known| known.name == host).map(|known| known.ip)
    }

    fn host_of(&self, from: NodeId, ip: IpAddr) -> Option<NodeId> {
        if ip.is_loopback() {
            return Some(from);
        }
        let index = self.hosts.iter().position(|host| host.ip == ip)?;
        u32::try_from(index).ok().map(NodeId)
    }

    // -- links ------------------------------------------------------------------------------------

    fn link(&self, from: NodeId, to: NodeId) -> Link {
        if from == to {
            return Link::LOOPBACK;
        }
        self.links.get(&(from, to)).copied().unwrap_or(self.default_link)
    }

    fn passes(&self, from: NodeId, to: NodeId) -> bool {
        self.hosts[to.index()].up && (from == to || !self.cuts.contains_key(&(from, to)))
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        *self.cuts.entry((from, to)).or_insert(0) += 1;
    }

    pub(super) fn uncut(&mut self, from: NodeId, to: NodeId, now: u64) {
        let Some(count) = self.cuts.get_mut(&(from, to)) else { return };
        *count -= 1;
        if *count == 0 {
            self.cuts.remove(&(from, to));
            self.release(now, |a, b| (a, b) == (from, to));
        }
    }

    /// Held segments are sent again, each pipe after a time of its own.
    fn release(&mut self, now: u64, is_released: impl Fn(NodeId, NodeId) -> bool) {
        let mut released: Vec<(ConnId, u8)> = Vec::new();
        for (id, conn) in &self.conns {
            for dir in 0..2u8 {
                let (from, to) = (conn.ends[sender(dir)].node, conn.ends[receiver(dir)].node);
                if conn.pipes[sender(dir)].held.is_some() && is_released(from, to) {
                    released.push((*id, dir));
                }
            }
        }
        let rto = self.timeouts.retransmit_ns;
        for (id, dir) in released {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let pipe = &mut conn.pipes[sender(dir)];
            let holding = pipe.held.take().unwrap_or(0);
            let wait = self.draw.range("resend", id ^ u64::from(dir), holding, rto / 4, rto * 4);
            let Some(head) = pipe.wire.front_mut() else { continue };
            head.at = now.saturating_add(wait);
            let at = head.at;
            pipe.last_at = pipe.last_at.max(at);
            pipe.scheduled = true;
            self.heap.push(Reverse((at, id, Next::Arrive { dir })));
        }
    }

    // -- listeners and connects --------------------------------------------------------------------

    pub(super) fn listen(&mut self, node: NodeId, at: SocketAddr) -> Result<SocketAddr, ErrorKind> {
        let own = self.hosts[node.index()].ip;
        if !(at.ip().is_unspecified() || at.ip().is_loopback() || at.ip() == own) {
            return Err(ErrorKind::AddrNotAvailable);
        }
        let port = if at.port() == 0 { self.free_port(node) } else { at.port() };
        if self.listening.contains_key(&(node, port)) {
            return Err(ErrorKind::AddrInUse);
        }
        let addr = SocketAddr::new(at.ip(), port);
        let listening = Listening { addr, backlog: VecDeque::new(), acceptors: Vec::new() };
        self.listening.insert((node, port), listening);
        Ok(addr)
    }

    pub(super) fn stop_listening(&mut self, node: NodeId, port: u16, now: u64) -> Vec<Waker> {
        let Some(listening) = self.listening.remove(&(node, port)) else { return Vec::new() };
        for id in listening.backlog {
            // A kernel resets what nobody accepted.
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.ends[1].open = false;
                conn.ends[1].known = false;
                self.send(id, 1, Body::Reset, now);
            }
        }
        listening.acceptors
    }

    fn free_port(&mut self, node: NodeId) -> u16 {
        loop {
            let host = &mut self.hosts[node.index()];
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.listening.contains_key(&(node, port)) {
                return port;
            }
        }
    }

    pub(super) fn connect(&mut self, from: NodeId, to: SocketAddr, now: u64) -> ConnId {
        let host = &mut self.hosts[from.index()];
        host.connects += 1;
        let id = (u64::from(from.0) << 40) | host.connects;
        let own_ip = if to.ip().is_loopback() { to.ip() } else { host.ip };
        let local = SocketAddr::new(own_ip, self.free_port(from));
        let connect_until = now + self.timeouts.connect_ns;
        self.heap.push(Reverse((connect_until, id, Next::GiveUp)));
        // A host that does not exist answers like one that is off.
        let server = self.host_of(from, to.ip()).unwrap_or(NodeId::WORLD);
        let link = self.link(from, server);
        let mut pipes = [Pipe::default(), Pipe::default()];
        for (dir, pipe) in pipes.iter_mut().enumerate() {
            let subject = id ^ ((dir as u64) << 39);
            let (low, high) = link.window;
            pipe.window = usize::try_from(self.draw.range("window", subject, 0, low, high)).unwrap_or(1);
            let (low, high) = link.segment;
            pipe.segment_len =
                usize::try_from(self.draw.range("segment", subject, 0, low, high)).unwrap_or(1).max(1);
        }
        let ends = [
            End { node: from, addr: local, open: true, known: true },
            End { node: server, addr: to, open: false, known: true },
        ];
        self.conns.insert(id, Conn { ends, pipes, dial: Dial::default(), connect_until });
        let at = now + delay(self.draw, &link, pair(from, server), id, u64::MAX);
        self.heap.push(Reverse((at, id, Next::Request { attempt: 0 })));
        id
    }

    fn request(&mut self, world: &World, id: ConnId, attempt: u32, now: u64, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (client, server) = (conn.ends[0], conn.ends[1]);
        let link = self.link(client.node, server.node);
        let lost = self.draw.chance("syn", id, u64::from(attempt), link.connect_lost_per_million);
        if lost {
            world.bite(client.node, "net.connect_lost");
        }
        if lost || server.node == NodeId::WORLD || !self.passes(client.node, server.node) {
            return self.retry(id, Next::Request { attempt: attempt + 1 }, attempt, now);
        }
        let refused = self.draw.chance("refuse", id, 0, link.refuse_per_million);
        let key = (server.node, server.addr.port());
        let heard = self.listening.get_mut(&key).filter(|listening| {
            let ip = listening.addr.ip();
            ip.is_unspecified() || ip == server.addr.ip()
        });
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match heard {
            _ if conn.dial.accepted => {}
            Some(listening) if !refused => {
                if listening.backlog.len() >= self.timeouts.backlog {
                    world.bite(server.node, "net.backlog_full");
                    return self.retry(id, Next::Request { attempt: attempt + 1 }, attempt, now);
                }
                conn.dial.accepted = true;
                conn.ends[1].open = true;
                listening.backlog.push_back(id);
                woken.append(&mut listening.acceptors);
            }
            _ => {
                if refused {
                    world.bite(server.node, "net.connect_refused");
                }
                conn.dial.refused = true;
            }
        }
        let back = self.link(server.node, client.node);
        let at = now + delay(self.draw, &back, pair(server.node, client.node), id, u64::MAX - 1);
        self.heap.push(Reverse((at, id, Next::Answer { attempt })));
    }

    /// Lost on the way: the same again in one second, two, four, while there is time.
    fn retry(&mut self, id: ConnId, next: Next, attempt: u32, now: u64) {
        let at = now + (FIRST_RETRY_NS << attempt.min(10));
        if self.conns.get(&id).is_some_and(|conn| at < conn.connect_until) {
            self.heap.push(Reverse((at, id, next)));
        }
    }

    fn answer(&mut self, world: &World, id: ConnId, attempt: u32, now: u64, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (client, server) = (conn.ends[0].node, conn.ends[1].node);
        if conn.dial.result.is_some() {
            return;
        }
        if !self.passes(server, client) {
            return self.retry(id, Next::Answer { attempt: attempt + 1 }, attempt, now);
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        woken.extend(conn.dial.waker.take());
        if conn.dial.refused {
            conn.dial.result = Some(Err(ErrorKind::ConnectionRefused));
            world.event(client, Kind::Refused, id, u64::from(server.0));
        } else {
            conn.dial.result = Some(Ok(()));
            world.event(client, Kind::Connected, id, u64::from(server.0));
        }
    }

    fn give_up(&mut self, world: &World, id: ConnId, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.dial.result.is_some() {
            return;
        }
        conn.dial.result = Some(Err(ErrorKind::TimedOut));
        conn.ends[0].known = false;
        woken.extend(conn.dial.waker.take());
        world.event(conn.ends[0].node, Kind::ConnectTimedOut, id, u64::from(conn.ends[1].node.0));
    }

    // -- bytes --------------------------------------------------------------------------------------

    /// Takes as much of `data` as the window allows; 0 when it is full.
    pub(super) fn send_data(&mut self, id: ConnId, dir: u8, data: &[&[u8]], now: u64) -> usize {
        let Some(conn) = self.conns.get_mut(&id) else { return 0 };
        let (from, to) = (conn.ends[sender(dir)].node, conn.ends[receiver(dir)].node);
        let pipe = &mut conn.pipes[sender(dir)];
        let total: usize = data.iter().map(|part| part.len()).sum();
        let mut room = pipe.window.saturating_sub(pipe.in_use).min(total);
        if room == 0 {
            return 0;
        }
        pipe.writes += 1;
        let (writes, segment_len) = (pipe.writes, pipe.segment_len);
        let link = self.link(from, to);
        let subject = id ^ (u64::from(dir) << 39);
        if room > 1 && self.draw.chance("short.write", subject, writes, link.short_io_per_million) {
            room = usize::try_from(self.draw.range("short.write.n", subject, writes, 1, room as u64))
                .unwrap_or(1);
        }
        let mut sent = 0;
        let mut parts = data.iter();
        let mut part: &[u8] = &[];
        while sent < room {
            let len = segment_len.min(room - sent);
            let mut segment = Vec::with_capacity(len);
            while segment.len() < len {
                if part.is_empty() {
                    let Some(next) = parts.next() else { break };
                    part = next;
                }
                let (head, tail) = part.split_at(part.len().min(len - segment.len()));
                segment.extend_from_slice(head);
                part = tail;
            }
            sent += segment.len();
            self.send(id, dir, Body::Data(Bytes::from(segment)), now);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pipes[sender(dir)].in_use += sent;
        }
        sent
    }

    /// Puts a segment on the wire.
    pub(super) fn send(&mut self, id: ConnId, dir: u8, body: Body, now: u64) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = (conn.ends[sender(dir)].node, conn.ends[receiver(dir)].node);
        let link = self.link(from, to);
        let draw = self.draw;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[sender(dir)];
        let n = pipe.segments;
        pipe.segments += 1;
        if matches!(body, Body::Fin | Body::Reset) {
            pipe.fin_sent = true;
        }
        let len = if let Body::Data(data) = &body { data.len() as u64 } else { 0 };
        pipe.busy_until =
            pipe.busy_until.max(now) + (len * 1_000_000).checked_div(link.bytes_per_ms).unwrap_or(0);
        let subject = id ^ (u64::from(dir) << 39);
        let at = (pipe.busy_until + delay(draw, &link, pair(from, to), subject, n)).max(pipe.last_at);
        pipe.last_at = at;
        pipe.wire.push_back(Segment { at, n, body });
        if !pipe.scheduled && pipe.held.is_none() {
            pipe.scheduled = true;
            self.heap.push(Reverse((at, id, Next::Arrive { dir })));
        }
    }

    fn arrive(&mut self, world: &World, id: ConnId, dir: u8, now: u64, woken: &mut Vec<Waker>) {
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let (from, to) = (conn.ends[sender(dir)].node, conn.ends[receiver(dir)].node);
            let pipe = &mut conn.pipes[sender(dir)];
            pipe.scheduled = false;
            let Some(head) = pipe.wire.front() else { return self.reap(id) };
            if head.at > now {
                pipe.scheduled = true;
                let at = head.at;
                return self.heap.push(Reverse((at, id, Next::Arrive { dir })));
            }
            if !self.passes(from, to) {
                return self.hold(world, id, dir, now);
            }
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let Some(segment) = conn.pipes[sender(dir)].wire.pop_front() else { return };
            self.deliver(world, id, dir, segment, now, woken);
        }
    }

    fn hold(&mut self, world: &World, id: ConnId, dir: u8, now: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let from = conn.ends[sender(dir)].node;
        let pipe = &mut conn.pipes[sender(dir)];
        pipe.holds += 1;
        pipe.held = Some(pipe.holds);
        let timeout = Next::UserTimeout { dir, holding: pipe.holds };
        self.heap.push(Reverse((now + self.timeouts.user_ns, id, timeout)));
        world.bite(from, "net.held");
    }

    fn user_timeout(&mut self, world: &World, id: ConnId, dir: u8, holding: u64, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.pipes[sender(dir)].held != Some(holding) {
            return;
        }
        world.event(conn.ends[sender(dir)].node, Kind::TimedOut, id, 0);
        world.count("net.user_timeout");
        conn.ends[sender(dir)].known = false;
        conn.fail(sender(dir), ErrorKind::TimedOut, woken);
        self.reap(id);
    }

    fn deliver(
        &mut self,
        world: &World,
        id: ConnId,
        dir: u8,
        segment: Segment,
        now: u64,
        woken: &mut Vec<Waker>,
    ) {
        let draw = self.draw;
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = (conn.ends[sender(dir)], conn.ends[receiver(dir)]);
        let link = self.link(from.node, to.node);
        let subject = id ^ (u64::from(dir) << 39);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[sender(dir)];
        match segment.body {
            Body::Data(_) | Body::Fin if !to.known => self.answer_reset(id, dir, now),
            Body::Data(_) if !to.open => {
                // Closed by the process: nobody will ever read this.
                conn.ends[receiver(dir)].known = false;
                self.answer_reset(id, dir, now);
            }
            Body::Data(data) => {
                let mut data = data;
                let resets = draw.chance("reset", subject, segment.n, link.reset_per_million);
                let cuts = !resets && draw.chance("cut", subject, segment.n, link.cut_off_per_million);
                if resets || cuts {
                    let len = data.len() as u64;
                    let keep = draw.range("reset.at", subject, segment.n, 0, len + 1);
                    data.truncate(usize::try_from(keep).unwrap_or(0));
                }
                if draw.chance("flip", subject, segment.n, link.flip_per_million) && !data.is_empty() {
                    data = flipped(&data, draw.at("flip.bit", subject, segment.n));
                    world.damage(from.node, Damage::Flip { to: to.node });
                    world.bite(to.node, "net.flip");
                }
                let figures = ((data.len() as u64) << 32) | u64::from(crc32fast::hash(&data));
                world.event(to.node, Kind::Delivered, id, figures);
                if !data.is_empty() {
                    pipe.received.push_back(data);
                    woken.extend(pipe.reader.take());
                }
                if resets {
                    self.break_connection(world, id, woken);
                } else if cuts {
                    self.cut_off(world, id, dir, woken);
                }
            }
            Body::Fin => {
                pipe.fin_received = true;
                woken.extend(pipe.reader.take());
                world.event(to.node, Kind::Fin, id, 0);
            }
            Body::Reset => {
                world.event(to.node, Kind::Reset, id, 0);
                let forget = draw.chance("reset.forget", subject, segment.n, 500_000);
                if forget {
                    pipe.received.clear();
                }
                conn.ends[receiver(dir)].known = false;
                conn.fail(receiver(dir), ErrorKind::ConnectionReset, woken);
            }
        }
    }

    /// The receiver of `dir` does not know the connection and says so.
    fn answer_reset(&mut self, id: ConnId, dir: u8, now: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.ends[sender(dir)].known {
            return;
        }
        let back = u8::from(dir == 0);
        conn.pipes[sender(back)].clear_wire();
        self.send(id, back, Body::Reset, now);
    }

    /// Both ends are told at once that the connection is gone.
    pub(super) fn break_connection(&mut self, world: &World, id: ConnId, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (client, server) = (conn.ends[0].node, conn.ends[1].node);
        for end in 0..2 {
            conn.ends[end].known = false;
            conn.fail(end, ErrorKind::ConnectionReset, woken);
        }
        world.damage(client, Damage::Reset { to: server });
        world.bite(client, "net.reset");
        self.reap(id);
    }

    /// The receiver of `dir` sees an end of stream in the middle of whatever it was; the sender learns it later.
    fn cut_off(&mut self, world: &World, id: ConnId, dir: u8, woken: &mut Vec<Waker>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[sender(dir)];
        pipe.clear_wire();
        pipe.fin_received = true;
        woken.extend(pipe.reader.take());
        conn.ends[receiver(dir)].known = false;
        conn.pipes[receiver(dir)].write_error = Some(ErrorKind::BrokenPipe);
        woken.extend(conn.pipes[receiver(dir)].writer.take());
        world.damage(conn.ends[sender(dir)].node, Damage::Reset { to: conn.ends[receiver(dir)].node });
        world.bite(conn.ends[receiver(dir)].node, "net.cut_off");
        let at = world.now_ns();
        self.answer_reset(id, dir, at);
    }

    /// The process lets go of its end.
    pub(super) fn close(&mut self, id: ConnId, end: usize, now: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.ends[end].open {
            return;
        }
        conn.ends[end].open = false;
        let out = u8::from(end == 1);
        let unread = !conn.pipes[1 - end].received.is_empty();
        let fin_sent = conn.pipes[end].fin_sent;
        let known = conn.ends[end].known;
        let peer_exists = end == 1 || conn.dial.accepted;
        if !known {
            conn.pipes[end].clear_wire();
        } else if !peer_exists {
            self.conns.remove(&id);
            return;
        } else if unread {
            conn.ends[end].known = false;
            if self.draw.chance("close.purge", id, u64::from(out), 500_000) {
                conn.pipes[end].clear_wire();
            }
            self.send(id, out, Body::Reset, now);
        } else if !fin_sent {
            self.send(id, out, Body::Fin, now);
        }
        self.reap(id);
    }

    pub(super) fn reap(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let waiting = conn.dial.result.is_none() && conn.ends[0].open;
        if conn.is_over() && !waiting {
            self.conns.remove(&id);
        }
    }

    pub(super) fn short_read(&self, id: ConnId, dir: u8, n: usize) -> usize {
        let Some(conn) = self.conns.get(&id) else { return n };
        let link = self.link(conn.ends[sender(dir)].node, conn.ends[receiver(dir)].node);
        let (subject, reads) = (id ^ (u64::from(dir) << 39), conn.pipes[sender(dir)].reads);
        if n > 1 && self.draw.chance("short.read", subject, reads, link.short_io_per_million) {
            return usize::try_from(self.draw.range("short.read.n", subject, reads, 1, n as u64))
                .unwrap_or(1);
        }
        n
    }

    // -- time ----------------------------------------------------------------------------------------

    pub(in crate::sim) fn next_event(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Does everything that is due, and says when the next thing is.
    pub(in crate::sim) fn step(&mut self, world: &World, now: u64, woken: &mut Vec<Waker>) -> Option<u64> {
        while let Some(Reverse((at, id, next))) = self.heap.peek().copied() {
            if at > now {
                return Some(at);
            }
            self.heap.pop();
            match next {
                Next::Arrive { dir } => self.arrive(world, id, dir, now, woken),
                Next::Request { attempt } => self.request(world, id, attempt, now, woken),
                Next::Answer { attempt } => self.answer(world, id, attempt, now, woken),
                Next::GiveUp => self.give_up(world, id, woken),
                Next::UserTimeout { dir, holding } => self.user_timeout(world, id, dir, holding, woken),
            }
        }
        None
    }

    /// Forgets everything; the wakers are dropped by the caller, outside of any lock.
    pub(in crate::sim) fn clear(&mut self) -> Vec<Waker> {
        self.heap.clear();
        let mut wakers = Vec::new();
        for (_, mut conn) in self.conns.drain() {
            wakers.extend(conn.dial.waker.take());
            conn.pipes.iter_mut().for_each(|pipe| pipe.wake_both(&mut wakers));
        }
        for (_, mut listening) in std::mem::take(&mut self.listening) {
            wakers.append(&mut listening.acceptors);
        }
        wakers
    }
}

impl Conn {
    /// `end` can neither read nor write any more; what was received before is still there to read.
    fn fail(&mut self, end: usize, error: ErrorKind, woken: &mut Vec<Waker>) {
        let write = &mut self.pipes[end];
        write.clear_wire();
        write.write_error.get_or_insert(error);
        woken.extend(write.writer.take());
        let read = &mut self.pipes[1 - end];
        read.read_error.get_or_insert(error);
        woken.extend(read.reader.take());
    }
}

fn pair(from: NodeId, to: NodeId) -> u64 {
    (u64::from(from.0) << 32) | u64::from(to.0)
}

fn flipped(data: &Bytes, draw: u64) -> Bytes {
    let mut changed = data.to_vec();
    let bit = draw % (changed.len() as u64 * 8);
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| changed.get_mut(index)) {
        *byte ^= 1 << (bit % 8);
    }
    Bytes::from(changed)
}
