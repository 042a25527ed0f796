//! Tells every name server, each by itself, which topics this broker holds: at start, when topics change, when a connection
//! to a name server is lost, and every `registerNameServerPeriod`.
//!
//! A name server forgets a broker with its connection. RocketMQ's broker tells it again at the next period, up to a minute
//! later; until then its clients have no route.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::broker::core::Core;
use crate::broker::session::Unasked;
use crate::broker::tables;
use crate::env::Task;
use crate::protocol::body::Body;
use crate::protocol::body::registration;
use crate::protocol::body::registration::RegisterBrokerBody;
use crate::protocol::body::topic::TopicConfigTable;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::registration::OfBroker;
use crate::protocol::command::registration::RegisterBroker;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::remoting::Serve;
use crate::remoting::Session;

/// Longest a name server may take to answer, in milliseconds (`registerBrokerTimeoutMills`) …
const TIMEOUT_MS: u64 = 24_000;
/// … to many topics. To few it is taken for dead sooner: over a connection that only this side believes in, no answer ever
/// comes, and no client has a route meanwhile.
const TIMEOUT_LEAST_MS: u64 = 3_000;
/// The slowest link that a registration is given time for: 256 KiB a second.
const BYTES_PER_MS: usize = 256;
/// Longest the goodbye may take: nobody should wait for a dead name server to stop a broker.
const GOODBYE_MS: u64 = 1_000;
/// Wait before a failed registration is tried again, in milliseconds. RocketMQ waits for the next period.
const RETRY_MS: u64 = 1_000;

/// How often topics changed. Not tokio's `watch`: it wakes its waiters in an order that no seed decides.
#[derive(Default)]
pub(crate) struct Announcements {
    count: AtomicU64,
    changed: Notify,
}

impl Announcements {
    pub(crate) fn announce(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends once there were more than `seen`.
    async fn beyond(&self, seen: u64) {
        loop {
            let changed = self.changed.notified();
            if self.count() != seen {
                return;
            }
            changed.await;
        }
    }
}

/// Why name servers are to be told again before the period is over.
#[derive(Clone, Default)]
pub(crate) struct Reasons {
    /// Topics changed.
    pub(crate) topics: Arc<Announcements>,
    /// A connection to a name server ended.
    losses: Arc<Announcements>,
}

/// What this broker is to its name servers: nobody to ask anything of.
impl Serve for Reasons {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(ToNameServer { losses: Arc::clone(&self.losses) })
    }
}

/// A connection to a name server.
struct ToNameServer {
    losses: Arc<Announcements>,
}

impl Session for ToNameServer {
    fn on_frame(&mut self, frame: Frame, replies: &mut Replies) {
        Unasked.on_frame(frame, replies);
    }

    fn on_closed(&mut self) {
        self.losses.announce();
    }
}

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    let _tasks: Vec<Task> = core
        .config
        .namesrv_addr
        .iter()
        .map(|address| core.env.spawn("registration", follow(Arc::clone(&core), address.clone())))
        .collect();
    std::future::pending::<()>().await;
}

/// Registers with one name server, again and again.
async fn follow(core: Arc<Core>, address: String) {
    let Reasons { topics, losses } = &core.wake.registration;
    let mut known = false;
    loop {
        let (seen, lost) = (topics.count(), losses.count());
        // A name server that closes every connection is told no more often than one that does not answer.
        let again = core.env.now().plus(Duration::from_millis(RETRY_MS));
        if let Err(cause) = register(&core, &address).await {
            tracing::warn!(address, cause, "cannot register with the name server; trying again");
            known = false;
            core.env.sleep_ms(RETRY_MS).await;
            continue;
        }
        if !known {
            tracing::info!(address, "registered with the name server");
        }
        known = true;
        let timer = core.env.sleep_ms(core.config.register_name_server_ms);
        let loss = async {
            losses.beyond(lost).await;
            core.env.clock.sleep_until(again).await;
        };
        tokio::select! {
            biased;
            () = topics.beyond(seen) => {}
            () = loss => {}
            () = timer => {}
        }
    }
}

async fn register(core: &Core, address: &str) -> Result<(), String> {
    let body = Bytes::from(body(core).encode());
    let fields = RegisterBroker {
        broker_name: core.config.broker_name.clone(),
        broker_addr: core.host.to_string(),
        cluster_name: core.config.cluster_name.clone(),
        ha_server_addr: format!("{}:{}", core.config.broker_ip1, core.config.ha_listen_port),
        broker_id: i64::try_from(core.config.broker_id).unwrap_or(i64::MAX),
        heartbeat_timeout_ms: None,
        enable_acting_master: None,
        compressed: false,
        body_crc32: i32::try_from(registration::crc(&body)).unwrap_or(0),
    };
    let mut header = Header::request(RequestCode::RegisterBroker);
    fields.encode(&mut header.ext);
    let timeout_ms = timeout_ms(body.len());
    let answer = match core.client.call(address, header, body, timeout_ms).await {
        Ok(answer) => answer,
        Err(error) => {
            // The next attempt is not to wait on a connection that may be dead.
            core.client.disconnect(address).await;
            return Err(error.to_string());
        }
    };
    match answer.header.response_code() {
        Some(ResponseCode::Success) => Ok(()),
        _ => Err(format!("it answered {}: {}", answer.header.code, answer.header.remark_text())),
    }
}

/// For a registration of so many bytes.
fn timeout_ms(bytes: usize) -> u64 {
    let on_the_way = u64::try_from(bytes / BYTES_PER_MS).unwrap_or(TIMEOUT_MS);
    TIMEOUT_LEAST_MS.saturating_add(on_the_way).min(TIMEOUT_MS)
}

fn body(core: &Core) -> RegisterBrokerBody {
    let topics = core.topics.lock();
    RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigTable {
            data_version: tables::version_body(topics.version()),
            topic_config_table: topics
                .iter()
                .map(|topic| (topic.name.clone(), tables::topic_body(topic)))
                .collect(),
            ..TopicConfigTable::default()
        },
        ..RegisterBrokerBody::default()
    }
}

/// Leaves every name server, so that clients stop coming at once.
pub(crate) async fn unregister(core: &Core) {
    for address in &core.config.namesrv_addr {
        let fields = OfBroker {
            broker_name: core.config.broker_name.clone(),
            broker_addr: core.host.to_string(),
            cluster_name: core.config.cluster_name.clone(),
            broker_id: i64::try_from(core.config.broker_id).unwrap_or(i64::MAX),
        };
        let mut header = Header::request(RequestCode::UnregisterBroker);
        fields.encode(&mut header.ext);
        if let Err(error) = core.client.call(address, header, Bytes::new(), GOODBYE_MS).await {
            tracing::warn!(address, %error, "could not leave the name server; it will notice by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_registration_is_given_time_and_a_short_one_is_not_waited_for() {
        assert_eq!(timeout_ms(0), 3_000);
        assert_eq!(timeout_ms(1024 * 1024), 3_000 + 4_096);
        assert_eq!(timeout_ms(usize::MAX), 24_000);
    }
}
