//! The one dispatch table: from a request code to its handler. Two hops from a code to the deciding line.
//!
//! `docs/COMPAT.md` says the same in prose, with the state of each code and what shows it; tidy compares the two.

use std::sync::Arc;

use crate::broker::answer::Answer;
use crate::broker::core::Core;
use crate::broker::handler::admin;
use crate::broker::handler::consumer;
use crate::broker::handler::end_transaction;
use crate::broker::handler::heartbeat;
use crate::broker::handler::lock_queue;
use crate::broker::handler::offset;
use crate::broker::handler::pull;
use crate::broker::handler::query;
use crate::broker::handler::send;
use crate::broker::handler::send_back;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::unit::Unit;
use crate::protocol::code::RequestCode;

/// Where a request goes.
pub(crate) enum Route {
    /// It appends messages: staged now, appended with the rest of the turn.
    Stage(fn(&Arc<Core>, &Request, &mut Unit) -> Result<(), Refusal>),
    /// It is answered by itself.
    Answer(fn(&Arc<Core>, &Request) -> Result<Answer, Refusal>),
    /// Refused by name: not served by this broker, see `docs/COMPAT.md`.
    Unsupported,
}

#[expect(clippy::too_many_lines, reason = "the dispatch table: one line per request code, ordered by code")]
pub(crate) fn route(code: RequestCode) -> Route {
    match code {
        RequestCode::SendMessage => Route::Stage(send::stage),
        RequestCode::PullMessage => Route::Answer(pull::pull),
        RequestCode::QueryMessage => Route::Answer(query::by_key),
        RequestCode::QueryBrokerOffset => Route::Unsupported,
        RequestCode::QueryConsumerOffset => Route::Answer(consumer::query_offset),
        RequestCode::UpdateConsumerOffset => Route::Answer(consumer::update_offset),
        RequestCode::UpdateAndCreateTopic => Route::Answer(admin::topic::update),
        RequestCode::UpdateAndCreateTopicList => Route::Answer(admin::topic::update_list),
        RequestCode::GetAllTopicConfig => Route::Answer(admin::topic::all),
        RequestCode::GetTopicConfigList | RequestCode::GetTopicNameList | RequestCode::UpdateBrokerConfig => {
            Route::Unsupported
        }
        RequestCode::GetBrokerConfig => Route::Answer(admin::runtime::config),
        RequestCode::TriggerDeleteFiles => Route::Unsupported,
        RequestCode::GetBrokerRuntimeInfo => Route::Answer(admin::runtime::info),
        RequestCode::SearchOffsetByTimestamp => Route::Answer(offset::search),
        RequestCode::GetMaxOffset => Route::Answer(offset::max),
        RequestCode::GetMinOffset => Route::Answer(offset::min),
        RequestCode::GetEarliestMsgStoreTime => Route::Answer(offset::earliest_store_time),
        RequestCode::ViewMessageById => Route::Answer(query::view_by_id),
        RequestCode::HeartBeat => Route::Answer(heartbeat::heartbeat),
        RequestCode::UnregisterClient => Route::Answer(heartbeat::unregister),
        RequestCode::ConsumerSendMsgBack => Route::Stage(send_back::stage),
        RequestCode::EndTransaction => Route::Answer(end_transaction::end),
        RequestCode::GetConsumerListByGroup => Route::Answer(consumer::list),
        RequestCode::CheckTransactionState | RequestCode::NotifyConsumerIdsChanged => Route::Unsupported,
        RequestCode::LockBatchMq => Route::Answer(lock_queue::lock),
        RequestCode::UnlockBatchMq => Route::Answer(lock_queue::unlock),
        RequestCode::GetAllConsumerOffset => Route::Answer(admin::runtime::all_consumer_offsets),
        RequestCode::GetAllDelayOffset => Route::Answer(admin::runtime::all_delay_offsets),
        RequestCode::CheckClientConfig => Route::Answer(heartbeat::check_client),
        RequestCode::GetClientConfig
        | RequestCode::GetTimerCheckPoint
        | RequestCode::GetTimerMetrics
        | RequestCode::PutKvConfig
        | RequestCode::GetKvConfig
        | RequestCode::DeleteKvConfig
        | RequestCode::RegisterBroker
        | RequestCode::UnregisterBroker
        | RequestCode::GetRouteInfoByTopic
        | RequestCode::GetBrokerClusterInfo => Route::Unsupported,
        RequestCode::UpdateAndCreateSubscriptionGroup => Route::Answer(admin::group::update),
        RequestCode::GetAllSubscriptionGroupConfig => Route::Answer(admin::group::all),
        RequestCode::GetTopicStatsInfo => Route::Answer(admin::topic::stats),
        RequestCode::GetConsumerConnectionList => Route::Answer(admin::connection::consumers),
        RequestCode::GetProducerConnectionList => Route::Answer(admin::connection::producers),
        RequestCode::WipeWritePermOfBroker | RequestCode::GetAllTopicListFromNameServer => Route::Unsupported,
        RequestCode::DeleteSubscriptionGroup => Route::Answer(admin::group::delete),
        RequestCode::GetConsumeStats => Route::Answer(admin::consume::stats),
        RequestCode::SuspendConsumer
        | RequestCode::ResumeConsumer
        | RequestCode::ResetConsumerOffsetInConsumer
        | RequestCode::ResetConsumerOffsetInBroker
        | RequestCode::AdjustConsumerThreadPool
        | RequestCode::WhoConsumeTheMessage => Route::Unsupported,
        RequestCode::DeleteTopicInBroker => Route::Answer(admin::topic::delete),
        RequestCode::DeleteTopicInNameServer
        | RequestCode::RegisterTopicInNameServer
        | RequestCode::GetKvListByNamespace
        | RequestCode::ResetConsumerClientOffset
        | RequestCode::GetConsumerStatusFromClient => Route::Unsupported,
        RequestCode::InvokeBrokerToResetOffset => Route::Answer(admin::consume::reset_offset),
        RequestCode::InvokeBrokerToGetConsumerStatus | RequestCode::GetTopicsByCluster => Route::Unsupported,
        RequestCode::UpdateAndCreateSubscriptionGroupList => Route::Answer(admin::group::update_list),
        RequestCode::QueryTopicConsumeByWho => Route::Answer(admin::consume::who),
        RequestCode::RegisterFilterServer
        | RequestCode::RegisterMessageFilterClass
        | RequestCode::QueryConsumeTimeSpan
        | RequestCode::GetSystemTopicListFromNameServer => Route::Unsupported,
        RequestCode::GetSystemTopicListFromBroker => Route::Answer(admin::topic::system_list),
        RequestCode::CleanExpiredConsumeQueue => Route::Unsupported,
        RequestCode::GetConsumerRunningInfo => Route::Answer(admin::connection::relay),
        RequestCode::QueryCorrectionOffset => Route::Unsupported,
        RequestCode::ConsumeMessageDirectly => Route::Answer(admin::connection::relay),
        RequestCode::SendMessageV2 => Route::Stage(send::stage),
        RequestCode::GetUnitTopicList
        | RequestCode::GetHasUnitSubTopicList
        | RequestCode::GetHasUnitSubUnunitTopicList
        | RequestCode::CloneGroupOffset => Route::Unsupported,
        RequestCode::ViewBrokerStatsData => Route::Answer(admin::runtime::stats_data),
        RequestCode::CleanUnusedTopic
        | RequestCode::GetBrokerConsumeStats
        | RequestCode::UpdateNameServerConfig
        | RequestCode::GetNameServerConfig => Route::Unsupported,
        RequestCode::SendBatchMessage => Route::Stage(send::stage),
        RequestCode::QueryConsumeQueue
        | RequestCode::QueryDataVersion
        | RequestCode::ResumeCheckHalfMessage
        | RequestCode::SendReplyMessage
        | RequestCode::SendReplyMessageV2
        | RequestCode::PushReplyMessageToClient
        | RequestCode::AddWritePermOfBroker => Route::Unsupported,
        RequestCode::GetAllProducerInfo => Route::Answer(admin::connection::all_producers),
        RequestCode::DeleteExpiredCommitLog => Route::Unsupported,
        RequestCode::QueryTopicsByConsumer => Route::Answer(admin::consume::topics),
        RequestCode::QuerySubscriptionByConsumer => Route::Answer(admin::consume::subscription),
        RequestCode::GetTopicConfig => Route::Answer(admin::topic::config),
        RequestCode::GetSubscriptionGroupConfig => Route::Answer(admin::group::config),
        RequestCode::UpdateAndGetGroupForbidden
        | RequestCode::CheckRocksDbCqWriteProgress
        | RequestCode::ExportRocksDbConfigToJson => Route::Unsupported,
        RequestCode::LitePullMessage => Route::Answer(pull::pull),
        RequestCode::RecallMessage
        | RequestCode::QueryAssignment
        | RequestCode::SetMessageRequestMode
        | RequestCode::GetAllMessageRequestMode
        | RequestCode::UpdateAndCreateStaticTopic
        | RequestCode::GetBrokerMemberGroup
        | RequestCode::AddBroker
        | RequestCode::RemoveBroker
        | RequestCode::BrokerHeartbeat
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
        | RequestCode::BatchAckMessage => Route::Unsupported,
    }
}
