//! The loop of a worker: hand out, pull, renew, commit, and react to whatever ends first.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use super::End;
use super::Pull;
use super::Report;
use super::Wish;
use super::Worker;
use super::ended;
use crate::base::Mono;
use crate::base::QueueOffset;
use crate::client::RequestError;
use crate::client::broker::PullAnswer;
use crate::client::broker::PullStatus;
use crate::client::broker::wire_id;
use crate::client::broker::wire_offset;
use crate::client::consumer::MessageView;
use crate::client::consumer::Subscription;
use crate::client::consumer::settle;
use crate::client::consumer::settle::Fate;
use crate::client::member::UNFOLDED_BYTES_MAX;
use crate::client::planted;
use crate::machine::consume::Order;
use crate::machine::consume::ProcessQueue;
use crate::machine::consume::Taken;
use crate::protocol::ResponseCode;
use crate::protocol::command::pull;
use crate::protocol::command::pull::pull_flag;
use crate::protocol::message::ReceivedMessage;
use crate::protocol::record;
use crate::protocol::subscription;

/// Pause after a pull failed, in milliseconds (`pullTimeDelayMillsWhenException`).
const FAILED_PAUSE_MS: u64 = 3_000;
/// Pause when a broker asks for one by FLOW_CONTROL, in milliseconds.
const FLOW_CONTROL_PAUSE_MS: u64 = 20;
/// A broker that finds nothing and does not hold the pull is asked again after so many milliseconds.
const UNHELD_PAUSE_MS: u64 = 100;
/// A renewal that got no answer is repeated after so many milliseconds.
const RENEW_AGAIN_MS: u64 = 1_000;

enum Event {
    Woken,
    Handled(Report),
    Pulled(QueueOffset, Mono, Result<PullAnswer, RequestError>),
    Renewed(Mono, Result<bool, RequestError>),
    Committed(QueueOffset, Result<(), RequestError>),
    Permit(OwnedSemaphorePermit),
    Due,
}

impl Worker {
    /// Works until something ends it and the last handler has returned.
    pub(super) async fn work(&mut self, start: QueueOffset) -> End {
        self.open(start);
        let mut end = None;
        loop {
            let now = self.now();
            if end.is_none() {
                end = self.ends(now);
                if let Some(end) = end {
                    self.close(now, end).await;
                }
            }
            if let Some(end) = end
                && self.idle()
            {
                return end;
            }
            let starved = end.is_none() && self.hand_out(now);
            if end.is_none() {
                self.start_pull(now);
                self.start_periodic_commit(now);
            }
            self.start_renewal(now, end);
            let event = self.next_event(starved, self.deadline(starved, end)).await;
            if let Some(restart) = self.on_event(event) {
                end = end.or(Some(restart));
                let now = self.now();
                self.close(now, restart).await;
            }
        }
    }

    fn open(&mut self, start: QueueOffset) {
        let now = self.now();
        let mut process = ProcessQueue::new(self.inner.order(), self.inner.config.window, start);
        if self.inner.order() == Order::Orderly {
            // Without a group to share the queue with, there is nobody to take it.
            process.on_locked(self.locked_at.unwrap_or(Mono::NEVER));
        }
        let replaced = self.assigned.state.lock().process.replace(process);
        assert!(replaced.is_none(), "the former start was finished");
        self.pull_not_before = now;
        self.commit_at = now.plus_ms(self.inner.config.persist_ms);
        self.renew_at = self.locked_at.map_or(Mono::NEVER, |at| at.plus_ms(self.inner.config.renew_lock_ms));
    }

    /// Why work should end now, if it should.
    fn ends(&self, now: Mono) -> Option<End> {
        let mut state = self.assigned.state.lock();
        let leased = state.process.as_ref().is_some_and(|process| process.leased(now));
        match state.wish {
            Wish::Revoke => Some(End::Revoked),
            Wish::Stop => Some(End::Stopped),
            Wish::Work if !leased => Some(End::LeaseLost),
            Wish::Work => state.reset.take().map(End::Restart),
        }
    }

