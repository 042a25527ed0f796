//! Client processes that do what services do, and note every step: producers, consumers, dealers in transactions.
//!
//! Each is the main of a node of its own: a kill ends it in the middle of whatever it does, a restart begins it anew,
//! with a new producer number and a new member of its group.
//!
//! Not here: what any of it should have come to.

use std::sync::Arc;

use staticfire::base::Draw;
use staticfire::client::Client;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::Decision;
use staticfire::client::Message;
use staticfire::client::MessageView;
use staticfire::client::OrderResult;
use staticfire::client::Producer;
use staticfire::client::PushConsumerBuilder;
use staticfire::client::ReceivedMessage;
use staticfire::client::SendError;
use staticfire::client::SendReceipt;
use staticfire::client::SendStatus;
use staticfire::client::TransactionListener;
use staticfire::env::BoxFuture;
use staticfire::env::Task;
use staticfire::sim::Node;
use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::cluster::Process;
use crate::history::Delivery;
use crate::history::Handled;
use crate::history::Intent;
use crate::history::Promise;
use crate::history::SendOutcome;
use crate::history::Verdict;
use crate::history::What;
use crate::identity::MessageKey;
use crate::identity::Sealed;

/// What a producer notes once it has nothing more to send.
pub const SENT_EVERYTHING: &str = "has sent everything";

/// What a producer sends: `messages` of each of `shards` keys, one after the other per key, the keys side by side.
#[derive(Clone, Debug)]
pub struct Load {
    pub topic: String,
    pub group: String,
    pub shards: u32,
    pub messages: u32,
    /// Milliseconds between two messages of a key: from, up to.
    pub pause_ms: (u64, u64),
    /// Bytes of a body: from, up to.
    pub body: (u64, u64),
}

impl Load {
    pub fn to(topic: &str) -> Load {
        Load {
            topic: topic.to_owned(),
            group: "producers".to_owned(),
            shards: 4,
            messages: 50,
            pause_ms: (1, 20),
            body: (30, 900),
        }
    }

    pub fn keys(mut self, shards: u32) -> Load {
        self.shards = shards;
        self
    }

    /// Messages of each key.
    pub fn messages(mut self, messages: u32) -> Load {
        self.messages = messages;
        self
    }

    pub fn pause_ms(mut self, from: u64, to: u64) -> Load {
        self.pause_ms = (from, to);
        self
    }
}

type Tune = dyn Fn(PushConsumerBuilder) -> PushConsumerBuilder + Send + Sync;

/// What a consumer does with a topic.
#[derive(Clone)]
pub struct Work {
    pub group: String,
    pub topic: String,
    pub orderly: bool,
    /// Milliseconds that a handler takes: from, up to.
    pub takes_ms: (u64, u64),
    tune: Arc<Tune>,
}

impl Work {
    pub fn of(group: &str, topic: &str) -> Work {
        Work {
            group: group.to_owned(),
            topic: topic.to_owned(),
            orderly: false,
            takes_ms: (0, 20),
            tune: Arc::new(|builder| builder),
        }
    }

    pub fn orderly(mut self) -> Work {
        self.orderly = true;
        self
    }

    pub fn takes_ms(mut self, from: u64, to: u64) -> Work {
        self.takes_ms = (from, to);
        self
    }

    /// Changes the consumer's settings, which are RocketMQ's otherwise.
    pub fn tune(
        mut self,
        tune: impl Fn(PushConsumerBuilder) -> PushConsumerBuilder + Send + Sync + 'static,
    ) -> Work {
        self.tune = Arc::new(tune);
        self
    }
}

/// How a dealer's listener ends its part, once the half message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executes {
    Decides(Verdict),
    /// It does not come to a decision: it hangs until its process ends.
    Hangs,
}

type Answer<T> = Arc<dyn Fn(MessageKey) -> T + Send + Sync>;

/// What a producer of transactions does.
#[derive(Clone)]
pub struct Deals {
    pub topic: String,
    pub group: String,
    pub messages: u32,
    executes: Answer<Executes>,
    answers: Answer<Verdict>,
}

impl Deals {
    /// One that commits everything.
    pub fn on(topic: &str, group: &str) -> Deals {
        Deals {
            topic: topic.to_owned(),
            group: group.to_owned(),
            messages: 0,
            executes: Arc::new(|_| Executes::Decides(Verdict::Commit)),
            answers: Arc::new(|_| Verdict::Commit),
        }
    }

    pub fn messages(mut self, messages: u32) -> Deals {
        self.messages = messages;
        self
    }

