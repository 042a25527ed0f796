//! Writes the broker's tables down: topics and groups when they change, offsets and cursors every few seconds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::core::Core;
use crate::broker::handler::admin::group;
use crate::broker::tables;
use crate::broker::tables::Files;
use crate::broker::tables::LeaseFile;
use crate::machine::topic::DataVersion;
use crate::protocol::body::Body;
use crate::protocol::body::topic::TopicConfigFile;
use crate::store::config_file;
use crate::store::config_file::SaveError;

/// What the files hold.
#[derive(Default)]
struct Saved {
    topics: Option<DataVersion>,
    groups: Option<DataVersion>,
}

/// Runs until the broker stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut saved = Saved::default();
    let period = Duration::from_millis(core.config.flush_consumer_offset_ms);
    // Its own clock: tables that change all the time must not put the progress off.
    let mut due = core.env.now().plus(period);
    loop {
        let timer = core.env.clock.sleep_until(due);
        let changed = core.wake.persist.notified();
        tokio::select! {
            biased;
            () = timer => {
                save_progress(&core).await;
                due = core.env.now().plus(period);
            }
            () = changed => {}
        }
        save_tables(&core, &mut saved).await;
    }
}

/// Everything, whether it changed or not: the broker stops.
pub(crate) async fn save_all(core: &Arc<Core>) {
    save_tables(core, &mut Saved::default()).await;
    save_progress(core).await;
    if let Err(error) = save_leases(core).await {
        tracing::warn!(%error, "the queue leases are not written down");
    }
}

async fn save_tables(core: &Core, saved: &mut Saved) {
    let files = Files::new(&core.config.store_path_root);
    let (version, content) = {
        let topics = core.topics.lock();
        (topics.version(), (saved.topics != Some(topics.version())).then(|| topics_file(&topics)))
    };
    if let Some(content) = content
        && save(core, files.topics(), content).await
    {
        saved.topics = Some(version);
    }
    let (version, content) = {
        let version = core.groups.lock().version();
        (version, (saved.groups != Some(version)).then(|| group::table(core).encode()))
    };
    if let Some(content) = content
        && save(core, files.groups(), content).await
    {
        saved.groups = Some(version);
    }
}

/// Who holds which queue. Ends once that is on disk.
pub(crate) async fn save_leases(core: &Core) -> Result<(), SaveError> {
    let files = Files::new(&core.config.store_path_root);
    // One at a time: an older table must not replace a newer one.
    let _turn = core.lease_file.lock().await;
    let content = LeaseFile { leases: core.order.lock().snapshot() }.encode();
    config_file::save(&core.env, &files.leases(), content.into()).await
}

/// Offsets and cursors, if they have moved.
pub(crate) async fn save_progress(core: &Core) {
    let files = Files::new(&core.config.store_path_root);
    let offsets = {
        let offsets = core.offsets.lock();
        offsets.is_dirty().then(|| offsets.snapshot())
    };
    if let Some((table, changes)) = offsets
        && save(core, files.offsets(), table.encode()).await
    {
        core.offsets.lock().on_persisted(changes);
    }
    let delays = {
        let delay = core.delay.lock();
        delay.is_dirty().then(|| delay.snapshot())
    };
    if let Some((table, changes)) = delays
        && save(core, files.delays(), table.encode()).await
    {
        core.delay.lock().on_persisted(changes);
    }
}

fn topics_file(topics: &crate::machine::topic::Topics) -> Vec<u8> {
    let table = TopicConfigFile {
        data_version: tables::version_body(topics.version()),
        topic_config_table: topics
            .iter()
            .map(|topic| (topic.name.clone(), tables::topic_body(topic)))
            .collect(),
    };
    table.encode()
}

/// A failure is told and tried again at the next turn.
async fn save(core: &Core, path: PathBuf, content: Vec<u8>) -> bool {
    match config_file::save(&core.env, &path, content.into()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "a table is not written down; trying again");
            false
        }
    }
}
