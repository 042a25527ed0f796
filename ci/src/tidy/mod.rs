//! The rules of the house that neither rustc nor clippy knows.
//!
//! ```text
//! source.rs   a file, with its comments and literals told apart from its code
//! layers.rs   who may name whom
//! shape.rs    sizes, headings, names, words
//! doors.rs    the few places that may touch tokio, madsim, entropy
//! table.rs    docs/COMPAT.md = RequestCode = the dispatch tables
//! links.rs    what the documents point to exists
//! ```
//!
//! Each rule is a function from a source to findings, and each has a planted violation that it must find.
//!
//! Not here: what needs types (clippy.toml) or taste (review).

mod doors;
mod layers;
mod links;
mod shape;
mod source;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::tidy::source::Source;

/// Directories that hold our Rust sources.
const RUST: [&str; 5] = ["src", "ci", "sim-tests", "chaos", "tests"];
/// Directories that hold our documents, and the one at the root.
const DOCUMENTS: [&str; 6] = ["README.md", "docs", "src", "ci", "sim-tests", "chaos"];

/// A rule about one Rust file.
pub(crate) struct Rule {
    name: &'static str,
    check: fn(&Source, &mut Found),
}

/// What a rule found in a file: lines, and why.
#[derive(Default)]
struct Found(Vec<(usize, String)>);

impl Found {
    fn add(&mut self, line: usize, words: impl Into<String>) {
        self.0.push((line, words.into()));
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    rule: &'static str,
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    words: String,
}

pub(crate) struct Report {
    pub(crate) files: u64,
    pub(crate) rules: u64,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn rules_broken(&self) -> u64 {
        self.findings.iter().map(|finding| finding.rule).collect::<BTreeSet<_>>().len() as u64
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {} [{}]", self.path, self.words, self.rule),
            line => write!(f, "{}:{line}: {} [{}]", self.path, self.words, self.rule),
        }
    }
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    [layers::RULES, shape::RULES, doors::RULES].into_iter().flatten()
}

/// What all rules find in one file.
fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules() {
        let mut found = Found::default();
        (rule.check)(source, &mut found);
        let named = |(line, words)| Finding { rule: rule.name, path: source.path.clone(), line, words };
        findings.extend(found.0.into_iter().map(named));
    }
    findings
}

/// Holds the tree at `root` to every rule.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn run(root: &Path) -> io::Result<Report> {
    let mut findings = Vec::new();
    let mut files = 0;
    for path in walk(root, &RUST, "rs")? {
        let source = Source::new(&path, fs::read_to_string(root.join(&path))?);
        findings.extend(check(&source));
        files += 1;
    }
    for path in walk(root, &DOCUMENTS, "md")? {
        links::check(root, &path, &fs::read_to_string(root.join(&path))?, &mut findings);
        files += 1;
    }
    table::check(root, &mut findings);
    findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    Ok(Report { files, rules: rules().count() as u64 + 2, findings })
}

/// Files of one kind below some directories, with `/` between names, in order. What is generated is not walked.
fn walk(root: &Path, tops: &[&str], extension: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut todo: Vec<String> = tops.iter().map(|top| (*top).to_owned()).collect();
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        if full.is_dir() {
            for entry in fs::read_dir(&full)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    todo.push(format!("{path}/{name}"));
                }
            }
        } else if full.is_file() && full.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests;