    pub fn executes(mut self, executes: impl Fn(MessageKey) -> Executes + Send + Sync + 'static) -> Deals {
        self.executes = Arc::new(executes);
        self
    }

    pub fn answers(mut self, answers: impl Fn(MessageKey) -> Verdict + Send + Sync + 'static) -> Deals {
        self.answers = Arc::new(answers);
        self
    }
}

impl Cluster {
    /// A process that sends, then stays.
    pub fn produce(&self, name: &str, load: Load) -> Node {
        let promise = self.promise();
        self.process(name, move |process| produce(process, load.clone(), promise))
    }

    /// A process that is a member of a consumer group.
    pub fn consume(&self, name: &str, work: Work) -> Node {
        self.process(name, move |process| consume(process, work.clone()))
    }

    /// A process that sends transactions, one after the other, and answers checks of its group.
    pub fn deal(&self, name: &str, deals: Deals) -> Node {
        let promise = self.promise();
        self.process(name, move |process| deal(process, deals.clone(), promise))
    }
}

impl Process {
    async fn start_client(&self) -> Client {
        self.client().start().await.expect("a client that has a name server starts")
    }

    fn seal(&self, key: MessageKey, bytes: (u64, u64)) -> Sealed {
        let draw = self.draw();
        let subject = (u64::from(key.producer) << 32) | u64::from(key.shard);
        let len = draw.range("len", subject, u64::from(key.seq), bytes.0, bytes.1);
        key.seal(draw, usize::try_from(len).unwrap_or(0))
    }

    fn draw(&self) -> Draw {
        self.history().world().draw().domain("actors")
    }

    fn note_invoked(&self, sealed: &Sealed, topic: &str, intent: Intent) {
        let len = u32::try_from(sealed.body.len()).unwrap_or(u32::MAX);
        let topic = self.history().name(topic);
        self.note(What::SendInvoked { key: sealed.key, topic, intent, len, crc: sealed.crc });
    }

    fn note_sent(&self) {
        self.note(What::Noted(self.history().name(SENT_EVERYTHING), 0));
    }

    /// Notes what a message is that a handler or a listener got; `None` for one that nobody sent.
    fn delivery(&self, group: &str, message: &MessageView) -> Option<Delivery> {
        let queue = self.history().queue(message.queue());
        let offset = message.offset();
        match MessageKey::read(message.body()) {
            Ok((key, _)) => {
                let group = self.history().name(group);
                Some(Delivery { group, key, queue, offset, attempt: message.reconsume_times() })
            }
            Err(_) => {
                let len = u32::try_from(message.body().len()).unwrap_or(u32::MAX);
                self.note(What::Damaged { queue, offset, len });
                None
            }
        }
    }
}

async fn produce(process: Process, load: Load, promise: Promise) {
    let client = process.start_client().await;
    let producer = client.producer(&load.group).start().await.expect("a producer starts");
    let producer = Arc::new(producer);
    let number = process.history().next_producer();
    let done = Arc::new(Semaphore::new(0));
    let senders: Vec<Task> = (0..load.shards)
        .map(|shard| {
            let sending =
                send_shard(process.clone(), load.clone(), Arc::clone(&producer), (number, shard), promise);
            let done = Arc::clone(&done);
            process.env.spawn("sender", async move {
                sending.await;
                done.add_permits(1);
            })
        })
        .collect();
    if let Ok(_all) = done.acquire_many(load.shards).await {
        process.note_sent();
    }
    process.stop.asked().await;
    drop(senders);
}

async fn send_shard(
    process: Process,
    load: Load,
    producer: Arc<Producer>,
    (number, shard): (u16, u32),
    promise: Promise,
) {
    for seq in 0..load.messages {
        let sealed = process.seal(MessageKey { producer: number, shard, seq }, load.body);
        process.note_invoked(&sealed, &load.topic, Intent::Plain);
        let message = Message::new(&load.topic, sealed.body.clone());
        let at = usize::try_from(shard).unwrap_or(0);
        let sent = producer.send_to(message, move |queues| at % queues.len().max(1)).await;
        let outcome = outcome(&process, &sent, promise);
        process.note(What::SendEnded { key: sealed.key, outcome });
        let (from, to) = load.pause_ms;
        let subject = (u64::from(number) << 32) | u64::from(shard);
        let pause = process.draw().range("pause", subject, u64::from(seq), from, to);
        process.env.sleep_ms(pause).await;
    }
}

