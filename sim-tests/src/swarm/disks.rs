//! Brokers' disks from outside: bits that rot in closed records, and what the files hold in the end.
//!
//! What stands where a bit flips is read from the files before it flips, so that the loss of this very record is excused,
//! and of no other one. Bits flip in bodies alone: the format has no checksum over flags, addresses and properties, so
//! nobody can tell those from what was sent. They flip where the store no longer relies on memory and recovery no longer
//! looks for the log's end: what nobody has promised to be durable yet cannot be told from what rotted.
//!
//! Not here: unreadable sectors. The broker answers reads of one with an error for a minute before its readers may pass over
//! it (`store_faults`).

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use staticfire::client::MessageQueue;
use staticfire::protocol::record::RecordView;
use staticfire::sim::Node;
use staticfire::sim::World;
use staticfire::store::inspect::ClosedStore;
use staticfire::store::inspect::Damage;
use staticfire::store::inspect::Finding;
use staticfire::store::inspect::InspectError;
use staticfire::store::inspect::Seen;
use staticfire_chaos::cluster::Cluster;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::plan::Plan;
use crate::oracle::Rotten;
use crate::workload::TOPICS;

/// What a crash may cut off the log's end, at most: no closed record lies there.
const UNSURE_BYTES: u64 = 16 * 1024;

/// A message that a flipped bit hit, and its record's position in the log.
pub(super) type Hit = (u64, Rotten);

/// A record that may rot.
struct Closed {
    path: String,
    /// Where its body stands in its file, in bytes.
    body_at: u64,
    body_bytes: u64,
    position: u64,
    queue: Queue,
    offset: u64,
    key: MessageKey,
}

/// Flips bits now and then, and says which messages they hit. Does not end by itself.
pub(super) async fn rot(cluster: &Cluster, plan: Plan, hits: &Mutex<Vec<Hit>>) {
    let draw = cluster.world().draw().domain("rot");
    for nth in 0..plan.rots {
        let gap = draw.range("gap", nth, 0, 0, 2 * plan.chaos_ms / plan.rots);
        cluster.world().sleep(Duration::from_millis(gap)).await;
        let at = draw.range("broker", nth, 0, 0, cluster.brokers().len() as u64);
        let broker = cluster.broker(usize::try_from(at).expect("few brokers"));
        // A store may be anything while its broker starts.
        let Ok(closed) = closed_records(cluster, broker, plan, &format!("rot-{nth}")).await else { continue };
        let which = draw.range("record", nth, 0, 0, closed.len().max(1) as u64);
        let Some(record) = closed.get(usize::try_from(which).expect("few records")) else { continue };
        let byte = draw.range("byte", nth, 0, 0, record.body_bytes);
        if let Some(entry) = broker.disk().rot_at(&record.path, record.body_at + byte) {
            let entry = u32::try_from(entry).expect("a short ledger");
            let rotten = Rotten { queue: record.queue, offset: record.offset, key: record.key, entry };
            hits.lock().push((record.position, rotten));
        }
    }
    std::future::pending().await
}

/// A broker's files as a kill would leave them now, on a machine of their own.
async fn copy(world: &World, broker: &Node, plan: Plan, name: &str) -> Result<ClosedStore, InspectError> {
    let machine = world.machine(&format!("{name}-of-{}", broker.name()));
    machine.disk().restore(broker.disk().image());
    ClosedStore::open(&machine.env(), Path::new("store"), plan.shape.sizes()).await
}

/// Messages of clients that the broker reads from its disk alone, and that lie below every checkpoint.
async fn closed_records(
    cluster: &Cluster,
    broker: &Node,
    plan: Plan,
    name: &str,
) -> Result<Vec<Closed>, InspectError> {
    let store = copy(cluster.world(), broker, plan, name).await?;
    let report = store.check(&mut |_| {}).await?;
    let cold = report.end.saturating_sub(plan.shape.hot_bytes + UNSURE_BYTES);
    let end = report.checkpoint.unwrap_or(0).min(cold);
    let mut records = store.records(store.first())?;
    let mut closed = Vec::new();
    while let Some(seen) = records.next().await? {
        let Seen::Record(bytes) = seen else { continue };
        let Ok(view) = RecordView::decode(&bytes) else { continue };
        if view.physical.0 + view.total as u64 > end {
            break;
        }
        let is_message = TOPICS.iter().any(|(topic, ..)| *topic == view.topic) && view.is_queued();
        let Some((key, _)) = MessageKey::read(view.body).ok().filter(|_| is_message) else { continue };
        let segment = view.physical.0 - view.physical.0 % report.segment_bytes;
        let body_at = view.body.as_ptr() as usize - bytes.as_ptr() as usize;
        closed.push(Closed {
            path: format!("store/commitlog/{segment:020}"),
            body_at: view.physical.0 - segment + body_at as u64,
            body_bytes: view.body.len() as u64,
            position: view.physical.0,
            queue: cluster.history().queue(&MessageQueue::new(view.topic, broker.name(), view.queue)),
            offset: view.queue_offset.0,
            key,
        });
    }
    Ok(closed)
}

/// What `staticfire store check` says of the files that a kill of each broker would leave, but for the rotten records: that
/// they are none, and that their queues have no other record at their offsets.
pub(super) async fn damages(cluster: &Cluster, plan: Plan, hits: &[Hit]) -> Vec<(Name, Vec<String>)> {
    let mut found = Vec::new();
    for broker in cluster.brokers() {
        let name = cluster.history().name(broker.name());
        let hits: Vec<&Hit> = hits.iter().filter(|(_, rotten)| rotten.queue.broker == name).collect();
        let report = match copy(cluster.world(), broker, plan, "inspector").await {
            Ok(store) => store.check(&mut |_| {}).await,
            Err(error) => Err(error),
        };
        let damages = match report {
            Ok(report) => {
                let others = report.findings.iter().filter(|finding| !is_by_rot(cluster, &hits, finding));
                let more = (report.more_findings > 0).then(|| format!("{} more", report.more_findings));
                others.map(told_as).chain(more).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        found.push((name, damages));
    }
    found
}

/// Whether a finding is about rotten records and about nothing else.
fn is_by_rot(cluster: &Cluster, hits: &[&Hit], finding: &Finding) -> bool {
    let Some(at) = finding.at else { return false };
    let is_hit = |offset: u64| {
        hits.iter().any(|(_, Rotten { queue, offset: rotten, .. })| {
            let dir = format!("store/consumequeue/{}/{}", cluster.history().text(queue.topic), queue.id.0);
            *rotten == offset && finding.path.starts_with(dir)
        })
    };
    match finding.damage {
        Damage::Record => hits.iter().any(|(position, _)| *position == at),
        // The words say where the gap ends: one offset more than those that rotted is another matter.
        Damage::Gap if is_hit(at) => {
            let end = (at..).take_while(|offset| is_hit(*offset)).last().unwrap_or(at);
            finding.what == format!("offsets {at} to {end} have no record in the log")
        }
        // Of one offset: its queue's first or last one.
        Damage::Unit => is_hit(at),
        _ => false,
    }
}

fn told_as(finding: &Finding) -> String {
    let at = finding.at.map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{:?} in {}{at}: {}", finding.damage, finding.path.display(), finding.what)
}
