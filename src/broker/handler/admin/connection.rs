//! Who is connected: GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204), GET_ALL_PRODUCER_INFO
//! (328); and questions relayed to a consumer: GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Timestamp;
use crate::broker::answer::Answer;
use crate::broker::answer::Body as AnswerBody;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::ids;
use crate::machine::ids::ClientId;
use crate::machine::membership;
use crate::machine::membership::Member;
use crate::machine::subscription::Subscription;
use crate::protocol::body;
use crate::protocol::body::Body;
use crate::protocol::body::connection::Connection;
use crate::protocol::body::connection::ConsumerConnection;
use crate::protocol::body::connection::ProducerConnection;
use crate::protocol::body::connection::ProducerInfo;
use crate::protocol::body::connection::ProducerTable;
use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::code::Language;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::client::ConsumeMessageDirectly;
use crate::protocol::command::client::OfConsumerGroup;
use crate::protocol::command::client::OfProducerGroup;
use crate::protocol::header::Header;
use crate::protocol::ids as message_ids;
use crate::remoting::ConnectionId;

/// How long a client may take to answer a relayed question, in milliseconds.
const RELAY_MS: u64 = 10_000;

pub(crate) fn consumers(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfConsumerGroup::decode(&request.frame.header)?;
    let members = core.members.lock();
    let Some(group) = members.consumer_group(&asked.consumer_group) else {
        return Err(Refusal::NotOnline { what: "the consumer group", name: asked.consumer_group });
    };
    let reply = ConsumerConnection {
        connection_set: group.members().map(|(id, member)| connection(core, id, member)).collect(),
        consume_from_where: match group.from {
            membership::ConsumeFrom::Last => body::ConsumeFromWhere::LastOffset,
            membership::ConsumeFrom::First => body::ConsumeFromWhere::FirstOffset,
            membership::ConsumeFrom::Timestamp => body::ConsumeFromWhere::Timestamp,
        },
        consume_type: match group.consume_type {
            membership::ConsumeType::Actively => body::ConsumeType::Actively,
            membership::ConsumeType::Passively => body::ConsumeType::Passively,
            membership::ConsumeType::Pop => body::ConsumeType::Pop,
        },
        message_model: match group.model {
            membership::MessageModel::Broadcasting => body::MessageModel::Broadcasting,
            membership::MessageModel::Clustering => body::MessageModel::Clustering,
        },
        subscription_table: group
            .subscriptions()
            .map(|one| (one.topic.clone(), subscription_body(one)))
            .collect(),
    };
    Ok(Answer::Now(Response::with_body(reply.encode())))
}

pub(crate) fn producers(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfProducerGroup::decode(&request.frame.header)?;
    let members = core.members.lock();
    let Some(group) = members.producer_group(&asked.producer_group) else {
        return Err(Refusal::NoProducer { group: asked.producer_group });
    };
    let connections = group.members().map(|(id, member)| connection(core, id, member)).collect();
    let reply = ProducerConnection { connection_set: connections };
    Ok(Answer::Now(Response::with_body(reply.encode())))
}

pub(crate) fn all_producers(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let members = core.members.lock();
    let (now, wall) = (core.env.now(), core.env.wall());
    let mut data = BTreeMap::new();
    for (name, group) in members.producer_groups() {
        let infos: Vec<ProducerInfo> = group
            .members()
            .map(|(id, member)| {
                let silent_ms = i64::try_from(now.since(member.last_heard).as_millis()).unwrap_or(i64::MAX);
                ProducerInfo {
                    client_id: member.client.0.clone(),
                    language: Language::from_u8(member.language),
                    last_update_timestamp: Timestamp(wall.0.saturating_sub(silent_ms)),
                    remote_ip: peer(core, id),
                    version: member.version,
                }
            })
            .collect();
        data.insert(name.to_owned(), infos);
    }
    Ok(Answer::Now(Response::with_body(ProducerTable { data }.encode())))
}

/// Hands the request to the client that its `clientId` names, and its answer back.
pub(crate) fn relay(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let client = request.frame.header.ext.field("clientId").unwrap_or_default().to_owned();
    let id = core.members.lock().connection_of(&ClientId(client.clone()));
    let connection = id.and_then(|id| core.connections.lock().get(&ConnectionId(id.0)).cloned());
    let Some(connection) = connection else {
        return Err(Refusal::NotOnline { what: "the client", name: client });
    };
    let mut header = request.frame.header.clone();
    header.flag = 0;
    let body = match header.request_code() {
        Some(RequestCode::ConsumeMessageDirectly) => message_to_relay(core, &header)?,
        _ => request.frame.body.clone(),
    };
    let env = core.env.clone();
    Ok(Answer::Later(Box::pin(async move {
        let address = connection.peer();
        let answer = connection
            .call(&env, header, body, RELAY_MS)
            .await
            .map_err(|error| Refusal::Peer { address, cause: error.to_string() })?;
        let mut response = Response::code(answer.header.response_code().unwrap_or(ResponseCode::SystemError));
        response.remark = answer.header.remark;
        response.ext = answer.header.ext;
        response.body = AnswerBody::Bytes(Bytes::clone(&answer.body));
        Ok(response)
    })))
}

/// The stored message that an operator names by its offset message id; the client gets it whole.
fn message_to_relay(core: &Arc<Core>, header: &Header) -> Result<Bytes, Refusal> {
    let id = ConsumeMessageDirectly::decode(header)?.msg_id.unwrap_or_default();
    let missing = || Refusal::Missing(format!("there is no message {id}"));
    let (_, offset) = message_ids::parse_offset_message_id(&id).ok_or_else(missing)?;
    core.store.record_at(offset)?.ok_or_else(missing)
}

pub(crate) fn subscription_body(subscription: &Subscription) -> SubscriptionData {
    let mut data =
        SubscriptionData::by_tags(&subscription.topic, &subscription.expression, subscription.version);
    data.expression_type = subscription.expression_type.clone();
    data
}

fn connection(core: &Core, id: ids::ConnectionId, member: &Member) -> Connection {
    Connection {
        client_addr: peer(core, id),
        client_id: member.client.0.clone(),
        language: Language::from_u8(member.language),
        version: member.version,
    }
}

fn peer(core: &Core, id: ids::ConnectionId) -> String {
    core.connections.lock().get(&ConnectionId(id.0)).map(|open| open.peer().to_string()).unwrap_or_default()
}
