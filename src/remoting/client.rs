//! Requests to servers by address, over one connection each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::env::Env;
use crate::protocol::frame::Frame;
use crate::protocol::header::Header;
use crate::remoting::CallError;
use crate::remoting::Connection;
use crate::remoting::ConnectionId;
use crate::remoting::Limits;
use crate::remoting::Serve;
use crate::remoting::pump;

/// Keeps one connection to each address that was asked for; a dead one is replaced at the next call.
///
/// Dropping the client closes its connections; calls under way fail.
pub struct Client {
    env: Env,
    limits: Limits,
    /// Answers what servers ask of us.
    service: Arc<dyn Serve>,
    next_id: AtomicU64,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// The connection to one address. The lock is held while connecting, so that callers share one attempt.
#[derive(Default)]
struct Slot {
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Client {
    pub fn new(env: &Env, limits: Limits, service: Arc<dyn Serve>) -> Client {
        Client { env: env.clone(), limits, service, next_id: AtomicU64::new(1), slots: Mutex::default() }
    }

    /// Sends a request to `address` (`host:port`) and waits for the answer, connecting first if need be. The time-out
    /// covers both.
    pub async fn call(
        &self,
        address: &str,
        header: Header,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<Frame, CallError> {
        let started = self.env.now();
        let connection = self.connection(address, timeout_ms.min(self.limits.connect_ms)).await?;
        let spent = u64::try_from(self.env.now().since(started).as_millis()).unwrap_or(u64::MAX);
        connection.call(&self.env, header, body, timeout_ms.saturating_sub(spent).max(1)).await.map_err(
            |error| match error {
                CallError::Timeout { .. } => {
                    CallError::Timeout { address: address.to_owned(), waited_ms: timeout_ms }
                }
                CallError::Closed { .. } => CallError::Closed { address: address.to_owned() },
                other => other,
            },
        )
    }

    /// Sends a request that gets no answer. `Ok` means that it was queued on a live connection, no more.
    pub async fn oneway(&self, address: &str, mut header: Header, body: Bytes) -> Result<(), CallError> {
        let connection = self.connection(address, self.limits.connect_ms).await?;
        header = header.oneway();
        connection.send_frame(&header, body);
        if connection.is_closed() { Err(CallError::Closed { address: address.to_owned() }) } else { Ok(()) }
    }

    /// Closes the connection to `address`; the next call opens a new one.
    pub async fn disconnect(&self, address: &str) {
        let slot = self.slots.lock().remove(address);
        if let Some(slot) = slot
            && let Some(connection) = slot.current.lock().await.take()
        {
            connection.close();
        }
    }

    /// The live connection to `address`, opened if need be within `connect_ms`.
    pub async fn connection(&self, address: &str, connect_ms: u64) -> Result<Arc<Connection>, CallError> {
        let slot = Arc::clone(self.slots.lock().entry(address.to_owned()).or_default());
        let mut current = slot.current.lock().await;
        if let Some(connection) = current.as_ref()
            && !connection.is_closed()
        {
            return Ok(Arc::clone(connection));
        }
        let connection = match self.env.timeout_ms(connect_ms, self.connect(address)).await {
            Some(connected) => connected?,
            None => {
                let source = std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("not connected within {connect_ms} ms"),
                );
                return Err(CallError::Connect { address: address.to_owned(), source });
            }
        };
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn connect(&self, address: &str) -> Result<Arc<Connection>, CallError> {
        let candidates = self
            .env
            .net
            .resolve(address)
            .await
            .map_err(|source| CallError::Resolve { address: address.to_owned(), source })?;
        let mut failure = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        for candidate in candidates {
            match self.env.net.connect(candidate).await {
                Ok(stream) => return Ok(self.start(stream)),
                Err(error) => failure = error,
            }
        }
        Err(CallError::Connect { address: address.to_owned(), source: failure })
    }

    fn start(&self, stream: Box<dyn crate::env::Stream>) -> Arc<Connection> {
        let id = ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let connection = Arc::new(Connection::new(id, stream.peer_addr(), stream.local_addr(), &self.limits));
        let session = self.service.open(&connection);
        let running = pump::run(self.env.clone(), Arc::clone(&connection), stream, session, self.limits);
        self.env
            .spawn("client connection", async move {
                let ended = running.await;
                tracing::debug!(reason = %ended, "a client connection ended");
            })
            .detach();
        connection
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for slot in self.slots.lock().values() {
            if let Ok(current) = slot.current.try_lock()
                && let Some(connection) = current.as_ref()
            {
                connection.close();
            }
        }
    }
}
