//! Histories made by hand, to be told in a few lines. Times are milliseconds.
//!
//! One broker, one topic with one queue, one group of two members. Faults end at 100 s, the brokers restart at 200 s.

use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire_chaos::history::Delivery;
use staticfire_chaos::history::Event;
use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::Record;
use staticfire_chaos::history::SendOutcome;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Contract;
use super::Group;
use super::Rotten;
use super::Verdict;

const NAMES: [&str; 12] = [
    "world",
    "broker-a",
    "producer-1",
    "consumer-1",
    "consumer-2",
    "operator",
    "plain",
    "g",
    "%RETRY%g",
    "%DLQ%g",
    "discarded",
    "producer-2",
];
pub(crate) const BROKER: Name = Name(1);
pub(crate) const PRODUCER: Name = Name(2);
pub(crate) const ONE: Name = Name(3);
pub(crate) const TWO: Name = Name(4);
pub(crate) const OPERATOR: Name = Name(5);
pub(crate) const TOPIC: Name = Name(6);
pub(crate) const GROUP: Name = Name(7);
pub(crate) const RETRY: Name = Name(8);
pub(crate) const DEAD: Name = Name(9);
pub(crate) const DISCARD: Name = Name(10);

pub(crate) struct Tale {
    record: Record,
    contract: Contract,
}

pub(crate) fn key(seq: u32) -> MessageKey {
    MessageKey { producer: 1, shard: 1, seq }
}

pub(crate) fn queue_of(topic: Name) -> Queue {
    Queue { topic, broker: BROKER, id: QueueId(0) }
}

impl Tale {
    pub(crate) fn new(promise: Promise) -> Tale {
        let group = Group { name: GROUP, topic: TOPIC, retry: RETRY, dead: DEAD, ordered: false, retries: 2 };
        let record =
            Record { names: NAMES.map(str::to_owned).to_vec(), events: Vec::new(), faults: Vec::new() };
        let contract = Contract {
            promise,
            groups: vec![group],
            discard: DISCARD,
            checks_max: 3,
            retry_ns: vec![1_000_000_000, 2_000_000_000],
            attempts_max: 3,
            healed_at: 100_000_000_000,
            second_look_at: 200_000_000_000,
            not_live: None,
            only_crashes: false,
            rotten: Vec::new(),
            files: Vec::new(),
        };
        Tale { record, contract }
    }

    /// As [`Tale::new`] with a group that consumes in order.
    pub(crate) fn ordered() -> Tale {
        let mut tale = Tale::new(Promise::Disk);
        tale.contract.groups[0].ordered = true;
        tale
    }

    pub(crate) fn contract(&mut self) -> &mut Contract {
        &mut self.contract
    }

    /// Gives a name the next number, 12 the first time.
    pub(crate) fn name(&mut self, text: &str) {
        self.record.names.push(text.to_owned());
    }

    pub(crate) fn at(&mut self, ms: u64, node: Name, what: What) {
        self.in_life(ms, node, 1, what);
    }

    pub(crate) fn in_life(&mut self, ms: u64, node: Name, life: u32, what: What) {
        self.record.events.push(Event { at: ms * 1_000_000, node, life, what });
    }

    pub(crate) fn invoked(&mut self, ms: u64, seq: u32, intent: Intent) {
        let what = What::SendInvoked { key: key(seq), topic: TOPIC, intent, len: 100, crc: seq };
        self.at(ms, PRODUCER, what);
    }

    pub(crate) fn ended(&mut self, ms: u64, seq: u32, outcome: SendOutcome) {
        self.at(ms, PRODUCER, What::SendEnded { key: key(seq), outcome });
    }

    /// Sent, and acknowledged a millisecond later.
    pub(crate) fn sent(&mut self, ms: u64, seq: u32, offset: u64) {
        self.invoked(ms, seq, Intent::Plain);
        self.acked(ms + 1, seq, offset);
    }

    pub(crate) fn acked(&mut self, ms: u64, seq: u32, offset: u64) {
        let (queue, promise) = (queue_of(TOPIC), self.contract.promise);
        self.ended(ms, seq, SendOutcome::Ok { queue, offset: QueueOffset(offset), promise });
    }

    pub(crate) fn delivery(topic: Name, seq: u32, offset: u64, attempt: u32) -> Delivery {
        let (queue, offset) = (queue_of(topic), QueueOffset(offset));
        Delivery { group: GROUP, key: key(seq), queue, offset, attempt }
    }

