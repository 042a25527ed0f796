//! The known name that a mistyped one was probably meant to be.
//!
//! Optimal string alignment: an inserted, removed, replaced or swapped character costs one; case costs nothing.

use std::cmp::Reverse;

/// The nearest of `names`, on a tie the one that begins most alike; `None` when even that one is not close.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let within = (word.len() / 3).max(2);
    names
        .map(|name| {
            let letters: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
            let alike = word.iter().zip(&letters).take_while(|(a, b)| a == b).count();
            (distance(&word, &letters), Reverse(alike), name)
        })
        .min_by_key(|(distance, alike, _)| (*distance, *alike))
        .filter(|(distance, _, _)| *distance <= within)
        .map(|(_, _, name)| name)
}

/// Longer words than any key are cut, so that a hostile file costs no quadratic time.
const WORD_CHARS_MAX: usize = 100;

fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const NAMES: [&str; 5] = ["brokerName", "brokerId", "brokerIP1", "flushDiskType", "listenPort"];

    fn of(word: &str) -> Option<&'static str> {
        nearest(word, NAMES.into_iter())
    }

    #[test]
    fn a_typing_slip_finds_its_key_and_a_stranger_finds_none() {
        assert_eq!(of("brokerNmae"), Some("brokerName"));
        assert_eq!(of("BROKERID"), Some("brokerId"));
        assert_eq!(of("flushDisktype"), Some("flushDiskType"));
        assert_eq!(of("listen.port"), Some("listenPort"));
        assert_eq!(of("brokerIp"), Some("brokerIP1"));
        assert_eq!(of("favouriteColour"), None);
        assert_eq!(of(""), None);
    }
}
