//! The workload, and what the disk looked like before each sync of it.

use staticfire::base::Draw;
use staticfire::env::Env;
use staticfire::protocol::record::NewRecord;
use staticfire::sim::Node;
use staticfire::sim::World;
use staticfire::sim::disk::DiskImage;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::Store;

use super::records;
use super::records::Model;
use super::records::QUEUES;
use super::records::append;
use super::records::contents;

/// What to do how often, to which store.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) operations: u64,
    /// Successors of each moment.
    pub(crate) images: usize,
    /// Only every so many syncs are looked at.
    pub(crate) every: usize,
    pub(crate) config: Config,
}

/// An image, and what had been promised when it was taken.
pub(crate) struct Moment {
    pub(crate) image: DiskImage,
    /// Records whose durability had been waited for.
    pub(crate) acked: usize,
    /// Records that had been appended for sure.
    pub(crate) appended: usize,
    /// Records that a reader could see.
    pub(crate) visible: usize,
}

/// Runs the workload on `node`.
pub(crate) async fn work(world: &World, node: &Node, plan: &Plan) -> (Model, Vec<Moment>) {
    let draw = world.draw().domain("workload");
    let mut model = Model::default();
    let mut moments = Vec::new();
    let mut acked = 0;
    node.disk().record_images();
    let (mut store, _) = Store::open(&node.env(), plan.config.clone()).await.expect("opens");
    for n in 0..plan.operations {
        let before = (acked, model.len(), visible(&store, plan));
        if draw.chance("restart", 0, n, 10_000) {
            if draw.chance("clean", 0, n, 500_000) {
                store.shutdown().await.expect("shuts down");
            }
            drop(store);
            node.kill();
            node.restart();
            (store, _) = Store::open(&node.env(), plan.config.clone()).await.expect("opens again");
            let found = contents(&store, &model, "after a kill").await;
            assert_eq!(found.records, model.len(), "O1: a killed process loses nothing");
            acked = model.len();
        } else {
            let unit = unit(draw, n, &mut model);
            let appended = append(&store, &unit).await.expect("appends");
            let waits = draw.chance("wait", 0, n, 700_000);
            if let Some(last) = appended.last().filter(|_| waits) {
                store.wait_durable(last.end()).await.expect("becomes durable");
                acked = model.len();
            } else {
                pause(&node.env(), draw, n).await;
            }
        }
        let (acked, appended, visible) = before;
        let images = node.disk().take_images().into_iter();
        moments.extend(images.map(|image| Moment { image, acked, appended, visible }));
    }
    let visible = visible(&store, plan);
    moments.push(Moment { image: node.disk().image(), acked, appended: model.len(), visible });
    (model, moments)
}

fn visible(store: &Store, plan: &Plan) -> usize {
    // Under async flush what a reader saw may be lost with the power.
    if plan.config.flush == Flush::Sync { records::visible(store) } else { 0 }
}

fn unit(draw: Draw, n: u64, model: &mut Model) -> Vec<NewRecord> {
    let count = draw.range("unit", 0, n, 1, 6);
    let record = |i| {
        let key = n << 8 | i;
        let queue = u32::try_from(draw.range("queue", 0, key, 0, u64::from(QUEUES))).expect("few");
        let bytes = draw.range("bytes", 0, key, 8, 1 << draw.range("scale", 0, key, 4, 12));
        model.push(queue, bytes as usize)
    };
    (0..count).map(record).collect()
}

async fn pause(env: &Env, draw: Draw, n: u64) {
    if draw.chance("pause", 0, n, 200_000) {
        env.sleep_ms(draw.range("pause.ms", 0, n, 1, 100)).await;
    }
}
