//! Bugs that the simulator can switch on, to prove that it would find them. Constant false in production.

/// The flush answers without syncing the log.
pub const SKIP_SYNC: &str = "store.skip_sync";
/// The log counts as durable before its sync has returned.
pub const ACK_BEFORE_SYNC: &str = "store.ack_before_sync";
/// A failed sync is taken for a good one.
pub const IGNORE_SYNC_ERROR: &str = "store.ignore_sync_error";
/// Under sync flush, readers see messages before they are durable.
pub const VISIBLE_BEFORE_DURABLE: &str = "store.visible_before_durable";
/// Names of new segments and journal files are not made durable.
pub const NO_DIR_SYNC: &str = "store.no_dir_sync";
/// Recovery takes records without looking at their CRC.
pub const RECOVERY_SKIPS_CRC: &str = "store.recovery_skips_crc";
/// Recovery leaves a torn tail where it is.
pub const KEEP_TORN_TAIL: &str = "store.keep_torn_tail";
/// The checkpoint file says more than the queue files hold.
pub const CHECKPOINT_AHEAD: &str = "store.checkpoint_ahead";
/// Recovery takes what it replayed for durable without syncing it.
pub const RECOVERY_SKIPS_SYNC: &str = "store.recovery_skips_sync";
/// A queue file keeps the length that a dead process left it with.
pub const HALF_MADE_FILE: &str = "store.half_made_file";
/// Recovery replays the last segment that was written to, and nothing before it.
pub const REPLAY_LAST_SEGMENT: &str = "store.replay_last_segment";
/// Recovery moves the checkpoint before the units are durable.
pub const RECOVERY_CHECKPOINT_FIRST: &str = "store.recovery_checkpoint_first";
/// Recovery cuts the last whole record as well, at each start after a crash.
pub const CUT_ONE_MORE: &str = "store.cut_one_more";
/// Recovery refuses a queue file without its full length.
pub const SHORT_QUEUE_FILE_REFUSED: &str = "store.short_queue_file_refused";
/// A read that meets a damaged record passes over everything behind it.
pub const DAMAGE_HIDES_THE_REST: &str = "store.damage_hides_the_rest";
/// A read whose records are removed while it waits for the disk finds them damaged.
pub const REMOVAL_IS_DAMAGE: &str = "store.removal_is_damage";
/// A disk that was full is not asked again.
pub const FULL_FOR_EVER: &str = "store.full_for_ever";
/// A small file is rewritten in place.
pub const REPLACE_IN_PLACE: &str = "store.replace_in_place";

/// The checkpoint says that messages are indexed whose entries are not in any file.
pub const INDEX_MARK_AHEAD: &str = "store.index_mark_ahead";

/// Every bug planted in this layer, with what it does.
pub const ALL: &[(&str, &str)] = &[
    (SKIP_SYNC, "the flush answers without syncing the log"),
    (ACK_BEFORE_SYNC, "the log counts as durable before its sync has returned"),
    (IGNORE_SYNC_ERROR, "a failed sync is taken for a good one"),
    (VISIBLE_BEFORE_DURABLE, "under sync flush, readers see messages before they are durable"),
    (NO_DIR_SYNC, "names of new segments and journal files are not made durable"),
    (RECOVERY_SKIPS_CRC, "recovery takes records without looking at their CRC"),
    (KEEP_TORN_TAIL, "recovery leaves a torn tail where it is"),
    (CHECKPOINT_AHEAD, "the checkpoint file says more than the queue files hold"),
    (RECOVERY_SKIPS_SYNC, "recovery takes what it replayed for durable without syncing it"),
    (INDEX_MARK_AHEAD, "the checkpoint says that messages are indexed whose entries are not in any file"),
    (HALF_MADE_FILE, "a queue file keeps the length that a dead process left it with"),
    (REPLAY_LAST_SEGMENT, "recovery replays the last segment that was written to, and nothing before it"),
    (RECOVERY_CHECKPOINT_FIRST, "recovery moves the checkpoint before the units are durable"),
    (CUT_ONE_MORE, "recovery cuts the last whole record as well, at each start after a crash"),
    (SHORT_QUEUE_FILE_REFUSED, "recovery refuses a queue file without its full length"),
    (DAMAGE_HIDES_THE_REST, "a read that meets a damaged record passes over everything behind it"),
    (REMOVAL_IS_DAMAGE, "a read whose records are removed while it waits for the disk finds them damaged"),
    (FULL_FOR_EVER, "a disk that was full is not asked again"),
    (REPLACE_IN_PLACE, "a small file is rewritten in place"),
];
