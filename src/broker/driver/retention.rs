//! Lets the store remove what its policy no longer keeps: at the hours of `deleteWhen`, and whenever the disk is fuller
//! than `diskMaxUsedSpaceRatio`. Hours are UTC.

use std::sync::Arc;

use crate::broker::core::Core;

/// How often the clock and the disk are looked at, in milliseconds.
const LOOK_MS: u64 = 60_000;

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        core.env.sleep_ms(LOOK_MS).await;
        let wall = core.env.wall();
        let hour = wall.0.div_euclid(3_600_000).rem_euclid(24);
        let is_time = core.config.delete_when_hours.iter().any(|at| i64::from(*at) == hour);
        if !is_time && !disk_is_full(&core).await {
            continue;
        }
        match core.store.run_retention(wall).await {
            Ok(removed) if removed.segments + removed.queue_files > 0 => tracing::info!(
                segments = removed.segments,
                queue_files = removed.queue_files,
                bytes = removed.bytes,
                "removed what is older than fileReservedTime"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot remove old files"),
        }
    }
}

async fn disk_is_full(core: &Core) -> bool {
    match core.env.disk.space(&core.config.store_path_root).await {
        Ok(space) if space.total > 0 => {
            let used = space.total.saturating_sub(space.available);
            used.saturating_mul(100) / space.total > u64::from(core.config.disk_used_percent_max)
        }
        Ok(_) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot ask the disk for its free space");
            false
        }
    }
}
