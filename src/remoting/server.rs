//! Accepts connections and runs a session on each.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::base::Mono;
use crate::env::Env;
use crate::env::Listener;
use crate::env::Stream;
use crate::env::Task;
use crate::remoting::Connection;
use crate::remoting::ConnectionId;
use crate::remoting::Limits;
use crate::remoting::Serve;
use crate::remoting::pump;

/// How long accepting pauses after it failed: the process is out of descriptors, and trying at once would spin.
const ACCEPT_PAUSE_MS: u64 = 50;

/// A listening server. Dropping it stops accepting and closes every connection.
pub struct Server {
    local: SocketAddr,
    shared: Arc<Shared>,
    _tasks: [Task; 2],
}

struct Shared {
    env: Env,
    service: Arc<dyn Serve>,
    limits: Limits,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    next_id: AtomicU64,
}

impl Server {
    /// Listens at `at`. Fails with `AddrInUse` when the port is taken.
    pub async fn listen(
        env: &Env,
        at: SocketAddr,
        service: Arc<dyn Serve>,
        limits: Limits,
    ) -> io::Result<Server> {
        Ok(Server::serve(env, env.net.listen(at).await?, service, limits))
    }

    /// Serves a listener that is already open. What knocked meanwhile is let in now.
    pub fn serve(env: &Env, listener: Box<dyn Listener>, service: Arc<dyn Serve>, limits: Limits) -> Server {
        let local = listener.local_addr();
        let shared = Arc::new(Shared {
            env: env.clone(),
            service,
            limits,
            connections: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        let accept = env.spawn("accept", Arc::clone(&shared).accept(listener));
        let reap = env.spawn("reap idle connections", Arc::clone(&shared).reap());
        Server { local, shared, _tasks: [accept, reap] }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub fn connection_count(&self) -> usize {
        self.shared.connections.lock().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for connection in self.shared.connections.lock().values() {
            connection.close();
        }
    }
}

impl Shared {
    async fn accept(self: Arc<Shared>, listener: Box<dyn Listener>) {
        loop {
            match listener.accept().await {
                Ok(stream) => self.start(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.env.sleep_ms(ACCEPT_PAUSE_MS).await;
                }
            }
        }
    }

    fn start(self: &Arc<Shared>, stream: Box<dyn Stream>) {
        let id = ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let connection = Arc::new(Connection::new(id, stream.peer_addr(), stream.local_addr(), &self.limits));
        connection.touch(self.env.now());
        {
            let mut connections = self.connections.lock();
            if connections.len() >= self.limits.connections_max {
                tracing::warn!(
                    peer = %connection.peer(), limit = self.limits.connections_max,
                    "refusing a connection: as many as allowed are open"
                );
                return;
            }
            connections.insert(id, Arc::clone(&connection));
        }
        let session = self.service.open(&connection);
        let shared = Arc::clone(self);
        self.env
            .spawn("connection", async move {
                let peer = connection.peer();
                let ended = pump::run(shared.env.clone(), connection, stream, session, shared.limits).await;
                shared.connections.lock().remove(&id);
                match ended {
                    pump::Ended::Malformed(error) => tracing::warn!(%peer, %error, "closed a connection"),
                    other => tracing::debug!(%peer, reason = %other, "a connection ended"),
                }
            })
            .detach();
    }

    /// Closes what was silent for too long. Wakes only when the oldest connection could be due.
    async fn reap(self: Arc<Shared>) {
        let idle_ms = self.limits.idle_ms;
        loop {
            let now = self.env.now();
            let mut next = now.plus_ms(idle_ms);
            let mut due = Vec::new();
            for connection in self.connections.lock().values() {
                let expires: Mono = connection.active_at().plus_ms(idle_ms);
                if expires <= now {
                    due.push(Arc::clone(connection));
                } else {
                    next = next.min(expires);
                }
            }
            for connection in due {
                tracing::info!(peer = %connection.peer(), idle_ms, "closing an idle connection");
                connection.close();
            }
            self.env.clock.sleep_until(next).await;
        }
    }
}
