//! The table of request codes is one table in three places, and none of them changes alone.
//!
//! ```text
//! src/protocol/code.rs      codes! { RequestCode { SendMessage = 10 "SEND_MESSAGE", … } }
//! src/*/dispatch.rs         RequestCode::SendMessage => … handler::send::send …
//! docs/COMPAT.md            | 10 | SEND_MESSAGE | send | yes | what shows it |
//! ```
//!
//! What is served names what shows it, or says that it is untested. A row is served unless its state begins with "no" or its handler with "client" (what servers ask of clients). A
//! dispatch arm serves unless it names one of the words of refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::tidy::Finding;
use crate::tidy::source::{Source, words};

const CODES: &str = "src/protocol/code.rs";
const DISPATCH: [&str; 2] = ["src/broker/dispatch.rs", "src/namesrv/dispatch.rs"];
const COMPAT: &str = "docs/COMPAT.md";
/// What stands in the arm of a code that is refused by name.
const REFUSALS: [&str; 6] =
    ["not_supported", "not_served", "unsupported", "Unsupported", "refuse", "refused"];

/// A code of the enumeration.
struct Code {
    number: u32,
    name: String,
    variant: String,
}

/// A row of the document.
struct Row {
    line: usize,
    number: u32,
    name: String,
    handler: String,
    state: String,
    shown_by: String,
}

pub(super) fn check(root: &Path, findings: &mut Vec<Finding>) {
    let mut read = |path: &str| {
        let text = fs::read_to_string(root.join(path));
        if text.is_err() {
            findings.push(finding(path, 0, "is missing: the table of request codes cannot be compared"));
        }
        Some((path.to_owned(), text.ok()?))
    };
    let codes = read(CODES);
    let compat = read(COMPAT);
    let dispatch: Vec<_> = DISPATCH.iter().filter_map(|path| read(path)).collect();
    if let (Some((_, codes)), Some((_, compat)), true) = (codes, compat, dispatch.len() == DISPATCH.len()) {
        compare(&codes, &compat, &dispatch, findings);
        for row in rows_of(&compat).iter().filter(|row| !row.shown_by.is_empty()) {
            if !root.join(&row.shown_by).is_file() {
                let words = format!("{} is shown by {}, which does not exist", row.name, row.shown_by);
                findings.push(finding(COMPAT, row.line, &words));
            }
        }
    }
}

fn compare(codes: &str, compat: &str, dispatch: &[(String, String)], findings: &mut Vec<Finding>) {
    let codes = codes_of(codes);
    let rows = rows_of(compat);
    if codes.is_empty() {
        findings.push(finding(CODES, 0, "no `RequestCode { Name = number \"NAME\", … }` was found"));
        return;
    }
    let variants: BTreeSet<&str> = codes.iter().map(|code| code.variant.as_str()).collect();
    let served = served_by(dispatch, &variants);
    let mut seen = BTreeSet::new();
    for row in &rows {
        let Some(code) = codes.iter().find(|code| code.number == row.number) else {
            findings.push(finding(COMPAT, row.line, &format!("{} is no request code", row.number)));
            continue;
        };
        if !seen.insert(row.number) {
            findings.push(finding(COMPAT, row.line, &format!("{} stands there twice", row.number)));
        }
        if row.name != code.name {
            let words = format!("{} is {}, not {}", row.number, code.name, row.name);
            findings.push(finding(COMPAT, row.line, &words));
        }
        if let Some(words) = contradiction(row, served.get(code.variant.as_str())) {
            findings.push(finding(COMPAT, row.line, &format!("{} {words}", row.name)));
        }
    }
    for code in codes.iter().filter(|code| !seen.contains(&code.number)) {
        let words = format!("has no row for {} {}", code.number, code.name);
        findings.push(finding(COMPAT, 0, &words));
    }
}

/// What a row says against the arms that serve its code.
fn contradiction(row: &Row, arms: Option<&Vec<String>>) -> Option<String> {
    let claims = !row.state.to_lowercase().starts_with("no");
    let unshown = row.shown_by.is_empty() && !row.state.starts_with("untested");
    if row.handler.starts_with("client") {
        return (claims && unshown).then(|| "is supported, but nothing shows it".to_owned());
    }
    match (claims, arms) {
        (false, None) => None,
        (false, Some(_)) => Some(format!("is `{}` here, but a dispatch table serves it", row.state)),
        (true, None) => Some(format!("is `{}` here, but no dispatch table serves it", row.state)),
        (true, Some(arms)) => {
            let named = |arm: &String| words(arm).iter().any(|word| word.text == row.handler);
            if !arms.iter().any(named) {
                return Some(format!("is served by `{}`, not by `{}`", arms.join("; "), row.handler));
            }
            unshown.then(|| "is supported, but nothing shows it".to_owned())
        }
    }
}

/// `Name = number "NAME",` within `RequestCode { … }`.
fn codes_of(text: &str) -> Vec<Code> {
    let Some((_, body)) = text.split_once("RequestCode {") else { return Vec::new() };
    let body = body.split('}').next().unwrap_or_default();
    let entry = |line: &str| {
        let (variant, rest) = line.trim().split_once(" = ")?;
        let (number, name) = rest.trim_end_matches(',').split_once(' ')?;
        let name = name.trim().trim_matches('"').to_owned();
        Some(Code { number: number.replace('_', "").parse().ok()?, name, variant: variant.to_owned() })
    };
    body.lines().filter_map(entry).collect()
}

