//! A Rust file, with its comments and literals told apart from its code.
//!
//! Both views have the lines of the file: what belongs to the other view is blanked with spaces, so that a line number
//! found in a view is the line number in the file.

pub(crate) struct Source {
    /// From the repository's root, with `/` between names.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments and without what stands between quotes.
    pub(crate) code: String,
    /// Comments and documentation alone.
    pub(crate) comments: String,
}

/// A name in a view: letters, digits and underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// Where it starts in the view, in bytes.
    pub(crate) at: usize,
    /// Counted from 1.
    pub(crate) line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Source {
        let kinds = kinds(text.as_bytes());
        let view = |wanted: Kind| -> String {
            let shown = |(at, c): (usize, char)| if kinds[at] == wanted || c == '\n' { c } else { ' ' };
            text.char_indices().map(shown).collect()
        };
        Source { path: path.to_owned(), code: view(Kind::Code), comments: view(Kind::Comment), text }
    }

    /// The file is `prefix` or lies below it.
    pub(crate) fn is_in(&self, prefix: &str) -> bool {
        self.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The names in a view, in order.
pub(crate) fn words(view: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut line, mut start) = (1, None);
    for (at, c) in view.char_indices().chain([(view.len(), ' ')]) {
        let inside = c == '_' || c.is_alphanumeric();
        match (start, inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push(Word { text: &view[from..at], at: from, line });
                start = None;
            }
            _ => {}
        }
        line += usize::from(c == '\n');
    }
    words
}

/// What each byte of a Rust file belongs to.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (kind, len) = if rest.starts_with(b"//") {
            (Kind::Comment, rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
        } else if rest.starts_with(b"/*") {
            (Kind::Comment, block_comment(rest))
        } else if rest[0] == b'"' {
            (Kind::Literal, quoted(rest, b'"'))
        } else if let Some(len) = raw_string(text, at) {
            (Kind::Literal, len)
        } else if rest[0] == b'\'' && is_char(rest) {
            (Kind::Literal, quoted(rest, b'\''))
        } else {
            (Kind::Code, 1)
        };
        let end = (at + len).min(text.len());
        kinds[at..end].fill(kind);
        at = end;
    }
    kinds
}

/// The length of a comment that may hold others.
fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` at `at`, if one starts there.
fn raw_string(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).and_then(|at| text.get(at));
    let in_a_name = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
    let rest = text[at..].strip_prefix(b"r")?;
    if before.is_some_and(|byte| in_a_name(byte) && *byte != b'b' && *byte != b'c') {
        return None;
    }
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    let body = rest[hashes..].strip_prefix(b"\"")?;
    let mut end = vec![b'"'];
    end.resize(hashes + 1, b'#');
    let closed = body.windows(end.len()).position(|window| window == end)?;
    Some(1 + hashes + 1 + closed + end.len())
}

/// A quote starts a character, not a lifetime: an escape follows, or the closing quote one character later.
fn is_char(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&text[..text.len().min(8)]);
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("src/x.rs", text.to_owned())
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let seen = source("let a = \"use crate::b\"; // crate::c\n/* crate::d /* nested */ e */ crate::f\n");
        assert_eq!(seen.code.matches("crate").count(), 1);
        assert!(seen.code.contains("crate::f") && seen.comments.contains("crate::c"));
        assert!(!seen.comments.contains("crate::b"));
        assert_eq!(seen.code.lines().count(), 2);
    }

    #[test]
    fn quotes_of_every_kind_end_where_they_end() {
        let seen = source("f(r#\"a \" b\"#, br\"\\\", 'x', '\\'', b'\"', \"\\\"\", x::<'static>()); CODE");
        assert!(seen.code.ends_with("CODE") && seen.code.contains("'static"), "{}", seen.code);
        assert!(!seen.code.contains('b') || !seen.code.contains("a \" b"), "{}", seen.code);
    }

    #[test]
    fn words_know_their_lines() {
        let found: Vec<(&str, usize)> =
            words("fn a_b(\n  c2: d)").iter().map(|word| (word.text, word.line)).collect();
        assert_eq!(found, [("fn", 1), ("a_b", 1), ("c2", 2), ("d", 2)]);
    }
}
