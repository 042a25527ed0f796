//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) and its list form (225), GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201),
//! DELETE_SUBSCRIPTIONGROUP (207), GET_SUBSCRIPTIONGROUP_CONFIG (352).

use std::sync::Arc;

use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::tables;
use crate::protocol::body::Body;
use crate::protocol::body::group::SubscriptionGroupConfig;
use crate::protocol::body::group::SubscriptionGroupList;
use crate::protocol::body::group::SubscriptionGroupTable;
use crate::protocol::command::group::DeleteSubscriptionGroup;
use crate::protocol::command::group::GetAllSubscriptionGroupReply;
use crate::protocol::command::group::OfGroup;

pub(crate) fn update(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = SubscriptionGroupConfig::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a subscription group", cause: error.to_string() })?;
    put(core, asked)?;
    Ok(Answer::Now(Response::ok()))
}

pub(crate) fn update_list(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = SubscriptionGroupList::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a list of subscription groups", cause: error.to_string() })?;
    for config in asked.group_config_list {
        put(core, config)?;
    }
    Ok(Answer::Now(Response::ok()))
}

pub(crate) fn all(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let table = table(core);
    let mut response = Response::with_body(table.encode());
    let count = i32::try_from(table.subscription_group_table.len()).unwrap_or(i32::MAX);
    GetAllSubscriptionGroupReply { total_group_num: count }.encode(&mut response.ext);
    Ok(Answer::Now(response))
}

/// The configuration of one group; created if that is allowed, as a consumer of it would.
pub(crate) fn config(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfGroup::decode(&request.frame.header)?;
    let config = core.group_for_consume(&asked.group)?;
    Ok(Answer::Now(Response::with_body(tables::group_body(&config).encode())))
}

pub(crate) fn delete(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = DeleteSubscriptionGroup::decode(&request.frame.header)?;
    core.groups.lock().delete(core.env.wall(), &asked.group_name);
    core.order.lock().delete_group(&asked.group_name);
    if asked.clean_offset {
        core.offsets.lock().delete_group(&asked.group_name);
    }
    core.wake.persist.notify_one();
    Ok(Answer::Now(Response::ok()))
}

/// The whole table, as answered and as written down.
pub(crate) fn table(core: &Core) -> SubscriptionGroupTable {
    let groups = core.groups.lock();
    SubscriptionGroupTable {
        data_version: tables::version_body(groups.version()),
        subscription_group_table: groups
            .iter()
            .map(|group| (group.name.clone(), tables::group_body(group)))
            .collect(),
        ..SubscriptionGroupTable::default()
    }
}

fn put(core: &Core, config: SubscriptionGroupConfig) -> Result<(), Refusal> {
    let group = config.group_name.clone();
    core.groups
        .lock()
        .update(core.env.wall(), tables::group(config))
        .map_err(|error| Refusal::Group { group, error })?;
    core.wake.persist.notify_one();
    Ok(())
}
