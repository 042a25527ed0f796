//! The name server's key-value configuration: namespaces of strings, kept in `kvConfig.json`.
//!
//! Invariant: no namespace that was never written; an emptied one stays, as in RocketMQ. Every change moves
//! [`KvConfig::revision`], which is how the owner knows what is not in the file yet.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvConfig {
    table: BTreeMap<String, BTreeMap<String, String>>,
    revision: u64,
}

impl KvConfig {
    /// The namespace that holds how many queues an ordered topic has on each broker.
    pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

    /// What a file held.
    pub fn restore(table: BTreeMap<String, BTreeMap<String, String>>) -> KvConfig {
        KvConfig { table, revision: 0 }
    }

    pub fn put(&mut self, namespace: &str, key: &str, value: &str) {
        let of_namespace = self.table.entry(namespace.to_owned()).or_default();
        of_namespace.insert(key.to_owned(), value.to_owned());
        self.revision += 1;
    }

    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.table.get(namespace)?.get(key).map(String::as_str)
    }

    pub fn delete(&mut self, namespace: &str, key: &str) {
        if self.table.get_mut(namespace).is_some_and(|table| table.remove(key).is_some()) {
            self.revision += 1;
        }
    }

    pub fn namespace(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.table.get(namespace)
    }

    pub fn table(&self) -> &BTreeMap<String, BTreeMap<String, String>> {
        &self.table
    }

    /// Grows with each change.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_moves_the_revision() {
        let mut kv = KvConfig::default();
        kv.delete("n", "k");
        assert_eq!(kv.revision(), 0);
        kv.put("n", "k", "v");
        assert_eq!((kv.get("n", "k"), kv.revision()), (Some("v"), 1));
        kv.delete("n", "k");
        assert_eq!((kv.get("n", "k"), kv.revision()), (None, 2));
        assert!(kv.namespace("n").is_some_and(BTreeMap::is_empty), "an emptied namespace stays");
    }
}
