//! A table of keys: how each property is read into a field, shown again, and refused.
//!
//! One row says everything about a key, so that reading, printing and the list of keys cannot disagree.
//!
//! Not here: which keys there are.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::nearest::nearest;
use crate::protocol::properties_file;

/// The keys of one kind of process, whose settings are a `T`.
pub struct Table<T: 'static> {
    pub keys: &'static [Key<T>],
    /// Every key Apache RocketMQ accepts, one a line: those without a row are not supported yet.
    pub apache: &'static str,
}

/// One supported key.
pub struct Key<T: 'static> {
    pub name: &'static str,
    pub slot: Slot<T>,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// Where a key's value lives, and with it what the value must look like.
pub enum Slot<T: 'static> {
    Flag(fn(&mut T) -> &mut bool),
    Port(fn(&mut T) -> &mut u16),
    /// A whole number, with its unit in the plural.
    Whole(fn(&mut T) -> &mut u64, RangeInclusive<u64>, &'static str),
    /// As [`Slot::Whole`], where 32 bits are enough.
    Count(fn(&mut T) -> &mut u32, RangeInclusive<u32>, &'static str),
    Percent(fn(&mut T) -> &mut u8, RangeInclusive<u8>),
    /// 1 to 127 bytes.
    Name(fn(&mut T) -> &mut String),
    Ip(fn(&mut T) -> &mut IpAddr),
    Path(fn(&mut T) -> &mut PathBuf),
    /// `host:port` between semicolons; may be empty.
    Addresses(fn(&mut T) -> &mut Vec<String>),
    /// Anything else: what is expected, in words; a reader that says whether it took the value; and its inverse.
    Other {
        expected: &'static str,
        read: fn(&mut T, &str) -> bool,
        show: fn(&T) -> String,
    },
}

/// Every mistake of one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// As the user named it.
    pub file: String,
    /// The line of each mistake, first to last. Never empty.
    pub problems: Vec<(usize, Problem)>,
}

/// Why one pair was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("`{key}` is a key of neither Staticfire nor Apache RocketMQ{}", did_you_mean(*nearest))]
    Unknown { key: String, nearest: Option<&'static str> },
    #[error("`{key}` is {}: expected {expected}", quoted(value))]
    Value { key: &'static str, value: String, expected: String },
}

/// A pair that was read and does not do what its writer may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A key of Apache RocketMQ without effect here.
    NotYet { line: usize, key: String },
    /// The last value of a key counts.
    Twice { line: usize, first: usize, key: String },
}

impl<T: Clone> Table<T> {
    /// Reads a property file over `base`.
    ///
    /// # Errors
    /// Every unknown key and bad value of the file at once; `file` is only their name.
    pub fn read(&self, file: &str, text: &str, base: T) -> Result<(T, Vec<Warning>), ConfigError> {
        let mut settings = base;
        let mut warnings = Vec::new();
        let mut problems = Vec::new();
        let pairs = properties_file::parse(text);
        for (index, pair) in pairs.iter().enumerate() {
            if let Some(first) = pairs[..index].iter().find(|earlier| earlier.key == pair.key) {
                warnings.push(Warning::Twice { line: pair.line, first: first.line, key: pair.key.clone() });
            }
            match self.set(&mut settings, &pair.key, &pair.value) {
                Ok(true) => {}
                Ok(false) => warnings.push(Warning::NotYet { line: pair.line, key: pair.key.clone() }),
                Err(problem) => problems.push((pair.line, problem)),
            }
        }
        if problems.is_empty() {
            Ok((settings, warnings))
        } else {
            Err(ConfigError { file: file.to_owned(), problems })
        }
    }

    /// Sets one key. `Ok(false)`: Apache RocketMQ knows it, here it has no effect yet.
    ///
    /// # Errors
    /// The key is unknown or its value malformed; `settings` is unchanged then.
    pub fn set(&self, settings: &mut T, key: &str, value: &str) -> Result<bool, Problem> {
        let Some(row) = self.keys.iter().find(|row| row.name == key) else {
            if self.apache.lines().any(|known| known == key) {
                return Ok(false);
            }
            let known = self.keys.iter().map(|row| row.name).chain(self.apache.lines());
            return Err(Problem::Unknown { key: key.to_owned(), nearest: nearest(key, known) });
        };
        let value = value.trim();
        if row.slot.read(settings, value) {
            return Ok(true);
        }
        Err(Problem::Value { key: row.name, value: value.to_owned(), expected: row.slot.expected() })
    }