    pub(crate) fn started(&mut self, ms: u64, node: Name, seq: u32, offset: u64) {
        self.at(ms, node, What::HandlerStarted(Tale::delivery(TOPIC, seq, offset, 0)));
    }

    pub(crate) fn done(&mut self, ms: u64, node: Name, seq: u32, offset: u64) {
        self.at(ms, node, What::HandlerEnded(Tale::delivery(TOPIC, seq, offset, 0), Handled::Success));
    }

    /// Handled by the first member within ten milliseconds.
    pub(crate) fn handled(&mut self, ms: u64, seq: u32, offset: u64) {
        self.started(ms, ONE, seq, offset);
        self.done(ms + 10, ONE, seq, offset);
    }

    /// Failed at the first member, in the topic or the retry topic.
    pub(crate) fn failed(&mut self, ms: u64, topic: Name, seq: u32, offset: u64, attempt: u32) {
        let delivery = Tale::delivery(topic, seq, offset, attempt);
        self.at(ms, ONE, What::HandlerStarted(delivery));
        self.at(ms + 10, ONE, What::HandlerEnded(delivery, Handled::Later));
    }

    pub(crate) fn read(&mut self, ms: u64, topic: Name, seq: u32, offset: u64) {
        let (queue, offset) = (queue_of(topic), QueueOffset(offset));
        self.at(ms, OPERATOR, What::Read { queue, offset, key: key(seq), crc: seq });
    }

    /// Read in both looks.
    pub(crate) fn there(&mut self, topic: Name, seq: u32, offset: u64) {
        self.read(150_000, topic, seq, offset);
        self.read(250_000, topic, seq, offset);
    }

    pub(crate) fn committed(&mut self, ms: u64, offset: u64) {
        let (queue, offset) = (queue_of(TOPIC), QueueOffset(offset));
        self.at(ms, OPERATOR, What::CommitObserved { group: GROUP, queue, offset });
    }

    pub(crate) fn bounds(&mut self, ms: u64, min: u64, max: u64) {
        let queue = queue_of(TOPIC);
        self.at(ms, OPERATOR, What::Bounds { queue, min: QueueOffset(min), max: QueueOffset(max) });
    }

    pub(crate) fn fault(&mut self, ms: u64, node: Name, text: &str) {
        let number = u32::try_from(self.record.faults.len()).unwrap();
        self.record.faults.push((node, text.to_owned()));
        self.in_life(ms, Name(0), 0, What::FaultStarted(number));
    }

    pub(crate) fn healed(&mut self, ms: u64, node: Name, number: u32) {
        self.in_life(ms, node, 0, What::FaultHealed(number));
    }

    /// A byte of the stored message changed on the broker's disk.
    pub(crate) fn rots(&mut self, ms: u64, seq: u32, offset: u64) {
        let entry = u32::try_from(self.record.faults.len()).unwrap();
        self.fault(ms, BROKER, "Rot { path: \"commitlog\", offset: 1, len: 1 }");
        self.contract.rotten.push(Rotten { queue: queue_of(TOPIC), offset, key: key(seq), entry });
    }

    pub(crate) fn end(mut self) -> Case {
        self.record.events.sort_by_key(|event| event.at);
        Case::new(self.record, self.contract)
    }

    pub(crate) fn judge(self, judge: fn(&Case) -> Verdict) -> Verdict {
        judge(&self.end())
    }

    #[track_caller]
    pub(crate) fn rejected(self, judge: fn(&Case) -> Verdict) {
        let verdict = self.judge(judge);
        assert!(verdict.premises > 0 && !verdict.violations.is_empty(), "must be rejected: {verdict:?}");
    }

    #[track_caller]
    pub(crate) fn accepted(self, judge: fn(&Case) -> Verdict) {
        let verdict = self.judge(judge);
        let fine = verdict.premises > 0 && verdict.violations.is_empty() && verdict.excused.is_empty();
        assert!(fine, "must be accepted: {verdict:?}");
    }

    #[track_caller]
    pub(crate) fn excused(self, judge: fn(&Case) -> Verdict) {
        let verdict = self.judge(judge);
        assert!(verdict.violations.is_empty() && !verdict.excused.is_empty(), "must be excused: {verdict:?}");
    }
}
