//! The course of one run, from an empty world to a history that is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use staticfire::broker::config::DelayLevels;
use staticfire::broker::config::FlushDiskType;
use staticfire::protocol::names;
use staticfire::sim::Crash;
use staticfire::sim::Damage;
use staticfire::sim::Faults;
use staticfire::sim::Node;
use staticfire::sim::World;
use staticfire_chaos::cluster::Cluster;
use staticfire_chaos::history::Record;
use staticfire_chaos::identity::MessageKey;

use super::disks;
use super::plan;
use super::plan::Plan;
use super::settling::settle;
use crate::oracle::Contract;
use crate::oracle::Group;
use crate::workload::ATTEMPTS;
use crate::workload::ORDERS;
use crate::workload::PLAIN;
use crate::workload::RETRIES;
use crate::workload::Site;
use crate::workload::TOPICS;
use crate::workload::TRADES;
use crate::workload::consume;
use crate::workload::produce;
use crate::workload::trade;

/// Between two looks of the observer.
const LOOK_EVERY: Duration = Duration::from_millis(900);

/// Runs one seed's plan.
pub(crate) async fn run(world: World) -> (Record, Contract) {
    let plan = Plan::draw(world.draw());
    let builder = Cluster::builder(&world)
        .name_servers(plan.name_servers)
        .brokers(plan.brokers)
        .flush(plan.flush)
        .queues(plan.queues)
        .store_config(move |store| plan.shape.put_into(store))
        .topic(PLAIN)
        .topic(ORDERS)
        .topic(TRADES)
        .transaction_checks(plan::CHECK_AFTER_MS, plan::CHECK_EVERY_MS)
        .broker_config(|config| {
            config.transaction_check_max = plan::CHECKS_MAX;
            config.channel_expired_ms = plan::EXPIRY_MS;
            config.register_name_server_ms = 10_000;
            config.delay_levels = DelayLevels::parse(plan::LEVELS).expect("levels parse");
        });
    let cluster = builder.build().await.expect("a cluster without faults finds itself");
    let site = Arc::new(Site::new(plan, world.draw(), cluster.promise(), cluster.history()));
    let clients = start_clients(&cluster, &site);
    observe(&cluster);
    let hits = Mutex::default();
    tokio::select! {
        biased;
        () = break_things(&world, &cluster, &clients, plan) => {}
        () = disks::rot(&cluster, plan, &hits) => {}
    }
    let hits = hits.into_inner();
    let rotten: BTreeSet<MessageKey> = hits.iter().map(|(_, rotten)| rotten.key).collect();
    replace_bad_disks(&world, &cluster);
    let healed_at = now(&world);
    let mut not_live = settle(&cluster, &site, &rotten).await;
    look(&cluster, plan, &mut not_live).await;
    for broker in cluster.brokers() {
        if plan.power {
            broker.os_crash();
        }
        broker.restart();
    }
    let second_look_at = now(&world);
    if not_live.is_none() {
        not_live =
            settle(&cluster, &site, &rotten).await.map(|what| format!("after the last restart: {what}"));
    }
    look(&cluster, plan, &mut not_live).await;
    let files = disks::damages(&cluster, plan, &hits).await;
    let mut contract = contract(&cluster, healed_at, second_look_at, not_live);
    contract.only_crashes = plan.only_crashes;
    contract.rotten = hits.into_iter().map(|(_, rotten)| rotten).collect();
    contract.files = files;
    (cluster.history().seal(), contract)
}

fn now(world: &World) -> u64 {
    u64::try_from(world.now().as_nanos()).unwrap_or(u64::MAX)
}

fn start_clients(cluster: &Cluster, site: &Arc<Site>) -> Vec<Node> {
    let plan = site.plan;
    let mut nodes = Vec::new();
    for n in 1..=plan.producers {
        let name = format!("producer-{n}");
        site.assign(&format!("{name} plain"), plan.plain);
        site.assign(&format!("{name} orders"), plan.orders);
        let site = Arc::clone(site);
        nodes.push(cluster.process(&name, move |process| produce::run(process, Arc::clone(&site))));
    }
    for n in 1..=plan.traders {
        let name = format!("trader-{n}");
        site.assign(&format!("{name} trades"), plan.trades);
        let site = Arc::clone(site);
        nodes.push(cluster.process(&name, move |process| trade::run(process, Arc::clone(&site))));
    }
    for n in 1..=plan.members {
        let site = Arc::clone(site);
        let name = format!("member-{n}");
        nodes.push(cluster.process(&name, move |process| consume::run(process, Arc::clone(&site))));
    }
    nodes
}

/// Notes bounds and committed offsets now and then, until the world ends.
fn observe(cluster: &Cluster) {
    let observed = cluster.clone();
    cluster.world().spawn(async move {
        let cluster = observed;
        loop {
            cluster.world().sleep(LOOK_EVERY).await;
            for (topic, group, _) in TOPICS {
                // Brokers are down now and then; what they say when they are up is what counts.
                let _ = cluster.operator().lag(group, topic).await;
                let _ = cluster.operator().lag(group, &names::retry_topic(group)).await;
            }
        }
    });
}

