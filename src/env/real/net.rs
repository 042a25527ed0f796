//! TCP of the machine.
//!
//! Every stream has Nagle's algorithm off: what is written is sent. The kernel keeps the rest of the contract of
//! [`crate::env::Net`] by itself, the reset of a peer whose bytes were never read included.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_real::net::{TcpListener, TcpSocket, TcpStream};

use super::named;
use crate::env::{BoxFuture, Listener, Net, Stream};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 1024;

pub(super) struct RealNet;

struct RealListener {
    listener: TcpListener,
    local: SocketAddr,
}

struct RealStream {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Net for RealNet {
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { listen(at).map_err(named("listen on", at)) })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connected = async { RealStream::new(TcpStream::connect(to).await?, to) };
            connected.await.map(boxed).map_err(named("connect to", to))
        })
    }

    fn resolve<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let found = tokio_real::net::lookup_host(host_port).await.map_err(named("resolve", host_port))?;
            // A resolver rotates its answers; IPv4 comes first because brokers announce it.
            let mut addresses: Vec<SocketAddr> = found.collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        })
    }
}

impl Listener for RealListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            loop {
                let accepted = self.listener.accept().await;
                match accepted.and_then(|(stream, peer)| RealStream::new(stream, peer)) {
                    Ok(stream) => return Ok(boxed(stream)),
                    // It was gone before anybody looked: no connection, no error.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return Err(named("accept on", self.local)(error)),
                }
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl RealStream {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<RealStream> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(RealStream { stream, peer, local })
    }
}

impl Stream for RealStream {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl AsyncRead for RealStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn listen(at: SocketAddr) -> io::Result<Box<dyn Listener>> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted broker gets its port back while old connections still linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    let listener = socket.listen(BACKLOG)?;
    let local = listener.local_addr()?;
    Ok(Box::new(RealListener { listener, local }))
}

fn boxed(stream: RealStream) -> Box<dyn Stream> {
    Box::new(stream)
}
