//! Request codes, response codes, languages and versions: the numbers of RocketMQ 5.5.0, all of them.
//!
//! [`RequestCode`] is exhaustive so that the dispatch table can be a `match` without a default arm: a code that is not
//! served is refused by name there. Names on the wire and in tools are those of RocketMQ's constants.
//!
//! Not here: which code is served by whom (`broker`, `namesrv`).

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $number:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum $type { $($variant = $number,)* }

        impl $type {
            const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// `None` for a number that RocketMQ 5.5.0 does not know.
            pub const fn from_i32(number: i32) -> Option<$type> {
                match number {
                    $($number => Some($type::$variant),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> i32 {
                self as i32
            }

            /// The name of RocketMQ's constant.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// Every code, in ascending order.
            pub const fn all() -> &'static [$type] {
                Self::ALL
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} ({})", self.name(), self.number())
            }
        }
    };
}

codes! {
    /// What a request asks for, in either direction.
    RequestCode {
        SendMessage = 10 "SEND_MESSAGE",
        PullMessage = 11 "PULL_MESSAGE",
        QueryMessage = 12 "QUERY_MESSAGE",
        QueryBrokerOffset = 13 "QUERY_BROKER_OFFSET",
        QueryConsumerOffset = 14 "QUERY_CONSUMER_OFFSET",
        UpdateConsumerOffset = 15 "UPDATE_CONSUMER_OFFSET",
        UpdateAndCreateTopic = 17 "UPDATE_AND_CREATE_TOPIC",
        UpdateAndCreateTopicList = 18 "UPDATE_AND_CREATE_TOPIC_LIST",
        GetAllTopicConfig = 21 "GET_ALL_TOPIC_CONFIG",
        GetTopicConfigList = 22 "GET_TOPIC_CONFIG_LIST",
        GetTopicNameList = 23 "GET_TOPIC_NAME_LIST",
        UpdateBrokerConfig = 25 "UPDATE_BROKER_CONFIG",
        GetBrokerConfig = 26 "GET_BROKER_CONFIG",
        TriggerDeleteFiles = 27 "TRIGGER_DELETE_FILES",
        GetBrokerRuntimeInfo = 28 "GET_BROKER_RUNTIME_INFO",
        SearchOffsetByTimestamp = 29 "SEARCH_OFFSET_BY_TIMESTAMP",
        GetMaxOffset = 30 "GET_MAX_OFFSET",
        GetMinOffset = 31 "GET_MIN_OFFSET",
        GetEarliestMsgStoreTime = 32 "GET_EARLIEST_MSG_STORETIME",
        ViewMessageById = 33 "VIEW_MESSAGE_BY_ID",
        HeartBeat = 34 "HEART_BEAT",
        UnregisterClient = 35 "UNREGISTER_CLIENT",
        ConsumerSendMsgBack = 36 "CONSUMER_SEND_MSG_BACK",
        EndTransaction = 37 "END_TRANSACTION",
        GetConsumerListByGroup = 38 "GET_CONSUMER_LIST_BY_GROUP",
        CheckTransactionState = 39 "CHECK_TRANSACTION_STATE",
        NotifyConsumerIdsChanged = 40 "NOTIFY_CONSUMER_IDS_CHANGED",
        LockBatchMq = 41 "LOCK_BATCH_MQ",
        UnlockBatchMq = 42 "UNLOCK_BATCH_MQ",
        GetAllConsumerOffset = 43 "GET_ALL_CONSUMER_OFFSET",
        GetAllDelayOffset = 45 "GET_ALL_DELAY_OFFSET",
        CheckClientConfig = 46 "CHECK_CLIENT_CONFIG",
        GetClientConfig = 47 "GET_CLIENT_CONFIG",
        GetTimerCheckPoint = 60 "GET_TIMER_CHECK_POINT",
        GetTimerMetrics = 61 "GET_TIMER_METRICS",
        PutKvConfig = 100 "PUT_KV_CONFIG",
        GetKvConfig = 101 "GET_KV_CONFIG",
        DeleteKvConfig = 102 "DELETE_KV_CONFIG",
        RegisterBroker = 103 "REGISTER_BROKER",
        UnregisterBroker = 104 "UNREGISTER_BROKER",
        GetRouteInfoByTopic = 105 "GET_ROUTEINFO_BY_TOPIC",
        GetBrokerClusterInfo = 106 "GET_BROKER_CLUSTER_INFO",
        UpdateAndCreateSubscriptionGroup = 200 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP",
        GetAllSubscriptionGroupConfig = 201 "GET_ALL_SUBSCRIPTIONGROUP_CONFIG",
        GetTopicStatsInfo = 202 "GET_TOPIC_STATS_INFO",
        GetConsumerConnectionList = 203 "GET_CONSUMER_CONNECTION_LIST",
        GetProducerConnectionList = 204 "GET_PRODUCER_CONNECTION_LIST",
        WipeWritePermOfBroker = 205 "WIPE_WRITE_PERM_OF_BROKER",
        GetAllTopicListFromNameServer = 206 "GET_ALL_TOPIC_LIST_FROM_NAMESERVER",
        DeleteSubscriptionGroup = 207 "DELETE_SUBSCRIPTIONGROUP",
        GetConsumeStats = 208 "GET_CONSUME_STATS",
        SuspendConsumer = 209 "SUSPEND_CONSUMER",
        ResumeConsumer = 210 "RESUME_CONSUMER",
        ResetConsumerOffsetInConsumer = 211 "RESET_CONSUMER_OFFSET_IN_CONSUMER",
        ResetConsumerOffsetInBroker = 212 "RESET_CONSUMER_OFFSET_IN_BROKER",
        AdjustConsumerThreadPool = 213 "ADJUST_CONSUMER_THREAD_POOL",
        WhoConsumeTheMessage = 214 "WHO_CONSUME_THE_MESSAGE",
        DeleteTopicInBroker = 215 "DELETE_TOPIC_IN_BROKER",
        DeleteTopicInNameServer = 216 "DELETE_TOPIC_IN_NAMESRV",
        RegisterTopicInNameServer = 217 "REGISTER_TOPIC_IN_NAMESRV",
        GetKvListByNamespace = 219 "GET_KVLIST_BY_NAMESPACE",
        ResetConsumerClientOffset = 220 "RESET_CONSUMER_CLIENT_OFFSET",
        GetConsumerStatusFromClient = 221 "GET_CONSUMER_STATUS_FROM_CLIENT",
        InvokeBrokerToResetOffset = 222 "INVOKE_BROKER_TO_RESET_OFFSET",
        InvokeBrokerToGetConsumerStatus = 223 "INVOKE_BROKER_TO_GET_CONSUMER_STATUS",
        GetTopicsByCluster = 224 "GET_TOPICS_BY_CLUSTER",
        UpdateAndCreateSubscriptionGroupList = 225 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST",
        QueryTopicConsumeByWho = 300 "QUERY_TOPIC_CONSUME_BY_WHO",
        RegisterFilterServer = 301 "REGISTER_FILTER_SERVER",
        RegisterMessageFilterClass = 302 "REGISTER_MESSAGE_FILTER_CLASS",
        QueryConsumeTimeSpan = 303 "QUERY_CONSUME_TIME_SPAN",
        GetSystemTopicListFromNameServer = 304 "GET_SYSTEM_TOPIC_LIST_FROM_NS",
        GetSystemTopicListFromBroker = 305 "GET_SYSTEM_TOPIC_LIST_FROM_BROKER",
        CleanExpiredConsumeQueue = 306 "CLEAN_EXPIRED_CONSUMEQUEUE",
        GetConsumerRunningInfo = 307 "GET_CONSUMER_RUNNING_INFO",
        QueryCorrectionOffset = 308 "QUERY_CORRECTION_OFFSET",
        ConsumeMessageDirectly = 309 "CONSUME_MESSAGE_DIRECTLY",
        SendMessageV2 = 310 "SEND_MESSAGE_V2",
        GetUnitTopicList = 311 "GET_UNIT_TOPIC_LIST",
        GetHasUnitSubTopicList = 312 "GET_HAS_UNIT_SUB_TOPIC_LIST",
        GetHasUnitSubUnunitTopicList = 313 "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST",
        CloneGroupOffset = 314 "CLONE_GROUP_OFFSET",
        ViewBrokerStatsData = 315 "VIEW_BROKER_STATS_DATA",
        CleanUnusedTopic = 316 "CLEAN_UNUSED_TOPIC",
        GetBrokerConsumeStats = 317 "GET_BROKER_CONSUME_STATS",
        UpdateNameServerConfig = 318 "UPDATE_NAMESRV_CONFIG",
        GetNameServerConfig = 319 "GET_NAMESRV_CONFIG",
        SendBatchMessage = 320 "SEND_BATCH_MESSAGE",
        QueryConsumeQueue = 321 "QUERY_CONSUME_QUEUE",
        QueryDataVersion = 322 "QUERY_DATA_VERSION",
        ResumeCheckHalfMessage = 323 "RESUME_CHECK_HALF_MESSAGE",
        SendReplyMessage = 324 "SEND_REPLY_MESSAGE",
        SendReplyMessageV2 = 325 "SEND_REPLY_MESSAGE_V2",
        PushReplyMessageToClient = 326 "PUSH_REPLY_MESSAGE_TO_CLIENT",
        AddWritePermOfBroker = 327 "ADD_WRITE_PERM_OF_BROKER",
        GetAllProducerInfo = 328 "GET_ALL_PRODUCER_INFO",
        DeleteExpiredCommitLog = 329 "DELETE_EXPIRED_COMMITLOG",
        QueryTopicsByConsumer = 343 "QUERY_TOPICS_BY_CONSUMER",
        QuerySubscriptionByConsumer = 345 "QUERY_SUBSCRIPTION_BY_CONSUMER",
        GetTopicConfig = 351 "GET_TOPIC_CONFIG",
        GetSubscriptionGroupConfig = 352 "GET_SUBSCRIPTIONGROUP_CONFIG",
        UpdateAndGetGroupForbidden = 353 "UPDATE_AND_GET_GROUP_FORBIDDEN",
        CheckRocksDbCqWriteProgress = 354 "CHECK_ROCKSDB_CQ_WRITE_PROGRESS",
        ExportRocksDbConfigToJson = 355 "EXPORT_ROCKSDB_CONFIG_TO_JSON",
        LitePullMessage = 361 "LITE_PULL_MESSAGE",
        RecallMessage = 370 "RECALL_MESSAGE",
        QueryAssignment = 400 "QUERY_ASSIGNMENT",
        SetMessageRequestMode = 401 "SET_MESSAGE_REQUEST_MODE",
        GetAllMessageRequestMode = 402 "GET_ALL_MESSAGE_REQUEST_MODE",
        UpdateAndCreateStaticTopic = 513 "UPDATE_AND_CREATE_STATIC_TOPIC",
        GetBrokerMemberGroup = 901 "GET_BROKER_MEMBER_GROUP",
        AddBroker = 902 "ADD_BROKER",
        RemoveBroker = 903 "REMOVE_BROKER",
        BrokerHeartbeat = 904 "BROKER_HEARTBEAT",
        NotifyMinBrokerIdChange = 905 "NOTIFY_MIN_BROKER_ID_CHANGE",
        ExchangeBrokerHaInfo = 906 "EXCHANGE_BROKER_HA_INFO",
        GetBrokerHaStatus = 907 "GET_BROKER_HA_STATUS",
        ResetMasterFlushOffset = 908 "RESET_MASTER_FLUSH_OFFSET",
        ControllerAlterSyncStateSet = 1001 "CONTROLLER_ALTER_SYNC_STATE_SET",
        ControllerElectMaster = 1002 "CONTROLLER_ELECT_MASTER",
        ControllerRegisterBroker = 1003 "CONTROLLER_REGISTER_BROKER",
        ControllerGetReplicaInfo = 1004 "CONTROLLER_GET_REPLICA_INFO",
        ControllerGetMetadataInfo = 1005 "CONTROLLER_GET_METADATA_INFO",
        ControllerGetSyncStateData = 1006 "CONTROLLER_GET_SYNC_STATE_DATA",
        GetBrokerEpochCache = 1007 "GET_BROKER_EPOCH_CACHE",
        NotifyBrokerRoleChanged = 1008 "NOTIFY_BROKER_ROLE_CHANGED",
        UpdateControllerConfig = 1009 "UPDATE_CONTROLLER_CONFIG",
        GetControllerConfig = 1010 "GET_CONTROLLER_CONFIG",
        CleanBrokerData = 1011 "CLEAN_BROKER_DATA",
        ControllerGetNextBrokerId = 1012 "CONTROLLER_GET_NEXT_BROKER_ID",
        ControllerApplyBrokerId = 1013 "CONTROLLER_APPLY_BROKER_ID",
        UpdateColdDataFlowCtrConfig = 2001 "UPDATE_COLD_DATA_FLOW_CTR_CONFIG",
        RemoveColdDataFlowCtrConfig = 2002 "REMOVE_COLD_DATA_FLOW_CTR_CONFIG",
        GetColdDataFlowCtrInfo = 2003 "GET_COLD_DATA_FLOW_CTR_INFO",
        SetCommitLogReadMode = 2004 "SET_COMMITLOG_READ_MODE",
        AuthCreateUser = 3001 "AUTH_CREATE_USER",
        AuthUpdateUser = 3002 "AUTH_UPDATE_USER",
        AuthDeleteUser = 3003 "AUTH_DELETE_USER",
        AuthGetUser = 3004 "AUTH_GET_USER",
        AuthListUser = 3005 "AUTH_LIST_USER",
        AuthCreateAcl = 3006 "AUTH_CREATE_ACL",
        AuthUpdateAcl = 3007 "AUTH_UPDATE_ACL",
        AuthDeleteAcl = 3008 "AUTH_DELETE_ACL",
        AuthGetAcl = 3009 "AUTH_GET_ACL",
        AuthListAcl = 3010 "AUTH_LIST_ACL",
        SwitchTimerEngine = 5001 "SWITCH_TIMER_ENGINE",
        PopMessage = 200050 "POP_MESSAGE",
        AckMessage = 200051 "ACK_MESSAGE",
        PeekMessage = 200052 "PEEK_MESSAGE",
        ChangeMessageInvisibleTime = 200053 "CHANGE_MESSAGE_INVISIBLETIME",
        Notification = 200054 "NOTIFICATION",
        PollingInfo = 200055 "POLLING_INFO",
        PopRollback = 200056 "POP_ROLLBACK",
        PopLiteMessage = 200070 "POP_LITE_MESSAGE",
        LiteSubscriptionCtl = 200071 "LITE_SUBSCRIPTION_CTL",
        AckLiteMessage = 200072 "ACK_LITE_MESSAGE",
        NotifyUnsubscribeLite = 200073 "NOTIFY_UNSUBSCRIBE_LITE",
        GetBrokerLiteInfo = 200074 "GET_BROKER_LITE_INFO",
        GetParentTopicInfo = 200075 "GET_PARENT_TOPIC_INFO",
        GetLiteTopicInfo = 200076 "GET_LITE_TOPIC_INFO",
        GetLiteClientInfo = 200077 "GET_LITE_CLIENT_INFO",
        GetLiteGroupInfo = 200078 "GET_LITE_GROUP_INFO",
        TriggerLiteDispatch = 200079 "TRIGGER_LITE_DISPATCH",
        BatchAckMessage = 200151 "BATCH_ACK_MESSAGE",
    }
}

