//! Transactions: half messages whose truth is known to every member of the group, at the latest when it is asked again.
//!
//! A trader sometimes does not know at once, sometimes not at the first check, and for some messages nobody ever knows:
//! those must end in the discard topic after as many checks as were promised, all of them delivered.
//! A half is sent once and never again, so that a second copy of its message is somebody's mistake.

use std::sync::Arc;

use staticfire::client::Decision;
use staticfire::client::Message;
use staticfire::client::ReceivedMessage;
use staticfire::client::SendStatus;
use staticfire::client::TransactionListener;
use staticfire::env::BoxFuture;
use staticfire_chaos::cluster::Process;
use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Verdict;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;

use super::Site;
use super::TRADES;
use super::Truth;

pub(crate) const GROUP: &str = "p-trades";

struct Listener {
    process: Process,
    site: Arc<Site>,
}

/// The life of a trader's process.
pub(crate) async fn run(process: Process, site: Arc<Site>) {
    let client = process.client().heartbeat_ms(1_000).poll_name_server_ms(2_000).start().await;
    let client = client.expect("a client that has a name server starts");
    let listener = Listener { process: process.clone(), site: Arc::clone(&site) };
    let builder = client.producer(GROUP).timeout_ms(3_000).retries(0);
    let producer =
        builder.start_transactional(listener).await.expect("a process has one producer of a group");
    let work = async {
        let job = format!("{} trades", process.name());
        while let Some(key) = site.next(&job, |_| 0) {
            process.env.sleep_ms(site.of("pause", key, 2 * site.plan.trades_gap_ms)).await;
            let message = site.invoke(&process, TRADES, key, Intent::Half);
            match producer.send_in_transaction(message).await {
                Ok(receipt) if receipt.half.status == SendStatus::Ok => process.note(What::HalfSent {
                    key,
                    queue: process.history().queue(&receipt.half.queue),
                    half_offset: receipt.half.offset,
                }),
                // Not as durable as promised: the client rolls it back without asking.
                Ok(_) => process.note(What::Decision { key, verdict: Verdict::Rollback, asked: false }),
                Err(error) => {
                    let outcome = site.outcome(&process, &Err(error), 0);
                    process.note(What::SendEnded { key, outcome });
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = process.stop.asked() => {}
        () = work => process.stop.asked().await,
    }
    process.note(What::MemberLeft { group: process.history().name(GROUP) });
    producer.stop().await;
}

impl Listener {
    fn decide(&self, key: MessageKey, knows: bool, asked: bool) -> Decision {
        let (decision, verdict) = match self.site.truth(key) {
            Truth::Commit if knows => (Decision::Commit, Verdict::Commit),
            Truth::Rollback if knows => (Decision::Rollback, Verdict::Rollback),
            _ => (Decision::Unknown, Verdict::Unknown),
        };
        self.process.note(What::Decision { key, verdict, asked });
        decision
    }
}

impl TransactionListener for Listener {
    fn execute<'a>(&'a self, message: &'a Message, _: &'a str) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let (key, _) = MessageKey::read(&message.body).expect("a producer is handed its own message");
            self.process.env.sleep_ms(self.site.of("execute", key, 50)).await;
            self.decide(key, self.site.of("knows at once", key, 100) < 70, false)
        })
    }

    fn check<'a>(&'a self, message: &'a ReceivedMessage) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let Ok((key, _)) = MessageKey::read(&message.message.body) else {
                self.process.note(damaged(&self.process, message));
                return Decision::Unknown;
            };
            let group = self.process.history().name(GROUP);
            self.process.note(What::CheckAsked { key, group });
            let times = self.site.asked(key);
            self.decide(key, times > 1 || self.site.of("knows when asked", key, 100) < 80, true)
        })
    }
}

fn damaged(process: &Process, message: &ReceivedMessage) -> What {
    let queue = staticfire::client::MessageQueue::new(&message.message.topic, "?", message.queue);
    What::Damaged {
        queue: process.history().queue(&queue),
        offset: message.queue_offset,
        len: u32::try_from(message.message.body.len()).unwrap_or(u32::MAX),
    }
}
