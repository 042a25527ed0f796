//! What a document points to exists.
//!
//! Looked at: `[text](target)` outside of code. A target with a scheme is somebody else's; a target without one is a
//! path from the document, or from the root when it begins with `/`.

use std::path::Path;

use crate::tidy::Finding;

pub(super) fn check(root: &Path, path: &str, text: &str, findings: &mut Vec<Finding>) {
    let here = Path::new(path).parent().unwrap_or(Path::new(""));
    for (line, target) in targets(text) {
        let file = target.split(['#', '?']).next().unwrap_or_default();
        let elsewhere = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
        let found = match file.strip_prefix('/') {
            Some(from_root) => root.join(from_root),
            None => root.join(here).join(file),
        };
        if !elsewhere && !found.exists() {
            let words = format!("points to `{target}`, which does not exist");
            findings.push(Finding { rule: "links", path: path.to_owned(), line, words });
        }
    }
}

/// Targets of links with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for piece in prose.split("](").skip(1) {
            if let Some((target, _)) = piece.split_once(')') {
                let target = target.split(' ').next().unwrap_or_default();
                found.push((at + 1, target.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(&crate::cargo::root(), "ci/README.md", text, &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        assert_eq!(findings("see [this](../missing.md)\nand [that](src/none.rs#L1)\n"), [1, 2]);
    }

    #[test]
    fn what_exists_or_lies_elsewhere_is_not() {
        let text = "[a](../Cargo.toml) [b](src/main.rs#L1) [c](https://example.org/x) [d](#part) [e](/clippy.toml)\n\
            `[f](none)`\n```\n[g](none)\n```\n";
        assert_eq!(findings(text), [] as [usize; 0]);
    }
}
