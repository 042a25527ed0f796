//! Lets the store remove what its policy no longer keeps: at the hours of `deleteWhen`, whenever the disk is fuller than
//! `diskMaxUsedSpaceRatio` or the log larger than `fileReservedBytes`, and by force above `diskSpaceCleanForciblyRatio`;
//! above `diskSpaceWarningLevelRatio` the store refuses messages. Hours are local ones. Whose unread messages went is told.
//! A topic with a reserve time of its own ends earlier for its readers, and stays in the log.

use std::sync::Arc;

use crate::base::Timestamp;
use crate::broker::core::Core;
use crate::broker::disk_marks;
use crate::broker::disk_marks::Wanted;
use crate::broker::unread::Standing;
use crate::broker::unread::Unread;
use crate::protocol::names;
use crate::store::Removed;
use crate::store::UpkeepError;

/// How often the clock and the disk are looked at, in milliseconds.
const LOOK_MS: u64 = 10_000;
/// The same while the disk is nearly full: it fills faster than that.
const LOOK_AGAIN_MS: u64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// Segments removed by force at one look; what they free shows at the next.
const BY_FORCE_MAX: usize = 10;

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut unread = Unread::default();
    // What went before this start was told then.
    unread.on_removed(standings(&core));
    let mut kept_though_full = false;
    loop {
        let (wanted, removed) = look(&core).await;
        if reserve(&core).await + removed > 0 {
            for gap in unread.on_removed(standings(&core)) {
                tracing::warn!("retention: {gap}");
            }
        }
        if let Some(wanted) = wanted {
            core.store.refuse_above(disk_marks::over_mark(
                &core.config,
                &core.config.store_path_root,
                wanted,
            ));
            if wanted.keeps_though_full && !kept_though_full {
                tracing::warn!(
                    "{}",
                    disk_marks::say_kept(&core.config, &core.config.store_path_root, wanted)
                );
            }
            kept_though_full = wanted.keeps_though_full;
        }
        let nearly_full = wanted.is_some_and(|wanted| wanted.nearly_full);
        core.env.sleep_ms(if nearly_full { LOOK_AGAIN_MS } else { LOOK_MS }).await;
    }
}

/// Removes what is to go. Says how full the disk is then, and how many segments went.
async fn look(core: &Core) -> (Option<Wanted>, u64) {
    let wall = core.env.wall();
    let mut wanted = measure(core).await;
    let mut removed = 0;
    let local_ms = wall.0.saturating_add(core.env.clock.zone_ms(wall));
    if wanted.is_some_and(|wanted| wanted.remove_expired) || is_hour(&core.config.delete_when_hours, local_ms)
    {
        removed += tell("older than fileReservedTime", core.store.run_retention(wall).await);
    }
    removed += tell("more than fileReservedBytes", core.store.run_retention_of_bytes().await);
    for _ in 0..BY_FORCE_MAX {
        // What was removed counts at once.
        if removed > 0 {
            wanted = measure(core).await;
        }
        let Some(full) = wanted.filter(|wanted| wanted.remove_oldest) else { break };
        let gone = core.store.remove_oldest().await;
        let nothing = !matches!(&gone, Ok(gone) if gone.segments > 0);
        if !nothing {
            tracing::warn!("{}", disk_marks::say_forced(&core.config, &core.config.store_path_root, full));
        }
        removed += tell("the oldest on a disk that is too full", gone);
        if nothing {
            break;
        }
    }
    (wanted, removed)
}

/// Lets queues begin where the reserve times of their topics say (`reserve.time`). Says how many begin elsewhere now.
pub(crate) async fn reserve(core: &Core) -> u64 {
    let hours = core.topics.lock().reserved().clone();
    let known = core.reserved.lock().clone();
    let wall = core.env.wall();
    let since = |hours: i64| Timestamp(wall.0.saturating_sub(hours.saturating_mul(HOUR_MS)));
    let given_up = known.into_iter().filter(|topic| !hours.contains_key(topic)).map(|topic| (topic, None));
    let kept = hours.iter().map(|(topic, hours)| (topic.clone(), Some(since(*hours))));
    let mut moved = 0;
    for (topic, since) in given_up.chain(kept) {
        // The broker's own topics end with what they are for.
        if names::is_system_topic(&topic) {
            continue;
        }
        match core.store.reserve(&topic, since).await {
            Ok(queues) => {
                moved += queues;
                let mut known = core.reserved.lock();
                if since.is_some() {
                    known.insert(topic)
                } else {
                    known.remove(&topic)
                };
            }
            Err(error) => tracing::warn!(%error, topic, "cannot keep a topic's reserve time"),
        }
    }
    moved
}

