//! Holds `docs/OPERATIONS.md` to the tables of keys: every supported key with its default, its form and its meaning.

use std::fmt::Write as _;

use staticfire::broker::config::{Config, Table};

use crate::namesrv_keys::Settings;

const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

/// What the machine decides, in words.
const OF_THE_HOST: [(&str, &str); 2] =
    [("brokerName", "the host's name"), ("brokerIP1", "the host's address")];

fn rows<T: Clone>(table: &Table<T>, defaults: &T) -> String {
    let mut rows = String::from("| key | default | value | meaning |\n|---|---|---|---|\n");
    for (key, (name, value)) in table.keys.iter().zip(table.show(defaults)) {
        let spoken = OF_THE_HOST.iter().find(|(known, _)| *known == name);
        let value = match spoken {
            Some((_, words)) => (*words).to_owned(),
            None if value.is_empty() => "none".to_owned(),
            None => format!("`{value}`"),
        };
        writeln!(rows, "| `{name}` | {value} | {} | {} |", key.slot.expected(), key.about)
            .expect("a string takes it");
    }
    rows
}

fn assert_holds(table: &str) {
    assert!(OPERATIONS.contains(table), "docs/OPERATIONS.md must hold this table:\n\n{table}");
}

#[test]
fn the_brokers_keys_are_documented_as_they_are() {
    assert_holds(&rows(&staticfire::broker::config::TABLE, &Config::default()));
}

#[test]
fn the_name_servers_keys_are_documented_as_they_are() {
    assert_holds(&rows(&crate::namesrv_keys::TABLE, &Settings::default()));
}
