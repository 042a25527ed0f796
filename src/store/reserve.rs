//! A topic's own reserve time: readers are shown nothing of it that is older, though the log keeps it for the others.
//!
//! The log and the queue files stay as they are: where a queue begins for its readers is a number in memory, a function of
//! the log and of the time that was named last. Times are in log order but for a clock that went back; then, as in every
//! search by time, a message next to the jump may be taken for older or younger than it is.

use super::ReadError;
use super::core::Core;
use super::queues::QueueName;
use crate::base::Timestamp;

impl Core {
    /// How many queues of the topic begin elsewhere than before.
    pub(super) async fn reserve(&self, topic: &str, since: Option<Timestamp>) -> Result<u64, ReadError> {
        // Retention and deletion wait: what is looked at stays.
        let _alone = self.settling.lock().await;
        let names = self.state.lock().queues.names();
        let mut moved = 0;
        for name in names.into_iter().filter(|name| *name.topic == *topic) {
            let floor = match since {
                Some(since) => self.first_since(&name, since).await?,
                None => 0,
            };
            let mut state = self.state.lock();
            let queue = state.queues.get_mut(name.slot);
            let before = queue.first();
            assert!(floor <= queue.visible, "a queue begins where its messages end, at latest");
            queue.floor = floor;
            moved += u64::from(queue.first() != before);
        }
        Ok(moved)
    }

    /// The first message that is not older; the end of what readers see if all are.
    async fn first_since(&self, name: &QueueName, since: Timestamp) -> Result<u64, ReadError> {
        let (min, first, max) = {
            let state = self.state.lock();
            let queue = state.queues.get(name.slot);
            (queue.min, queue.first(), queue.visible)
        };
        // Nearly always it is where it was.
        let kept = first == max || self.stored_at(name, first).await? >= since;
        if kept && (first == min || self.stored_at(name, first - 1).await? < since) {
            return Ok(first);
        }
        let (mut low, mut high) = if kept { (min, first) } else { (first, max) };
        while low < high {
            let middle = low + (high - low) / 2;
            if self.stored_at(name, middle).await? < since {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
