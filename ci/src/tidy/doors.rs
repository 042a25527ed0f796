//! The few places that may touch the runtime, the simulator's executor, or choose at random.

use crate::tidy::source::{Source, words};
use crate::tidy::{Found, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "real-tokio", check: real_tokio },
    Rule { name: "madsim", check: madsim },
    Rule { name: "tokio-parts", check: tokio_parts },
    Rule { name: "biased-select", check: biased_select },
];

const REAL: [&str; 3] = ["src/env/real", "src/bin", "ci"];
/// Besides the simulator and its users: the root of the library decides what is built, the binary refuses to be.
const SIMULATED: [&str; 6] = ["src/sim", "sim-tests", "chaos", "src/lib.rs", "src/bin", "ci"];
/// What is the same in both worlds.
const PARTS: [&str; 6] = ["sync", "io", "select", "join", "try_join", "pin"];

fn real_tokio(source: &Source, found: &mut Found) {
    // A test may start a runtime to stand in.
    let in_tests = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    let in_tests = in_tests || source.path.contains("/end_to_end/");
    if in_tests || REAL.iter().any(|place| source.is_in(place)) {
        return;
    }
    let code = source.code.split("#[cfg(test)]").next().unwrap_or_default();
    for word in words(code) {
        if word.text == "tokio_real" {
            let words = "the real runtime is for env/real and the binary: ask `env`";
            found.add(word.line, words);
        }
    }
}

fn madsim(source: &Source, found: &mut Found) {
    let whole = source.path.contains("/end_to_end/");
    if whole || SIMULATED.iter().any(|place| source.is_in(place)) {
        return;
    }
    for word in words(&source.code) {
        if word.text == "madsim" {
            let words = "the product must not know that it is simulated";
            found.add(word.line, words);
        }
    }
}

fn tokio_parts(source: &Source, found: &mut Found) {
    if !source.is_in("src") || source.is_in("src/bin") || source.is_in("src/sim") {
        return;
    }
    let words = words(&source.code);
    for pair in words.windows(2) {
        let (name, part) = (pair[0], pair[1]);
        let joined = source.code[name.at + name.text.len()..part.at].trim();
        if name.text == "tokio" && joined.starts_with("::") && !PARTS.contains(&part.text) {
            let words = format!(
                "of tokio only {} are the same in both worlds, not `{}`",
                PARTS.join(", "),
                part.text
            );
            found.add(part.line, words);
        }
    }
}

fn biased_select(source: &Source, found: &mut Found) {
    let words = words(&source.code);
    for (at, word) in words.iter().enumerate() {
        let after = source.code[word.at + word.text.len()..].trim_start();
        let body = after.strip_prefix('!').and_then(|rest| rest.trim_start().strip_prefix(['{', '(']));
        if word.text != "select" || body.is_none() {
            continue;
        }
        if words.get(at + 1).is_none_or(|next| next.text != "biased") {
            let words = "`select!` begins with `biased;`: otherwise it draws lots that no seed decides";
            found.add(word.line, words);
        }
    }
}
