//! Stories: one rule each. Law: random messages, reads, failures, clock jumps and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

fn at(offset: u64) -> QueueOffset {
    QueueOffset(offset)
}

fn unit(offset: u64, deliver_at: i64) -> Unit {
    Unit {
        offset: at(offset),
        physical: PhysicalOffset(offset * 100),
        size: 100,
        deliver_at: Timestamp(deliver_at),
    }
}

fn one_level(limits: DelayLimits) -> Delay {
    Delay::new(Levels::parse("10s").unwrap(), limits)
}

fn delivered(effects: &mut Vec<Effect>) -> Vec<u64> {
    let deliver = |effect| match effect {
        Effect::Deliver { unit, .. } => Some(unit.offset.0),
        Effect::Read { .. } => None,
    };
    effects.drain(..).filter_map(deliver).collect()
}

#[test]
fn a_message_is_delivered_at_its_time_never_before_it() {
    let (mut delay, mut effects) = (one_level(DelayLimits::default()), Vec::new());
    delay.on_extended(1, at(0), at(1), &mut effects);
    assert_eq!(effects, [Effect::Read { level: 1, from: at(0), max: 4096 }]);
    effects.clear();
    delay.on_read(ms(2_000), Timestamp(1_002_000), 1, &[unit(0, 1_010_000)], at(1), &mut effects);
    assert_eq!(delay.next_deadline(), Some(ms(10_000)));
    delay.on_timer(ms(9_999), &mut effects);
    assert_eq!(effects, []);
    delay.on_timer(ms(10_000), &mut effects);
    assert_eq!(effects, [Effect::Deliver { level: 1, unit: unit(0, 1_010_000) }]);
    assert_eq!(delay.cursor(1), Some(at(0)), "it is not delivered yet");
    delay.on_delivered(ms(10_000), 1, at(0), &mut effects);
    assert_eq!((delay.cursor(1), delay.next_deadline()), (Some(at(1)), None));
}

#[test]
fn a_clock_set_back_does_not_stall_a_level() {
    let (mut delay, mut effects) = (one_level(DelayLimits::default()), Vec::new());
    delay.on_extended(1, at(0), at(1), &mut effects);
    // Stored by a clock a day ahead of today's.
    delay.on_read(ms(0), Timestamp(0), 1, &[unit(0, 86_400_000)], at(1), &mut effects);
    delay.on_timer(ms(9_999), &mut effects);
    assert!(delivered(&mut effects).is_empty());
    delay.on_timer(ms(10_000), &mut effects);
    assert_eq!(delivered(&mut effects), [0]);
}

#[test]
fn deliveries_start_in_order_and_the_cursor_waits_for_the_least() {
    let (mut delay, mut effects) = (one_level(DelayLimits::default()), Vec::new());
    delay.on_extended(1, at(0), at(3), &mut effects);
    // The second is due first: the clock was set back between them.
    let units = [unit(0, 5_000), unit(1, 1_000), unit(2, 6_000)];
    delay.on_read(ms(0), Timestamp(0), 1, &units, at(3), &mut effects);
    delay.on_timer(ms(4_999), &mut effects);
    assert!(delivered(&mut effects).is_empty());
    delay.on_timer(ms(5_000), &mut effects);
    assert_eq!(delivered(&mut effects), [0, 1]);
    delay.on_delivered(ms(5_000), 1, at(1), &mut effects);
    assert_eq!(delay.cursor(1), Some(at(0)));
    delay.on_failed(ms(5_000), 1, at(0));
    delay.on_timer(ms(5_099), &mut effects);
    assert!(delivered(&mut effects).is_empty(), "not at once");
    delay.on_timer(ms(6_000), &mut effects);
    assert_eq!(delivered(&mut effects), [0, 2], "the failed one goes first");
    delay.on_delivered(ms(6_000), 1, at(0), &mut effects);
    assert_eq!(delay.cursor(1), Some(at(2)));
}

#[test]
fn what_retention_took_is_skipped() {
    let mut table = DelayTable::default();
    table.offset_table.insert(1, 3);
    let levels = Levels::parse("10s").unwrap();
    let (mut delay, mut effects) = (Delay::replay(levels, DelayLimits::default(), &table), Vec::new());
    delay.on_extended(1, at(10), at(12), &mut effects);
    assert_eq!(effects, [Effect::Read { level: 1, from: at(10), max: 4096 }]);
    effects.clear();
    delay.on_read(ms(0), Timestamp(0), 1, &[unit(11, 0)], at(12), &mut effects);
    assert_eq!(delivered(&mut effects), [11]);
    delay.on_delivered(ms(0), 1, at(11), &mut effects);
    assert_eq!(delay.cursor(1), Some(at(12)));
}

