//! Every typed header, tried on every header: a stranger chooses code and fields independently.

use staticfire::protocol::Header;
use staticfire::protocol::RequestCode;
use staticfire::protocol::command::send::SendHeader;

macro_rules! decode {
    ($header:ident: $($module:ident::$type:ident,)*) => { $(
        if let Ok(command) = staticfire::protocol::command::$module::$type::decode($header) {
            let mut again = Header::request(RequestCode::HeartBeat);
            command.encode(&mut again.ext);
            let again = staticfire::protocol::command::$module::$type::decode(&again);
            assert_eq!(again.as_ref(), Ok(&command), stringify!($type));
        }
    )* };
}

pub(crate) fn decode_all(header: &Header) {
    if let Ok(send) = SendHeader::decode(header) {
        for code in [RequestCode::SendMessage, RequestCode::SendMessageV2] {
            let mut again = Header::request(code);
            send.encode(code, &mut again.ext);
            assert_eq!(SendHeader::decode(&again).as_ref(), Ok(&send), "a send means something else");
        }
    }
    decode! { header:
        send::SendReply, send::SendBack, pull::Pull, pull::PullReply,
        offset::QueryConsumerOffset, offset::UpdateConsumerOffset, offset::SearchOffset, offset::GetMaxOffset,
        offset::OfQueue, offset::ResetOffset,
        client::UnregisterClient, client::OfConsumerGroup, client::OfProducerGroup, client::GetConsumerRunningInfo,
        client::ConsumeMessageDirectly, client::GetConsumerStatus,
        group::GetAllSubscriptionGroup, group::DeleteSubscriptionGroup, group::OfGroup, group::GetConsumeStats,
        group::OfGroupAndTopic, group::GetBrokerConsumeStats, group::CloneGroupOffset,
        kv::PutKv, kv::OfKey, kv::OfNamespace,
        query::ViewMessage, query::QueryMessage, query::ViewBrokerStats,
        registration::RegisterBroker, registration::OfBroker, registration::BrokerHeartbeat,
        registration::OfBrokerName, registration::GetBrokerMemberGroup, registration::NotifyMinBrokerIdChange,
        route::GetRoute, route::DeleteTopicInNameServer, route::OfCluster,
        topic::CreateTopic, topic::OfTopic, topic::GetAllTopicConfig,
        transaction::EndTransaction, transaction::CheckTransactionState,
    }
}
