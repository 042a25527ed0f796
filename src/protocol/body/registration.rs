//! The body of REGISTER_BROKER, plain or compressed.
//!
//! ```text
//! compressed = zlib of:
//!   i4 + DataVersion JSON | i4 topics | { i4 + "name read write perm filter attributes" } … | i4 + filter servers JSON
//!   | i4 mappings | { i4 + TopicQueueMappingInfo JSON } …          the last two from version 5.0 on
//! ```

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::protocol::body::Body;
use crate::protocol::body::topic::TopicConfig;
use crate::protocol::body::topic::TopicConfigTable;
use crate::protocol::compress;
use crate::protocol::compress::InflateError;
use crate::protocol::fastjson;
use crate::protocol::fastjson::JsonError;
use crate::protocol::fastjson::Keys;

/// What a compressed registration may unfold into, in bytes: a million topics of a hundred bytes.
pub const UNFOLDED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A broker's topics, on their way to a name server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    pub filter_server_list: Vec<String>,
    pub topic_config_serialize_wrapper: TopicConfigTable,
}

/// Why a registration's body was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error("body CRC is {actual:#x}, the header says {claimed:#x}")]
    Crc { claimed: u32, actual: u32 },
    #[error(transparent)]
    Inflate(#[from] InflateError),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("compressed registration ends within {0}")]
    Short(&'static str),
    #[error("compressed registration: `{0}` is no topic configuration")]
    Topic(String),
}

impl RegisterBrokerBody {
    /// Reads the body of a registration whose header claims `body_crc32` (0: nothing claimed) and `compressed`.
    pub fn from_request(
        body: &[u8],
        body_crc32: i32,
        compressed: bool,
    ) -> Result<RegisterBrokerBody, RegistrationError> {
        let actual = crc(body);
        let claimed = body_crc32.cast_unsigned();
        if claimed != 0 && claimed != actual {
            return Err(RegistrationError::Crc { claimed, actual });
        }
        if compressed { Self::unfold(body) } else { Ok(Self::decode(body)?) }
    }

    /// The compressed form.
    pub fn to_compressed(&self) -> Vec<u8> {
        let table = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        put(&fastjson::to_vec(&table.data_version, Keys::Bare), &mut plain);
        put_count(table.topic_config_table.len(), &mut plain);
        for config in table.topic_config_table.values() {
            put(config.to_line().as_bytes(), &mut plain);
        }
        put(&fastjson::to_vec(&self.filter_server_list, Keys::Bare), &mut plain);
        put_count(table.topic_queue_mapping_info_map.len(), &mut plain);
        for info in table.topic_queue_mapping_info_map.values() {
            put(&fastjson::to_vec(info, Keys::Bare), &mut plain);
        }
        compress::deflate(&plain, 9)
    }

    fn unfold(compressed: &[u8]) -> Result<RegisterBrokerBody, RegistrationError> {
        let plain = compress::inflate(compressed, UNFOLDED_BYTES_MAX)?;
        let mut rest = plain.as_slice();
        let mut body = RegisterBrokerBody::default();
        let table = &mut body.topic_config_serialize_wrapper;
        table.data_version = fastjson::from_slice(section("the data version", &mut rest)?)?;
        for _ in 0..count("the number of topics", &mut rest)? {
            let line = String::from_utf8_lossy(section("a topic", &mut rest)?);
            let config = TopicConfig::from_line(&line);
            let config = config.ok_or_else(|| RegistrationError::Topic(line.chars().take(200).collect()))?;
            table.topic_config_table.insert(config.topic_name.clone(), config);
        }
        body.filter_server_list =
            fastjson::from_slice(section("the filter servers", &mut rest)?).unwrap_or_default();
        if rest.is_empty() {
            return Ok(body);
        }
        for _ in 0..count("the number of mappings", &mut rest)? {
            let info: Value = fastjson::parse(section("a mapping", &mut rest)?)?;
            if let Some(topic) = info.get("topic").and_then(Value::as_str) {
                table.topic_queue_mapping_info_map.insert(topic.to_owned(), info);
            }
        }
        Ok(body)
    }
}

/// The checksum that a registration's header carries.
pub fn crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7fff_ffff
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = i32::try_from(count).expect("a table has fewer than 2^31 entries");
    out.extend_from_slice(&count.to_be_bytes());
}

fn put(section: &[u8], out: &mut Vec<u8>) {
    put_count(section.len(), out);
    out.extend_from_slice(section);
}

fn count(what: &'static str, rest: &mut &[u8]) -> Result<usize, RegistrationError> {
    let (count, tail) = rest.split_first_chunk::<4>().ok_or(RegistrationError::Short(what))?;
    *rest = tail;
    usize::try_from(i32::from_be_bytes(*count)).map_err(|_| RegistrationError::Short(what))
}

fn section<'a>(what: &'static str, rest: &mut &'a [u8]) -> Result<&'a [u8], RegistrationError> {
    let len = count(what, rest)?;
    let (section, tail) = rest.split_at_checked(len).ok_or(RegistrationError::Short(what))?;
    *rest = tail;
    Ok(section)
}