    /// Every key with its value in `settings`, in the order of the table, as a property file would say it.
    pub fn show(&self, settings: &T) -> Vec<(&'static str, String)> {
        let mut settings = settings.clone();
        self.keys.iter().map(|row| (row.name, row.slot.show(&mut settings))).collect()
    }
}

impl<T> Slot<T> {
    /// What a value must look like, to follow the word "expected".
    pub fn expected(&self) -> String {
        match self {
            Slot::Flag(_) => "true or false".to_owned(),
            Slot::Port(_) => "a port from 0 to 65535".to_owned(),
            Slot::Whole(_, range, unit) => {
                format!("a whole number of {unit} from {} to {}", range.start(), range.end())
            }
            Slot::Count(_, range, unit) => {
                format!("a whole number of {unit} from {} to {}", range.start(), range.end())
            }
            Slot::Percent(_, range) => {
                format!("a percentage from {} to {}, without a sign", range.start(), range.end())
            }
            Slot::Name(_) => "a name of 1 to 127 bytes".to_owned(),
            Slot::Ip(_) => "an IP address, not a host name".to_owned(),
            Slot::Path(_) => "a directory or file".to_owned(),
            Slot::Addresses(_) => "host:port, several of them between semicolons".to_owned(),
            Slot::Other { expected, .. } => (*expected).to_owned(),
        }
    }

    fn read(&self, settings: &mut T, value: &str) -> bool {
        match self {
            Slot::Flag(at) => put(at(settings), flag(value)),
            Slot::Port(at) => put(at(settings), value.parse().ok()),
            Slot::Whole(at, range, _) => {
                put(at(settings), value.parse().ok().filter(|number| range.contains(number)))
            }
            Slot::Count(at, range, _) => {
                put(at(settings), value.parse().ok().filter(|number| range.contains(number)))
            }
            Slot::Percent(at, range) => {
                put(at(settings), value.parse().ok().filter(|number| range.contains(number)))
            }
            Slot::Name(at) => put(at(settings), (1..=127).contains(&value.len()).then(|| value.to_owned())),
            Slot::Ip(at) => put(at(settings), value.parse().ok()),
            Slot::Path(at) => put(at(settings), (!value.is_empty()).then(|| PathBuf::from(value))),
            Slot::Addresses(at) => put(at(settings), addresses(value)),
            Slot::Other { read, .. } => read(settings, value),
        }
    }

    fn show(&self, settings: &mut T) -> String {
        match self {
            Slot::Flag(at) => at(settings).to_string(),
            Slot::Port(at) => at(settings).to_string(),
            Slot::Whole(at, ..) => at(settings).to_string(),
            Slot::Count(at, ..) => at(settings).to_string(),
            Slot::Percent(at, _) => at(settings).to_string(),
            Slot::Name(at) => at(settings).clone(),
            Slot::Ip(at) => at(settings).to_string(),
            Slot::Path(at) => at(settings).display().to_string(),
            Slot::Addresses(at) => at(settings).join(";"),
            Slot::Other { show, .. } => show(settings),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, problem)) in self.problems.iter().enumerate() {
            let feed = if index == 0 { "" } else { "\n" };
            write!(f, "{feed}{}:{line}: {problem}", self.file)?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NotYet { line, key } => {
                write!(f, "line {line}: `{key}` of Apache RocketMQ is not supported yet: it has no effect")
            }
            Warning::Twice { line, first, key } => {
                write!(f, "line {line}: `{key}` was already set on line {first}: the last value counts")
            }
        }
    }
}

/// The `host:port`s of a list between semicolons, or nothing when one is malformed.
pub(super) fn addresses(text: &str) -> Option<Vec<String>> {
    text.split(';').map(str::trim).filter(|address| !address.is_empty()).map(address).collect()
}

fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then(|| text.to_owned())
}

fn flag(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn put<V>(at: &mut V, value: Option<V>) -> bool {
    let taken = value.is_some();
    if let Some(value) = value {
        *at = value;
    }
    taken
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "empty".to_owned() } else { format!("`{value}`") }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}