    /// Nothing is pulled or handed out from here on.
    async fn close(&mut self, now: Mono, end: End) {
        self.pull = None;
        tracing::debug!(queue = %self.assigned.queue, ?end, "closing");
        if end == End::Revoked && self.inner.order() == Order::Concurrent {
            // The next owner starts at once: what is settled by now is committed, nothing later.
            self.settle_commit().await;
            if let Some(to) = self.assigned.commit(now) {
                self.start_commit(to);
            }
        }
        if end == End::Revoked && self.unlocks_early() {
            self.unlock(end).await;
        }
        // A stopping consumer still owns its queue: what its handlers finish is committed.
        if end != End::Stopped {
            self.with_process(ProcessQueue::revoke);
        }
    }

    /// Starts handlers; true if there is more to hand out than there are permits.
    fn hand_out(&mut self, now: Mono) -> bool {
        while self.with_process(|process| process.due(now)) {
            match Arc::clone(&self.inner.permits).try_acquire_owned() {
                Ok(permit) => self.start_handler(now, permit),
                Err(_) => return true,
            }
        }
        false
    }

    fn start_handler(&mut self, now: Mono, permit: OwnedSemaphorePermit) {
        let batch_max = self.inner.config.batch_max;
        let batch = self.with_process(|process| process.take(now, batch_max));
        if batch.is_empty() {
            return;
        }
        let handler = self.next_handler;
        self.next_handler += 1;
        let (inner, assigned) = (Arc::clone(&self.inner), Arc::clone(&self.assigned));
        let reporting = Reporting::new(handler, &batch, now, &self.reports.0);
        let handled = async move {
            let fates = settle::handle(&inner, &assigned, batch).await;
            drop(permit);
            reporting.end(fates);
        };
        self.handlers.insert(handler, self.inner.client.shared.env.spawn("handler", handled));
    }

    fn start_pull(&mut self, now: Mono) {
        let full = self.with_process(|process| process.full().is_some());
        if self.pull.is_some() || now < self.pull_not_before || full {
            return;
        }
        let begin = self.with_process(|process| process.next_pull());
        let Some(request) = self.pull_request(begin) else { return };
        let (inner, from) = (Arc::clone(&self.inner), self.pull_from);
        let broker = Arc::clone(&self.assigned.queue.broker);
        let answer = Box::pin(async move {
            let shared = &inner.client.shared;
            let addr = shared.addr(&broker, from).or_else(|| shared.any(&broker));
            let addr = addr.ok_or_else(|| RequestError::NoAddress { broker: broker.to_string() })?;
            shared.pull(&addr, &request, inner.config.pull_timeout_ms).await
        });
        self.pull = Some(Pull { begin, asked: now, answer });
    }

    fn pull_request(&self, begin: QueueOffset) -> Option<pull::Pull> {
        let (config, queue) = (&self.inner.config, &self.assigned.queue);
        let subscription = self.subscription()?;
        Some(pull::Pull {
            consumer_group: config.group.clone(),
            topic: queue.topic.to_string(),
            queue_id: wire_id(queue),
            queue_offset: wire_offset(begin),
            max_msg_nums: config.pull_max,
            sys_flag: pull_flag::SUSPEND | pull_flag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_ms: i64::try_from(config.suspend_ms).unwrap_or(i64::MAX),
            subscription: Some(subscription.expression.clone()),
            sub_version: subscription.version,
            expression_type: Some(subscription::TAG.to_owned()),
            broker_name: Some(queue.broker.to_string()),
            ..pull::Pull::default()
        })
    }

    fn start_periodic_commit(&mut self, now: Mono) {
        if self.commit.is_some() || now < self.commit_at {
            return;
        }
        self.commit_at = now.plus_ms(self.inner.config.persist_ms);
        let shared = &self.inner.client.shared;
        let to = match self.assigned.commit(now) {
            Some(_) if shared.env.planted(planted::COMMIT_BEFORE_PROCESSED) => {
                Some(self.with_process(|process| process.next_pull()))
            }
            to => to,
        };
        match to {
            Some(to) if self.persisted == Some(to) && shared.env.planted(planted::COMMIT_ONCE) => {}
            Some(to) if self.persisted == Some(to) => self.repeat_commit(to),
            Some(to) => self.start_commit(to),
            None => {}
        }
    }

