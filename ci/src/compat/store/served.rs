//! What a broker serves of its store, byte for byte, and the rule that compares two brokers on one store.
//!
//! Records are taken apart by hand: nothing of the `staticfire` crate takes part. IPv4 addresses only, which is what a run
//! on loopback has.
//!
//! ```text
//! 0 size · 4 magic · 8 body crc · 20 queue offset i8 · 28 position i8 · 36 sysFlag · 56 store time i8 · 84 body length ·
//! 88 body · topic length (1 or, by the second magic, 2 bytes) · topic · properties length i2 · properties
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::compat::record::Fault;
use crate::compat::stage::CheckError;
use crate::compat::wire::Wire;

/// The sysFlag bit of a compressed body.
const COMPRESSED: u32 = 1;

/// Topic, queue, queue offset.
pub(super) type Place = (String, u32, i64);

/// One stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    pub(super) position: u64,
    /// Milliseconds of the wall clock.
    pub(super) store_at: i64,
    pub(super) is_compressed: bool,
    pub(super) body: Vec<u8>,
    /// By name, in no order.
    pub(super) properties: BTreeMap<String, String>,
}

/// Everything a broker serves of some queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) records: BTreeMap<Place, Stored>,
    /// Maximal offset of each queue.
    pub(super) ends: BTreeMap<(String, u32), i64>,
}

impl Served {
    /// Pulls every queue from its first offset to its end.
    pub(super) fn pull(broker: SocketAddr, queues: &[(String, u32)]) -> Result<Self, CheckError> {
        let mut served = Self::default();
        let mut wire = Wire::connect(broker)?;
        for (topic, count) in queues {
            for queue in 0..*count {
                served.pull_queue(&mut wire, topic, queue)?;
            }
        }
        Ok(served)
    }

    fn pull_queue(&mut self, wire: &mut Wire, topic: &str, queue: u32) -> Result<(), CheckError> {
        let mut next = 0;
        loop {
            let answer = wire.pull(topic, queue, next)?;
            let end = answer.number("maxOffset").unwrap_or(-1);
            self.ends.insert((topic.to_owned(), queue), end);
            let mut rest = answer.body.as_slice();
            while !rest.is_empty() {
                let (offset, stored, behind) = Stored::cut(rest).map_err(|what| {
                    let place = format!("{topic}, queue {queue}, at or behind offset {next}");
                    Fault::Stored { place, what: format!("is served malformed ({what})") }
                })?;
                self.records.insert((topic.to_owned(), queue, offset), stored);
                rest = behind;
            }
            let after = answer.number("nextBeginOffset").unwrap_or(next);
            if after >= end || after <= next {
                return Ok(());
            }
            next = after;
        }
    }

    /// Rule: each of these records is served by `other` too, at the same place with the same bytes; queues of `still` end
    /// where they ended.
    pub(super) fn kept_by(&self, other: &Self, still: &[&str]) -> Result<(), Fault> {
        for (place, stored) in &self.records {
            let Some(there) = other.records.get(place) else {
                return Err(at(place, "is not served any more"));
            };
            stored.same_as(&there.bytes).map_err(|what| at(place, &what))?;
        }
        for ((topic, queue), end) in
            self.ends.iter().filter(|((topic, _), _)| still.contains(&topic.as_str()))
        {
            let is = other.ends.get(&(topic.clone(), *queue)).copied().unwrap_or(-1);
            if is != *end {
                return Err(at(&(topic.clone(), *queue, *end), &format!("the queue ends at {is}")));
            }
        }
        Ok(())
    }

    /// Rule: `broker` gives each record by its position, as a message id leads to it.
    pub(super) fn found_by_id(&self, broker: SocketAddr) -> Result<(), CheckError> {
        let mut wire = Wire::connect(broker)?;
        for (place, stored) in &self.records {
            let bytes = wire.view(&place.0, stored.position)?;
            stored.same_as(&bytes).map_err(|what| at(place, &format!("by its id {what}")))?;
        }
        Ok(())
    }

    /// Rule: `broker` finds each record of `topics` by each of its keys.
    pub(super) fn found_by_key(&self, broker: SocketAddr, topics: &[&str]) -> Result<(), CheckError> {
        let mut wire = Wire::connect(broker)?;
        let own = self.records.iter().filter(|((topic, _, _), _)| topics.contains(&topic.as_str()));
        for (place, stored) in own {
            for key in stored.keys() {
                let found = wire.by_key(&place.0, key)?;
                if !found.windows(stored.bytes.len()).any(|window| window == stored.bytes) {
                    return Err(at(place, &format!("is not found by its key `{key}`")).into());
                }
            }
        }
        Ok(())
    }

    /// How many bytes of log lie before the last of these records: shows how many segments they are spread over.
    pub(super) fn last_position(&self) -> u64 {
        self.records.values().map(|stored| stored.position).max().unwrap_or(0)
    }

    /// Those of a topic.
    pub(super) fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Stored> {
        self.records.iter().filter(move |((other, _, _), _)| other == topic).map(|(_, stored)| stored)
    }

