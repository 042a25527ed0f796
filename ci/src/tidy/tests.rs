//! Each rule finds what was planted for it, and nothing where nothing is.

use super::*;

/// The rule, the file, its text.
const PLANTED: &[(&str, &str, &str)] = &[
    ("layers", "src/machine/x.rs", "//! X.\nuse crate::env::Env;\n"),
    ("layers", "src/base/x.rs", "//! X.\nfn f() { crate :: store::open() }\n"),
    ("layers", "src/attic/x.rs", "//! X.\n"),
    ("pure", "src/machine/x.rs", "//! X.\nasync fn f() {}\n"),
    ("pure", "src/machine/x.rs", "//! X.\nuse std::sync::Arc;\n"),
    ("pure", "src/protocol/x.rs", "//! X.\nuse parking_lot::Mutex;\n"),
    ("one-path-per-line", "src/broker/x.rs", "//! X.\nuse crate::{base, env};\n"),
    ("super-super", "src/broker/x.rs", "//! X.\nuse super::super::y;\n"),
    ("heading", "src/broker/x.rs", "use crate::base::Mono;\n"),
    ("heading", "src/broker/x.rs", "\n//! X.\n"),
    ("no-todo", "src/broker/x.rs", "//! X.\n// TODO: later\n"),
    ("no-todo", "chaos/src/x.rs", "//! X.\n/* FIXME */\n"),
    ("java-suffix", "src/broker/x.rs", "//! X.\nstruct TopicManager;\n"),
    ("java-suffix", "src/broker/x.rs", "//! X.\npub trait SendProcessor {}\n"),
    ("java-suffix", "src/broker/offset_service.rs", "//! X.\n"),
    ("java-suffix", "src/broker/x.rs", "//! X.\nmod pull_impl;\n"),
    ("getter", "src/broker/x.rs", "//! X.\nfn get_topic() {}\n"),
    ("junk-drawer", "src/broker/utils.rs", "//! X.\n"),
    ("junk-drawer", "src/broker/common/x.rs", "//! X.\n"),
    ("junk-drawer", "src/broker/x.rs", "//! X.\nmod misc;\n"),
    ("no-allow", "src/broker/x.rs", "//! X.\n#![allow(dead_code)]\n"),
    ("no-allow", "sim-tests/src/x.rs", "//! X.\n#[allow(dead_code)]\n"),
    ("real-tokio", "src/broker/x.rs", "//! X.\nuse tokio_real::spawn;\n"),
    ("real-tokio", "src/env/clock.rs", "//! X.\nuse tokio_real::time;\n"),
    ("madsim", "src/broker/x.rs", "//! X.\n#[cfg(madsim)]\nfn f() {}\n"),
    ("madsim", "src/store/x.rs", "//! X.\nuse madsim::rand;\n"),
    ("tokio-parts", "src/broker/x.rs", "//! X.\nuse tokio::time::sleep;\n"),
    ("tokio-parts", "src/broker/x.rs", "//! X.\nuse tokio::{net};\n"),
    ("biased-select", "src/broker/x.rs", "//! X.\nfn f() { tokio::select! { a = b => {} } }\n"),
];

/// Files that no rule objects to, though they come close.
const CLEAN: &[(&str, &str)] = &[
    ("src/machine/x.rs", "//! The Arc of `crate::env`, told in words: async.\nuse crate::base::Mono;\n"),
    ("src/broker/x.rs", "//! X.\nuse crate::store::Store;\nuse crate::base::{Mono, Timestamp};\n"),
    ("src/broker/x.rs", "//! X.\nfn f() { tokio::select! { biased; a = b => {} } }\n"),
    ("src/broker/x.rs", "//! X.\nconst WORDS: &str = \"TODO tokio_real madsim #[allow(x)]\";\n"),
    (
        "src/broker/implicit.rs",
        "//! X.\nstruct Implementation;\nmacro_rules! m { () => { $crate::sim::x() } }\n",
    ),
    ("src/env/real/clock.rs", "//! X.\nuse tokio_real::time;\n"),
    ("src/broker/tests.rs", "//! X.\nuse tokio_real::runtime;\n"),
    ("src/broker/x.rs", "//! X.\n#[cfg(test)]\nmod tests { use tokio_real::runtime; }\n"),
    ("src/lib.rs", "//! X.\n#[cfg(madsim)]\npub mod sim;\n"),
    ("src/sim/net.rs", "//! X.\nuse madsim::task;\nuse crate::env::Net;\n"),
    ("src/broker/x.rs", "//! X.\nuse tokio::{io, sync};\nfn select(id: u64) {}\n"),
];

fn broken(path: &str, text: &str) -> Vec<&'static str> {
    check(&Source::new(path, text.to_owned())).iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_planted_violation_is_found_by_its_rule_alone() {
    for (rule, path, text) in PLANTED {
        let mut found = broken(path, text);
        found.dedup();
        assert_eq!(found, [*rule], "{path}: {text}");
    }
}

#[test]
fn a_file_too_long_is_found_and_one_at_the_limit_is_not() {
    let lines = |count: usize| format!("//! X.\n{}", "fn f() {}\n".repeat(count - 1));
    assert_eq!(broken("src/broker/x.rs", &lines(801)), ["file-length"]);
    assert_eq!(broken("src/broker/x.rs", &lines(800)), [] as [&str; 0]);
}

#[test]
fn no_rule_is_without_a_planted_violation() {
    for rule in rules().filter(|rule| rule.name != "file-length") {
        assert!(PLANTED.iter().any(|(planted, ..)| *planted == rule.name), "{} was never tripped", rule.name);
    }
}

#[test]
fn what_only_looks_like_a_violation_is_none() {
    for (path, text) in CLEAN {
        assert_eq!(broken(path, text), [] as [&str; 0], "{path}: {text}");
    }
}

#[test]
fn a_finding_says_where_and_why() {
    let source = Source::new("src/machine/x.rs", "//! X.\nuse crate::env::Env;\n".to_owned());
    let findings = check(&source);
    assert_eq!(findings[0].to_string(), "src/machine/x.rs:2: `machine` must not name `env` [layers]");
}
