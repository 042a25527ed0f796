//! Text to a tree. An object in key position becomes the text of that object, in standard JSON.

use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

/// Deepest nesting. RocketMQ's deepest body has eight levels.
pub const DEPTH_MAX: usize = 64;
/// Most values in one body: a registration of 100,000 topics has about a million.
pub const NODES_MAX: usize = 4_000_000;

/// Why a body was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("JSON: expected {expected} at byte {at}")]
    Syntax { expected: &'static str, at: usize },
    #[error("JSON: more than {depth_max} levels deep")]
    Depth { depth_max: usize },
    #[error("JSON: more than {nodes_max} values")]
    Nodes { nodes_max: usize },
    #[error("JSON: {0}")]
    Shape(String),
}

/// Reads one value; white space may follow it. Bytes that are no UTF-8 are replaced.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = String::from_utf8_lossy(bytes);
    let mut parser = Parser { text: &text, at: 0, nodes: 0, references: false };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.syntax("the end of the text"));
    }
    if !parser.references {
        return Ok(value);
    }
    let mut resolved = value.clone();
    resolve(&mut resolved, &value, &mut parser.nodes, 0)?;
    Ok(resolved)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
    /// A `$ref` was seen.
    references: bool,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth { depth_max: DEPTH_MAX });
        }
        count(&mut self.nodes)?;
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"' | b'\'') => self.string().map(Value::String),
            Some(_) => self.bare(),
            None => Err(self.syntax("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut members = Map::new();
        self.at += 1;
        loop {
            self.blanks();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let key = self.key(depth)?;
            self.blanks();
            self.expect(b':', "a colon")?;
            let value = self.value(depth + 1)?;
            self.references |= key == "$ref";
            members.insert(key, value);
            self.blanks();
            if !matches!(self.peek(), Some(b',' | b'}')) {
                return Err(self.syntax("a comma or the end of the object"));
            }
        }
    }

    /// A quoted text, a bare number or word, or a whole object or array.
    fn key(&mut self, depth: usize) -> Result<String, JsonError> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'{' | b'[') => {
                let key = self.value(depth + 1)?;
                Ok(key.to_string())
            }
            _ => match self.token() {
                "" => Err(self.syntax("a key")),
                token => Ok(token.to_owned()),
            },
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.blanks();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            if !matches!(self.peek(), Some(b',' | b']')) {
                return Err(self.syntax("a comma or the end of the array"));
            }
        }
    }

    fn bare(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let token = self.token();
        let number = || {
            let integer =
                token.parse::<i64>().map(Number::from).or_else(|_| token.parse::<u64>().map(Number::from));
            integer.ok().or_else(|| Number::from_f64(token.parse::<f64>().ok()?))
        };
        match token {
            "null" | "NaN" | "undefined" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => match number() {
                Some(number) => Ok(Value::Number(number)),
                None => Err(JsonError::Syntax { expected: "a value", at: start }),
            },
        }
    }

    /// The characters up to the next one with a meaning.
    fn token(&mut self) -> &str {
        let start = self.at;
        let is_end = |byte: &u8| {
            matches!(byte, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b'\'')
                || byte.is_ascii_whitespace()
        };
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        self.at += rest.iter().position(is_end).unwrap_or(rest.len());
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let quote = self.peek().unwrap_or(b'"');
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|byte| *byte == quote || *byte == b'\\');
            let plain = plain.ok_or_else(|| self.syntax("the end of a string"))?;
            text.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain + 1;
            if rest.get(plain) == Some(&quote) {
                return Ok(text);
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.syntax("an escape"))?;
        let character = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        self.at += character.map_or(1, char::len_utf8);
        Ok(match byte {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'v' => '\u{b}',
            b'0' => '\0',
            b'u' => {
                let high = self.hex(4)?;
                if (0xd800..0xdc00).contains(&high)
                    && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"))
                {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex(4)?;
                    if (0xdc00..0xe000).contains(&low) {
                        let point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            b'x' => char::from_u32(self.hex(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            _ => character.unwrap_or(char::REPLACEMENT_CHARACTER),
        })
    }

    fn hex(&mut self, digits: usize) -> Result<u32, JsonError> {
        let text = self
            .text
            .get(self.at..self.at + digits)
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        let value = value.ok_or_else(|| self.syntax("hex digits"))?;
        self.at += digits;
        Ok(value)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.syntax(expected))
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn syntax(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { expected, at: self.at }
    }
}

fn count(nodes: &mut usize) -> Result<(), JsonError> {
    *nodes += 1;
    if *nodes > NODES_MAX { Err(JsonError::Nodes { nodes_max: NODES_MAX }) } else { Ok(()) }
}

/// Replaces each `{"$ref":"$.path"}` by a copy of what stands there; null if nothing does. Copies count as values, so
/// that references to references cannot grow without bound.
fn resolve(value: &mut Value, root: &Value, nodes: &mut usize, depth: usize) -> Result<(), JsonError> {
    if depth > DEPTH_MAX {
        return Err(JsonError::Depth { depth_max: DEPTH_MAX });
    }
    count(nodes)?;
    if let Some(Value::String(path)) = value.get("$ref") {
        let target = at_path(root, path).cloned().unwrap_or(Value::Null);
        // A reference to an ancestor would never end; no body of RocketMQ has one.
        *value = if contains_reference(&target) { Value::Null } else { target };
        return count_all(value, nodes);
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, root, nodes, depth + 1)),
        Value::Object(members) => {
            members.values_mut().try_for_each(|member| resolve(member, root, nodes, depth + 1))
        }
        _ => Ok(()),
    }
}

fn contains_reference(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(contains_reference),
        Value::Object(members) => members.contains_key("$ref") || members.values().any(contains_reference),
        _ => false,
    }
}

fn count_all(value: &Value, nodes: &mut usize) -> Result<(), JsonError> {
    count(nodes)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| count_all(item, nodes)),
        Value::Object(members) => members.values().try_for_each(|member| count_all(member, nodes)),
        _ => Ok(()),
    }
}

/// Follows `$.name[0].name`.
fn at_path<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = root;
    for step in path.strip_prefix('$')?.split(['.', '[']).filter(|step| !step.is_empty()) {
        value = match step.strip_suffix(']') {
            Some(index) => match index.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(index.trim_matches(['"', '\'']))?,
            },
            None => value.get(step)?,
        };
    }
    Some(value)
}