/// What a send came to, in the words of a history.
pub fn outcome(process: &Process, sent: &Result<SendReceipt, SendError>, promise: Promise) -> SendOutcome {
    match sent {
        Ok(receipt) => {
            let (queue, offset) = (process.history().queue(&receipt.queue), receipt.offset);
            match receipt.status {
                SendStatus::Ok => SendOutcome::Ok { queue, offset, promise },
                SendStatus::FlushDiskTimeout
                | SendStatus::FlushSlaveTimeout
                | SendStatus::SlaveNotAvailable => SendOutcome::Weak { queue, offset },
            }
        }
        Err(error) if error.may_be_stored => SendOutcome::Info { attempts: error.attempts },
        Err(_) => SendOutcome::Fail,
    }
}

async fn consume(process: Process, work: Work) {
    let client = process.start_client().await;
    let builder = client.push_consumer(&work.group).subscribe(&work.topic, "*");
    let builder = (work.tune)(builder.consume_from(ConsumeFrom::First));
    let (own, of) = (process.clone(), work.clone());
    let builder = if work.orderly {
        builder.ordered_handler(move |messages| {
            let (process, work) = (own.clone(), of.clone());
            async move {
                handle(&process, &work, messages).await;
                OrderResult::Done
            }
        })
    } else {
        builder.handler(move |messages| {
            let (process, work) = (own.clone(), of.clone());
            async move {
                handle(&process, &work, messages).await;
                ConsumeResult::Done
            }
        })
    };
    let consumer = builder.start().await.expect("a consumer starts");
    let group = process.history().name(&work.group);
    process.note(What::MemberJoined { group });
    process.stop.asked().await;
    consumer.stop().await;
    process.note(What::MemberLeft { group });
}

async fn handle(process: &Process, work: &Work, messages: Vec<MessageView>) {
    for message in &messages {
        let Some(delivery) = process.delivery(&work.group, message) else { continue };
        process.note(What::HandlerStarted(delivery));
        let subject = (u64::from(delivery.queue.id.0) << 32) | u64::from(process.node().id().0);
        let (from, to) = work.takes_ms;
        let takes = process.draw().range("handler", subject, delivery.offset.0, from, to);
        process.env.sleep_ms(takes).await;
        process.note(What::HandlerEnded(delivery, Handled::Success));
    }
}

async fn deal(process: Process, deals: Deals, promise: Promise) {
    let client = process.start_client().await;
    let listener = Listener { process: process.clone(), deals: deals.clone() };
    let producer =
        client.producer(&deals.group).start_transactional(listener).await.expect("a producer starts");
    // A member that never sends is known to the brokers of the topics it has asked about, and to no other.
    while producer.producer().queues(&deals.topic).await.is_err() {
        process.env.sleep_ms(200).await;
    }
    process.note(What::MemberJoined { group: process.history().name(&deals.group) });
    let number = process.history().next_producer();
    for seq in 0..deals.messages {
        let sealed = process.seal(MessageKey { producer: number, shard: 0, seq }, (30, 300));
        process.note_invoked(&sealed, &deals.topic, Intent::Half);
        let sent = producer.send_in_transaction(Message::new(&deals.topic, sealed.body.clone())).await;
        let half = sent.map(|receipt| receipt.half);
        if let Ok(receipt) = &half {
            let queue = process.history().queue(&receipt.queue);
            process.note(What::HalfSent { key: sealed.key, queue, half_offset: receipt.offset });
        } else {
            process.note(What::SendEnded { key: sealed.key, outcome: outcome(&process, &half, promise) });
        }
    }
    process.note_sent();
    process.stop.asked().await;
    producer.stop().await;
}

/// Decides about transactions, and notes it.
struct Listener {
    process: Process,
    deals: Deals,
}

impl TransactionListener for Listener {
    fn execute<'a>(&'a self, message: &'a Message, _: &'a str) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let Ok((key, _)) = MessageKey::read(&message.body) else { return Decision::Unknown };
            self.process.note(What::Executing { key });
            match (self.deals.executes)(key) {
                Executes::Hangs => std::future::pending().await,
                Executes::Decides(verdict) => self.decide(key, verdict, false),
            }
        })
    }

    fn check<'a>(&'a self, message: &'a ReceivedMessage) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let Ok((key, _)) = MessageKey::read(&message.message.body) else { return Decision::Unknown };
            let group = self.process.history().name(&self.deals.group);
            self.process.note(What::CheckAsked { key, group });
            self.decide(key, (self.deals.answers)(key), true)
        })
    }
}

impl Listener {
    fn decide(&self, key: MessageKey, verdict: Verdict, asked: bool) -> Decision {
        self.process.note(What::Decision { key, verdict, asked });
        match verdict {
            Verdict::Commit => Decision::Commit,
            Verdict::Rollback => Decision::Rollback,
            Verdict::Unknown => Decision::Unknown,
        }
    }
}
