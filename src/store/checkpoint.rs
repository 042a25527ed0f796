//! The checkpoint file: up to where log and queue files are known to be durable.
//!
//! ```text
//!    0 i8 physicMsgTimestamp   8 i8 logicsMsgTimestamp   16 i8 indexMsgTimestamp      Apache's part, in ms
//!   24 i8 masterFlushedOffset 32 i8 confirmPhyOffset    40 i8 logicsPhysicalOffset
//!   64 u8 "SFCKPT01"
//!   72 u8 position: everything below is durable in the log and in the queue files
//!   80 u8 limit: nothing was ever written at or above it
//!   88 u8 queues that have files
//!   96 u4 CRC-32 of bytes 0..96
//!  100 .. 128 zeros
//!  128 .. 160 how far the index is: `index/mark.rs`, with a CRC of its own
//!  160 .. 4096 zeros
//! ```
//!
//! The file is replaced as a whole (write aside, sync, rename, sync the directory), so a crash leaves the old one or the
//! new one. Apache rewrites its own part in place and so breaks the CRC: then recovery goes by the times, as Apache's
//! does, and begins with a segment that ours would have begun in, or before.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::index::MARK_AT;
use super::index::MARK_BYTES;
use super::index::Mark;
use super::layout::Layout;
use super::open_files::FileTrouble;
use crate::env::Access;
use crate::env::Env;

const FILE_BYTES: usize = 4096;
const INDEXED_AT: usize = 16;
const CONFIRMED_AT: usize = 32;
const DISPATCHED_AT: usize = 40;
const OURS_AT: usize = 64;
const CRC_AT: usize = 96;
const MAGIC: u64 = u64::from_be_bytes(*b"SFCKPT01");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Store time of the last message below `position`, in ms.
    pub(super) store_at: i64,
    pub(super) position: u64,
    pub(super) limit: u64,
    pub(super) queues: u64,
    pub(super) index: Mark,
}

/// What the file said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Ours(Checkpoint),
    /// Written by another hand, or damaged: messages stored up to a time, in ms, are in the queue files; so is what was
    /// below the position that we left there, if we did.
    Times(i64, Option<u64>),
    Nothing,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> [u8; FILE_BYTES] {
        let mut out = [0; FILE_BYTES];
        let mut put = |at: usize, value: u64| {
            for (to, from) in out.iter_mut().skip(at).zip(value.to_be_bytes()) {
                *to = from;
            }
        };
        let store_at = self.store_at as u64;
        put(0, store_at);
        put(8, store_at);
        // After a kill Apache removes the index files that hold younger messages, and builds none of them again.
        put(INDEXED_AT, self.index.store_at as u64);
        // Apache 5.5 begins its recovery in the segment of this position; by the times alone it may begin one too late.
        put(CONFIRMED_AT, self.position);
        put(DISPATCHED_AT, self.position);
        put(OURS_AT, MAGIC);
        put(OURS_AT + 8, self.position);
        put(OURS_AT + 16, self.limit);
        put(OURS_AT + 24, self.queues);
        let crc = crc32fast::hash(out.get(..CRC_AT).unwrap_or_default());
        for (to, from) in out.iter_mut().skip(CRC_AT).zip(crc.to_be_bytes()) {
            *to = from;
        }
        for (to, from) in out.iter_mut().skip(MARK_AT).zip(self.index.encode()) {
            *to = from;
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Found {
        let word = |at: usize| {
            let word = bytes.get(at..at + 8).and_then(|word| <[u8; 8]>::try_from(word).ok());
            word.map(u64::from_be_bytes).unwrap_or(0)
        };
        let crc = bytes.get(CRC_AT..CRC_AT + 4).and_then(|word| <[u8; 4]>::try_from(word).ok());
        let crc_is = bytes.get(..CRC_AT).map(crc32fast::hash);
        if word(OURS_AT) == MAGIC && crc.map(u32::from_be_bytes) == crc_is {
            return Found::Ours(Checkpoint {
                store_at: word(0) as i64,
                position: word(OURS_AT + 8),
                limit: word(OURS_AT + 16),
                queues: word(OURS_AT + 24),
                index: Mark::decode(bytes.get(MARK_AT..MARK_AT + MARK_BYTES).unwrap_or_default())
                    .stored_at(word(INDEXED_AT) as i64),
            });
        }
        let position = (word(OURS_AT) == MAGIC).then(|| word(OURS_AT + 8));
        match (word(0) as i64).min(word(8) as i64) {
            time if time > 0 => Found::Times(time, position),
            _ => Found::Nothing,
        }
    }

    pub(super) async fn load(env: &Env, layout: &Layout) -> io::Result<Found> {
        match env.disk.open(&layout.checkpoint(), Access::Read).await {
            Ok(file) => Ok(Checkpoint::decode(&file.read_at(0, FILE_BYTES).await?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns.
    pub(super) async fn save(&self, env: &Env, layout: &Layout) -> Result<(), FileTrouble> {
        let aside = layout.root.join("checkpoint.tmp");
        let place = layout.checkpoint();
        let trouble = |action, path: &Path| FileTrouble::new(action, path);
        let file = env.disk.open(&aside, Access::Create).await.map_err(trouble("create", &aside))?;
        let content = Bytes::copy_from_slice(&self.encode());
        file.write_at(0, content).await.map_err(trouble("write", &aside))?;
        file.sync().await.map_err(trouble("sync", &aside))?;
        drop(file);
        env.disk.rename(&aside, &place).await.map_err(trouble("rename", &place))?;
        env.disk.sync_dir(&layout.root).await.map_err(trouble("sync", &layout.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_touched_by_another_hand_is_believed_by_its_times_only() {
        let index = Mark::default().stored_at(66);
        let checkpoint = Checkpoint { store_at: 77, position: 5, limit: 9, queues: 2, index };
        let mut bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Found::Ours(checkpoint));
        assert_eq!(bytes[16..24], 66u64.to_be_bytes());
        assert_eq!((&bytes[32..40], &bytes[40..48]), (&5u64.to_be_bytes()[..], &5u64.to_be_bytes()[..]));
        bytes[7] = 78;
        assert_eq!(Checkpoint::decode(&bytes), Found::Times(77, Some(5)));
        assert_eq!(Checkpoint::decode(&[0; FILE_BYTES]), Found::Nothing);
        assert_eq!(Checkpoint::decode(&[]), Found::Nothing);
    }
}
