//! Java's properties text: `broker.conf`, and the body of the configuration requests 25, 26, 318 and 319.
//!
//! ```text
//! # comment          ! comment
//! key=value          key : value          key value
//! long=first \
//!      second        escapes: \t \n \r \f \\ \uXXXX
//! ```

/// One line of a properties text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key stands, counted from 1.
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// All entries in the order of the text. When a key repeats, Java takes the last one.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).zip(1..);
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_open(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        let (key, value) = split(&logical);
        entries.push(Entry { line, key: unescape(key), value: unescape(value) });
    }
    entries
}

/// `key=value` lines as RocketMQ's servers write them: nothing is escaped but a line end.
pub fn write<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        text.push_str(key);
        text.push('=');
        text.push_str(&value.replace('\n', "\\n"));
        text.push('\n');
    }
    text
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// Whether an odd number of backslashes stands at the end: the line goes on.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped. The key ends at the first `=`, `:` or blank that no backslash protects.
fn split(line: &str) -> (&str, &str) {
    let mut protected = false;
    let end = line
        .find(|character| {
            let ends = !protected && (matches!(character, '=' | ':') || is_blank(character));
            protected = character == '\\' && !protected;
            ends
        })
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match rest.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits = rest.as_str().get(..4).unwrap_or_default();
                match u32::from_str_radix(digits, 16) {
                    Ok(code) => {
                        plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                        rest.nth(3);
                    }
                    Err(_) => plain.push('u'),
                }
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(("[a-zA-Z0-9.]{1,9}", "[a-z0-9;:/=][a-z0-9;:/ =]{0,9}"), 0..6)) {
            let text = write(entries.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let expected: Vec<_> = entries.iter().map(|(k, v)| pair(k, v.trim_start_matches(['=', ':']))).collect();
            let read: Vec<_> =
                pairs(&text).into_iter().map(|(k, v)| pair(&k, v.trim_start_matches(['=', ':']))).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn random_text_never_panics(text in "[a\\\\u0=: \n#\\PC]{0,80}") {
            parse(&text);
        }
    }

    #[test]
    fn every_form_of_java_is_read() {
        let text = "# c\n! c\r\nlistenPort=10911\r\nnamesrvAddr : a:9876;b:9876\n  key  value x \nempty=\nbare\n\
                    long=one \\\n   two\npath=C\\:\\\\x\\u00e9\\t.\na\\ b=c\n";
        assert_eq!(
            pairs(text),
            [
                pair("listenPort", "10911"),
                pair("namesrvAddr", "a:9876;b:9876"),
                pair("key", "value x "),
                pair("empty", ""),
                pair("bare", ""),
                pair("long", "one two"),
                pair("path", "C:\\xé\t."),
                pair("a b", "c"),
            ]
        );
        assert_eq!(parse("\n\n#\nx=1")[0].line, 4);
    }
}
