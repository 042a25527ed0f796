//! The name server's own configuration, as properties text: update (318), read (319).

use std::fmt::Write as _;

use crate::namesrv::answer::Answer;
use crate::namesrv::answer::Handled;
use crate::namesrv::tables::Request;
use crate::namesrv::tables::Tables;
use crate::protocol::ResponseCode;

/// Keys that RocketMQ refuses to change over the wire: with them a stranger could write any file.
const BLACK_LIST: [&str; 4] = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

pub(crate) fn update(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let refuse = |code, remark: String| Err(Answer::refused(code, remark));
    let Ok(text) = std::str::from_utf8(request.body) else {
        return refuse(ResponseCode::SystemError, "string2Properties error".to_owned());
    };
    let mut changed = tables.config.clone();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        if BLACK_LIST.contains(&key) {
            return refuse(ResponseCode::NoPermission, "Can not update config in black list.".to_owned());
        }
        let flag = match key {
            "orderMessageEnable" => &mut changed.order_message_enable,
            "returnOrderTopicConfigToBroker" => &mut changed.return_order_topic_config_to_broker,
            _ => return refuse(ResponseCode::InvalidParameter, format!("{key} cannot be changed here")),
        };
        *flag = match value {
            "true" => true,
            "false" => false,
            _ => {
                return refuse(
                    ResponseCode::InvalidParameter,
                    format!("{key} is true or false, not {value}"),
                );
            }
        };
    }
    tables.config = changed;
    Ok(Answer::ok())
}

pub(crate) fn read(tables: &mut Tables, _: &Request<'_>) -> Handled {
    let config = &tables.config;
    let mut text = String::new();
    let lines = [
        ("kvConfigPath", config.kv_path.display().to_string()),
        ("listenPort", config.listen.port().to_string()),
        ("orderMessageEnable", config.order_message_enable.to_string()),
        ("returnOrderTopicConfigToBroker", config.return_order_topic_config_to_broker.to_string()),
    ];
    for (key, value) in lines {
        writeln!(text, "{key}={value}").expect("a string takes everything");
    }
    Ok(Answer::ok().with_body(text))
}