    /// Every edit that [`Served::kept_by`] must refuse, by name.
    pub(super) fn tampered(&self) -> Vec<(&'static str, Self)> {
        let Some(middle) = self.records.keys().nth(self.records.len() / 2).cloned() else {
            return Vec::new();
        };
        let (mut missing, mut flipped) = (self.clone(), self.clone());
        missing.records.remove(&middle);
        if let Some(byte) = flipped.records.get_mut(&middle).and_then(|stored| stored.bytes.last_mut()) {
            *byte ^= 1;
        }
        vec![("a record missing", missing), ("a byte of a record changed", flipped)]
    }
}

impl Stored {
    fn cut(bytes: &[u8]) -> Result<(i64, Self, &[u8]), &'static str> {
        const MAGICS: [u32; 2] = [0xDAA3_20A7, 0xDAA3_20AB];
        let size = usize::try_from(number::<4>(bytes, 0)?).map_err(|_| "size")?;
        let (record, rest) = bytes.split_at_checked(size).ok_or("size")?;
        let magic = u32::try_from(number::<4>(record, 4)?).map_err(|_| "magic")?;
        if !MAGICS.contains(&magic) {
            return Err("magic");
        }
        let sys_flag = u32::try_from(number::<4>(record, 36)?).map_err(|_| "sysFlag")?;
        if sys_flag & 0x30 != 0 {
            return Err("an IPv6 host");
        }
        let signed = |at| number::<8>(record, at).map(u64::cast_signed);
        let body_len = usize::try_from(number::<4>(record, 84)?).map_err(|_| "body length")?;
        let topic = 88 + body_len;
        let behind_topic = if magic == MAGICS[1] {
            topic + 2 + usize::try_from(number::<2>(record, topic)?).map_err(|_| "topic length")?
        } else {
            topic + 1 + usize::try_from(number::<1>(record, topic)?).map_err(|_| "topic length")?
        };
        let block = record.get(behind_topic + 2..).ok_or("properties")?;
        let stored = Self {
            bytes: record.to_vec(),
            position: number::<8>(record, 28)?,
            store_at: signed(56)?,
            is_compressed: sys_flag & COMPRESSED != 0,
            body: record.get(88..topic).ok_or("body length")?.to_vec(),
            properties: properties(block),
        };
        Ok((signed(20)?, stored, rest))
    }

    fn same_as(&self, bytes: &[u8]) -> Result<(), String> {
        if self.bytes == bytes {
            return Ok(());
        }
        let byte = self.bytes.iter().zip(bytes).take_while(|(was, is)| was == is).count();
        Err(format!(
            "is {} bytes that differ from byte {byte} on, stored were {}",
            bytes.len(),
            self.bytes.len()
        ))
    }

    /// Keys an index knows it by.
    pub(super) fn keys(&self) -> BTreeSet<&str> {
        self.properties.get("KEYS").map(|keys| keys.split(' ').collect()).unwrap_or_default()
    }
}

/// `name 0x01 value 0x02`, repeated.
fn properties(block: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(block);
    let pairs = text.split('\u{2}').filter_map(|pair| pair.split_once('\u{1}'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A big-endian number of `N` bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, &'static str> {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk::<N>).ok_or("truncated")?;
    Ok(field.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn at((topic, queue, offset): &Place, what: &str) -> Fault {
    Fault::Stored { place: format!("{topic}, queue {queue}, offset {offset}"), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &[u8], properties: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 88];
        bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
        bytes[84..88].copy_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(body);
        bytes.extend(b"\x05topic");
        bytes.extend(u16::try_from(properties.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(properties);
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        bytes
    }

    #[test]
    fn a_record_is_cut_and_its_properties_are_found() {
        let bytes = [record(b"one", b"KEYS\x01a b\x02TAGS\x01t\x02"), record(b"two", b"")].concat();
        let (_, first, rest) = Stored::cut(&bytes).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(first.keys().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let (_, second, rest) = Stored::cut(rest).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!((second.keys().len(), rest.len()), (0, 0));
    }

    #[test]
    fn a_record_with_another_byte_is_not_kept() {
        let (_, stored, _) = Stored::cut(&record(b"one", b""))
            .map(|(a, b, _)| (a, b, ()))
            .unwrap_or_else(|what| panic!("{what}"));
        let place = ("topic".to_owned(), 0, 0);
        let served = Served {
            records: BTreeMap::from([(place, stored)]),
            ends: BTreeMap::from([(("topic".to_owned(), 0), 1)]),
        };
        assert_eq!(served.kept_by(&served.clone(), &["topic"]), Ok(()));
        for (edit, other) in served.tampered() {
            assert!(served.kept_by(&other, &[]).is_err(), "{edit}");
        }
        let mut longer = served.clone();
        longer.ends.insert(("topic".to_owned(), 0), 2);
        assert!(served.kept_by(&longer, &["topic"]).is_err(), "a queue that grew");
    }
}
