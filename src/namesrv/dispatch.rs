//! The dispatch table: every request code of RocketMQ by name, one line per code that a name server serves.
//!
//! There is no default arm: a code that is added to [`RequestCode`] must be decided on here.

use super::answer::Answer;
use super::answer::Handled;
use super::handler::broker;
use super::handler::config;
use super::handler::kv;
use super::handler::topic;
use super::tables::Request;
use super::tables::Tables;
use crate::protocol::RequestCode;

pub(super) fn dispatch(tables: &mut Tables, request: &Request<'_>) -> Answer {
    match request.header.request_code() {
        Some(code) => serve(tables, request, code).unwrap_or_else(|refusal| *refusal),
        None => *Answer::not_supported(request.header.code),
    }
}

#[expect(clippy::too_many_lines, reason = "the dispatch table: one line per code")]
fn serve(tables: &mut Tables, request: &Request<'_>, code: RequestCode) -> Handled {
    match code {
        RequestCode::PutKvConfig => kv::put(tables, request),
        RequestCode::GetKvConfig => kv::get(tables, request),
        RequestCode::DeleteKvConfig => kv::delete(tables, request),
        RequestCode::RegisterBroker => broker::register(tables, request),
        RequestCode::UnregisterBroker => broker::unregister(tables, request),
        RequestCode::GetRouteInfoByTopic => topic::route(tables, request),
        RequestCode::GetBrokerClusterInfo => broker::cluster_info(tables, request),
        RequestCode::WipeWritePermOfBroker => broker::wipe_write_perm(tables, request),
        RequestCode::GetAllTopicListFromNameServer => topic::all(tables, request),
        RequestCode::DeleteTopicInNameServer => topic::delete(tables, request),
        RequestCode::RegisterTopicInNameServer => topic::register(tables, request),
        RequestCode::GetKvListByNamespace => kv::list(tables, request),
        RequestCode::GetTopicsByCluster => topic::of_cluster(tables, request),
        RequestCode::GetSystemTopicListFromNameServer => topic::system(tables, request),
        RequestCode::GetUnitTopicList => topic::unit(tables, request),
        RequestCode::GetHasUnitSubTopicList => topic::unit_sub(tables, request),
        RequestCode::GetHasUnitSubUnunitTopicList => topic::unit_sub_non_unit(tables, request),
        RequestCode::UpdateNameServerConfig => config::update(tables, request),
        RequestCode::GetNameServerConfig => config::read(tables, request),
        RequestCode::QueryDataVersion => broker::query_data_version(tables, request),
        RequestCode::AddWritePermOfBroker => broker::add_write_perm(tables, request),
        RequestCode::GetBrokerMemberGroup => broker::member_group(tables, request),
        RequestCode::BrokerHeartbeat => broker::heartbeat(tables, request),
        // Codes of brokers, clients and controllers, and those of name servers that are not served: see docs/COMPAT.md.
        RequestCode::SendMessage
        | RequestCode::PullMessage
        | RequestCode::QueryMessage
        | RequestCode::QueryBrokerOffset
        | RequestCode::QueryConsumerOffset
        | RequestCode::UpdateConsumerOffset
        | RequestCode::UpdateAndCreateTopic
        | RequestCode::UpdateAndCreateTopicList
        | RequestCode::GetAllTopicConfig
        | RequestCode::GetTopicConfigList
        | RequestCode::GetTopicNameList
        | RequestCode::UpdateBrokerConfig
        | RequestCode::GetBrokerConfig
        | RequestCode::TriggerDeleteFiles
        | RequestCode::GetBrokerRuntimeInfo
        | RequestCode::SearchOffsetByTimestamp
        | RequestCode::GetMaxOffset
        | RequestCode::GetMinOffset
        | RequestCode::GetEarliestMsgStoreTime
        | RequestCode::ViewMessageById
        | RequestCode::HeartBeat
        | RequestCode::UnregisterClient
        | RequestCode::ConsumerSendMsgBack
        | RequestCode::EndTransaction
        | RequestCode::GetConsumerListByGroup
        | RequestCode::CheckTransactionState
        | RequestCode::NotifyConsumerIdsChanged
        | RequestCode::LockBatchMq
        | RequestCode::UnlockBatchMq
        | RequestCode::GetAllConsumerOffset
        | RequestCode::GetAllDelayOffset
        | RequestCode::CheckClientConfig
        | RequestCode::GetClientConfig
        | RequestCode::GetTimerCheckPoint
        | RequestCode::GetTimerMetrics
        | RequestCode::UpdateAndCreateSubscriptionGroup
        | RequestCode::GetAllSubscriptionGroupConfig
        | RequestCode::GetTopicStatsInfo
        | RequestCode::GetConsumerConnectionList
        | RequestCode::GetProducerConnectionList
        | RequestCode::DeleteSubscriptionGroup
        | RequestCode::GetConsumeStats
        | RequestCode::SuspendConsumer
        | RequestCode::ResumeConsumer
        | RequestCode::ResetConsumerOffsetInConsumer
        | RequestCode::ResetConsumerOffsetInBroker
        | RequestCode::AdjustConsumerThreadPool
        | RequestCode::WhoConsumeTheMessage
        | RequestCode::DeleteTopicInBroker
        | RequestCode::ResetConsumerClientOffset
        | RequestCode::GetConsumerStatusFromClient
        | RequestCode::InvokeBrokerToResetOffset
        | RequestCode::InvokeBrokerToGetConsumerStatus
        | RequestCode::UpdateAndCreateSubscriptionGroupList
        | RequestCode::QueryTopicConsumeByWho
        | RequestCode::RegisterFilterServer
        | RequestCode::RegisterMessageFilterClass
        | RequestCode::QueryConsumeTimeSpan
        | RequestCode::GetSystemTopicListFromBroker
        | RequestCode::CleanExpiredConsumeQueue
        | RequestCode::GetConsumerRunningInfo
        | RequestCode::QueryCorrectionOffset
        | RequestCode::ConsumeMessageDirectly
        | RequestCode::SendMessageV2
        | RequestCode::CloneGroupOffset
        | RequestCode::ViewBrokerStatsData
        | RequestCode::CleanUnusedTopic
        | RequestCode::GetBrokerConsumeStats
        | RequestCode::SendBatchMessage
        | RequestCode::QueryConsumeQueue
        | RequestCode::ResumeCheckHalfMessage
        | RequestCode::SendReplyMessage
        | RequestCode::SendReplyMessageV2
        | RequestCode::PushReplyMessageToClient
        | RequestCode::GetAllProducerInfo
        | RequestCode::DeleteExpiredCommitLog
        | RequestCode::QueryTopicsByConsumer
        | RequestCode::QuerySubscriptionByConsumer
        | RequestCode::GetTopicConfig
        | RequestCode::GetSubscriptionGroupConfig
        | RequestCode::UpdateAndGetGroupForbidden
        | RequestCode::CheckRocksDbCqWriteProgress
        | RequestCode::ExportRocksDbConfigToJson
        | RequestCode::LitePullMessage
        | RequestCode::RecallMessage
        | RequestCode::QueryAssignment
        | RequestCode::SetMessageRequestMode
        | RequestCode::GetAllMessageRequestMode
        | RequestCode::UpdateAndCreateStaticTopic
        | RequestCode::AddBroker
        | RequestCode::RemoveBroker
        | RequestCode::NotifyMinBrokerIdChange
        | RequestCode::ExchangeBrokerHaInfo
        | RequestCode::GetBrokerHaStatus
        | RequestCode::ResetMasterFlushOffset
        | RequestCode::ControllerAlterSyncStateSet
        | RequestCode::ControllerElectMaster
        | RequestCode::ControllerRegisterBroker
        | RequestCode::ControllerGetReplicaInfo
        | RequestCode::ControllerGetMetadataInfo
        | RequestCode::ControllerGetSyncStateData
        | RequestCode::GetBrokerEpochCache
        | RequestCode::NotifyBrokerRoleChanged
        | RequestCode::UpdateControllerConfig
        | RequestCode::GetControllerConfig
        | RequestCode::CleanBrokerData
        | RequestCode::ControllerGetNextBrokerId
        | RequestCode::ControllerApplyBrokerId
        | RequestCode::UpdateColdDataFlowCtrConfig
        | RequestCode::RemoveColdDataFlowCtrConfig
        | RequestCode::GetColdDataFlowCtrInfo
        | RequestCode::SetCommitLogReadMode
        | RequestCode::AuthCreateUser
        | RequestCode::AuthUpdateUser
        | RequestCode::AuthDeleteUser
        | RequestCode::AuthGetUser
        | RequestCode::AuthListUser
        | RequestCode::AuthCreateAcl
        | RequestCode::AuthUpdateAcl
        | RequestCode::AuthDeleteAcl
        | RequestCode::AuthGetAcl
        | RequestCode::AuthListAcl
        | RequestCode::SwitchTimerEngine
        | RequestCode::PopMessage
        | RequestCode::AckMessage
        | RequestCode::PeekMessage
        | RequestCode::ChangeMessageInvisibleTime
        | RequestCode::Notification
        | RequestCode::PollingInfo
        | RequestCode::PopRollback
        | RequestCode::PopLiteMessage
        | RequestCode::LiteSubscriptionCtl
        | RequestCode::AckLiteMessage
        | RequestCode::NotifyUnsubscribeLite
        | RequestCode::GetBrokerLiteInfo
        | RequestCode::GetParentTopicInfo
        | RequestCode::GetLiteTopicInfo
        | RequestCode::GetLiteClientInfo
        | RequestCode::GetLiteGroupInfo
        | RequestCode::TriggerLiteDispatch
        | RequestCode::BatchAckMessage => Err(Answer::not_served(code)),
    }
}
