//! A process's view of the network: listeners and streams of one life.

use std::io;
use std::io::IoSlice;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Buf;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use super::pipe::Body;
use super::pipe::receiver;
use super::pipe::sender;
use super::state::ConnId;
use crate::env::BoxFuture;
use crate::env::Listener;
use crate::env::Net;
use crate::env::Stream;
use crate::sim::World;
use crate::sim::node::Life;
use crate::sim::trace::Kind;

pub(in crate::sim) struct SimNet {
    pub(in crate::sim) world: World,
    pub(in crate::sim) life: Arc<Life>,
}

impl SimNet {
    fn alive(&self) -> io::Result<()> {
        alive(&self.life)
    }
}

fn alive(life: &Life) -> io::Result<()> {
    if life.is_alive() { Ok(()) } else { Err(io::Error::other("this process is dead")) }
}

impl Net for SimNet {
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            self.alive()?;
            let addr = self.world.net_state().lock().listen(self.life.node, at)?;
            self.world.event(self.life.node, Kind::Listen, u64::from(addr.port()), 0);
            let (world, life) = (self.world.clone(), Arc::clone(&self.life));
            Ok(Box::new(SimListener { world, life, addr }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            self.alive()?;
            let conn = self.world.net_state().lock().connect(self.life.node, to, self.world.now_ns());
            self.world.poke();
            // Exists before the answer does: dropping this future closes the half-made connection.
            let mut stream = SimStream::new(self.world.clone(), Arc::clone(&self.life), conn, 0);
            std::future::poll_fn(|cx| stream.poll_connected(cx)).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn resolve<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            self.alive()?;
            if let Ok(addr) = host_port.parse::<SocketAddr>() {
                return Ok(vec![addr]);
            }
            let (host, port) = host_port.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            if host == "localhost" {
                return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
            }
            let ip: Option<IpAddr> = self.world.net_state().lock().resolve(host);
            ip.map(|ip| vec![SocketAddr::new(ip, port)]).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}

struct SimListener {
    world: World,
    life: Arc<Life>,
    addr: SocketAddr,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(std::future::poll_fn(|cx| {
            alive(&self.life)?;
            let mut net = self.world.net_state().lock();
            let Some(listening) = net.listening.get_mut(&(self.life.node, self.addr.port())) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let Some(conn) = listening.backlog.pop_front() else {
                let known = listening.acceptors.iter().any(|waker| waker.will_wake(cx.waker()));
                if !known {
                    listening.acceptors.push(cx.waker().clone());
                }
                return Poll::Pending;
            };
            drop(net);
            let stream = SimStream::new(self.world.clone(), Arc::clone(&self.life), conn, 1);
            Poll::Ready(Ok(Box::new(stream) as Box<dyn Stream>))
        }))
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if !self.life.is_alive() || self.world.has_ended() {
            return;
        }
        let now = self.world.now_ns();
        let acceptors = self.world.net_state().lock().stop_listening(self.life.node, self.addr.port(), now);
        drop(acceptors);
        self.world.poke();
    }
}

/// One end of a connection.
struct SimStream {
    world: World,
    life: Arc<Life>,
    conn: ConnId,
    /// 0 for the client, 1 for the server: the pipe it writes to.
    end: u8,
    local: SocketAddr,
    peer: SocketAddr,
}

impl SimStream {
    fn new(world: World, life: Arc<Life>, conn: ConnId, end: u8) -> SimStream {
        let net = world.net_state().lock();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let addr = |end: u8| net.conns.get(&conn).map_or(nowhere, |conn| conn.ends[usize::from(end)].addr);
        let (local, peer) = (addr(end), addr(1 - end));
        drop(net);
        SimStream { world, life, conn, end, local, peer }
    }

    fn poll_connected(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        alive(&self.life)?;
        let mut net = self.world.net_state().lock();
        let Some(conn) = net.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        match conn.dial.result {
            Some(result) => Poll::Ready(result.map_err(io::Error::from)),
            None => {
                conn.dial.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn send(&self, cx: &Context<'_>, data: &[&[u8]]) -> Poll<io::Result<usize>> {
        alive(&self.life)?;
        let mut net = self.world.net_state().lock();
        let Some(conn) = net.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let pipe = &mut conn.pipes[sender(self.end)];
        if let Some(error) = pipe.write_error {
            return Poll::Ready(Err(error.into()));
        }
        if pipe.fin_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let sent = net.send_data(self.conn, self.end, data, self.world.now_ns());
        if sent == 0 {
            if let Some(conn) = net.conns.get_mut(&self.conn) {
                conn.pipes[sender(self.end)].writer = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        drop(net);
        self.world.poke();
        Poll::Ready(Ok(sent))
    }
}

impl Stream for SimStream {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        alive(&self.life)?;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let dir = 1 - self.end;
        debug_assert!(receiver(dir) == usize::from(self.end), "a stream reads what comes towards it");
        let mut net = self.world.net_state().lock();
        let Some(conn) = net.conns.get_mut(&self.conn) else { return Poll::Ready(Ok(())) };
        let pipe = &mut conn.pipes[sender(dir)];
        let Some(first) = pipe.received.front() else {
            if let Some(error) = pipe.read_error {
                return Poll::Ready(Err(error.into()));
            }
            if pipe.fin_received {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let most = first.len().min(buf.remaining());
        pipe.reads += 1;
        let mut left = net.short_read(self.conn, dir, most);
        if left == most {
            // Not a short read: as much as fits, as a kernel does.
            left = buf.remaining();
        }
        let Some(conn) = net.conns.get_mut(&self.conn) else { return Poll::Ready(Ok(())) };
        let pipe = &mut conn.pipes[sender(dir)];
        while left > 0 {
            let Some(chunk) = pipe.received.front_mut() else { break };
            let n = chunk.len().min(left);
            buf.put_slice(&chunk[..n]);
            chunk.advance(n);
            left -= n;
            pipe.in_use -= n;
            if chunk.is_empty() {
                pipe.received.pop_front();
            }
        }
        let writer = pipe.writer.take();
        drop(net);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.send(cx, &[data])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let parts: smallvec::SmallVec<[&[u8]; 16]> = data.iter().map(|part| &**part).collect();
        self.send(cx, &parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(alive(&self.life))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        alive(&self.life)?;
        let mut net = self.world.net_state().lock();
        let Some(conn) = net.conns.get(&self.conn) else { return Poll::Ready(Ok(())) };
        let pipe = &conn.pipes[sender(self.end)];
        if let Some(error) = pipe.write_error {
            return Poll::Ready(Err(error.into()));
        }
        if !pipe.fin_sent {
            net.send(self.conn, self.end, Body::Fin, self.world.now_ns());
            drop(net);
            self.world.poke();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !self.life.is_alive() || self.world.has_ended() {
            return;
        }
        self.world.net_state().lock().close(self.conn, usize::from(self.end), self.world.now_ns());
        self.world.poke();
    }
}
