//! Asking name servers: one at a time, the next one when it does not answer.
//!
//! They know nothing of each other, and any of them may be behind; the first one is drawn, so that clients spread.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::RequestError;
use super::RouteError;
use super::topic_route::TopicRoute;
use crate::protocol::Header;
use crate::protocol::RequestCode;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::route;
use crate::protocol::command::route::GetRoute;
use crate::remoting;

pub(super) struct NameServers {
    addrs: Vec<String>,
    current: AtomicUsize,
}

impl NameServers {
    /// `draw` chooses the first one to ask.
    pub(super) fn new(addrs: Vec<String>, draw: u64) -> NameServers {
        assert!(!addrs.is_empty(), "a client has a name server to ask");
        let start = usize::try_from(draw % addrs.len() as u64).unwrap_or(0);
        NameServers { addrs, current: AtomicUsize::new(start) }
    }

    pub(super) fn current(&self) -> &str {
        &self.addrs[self.current.load(Ordering::Relaxed) % self.addrs.len()]
    }

    /// Asks each name server at most once, for `timeout_ms` at most each. That a topic does not exist is believed.
    pub(super) async fn route(
        &self,
        remoting: &remoting::Client,
        topic: &str,
        timeout_ms: u64,
    ) -> Result<TopicRoute, RouteError> {
        let mut last = RequestError::NoAddress { broker: "name server".to_owned() };
        for _ in 0..self.addrs.len() {
            let addr = self.current().to_owned();
            match ask(remoting, &addr, topic, timeout_ms).await {
                Ok(Some(route)) => return Ok(route),
                Ok(None) => return Err(RouteError::NoTopic { topic: topic.to_owned() }),
                Err(error) => last = error,
            }
            self.current.fetch_add(1, Ordering::Relaxed);
        }
        Err(RouteError::Unreachable { tried: self.addrs.clone(), last })
    }
}

async fn ask(
    remoting: &remoting::Client,
    addr: &str,
    topic: &str,
    timeout_ms: u64,
) -> Result<Option<TopicRoute>, RequestError> {
    let mut header = Header::request(RequestCode::GetRouteInfoByTopic);
    GetRoute { topic: topic.to_owned(), accept_standard_json_only: true }.encode(&mut header.ext);
    let answer = remoting.call(addr, header, Bytes::new(), timeout_ms).await?;
    match answer.header.response_code() {
        Some(ResponseCode::Success) => {}
        Some(ResponseCode::TopicNotExist) => return Ok(None),
        _ => {
            let remark = answer.header.remark_text().to_owned();
            return Err(RequestError::Refused { by: addr.to_owned(), code: answer.header.code, remark });
        }
    }
    let data = route::TopicRoute::decode(&answer.body)
        .map_err(|error| RequestError::Malformed { by: addr.to_owned(), what: error.to_string() })?;
    Ok(Some(TopicRoute::new(topic, &data)))
}
