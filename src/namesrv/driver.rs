//! Carries out what the tables ask for: expiry when it is due, the key-value file when it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Config;
use super::kv_file;
use super::tables::Tables;
use crate::base::Mono;
use crate::env::Env;
use crate::machine::route::KvConfig;
use crate::machine::route::Origin;
use crate::protocol::Header;
use crate::protocol::ResponseCode;
use crate::remoting::Connection;

pub(super) struct Driver {
    env: Env,
    tables: Mutex<Tables>,
    connections: Mutex<BTreeMap<Origin, Arc<Connection>>>,
    /// The earliest expiry may have changed.
    deadline_moved: Notify,
    saving: Mutex<Saving>,
    kv_changed: Notify,
    /// Only one writer of the file at a time.
    file: tokio::sync::Mutex<()>,
}

/// Answers that wait for the file.
#[derive(Default)]
struct Saving {
    saved: u64,
    waiting: Vec<(u64, Arc<Connection>, Header)>,
}

impl Driver {
    pub(super) fn new(env: &Env, config: Config, kv: KvConfig) -> Driver {
        let saving = Saving { saved: kv.revision(), waiting: Vec::new() };
        Driver {
            env: env.clone(),
            tables: Mutex::new(Tables::new(config, kv)),
            connections: Mutex::default(),
            deadline_moved: Notify::new(),
            saving: Mutex::new(saving),
            kv_changed: Notify::new(),
            file: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn now(&self) -> Mono {
        self.env.now()
    }

    pub(super) fn opened(&self, origin: Origin, connection: &Arc<Connection>) {
        self.connections.lock().insert(origin, Arc::clone(connection));
    }

    pub(super) fn closed(&self, origin: Origin) {
        self.connections.lock().remove(&origin);
        for gone in self.tables.lock().route.closed(origin) {
            tracing::info!(
                broker = gone.broker,
                id = gone.id,
                addr = gone.addr,
                "its connection closed: removed"
            );
        }
    }

    pub(super) fn with_tables<T>(&self, ask: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock();
        let before = tables.route.next_deadline();
        let answer = ask(&mut tables);
        let moved = tables.route.next_deadline() < before || before.is_none();
        drop(tables);
        if moved {
            self.deadline_moved.notify_one();
        }
        answer
    }

    /// Removes brokers that fell silent, when they are due.
    pub(super) async fn watch_brokers(self: Arc<Driver>) {
        loop {
            let deadline = self.tables.lock().route.next_deadline().unwrap_or(Mono::NEVER);
            tokio::select! {
                biased;
                () = self.deadline_moved.notified() => continue,
                () = self.env.clock.sleep_until(deadline) => {}
            }
            let expired = self.tables.lock().route.on_timer(self.env.now());
            for gone in expired {
                let broker = gone.identity;
                tracing::warn!(
                    broker = broker.broker,
                    id = broker.id,
                    addr = broker.addr,
                    "silent for too long: removed"
                );
                let connection = self.connections.lock().get(&gone.origin).cloned();
                if let Some(connection) = connection {
                    connection.close();
                }
            }
        }
    }

    /// Sends the answer once the file holds all that the tables hold now.
    pub(super) fn once_saved(&self, answer: Option<(Arc<Connection>, Header)>) {
        let revision = self.tables.lock().kv.revision();
        if let Some((connection, header)) = answer {
            self.saving.lock().waiting.push((revision, connection, header));
        }
        self.kv_changed.notify_one();
    }

    pub(super) async fn save_kv(self: Arc<Driver>) {
        loop {
            self.kv_changed.notified().await;
            self.flush_kv().await;
        }
    }

    /// Writes the file if it is behind, and answers whoever waited for that.
    pub(super) async fn flush_kv(&self) {
        let _one_writer = self.file.lock().await;
        let (revision, path, json) = {
            let tables = self.tables.lock();
            let behind = tables.kv.revision() != self.saving.lock().saved;
            let json = behind.then(|| kv_file::encode(&tables.kv));
            (tables.kv.revision(), tables.config.kv_path.clone(), json)
        };
        let written = match json {
            Some(json) => kv_file::save(&self.env, &path, json).await,
            None => Ok(()),
        };
        let mut saving = self.saving.lock();
        if written.is_ok() {
            saving.saved = revision;
        }
        let (ready, waiting) =
            std::mem::take(&mut saving.waiting).into_iter().partition(|(needs, _, _)| *needs <= revision);
        saving.waiting = waiting;
        drop(saving);
        if let Err(error) = &written {
            tracing::warn!(path = %path.display(), %error, "cannot save the key-value configuration");
        }
        let ready: Vec<(u64, Arc<Connection>, Header)> = ready;
        for (_, connection, mut header) in ready {
            if let Err(error) = &written {
                header.code = ResponseCode::SystemError.number();
                header = header.with_remark(format!("cannot save {}: {error}", path.display()));
            }
            connection.send_frame(&header, Bytes::new());
        }
    }
}
