//! The rules of a connection, between a real client and a real server: who answers whom, when reading stops,
//! what closes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;
use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::env::Env;
use crate::env::real;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::frame;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;

/// Echoes bodies; counts turns and closings; can hold its turns.
#[derive(Default)]
struct Echo {
    frames: AtomicUsize,
    turns: AtomicUsize,
    closed: AtomicUsize,
    held: AtomicBool,
    holding: Mutex<Option<Waker>>,
}

struct EchoSession(Arc<Echo>);

struct EchoDoor(Arc<Echo>);

impl Serve for EchoDoor {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(EchoSession(Arc::clone(&self.0)))
    }
}

impl Session for EchoSession {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
        if !frame.header.is_oneway() {
            replies.push(&Header::response_to(&frame.header, ResponseCode::Success), frame.body);
        }
    }

    fn poll_turn_end(&mut self, cx: &mut Context<'_>, _: &mut Replies) -> Poll<()> {
        if self.0.held.load(Ordering::Relaxed) {
            *self.0.holding.lock() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(())
    }

    fn on_closed(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Env) -> F) {
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test(real::env()));
}

async fn server(env: &Env, limits: Limits) -> (Server, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    let at = SocketAddr::from(([127, 0, 0, 1], 0));
    let service = Arc::new(EchoDoor(Arc::clone(&echo)));
    (Server::listen(env, at, service, limits).await.expect("a free port"), echo)
}

fn client(env: &Env) -> Client {
    Client::new(env, Limits::default(), Arc::new(EchoDoor(Arc::default())))
}

async fn until(env: &Env, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        env.sleep_ms(1).await;
    }
    panic!("the condition did not come true within two seconds");
}

fn request(body: &[u8], opaque: i32) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut header = Header::request(RequestCode::HeartBeat);
    header.opaque = opaque;
    frame::encode_with_body(&header, body, &mut out);
    out.to_vec()
}

#[test]
fn each_call_gets_its_own_answer_over_one_connection() {
    run(|env| async move {
        let (server, echo) = server(&env, Limits::default()).await;
        let client = client(&env);
        let address = server.local_addr().to_string();
        let mut bodies = Vec::new();
        for size in [0usize, 1, 4096, 4097, 100_000, 3_000_000] {
            let body = Bytes::from(vec![size as u8; size]);
            let answer = client
                .call(&address, Header::request(RequestCode::HeartBeat), body.clone(), 3_000)
                .await
                .expect("an answer");
            bodies.push((body, answer.body));
        }
        assert!(bodies.iter().all(|(sent, got)| sent == got), "an echo is what was sent");
        assert_eq!(server.connection_count(), 1);
        assert_eq!(echo.frames.load(Ordering::Relaxed), 6);
        client.oneway(&address, Header::request(RequestCode::HeartBeat), Bytes::new()).await.expect("queued");
        until(&env, || echo.frames.load(Ordering::Relaxed) == 7).await;
        drop(client);
        until(&env, || echo.closed.load(Ordering::Relaxed) == 1 && server.connection_count() == 0).await;
    });
}

#[test]
fn frames_that_arrive_together_are_one_turn() {
    run(|env| async move {
        let (server, echo) = server(&env, Limits::default()).await;
        let mut stream = env.net.connect(server.local_addr()).await.expect("connected");
        let many: Vec<u8> = (0..64).flat_map(|opaque| request(b"x", opaque)).collect();
        stream.write_all(&many).await.expect("written");
        let mut input = BytesMut::new();
        let mut opaques = Vec::new();
        while opaques.len() < 64 {
            stream.read_buf(&mut input).await.expect("read");
            while let Some(frame) = frame::cut(&mut input, 1 << 20).expect("a frame") {
                opaques.push(frame.header.opaque);
            }
        }
        assert_eq!(opaques, (0..64).collect::<Vec<_>>(), "answers keep the order of the turn");
        assert!(echo.turns.load(Ordering::Relaxed) <= 2, "what one read brings is one turn");
    });
}

#[test]
fn a_held_turn_stops_reading_until_it_ends() {
    run(|env| async move {
        let (server, echo) = server(&env, Limits::default()).await;
        echo.held.store(true, Ordering::Relaxed);
        let mut stream = env.net.connect(server.local_addr()).await.expect("connected");
        stream.write_all(&request(b"1", 1)).await.expect("written");
        until(&env, || echo.holding.lock().is_some()).await;
        stream.write_all(&request(b"2", 2)).await.expect("written");
        env.sleep_ms(20).await;
        assert_eq!(echo.frames.load(Ordering::Relaxed), 1, "nothing is read while a turn is held");
        echo.held.store(false, Ordering::Relaxed);
        echo.holding.lock().take().expect("held").wake();
        until(&env, || echo.frames.load(Ordering::Relaxed) == 2).await;
    });
}

#[test]
fn a_malformed_frame_closes_its_connection_only() {
    run(|env| async move {
        let (server, echo) = server(&env, Limits::default()).await;
        let client = client(&env);
        let address = server.local_addr().to_string();
        let call = || client.call(&address, Header::request(RequestCode::HeartBeat), Bytes::new(), 3_000);
        call().await.expect("an answer");
        let hostile: [&[u8]; 4] = [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET / HTTP/1.1\r\n\r\n",
            &[0xff; 64],
            &[0, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in hostile {
            let mut stream = env.net.connect(server.local_addr()).await.expect("connected");
            stream.write_all(bytes).await.expect("written");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "a malformed frame gets no answer");
        }
        call().await.expect("other connections go on");
        until(&env, || echo.closed.load(Ordering::Relaxed) == hostile.len()).await;
    });
}

#[test]
fn a_call_without_an_answer_names_what_it_waited_for() {
    run(|env| async move {
        let (server, _) = server(&env, Limits::default()).await;
        let client = client(&env);
        let address = server.local_addr().to_string();
        drop(server);
        let refused = client.call(&address, Header::request(RequestCode::HeartBeat), Bytes::new(), 200).await;
        let error = refused.expect_err("nobody listens");
        assert!(error.never_sent() && error.to_string().contains(&address), "{error}");

        let silent = env.net.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = silent.local_addr().to_string();
        let call = client.call(&address, Header::request(RequestCode::HeartBeat), Bytes::new(), 50);
        let error = call.await.expect_err("nobody answers");
        assert_eq!(error.to_string(), format!("no answer from {address} within 50 ms"));
    });
}

#[test]
fn an_idle_connection_is_closed() {
    run(|env| async move {
        let limits = Limits { idle_ms: 50, ..Limits::default() };
        let (server, echo) = server(&env, limits).await;
        let _stream = env.net.connect(server.local_addr()).await.expect("connected");
        until(&env, || echo.closed.load(Ordering::Relaxed) == 1).await;
        assert_eq!(server.connection_count(), 0);
    });
}
