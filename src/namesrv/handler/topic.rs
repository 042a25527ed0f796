//! Topics: route (105), lists (206, 224, 304, 311 to 313), delete (216), register by hand (217).

use super::broker::broker_data;
use crate::machine::route::KvConfig;
use crate::machine::route::Queues;
use crate::namesrv::answer::Answer;
use crate::namesrv::answer::Handled;
use crate::namesrv::tables::Request;
use crate::namesrv::tables::Tables;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::route::QueueData;
use crate::protocol::body::route::TopicList;
use crate::protocol::body::route::TopicRoute;
use crate::protocol::code::version;
use crate::protocol::command::route::DeleteTopicInNameServer;
use crate::protocol::command::route::GetRoute;
use crate::protocol::command::route::OfCluster;
use crate::protocol::command::topic::OfTopic;

/// Where RocketMQ's messages send their readers.
const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

pub(crate) fn route(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let asked = GetRoute::decode(request.header)?;
    let Some(found) = tables.route.topic_route(&asked.topic) else {
        let remark = format!("No topic route info in name server for the topic: {}{FAQ}", asked.topic);
        return Err(Answer::refused(ResponseCode::TopicNotExist, remark));
    };
    let order = tables.kv.get(KvConfig::ORDER_TOPIC_CONFIG, &asked.topic);
    let queues = found.queues.iter().map(|(broker, queues)| queue_data(broker, *queues));
    let route = TopicRoute {
        broker_datas: found.brokers.iter().map(|(name, group)| broker_data(name, group)).collect(),
        order_topic_conf: order.filter(|_| tables.config.order_message_enable).map(str::to_owned),
        queue_datas: queues.collect(),
        ..TopicRoute::default()
    };
    // Before 4.9.4 clients read fastjson's unquoted keys only; from then on they may want standard JSON.
    let standard = asked.accept_standard_json_only || request.header.version >= version::V4_9_4;
    Ok(Answer::ok().with_body(if standard { route.encode_standard() } else { route.encode() }))
}

pub(crate) fn all(tables: &mut Tables, _: &Request<'_>) -> Handled {
    list(tables.route.topics(), None)
}

pub(crate) fn of_cluster(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfCluster { cluster } = OfCluster::decode(request.header)?;
    list(tables.route.topics_of_cluster(&cluster), None)
}

pub(crate) fn system(tables: &mut Tables, _: &Request<'_>) -> Handled {
    let (topics, broker_addr) = tables.route.system_topics();
    list(topics, broker_addr)
}

pub(crate) fn unit(tables: &mut Tables, _: &Request<'_>) -> Handled {
    list(tables.route.unit_topics(), None)
}

pub(crate) fn unit_sub(tables: &mut Tables, _: &Request<'_>) -> Handled {
    list(tables.route.unit_sub_topics(), None)
}

pub(crate) fn unit_sub_non_unit(tables: &mut Tables, _: &Request<'_>) -> Handled {
    list(tables.route.unit_sub_non_unit_topics(), None)
}

pub(crate) fn delete(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let asked = DeleteTopicInNameServer::decode(request.header)?;
    let cluster = asked.cluster_name.filter(|cluster| !cluster.is_empty());
    tables.route.delete_topic(&asked.topic, cluster.as_deref());
    Ok(Answer::ok())
}

pub(crate) fn register(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfTopic { topic } = OfTopic::decode(request.header)?;
    let route = TopicRoute::decode(request.body)
        .map_err(|error| Answer::refused(ResponseCode::SystemError, error.to_string()))?;
    let queues: Vec<(String, Queues)> = route.queue_datas.iter().map(queues).collect();
    // RocketMQ answers success whether or not it knows the brokers.
    if !tables.route.register_topic(&topic, &queues) {
        tracing::warn!(topic, "ignored a topic of unknown brokers");
    }
    Ok(Answer::ok())
}

fn list(topics: Vec<String>, broker_addr: Option<String>) -> Handled {
    let list = TopicList { broker_addr, topic_list: topics.into_iter().collect() };
    Ok(Answer::ok().with_body(list.encode()))
}

fn queue_data(broker: &str, queues: Queues) -> QueueData {
    let number = |number| i32::try_from(number).unwrap_or(i32::MAX);
    QueueData {
        broker_name: broker.to_owned(),
        perm: queues.perm.cast_signed(),
        read_queue_nums: number(queues.read),
        topic_sys_flag: queues.sys_flag.cast_signed(),
        write_queue_nums: number(queues.write),
    }
}

fn queues(data: &QueueData) -> (String, Queues) {
    let queues = Queues {
        read: u32::try_from(data.read_queue_nums).unwrap_or(0),
        write: u32::try_from(data.write_queue_nums).unwrap_or(0),
        perm: data.perm.cast_unsigned(),
        sys_flag: data.topic_sys_flag.cast_unsigned(),
    };
    (data.broker_name.clone(), queues)
}
