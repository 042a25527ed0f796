//! Stories: one rule each. Law: random commits, resets, cuts and restarts against the one number they come to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const QUEUE: QueueId = QueueId(0);
const END: QueueOffset = QueueOffset(1000);

fn at(offset: u64) -> QueueOffset {
    QueueOffset(offset)
}

#[test]
fn a_late_smaller_commit_changes_nothing() {
    let mut offsets = Offsets::new();
    assert_eq!(offsets.query("g", "t", QUEUE), None);
    assert_eq!(offsets.commit("g", "t", QUEUE, at(10), END), Commit::Advanced);
    assert_eq!(offsets.commit("g", "t", QUEUE, at(10), END), Commit::Same);
    assert_eq!(offsets.commit("g", "t", QUEUE, at(9), END), Commit::Behind { committed: at(10) });
    assert_eq!(offsets.query("g", "t", QUEUE), Some(at(10)));
}

#[test]
fn nobody_can_have_consumed_what_is_not_there() {
    let mut offsets = Offsets::new();
    assert_eq!(offsets.commit("g", "t", QUEUE, at(11), at(10)), Commit::Beyond { end: at(10) });
    assert_eq!(offsets.query("g", "t", QUEUE), None);
    assert_eq!(offsets.commit("g", "t", QUEUE, at(10), at(10)), Commit::Advanced);
}

#[test]
fn a_reset_wins_over_commits_sent_before_it_was_known() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(100), END);
    offsets.reset("g", "t", QUEUE, at(40));
    assert_eq!(offsets.commit("g", "t", QUEUE, at(110), END), Commit::Fenced { reset_to: at(40) });
    assert_eq!(offsets.on_pull("g", "t", QUEUE, at(110)), Some(at(40)), "the member is told");
    assert_eq!(offsets.commit("g", "t", QUEUE, at(120), END), Commit::Fenced { reset_to: at(40) });
    assert_eq!(offsets.on_pull("g", "t", QUEUE, at(40)), None, "it has gone back");
    assert_eq!(offsets.commit("g", "t", QUEUE, at(41), END), Commit::Advanced);
    assert_eq!(offsets.on_pull("g", "t", QUEUE, at(500)), None);
}

#[test]
fn a_restart_does_not_let_a_late_commit_win_over_a_reset() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(100), END);
    offsets.reset("g", "t", QUEUE, at(40));
    let mut offsets = Offsets::replay(&offsets.snapshot().0);
    assert_eq!(offsets.commit("g", "t", QUEUE, at(110), END), Commit::Fenced { reset_to: at(40) });
}

#[test]
fn a_log_that_lost_its_tail_takes_the_offsets_back_with_it() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(100), END);
    offsets.commit("h", "t", QUEUE, at(70), END);
    offsets.cut("t", QUEUE, at(80));
    assert_eq!(offsets.query("g", "t", QUEUE), Some(at(80)));
    assert_eq!(offsets.query("h", "t", QUEUE), Some(at(70)));
}

#[test]
fn a_deleted_topic_leaves_its_group_the_others() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(1), END);
    offsets.reset("g", "t", QueueId(1), at(1));
    offsets.commit("g", "u", QUEUE, at(2), END);
    offsets.commit("h", "t", QUEUE, at(3), END);
    offsets.delete_topic("t");
    assert_eq!((offsets.topics_of("g"), offsets.topics_of("h")), (vec!["u".to_owned()], vec![]));
    offsets.delete_group("g");
    assert_eq!(offsets.query("g", "u", QUEUE), None);
    offsets.check_invariants();
}

#[test]
fn the_file_is_rocketmqs() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(12), END);
    offsets.commit("g", "%RETRY%g", QueueId(1), at(9), END);
    let text = serde_json::to_string(&offsets.snapshot().0).unwrap();
    assert_eq!(text, r#"{"offsetTable":{"%RETRY%g@g":{"1":9},"t@g":{"0":12}}}"#);
    let odd = r#"{"dataVersion":{},"offsetTable":{"no group":{"0":1},"t@g":{"0":-1,"2":7}}}"#;
    let replayed = Offsets::replay(&serde_json::from_str(odd).unwrap());
    assert_eq!(replayed.queues_of("g", "t"), [(QueueId(2), at(7))]);
    assert!(!replayed.is_dirty());
}

#[test]
fn only_what_no_file_has_is_dirty() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(1), END);
    let (_, changes) = offsets.snapshot();
    offsets.commit("g", "t", QUEUE, at(2), END);
    offsets.on_persisted(changes);
    assert!(offsets.is_dirty(), "the second commit came after the snapshot");
    offsets.on_persisted(offsets.snapshot().1);
    assert!(!offsets.is_dirty());
    offsets.commit("g", "t", QUEUE, at(1), END);
    assert!(!offsets.is_dirty(), "a refused commit is no change");
}

#[test]
fn a_cloned_group_starts_where_the_other_is() {
    let mut offsets = Offsets::new();
    offsets.commit("g", "t", QUEUE, at(5), END);
    offsets.commit("g", "u", QUEUE, at(6), END);
    offsets.clone_group("g", "h", Some("u"));
    assert_eq!((offsets.query("h", "t", QUEUE), offsets.query("h", "u", QUEUE)), (None, Some(at(6))));
    assert_eq!(offsets.groups_of("u"), ["g", "h"]);
}

#[derive(Clone, Debug)]
enum Step {
    Commit(u64),
    Reset(u64),
    Pull(u64),
    Cut(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..30u64).prop_map(Step::Commit),
        1 => (0..20u64).prop_map(Step::Reset),
        3 => (0..20u64).prop_map(Step::Pull),
        1 => (0..20u64).prop_map(Step::Cut),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn offsets_move_forward_but_for_a_reset_or_a_cut(
        steps in proptest::collection::vec((0..2u32, step()), 0..100),
    ) {
        let mut offsets = Offsets::new();
        // Queue → committed, and the reset that is waiting.
        let mut model: BTreeMap<u32, (Option<u64>, bool)> = BTreeMap::new();
        for (queue, step) in steps {
            let (committed, fenced) = model.entry(queue).or_default();
            let id = QueueId(queue);
            match step {
                Step::Commit(offset) => {
                    let outcome = offsets.commit("g", "t", id, at(offset), at(20));
                    let accepted = !*fenced && offset <= 20 && committed.is_none_or(|before| before < offset);
                    prop_assert_eq!(outcome == Commit::Advanced, accepted);
                    if accepted {
                        *committed = Some(offset);
                    }
                }
                Step::Reset(offset) => {
                    offsets.reset("g", "t", id, at(offset));
                    (*committed, *fenced) = (Some(offset), true);
                }
                Step::Pull(from) => {
                    let told = offsets.on_pull("g", "t", id, at(from));
                    let elsewhere = *fenced && *committed != Some(from);
                    prop_assert_eq!(told.map(|to| to.0), committed.filter(|_| elsewhere));
                    *fenced = elsewhere;
                }
                Step::Cut(end) => {
                    offsets.cut("t", id, at(end));
                    *committed = committed.map(|before| before.min(end));
                }
                Step::Restart => offsets = Offsets::replay(&offsets.snapshot().0),
            }
            offsets.check_invariants();
            for (queue, (committed, _)) in &model {
                let query = offsets.query("g", "t", QueueId(*queue));
                prop_assert_eq!(query.map(|offset| offset.0), *committed);
            }
        }
    }
}
