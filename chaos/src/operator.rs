//! The test's own hand in a cluster: creates topics, looks at routes, offsets and bounds, reads queues to their ends.
//!
//! It speaks the wire as any tool does, from a node of its own, and sees what a client would see. Each wait is for a
//! condition, with a limit of virtual time; passing it is a failure that names what was waited for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::client::Client;
use staticfire::client::MessageQueue;
use staticfire::client::MessageView;
use staticfire::client::PullConsumer;
use staticfire::client::PullStatus;
use staticfire::client::RequestError;
use staticfire::env::Env;
use staticfire::protocol::Frame;
use staticfire::protocol::Header;
use staticfire::protocol::RequestCode;
use staticfire::protocol::ResponseCode;
use staticfire::protocol::body::Body;
use staticfire::protocol::body::route::TopicRoute;
use staticfire::protocol::command::route::GetRoute;
use staticfire::protocol::command::topic::CreateTopic;
use staticfire::protocol::names;
use staticfire::remoting;
use staticfire::remoting::Connection;
use staticfire::remoting::Replies;
use staticfire::remoting::Serve;
use staticfire::remoting::Session;
use staticfire::sim::Node;
use staticfire::sim::World;

use crate::cluster::BROKER_PORT;
use crate::history::History;
use crate::history::Recorder;
use crate::history::What;
use crate::identity::MessageKey;

/// Virtual time between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one request may take, in milliseconds.
const REQUEST_MS: u64 = 3_000;
/// Messages per pull of a read.
const PULL_MAX: u32 = 32;

/// Something that had to happen did not, in the time it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {waited:?}, still waiting for {what}: {seen}")]
pub struct NotLive {
    pub what: String,
    pub waited: Duration,
    /// What was there instead.
    pub seen: String,
}

/// See the module.
pub struct Operator {
    world: World,
    env: Env,
    recorder: Recorder,
    remoting: remoting::Client,
    client: Client,
    name_servers: Vec<String>,
    brokers: Vec<(String, String)>,
}

/// Looks at `condition` until it holds. `Err` says what is missing.
pub async fn wait_until<Fut: Future<Output = Result<(), String>>>(
    world: &World,
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> Fut,
) -> Result<(), NotLive> {
    wait_looking(world, what, LOOK_EVERY, limit, condition).await
}

/// As [`wait_until`], looking once in `every`.
pub(crate) async fn wait_looking<Fut: Future<Output = Result<(), String>>>(
    world: &World,
    what: &str,
    every: Duration,
    limit: Duration,
    mut condition: impl FnMut() -> Fut,
) -> Result<(), NotLive> {
    let started = world.now();
    loop {
        let Err(seen) = condition().await else { return Ok(()) };
        let waited = world.now().saturating_sub(started);
        if waited >= limit {
            return Err(NotLive { what: what.to_owned(), waited, seen });
        }
        world.sleep(every).await;
    }
}

