//! How far the journal of queue units goes on from the checkpoint: what is below was acknowledged, and needs no queue file.

use super::InspectError;
use super::RECORD_BYTES_MAX;
use super::check::Check;
use super::list_or_nothing;
use crate::env::Access;
use crate::store::OpenError;
use crate::store::journal::Block;
use crate::store::layout::number_of;

/// Magic and length of a block.
const HEAD_BYTES: usize = 12;

impl Check<'_> {
    /// Moves the plan's start behind the blocks that go on from it, as a start does.
    pub(super) async fn journal(&mut self) -> Result<(), InspectError> {
        let entries = list_or_nothing(&self.store.env, &self.store.layout.journal).await?;
        let mut starts: Vec<u64> = entries.iter().filter_map(|entry| number_of(&entry.name)).collect();
        starts.sort_unstable();
        for start in starts {
            if start > self.plan.from {
                break;
            }
            self.journal_file(start).await?;
        }
        Ok(())
    }

    async fn journal_file(&mut self, start: u64) -> Result<(), InspectError> {
        let path = self.store.layout.journal_file(start);
        let file = self.store.env.disk.open(&path, Access::Read).await;
        let file = file.map_err(OpenError::io("open", &path))?;
        let mut at = 0;
        loop {
            let head = file.read_at(at, HEAD_BYTES).await.map_err(OpenError::io("read", &path))?;
            let Some(len) = head.last_chunk::<4>().filter(|_| head.len() == HEAD_BYTES) else { break };
            let len = u32::from_be_bytes(*len);
            if u64::from(len) > RECORD_BYTES_MAX {
                break;
            }
            let bytes = file.read_at(at, len as usize).await.map_err(OpenError::io("read", &path))?;
            let Some(block) = Block::decode(&bytes) else { break };
            let span = block.span;
            if span.from == self.plan.from {
                self.plan.from = span.to;
                self.plan.limit = self.plan.limit.max(span.limit);
            } else if span.to > self.plan.from {
                break;
            }
            at += u64::from(len);
        }
        Ok(())
    }
}