    /// Renews the lock, also while the last handlers finish.
    fn start_renewal(&mut self, now: Mono, end: Option<End>) {
        let early = end == Some(End::Revoked) && self.unlocks_early();
        if !self.inner.locks() || self.renewal.is_some() || now < self.renew_at || early {
            return;
        }
        let (inner, queue) = (Arc::clone(&self.inner), self.assigned.queue.clone());
        self.renewal = Some(Box::pin(async move {
            let shared = &inner.client.shared;
            let granted = match shared.master_of(&queue) {
                Ok(addr) => shared.lock(&addr, &inner.config.group, &queue).await,
                Err(error) => Err(error),
            };
            (now, granted)
        }));
    }

    fn deadline(&self, starved: bool, end: Option<End>) -> Mono {
        let mut deadline = Mono::NEVER;
        if self.inner.locks() && self.renewal.is_none() {
            deadline = deadline.min(self.renew_at);
        }
        if end.is_some() {
            return deadline;
        }
        let (full, retry, lease) = self.with_process(|process| {
            (process.full().is_some(), process.next_deadline(), process.lease_ends())
        });
        if self.pull.is_none() && !full {
            deadline = deadline.min(self.pull_not_before);
        }
        if self.commit.is_none() {
            deadline = deadline.min(self.commit_at);
        }
        if let Some(retry) = retry.filter(|_| !starved) {
            deadline = deadline.min(retry);
        }
        deadline.min(lease.unwrap_or(Mono::NEVER))
    }

    async fn next_event(&mut self, starved: bool, deadline: Mono) -> Event {
        let permits = Arc::clone(&self.inner.permits);
        let sleep = self.inner.client.shared.env.clock.sleep_until(deadline);
        tokio::select! {
            biased;
            () = self.assigned.wake.notified() => Event::Woken,
            Some(report) = self.reports.1.recv() => Event::Handled(report),
            (begin, asked, answer) = pulled(&mut self.pull) => Event::Pulled(begin, asked, answer),
            (asked, granted) = ended(&mut self.renewal) => Event::Renewed(asked, granted),
            (to, result) = ended(&mut self.commit) => Event::Committed(to, result),
            Ok(permit) = permits.acquire_owned(), if starved => Event::Permit(permit),
            () = sleep => Event::Due,
        }
    }

