//! Units of queue files read in blocks: the log names its queues in any order, each queue goes forward.
//!
//! Only so many blocks are kept; beyond, all are dropped and read again. A file is open only while a block is read.

use std::io;
use std::sync::Arc;

use crate::base::FastMap;
use crate::env::Access;
use crate::env::Env;
use crate::store::OpenError;
use crate::store::layout::Layout;
use crate::store::unit::UNIT_BYTES;
use crate::store::unit::Unit;

const BLOCK_UNITS: u64 = 256;
const BLOCKS_MAX: usize = 4096;

/// The offset of its first unit, and its units.
type Block = (u64, Vec<Unit>);

pub(super) struct UnitBlocks {
    env: Env,
    layout: Layout,
    file_units: u64,
    /// By topic and queue.
    blocks: FastMap<Arc<str>, FastMap<u32, Block>>,
    count: usize,
}

impl UnitBlocks {
    pub(super) fn new(env: &Env, layout: &Layout, file_units: u64) -> UnitBlocks {
        UnitBlocks {
            env: env.clone(),
            layout: layout.clone(),
            file_units,
            blocks: FastMap::default(),
            count: 0,
        }
    }

    /// The unit at `offset`; unwritten where no file is.
    pub(super) async fn unit(&mut self, topic: &str, queue: u32, offset: u64) -> Result<Unit, OpenError> {
        let start = offset - offset % self.file_units % BLOCK_UNITS;
        let kept = self.blocks.get(topic).and_then(|queues| queues.get(&queue));
        if let Some((from, units)) = kept
            && *from == start
        {
            return Ok(unit_in(units, offset - start));
        }
        let units = self.read(topic, queue, start, BLOCK_UNITS).await?;
        let unit = unit_in(&units, offset - start);
        if self.count >= BLOCKS_MAX {
            self.blocks.clear();
            self.count = 0;
        }
        if !self.blocks.contains_key(topic) {
            self.blocks.insert(Arc::from(topic), FastMap::default());
        }
        if let Some(queues) = self.blocks.get_mut(topic)
            && queues.insert(queue, (start, units)).is_none()
        {
            self.count += 1;
        }
        Ok(unit)
    }

    /// Units from `start` on, at most `count` and at most to the end of their file.
    pub(super) async fn read(
        &self,
        topic: &str,
        queue: u32,
        start: u64,
        count: u64,
    ) -> Result<Vec<Unit>, OpenError> {
        let path = self.layout.queue_file(topic, queue, start);
        let file = match self.env.disk.open(&path, Access::Read).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(OpenError::io("open", &path)(error)),
        };
        let within = start % self.file_units;
        let count = count.min(self.file_units - within);
        let len = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(UNIT_BYTES);
        let bytes = file.read_at(within * UNIT_BYTES as u64, len).await;
        let bytes = bytes.map_err(OpenError::io("read", &path))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Vec::new());
        }
        Ok(Unit::decode_all(&bytes).collect())
    }
}

fn unit_in(units: &[Unit], index: u64) -> Unit {
    usize::try_from(index).ok().and_then(|index| units.get(index)).copied().unwrap_or_default()
}
