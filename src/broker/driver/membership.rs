//! Drops members that fell silent, and tells the others.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::Mono;
use crate::broker::core::Core;
use crate::machine::membership::Effect;
use crate::protocol::code::RequestCode;
use crate::protocol::command::client::OfConsumerGroup;
use crate::protocol::header::Header;
use crate::remoting::ConnectionId;

/// Runs until the broker stops. A heartbeat only moves deadlines away, so nothing needs to wake it but the first
/// member.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let deadline = core.members.lock().next_deadline().unwrap_or(Mono::NEVER);
        let timer = core.env.clock.sleep_until(deadline);
        let first = core.wake.membership.notified();
        tokio::select! {
            biased;
            () = timer => {
                let mut effects = Vec::new();
                core.members.lock().on_timer(core.env.now(), &mut effects);
                carry_out(&core, effects);
            }
            () = first => {}
        }
    }
}

pub(crate) fn carry_out(core: &Arc<Core>, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::NotifyConsumerIdsChanged { group, connections } => {
                let wanted = core
                    .groups
                    .lock()
                    .group(&group)
                    .is_none_or(|group| group.notify_consumer_ids_changed_enable);
                if core.config.notify_consumer_ids_changed && wanted {
                    notify(core, group, connections.into_iter().map(|id| ConnectionId(id.0)));
                }
            }
            Effect::ConsumerGroupAppeared { group, unit_mode } => {
                if core.group_for_consume(&group).is_ok() {
                    core.ensure_retry_topic(&group, unit_mode);
                }
            }
            Effect::ConsumerGroupGone { group } => {
                tracing::info!(group, "a consumer group has no member left")
            }
            Effect::ProducerGroupGone { group } => {
                tracing::info!(group, "a producer group has no member left")
            }
        }
    }
}

fn notify(core: &Arc<Core>, group: String, connections: impl Iterator<Item = ConnectionId>) {
    let mut header = Header::request(RequestCode::NotifyConsumerIdsChanged).oneway();
    OfConsumerGroup { consumer_group: group }.encode(&mut header.ext);
    for id in connections {
        let connection = core.connections.lock().get(&id).cloned();
        if let Some(connection) = connection {
            connection.send_frame(&header, Bytes::new());
        }
    }
}
