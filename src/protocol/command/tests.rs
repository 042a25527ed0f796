//! Laws that hold for every typed header: what is written is read, and each missing field is named.

use crate::protocol::code::RequestCode;
use crate::protocol::command::FieldError;
use crate::protocol::ext::Ext;
use crate::protocol::header::Header;

macro_rules! law {
    ($($module:ident::$type:ident,)*) => { $({
        let full = with_fields(crate::protocol::command::$module::$type::FIELDS.iter().copied());
        let decoded = crate::protocol::command::$module::$type::decode(&full).unwrap();
        let mut again = Header::request(RequestCode::HeartBeat);
        decoded.encode(&mut again.ext);
        let rewritten = crate::protocol::command::$module::$type::decode(&again);
        assert_eq!(rewritten.as_ref(), Ok(&decoded), stringify!($type));
        for missing in crate::protocol::command::$module::$type::FIELDS {
            let fields = crate::protocol::command::$module::$type::FIELDS.iter().copied();
            let result = crate::protocol::command::$module::$type::decode(
                &with_fields(fields.filter(|field| field != missing)),
            );
            if let Err(error) = result {
                assert_eq!(error, FieldError::Missing { field: missing });
            }
        }
    })* };
}

/// Every field is `1`, which reads as any type.
fn with_fields(fields: impl Iterator<Item = &'static str>) -> Header {
    let mut header = Header::request(RequestCode::HeartBeat);
    header.ext = fields.map(|field| (field, "1")).collect();
    header
}

#[test]
fn what_is_written_is_read_and_what_is_missing_is_named() {
    law! {
        send::SendReply, send::SendBack,
        pull::Pull, pull::PullReply,
        offset::QueryConsumerOffset, offset::UpdateConsumerOffset, offset::SearchOffset, offset::GetMaxOffset,
        offset::OfQueue, offset::OffsetReply, offset::TimestampReply, offset::ResetOffset,
        client::HeartbeatReply, client::UnregisterClient, client::OfConsumerGroup, client::OfProducerGroup,
        client::GetConsumerRunningInfo, client::ConsumeMessageDirectly, client::GetConsumerStatus,
        group::GetAllSubscriptionGroup, group::GetAllSubscriptionGroupReply, group::DeleteSubscriptionGroup,
        group::OfGroup, group::GetConsumeStats, group::OfGroupAndTopic, group::GetBrokerConsumeStats,
        group::CloneGroupOffset,
        kv::PutKv, kv::OfKey, kv::KvReply, kv::OfNamespace,
        query::ViewMessage, query::QueryMessage, query::QueryMessageReply, query::BrokerConfigReply,
        query::ViewBrokerStats,
        registration::RegisterBroker, registration::RegisterBrokerReply, registration::OfBroker,
        registration::QueryDataVersionReply, registration::BrokerHeartbeat, registration::OfBrokerName,
        registration::WipeWritePermReply, registration::AddWritePermReply, registration::GetBrokerMemberGroup,
        registration::NotifyMinBrokerIdChange,
        route::GetRoute, route::DeleteTopicInNameServer, route::OfCluster,
        topic::CreateTopic, topic::OfTopic, topic::GetAllTopicConfig, topic::GetAllTopicConfigReply,
        transaction::EndTransaction, transaction::CheckTransactionState,
    }
}

fn send_of(code: RequestCode, fields: &[(&'static str, &'static str)]) -> Header {
    let mut header = Header::request(code);
    header.ext = fields.iter().copied().collect();
    header
}

const V1: [(&str, &str); 9] = [
    ("producerGroup", "P"),
    ("topic", "T"),
    ("defaultTopic", "TBW102"),
    ("defaultTopicQueueNums", "4"),
    ("queueId", "-1"),
    ("sysFlag", "0"),
    ("bornTimestamp", "1700000000000"),
    ("flag", "0"),
    ("batch", "1"),
];

#[test]
fn names_and_letters_are_one_send() {
    use crate::protocol::command::send::SendHeader;
    let named = send_of(RequestCode::SendMessage, &V1);
    let named = SendHeader::decode(&named).unwrap();
    assert!(named.batch, "the C++ client writes true as 1");
    assert_eq!((named.queue_id, named.properties, named.max_reconsume_times), (-1, "", None));
    let mut lettered = Header::request(RequestCode::SendMessageV2);
    named.encode(RequestCode::SendMessageV2, &mut lettered.ext);
    assert_eq!(lettered.ext.field("b"), Some("T"));
    assert_eq!(SendHeader::decode(&lettered).unwrap(), named);
    let mut again = Header::request(RequestCode::SendReplyMessage);
    named.encode(RequestCode::SendReplyMessage, &mut again.ext);
    assert_eq!(SendHeader::decode(&again).unwrap(), named);
}

#[test]
fn a_bad_field_is_named_with_its_value() {
    use crate::protocol::command::send::SendHeader;
    let mut fields = V1;
    fields[4].1 = "four";
    let header = send_of(RequestCode::SendMessage, &fields);
    let error = SendHeader::decode(&header).unwrap_err();
    assert_eq!(error.to_string(), "the custom field <queueId> is `four`, expected a 32-bit number");
    let header = send_of(RequestCode::SendMessageV2, &V1);
    let error = SendHeader::decode(&header).unwrap_err();
    assert_eq!(error.to_string(), "the custom field <producerGroup> is null");
    assert_eq!(error.field(), "producerGroup");
}

#[test]
fn an_offset_below_the_log_is_refused() {
    use crate::protocol::command::query::ViewMessage;
    let header = send_of(RequestCode::ViewMessageById, &[("offset", "-5")]);
    assert!(matches!(ViewMessage::decode(&header), Err(FieldError::Invalid { field: "offset", .. })));
}

#[test]
fn absent_options_are_not_written() {
    let mut ext = Ext::default();
    crate::protocol::command::pull::PullReply::default().encode(&mut ext);
    let names: Vec<_> = ext.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"]);
}
