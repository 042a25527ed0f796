//! `hammer [--minutes N] [--seed N] [--target NAME] [--corpus DIR]`: fuzzing without a C++ compiler.
//!
//! Recorded bytes are damaged in the ways that break parsers (lengths, numbers, brackets, cuts, splices) and given to every
//! target in turn. A failure names target, seed and round and leaves the input in `artifacts/`.
//! `--corpus DIR` writes the first inputs for the coverage-guided targets instead.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use staticfire_fuzz::TARGETS;
use staticfire_fuzz::seeds;

fn main() -> ExitCode {
    keep_what_panics();
    let mut minutes = 1.0f64;
    let mut seed = 1u64;
    let mut only = None;
    let mut rounds = u64::MAX;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match name.as_str() {
            "--minutes" => minutes = value.parse().unwrap_or(minutes),
            "--seed" => seed = value.parse().unwrap_or(seed),
            "--rounds" => rounds = value.parse().unwrap_or(rounds),
            "--target" => only = Some(value),
            "--corpus" => return write_corpus(Path::new(&value)),
            other => {
                eprintln!("{other}? known: --minutes N, --rounds N, --seed N, --target NAME, --corpus DIR");
                return ExitCode::from(2);
            }
        }
    }
    let targets: Vec<_> =
        TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)).collect();
    if targets.is_empty() {
        eprintln!("no such target");
        return ExitCode::from(2);
    }
    let corpora: Vec<_> = targets.iter().map(|(name, _)| seeds(name)).collect();
    assert!(corpora.iter().all(|corpus| corpus.len() > 5), "there is nothing to start from");
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut slowest = Duration::ZERO;
    let mut round = 0;
    while round < rounds && (round % 64 != 0 || Instant::now() < end) {
        let index = (round % targets.len() as u64) as usize;
        let (name, target) = targets[index];
        let mut dice = Dice(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let input = damaged(&corpora[index], &mut dice);
        let start = Instant::now();
        *UNDER_TEST.lock().unwrap() = (format!("{name}-{seed}-{round}"), input.clone());
        target(&input);
        slowest = slowest.max(start.elapsed());
        if start.elapsed() > Duration::from_secs(5) {
            eprintln!("target {name} took {:?}: seed {seed}, round {round}", start.elapsed());
            return ExitCode::FAILURE;
        }
        round += 1;
    }
    println!("{round} inputs, {} targets, seed {seed}: clean; the slowest took {slowest:?}", targets.len());
    ExitCode::SUCCESS
}

/// The input that a panic is to be blamed on, and its name.
static UNDER_TEST: Mutex<(String, Vec<u8>)> = Mutex::new((String::new(), Vec::new()));

/// A panic keeps its input before it ends the process.
fn keep_what_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let (name, input) = &*UNDER_TEST.lock().unwrap();
        let file = format!("artifacts/{name}");
        let saved = std::fs::create_dir_all("artifacts").and_then(|()| std::fs::write(&file, input));
        eprintln!("target-seed-round {name} failed; its input is {file} ({saved:?})");
    }));
}

fn write_corpus(dir: &Path) -> ExitCode {
    for (name, _) in TARGETS {
        let dir = dir.join(name);
        let written = std::fs::create_dir_all(&dir).and_then(|()| {
            seeds(name)
                .iter()
                .enumerate()
                .try_for_each(|(n, seed)| std::fs::write(dir.join(format!("{n:04}")), seed))
        });
        if let Err(error) = written {
            eprintln!("{}: {error}", dir.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"\\u0001",
    b"null",
    b"-1",
    b"0",
    b"1e999",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"2147483648",
    b"true",
    b"{\"$ref\":\"$\"}",
    b"{\"$ref\":\"$.a[0]\"}",
    b"\x01",
    b"\x02",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\0\0\0\0",
    b"\xda\xa3\x20\xa7",
    b"\xda\xa3\x20\xab",
    b"\xcb\xd4\x31\x94",
    b"\xc3",
    b"\xed\xa0\x80",
    "漢😀".as_bytes(),
    b"%RETRY%",
    b"||",
    b"*",
    b"\"code\":310,",
    b"\"extFields\":{",
    b"\"topic\":\"T\",",
];

fn damaged(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..dice.below(8) {
        let at = dice.below(bytes.len());
        match dice.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = dice.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let token = TOKENS[dice.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            4 => {
                let token = TOKENS[dice.below(TOKENS.len())];
                let end = (at + token.len()).min(bytes.len());
                bytes.splice(at..end, token.iter().copied());
            }
            5 => {
                let end = (at + dice.below(32)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let end = (at + dice.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let times = dice.below(20);
                bytes.splice(at..at, piece.repeat(times));
            }
            7 => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let other = &corpus[dice.below(corpus.len())];
                bytes.extend_from_slice(other);
            }
        }
    }
    // Most damage sits behind a length that then no longer fits: mend it in half of the inputs.
    if dice.below(2) == 0 && bytes.len() >= 4 && bytes.len() < 1 << 24 {
        let total = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&total.to_be_bytes());
    }
    bytes
}
