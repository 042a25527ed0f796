//! The network: what streams do when links, hosts and peers fail.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::simulate;
use crate::env::Env;
use crate::env::Stream;
use crate::sim::Node;
use crate::sim::World;
use crate::sim::net::Link;

const PORT: u16 = 9_000;

/// A connected pair: client end, server end.
async fn pair(server: &Node, client: &Node) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let (server_env, client_env) = (server.env(), client.env());
    let listener = server_env.net.listen(SocketAddr::from(([0, 0, 0, 0], PORT))).await.expect("a free port");
    let to = SocketAddr::new(server.ip(), PORT);
    let (near, far) = tokio::join!(biased; client_env.net.connect(to), listener.accept());
    (near.expect("connects"), far.expect("accepts"))
}

fn two(world: &World) -> (Node, Node) {
    (world.machine("server"), world.machine("client"))
}

#[test]
fn bytes_arrive_in_order_over_a_rough_link() {
    for seed in 0..20 {
        simulate(seed, |world| async move {
            world.net().set_default(Link::ROUGH);
            let (server, client) = two(&world);
            let (mut near, mut far) = pair(&server, &client).await;
            let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
            let copy = sent.clone();
            let writes = async {
                near.write_all(&copy).await.expect("writes");
                near.shutdown().await.expect("shuts down");
            };
            let mut got = Vec::new();
            let reads = async { far.read_to_end(&mut got).await.expect("reads") };
            tokio::join!(biased; writes, reads);
            assert!(got == sent);
        });
    }
}

#[test]
fn a_writer_blocks_when_its_reader_does_not_read() {
    simulate(1, |world| async move {
        let (server, client) = two(&world);
        let (mut near, mut far) = pair(&server, &client).await;
        let env = client.env();
        let mut written = 0;
        while let Some(n) = env.timeout_ms(1_000, near.write(&[7; 4_096])).await {
            written += n.expect("writes");
        }
        assert!((60_000..70_000).contains(&written), "{written}");
        let mut some = vec![0; 10_000];
        far.read_exact(&mut some).await.expect("reads");
        assert!(env.timeout_ms(1_000, near.write(&[7; 4_096])).await.is_some());
    });
}