impl Operator {
    pub(crate) async fn start(history: &History, name_servers: &[String], brokers: &[Node]) -> Operator {
        let node = history.world().machine("operator");
        let env = node.env();
        let remoting = remoting::Client::new(&env, remoting::Limits::default(), Arc::new(Deaf));
        let client = Client::builder(&env).name_server(&name_servers.join(";")).instance("operator");
        let client = client.poll_name_server_ms(1_000).start().await;
        Operator {
            world: history.world().clone(),
            recorder: history.recorder(&node),
            remoting,
            client: client.expect("a client that has a name server starts"),
            env,
            name_servers: name_servers.to_vec(),
            brokers: brokers
                .iter()
                .map(|node| (node.name().to_owned(), format!("{}:{BROKER_PORT}", node.ip())))
                .collect(),
        }
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until every name server knows every broker.
    pub async fn wait_registered(&self, limit: Duration) -> Result<(), NotLive> {
        self.wait_route(names::AUTO_CREATE_TOPIC, limit).await
    }

    /// Waits until every name server knows a topic on every broker.
    pub async fn wait_route(&self, topic: &str, limit: Duration) -> Result<(), NotLive> {
        let what = format!("every name server to know {topic} on every broker");
        wait_until(&self.world, &what, limit, || self.route_is_complete(topic)).await
    }

    /// Creates a topic with so many queues on each broker, and waits until it is known everywhere.
    pub async fn create_topic(&self, topic: &str, queues: u32, limit: Duration) -> Result<(), NotLive> {
        let what = format!("topic {topic} to be created");
        wait_until(&self.world, &what, limit, || self.try_create(topic, queues)).await?;
        self.wait_route(topic, limit).await
    }

    /// A reader that shows a group's offsets, and moves none.
    pub async fn reader(&self, group: &str) -> PullConsumer {
        self.client.pull_consumer(group).start().await.expect("the group's name is legal")
    }

    /// Every queue of a topic, on every broker, whether it is alive or not.
    pub fn queues(&self, topic: &str, queues: u32) -> Vec<MessageQueue> {
        let of_broker = |broker: &str| -> Vec<MessageQueue> {
            (0..queues).map(|id| MessageQueue::new(topic, broker, QueueId(id))).collect()
        };
        self.brokers.iter().flat_map(|(name, _)| of_broker(name)).collect()
    }

    /// Whether every name server knows a topic on every broker, and so many queues of it there are known here. A route that
    /// lacks a broker hides what is left to be consumed there.
    pub async fn sees(&self, topic: &str, queues: u32) -> Result<(), String> {
        self.route_is_complete(topic).await?;
        let seen = self.reader("operator").await.queues(topic).await.map_err(|error| error.to_string())?;
        match self.queues(topic, queues).iter().find(|queue| !seen.contains(queue)) {
            Some(missing) => Err(format!("{missing} is in no route that the operator has")),
            None => Ok(()),
        }
    }

    /// What is still to be consumed by a group in the topic's readable queues; notes what it saw.
    pub async fn lag(&self, group: &str, topic: &str) -> Result<u64, RequestError> {
        let reader = self.reader(group).await;
        let Ok(queues) = reader.queues(topic).await else { return Ok(0) };
        let history = self.recorder.history();
        let number = history.name(group);
        let mut lag = 0;
        for queue in &queues {
            let (min, max) = (reader.min_offset(queue).await?, reader.max_offset(queue).await?);
            let committed = reader.committed(queue).await?;
            let of = history.queue(queue);
            self.recorder.note(What::Bounds { queue: of, min, max });
            if let Some(offset) = committed {
                self.recorder.note(What::CommitObserved { group: number, queue: of, offset });
            }
            lag += max.0.saturating_sub(committed.unwrap_or(min).0);
        }
        Ok(lag)
    }

    /// Reads a queue from its first message to its end, and notes each one.
    pub async fn read_all(&self, queue: &MessageQueue) -> Result<Vec<MessageView>, RequestError> {
        let reader = self.reader("operator").await;
        let _ = reader.queues(&queue.topic).await;
        let history = self.recorder.history();
        let of = history.queue(queue);
        let mut at = reader.min_offset(queue).await?;
        let mut all = Vec::new();
        loop {
            let pulled = reader.pull(queue, at, PULL_MAX).await?;
            for message in &pulled.messages {
                let offset = message.offset();
                self.recorder.note(match MessageKey::read(message.body()) {
                    Ok((key, crc)) => What::Read { queue: of, offset, key, crc },
                    Err(_) => {
                        let len = u32::try_from(message.body().len()).unwrap_or(u32::MAX);
                        What::Damaged { queue: of, offset, len }
                    }
                });
            }
            all.extend(pulled.messages);
            let bounds = What::Bounds { queue: of, min: pulled.min, max: pulled.max };
            if pulled.next <= at || pulled.status == PullStatus::NothingNew {
                self.recorder.note(bounds);
                return Ok(all);
            }
            at = pulled.next;
        }
    }

    /// What may be read of a queue: from, up to.
    pub async fn bounds(&self, queue: &MessageQueue) -> Result<(QueueOffset, QueueOffset), RequestError> {
        let reader = self.reader("operator").await;
        Ok((reader.min_offset(queue).await?, reader.max_offset(queue).await?))
    }

    async fn route_is_complete(&self, topic: &str) -> Result<(), String> {
        for addr in &self.name_servers {
            let mut header = Header::request(RequestCode::GetRouteInfoByTopic);
            GetRoute { topic: topic.to_owned(), accept_standard_json_only: true }.encode(&mut header.ext);
            let answer = self.call(addr, header).await?;
            let route = TopicRoute::decode(&answer.body).map_err(|error| error.to_string())?;
            for (broker, _) in &self.brokers {
                if !route.queue_datas.iter().any(|queues| queues.broker_name == *broker) {
                    return Err(format!("{addr} does not know it on {broker}"));
                }
            }
        }
        Ok(())
    }

    async fn try_create(&self, topic: &str, queues: u32) -> Result<(), String> {
        let queues = i32::try_from(queues).map_err(|error| error.to_string())?;
        for (_, addr) in &self.brokers {
            let mut header = Header::request(RequestCode::UpdateAndCreateTopic);
            let create = CreateTopic {
                topic: topic.to_owned(),
                default_topic: Some(names::AUTO_CREATE_TOPIC.to_owned()),
                read_queue_nums: queues,
                write_queue_nums: queues,
                perm: 6,
                topic_filter_type: Some("SINGLE_TAG".to_owned()),
                ..CreateTopic::default()
            };
            create.encode(&mut header.ext);
            self.call(addr, header).await?;
        }
        Ok(())
    }

    async fn call(&self, addr: &str, header: Header) -> Result<Frame, String> {
        let answer = self.remoting.call(addr, header, Bytes::new(), REQUEST_MS).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.header.response_code() {
            Some(ResponseCode::Success) => Ok(answer),
            _ => Err(format!("{addr} says {}: {}", answer.header.code, answer.header.remark_text())),
        }
    }
}

/// Servers ask nothing of an operator.
struct Deaf;

impl Serve for Deaf {
    fn open(&self, _: &Arc<Connection>) -> Box<dyn Session> {
        Box::new(Deaf)
    }
}

impl Session for Deaf {
    fn on_frame(&mut self, _: Frame, _: &mut Replies) {}
}
