//! A small service under all faults: it appends what it is sent to a file, syncs, and answers.
//!
//! Its promise: what it acknowledged is in the file after any number of crashes, in order.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::env::Access;
use crate::env::Env;
use crate::env::File;
use crate::env::Stream;
use crate::sim::FaultKind;
use crate::sim::Faults;
use crate::sim::Limits;
use crate::sim::Node;
use crate::sim::Outcome;
use crate::sim::Seed;
use crate::sim::Stop;
use crate::sim::World;
use crate::sim::run;

const PORT: u16 = 10_911;
const RECORD: usize = 16;

/// One append-only file of fixed records: a number and its complement.
struct Log {
    file: Arc<dyn File>,
    records: u64,
    broken: bool,
}

impl Log {
    async fn open(env: &Env) -> io::Result<Log> {
        let dir = Path::new("data");
        env.disk.create_dir_all(dir).await?;
        env.disk.sync_dir(Path::new("")).await?;
        let file = env.disk.open(Path::new("data/log"), Access::Create).await?;
        env.disk.sync_dir(dir).await?;
        let len = file.len().await?;
        let bytes = file.read_at(0, usize::try_from(len).expect("small")).await?;
        let whole = bytes.chunks_exact(RECORD).take_while(|record| decode(record).is_some()).count() as u64;
        env.probe("log.recovered");
        if whole * RECORD as u64 != len {
            env.probe("log.torn_tail");
            file.set_len(whole * RECORD as u64).await?;
        }
        // What was read may never have been durable: a record is answered for only after this.
        file.sync().await?;
        let log = Log { file, records: whole, broken: false };
        log.check_progress(env).await?;
        Ok(log)
    }

    async fn append(&mut self, env: &Env, number: u64) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.broken = true;
        let at = self.records * RECORD as u64;
        self.file.write_at(at, encode(number)).await?;
        if !env.planted("no_sync") {
            self.file.sync().await?;
        }
        self.records += 1;
        if self.records.is_multiple_of(16) {
            self.note_progress(env).await?;
        }
        self.broken = false;
        Ok(())
    }

    /// A checkpoint, replaced as a whole.
    async fn note_progress(&self, env: &Env) -> io::Result<()> {
        let next = env.disk.open(Path::new("data/next"), Access::Create).await?;
        next.write_at(0, encode(self.records)).await?;
        next.sync().await?;
        env.disk.rename(Path::new("data/next"), Path::new("data/checkpoint")).await?;
        env.disk.sync_dir(Path::new("data")).await
    }

    /// The checkpoint is whole, and not ahead of the log.
    async fn check_progress(&self, env: &Env) -> io::Result<()> {
        let checkpoint = match env.disk.open(Path::new("data/checkpoint"), Access::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?.read_at(0, RECORD).await?,
        };
        let noted = decode(&checkpoint).expect("a checkpoint was synced before it got its name");
        assert!(noted <= self.records, "a checkpoint names records that were synced before it");
        Ok(())
    }
}

fn encode(number: u64) -> Bytes {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&number.to_be_bytes());
    record[8..].copy_from_slice(&(!number).to_be_bytes());
    Bytes::copy_from_slice(&record)
}

fn decode(record: &[u8]) -> Option<u64> {
    let (number, check) = record.split_first_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    (check == (!number).to_be_bytes()).then_some(number)
}

async fn server(env: Env, stop: Stop) {
    // A server that cannot start ends, and is started again.
    let Ok(log) = Log::open(&env).await else { return };
    let log = Arc::new(tokio::sync::Mutex::new(log));
    let Ok(listener) = env.net.listen(SocketAddr::from(([0, 0, 0, 0], PORT))).await else { return };
    let mut tasks = Vec::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.asked() => return,
            stream = listener.accept() => stream,
        };
        let Ok(stream) = stream else { return };
        tasks.push(env.spawn("serve", serve(env.clone(), Arc::clone(&log), stream)));
    }
}

async fn serve(env: Env, log: Arc<tokio::sync::Mutex<Log>>, mut stream: Box<dyn Stream>) {
    loop {
        let mut number = [0; 8];
        if stream.read_exact(&mut number).await.is_err() {
            return;
        }
        let mut log = log.lock().await;
        if log.append(&env, u64::from_be_bytes(number)).await.is_err() {
            // No answer is the only honest one.
            let _ = stream.shutdown().await;
            return;
        }
        drop(log);
        if stream.write_all(&number).await.is_err() {
            return;
        }
    }
}

