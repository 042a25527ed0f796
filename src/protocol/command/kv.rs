//! The name server's key-value store (100 to 102, 219).

use crate::protocol::command::field::header;

header! {
    /// PUT_KV_CONFIG.
    pub struct PutKv {
        namespace: String = "namespace",
        key: String = "key",
        value: String = "value",
    }

    /// GET_KV_CONFIG and DELETE_KV_CONFIG.
    pub struct OfKey {
        namespace: String = "namespace",
        key: String = "key",
    }

    pub struct KvReply {
        value: Option<String> = "value",
    }

    /// GET_KVLIST_BY_NAMESPACE.
    pub struct OfNamespace {
        namespace: String = "namespace",
    }
}
