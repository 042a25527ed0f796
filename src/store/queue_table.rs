//! The table of queues: where each begins and ends in its files, at the position that the checkpoint file says.
//!
//! ```text
//! queuejournal/<20 digits: that position>.queues
//!
//!  0 u8 "SFQUEU01"   8 u8 position   16 u8 where the log begins   24 u8 bytes of a queue file
//! 32 u4 queues      36 u4 CRC-32 of all but these bytes
//! 40 each queue: u4 id, u8 minimum, u8 one behind the last unit in files, u8 first unit of the oldest file, or all ones,
//!                u2 bytes of the topic, the topic
//! ```
//!
//! It saves recovery from looking at every queue file, and says nothing that those files do not: a table that is missing,
//! damaged or of another position is passed over.

use std::io;

use bytes::Bytes;

use super::layout::Layout;
use super::open_files::FileTrouble;
use super::queues::Queue;
use crate::env::Access;
use crate::env::Env;

const MAGIC: &[u8; 8] = b"SFQUEU01";
const HEAD_BYTES: usize = 40;
const COUNT_AT: usize = 32;
const NO_FILE: u64 = u64::MAX;

/// What a table is true of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) position: u64,
    /// Where the log's oldest segment begins.
    pub(super) log_first: u64,
    pub(super) file_bytes: u64,
}

impl Made {
    fn head(self) -> impl Iterator<Item = u8> {
        let words = [self.position, self.log_first, self.file_bytes];
        MAGIC.iter().copied().chain(words.into_iter().flat_map(u64::to_be_bytes))
    }
}

/// A table in the making.
pub(super) struct QueueTable {
    bytes: Vec<u8>,
    count: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) topic: &'a str,
    pub(super) id: u32,
    pub(super) min: u64,
    pub(super) end: u64,
    pub(super) first_file: Option<u64>,
}

impl QueueTable {
    pub(super) fn new() -> QueueTable {
        QueueTable { bytes: vec![0; HEAD_BYTES], count: 0 }
    }

    /// Adds a queue, if it has files.
    pub(super) fn add(&mut self, queue: &Queue) {
        if queue.first_file.is_none() {
            return;
        }
        self.count += 1;
        self.bytes.extend_from_slice(&queue.id.to_be_bytes());
        for word in [queue.min, queue.written, queue.first_file.unwrap_or(NO_FILE)] {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
        self.bytes.extend_from_slice(&(queue.topic.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(queue.topic.as_bytes());
    }

    /// How many queues it has.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    fn finish(mut self, made: Made) -> Bytes {
        for (to, from) in self.bytes.iter_mut().zip(made.head().chain(self.count.to_be_bytes())) {
            *to = from;
        }
        let crc = checksum(&self.bytes).to_be_bytes();
        for (to, from) in self.bytes.iter_mut().skip(HEAD_BYTES - 4).zip(crc) {
            *to = from;
        }
        Bytes::from(self.bytes)
    }

    /// Durable when it returns.
    pub(super) async fn save(self, env: &Env, layout: &Layout, made: Made) -> Result<(), FileTrouble> {
        let aside = layout.journal.join("queues.tmp");
        let place = layout.queue_table(made.position);
        let file = env.disk.open(&aside, Access::Create).await.map_err(FileTrouble::new("create", &aside))?;
        file.set_len(0).await.map_err(FileTrouble::new("cut", &aside))?;
        let content = self.finish(made);
        file.write_at(0, content).await.map_err(FileTrouble::new("write", &aside))?;
        file.sync().await.map_err(FileTrouble::new("sync", &aside))?;
        drop(file);
        env.disk.rename(&aside, &place).await.map_err(FileTrouble::new("rename", &place))?;
        env.disk.sync_dir(&layout.journal).await.map_err(FileTrouble::new("sync", &layout.journal))
    }

    /// The bytes of the table of `position`; empty without one.
    pub(super) async fn load(env: &Env, layout: &Layout, position: u64) -> io::Result<Bytes> {
        match env.disk.open(&layout.queue_table(position), Access::Read).await {
            Ok(file) => file.read_at(0, usize::try_from(file.len().await?).unwrap_or(usize::MAX)).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bytes::new()),
            Err(error) => Err(error),
        }
    }
}

/// All queues of a table; `None` when it is not the whole table of `made`.
pub(super) fn decode(bytes: &[u8], made: Made) -> Option<Vec<Row<'_>>> {
    let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES)?;
    if !head.iter().copied().zip(made.head()).all(|(is, should)| is == should) {
        return None;
    }
    let count = u32::from_be_bytes(*head.get(COUNT_AT..)?.first_chunk()?);
    let crc = u32::from_be_bytes(*head.get(COUNT_AT + 4..)?.first_chunk()?);
    if checksum(bytes) != crc {
        return None;
    }
    let mut rows = Vec::new();
    for _ in 0..count {
        let (fixed, behind) = rest.split_at_checked(30)?;
        let word = |at: usize| Some(u64::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
        let len = usize::from(u16::from_be_bytes(*fixed.get(28..)?.first_chunk()?));
        let (topic, behind) = behind.split_at_checked(len)?;
        rows.push(Row {
            topic: std::str::from_utf8(topic).ok()?,
            id: u32::from_be_bytes(*fixed.first_chunk()?),
            min: word(4)?,
            end: word(12)?,
            first_file: Some(word(20)?).filter(|first| *first != NO_FILE),
        });
        rest = behind;
    }
    rest.is_empty().then_some(rows)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes.get(..HEAD_BYTES - 4).unwrap_or_default());
    crc.update(bytes.get(HEAD_BYTES..).unwrap_or_default());
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::queues::Queues;

    proptest! {
        #[test]
        fn a_table_is_read_back_or_not_at_all(
            ends in prop::collection::vec((0u64..100, 0u64..100), 0..20),
            cut in any::<prop::sample::Index>(),
            flip in 0u8..8,
        ) {
            let mut queues = Queues::default();
            let mut table = QueueTable::new();
            for (id, (min, more)) in (0u32..).zip(&ends) {
                let slot = queues.slot_or_create(&Arc::from(format!("t{}", id % 3).as_str()), id);
                queues.get_mut(slot).reset(*min, min + more, Some(0));
                table.add(queues.get(slot));
            }
            // A queue without files is none of its.
            let slot = queues.slot_or_create(&Arc::from("new"), 0);
            table.add(queues.get(slot));
            let made = Made { position: 7, log_first: 3, file_bytes: 4_000 };
            let bytes = table.finish(made);
            let rows = decode(&bytes, made).unwrap();
            prop_assert_eq!(rows.len(), ends.len());
            for (row, (min, more)) in rows.iter().zip(&ends) {
                let queue = queues.find(row.topic, row.id).unwrap();
                prop_assert_eq!((row.min, row.end, row.first_file), (*min, min + more, queue.first_file));
            }
            prop_assert_eq!(decode(&bytes, Made { position: 8, ..made }), None);
            prop_assert_eq!(decode(&bytes, Made { log_first: 4, ..made }), None);
            prop_assert_eq!(decode(&bytes, Made { file_bytes: 4_020, ..made }), None);
            let at = cut.index(bytes.len());
            prop_assert_eq!(decode(&bytes[..at], made), None);
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << flip;
            prop_assert_eq!(decode(&damaged, made), None);
        }
    }
}