async fn client(env: Env, server: &'static str, first: u64, acked: Arc<Mutex<Vec<u64>>>) {
    let mut number = first;
    loop {
        let target = env.net.resolve(&format!("{server}:{PORT}")).await.expect("the server's name is known");
        let connected = env.timeout_ms(5_000, env.net.connect(target[0])).await;
        let Some(Ok(mut stream)) = connected else {
            env.sleep_ms(200).await;
            continue;
        };
        loop {
            let asked = async {
                stream.write_all(&number.to_be_bytes()).await?;
                let mut answer = [0; 8];
                stream.read_exact(&mut answer).await?;
                Ok::<_, io::Error>(u64::from_be_bytes(answer))
            };
            let answer = env.timeout_ms(3_000, asked).await;
            let sent = number;
            number += 1;
            match answer {
                Some(Ok(answer)) => {
                    assert_eq!(answer, sent, "an answer belongs to its question");
                    acked.lock().push(sent);
                }
                _ => break,
            }
            env.sleep_ms(10).await;
        }
    }
}

fn no_flips(faults: Faults) -> Faults {
    faults.without(&[FaultKind::BitFlip])
}

/// Runs the service, two clients and a nemesis for `seconds`, heals, and checks the promise.
pub(super) async fn scenario(world: World, seconds: u64) -> usize {
    let server = world.node_with_stop("server", server);
    let acked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let mut clients: Vec<Node> = Vec::new();
    for (name, first) in [("client-1", 1_000_000), ("client-2", 2_000_000)] {
        let acked = Arc::clone(&acked);
        clients.push(world.node(name, move |env| client(env, "server", first, Arc::clone(&acked))));
    }
    let faults = Faults::swarm(world.draw(), std::slice::from_ref(&server));
    let nemesis = world.nemesis(no_flips(faults.clients(&clients)));
    world.sleep(Duration::from_secs(seconds)).await;
    nemesis.stop().await;
    // A restart ends whatever a full or failing disk had latched.
    server.restart();
    let before = acked.lock().len();
    world.sleep(Duration::from_secs(12)).await;
    assert!(acked.lock().len() > before, "once everything is healed the service works again");
    server.os_crash();
    let kept = server.disk().image().read("data/log").expect("the log exists");
    let kept: Vec<u64> = kept.chunks_exact(RECORD).filter_map(decode).collect();
    for number in acked.lock().iter() {
        assert!(kept.contains(number), "acknowledged {number} is in the log");
    }
    let total = acked.lock().len();
    total
}

pub(super) fn outcome(seed: u64, planted: &[&str]) -> Outcome<usize> {
    let planted = planted.iter().map(|name| (*name).to_owned()).collect();
    let limits = Limits { planted, ..Limits::default() };
    run(Seed(seed), limits, |world| scenario(world, 20))
}

/// What the kinds must have done to the server in some swarm, beside having been drawn.
const BITES: [&str; 6] =
    ["disk.pages_lost", "disk.names_lost", "disk.renames_lost", "net.held", "disk.full", "disk.sync_error"];

#[test]
fn what_was_acknowledged_survives_every_swarm() {
    let kinds = FaultKind::ALL.iter().filter(|kind| !kind.is_destructive()).map(|kind| kind.name());
    let mut unseen: BTreeSet<&'static str> = Iterator::chain(kinds, BITES).collect();
    let mut acked = 0;
    for seed in 0..200 {
        // Forty at least, and on until everything has been seen to bite.
        if seed >= 40 && unseen.is_empty() {
            break;
        }
        let outcome = outcome(seed, &[]);
        unseen.retain(|name| !outcome.report.probes.contains_key(name));
        acked += outcome.expect_ok();
    }
    assert!(acked > 5_000, "the clients make progress between the faults");
    assert!(unseen.is_empty(), "200 swarms never showed {unseen:?}");
}

#[test]
fn an_answer_before_the_sync_is_found_out() {
    let caught = (0..40).filter(|seed| outcome(*seed, &["no_sync"]).result.is_err()).count();
    assert!(caught >= 8, "only {caught} of 40 seeds caught the planted bug");
}
