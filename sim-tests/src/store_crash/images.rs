//! Every sync of a workload, every kind of loss, every way to recover from it.

use std::time::Duration;

use staticfire::base::Draw;
use staticfire::sim::Limits;
use staticfire::sim::Outcome;
use staticfire::sim::Seed;
use staticfire::sim::disk::Loss;
use staticfire::sim::disk::Survival;
use staticfire::sim::run;

use super::recover::Patient;
use super::recover::Ward;
use super::work::Plan;
use super::work::work;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) operations: u64,
    pub(crate) records: u64,
    pub(crate) segments: u64,
    pub(crate) syncs: u64,
    /// Legal states of the disk after a crash at a sync.
    pub(crate) images: u64,
    pub(crate) recoveries: u64,
    pub(crate) interrupted: u64,
    pub(crate) rebuilt: u64,
    /// What those crashes destroyed.
    pub(crate) loss: Loss,
}

/// Crashes a workload at every sync, with bugs planted by name.
pub(crate) fn crash_everywhere(seed: u64, plan: Plan, planted: &[&str]) -> Outcome<Sum> {
    let limits = Limits {
        virtual_time: Duration::from_secs(100_000_000),
        real_time: Duration::from_secs(3_600),
        planted: planted.iter().map(|bug| (*bug).to_owned()).collect(),
        ..Limits::default()
    };
    run(Seed(seed), limits, move |world| async move {
        let workplace = world.machine("broker");
        let (model, moments) = work(&world, &workplace, &plan).await;
        let node = world.machine("patient");
        // Recovery depends on what is on the disk, not on how fast it is.
        node.disk().with_faults(|faults| (faults.latency_ns, faults.sync_latency_ns) = ((0, 0), (0, 0)));
        let mut ward =
            Ward { node: &node, config: plan.config.clone(), recoveries: 0, interrupted: 0, rebuilt: 0 };
        let mut sum = Sum { operations: plan.operations, records: model.len() as u64, ..Sum::default() };
        let looked_at = moments.into_iter().enumerate().step_by(plan.every.max(1));
        for (sync, moment) in looked_at {
            sum.syncs += 1;
            let seed = Draw::new(seed).at("image", sync as u64, 0);
            let durable = moment.acked.max(moment.visible);
            for n in 0..=plan.images {
                let killed = n == plan.images;
                let (image, how, at_least) = if killed {
                    (moment.image.clone(), "the process was killed".to_owned(), moment.appended)
                } else {
                    let (image, loss) = moment.image.crash_image(seed, n);
                    sum.loss.add(loss);
                    let how = Survival::EACH.get(n).copied().unwrap_or(Survival::Drawn);
                    (image, format!("the power was lost ({how:?})"), durable)
                };
                sum.images += 1;
                let text = format!("before sync {sync}, {how}");
                let seed = seed.wrapping_add(n as u64);
                let patient = Patient {
                    image,
                    model: &model,
                    at_least,
                    durable: killed.then_some(durable),
                    moment: &text,
                    seed,
                };
                ward.treat(patient).await;
            }
        }
        sum.recoveries = ward.recoveries;
        sum.interrupted = ward.interrupted;
        sum.rebuilt = ward.rebuilt;
        let segments = workplace.disk().image().files();
        sum.segments = segments.iter().filter(|(path, _)| path.contains("/commitlog/")).count() as u64;
        sum
    })
}