    /// `Some` when work has to start again elsewhere.
    fn on_event(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Woken | Event::Due => {}
            Event::Handled(report) => self.on_handled(report),
            Event::Pulled(begin, asked, Ok(answer)) => return self.on_pulled(begin, asked, &answer),
            Event::Pulled(_, _, Err(error)) => self.on_pull_failed(&error),
            Event::Renewed(asked, granted) => self.on_renewed(asked, granted),
            Event::Committed(to, result) => self.on_committed(to, result),
            Event::Permit(permit) => {
                let now = self.now();
                self.start_handler(now, permit);
            }
        }
        None
    }

    fn on_handled(&mut self, report: Report) {
        self.handlers.remove(&report.handler);
        self.with_process(|process| {
            for (offset, fate) in report.fates {
                match fate {
                    Fate::Settled => process.on_done(offset),
                    Fate::Again { not_before } => process.on_failed(offset, not_before),
                }
            }
            process.check_invariants();
        });
    }

    fn on_pulled(&mut self, begin: QueueOffset, asked: Mono, answer: &PullAnswer) -> Option<End> {
        let now = self.now();
        self.pull_from = answer.suggested;
        let messages = match answer.status {
            PullStatus::Found => match self.decode(&answer.body) {
                Ok(messages) => messages,
                Err(error) => {
                    tracing::warn!(queue = %self.assigned.queue, %begin, %error, "a pulled message cannot be read");
                    self.pull_not_before = now.plus_ms(FAILED_PAUSE_MS);
                    return None;
                }
            },
            PullStatus::OffsetIllegal if answer.next < begin => {
                tracing::warn!(queue = %self.assigned.queue, %begin, next = %answer.next, "the queue ends before our offset");
                return Some(End::Restart(answer.next));
            }
            PullStatus::OffsetIllegal => {
                tracing::warn!(queue = %self.assigned.queue, %begin, next = %answer.next, "what was there is gone");
                Vec::new()
            }
            PullStatus::NothingNew | PullStatus::NothingMatched => Vec::new(),
        };
        if answer.status == PullStatus::NothingNew
            && now.since(asked).as_millis() < u128::from(UNHELD_PAUSE_MS)
        {
            self.pull_not_before = now.plus_ms(UNHELD_PAUSE_MS);
        }
        if !self.with_process(|process| process.on_pulled(begin, messages, answer.next)) {
            tracing::warn!(queue = %self.assigned.queue, %begin, next = %answer.next, "a pull was answered with nonsense");
            self.pull_not_before = now.plus_ms(FAILED_PAUSE_MS);
        }
        None
    }

    fn on_pull_failed(&mut self, error: &RequestError) {
        let slow_down = error.refusal() == Some(ResponseCode::FlowControl.number());
        tracing::debug!(queue = %self.assigned.queue, %error, "a pull failed");
        let pause = if slow_down { FLOW_CONTROL_PAUSE_MS } else { FAILED_PAUSE_MS };
        self.pull_not_before = self.now().plus_ms(pause);
        if !slow_down {
            self.inner.client.shared.refresh_soon();
        }
    }

    fn on_renewed(&mut self, asked: Mono, granted: Result<bool, RequestError>) {
        match granted {
            Ok(true) => {
                self.locked_at = Some(asked);
                self.renew_at = asked.plus_ms(self.inner.config.renew_lock_ms);
                self.with_process(|process| process.on_locked(asked));
            }
            Ok(false) => {
                tracing::warn!(queue = %self.assigned.queue, "the lock is another member's now");
                self.locked_at = None;
                self.renew_at = Mono::NEVER;
                self.with_process(ProcessQueue::on_lock_refused);
            }
            Err(error) => {
                tracing::info!(queue = %self.assigned.queue, %error, "the lock was not renewed");
                self.renew_at = self.now().plus_ms(RENEW_AGAIN_MS);
            }
        }
    }

    /// The messages of an answer that the subscription wants: offset, size, message. The broker compares hash codes of
    /// tags, here the tags themselves count.
    fn decode(&self, body: &Bytes) -> Result<Vec<(QueueOffset, usize, MessageView)>, String> {
        let Some(subscription) = self.subscription() else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        for record in record::split_records(body) {
            let record = record.map_err(|error| error.to_string())?;
            let message = ReceivedMessage::from_record(&record, UNFOLDED_BYTES_MAX);
            let message = message.map_err(|error| error.to_string())?;
            if subscription.filter.matches(message.message.tag()) {
                let (offset, bytes) = (message.queue_offset, message.message.body.len());
                messages.push((offset, bytes, MessageView::new(message, &self.assigned.queue)));
            }
        }
        Ok(messages)
    }

    fn subscription(&self) -> Option<&Subscription> {
        self.inner.subscriptions.get(&self.assigned.queue.topic)
    }

    fn with_process<T>(&self, ask: impl FnOnce(&mut ProcessQueue<MessageView>) -> T) -> T {
        let mut state = self.assigned.state.lock();
        ask(state.process.as_mut().expect("a queue is worked on between open and finish"))
    }
}

/// Reports a batch however its handler ends: one that panicked counts as failed.
struct Reporting {
    handler: u64,
    fates: Vec<(QueueOffset, Fate)>,
    to: mpsc::UnboundedSender<Report>,
}

impl Reporting {
    fn new(
        handler: u64,
        batch: &[Taken<MessageView>],
        now: Mono,
        to: &mpsc::UnboundedSender<Report>,
    ) -> Reporting {
        let again = Fate::Again { not_before: now.plus_ms(FAILED_PAUSE_MS) };
        let fates = batch.iter().map(|taken| (taken.offset, again)).collect();
        Reporting { handler, fates, to: to.clone() }
    }

    fn end(mut self, fates: Vec<(QueueOffset, Fate)>) {
        self.fates = fates;
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        let report = Report { handler: self.handler, fates: std::mem::take(&mut self.fates) };
        // Nobody listens when the whole consumer is dropped.
        let _ = self.to.send(report);
    }
}

async fn pulled(pull: &mut Option<Pull>) -> (QueueOffset, Mono, Result<PullAnswer, RequestError>) {
    match pull {
        Some(Pull { begin, asked, answer }) => {
            let (begin, asked, answer) = (*begin, *asked, answer.await);
            *pull = None;
            (begin, asked, answer)
        }
        None => std::future::pending().await,
    }
}
