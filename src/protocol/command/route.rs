//! Routes at a name server (105, 216, 217, 224).

use crate::protocol::command::field::header;

header! {
    /// GET_ROUTEINFO_BY_TOPIC.
    pub struct GetRoute {
        topic: String = "topic",
        /// The asker's JSON parser wants quoted keys.
        accept_standard_json_only: bool = "acceptStandardJsonOnly" or false,
    }

    /// DELETE_TOPIC_IN_NAMESRV.
    pub struct DeleteTopicInNameServer {
        topic: String = "topic",
        cluster_name: Option<String> = "clusterName",
    }

    /// GET_TOPICS_BY_CLUSTER.
    pub struct OfCluster {
        cluster: String = "cluster",
    }
}