#[test]
fn half_close_lets_the_other_half_answer() {
    simulate(2, |world| async move {
        let (server, client) = two(&world);
        let (mut near, mut far) = pair(&server, &client).await;
        near.write_all(b"question").await.expect("writes");
        near.shutdown().await.expect("shuts down");
        let mut question = Vec::new();
        far.read_to_end(&mut question).await.expect("reads");
        far.write_all(b"answer").await.expect("writes");
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.expect("reads");
        assert_eq!(answer, b"answer");
        assert_eq!(near.write(b"more").await.map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
        drop(near);
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(world.net().connections(), 0);
    });
}

#[test]
fn dropping_a_stream_with_unread_input_resets_the_peer() {
    simulate(3, |world| async move {
        let (server, client) = two(&world);
        let (mut near, far) = pair(&server, &client).await;
        near.write_all(b"never read").await.expect("writes");
        world.sleep(Duration::from_millis(100)).await;
        drop(far);
        let got = near.read(&mut [0; 16]).await.map_err(|error| error.kind());
        assert_eq!(got, Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_partition_stalls_and_a_long_one_breaks() {
    simulate(4, |world| async move {
        let (server, client) = two(&world);
        let (mut near, mut far) = pair(&server, &client).await;
        let cut = world.net().partition(&server, &client);
        near.write_all(b"held").await.expect("the window takes it");
        let env = server.env();
        assert!(env.timeout_ms(30_000, far.read(&mut [0; 16])).await.is_none());
        drop(cut);
        let mut got = [0; 4];
        assert!(env.timeout_ms(2_000, far.read_exact(&mut got)).await.is_some());
        assert_eq!(&got, b"held");
        let cut = world.net().partition(&server, &client);
        near.write_all(b"lost").await.expect("the window takes it");
        let error = near.read(&mut [0; 16]).await.expect_err("nothing was acknowledged for a minute");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(cut);
    });
}

#[test]
fn a_one_way_cut_lets_the_other_way_pass() {
    simulate(5, |world| async move {
        let (server, client) = two(&world);
        let (mut near, mut far) = pair(&server, &client).await;
        let _cut = world.net().one_way(&server, &client);
        near.write_all(b"passes").await.expect("writes");
        let mut got = [0; 6];
        far.read_exact(&mut got).await.expect("reads");
        far.write_all(b"held").await.expect("writes");
        assert!(client.env().timeout_ms(5_000, near.read(&mut [0; 16])).await.is_none());
    });
}

#[test]
fn a_power_loss_leaves_a_half_open_connection_and_a_reset_after_the_reboot() {
    simulate(6, |world| async move {
        let (server, client) = two(&world);
        let (mut near, far) = pair(&server, &client).await;
        server.os_crash();
        drop(far);
        let env = client.env();
        assert!(env.timeout_ms(300_000, near.read(&mut [0; 16])).await.is_none(), "nobody says good-bye");
        server.restart();
        assert!(
            env.timeout_ms(60_000, near.read(&mut [0; 16])).await.is_none(),
            "nor does the new kernel, unasked"
        );
        near.write_all(b"hello?").await.expect("the window takes it");
        let got = near.read(&mut [0; 16]).await.map_err(|error| error.kind());
        assert_eq!(got, Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_killed_process_closes_its_connections_at_once() {
    simulate(7, |world| async move {
        let (server, client) = two(&world);
        let (mut near, far) = pair(&server, &client).await;
        server.kill();
        let got = client.env().timeout_ms(100, near.read(&mut [0; 16])).await.expect("an answer");
        assert_eq!(got.expect("an end of stream"), 0);
        drop(far);
    });
}

async fn connect_error(env: &Env, to: SocketAddr) -> ErrorKind {
    match env.net.connect(to).await {
        Ok(_) => panic!("nobody listens there"),
        Err(error) => error.kind(),
    }
}

#[test]
fn a_connect_is_refused_by_the_living_and_times_out_at_the_dead() {
    simulate(8, |world| async move {
        let (server, client) = two(&world);
        let env = client.env();
        let to = SocketAddr::new(server.ip(), 1);
        let start = world.now();
        assert_eq!(connect_error(&env, to).await, ErrorKind::ConnectionRefused);
        assert!(world.now() - start < Duration::from_millis(5));
        server.kill();
        assert_eq!(connect_error(&env, to).await, ErrorKind::ConnectionRefused);
        server.os_crash();
        let start = world.now();
        assert_eq!(connect_error(&env, to).await, ErrorKind::TimedOut);
        assert!(world.now() - start >= Duration::from_secs(20));
        assert_eq!(connect_error(&env, "10.9.9.9:1".parse().expect("an address")).await, ErrorKind::TimedOut);
    });
}

#[test]
fn a_connect_across_a_short_partition_succeeds_late() {
    simulate(9, |world| async move {
        let (server, client) = two(&world);
        let server_env = server.env();
        let _listener =
            server_env.net.listen(SocketAddr::from(([0, 0, 0, 0], PORT))).await.expect("a free port");
        let cut = world.net().partition(&server, &client);
        let healer = async {
            world.sleep(Duration::from_secs(4)).await;
            drop(cut);
        };
        let client_env = client.env();
        let connects = client_env.net.connect(SocketAddr::new(server.ip(), PORT));
        let ((), connected) = tokio::join!(biased; healer, connects);
        assert!(connected.is_ok());
    });
}

#[test]
fn connections_are_reset_on_demand_and_at_any_byte() {
    simulate(10, |world| async move {
        let (server, client) = two(&world);
        let (mut near, mut far) = pair(&server, &client).await;
        assert_eq!(world.net().reset_connections(&client, &server), 1);
        for end in [&mut near, &mut far] {
            let got = end.read(&mut [0; 16]).await.map_err(|error| error.kind());
            assert_eq!(got, Err(ErrorKind::ConnectionReset));
        }
    });
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..30 {
        lengths.insert(simulate(seed, |world| async move {
            world.net().set_default(Link { cut_off_per_million: 1_000_000, ..Link::CALM });
            let (server, client) = two(&world);
            let (mut near, mut far) = pair(&server, &client).await;
            near.write_all(&[1; 1_000]).await.expect("writes");
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.expect("an end of stream in the middle");
            let told = near.read(&mut [0; 16]).await.map_err(|error| error.kind());
            assert_eq!(told, Err(ErrorKind::ConnectionReset));
            got.len()
        }));
    }
    assert!(lengths.len() > 20);
}

#[test]
fn ports_are_free_again_after_a_kill_and_taken_before() {
    simulate(11, |world| async move {
        let node = world.machine("server");
        let at = SocketAddr::from(([0, 0, 0, 0], PORT));
        let env = node.env();
        let listener = env.net.listen(at).await.expect("a free port");
        let again = env.net.listen(at).await.map(|_| ()).map_err(|error| error.kind());
        assert_eq!(again, Err(ErrorKind::AddrInUse));
        node.restart();
        let fresh = node.env().net.listen(at).await.expect("the port of a dead process is free");
        // The late destructor of the old life closes nothing of the new one.
        drop(listener);
        let client = world.client_env("client");
        assert!(client.net.connect(SocketAddr::new(node.ip(), PORT)).await.is_ok());
        drop(fresh);
    });
}
