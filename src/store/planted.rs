//! Bugs that the simulator can switch on, to prove that it would find them. Constant false in production.

/// The flush answers without syncing the log.
pub const SKIP_SYNC: &str = "store.skip_sync";
/// The log counts as durable before its sync has returned.
pub const ACK_BEFORE_SYNC: &str = "store.ack_before_sync";
/// A failed sync is taken for a good one.
pub const IGNORE_SYNC_ERROR: &str = "store.ignore_sync_error";
/// Under sync flush, readers see messages before they are durable.
pub const VISIBLE_BEFORE_DURABLE: &str = "store.visible_before_durable";
/// Names of new segments and queue files are not made durable.
pub const NO_DIR_SYNC: &str = "store.no_dir_sync";
/// Recovery takes records without looking at their CRC.
pub const RECOVERY_SKIPS_CRC: &str = "store.recovery_skips_crc";
/// Recovery leaves a torn tail where it is.
pub const KEEP_TORN_TAIL: &str = "store.keep_torn_tail";
/// The checkpoint moves before the queue files are durable.
pub const CHECKPOINT_AHEAD: &str = "store.checkpoint_ahead";
/// Recovery takes what it replayed for durable without syncing it.
pub const RECOVERY_SKIPS_SYNC: &str = "store.recovery_skips_sync";

/// The checkpoint says that messages are indexed whose entries are not in any file.
pub const INDEX_MARK_AHEAD: &str = "store.index_mark_ahead";

/// Every bug planted in this layer, with what it does.
pub const ALL: &[(&str, &str)] = &[
    (SKIP_SYNC, "the flush answers without syncing the log"),
    (ACK_BEFORE_SYNC, "the log counts as durable before its sync has returned"),
    (IGNORE_SYNC_ERROR, "a failed sync is taken for a good one"),
    (VISIBLE_BEFORE_DURABLE, "under sync flush, readers see messages before they are durable"),
    (NO_DIR_SYNC, "names of new segments and queue files are not made durable"),
    (RECOVERY_SKIPS_CRC, "recovery takes records without looking at their CRC"),
    (KEEP_TORN_TAIL, "recovery leaves a torn tail where it is"),
    (CHECKPOINT_AHEAD, "the checkpoint moves before the queue files are durable"),
    (RECOVERY_SKIPS_SYNC, "recovery takes what it replayed for durable without syncing it"),
    (INDEX_MARK_AHEAD, "the checkpoint says that messages are indexed whose entries are not in any file"),
];
