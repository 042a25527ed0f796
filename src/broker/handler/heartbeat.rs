//! HEART_BEAT (34), UNREGISTER_CLIENT (35), CHECK_CLIENT_CONFIG (46).

use std::sync::Arc;

use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::driver;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::ids::ClientId;
use crate::machine::ids::ConnectionId;
use crate::machine::membership;
use crate::machine::membership::Consumer;
use crate::machine::subscription::Subscription;
use crate::protocol::body;
use crate::protocol::body::Body;
use crate::protocol::body::heartbeat::CheckClient;
use crate::protocol::body::heartbeat::ConsumerData;
use crate::protocol::body::heartbeat::Heartbeat;
use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::command::client::HeartbeatReply;
use crate::protocol::command::client::UnregisterClient;

pub(crate) fn heartbeat(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let header = &request.frame.header;
    let beat = Heartbeat::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a heartbeat", cause: error.to_string() })?;
    let beat = membership::Heartbeat {
        client: ClientId(beat.client_id),
        language: header.language.number(),
        version: header.version,
        producer_groups: beat.producer_data_set.into_iter().map(|producer| producer.group_name).collect(),
        consumer_groups: beat.consumer_data_set.into_iter().map(consumer).collect(),
        fingerprint: i64::from(beat.heartbeat_fingerprint),
        without_subscriptions: beat.without_sub,
    };
    let connection = ConnectionId(request.connection.id().0);
    let mut effects = Vec::new();
    let answer = core.members.lock().heartbeat(core.env.now(), connection, &beat, &mut effects);
    driver::membership::carry_out(core, effects);
    core.wake.membership.notify_one();
    let mut response = Response::ok();
    let reply = HeartbeatReply { supports_v2: true, subscription_changed: answer.subscriptions_wanted };
    reply.encode(&mut response.ext);
    Ok(Answer::Now(response))
}

pub(crate) fn unregister(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = UnregisterClient::decode(&request.frame.header)?;
    let connection = ConnectionId(request.connection.id().0);
    let mut effects = Vec::new();
    core.members.lock().unregister(
        connection,
        asked.producer_group.as_deref().filter(|group| !group.is_empty()),
        asked.consumer_group.as_deref().filter(|group| !group.is_empty()),
        &mut effects,
    );
    driver::membership::carry_out(core, effects);
    Ok(Answer::Now(Response::ok()))
}

/// A consumer asks before it starts whether its filter can be served.
pub(crate) fn check_client(_core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = CheckClient::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a client's configuration", cause: error.to_string() })?;
    if !asked.subscription_data.is_tag_type() {
        return Err(Refusal::FilterUnsupported { kind: asked.subscription_data.expression_type });
    }
    Ok(Answer::Now(Response::ok()))
}

fn consumer(data: ConsumerData) -> Consumer {
    Consumer {
        group: data.group_name,
        consume_type: match data.consume_type {
            body::ConsumeType::Actively => membership::ConsumeType::Actively,
            body::ConsumeType::Passively => membership::ConsumeType::Passively,
            body::ConsumeType::Pop => membership::ConsumeType::Pop,
        },
        model: match data.message_model {
            body::MessageModel::Broadcasting => membership::MessageModel::Broadcasting,
            _ => membership::MessageModel::Clustering,
        },
        from: match data.consume_from_where {
            body::ConsumeFromWhere::FirstOffset => membership::ConsumeFrom::First,
            body::ConsumeFromWhere::Timestamp => membership::ConsumeFrom::Timestamp,
            _ => membership::ConsumeFrom::Last,
        },
        unit_mode: data.unit_mode,
        subscriptions: data.subscription_data_set.iter().map(subscription).collect(),
    }
}

/// Codes are computed from the expression: some clients send wrong ones.
fn subscription(data: &SubscriptionData) -> Subscription {
    let mut subscription = Subscription::tags(&data.topic, &data.sub_string, data.sub_version);
    if !data.is_tag_type() {
        subscription.expression_type = data.expression_type.clone();
    }
    subscription
}
