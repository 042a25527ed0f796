//! Brokers: register (103), unregister (104), heartbeat (904), data version (322), members (901), cluster (106), write
//! permission (205, 327).

use std::collections::BTreeMap;

use crate::machine::route::Group;
use crate::machine::route::Identity;
use crate::machine::route::KvConfig;
use crate::machine::route::Queues;
use crate::machine::route::RegisterError;
use crate::machine::route::Registered;
use crate::machine::route::Registration;
use crate::machine::route::Version;
use crate::namesrv::answer::Answer;
use crate::namesrv::answer::Handled;
use crate::namesrv::tables::Request;
use crate::namesrv::tables::Tables;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::registration::RegisterBrokerBody;
use crate::protocol::body::registration::RegistrationError;
use crate::protocol::body::route::BrokerData;
use crate::protocol::body::route::BrokerMemberGroup;
use crate::protocol::body::route::BrokerMemberGroupReply;
use crate::protocol::body::route::ClusterInfo;
use crate::protocol::body::route::KvTable;
use crate::protocol::body::topic::DataVersion;
use crate::protocol::body::topic::TopicConfig;
use crate::protocol::command::registration::AddWritePermReply;
use crate::protocol::command::registration::BrokerHeartbeat;
use crate::protocol::command::registration::GetBrokerMemberGroup;
use crate::protocol::command::registration::OfBroker;
use crate::protocol::command::registration::OfBrokerName;
use crate::protocol::command::registration::QueryDataVersionReply;
use crate::protocol::command::registration::RegisterBroker;
use crate::protocol::command::registration::RegisterBrokerReply;
use crate::protocol::command::registration::WipeWritePermReply;

pub(crate) fn register(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let header = RegisterBroker::decode(request.header)?;
    let body = RegisterBrokerBody::from_request(request.body, header.body_crc32, header.compressed);
    let table = body.map_err(refuse_body)?.topic_config_serialize_wrapper;
    let broker_id = id(header.broker_id)?;
    let registration = Registration {
        identity: Identity {
            cluster: header.cluster_name,
            broker: header.broker_name,
            id: broker_id,
            addr: header.broker_addr,
        },
        ha_addr: header.ha_server_addr,
        timeout_ms: header.heartbeat_timeout_ms.and_then(|ms| u64::try_from(ms).ok()),
        acting_master: header.enable_acting_master,
        version: version(table.data_version),
        topics: table.topic_config_table.into_iter().map(|(name, config)| (name, queues(&config))).collect(),
    };
    let identity = registration.identity.clone();
    let was_known = tables.route.member_group(&identity.cluster, &identity.broker).is_some();
    let registered = match tables.route.register(request.now, request.origin, registration) {
        Ok(registered) => registered,
        Err(RegisterError::TableMissing) => {
            return Err(Answer::refused(ResponseCode::SystemError, "register broker failed"));
        }
        Err(RegisterError::Superseded) => {
            tracing::warn!(
                broker = identity.broker,
                id = identity.id,
                addr = identity.addr,
                "ignored a registration: a newer one holds its place"
            );
            // RocketMQ answers such a broker with success and nothing in it.
            Registered::default()
        }
    };
    if !was_known {
        tracing::info!(broker = identity.broker, id = identity.id, addr = identity.addr, "registered");
    }
    let reply =
        RegisterBrokerReply { ha_server_addr: registered.ha_addr, master_addr: registered.master_addr };
    let answer = Answer::ok().with_ext(|ext| reply.encode(ext));
    let order = tables.kv.namespace(KvConfig::ORDER_TOPIC_CONFIG);
    match order.filter(|_| tables.config.return_order_topic_config_to_broker) {
        Some(table) => Ok(answer.with_body(KvTable { table: table.clone() }.encode())),
        None => Ok(answer),
    }
}

pub(crate) fn unregister(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let broker = OfBroker::decode(request.header)?;
    let identity = Identity {
        cluster: broker.cluster_name,
        broker: broker.broker_name,
        id: id(broker.broker_id)?,
        addr: broker.broker_addr,
    };
    if tables.route.unregister(request.origin, &identity) {
        tracing::info!(broker = identity.broker, id = identity.id, addr = identity.addr, "unregistered");
    }
    Ok(Answer::ok())
}

pub(crate) fn heartbeat(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let beat = BrokerHeartbeat::decode(request.header)?;
    tables.route.heartbeat(request.now, request.origin, &beat.broker_addr);
    Ok(Answer::ok())
}

