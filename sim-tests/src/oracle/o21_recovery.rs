//! O21, promised by the store: once everything has settled, a restart of the brokers (by a kill, or with a promise of disk
//! also by a loss of power) changes nothing that can be read: nothing is missing, nothing comes back; and queue files,
//! journal and checkpoint are then a function of the log.
//!
//! Evidence: the look before the restart and the one after it; what `staticfire store check` says of the files that a kill
//! would leave after the second one. Unknown: nothing; nobody sends in between. No excuse: what is left unsynced at a loss
//! of power under sync flush is nothing that a reader had seen.

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    if case.contract.not_live.is_some() {
        return verdict;
    }
    let at = case.contract.second_look_at;
    for (place, key) in &case.first_look {
        verdict.held();
        let now = case.second_look.get(place);
        if now != Some(key) {
            let now = now.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let what =
                format!("{} was {key} before the restart, and {now} after it", case.place(place.0, place.1));
            verdict.broken(at, what).about(*key).at_place(place.0, place.1);
        }
    }
    for (place, key) in case.second_look.iter().filter(|(place, _)| !case.first_look.contains_key(place)) {
        let what = format!("{key} came up as {} with the restart", case.place(place.0, place.1));
        verdict.broken(at, what).about(*key).at_place(place.0, place.1);
    }
    for (broker, damages) in &case.contract.files {
        verdict.held();
        for damage in damages {
            verdict.broken(at, format!("files of {}: {damage}", case.text(*broker)));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::Promise;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    fn two() -> Tale {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 1);
        tale.there(TOPIC, 1, 0);
        tale
    }

    #[test]
    fn something_is_gone() {
        let mut tale = two();
        tale.read(150_000, TOPIC, 2, 1);
        tale.rejected(judge);
    }

    #[test]
    fn something_came_up() {
        let mut tale = two();
        tale.read(250_000, TOPIC, 2, 1);
        tale.rejected(judge);
    }

    #[test]
    fn files_contradict_the_log() {
        let mut tale = two();
        tale.contract().files = vec![(BROKER, vec!["bytes behind the last record".to_owned()])];
        tale.rejected(judge);
    }

    #[test]
    fn files_agree_with_the_log() {
        let mut tale = two();
        tale.contract().files = vec![(BROKER, Vec::new())];
        tale.accepted(judge);
    }

    #[test]
    fn everything_is_as_it_was() {
        let mut tale = two();
        tale.there(TOPIC, 2, 1);
        tale.accepted(judge);
    }

    #[test]
    fn what_was_lost_before_is_not_lost_again() {
        two().accepted(judge);
    }
}
