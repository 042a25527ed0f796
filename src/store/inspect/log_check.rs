//! The log, record by record, and what stands behind its end.

use bytes::Bytes;

use super::Damage;
use super::InspectError;
use super::check::Check;
use super::queue_check::QueueCheck;
use crate::env::Access;
use crate::protocol::record::RecordView;
use crate::store::OpenError;
use crate::store::scan::Step;
use crate::store::scan::Window;

/// Bytes looked at a time behind the log's end.
const CHUNK: usize = 1024 * 1024;

impl Check<'_> {
    /// Walks the log from its first segment to its end, and tells `queues` each record.
    pub(super) async fn log(&mut self, queues: &mut QueueCheck<'_>) -> Result<(), InspectError> {
        let log = self.store.log_files();
        let mut window = Window::default();
        let mut at = self.store.first();
        let end = loop {
            let before = at;
            at = match log.step(&mut window, at).await? {
                Step::Next(next) => next,
                Step::Record(bytes) => {
                    self.record(&bytes, queues).await?;
                    at + bytes.len() as u64
                }
                Step::Blank => match self.blank(at) {
                    Some(next) => next,
                    None => break at,
                },
                Step::Bad(why, size) => match self.bad(at, why, size) {
                    Some(next) => next,
                    None => break at,
                },
            };
            self.advance(at - before);
        };
        self.report.end = end;
        self.tail(end).await
    }

    async fn record(&mut self, bytes: &Bytes, queues: &mut QueueCheck<'_>) -> Result<(), InspectError> {
        let Ok(view) = RecordView::decode(bytes) else { return Ok(()) };
        let report = &mut self.report;
        report.records += 1;
        report.record_bytes += bytes.len() as u64;
        report.oldest_stored_at =
            Some(report.oldest_stored_at.map_or(view.store_at.0, |at| at.min(view.store_at.0)));
        report.newest_stored_at =
            Some(report.newest_stored_at.map_or(view.store_at.0, |at| at.max(view.store_at.0)));
        if view.is_queued() {
            queues.record(&view, self.trusted, &mut self.report).await
        } else {
            report.unqueued += 1;
            Ok(())
        }
    }

    /// Nothing stands at `at`: the log's end, or a hole in it. Where to go on.
    fn blank(&mut self, at: u64) -> Option<u64> {
        let bytes = self.report.segment_bytes;
        let start = at - at % bytes;
        let there = self.store.starts.binary_search(&start).is_ok();
        let next = self.store.segment_behind(at);
        if !there {
            let path = self.store.layout.segment(at);
            if let Some(next) = next {
                let what = format!("there is no segment for {start} to {next}");
                self.report.add(Damage::Hole, path, Some(at), what);
                self.first_invalid(at);
            }
            return next;
        }
        if at >= self.plan.from {
            return None;
        }
        let to = next.map_or(self.plan.from, |next| next.min(self.plan.from));
        let what = format!("nothing is written up to {to}, where records were acknowledged");
        self.report.add(Damage::Record, self.store.layout.segment(at), Some(at), what);
        self.first_invalid(at);
        Some(to)
    }

    /// What stands at `at` is no record: the log's end, or damage below the checkpoint. Where to go on.
    fn bad(&mut self, at: u64, why: String, size: Option<usize>) -> Option<u64> {
        self.first_invalid(at);
        let path = self.store.layout.segment(at);
        if at >= self.plan.from {
            self.report.add(Damage::Tail, path, Some(at), format!("{why}: a start ends the log here"));
            return None;
        }
        let bytes = self.report.segment_bytes;
        let next = size.map_or(at - at % bytes + bytes, |size| at + size as u64).min(self.plan.from);
        self.report.add(Damage::Record, path, Some(at), format!("{why}; going on at {next}"));
        Some(next)
    }

    fn first_invalid(&mut self, at: u64) {
        self.report.first_invalid.get_or_insert(at);
    }

    /// Bytes behind the end that are not zero.
    async fn tail(&mut self, end: u64) -> Result<(), InspectError> {
        let bytes = self.report.segment_bytes;
        let mut last = None;
        for file in self.store.segments.iter().filter(|file| file.start.saturating_add(bytes) > end) {
            let path = self.store.layout.segment(file.start);
            let open = self.store.env.disk.open(&path, Access::Read).await;
            let open = open.map_err(OpenError::io("open", &path))?;
            let mut within = end.saturating_sub(file.start);
            while within < file.len {
                let chunk = open.read_at(within, CHUNK).await.map_err(OpenError::io("read", &path))?;
                if chunk.is_empty() {
                    break;
                }
                if let Some(index) = chunk.iter().rposition(|byte| *byte != 0) {
                    last = Some(file.start + within + index as u64);
                }
                within += chunk.len() as u64;
                self.advance(chunk.len() as u64);
            }
        }
        let Some(last) = last else { return Ok(()) };
        self.report.torn_bytes = last + 1 - end;
        if !self.report.has(Damage::Tail) {
            let what = format!("behind the end of the log, up to {last}, something is written");
            self.report.add(Damage::Tail, self.store.layout.segment(end), Some(end), what);
            self.first_invalid(end);
        }
        Ok(())
    }
}
