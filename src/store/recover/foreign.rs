//! What a store of Apache RocketMQ holds that this one does not read: told once, when such a store is first opened.
//!
//! Not here: what is read, which is the log, its queues, and (above the store) the tables in `config/*.json`.

use super::Recover;
use crate::store::OpenError;

/// Names below the root and what is in them, for an operator who has to decide whether it matters.
const UNREAD: [(&str, &str); 6] = [
    ("consumequeue_rocksdb", "queues kept in RocksDB (storeType); they are rebuilt from the log"),
    ("batchconsumequeue", "queues of batch topics; their messages are served record by record"),
    ("consumequeue_ext", "bit maps of SQL filters; filtering by SQL expression is not supported"),
    ("compaction", "compacted topics; they are served as far as the log has their messages"),
    (
        "config/rdb",
        "topics, groups and offsets kept in RocksDB; export them to JSON with Apache's tool first",
    ),
    (
        "consumequeue/rmq_sys_wheel_timer",
        "timer messages; those Apache had not delivered yet stay where they are",
    ),
];

/// Checkpoints and acknowledgements of popped messages begin with this.
const REVIVE_TOPIC: &str = "rmq_sys_REVIVE_LOG_";

impl Recover {
    /// Warns of every part of the directory that will not be looked at.
    pub(super) async fn tell_unread(&self) -> Result<(), OpenError> {
        let root = &self.layout.root;
        let mut names = Vec::new();
        for dir in ["", "config", "consumequeue"] {
            let path = root.join(dir);
            let entries = match self.env.disk.list(&path).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(OpenError::io("list", path)(error)),
            };
            let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
            names.extend(
                entries.iter().filter(|entry| entry.is_dir).map(|entry| format!("{prefix}{}", entry.name)),
            );
        }
        for (name, what) in unread(&names) {
            tracing::warn!("{} holds {what}", root.join(name).display());
        }
        Ok(())
    }
}

/// Those of `names` that are not read, and what is in them.
fn unread(names: &[String]) -> Vec<(&str, &'static str)> {
    let known = |name: &str| UNREAD.iter().find(|(unread, _)| *unread == name).map(|(_, what)| *what);
    let revive = |name: &str| {
        let topic = name.strip_prefix("consumequeue/")?;
        topic.starts_with(REVIVE_TOPIC).then_some(
            "acknowledgements of popped messages; what was popped and not acknowledged does not come again",
        )
    };
    names.iter().filter_map(|name| Some((name.as_str(), known(name).or_else(|| revive(name))?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_read_is_told() {
        let names =
            ["commitlog", "index", "consumequeue/orders", "consumequeue/rmq_sys_REVIVE_LOG_c", "config/rdb"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let told: Vec<&str> = unread(&names).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, ["consumequeue/rmq_sys_REVIVE_LOG_c", "config/rdb"]);
    }
}
