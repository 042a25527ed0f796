//! When a run is over: everything was sent, nothing happens any more, nobody lags behind, and what failed came back.
//!
//! What rotted before its next attempt does not come back: nobody can read it. Whether that was legal is `oracle::o01`'s to
//! say; here it only must not be waited for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use staticfire::protocol::names;
use staticfire_chaos::cluster::Cluster;
use staticfire_chaos::history::Event;
use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;
use staticfire_chaos::operator::wait_until;

use crate::workload::RETRIES;
use crate::workload::Site;
use crate::workload::TOPICS;

/// How long everything may take to drain once nothing breaks any more: the longest single wait is the two minutes that
/// a wall clock may have been set forward, then the check of a half, then the retries.
const LIMIT: Duration = Duration::from_secs(300);
/// Nothing may happen for so long before a run counts as settled: longer than any retry's delay.
const QUIET: Duration = Duration::from_secs(8);

/// Waits until nothing is left to do. Says what is, if it takes too long.
pub(super) async fn settle(cluster: &Cluster, site: &Site, rotten: &BTreeSet<MessageKey>) -> Option<String> {
    let world = cluster.world();
    let started = world.now();
    let settled = wait_until(world, "the run to settle", LIMIT, async || {
        let left = site.left();
        if left > 0 {
            return Err(format!("{left} messages were not sent"));
        }
        let quiet = world.now().saturating_sub(last_activity(cluster).max(started));
        if quiet < QUIET {
            world.sleep(QUIET.saturating_sub(quiet)).await;
            return Err("something happens all the time".to_owned());
        }
        if let Some(pending) = pending(cluster, rotten) {
            world.sleep(Duration::from_secs(2)).await;
            return Err(pending);
        }
        for (topic, group, _) in TOPICS {
            cluster.operator().sees(topic, site.plan.queues).await?;
            for topic in [topic.to_owned(), names::retry_topic(group)] {
                match cluster.operator().lag(group, &topic).await {
                    Ok(0) => {}
                    Ok(lag) => return Err(format!("group {group} lags {lag} messages behind in {topic}")),
                    Err(error) => return Err(format!("no offsets of group {group}: {error}")),
                }
            }
        }
        Ok(())
    });
    settled.await.err().map(|error| error.to_string())
}

/// When a client last did or got something.
fn last_activity(cluster: &Cluster) -> Duration {
    let at = cluster.history().with_events(|events| {
        let act = events.iter().rev().find(|event| {
            matches!(
                event.what,
                What::SendInvoked { .. }
                    | What::SendEnded { .. }
                    | What::HandlerStarted(_)
                    | What::HandlerEnded(..)
                    | What::CheckAsked { .. }
            )
        });
        act.map_or(0, |event| event.at)
    });
    Duration::from_nanos(at)
}

/// A message that has to come back, if the brokers' memory cannot have been lost: then nobody knows whether it has to.
fn pending(cluster: &Cluster, rotten: &BTreeSet<MessageKey>) -> Option<String> {
    if cluster.promise() == Promise::Memory {
        return None;
    }
    let (key, at) = cluster.history().with_events(|events| to_come_back(events, rotten))?;
    Some(format!("{key} failed at {:?} and did not come back", Duration::from_nanos(at)))
}

/// A message whose last attempt failed and was not the last one allowed, and when it ended.
fn to_come_back(events: &[Event], rotten: &BTreeSet<MessageKey>) -> Option<(MessageKey, u64)> {
    let mut waiting = BTreeMap::new();
    let mut done = BTreeSet::new();
    for event in events {
        match event.what {
            What::HandlerStarted(delivery) => {
                waiting.remove(&(delivery.group, delivery.key));
            }
            // A dead letter is settled, too.
            What::HandlerEnded(delivery, how) if how == Handled::Success || delivery.attempt >= RETRIES => {
                done.insert((delivery.group, delivery.key));
                waiting.remove(&(delivery.group, delivery.key));
            }
            // A member that lost the queue does not send back what the next one has settled.
            What::HandlerEnded(delivery, _) if !done.contains(&(delivery.group, delivery.key)) => {
                waiting.insert((delivery.group, delivery.key), event.at);
            }
            _ => {}
        }
    }
    let mut waiting = waiting.into_iter().map(|((_, key), at)| (key, at));
    waiting.find(|(key, _)| !rotten.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::RETRY;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;
    use crate::oracle::tale::key;

    /// What is waited for when the first message of a queue failed, then whatever is told.
    fn waited_for(told: impl FnOnce(&mut Tale), rotten: &[u32]) -> Option<MessageKey> {
        let mut tale = Tale::ordered();
        tale.failed(1_000, TOPIC, 1, 0, 0);
        told(&mut tale);
        let rotten = rotten.iter().map(|seq| key(*seq)).collect();
        to_come_back(&tale.end().record.events, &rotten).map(|(key, _)| key)
    }

    #[test]
    fn what_failed_once_has_to_come_back() {
        assert_eq!(waited_for(|_| {}, &[]), Some(key(1)));
        assert_eq!(waited_for(|tale| tale.handled(2_000, 1, 0), &[]), None);
        assert_eq!(waited_for(|tale| tale.failed(2_000, RETRY, 1, 0, RETRIES), &[]), None);
    }

    #[test]
    fn another_message_does_not_stand_for_it() {
        assert_eq!(waited_for(|tale| tale.handled(2_000, 2, 1), &[]), Some(key(1)));
    }

    #[test]
    fn what_is_settled_may_fail_at_a_member_that_lost_the_queue() {
        let late = |tale: &mut Tale| {
            tale.handled(2_000, 1, 0);
            tale.failed(3_000, TOPIC, 1, 0, 0);
        };
        assert_eq!(waited_for(late, &[]), None);
    }

    #[test]
    fn what_rotted_before_its_next_attempt_does_not_come_back_and_excuses_no_neighbour() {
        assert_eq!(waited_for(|_| {}, &[1]), None);
        assert_eq!(waited_for(|_| {}, &[2]), Some(key(1)));
    }
}