/// Names the topics that are to be kept for longer than the log.
pub(crate) fn say_too_long(core: &Core) {
    for (topic, hours) in core.topics.lock().reserved() {
        if let Some(said) = too_long(topic, *hours, core.config.file_reserved_hours) {
            tracing::warn!("{said}");
        }
    }
}

pub(crate) fn too_long(topic: &str, hours: i64, log_hours: u64) -> Option<String> {
    hours.cast_unsigned().gt(&log_hours).then(|| {
        format!(
            "topic {topic} is to be kept for {hours} hours (reserve.time), and the log keeps {log_hours} \
             (fileReservedTime): its messages go with the log's; raise fileReservedTime to keep them"
        )
    })
}

/// Whether a clock that shows `local_ms`, as milliseconds since 1970 there, shows one of the hours.
fn is_hour(hours: &[u8], local_ms: i64) -> bool {
    let hour = local_ms.div_euclid(HOUR_MS).rem_euclid(24);
    hours.iter().any(|at| i64::from(*at) == hour)
}

/// Where each group stands that has committed anything.
fn standings(core: &Core) -> Vec<Standing> {
    let offsets = core.offsets.lock();
    let committed = offsets.iter().map(|(group, topic, queue, committed)| Standing {
        group: group.to_owned(),
        topic: topic.to_owned(),
        queue,
        committed,
        min: committed,
    });
    let mut standings: Vec<Standing> = committed.collect();
    drop(offsets);
    for standing in &mut standings {
        if let Some(bounds) = core.store.bounds(&standing.topic, standing.queue) {
            standing.min = bounds.min;
        }
    }
    standings
}

/// How many segments went.
fn tell(why: &str, removed: Result<Removed, UpkeepError>) -> u64 {
    match removed {
        Ok(removed) => {
            if removed.segments + removed.queue_files > 0 {
                tracing::info!(
                    segments = removed.segments,
                    queue_files = removed.queue_files,
                    bytes = removed.bytes,
                    "removed what is {why}"
                );
            }
            removed.segments
        }
        Err(error) => {
            tracing::warn!(%error, "cannot remove old files");
            0
        }
    }
}

async fn measure(core: &Core) -> Option<Wanted> {
    match core.env.disk.space(&core.config.store_path_root).await {
        Ok(space) => Some(disk_marks::judge(&core.config, space)),
        Err(error) => {
            tracing::warn!(%error, "cannot ask the disk for its free space");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_all_of_it_and_no_more() {
        for (local_ms, holds) in [
            (4 * HOUR_MS - 1, false),
            (4 * HOUR_MS, true),
            (5 * HOUR_MS - 1, true),
            (5 * HOUR_MS, false),
            (28 * HOUR_MS, true),
            // Before 1970, and as far away as a clock can be.
            (-20 * HOUR_MS, true),
            (-20 * HOUR_MS - 1, false),
        ] {
            assert_eq!(is_hour(&[4, 16], local_ms), holds, "{local_ms}");
        }
        assert!(is_hour(&[4, 16], 16 * HOUR_MS) && !is_hour(&[], 4 * HOUR_MS));
    }

    #[test]
    fn a_topic_that_is_to_outlive_the_log_is_named() {
        assert_eq!(too_long("orders", 72, 72), None);
        let said = too_long("orders", 100, 72).unwrap();
        for part in ["orders", "100 hours (reserve.time)", "72 (fileReservedTime)", "raise fileReservedTime"]
        {
            assert!(said.contains(part), "{said}");
        }
    }
}
