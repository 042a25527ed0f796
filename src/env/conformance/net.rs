//! Byte streams between two processes.

use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Ground, WATCH_MS, cases};
use crate::env::{Listener, Stream};

/// More than any kernel or simulator buffers for one connection, in bytes.
const BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;

cases! {
    "both ends of a connection agree on their addresses" => addresses_agree,
    "bytes arrive in the order in which they were written" => order,
    "a write is sent without a flush" => no_flush,
    "a vectored write sends its slices in order" => vectored,
    "a mebibyte comes back from an echo" => echo,
    "a connection may be made and written to before it is accepted" => accept_later,
    "connections are accepted in the order in which they were made" => accept_in_order,
    "shutdown closes one direction and leaves the other open" => half_close,
    "writing after one's own shutdown fails with BrokenPipe" => write_after_shutdown,
    "dropping a stream whose input was read ends the peer's input" => drop_is_eof,
    "dropping a stream with unread input resets the peer" => unread_resets,
    "writing to a peer that is gone fails in the end" => write_to_the_gone,
    "dropping a listener resets what it never accepted" => unaccepted_is_reset,
    "connecting to a port without a listener is refused" => refused,
    "a port has one listener" => port_taken,
    "a port is free again when its listener is dropped" => port_free_again,
    "a writer waits for a reader after a bounded number of bytes" => back_pressure,
    "an address resolves to itself" => resolve_address,
}

type Pair = (Box<dyn Stream>, Box<dyn Stream>);

/// A connected pair: the connecting side, the accepting side.
async fn pair(ground: &Ground, rule: &str) -> Pair {
    let listener = listener(ground, rule).await;
    let client = connect(ground, rule, listener.local_addr()).await;
    (client, accept(ground, rule, listener.as_ref()).await)
}

async fn listener(ground: &Ground, rule: &str) -> Box<dyn Listener> {
    must(rule, ground.soon(rule, ground.env.net.listen(ground.any_port())).await)
}

async fn connect(ground: &Ground, rule: &str, to: SocketAddr) -> Box<dyn Stream> {
    must(rule, ground.soon(rule, ground.peer.net.connect(to)).await)
}

async fn accept(ground: &Ground, rule: &str, listener: &dyn Listener) -> Box<dyn Stream> {
    must(rule, ground.soon(rule, listener.accept()).await)
}

fn must<T>(rule: &str, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{rule}: {error} ({:?})", error.kind()))
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn send(ground: &Ground, rule: &str, stream: &mut dyn Stream, data: &[u8]) {
    must(rule, ground.soon(rule, stream.write_all(data)).await);
}

async fn receive(ground: &Ground, rule: &str, stream: &mut dyn Stream, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    must(rule, ground.soon(rule, stream.read_exact(&mut data)).await);
    data
}

async fn rest(ground: &Ground, rule: &str, stream: &mut dyn Stream) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    ground.soon(rule, stream.read_to_end(&mut data)).await.map(|_| data)
}

/// Bytes that tell their position apart.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap_or(0)).collect()
}

async fn addresses_agree(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    assert_ne!(listener.local_addr().port(), 0, "{rule}: a listener knows its port");
    let client = connect(&ground, rule, listener.local_addr()).await;
    let server = accept(&ground, rule, listener.as_ref()).await;
    assert_eq!(client.peer_addr(), listener.local_addr(), "{rule}");
    assert_eq!(client.peer_addr(), server.local_addr(), "{rule}");
    assert_eq!(client.local_addr(), server.peer_addr(), "{rule}");
}

async fn order(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    let sent = pattern(40_000);
    let mut left = sent.as_slice();
    for size in (1..).step_by(37) {
        let (now, later) = left.split_at(left.len().min(size));
        send(&ground, rule, client.as_mut(), now).await;
        left = later;
        if left.is_empty() {
            break;
        }
    }
    drop(client);
    assert_eq!(must(rule, rest(&ground, rule, server.as_mut()).await), sent, "{rule}");
}

async fn no_flush(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    for round in 0..10 {
        send(&ground, rule, client.as_mut(), &[round]).await;
        assert_eq!(receive(&ground, rule, server.as_mut(), 1).await, [round], "{rule}");
        send(&ground, rule, server.as_mut(), &[round, round]).await;
        assert_eq!(receive(&ground, rule, client.as_mut(), 2).await, [round, round], "{rule}");
    }
}

async fn vectored(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    let sent = pattern(3_000);
    let mut written = 0;
    while written < sent.len() {
        let slices: Vec<io::IoSlice<'_>> = sent[written..].chunks(700).map(io::IoSlice::new).collect();
        let count = must(rule, ground.soon(rule, client.write_vectored(&slices)).await);
        assert!(count > 0, "{rule}: a write of something wrote nothing");
        written += count;
    }
    assert_eq!(receive(&ground, rule, server.as_mut(), sent.len()).await, sent, "{rule}");
}