#[test]
fn a_cursor_beyond_a_log_that_lost_its_tail_is_cut_back() {
    let mut table = DelayTable::default();
    table.offset_table.extend([(1, 30), (2, -1), (3, 5), (99, 7)]);
    let levels = Levels::parse("10s 20s 30s").unwrap();
    let (mut delay, mut effects) = (Delay::replay(levels, DelayLimits::default(), &table), Vec::new());
    delay.cut(3, at(9));
    assert!(!delay.is_dirty());
    delay.cut(1, at(20));
    assert!(delay.is_dirty(), "to be written down before a message gets a lost one's offset");
    assert_eq!((delay.cursor(1), delay.cursor(2), delay.cursor(99)), (Some(at(20)), Some(at(0)), None));
    assert_eq!(delay.cursor(3), Some(at(5)), "what was not delivered still is to be");
    // Messages may have come before anybody looked at the queue.
    delay.on_extended(1, at(0), at(31), &mut effects);
    assert_eq!(
        effects,
        [Effect::Read { level: 1, from: at(20), max: 4096 }],
        "none of the new ones is skipped"
    );
    delay.check_invariants();
}

#[test]
fn a_cursor_into_a_queue_that_is_gone_begins_again() {
    let mut table = DelayTable::default();
    table.offset_table.insert(1, 3);
    let levels = Levels::parse("10s").unwrap();
    let (mut delay, mut effects) = (Delay::replay(levels, DelayLimits::default(), &table), Vec::new());
    delay.cut(1, at(0));
    delay.on_extended(1, at(0), at(1), &mut effects);
    assert_eq!(effects, [Effect::Read { level: 1, from: at(0), max: 4096 }]);
}

#[test]
fn a_read_that_finds_nothing_is_not_repeated_for_ever() {
    let (mut delay, mut effects) = (one_level(DelayLimits::default()), Vec::new());
    delay.on_extended(1, at(0), at(1), &mut effects);
    effects.clear();
    delay.on_read(ms(0), Timestamp(0), 1, &[], at(0), &mut effects);
    assert_eq!(effects, []);
    delay.on_extended(1, at(0), at(2), &mut effects);
    assert_eq!(effects.len(), 1, "the next append asks again");
}

#[test]
fn the_file_is_rocketmqs() {
    let (mut delay, mut effects) = (one_level(DelayLimits::default()), Vec::new());
    delay.on_extended(1, at(0), at(1), &mut effects);
    delay.on_read(ms(0), Timestamp(0), 1, &[unit(0, 0)], at(1), &mut effects);
    assert!(!delay.is_dirty());
    delay.on_delivered(ms(0), 1, at(0), &mut effects);
    assert!(delay.is_dirty());
    let (table, changes) = delay.snapshot();
    assert_eq!(serde_json::to_string(&table).unwrap(), r#"{"offsetTable":{"1":1}}"#);
    delay.on_persisted(changes);
    assert!(!delay.is_dirty());
}

#[derive(Clone, Debug)]
enum Step {
    Store,
    Land { index: usize, fails: bool },
    Wait { ms: u64 },
    JumpWall { ms: i64 },
    Persist,
    Crash { landed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Store),
        8 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(index, fails)| Step::Land { index, fails }),
        4 => (0..6_000u64).prop_map(|ms| Step::Wait { ms }),
        1 => (-100_000..100_000i64).prop_map(|ms| Step::JumpWall { ms }),
        1 => Just(Step::Persist),
        1 => any::<u64>().prop_map(|landed| Step::Crash { landed }),
    ]
}

/// One level's queue, the messages delivered from it, and both clocks.
struct World {
    delay: Delay,
    now: u64,
    wall: i64,
    /// By offset: deliver time by the wall clock, and when it was stored by the true one.
    queue: Vec<(i64, u64)>,
    flights: Vec<Effect>,
    deliveries: BTreeMap<u64, u32>,
    persisted: DelayTable,
    crashes: u32,
    /// A jump or a crash makes the true waiting time of what was stored before it unknowable.
    disturbed_at: Option<u64>,
}