codes! {
    /// How a request ended.
    ResponseCode {
        RpcTimeOut = -1006 "RPC_TIME_OUT",
        RpcSendToChannelFailed = -1004 "RPC_SEND_TO_CHANNEL_FAILED",
        RpcAddrIsNull = -1002 "RPC_ADDR_IS_NULL",
        RpcUnknown = -1000 "RPC_UNKNOWN",
        Success = 0 "SUCCESS",
        SystemError = 1 "SYSTEM_ERROR",
        SystemBusy = 2 "SYSTEM_BUSY",
        RequestCodeNotSupported = 3 "REQUEST_CODE_NOT_SUPPORTED",
        TransactionFailed = 4 "TRANSACTION_FAILED",
        FlushDiskTimeout = 10 "FLUSH_DISK_TIMEOUT",
        SlaveNotAvailable = 11 "SLAVE_NOT_AVAILABLE",
        FlushSlaveTimeout = 12 "FLUSH_SLAVE_TIMEOUT",
        MessageIllegal = 13 "MESSAGE_ILLEGAL",
        ServiceNotAvailable = 14 "SERVICE_NOT_AVAILABLE",
        VersionNotSupported = 15 "VERSION_NOT_SUPPORTED",
        NoPermission = 16 "NO_PERMISSION",
        TopicNotExist = 17 "TOPIC_NOT_EXIST",
        TopicExistAlready = 18 "TOPIC_EXIST_ALREADY",
        PullNotFound = 19 "PULL_NOT_FOUND",
        PullRetryImmediately = 20 "PULL_RETRY_IMMEDIATELY",
        PullOffsetMoved = 21 "PULL_OFFSET_MOVED",
        QueryNotFound = 22 "QUERY_NOT_FOUND",
        SubscriptionParseFailed = 23 "SUBSCRIPTION_PARSE_FAILED",
        SubscriptionNotExist = 24 "SUBSCRIPTION_NOT_EXIST",
        SubscriptionNotLatest = 25 "SUBSCRIPTION_NOT_LATEST",
        SubscriptionGroupNotExist = 26 "SUBSCRIPTION_GROUP_NOT_EXIST",
        FilterDataNotExist = 27 "FILTER_DATA_NOT_EXIST",
        FilterDataNotLatest = 28 "FILTER_DATA_NOT_LATEST",
        InvalidParameter = 29 "INVALID_PARAMETER",
        TransactionShouldCommit = 200 "TRANSACTION_SHOULD_COMMIT",
        TransactionShouldRollback = 201 "TRANSACTION_SHOULD_ROLLBACK",
        TransactionStateUnknown = 202 "TRANSACTION_STATE_UNKNOW",
        TransactionStateGroupWrong = 203 "TRANSACTION_STATE_GROUP_WRONG",
        NoBuyerId = 204 "NO_BUYER_ID",
        NotInCurrentUnit = 205 "NOT_IN_CURRENT_UNIT",
        ConsumerNotOnline = 206 "CONSUMER_NOT_ONLINE",
        ConsumeMsgTimeout = 207 "CONSUME_MSG_TIMEOUT",
        NoMessage = 208 "NO_MESSAGE",
        PollingFull = 209 "POLLING_FULL",
        PollingTimeout = 210 "POLLING_TIMEOUT",
        BrokerNotExist = 211 "BROKER_NOT_EXIST",
        BrokerDispatchNotComplete = 212 "BROKER_DISPATCH_NOT_COMPLETE",
        BroadcastConsumption = 213 "BROADCAST_CONSUMPTION",
        FlowControl = 215 "FLOW_CONTROL",
        NotLeaderForQueue = 501 "NOT_LEADER_FOR_QUEUE",
        IllegalOperation = 604 "ILLEGAL_OPERATION",
        GoAway = 1500 "GO_AWAY",
        ControllerFencedMasterEpoch = 2000 "CONTROLLER_FENCED_MASTER_EPOCH",
        ControllerFencedSyncStateSetEpoch = 2001 "CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH",
        ControllerInvalidMaster = 2002 "CONTROLLER_INVALID_MASTER",
        ControllerInvalidReplicas = 2003 "CONTROLLER_INVALID_REPLICAS",
        ControllerMasterNotAvailable = 2004 "CONTROLLER_MASTER_NOT_AVAILABLE",
        ControllerInvalidRequest = 2005 "CONTROLLER_INVALID_REQUEST",
        ControllerBrokerNotAlive = 2006 "CONTROLLER_BROKER_NOT_ALIVE",
        ControllerNotLeader = 2007 "CONTROLLER_NOT_LEADER",
        ControllerBrokerMetadataNotExist = 2008 "CONTROLLER_BROKER_METADATA_NOT_EXIST",
        ControllerInvalidCleanBrokerMetadata = 2009 "CONTROLLER_INVALID_CLEAN_BROKER_METADATA",
        ControllerBrokerNeedToBeRegistered = 2010 "CONTROLLER_BROKER_NEED_TO_BE_REGISTERED",
        ControllerMasterStillExist = 2011 "CONTROLLER_MASTER_STILL_EXIST",
        ControllerElectMasterFailed = 2012 "CONTROLLER_ELECT_MASTER_FAILED",
        ControllerAlterSyncStateSetFailed = 2013 "CONTROLLER_ALTER_SYNC_STATE_SET_FAILED",
        ControllerBrokerIdInvalid = 2014 "CONTROLLER_BROKER_ID_INVALID",
        ControllerJraftInternalError = 2015 "CONTROLLER_JRAFT_INTERNAL_ERROR",
        ControllerBrokerLiveInfoNotExists = 2016 "CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS",
        LmqQuotaExceeded = 2017 "LMQ_QUOTA_EXCEEDED",
        LiteSubscriptionQuotaExceeded = 2018 "LITE_SUBSCRIPTION_QUOTA_EXCEEDED",
        UserNotExist = 3001 "USER_NOT_EXIST",
        PolicyNotExist = 3002 "POLICY_NOT_EXIST",
    }
}