async fn break_things(world: &World, cluster: &Cluster, clients: &[Node], plan: Plan) {
    if plan.only_crashes {
        return cut_power(world, cluster, clients, plan).await;
    }
    let mut victims = cluster.servers();
    victims.extend_from_slice(clients);
    let nemesis = world.nemesis(Faults::swarm(world.draw(), &victims));
    world.sleep(Duration::from_millis(plan.chaos_ms)).await;
    nemesis.stop().await;
}

/// Every broker loses its power every nine seconds or so, a little apart from each other, with much unsynced: whatever was
/// decided some seconds before is durable, and nothing that was written down less often than every five seconds is.
async fn cut_power(world: &World, cluster: &Cluster, clients: &[Node], plan: Plan) {
    let draw = world.draw().domain("power");
    for broker in cluster.brokers() {
        broker.disk().with_faults(|faults| faults.sync_latency_ns = (20_000_000, 150_000_000));
    }
    let started = world.now();
    let traders: Vec<Node> =
        clients.iter().filter(|node| node.name().starts_with("trader")).cloned().collect();
    for turn in 0.. {
        // All traders are away for longer than all checks of a half take.
        if turn == 1 {
            traders.iter().for_each(Node::kill);
        }
        world.sleep(Duration::from_millis(draw.range("gap", turn, 0, 8_500, 9_500))).await;
        if turn == 2 {
            traders.iter().for_each(Node::restart);
        }
        if world.now().saturating_sub(started) >= Duration::from_millis(plan.chaos_ms) {
            break;
        }
        for (n, broker) in (0..).zip(cluster.brokers()) {
            world.sleep(Duration::from_millis(draw.range("apart", turn, n, 0, 200))).await;
            // Every other time in the middle of a sync, if there is one soon: something is torn then.
            if draw.range("in a sync", turn, n, 0, 2) == 0 {
                broker.crash_at("store.sync", 1, Crash::Os);
                tokio::select! {
                    biased;
                    () = broker.down() => {}
                    () = world.sleep(Duration::from_millis(500)) => {}
                }
                broker.forget_crash_points();
            }
            if broker.is_up() {
                broker.os_crash();
            }
            world.sleep(Duration::from_millis(draw.range("down", turn, n, 1, 200))).await;
            broker.restart();
        }
    }
    world.heal_all();
}

/// A broker whose disk once failed refuses writes until it is started again: somebody replaces the disk's cable.
fn replace_bad_disks(world: &World, cluster: &Cluster) {
    let ledger = world.ledger();
    let latched = world.probes().contains_key("store.latched");
    for broker in cluster.brokers() {
        let failed = ledger.iter().any(|entry| {
            entry.node == broker.id()
                && matches!(entry.damage, Damage::SyncFailed { .. } | Damage::IoError { .. })
        });
        if failed || latched {
            broker.restart();
        }
    }
}

/// Reads everything that anybody may have written.
async fn look(cluster: &Cluster, plan: Plan, not_live: &mut Option<String>) {
    let operator = cluster.operator();
    for (topic, group, _) in TOPICS {
        for queue in operator.queues(topic, plan.queues) {
            if let Err(error) = operator.read_all(&queue).await {
                not_live.get_or_insert(format!("{queue} cannot be read: {error}"));
            }
        }
        // These exist only where something went wrong.
        for topic in [names::retry_topic(group), names::dlq_topic(group)] {
            for queue in operator.queues(&topic, 1) {
                let _ = operator.read_all(&queue).await;
            }
        }
    }
    for queue in operator.queues(names::CHECK_MAX_TIME_TOPIC, 1) {
        let _ = operator.read_all(&queue).await;
    }
}

fn contract(cluster: &Cluster, healed_at: u64, second_look_at: u64, not_live: Option<String>) -> Contract {
    let history = cluster.history();
    let groups = TOPICS.map(|(topic, group, ordered)| Group {
        name: history.name(group),
        topic: history.name(topic),
        retry: history.name(&names::retry_topic(group)),
        dead: history.name(&names::dlq_topic(group)),
        ordered,
        retries: RETRIES,
    });
    Contract {
        promise: cluster.promise(),
        groups: groups.to_vec(),
        discard: history.name(names::CHECK_MAX_TIME_TOPIC),
        checks_max: plan::CHECKS_MAX as usize,
        retry_ns: plan::RETRY_NS.to_vec(),
        attempts_max: ATTEMPTS as usize,
        healed_at,
        second_look_at,
        not_live,
        only_crashes: false,
        rotten: Vec::new(),
        files: Vec::new(),
    }
}

/// In words, for a report.
pub(crate) fn mode(plan: &Plan) -> &'static str {
    match plan.flush {
        FlushDiskType::Sync => "sync flush, one copy",
        FlushDiskType::Async => "async flush, one copy",
    }
}
