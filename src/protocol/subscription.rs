//! Tag subscriptions: `TagA || TagB`, `*`, or nothing at all.
//!
//! The broker compares hash codes in the queue index, the client compares the tags themselves: two tags may share a
//! code. Codes are always computed from the expression; the C++ client sends wrong ones.

use crate::base::java_string_hash;

/// Subscribes to everything.
pub const ALL: &str = "*";
/// The expression type of tag subscriptions; also what an absent or empty type means.
pub const TAG: &str = "TAG";
/// The expression type of SQL filters.
pub const SQL92: &str = "SQL92";

/// A parsed tag expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TagFilter {
    #[default]
    All,
    /// Distinct tags in the order of the expression, with their codes.
    Tags(Vec<(String, i64)>),
}

impl TagFilter {
    /// Reads `A || B`: split at `||`, blanks trimmed, empty parts dropped. Nothing, `*`, or only empty parts: all.
    pub fn parse(expression: &str) -> TagFilter {
        let expression = expression.trim();
        if expression.is_empty() || expression == ALL {
            return TagFilter::All;
        }
        let mut tags: Vec<(String, i64)> = Vec::new();
        for tag in expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()) {
            if !tags.iter().any(|(seen, _)| seen == tag) {
                tags.push((tag.to_owned(), tag_code(tag)));
            }
        }
        if tags.is_empty() { TagFilter::All } else { TagFilter::Tags(tags) }
    }

    /// The broker's half of the match. A message without a tag has code 0.
    pub fn matches_code(&self, code: i64) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Tags(tags) => tags.iter().any(|(_, wanted)| *wanted == code),
        }
    }

    /// The client's half of the match.
    pub fn matches(&self, tag: Option<&str>) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Tags(tags) => tag.is_some_and(|tag| tags.iter().any(|(wanted, _)| wanted == tag)),
        }
    }

    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.pairs().iter().map(|(tag, _)| tag.as_str())
    }

    pub fn codes(&self) -> impl Iterator<Item = i64> {
        self.pairs().iter().map(|(_, code)| *code)
    }

    fn pairs(&self) -> &[(String, i64)] {
        match self {
            TagFilter::All => &[],
            TagFilter::Tags(tags) => tags,
        }
    }
}

/// The code that stands for a tag in the queue index.
pub fn tag_code(tag: &str) -> i64 {
    i64::from(java_string_hash(tag))
}

/// Whether an expression type means tags.
pub fn is_tag_type(expression_type: Option<&str>) -> bool {
    expression_type.is_none_or(|kind| kind.is_empty() || kind == TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_bars_do_not_matter() {
        let filter = TagFilter::parse(" TagA||  TagB ||TagA|| ");
        assert_eq!(filter.tags().collect::<Vec<_>>(), ["TagA", "TagB"]);
        assert_eq!(filter.codes().next(), Some(2598919));
        assert!(filter.matches(Some("TagB")) && !filter.matches(Some("tagb")) && !filter.matches(None));
    }

    #[test]
    fn nothing_and_a_star_are_everything() {
        for all in ["", " ", "*", " * ", "||", " || "] {
            let filter = TagFilter::parse(all);
            assert_eq!(filter, TagFilter::All, "{all:?}");
            assert!(filter.matches_code(0) && filter.matches(None));
        }
    }

    #[test]
    fn two_tags_of_one_code_are_told_apart_by_the_client_only() {
        let filter = TagFilter::parse("Aa");
        assert!(filter.matches_code(tag_code("BB")));
        assert!(!filter.matches(Some("BB")));
    }
}
