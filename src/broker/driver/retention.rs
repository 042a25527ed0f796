//! Lets the store remove what its policy no longer keeps: at the hours of `deleteWhen`, whenever the disk is fuller than
//! `diskMaxUsedSpaceRatio`, and by force above `diskSpaceCleanForciblyRatio`; above `diskSpaceWarningLevelRatio` the store
//! refuses messages. Hours are UTC.

use std::sync::Arc;

use crate::base::Timestamp;
use crate::broker::core::Core;
use crate::broker::disk_marks;
use crate::broker::disk_marks::Wanted;
use crate::store::Removed;
use crate::store::UpkeepError;

/// How often the clock and the disk are looked at, in milliseconds.
const LOOK_MS: u64 = 10_000;
/// The same while messages are refused.
const LOOK_AGAIN_MS: u64 = 1_000;
/// Segments removed by force at one look; what they free shows at the next.
const BY_FORCE_MAX: usize = 10;

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut refusing = false;
    loop {
        let wall = core.env.wall();
        let wanted = measure(&core).await;
        if wanted.is_some_and(|wanted| wanted.remove_expired) || is_hour(&core, wall) {
            tell("older than fileReservedTime", core.store.run_retention(wall).await);
        }
        if wanted.is_some_and(|wanted| wanted.remove_oldest) {
            remove_oldest(&core).await;
        }
        // What was removed counts at once.
        let wanted =
            if wanted.is_some_and(|wanted| wanted.remove_expired) { measure(&core).await } else { wanted };
        if let Some(wanted) = wanted {
            let over = disk_marks::over_mark(&core.config, &core.config.store_path_root, wanted);
            refusing = over.is_some();
            core.store.refuse_above(over);
        }
        core.env.sleep_ms(if refusing { LOOK_AGAIN_MS } else { LOOK_MS }).await;
    }
}

fn is_hour(core: &Core, wall: Timestamp) -> bool {
    let hour = wall.0.div_euclid(3_600_000).rem_euclid(24);
    core.config.delete_when_hours.iter().any(|at| i64::from(*at) == hour)
}

/// Removes the oldest segments one by one until the disk is below the mark.
async fn remove_oldest(core: &Core) {
    for _ in 0..BY_FORCE_MAX {
        let removed = core.store.remove_oldest().await;
        let nothing = !matches!(&removed, Ok(removed) if removed.segments > 0);
        tell("the oldest of a disk fuller than diskSpaceCleanForciblyRatio", removed);
        if nothing || !measure(core).await.is_some_and(|wanted| wanted.remove_oldest) {
            return;
        }
    }
}

fn tell(why: &str, removed: Result<Removed, UpkeepError>) {
    match removed {
        Ok(removed) if removed.segments + removed.queue_files > 0 => tracing::info!(
            segments = removed.segments,
            queue_files = removed.queue_files,
            bytes = removed.bytes,
            "removed what is {why}"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot remove old files"),
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