/// `| number | NAME | handler | state | shown by |`.
fn rows_of(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let cells: Vec<String> =
            line.trim().trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        if let [number, name, handler, state, shown_by] = cells.as_slice()
            && let Ok(number) = number.parse()
        {
            let given =
                |cell: &String| if ["-", "–", "—"].contains(&cell.as_str()) { "" } else { cell }.to_owned();
            let (name, state) = (name.clone(), state.clone());
            rows.push(Row {
                line: at + 1,
                number,
                name,
                handler: given(handler),
                state,
                shown_by: given(shown_by),
            });
        }
    }
    rows
}

/// The arms that serve each variant, over all dispatch tables: what stands between `=>` and the next pattern.
fn served_by<'a>(
    dispatch: &[(String, String)],
    variants: &BTreeSet<&'a str>,
) -> BTreeMap<&'a str, Vec<String>> {
    let mut served: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in dispatch {
        let code = Source::new(path, text.clone()).code;
        // The tests of a table are not the table.
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let pieces: Vec<&str> = code.split("=>").collect();
        for pair in pieces.windows(2) {
            let pattern = &pair[0][pattern_start(pair[0])..];
            let arm = &pair[1][..pattern_start(pair[1])];
            if words(arm).iter().any(|word| REFUSALS.contains(&word.text)) {
                continue;
            }
            for word in words(pattern) {
                if let Some(variant) = variants.get(word.text) {
                    let arm = arm.split_whitespace().collect::<Vec<_>>().join(" ");
                    served.entry(*variant).or_default().push(arm);
                }
            }
        }
    }
    served
}

/// Where the pattern before a `=>` begins: after the last comma or brace outside of parentheses.
fn pattern_start(piece: &str) -> usize {
    let mut depth = 0usize;
    for (at, byte) in piece.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth = depth.saturating_sub(1),
            b',' | b'{' | b'}' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    0
}

fn finding(path: &str, line: usize, words: &str) -> Finding {
    Finding { rule: "request-table", path: path.to_owned(), line, words: words.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENUM: &str = "codes! {\n    RequestCode {\n        SendMessage = 10 \"SEND_MESSAGE\",\n        \
        PullMessage = 11 \"PULL_MESSAGE\",\n        QueryMessage = 12 \"QUERY_MESSAGE\",\n        \
        NotifyIds = 40 \"NOTIFY_IDS\",\n    }\n}\n";
    const TABLE: &str = "match code {\n\
        RequestCode::SendMessage | RequestCode::PullMessage => (Class::Send, handler::send::send),\n\
        RequestCode::QueryMessage => return reply::not_supported(code),\n\
        RequestCode::NotifyIds => { return reply::not_supported(code) }\n}";
    const ROWS: [&str; 4] = [
        "| 10 | SEND_MESSAGE | `send` | yes | story |",
        "| 11 | PULL_MESSAGE | send | part: no filter | story |",
        "| 12 | QUERY_MESSAGE | - | not yet | - |",
        "| 40 | NOTIFY_IDS | client | yes | story |",
    ];

    fn found(rows: &[&str]) -> Vec<String> {
        let mut findings = Vec::new();
        let dispatch = [("src/broker/dispatch.rs".to_owned(), TABLE.to_owned())];
        compare(ENUM, &rows.join("\n"), &dispatch, &mut findings);
        findings.iter().map(|finding| finding.words.clone()).collect()
    }

    fn with(at: usize, row: &'static str) -> Vec<String> {
        let mut rows = ROWS;
        rows[at] = row;
        found(&rows)
    }

    #[test]
    fn three_places_that_agree_are_silent() {
        assert_eq!(found(&ROWS), [] as [&str; 0]);
    }

    #[test]
    fn each_way_to_disagree_is_found() {
        assert_eq!(found(&ROWS[1..]), ["has no row for 10 SEND_MESSAGE"]);
        assert_eq!(with(0, "| 10 | SEND | send | yes | story |"), ["10 is SEND_MESSAGE, not SEND"]);
        assert_eq!(with(3, ROWS[0])[0], "10 stands there twice");
        assert_eq!(with(3, "| 99 | X | x | yes | story |")[0], "99 is no request code");
        let no_arm = with(2, "| 12 | QUERY_MESSAGE | query | yes | story |");
        assert_eq!(no_arm, ["QUERY_MESSAGE is `yes` here, but no dispatch table serves it"]);
        let refused = with(0, "| 10 | SEND_MESSAGE | - | no | - |");
        assert_eq!(refused, ["SEND_MESSAGE is `no` here, but a dispatch table serves it"]);
        let other = with(0, "| 10 | SEND_MESSAGE | sned | yes | story |");
        assert_eq!(other, ["SEND_MESSAGE is served by `(Class::Send, handler::send::send),`, not by `sned`"]);
        assert_eq!(with(0, "| 10 | SEND_MESSAGE | send | untested | - |"), [] as [&str; 0]);
        let unshown = with(0, "| 10 | SEND_MESSAGE | send | yes | - |");
        assert_eq!(unshown, ["SEND_MESSAGE is supported, but nothing shows it"]);
    }
}
