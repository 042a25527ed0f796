//! Dependencies point down, and this table is the only statement of it.

use crate::tidy::source::{Source, words};
use crate::tidy::{Found, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "layers", check: layers },
    Rule { name: "pure", check: pure },
    Rule { name: "one-path-per-line", check: one_path },
    Rule { name: "super-super", check: super_super },
];

/// Which layers a layer may name with `crate::`, ground first.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("env", &["base"]),
    ("protocol", &["base"]),
    ("machine", &["base", "protocol"]),
    ("store", &["base", "env", "protocol"]),
    ("remoting", &["base", "env", "protocol"]),
    ("sim", &["base", "env"]),
    ("namesrv", &["base", "env", "protocol", "machine", "remoting"]),
    ("client", &["base", "env", "protocol", "machine", "remoting"]),
    ("broker", &["base", "env", "protocol", "machine", "remoting", "store"]),
];
/// What layers without a world may not even name.
const PURE: &[(&str, &[&str])] = &[
    ("base", &["async", "await", "tokio", "Instant", "SystemTime", "Mutex", "RwLock", "Arc"]),
    ("protocol", &["async", "await", "tokio", "Instant", "SystemTime", "Mutex", "RwLock"]),
    ("machine", &["async", "await", "tokio", "Instant", "SystemTime", "Mutex", "RwLock", "Arc"]),
];

fn layer_of(source: &Source) -> Option<&str> {
    let below = source.path.strip_prefix("src/")?;
    let (layer, _) = below.split_once('/')?;
    // Tests against a whole broker are a crate of their own beside the layer that they are about.
    (layer != "bin" && !source.path.contains("/end_to_end/")).then_some(layer)
}

fn layers(source: &Source, found: &mut Found) {
    let Some(layer) = layer_of(source) else { return };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        found.add(0, format!("the layer `{layer}` is not in the table of layers"));
        return;
    };
    let words = words(&source.code);
    for pair in words.windows(2) {
        let (root, target) = (pair[0], pair[1]);
        let joined = &source.code[root.at + root.text.len()..target.at];
        let ours = root.text == "crate" && joined.trim() == "::" && !source.code[..root.at].ends_with('$');
        if ours && target.text != layer && !allowed.contains(&target.text) {
            let words = format!("`{layer}` must not name `{}`", target.text);
            found.add(target.line, words);
        }
    }
}

fn pure(source: &Source, found: &mut Found) {
    let layer = layer_of(source);
    let Some((layer, banned)) = PURE.iter().find(|(name, _)| Some(*name) == layer) else { return };
    for word in words(&source.code) {
        if banned.contains(&word.text) {
            let words = format!("`{layer}` has no `{}`: it decides, others act", word.text);
            found.add(word.line, words);
        }
    }
}

fn one_path(source: &Source, found: &mut Found) {
    for (at, line) in source.code.lines().enumerate() {
        if line.contains("use crate::{") {
            let words = "one path per line: what a file depends on is read from its first screen";
            found.add(at + 1, words);
        }
    }
}

fn super_super(source: &Source, found: &mut Found) {
    for (at, line) in source.code.lines().enumerate() {
        if line.contains("super::super") {
            found.add(at + 1, "name it from `crate::`");
        }
    }
}
