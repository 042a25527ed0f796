//! Which member of a group reads which queue. Pure functions: every member computes the same division alone.
//!
//! ```text
//! members   a   b   c             7 queues
//! AVG       012 34  56            contiguous, the first members get one more
//! CIRCLE    036 14  25            dealt one by one
//! CONFIG    what the caller named, if it exists
//! ```
//!
//! Laws: the shares of all members are a partition of the queues (for CONFIG as far as the names are); they depend on the
//! sets of members and queues alone, not on their order; under AVG and CIRCLE two shares differ by one queue at most. The
//! division is exactly RocketMQ's, so that members in other languages agree.
//!
//! Not here: when to divide, and how a queue is handed over ([`super::consume`]).

use std::collections::BTreeSet;

/// How queues are divided, by RocketMQ's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Division<Q> {
    /// `AVG`: contiguous ranges.
    #[default]
    Averagely,
    /// `AVG_BY_CIRCLE`: dealt in turn.
    ByCircle,
    /// `CONFIG`: these, whoever else is there.
    Config(Vec<Q>),
}

/// What changes for one member between two divisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<Q> {
    pub revoked: Vec<Q>,
    pub assigned: Vec<Q>,
}

impl<Q: Ord + Clone> Division<Q> {
    /// The share of `member`, sorted. Empty for one that is not in `members`: its view of the group is out of date, and
    /// taking any queue would take somebody else's.
    pub fn share(&self, member: &str, members: &[String], queues: &[Q]) -> Vec<Q> {
        let members: BTreeSet<&str> = members.iter().map(String::as_str).collect();
        let queues: BTreeSet<&Q> = queues.iter().collect();
        let Some(index) = members.iter().position(|other| *other == member) else { return Vec::new() };
        let chosen: Vec<&Q> = match self {
            Division::Averagely => {
                let (start, len) = average_range(queues.len(), members.len(), index);
                queues.into_iter().skip(start).take(len).collect()
            }
            Division::ByCircle => queues.into_iter().skip(index).step_by(members.len()).collect(),
            Division::Config(named) => {
                let named: BTreeSet<&Q> = named.iter().collect();
                queues.into_iter().filter(|queue| named.contains(queue)).collect()
            }
        };
        chosen.into_iter().cloned().collect()
    }
}

/// Start and length of the range of the `index`-th of `members`.
fn average_range(queues: usize, members: usize, index: usize) -> (usize, usize) {
    assert!(index < members, "a member has a place in its group");
    let (each, rest) = (queues / members, queues % members);
    if index < rest { (index * (each + 1), each + 1) } else { (index * each + rest, each) }
}

/// What a member must give up and take on to get from `held` to `share`.
pub fn change<Q: Ord + Clone>(held: &BTreeSet<Q>, share: &BTreeSet<Q>) -> Change<Q> {
    Change {
        revoked: held.difference(share).cloned().collect(),
        assigned: share.difference(held).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("member{n:02}")).collect()
    }

    fn shares(division: &Division<u32>, members: &[String], queues: &[u32]) -> Vec<Vec<u32>> {
        members.iter().map(|member| division.share(member, members, queues)).collect()
    }

    #[test]
    fn averagely_gives_ranges_and_circle_deals() {
        let (group, queues): (_, Vec<u32>) = (members(3), (0..7).collect());
        assert_eq!(shares(&Division::Averagely, &group, &queues), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(shares(&Division::ByCircle, &group, &queues), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    }

    #[test]
    fn members_beyond_the_queues_get_nothing() {
        let (group, queues): (_, Vec<u32>) = (members(4), vec![0, 1]);
        assert_eq!(shares(&Division::Averagely, &group, &queues), [vec![0], vec![1], vec![], vec![]]);
        assert_eq!(shares(&Division::ByCircle, &group, &queues), [vec![0], vec![1], vec![], vec![]]);
    }

    #[test]
    fn a_stranger_gets_nothing() {
        assert!(Division::Averagely.share("stranger", &members(2), &[1u32, 2]).is_empty());
        assert!(Division::Config(vec![1]).share("stranger", &members(2), &[1u32, 2]).is_empty());
    }

    #[test]
    fn config_takes_what_exists() {
        let group = members(2);
        assert_eq!(Division::Config(vec![2, 9]).share("member00", &group, &[1u32, 2]), [2]);
    }

    #[test]
    fn a_change_names_what_goes_and_what_comes() {
        let (held, share) = (BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4]));
        assert_eq!(change(&held, &share), Change { revoked: vec![1], assigned: vec![4] });
    }

    /// `AllocateMessageQueueAveragely.allocate`, index by index, as an independent statement of the same division.
    fn averagely_as_java_writes_it(queues: usize, members: usize, index: usize) -> Vec<u32> {
        let rest = queues % members;
        let average = match () {
            () if queues <= members => 1,
            () if rest > 0 && index < rest => queues / members + 1,
            () => queues / members,
        };
        let start = if rest > 0 && index < rest { index * average } else { index * average + rest };
        let range = average.min(queues.saturating_sub(start));
        (0..range).map(|n| ((start + n) % queues) as u32).collect()
    }

    proptest! {
        #[test]
        fn shares_partition_the_queues_whatever_their_order(
            queues in proptest::collection::btree_set(0u32..200, 0..40),
            count in 1usize..12,
            rotate in 0usize..40,
            circle in any::<bool>(),
        ) {
            let division = if circle { Division::ByCircle } else { Division::Averagely };
            let (mut group, mut list) = (members(count), queues.iter().copied().collect::<Vec<_>>());
            let all = shares(&division, &group, &list);
            let mut joined: Vec<u32> = all.iter().flatten().copied().collect();
            joined.sort_unstable();
            prop_assert_eq!(&joined, &list);
            let sizes = all.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
            let by_member: Vec<_> = group.iter().cloned().zip(all).collect();
            group.rotate_left(rotate % count);
            if !list.is_empty() {
                let by = rotate % list.len();
                list.rotate_left(by);
            }
            for (member, share) in by_member {
                prop_assert_eq!(division.share(&member, &group, &list), share);
            }
        }

        #[test]
        fn averagely_is_the_division_of_java(queues in 1usize..60, count in 1usize..20) {
            let list: Vec<u32> = (0..queues as u32).collect();
            for (index, share) in shares(&Division::Averagely, &members(count), &list).into_iter().enumerate() {
                prop_assert_eq!(share, averagely_as_java_writes_it(queues, count, index));
            }
        }
    }
}