const LIMITS: DelayLimits =
    DelayLimits { window_max: 4, in_flight_max: 2, retry_after: Duration::from_millis(100) };

impl World {
    fn run(&mut self, step: Step) {
        let mut effects = Vec::new();
        match step {
            Step::Store => {
                self.queue.push((self.wall + 10_000, self.now));
                self.delay.on_extended(1, at(0), at(self.queue.len() as u64), &mut effects);
            }
            Step::Land { index, fails } => {
                if !self.flights.is_empty() {
                    let flight = self.flights.remove(index % self.flights.len());
                    self.land(flight, fails, &mut effects);
                }
            }
            Step::Wait { ms: span } => {
                self.now += span;
                self.wall += span as i64;
                self.delay.on_timer(ms(self.now), &mut effects);
            }
            Step::JumpWall { ms } => {
                self.wall += ms;
                self.disturbed_at = Some(self.now);
            }
            Step::Persist => self.persisted = self.delay.snapshot().0,
            Step::Crash { landed } => self.crash(landed, &mut effects),
        }
        self.flights.extend(effects);
        self.delay.check_invariants();
        let undelivered = (0..self.queue.len() as u64).find(|offset| !self.deliveries.contains_key(offset));
        let least = undelivered.unwrap_or(self.queue.len() as u64);
        assert!(self.delay.cursor(1).unwrap() <= at(least), "a cursor does not pass what is undelivered");
    }

    fn land(&mut self, flight: Effect, fails: bool, effects: &mut Vec<Effect>) {
        match flight {
            Effect::Read { from, max, .. } => {
                let end = self.queue.len().min(from.0 as usize + max);
                let units: Vec<Unit> =
                    (from.0..end as u64).map(|offset| unit(offset, self.queue[offset as usize].0)).collect();
                let wall = Timestamp(self.wall);
                self.delay.on_read(ms(self.now), wall, 1, &units, at(end as u64), effects);
            }
            Effect::Deliver { unit, .. } if fails => self.delay.on_failed(ms(self.now), 1, unit.offset),
            Effect::Deliver { unit, .. } => {
                self.deliver(unit.offset.0);
                self.delay.on_delivered(ms(self.now), 1, unit.offset, effects);
            }
        }
    }

    fn deliver(&mut self, offset: u64) {
        let (_, stored) = self.queue[offset as usize];
        let knowable = self.disturbed_at.is_none_or(|at| at < stored);
        assert!(!knowable || self.now >= stored + 10_000, "delivered before its time");
        *self.deliveries.entry(offset).or_default() += 1;
    }

    fn crash(&mut self, mut landed: u64, effects: &mut Vec<Effect>) {
        self.crashes += 1;
        for flight in std::mem::take(&mut self.flights) {
            if let (Effect::Deliver { unit, .. }, 1) = (flight, landed & 1) {
                self.deliver(unit.offset.0);
            }
            landed >>= 1;
        }
        self.delay = Delay::replay(Levels::parse("10s").unwrap(), LIMITS, &self.persisted);
        self.delay.cut(1, at(self.queue.len() as u64));
        self.delay.on_extended(1, at(0), at(self.queue.len() as u64), effects);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_early_each_at_least_once_and_once_without_a_crash(
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut world = World {
            delay: one_level(LIMITS),
            now: 0,
            wall: 1_000_000,
            queue: Vec::new(),
            flights: Vec::new(),
            deliveries: BTreeMap::new(),
            persisted: DelayTable::default(),
            crashes: 0,
            disturbed_at: None,
        };
        steps.into_iter().for_each(|step| world.run(step));
        // No more trouble: everything drains within a level's delay for each window.
        for _ in 0..2 * world.queue.len() + 1 {
            world.run(Step::Wait { ms: 10_000 });
            while !world.flights.is_empty() {
                world.run(Step::Land { index: 0, fails: false });
            }
        }
        let end = world.queue.len() as u64;
        prop_assert_eq!(world.delay.cursor(1), Some(at(end)));
        prop_assert_eq!(world.deliveries.len() as u64, end, "each at least once");
        prop_assert!(world.deliveries.values().all(|count| *count <= 1 + world.crashes));
        prop_assert_eq!(world.delay.next_deadline(), None);
    }
}
