//! The broker itself: GET_BROKER_CONFIG (26), GET_BROKER_RUNTIME_INFO (28), GET_ALL_CONSUMER_OFFSET (43),
//! GET_ALL_DELAY_OFFSET (45), VIEW_BROKER_STATS_DATA (315).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::QueueId;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::config::TABLE;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::tables;
use crate::machine::delay::SCHEDULE_TOPIC;
use crate::protocol::body::Body;
use crate::protocol::body::route::KvTable;
use crate::protocol::code::version;
use crate::protocol::command::query::BrokerConfigReply;
use crate::protocol::command::query::ViewBrokerStats;
use crate::protocol::properties_file;

pub(crate) fn config(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let shown = TABLE.show(&core.config);
    let text = properties_file::write(shown.iter().map(|(key, value)| (*key, value.as_str())));
    let mut response = Response::with_body(text);
    let data_version = tables::version_body(core.topics.lock().version());
    let version = String::from_utf8_lossy(&data_version.encode()).into_owned();
    BrokerConfigReply { version }.encode(&mut response.ext);
    Ok(Answer::Now(response))
}

/// The keys that `mqadmin brokerStatus` and `clusterList` print, with RocketMQ's names.
pub(crate) fn info(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let mut table = BTreeMap::new();
        let mut put = |key: &str, value: String| {
            table.insert(key.to_owned(), value);
        };
        about(&core, &mut put);
        traffic(&core, &mut put);
        storage(&core, &mut put).await;
        for (level, max, cursor) in delays(&core) {
            put(&format!("scheduleMessageOffset_{level}"), format!("{cursor},{max}"));
        }
        Ok(Response::with_body(KvTable { table }.encode()))
    })))
}

pub(crate) fn all_consumer_offsets(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    Ok(Answer::Now(Response::with_body(core.offsets.lock().snapshot().0.encode())))
}

pub(crate) fn all_delay_offsets(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    Ok(Answer::Now(Response::with_body(core.delay.lock().snapshot().0.encode())))
}

/// Statistics by topic and group are not kept yet: the answer is RocketMQ's for a key without data.
pub(crate) fn stats_data(_core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = ViewBrokerStats::decode(&request.frame.header)?;
    Err(Refusal::Missing(format!("The stats <{}> <{}> not exist", asked.stats_name, asked.stats_key)))
}

fn about(core: &Core, put: &mut impl FnMut(&str, String)) {
    let up = core.env.now().since(core.started.0);
    let seconds = up.as_secs();
    put("brokerActive", "true".to_owned());
    put("brokerVersion", version::CURRENT.to_string());
    put("brokerVersionDesc", version::name(version::CURRENT));
    put("bootTimestamp", core.started.1.to_string());
    put("startAcceptSendRequestTimeStamp", "0".to_owned());
    put(
        "runtime",
        format!(
            "[ {} days, {} hours, {} minutes, {} seconds ]",
            seconds / 86_400,
            seconds / 3_600 % 24,
            seconds / 60 % 60,
            seconds % 60
        ),
    );
}

fn traffic(core: &Core, put: &mut impl FnMut(&str, String)) {
    let rates = core.counters.rates(core.env.now());
    let counters = &core.counters;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (puts, bytes, gets) =
        (load(&counters.put_messages), load(&counters.put_bytes), load(&counters.got_messages));
    put("putTps", rates.put.clone());
    put("getTransferredTps", rates.got.clone());
    put("getTotalTps", rates.pulls.clone());
    put("getFoundTps", rates.found.clone());
    put("getMissTps", rates.missed);
    put("putMessageTimesTotal", puts.to_string());
    put("putMessageFailedTimes", load(&counters.put_failed).to_string());
    put("putMessageSizeTotal", bytes.to_string());
    put("putMessageAverageSize", bytes.checked_div(puts).unwrap_or(0).to_string());
    put("putMessageEntireTimeMax", "0".to_owned());
    put("pageCacheLockTimeMills", "0".to_owned());
    put("msgPutTotalTodayNow", puts.to_string());
    put("msgPutTotalTodayMorning", "0".to_owned());
    put("msgPutTotalYesterdayMorning", "0".to_owned());
    put("msgGetTotalTodayNow", gets.to_string());
    put("msgGetTotalTodayMorning", "0".to_owned());
    put("msgGetTotalYesterdayMorning", "0".to_owned());
    // Requests are answered in their own turn: there is no queue that one could wait in.
    for queue in ["send", "pull", "query", "ack"] {
        put(&format!("{queue}ThreadPoolQueueSize"), "0".to_owned());
        put(&format!("{queue}ThreadPoolQueueHeadWaitTimeMills"), "0".to_owned());
    }
    put("EndTransactionQueueSize", core.transactions.lock().len().to_string());
    for key in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
        put(key, "0".to_owned());
    }
    put("timerEnqueueTps", "0.0".to_owned());
    put("timerDequeueTps", "0.0".to_owned());
}

async fn storage(core: &Core, put: &mut impl FnMut(&str, String)) {
    let stats = core.store.stats();
    put("commitLogMinOffset", stats.min.0.to_string());
    put("commitLogMaxOffset", stats.max.0.to_string());
    put("remainHowManyDataToFlush", format!("{} B", stats.max.0.saturating_sub(stats.durable.0)));
    put("remainHowManyDataToCommit", "0 B".to_owned());
    put("dispatchBehindBytes", "0".to_owned());
    put("earliestMessageTimeStamp", stats.earliest.map_or(-1, |time| time.0).to_string());
    if let Ok(space) = core.env.disk.space(&core.config.store_path_root).await {
        let used = space.total.saturating_sub(space.available);
        let ratio = if space.total == 0 { 0.0 } else { used as f64 / space.total as f64 };
        put("commitLogDiskRatio", format!("{ratio:.4}"));
        put("consumeQueueDiskRatio", format!("{ratio:.4}"));
        put("commitLogDirCapacity", format!("Total : {} B, Free : {} B.", space.total, space.available));
    }
}

/// Level, end of its queue, and how far it is delivered.
fn delays(core: &Core) -> Vec<(u32, u64, u64)> {
    let delay = core.delay.lock();
    (1..=core.levels.max())
        .filter_map(|level| {
            let max = core.store.bounds(SCHEDULE_TOPIC, QueueId(level - 1))?.max;
            Some((level, max.0, delay.cursor(level)?.0))
        })
        .collect()
}
