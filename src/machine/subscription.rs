//! What a consumer group wants of a topic.
//!
//! Not here: SQL expressions (their text is carried, not evaluated), the wire forms.

use std::collections::BTreeSet;

use crate::protocol::subscription;
use crate::protocol::subscription::TagFilter;

/// One topic of one consumer group, as a member declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub topic: String,
    /// The expression as the client wrote it: `*`, or tags joined by `||`.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// The client's wall clock when it subscribed, in ms: a later declaration replaces an earlier one.
    pub version: i64,
    pub tags: TagFilter,
}

impl Subscription {
    /// A tag subscription. Its codes are computed here: some clients send wrong ones.
    pub fn tags(topic: &str, expression: &str, version: i64) -> Subscription {
        Subscription {
            topic: topic.to_owned(),
            expression: expression.to_owned(),
            expression_type: subscription::TAG.to_owned(),
            version,
            tags: TagFilter::parse(expression),
        }
    }

    /// Both let the same messages through, whenever they were declared.
    pub fn same_filter(&self, other: &Subscription) -> bool {
        self.topic == other.topic
            && self.expression_type == other.expression_type
            && if subscription::is_tag_type(Some(&self.expression_type)) {
                same_codes(&self.tags, &other.tags)
            } else {
                self.expression == other.expression
            }
    }
}

/// Order does not matter to what passes.
fn same_codes(one: &TagFilter, other: &TagFilter) -> bool {
    let sorted = |filter: &TagFilter| filter.codes().collect::<BTreeSet<i64>>();
    matches!(one, TagFilter::All) == matches!(other, TagFilter::All) && sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_it_was_declared_does_not_change_what_a_subscription_lets_through() {
        let first = Subscription::tags("t", "a || b", 1);
        assert!(first.same_filter(&Subscription::tags("t", "b||a", 2)));
        assert!(!first.same_filter(&Subscription::tags("t", "a", 2)));
        assert!(!first.same_filter(&Subscription::tags("t", "*", 1)));
        assert!(!first.same_filter(&Subscription::tags("u", "a || b", 1)));
    }
}