pub(crate) fn query_data_version(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let broker = OfBroker::decode(request.header)?;
    let claimed = DataVersion::decode(request.body)
        .map_err(|error| Answer::refused(ResponseCode::SystemError, error.to_string()))?;
    let (changed, known) =
        tables.route.query_version(request.now, request.origin, &broker.broker_addr, version(claimed));
    let answer = Answer::ok().with_ext(|ext| QueryDataVersionReply { changed }.encode(ext));
    match known {
        Some(known) => Ok(answer.with_body(wire_version(known).encode())),
        None => Ok(answer),
    }
}

pub(crate) fn member_group(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let asked = GetBrokerMemberGroup::decode(request.header)?;
    let group = tables.route.member_group(&asked.cluster_name, &asked.broker_name);
    let members = BrokerMemberGroup {
        broker_addrs: group.map(addrs).unwrap_or_default(),
        broker_name: asked.broker_name,
        cluster: asked.cluster_name,
    };
    let reply = BrokerMemberGroupReply { broker_member_group: Some(members) };
    Ok(Answer::ok().with_body(reply.encode()))
}

pub(crate) fn cluster_info(tables: &mut Tables, _: &Request<'_>) -> Handled {
    let route = &tables.route;
    let brokers = route.groups().iter().map(|(name, group)| (name.clone(), broker_data(name, group)));
    let clusters = route
        .clusters()
        .into_iter()
        .map(|(cluster, brokers)| (cluster.to_owned(), brokers.into_iter().map(str::to_owned).collect()));
    let info = ClusterInfo { broker_addr_table: brokers.collect(), cluster_addr_table: clusters.collect() };
    Ok(Answer::ok().with_body(info.encode()))
}

pub(crate) fn wipe_write_perm(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfBrokerName { broker_name } = OfBrokerName::decode(request.header)?;
    let wipe_topic_count = count(tables.route.wipe_write(&broker_name));
    tracing::info!(broker = broker_name, topics = wipe_topic_count, "write permission wiped");
    Ok(Answer::ok().with_ext(|ext| WipeWritePermReply { wipe_topic_count }.encode(ext)))
}

pub(crate) fn add_write_perm(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfBrokerName { broker_name } = OfBrokerName::decode(request.header)?;
    let add_topic_count = count(tables.route.add_write(&broker_name));
    tracing::info!(broker = broker_name, topics = add_topic_count, "write permission added");
    Ok(Answer::ok().with_ext(|ext| AddWritePermReply { add_topic_count }.encode(ext)))
}

pub(super) fn broker_data(name: &str, group: &Group) -> BrokerData {
    BrokerData {
        broker_addrs: addrs(group),
        broker_name: name.to_owned(),
        cluster: group.cluster.clone(),
        enable_acting_master: group.acting_master,
        zone_name: None,
    }
}

fn addrs(group: &Group) -> BTreeMap<i64, String> {
    group.addrs.iter().map(|(id, addr)| (id.cast_signed(), addr.clone())).collect()
}

fn queues(config: &TopicConfig) -> Queues {
    Queues {
        read: u32::try_from(config.read_queue_nums).unwrap_or(0),
        write: u32::try_from(config.write_queue_nums).unwrap_or(0),
        perm: config.perm.cast_unsigned(),
        sys_flag: config.topic_sys_flag.cast_unsigned(),
    }
}

fn version(version: DataVersion) -> Version {
    Version { state: version.state_version, counter: version.counter, timestamp: version.timestamp.0 }
}

fn wire_version(version: Version) -> DataVersion {
    let timestamp = crate::base::Timestamp(version.timestamp);
    DataVersion { counter: version.counter, state_version: version.state, timestamp }
}

fn id(number: i64) -> Result<u64, Box<Answer>> {
    let refusal = || Answer::refused(ResponseCode::SystemError, format!("broker id {number} is negative"));
    u64::try_from(number).map_err(|_| refusal())
}

fn count(topics: usize) -> i32 {
    i32::try_from(topics).unwrap_or(i32::MAX)
}

fn refuse_body(error: RegistrationError) -> Box<Answer> {
    let remark = match error {
        RegistrationError::Crc { .. } => "crc32 not match".to_owned(),
        RegistrationError::Inflate(_)
        | RegistrationError::Json(_)
        | RegistrationError::Short(_)
        | RegistrationError::Topic(_) => format!("Failed to decode RegisterBrokerBody: {error}"),
    };
    Answer::refused(ResponseCode::SystemError, remark)
}
