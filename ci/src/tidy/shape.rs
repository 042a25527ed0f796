//! Sizes, headings, names and words.

use crate::tidy::source::{Source, words};
use crate::tidy::{Found, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "file-length", check: file_length },
    Rule { name: "heading", check: heading },
    Rule { name: "no-todo", check: no_todo },
    Rule { name: "java-suffix", check: java_suffix },
    Rule { name: "getter", check: getter },
    Rule { name: "junk-drawer", check: junk_drawer },
    Rule { name: "no-allow", check: no_allow },
];

const LINES_MAX: usize = 800;
/// Suffixes of Java's class names that say nothing.
const SUFFIXES: [&str; 7] = ["Manager", "Service", "Processor", "Impl", "Helper", "Util", "Utils"];
/// Modules that grow because nothing says what does not belong there.
const JUNK: [&str; 7] = ["common", "util", "utils", "helper", "helpers", "misc", "shared"];

fn file_length(source: &Source, found: &mut Found) {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        let words = format!("{lines} lines; split it by a noun that has an invariant (limit {LINES_MAX})");
        found.add(0, words);
    }
}

fn heading(source: &Source, found: &mut Found) {
    let first = source.text.lines().next().unwrap_or_default();
    if !first.starts_with("//! ") {
        found.add(1, "a file opens with `//!`: what it owns, what is not here");
    }
}

fn no_todo(source: &Source, found: &mut Found) {
    for word in words(&source.comments) {
        if ["TODO", "FIXME", "XXX", "HACK"].contains(&word.text) {
            let words = format!("{} does not land; say what is true today", word.text);
            found.add(word.line, words);
        }
    }
}

fn java_suffix(source: &Source, found: &mut Found) {
    let words = words(&source.code);
    for pair in words.windows(2) {
        let (keyword, name) = (pair[0].text, pair[1]);
        let bad = match keyword {
            "struct" | "enum" | "trait" | "type" | "union" => {
                SUFFIXES.iter().find(|suffix| name.text.ends_with(*suffix))
            }
            "mod" => suffix_of_module(name.text),
            _ => None,
        };
        if let Some(bad) = bad {
            found.add(name.line, says_nothing(name.text, bad));
        }
    }
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if let Some(bad) = suffix_of_module(stem) {
        found.add(0, says_nothing(stem, bad));
    }
}

fn says_nothing(name: &str, suffix: &str) -> String {
    format!("`{name}`: {suffix} says nothing, the noun is enough")
}

/// `offset_manager` and `manager` alike; `implicit` is a word of its own.
fn suffix_of_module(name: &str) -> Option<&'static &'static str> {
    let last = name.rsplit('_').next().unwrap_or(name);
    SUFFIXES.iter().find(|suffix| suffix.eq_ignore_ascii_case(last) && !JUNK.contains(&name))
}

fn getter(source: &Source, found: &mut Found) {
    let words = words(&source.code);
    for pair in words.windows(2) {
        // Beside a `get`, std's own pair of names is the clear one.
        if pair[0].text == "fn" && pair[1].text.starts_with("get_") && pair[1].text != "get_mut" {
            let words = format!("`{}`: Rust names what it returns", pair[1].text);
            found.add(pair[1].line, words);
        }
    }
}

fn junk_drawer(source: &Source, found: &mut Found) {
    let words = words(&source.code);
    for pair in words.windows(2) {
        if pair[0].text == "mod" && JUNK.contains(&pair[1].text) {
            let words = format!("`{}` is a drawer, not a module", pair[1].text);
            found.add(pair[1].line, words);
        }
    }
    let mut names = source.path.split('/').map(|name| name.trim_end_matches(".rs"));
    if let Some(junk) = names.find(|name| JUNK.contains(name)) {
        found.add(0, format!("`{junk}` is a drawer, not a module"));
    }
}

fn no_allow(source: &Source, found: &mut Found) {
    for (at, line) in source.code.lines().enumerate() {
        if line.contains("#[allow(") || line.contains("#![allow(") {
            let words = "`#[expect(lint, reason = …)]`: an exception gives its reason and ends with it";
            found.add(at + 1, words);
        }
    }
}