macro_rules! languages {
    ($($variant:ident = $number:literal $name:literal,)*) => {
        /// The implementation language a peer claims. Unknown ones are [`Language::Other`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Language { #[default] $($variant = $number,)* }

        impl Language {
            pub const fn from_u8(number: u8) -> Language {
                match number {
                    $($number => Language::$variant,)*
                    _ => Language::Other,
                }
            }

            /// By RocketMQ's name; JSON headers and connection lists carry it.
            pub fn from_name(name: &[u8]) -> Language {
                $(if name == $name.as_bytes() { return Language::$variant; })*
                Language::Other
            }

            pub const fn number(self) -> u8 {
                self as u8
            }

            pub const fn name(self) -> &'static str {
                match self { $(Language::$variant => $name,)* }
            }
        }
    };
}

languages! {
    Java = 0 "JAVA",
    Cpp = 1 "CPP",
    Dotnet = 2 "DOTNET",
    Python = 3 "PYTHON",
    Delphi = 4 "DELPHI",
    Erlang = 5 "ERLANG",
    Ruby = 6 "RUBY",
    Other = 7 "OTHER",
    Http = 8 "HTTP",
    Go = 9 "GO",
    Php = 10 "PHP",
    Oms = 11 "OMS",
    Rust = 12 "RUST",
    NodeJs = 13 "NODE_JS",
}

