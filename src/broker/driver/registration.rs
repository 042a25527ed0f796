//! Tells every name server, each by itself, which topics this broker holds: at start, when topics change, and every
//! `registerNameServerPeriod`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::broker::core::Core;
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
use crate::protocol::header::Header;

/// Longest a name server may take to answer, in milliseconds (`registerBrokerTimeoutMills`).
const TIMEOUT_MS: u64 = 24_000;
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
    let changes = &core.wake.registration;
    let mut known = false;
    loop {
        let seen = changes.count();
        let pause_ms = match register(&core, &address).await {
            Ok(()) => {
                if !known {
                    tracing::info!(address, "registered with the name server");
                }
                known = true;
                core.config.register_name_server_ms
            }
            Err(cause) => {
                tracing::warn!(address, cause, "cannot register with the name server; trying again");
                known = false;
                RETRY_MS
            }
        };
        let timer = core.env.sleep_ms(pause_ms);
        tokio::select! {
            biased;
            () = changes.beyond(seen) => {}
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
    let answer =
        core.client.call(address, header, body, TIMEOUT_MS).await.map_err(|error| error.to_string())?;
    match answer.header.response_code() {
        Some(ResponseCode::Success) => Ok(()),
        _ => Err(format!("it answered {}: {}", answer.header.code, answer.header.remark_text())),
    }
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