async fn echo(ground: Ground, rule: &'static str) {
    let (client, mut server) = pair(&ground, rule).await;
    let _echo = ground.env.spawn("conformance.echo", async move {
        let mut buffer = vec![0; 10_000];
        while let Ok(count) = server.read(&mut buffer).await {
            if count == 0 || server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    let sent = pattern(1024 * 1024);
    let (mut input, mut output) = tokio::io::split(client);
    let write = async {
        must(rule, output.write_all(&sent).await);
        must(rule, output.shutdown().await);
    };
    let mut got = Vec::new();
    let read = input.read_to_end(&mut got);
    let ((), read) = ground.soon(rule, async { tokio::join!(write, read) }).await;
    must(rule, read);
    assert!(got == sent, "{rule}: {} bytes came back, or others", got.len());
}

async fn accept_later(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let mut client = connect(&ground, rule, listener.local_addr()).await;
    send(&ground, rule, client.as_mut(), b"early").await;
    drop(client);
    ground.env.sleep_ms(5).await;
    let mut server = accept(&ground, rule, listener.as_ref()).await;
    assert_eq!(must(rule, rest(&ground, rule, server.as_mut()).await), b"early", "{rule}");
}

async fn accept_in_order(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(connect(&ground, rule, listener.local_addr()).await);
    }
    for client in clients {
        let server = accept(&ground, rule, listener.as_ref()).await;
        assert_eq!(server.peer_addr(), client.local_addr(), "{rule}");
    }
}

async fn half_close(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    send(&ground, rule, client.as_mut(), b"question").await;
    must(rule, ground.soon(rule, client.shutdown()).await);
    assert_eq!(must(rule, rest(&ground, rule, server.as_mut()).await), b"question", "{rule}");
    send(&ground, rule, server.as_mut(), b"answer").await;
    drop(server);
    assert_eq!(must(rule, rest(&ground, rule, client.as_mut()).await), b"answer", "{rule}");
}

async fn write_after_shutdown(ground: Ground, rule: &'static str) {
    let (mut client, _server) = pair(&ground, rule).await;
    must(rule, ground.soon(rule, client.shutdown()).await);
    let written = ground.soon(rule, client.write_all(b"more")).await;
    assert_eq!(kind(written), Some(ErrorKind::BrokenPipe), "{rule}");
}

async fn drop_is_eof(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    send(&ground, rule, client.as_mut(), b"request").await;
    receive(&ground, rule, server.as_mut(), 7).await;
    send(&ground, rule, server.as_mut(), b"last words").await;
    drop(server);
    assert_eq!(must(rule, rest(&ground, rule, client.as_mut()).await), b"last words", "{rule}");
    // The end of input stays the end.
    assert_eq!(must(rule, rest(&ground, rule, client.as_mut()).await), b"", "{rule}");
}

async fn unread_resets(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    send(&ground, rule, client.as_mut(), &pattern(1_000)).await;
    // One byte is read, so that the others are known to have arrived.
    receive(&ground, rule, server.as_mut(), 1).await;
    drop(server);
    assert_eq!(kind(rest(&ground, rule, client.as_mut()).await), Some(ErrorKind::ConnectionReset), "{rule}");
}

async fn write_to_the_gone(ground: Ground, rule: &'static str) {
    let (mut client, server) = pair(&ground, rule).await;
    drop(server);
    let failure = ground.soon(rule, async {
        loop {
            if let Err(error) = client.write_all(b"is anybody there?").await {
                return error.kind();
            }
            ground.env.sleep_ms(1).await;
        }
    });
    let failure = failure.await;
    assert!(
        matches!(failure, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{rule}: it failed with {failure:?}"
    );
}

async fn unaccepted_is_reset(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let mut client = connect(&ground, rule, listener.local_addr()).await;
    drop(listener);
    assert_eq!(kind(rest(&ground, rule, client.as_mut()).await), Some(ErrorKind::ConnectionReset), "{rule}");
}

async fn refused(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let nobody = listener.local_addr();
    drop(listener);
    let connected = ground.soon(rule, ground.peer.net.connect(nobody)).await;
    assert_eq!(kind(connected), Some(ErrorKind::ConnectionRefused), "{rule}");
}

async fn port_taken(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let second = ground.env.net.listen(listener.local_addr()).await;
    assert_eq!(kind(second), Some(ErrorKind::AddrInUse), "{rule}");
}

async fn port_free_again(ground: Ground, rule: &'static str) {
    let listener = listener(&ground, rule).await;
    let at = listener.local_addr();
    let mut client = connect(&ground, rule, at).await;
    let mut server = accept(&ground, rule, listener.as_ref()).await;
    drop(listener);
    let again = must(rule, ground.env.net.listen(at).await);
    assert_eq!(again.local_addr(), at, "{rule}");
    // What was accepted before lives on.
    send(&ground, rule, client.as_mut(), b"still here").await;
    assert_eq!(receive(&ground, rule, server.as_mut(), 10).await, b"still here", "{rule}");
}

async fn back_pressure(ground: Ground, rule: &'static str) {
    let (mut client, mut server) = pair(&ground, rule).await;
    let chunk = pattern(64 * 1024);
    let mut written = 0usize;
    while let Some(count) = ground.env.timeout_ms(WATCH_MS, client.write(&chunk)).await {
        written += must(rule, count);
        assert!(written < BUFFERED_BYTES_MAX, "{rule}: {written} bytes and no end");
    }
    let finish = async {
        send(&ground, rule, client.as_mut(), b"end").await;
        drop(client);
    };
    let (read, ()) = tokio::join!(rest(&ground, rule, server.as_mut()), finish);
    let read = must(rule, read);
    assert_eq!(read.len(), written + 3, "{rule}: what was taken from the writer reaches the reader");
    assert!(read.ends_with(b"end"), "{rule}");
}

async fn resolve_address(ground: Ground, rule: &'static str) {
    let address = SocketAddr::new(ground.host, 10911);
    let found = must(rule, ground.soon(rule, ground.env.net.resolve(&address.to_string())).await);
    assert_eq!(found, [address], "{rule}");
    assert!(ground.env.net.resolve("no port").await.is_err(), "{rule}: an address has a port");
}