/// Protocol versions: ordinals of a list that RocketMQ only ever extends.
pub mod version {
    /// The first version whose route requests are answered in standard JSON (quoted numeric keys).
    pub const V4_9_4: i32 = 401;
    pub const V5_0_0: i32 = 413;
    pub const V5_3_1: i32 = 475;
    pub const V5_5_0: i32 = 513;
    /// What we claim to be: the release whose behaviour we follow.
    pub const CURRENT: i32 = V5_5_0;

    /// `V5_5_0` for 513, as tools print it: from 4.1.0 on each release is one snapshot and one final ordinal.
    pub fn name(ordinal: i32) -> String {
        // V5_0_0-SNAPSHOT is 412; each minor line of 5.x has ten patch levels of two ordinals each.
        if (412..612).contains(&ordinal) {
            let index = ordinal - 412;
            let suffix = if index % 2 == 0 { "_SNAPSHOT" } else { "" };
            return format!("V5_{}_{}{suffix}", index / 20, index / 2 % 10);
        }
        if (392..412).contains(&ordinal) {
            let index = ordinal - 392;
            let suffix = if index % 2 == 0 { "_SNAPSHOT" } else { "" };
            return format!("V4_9_{}{suffix}", index / 2);
        }
        format!("ordinal {ordinal}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number_and_numbers_ascend() {
        for pair in RequestCode::all().windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for code in RequestCode::all() {
            assert_eq!(RequestCode::from_i32(code.number()), Some(*code));
        }
        for code in ResponseCode::all() {
            assert_eq!(ResponseCode::from_i32(code.number()), Some(*code));
        }
        assert_eq!(RequestCode::from_i32(9999), None);
        assert_eq!(RequestCode::SendMessageV2.name(), "SEND_MESSAGE_V2");
    }

    #[test]
    fn versions_have_the_names_of_their_releases() {
        assert_eq!(version::name(513), "V5_5_0");
        assert_eq!(version::name(480), "V5_3_4_SNAPSHOT");
        assert_eq!(version::name(401), "V4_9_4");
        assert_eq!(version::name(409), "V4_9_8");
        assert_eq!(version::name(63), "ordinal 63");
    }
}
