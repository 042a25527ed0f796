//! The units of queue files, as they stand.

use super::ClosedStore;
use super::InspectError;
use super::unit_blocks::UnitBlocks;

/// Units read at a time.
const BLOCK_UNITS: u64 = 4096;

/// One unit of a queue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitSeen {
    pub offset: u64,
    /// Where its record is in the log, and how many bytes it has.
    pub physical: u64,
    pub size: u32,
    /// Of the schedule topic: when the message is due, in ms.
    pub tags_code: i64,
    /// The offset is known to have no message.
    pub is_gap: bool,
}

impl ClosedStore {
    /// The queues that have a directory, by topic and id.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub async fn queues(&self) -> Result<Vec<(String, u32)>, InspectError> {
        Ok(self.queue_dirs().await?.into_iter().map(|queue| (queue.topic, queue.id)).collect())
    }

    /// Written units of a queue with offsets in `from..to`, told to `take` until it answers false.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn units(
        &self,
        topic: &str,
        queue: u32,
        (from, to): (u64, u64),
        take: &mut dyn FnMut(UnitSeen) -> bool,
    ) -> Result<(), InspectError> {
        let blocks = self.unit_blocks();
        let file_units = u64::from(self.config.queue_file_units);
        let of_queue = self.queue_dirs().await?;
        let files = of_queue.iter().filter(|dir| dir.topic == topic && dir.id == queue);
        for first in files.flat_map(|dir| dir.files.iter().copied()) {
            let mut at = first.max(from.min(first + file_units));
            while at < (first + file_units).min(to) {
                let count = BLOCK_UNITS.min((first + file_units).min(to) - at);
                for (offset, unit) in (at..).zip(blocks.read(topic, queue, at, count).await?) {
                    let (physical, size, tags_code) = (unit.physical, unit.size, unit.tags_code);
                    let seen = UnitSeen { offset, physical, size, tags_code, is_gap: unit.is_gap() };
                    if unit.is_written() && !take(seen) {
                        return Ok(());
                    }
                }
                at += count;
            }
        }
        Ok(())
    }

    pub(super) fn unit_blocks(&self) -> UnitBlocks {
        UnitBlocks::new(&self.env, &self.layout, u64::from(self.config.queue_file_units))
    }
}
