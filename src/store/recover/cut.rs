//! Making the cut: what is before it durable, what is behind it gone.

use bytes::Bytes;

use super::Recover;
use crate::env::Access;
use crate::store::OpenError;
use crate::store::planted;

/// Bytes looked at, and cleared, at a time.
const CHUNK: u64 = 1024 * 1024;

impl Recover {
    /// Writes `from..end` of the log again and syncs it: a process that was killed left it in the page cache. Again,
    /// because a sync that failed may have left pages there that the kernel takes for clean; no later sync would write
    /// them, and what a reader is shown now would be gone with the power.
    pub(super) async fn make_durable(&mut self, from: u64, end: u64) -> Result<(), OpenError> {
        if self.env.planted(planted::RECOVERY_SKIPS_SYNC) {
            return Ok(());
        }
        let segment_bytes = self.config.segment_bytes;
        for start in self.segments.iter().filter(|start| **start + segment_bytes > from && **start < end) {
            if from == end {
                break;
            }
            let path = self.layout.segment(*start);
            let file =
                self.env.disk.open(&path, Access::Write).await.map_err(OpenError::io("open", &path))?;
            let (low, high) = (from.max(*start), end.min(start + segment_bytes));
            let mut at = low;
            while at < high {
                let len = CHUNK.min(high - at) as usize;
                let bytes = file.read_at(at - start, len).await.map_err(OpenError::io("read", &path))?;
                if bytes.is_empty() {
                    break;
                }
                let next = at + bytes.len() as u64;
                file.write_at(at - start, bytes).await.map_err(OpenError::io("write", &path))?;
                at = next;
            }
            file.sync().await.map_err(OpenError::io("sync", &path))?;
        }
        Ok(())
    }

    /// Removes and clears whatever was ever written in `end..limit`. Segments go last one first, each durably, so that
    /// no crash leaves a hole. After a clean shutdown there is nothing to clear.
    pub(super) async fn clear_behind(&mut self, end: u64, limit: u64) -> Result<(), OpenError> {
        if self.env.planted(planted::KEEP_TORN_TAIL) || (self.report.clean && self.report.torn.is_none()) {
            return Ok(());
        }
        while let Some(start) = self.segments.last().copied().filter(|start| *start >= end) {
            let path = self.layout.segment(start);
            self.env.disk.remove(&path).await.map_err(OpenError::io("remove", &path))?;
            let dir = &self.layout.commit_log;
            self.env.disk.sync_dir(dir).await.map_err(OpenError::io("sync", dir))?;
            self.segments.pop();
        }
        let Some(start) = self.segments.last().copied() else { return Ok(()) };
        let stop = limit.min(start + self.config.segment_bytes);
        if stop <= end {
            return Ok(());
        }
        let path = self.layout.segment(start);
        let file = self.env.disk.open(&path, Access::Write).await.map_err(OpenError::io("open", &path))?;
        let mut at = end;
        let mut cleared = 0;
        while at < stop {
            let len = CHUNK.min(stop - at);
            let read = file.read_at(at - start, len as usize).await.map_err(OpenError::io("read", &path))?;
            self.report.read_bytes += read.len() as u64;
            if read.is_empty() {
                break;
            }
            if read.iter().any(|byte| *byte != 0) {
                let zeros = Bytes::from(vec![0; read.len()]);
                file.write_at(at - start, zeros).await.map_err(OpenError::io("clear", &path))?;
                cleared += read.len() as u64;
            }
            at += len;
        }
        if cleared > 0 {
            self.env.probe("store.tail_cleared");
            file.sync().await.map_err(OpenError::io("sync", &path))?;
        }
        self.report.torn_bytes = cleared;
        Ok(())
    }
}
