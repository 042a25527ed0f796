//! Message ids.
//!
//! ```text
//! offset message id   HEX(store host 4|16, port i4, commit-log offset i8)                       32 or 56 characters
//! unique id           HEX(ip 4|16, pid i2, salt i4, ms since the month's start i4, counter i2)  32 or 56 characters
//! ```
//!
//! The broker makes the first, which says where the message is; the client makes the second before it sends, so that a
//! message sent twice is known as one. Upper case, as Java's. Tools that look a message up by id try the first form and
//! ask its host, so a store host must be an address that clients reach.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::base::PhysicalOffset;
use crate::base::Timestamp;

/// The id of the message at `offset` of the broker at `host`.
pub fn offset_message_id(host: SocketAddr, offset: PhysicalOffset) -> String {
    let mut id = String::with_capacity(56);
    push_offset_message_id(host, offset, &mut id);
    id
}

/// As [`offset_message_id`], appended: a batch's ids are joined by commas.
pub fn push_offset_message_id(host: SocketAddr, offset: PhysicalOffset, id: &mut String) {
    push_ip(host.ip(), id);
    push_hex(&u32::from(host.port()).to_be_bytes(), id);
    push_hex(&offset.0.to_be_bytes(), id);
}

/// Where the message of an offset message id is; `None` if it is no such id. Unique ids have the same lengths, so the
/// port and the sign of the offset are all that tells them apart.
pub fn parse_offset_message_id(id: &str) -> Option<(SocketAddr, PhysicalOffset)> {
    let id = id.as_bytes();
    let (ip, rest) = match id.len() {
        32 => (IpAddr::from(unhex::<4>(id)?), id.get(8..)?),
        56 => (IpAddr::from(unhex::<16>(id)?), id.get(32..)?),
        _ => return None,
    };
    let port = u16::try_from(u32::from_be_bytes(unhex(rest)?)).ok()?;
    let offset = u64::from_be_bytes(unhex(rest.get(8..)?)?);
    i64::try_from(offset).ok()?;
    Some((SocketAddr::new(ip, port), PhysicalOffset(offset)))
}

/// Makes the unique ids of one client.
#[derive(Clone, Debug)]
pub struct UniqueIds {
    prefix: String,
    counter: u16,
}

impl UniqueIds {
    /// `salt` tells two clients of one process apart, as the class loader's hash does in Java.
    pub fn new(ip: IpAddr, pid: u16, salt: u32) -> UniqueIds {
        let mut prefix = String::with_capacity(44);
        push_ip(ip, &mut prefix);
        push_hex(&pid.to_be_bytes(), &mut prefix);
        push_hex(&salt.to_be_bytes(), &mut prefix);
        UniqueIds { prefix, counter: 0 }
    }

    /// Never the same twice within 65,536 ids of one millisecond.
    pub fn next(&mut self, now: Timestamp) -> String {
        let mut id = String::with_capacity(self.prefix.len() + 12);
        id.push_str(&self.prefix);
        // A month has at most 2,678,400,000 ms, which fits 32 bits unsigned.
        push_hex(&(ms_since_month_start(now) as u32).to_be_bytes(), &mut id);
        push_hex(&self.counter.to_be_bytes(), &mut id);
        self.counter = self.counter.wrapping_add(1);
        id
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since midnight UTC of the first day of the month of `now`.
fn ms_since_month_start(now: Timestamp) -> i64 {
    // Days since 0000-03-01, with eras of 400 years: a year that starts in March has its leap day last.
    let days = now.0.div_euclid(DAY_MS) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    day_of_month * DAY_MS + now.0.rem_euclid(DAY_MS)
}

fn push_ip(ip: IpAddr, out: &mut String) {
    match ip {
        IpAddr::V4(ip) => push_hex(&ip.octets(), out),
        IpAddr::V6(ip) => push_hex(&ip.octets(), out),
    }
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 0xf)]));
    }
}

/// The first `2 * N` hex digits of `text`, in either case.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.get(..2 * N)?.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_offset_id_is_read_as_it_was_made(ip: IpAddr, port: u16, offset in 0..i64::MAX as u64) {
            let host = SocketAddr::new(ip, port);
            let id = offset_message_id(host, PhysicalOffset(offset));
            prop_assert_eq!(id.len(), if ip.is_ipv4() { 32 } else { 56 });
            prop_assert_eq!(parse_offset_message_id(&id), Some((host, PhysicalOffset(offset))));
        }

        #[test]
        fn random_text_never_panics(id in "[0-9A-Fa-f\\PC]{0,60}") {
            parse_offset_message_id(&id);
        }
    }

    #[test]
    fn ids_look_like_those_of_java() {
        let host = "127.0.0.1:10911".parse().unwrap();
        assert_eq!(offset_message_id(host, PhysicalOffset(0x1234)), "7F00000100002A9F0000000000001234");
        let mut ids = UniqueIds::new(IpAddr::from([10, 0, 0, 1]), 0x1f90, 0x18b4aac2);
        // 2024-02-29T12:00:00Z: 28 days and a half into the month.
        let now = Timestamp(1_709_208_000_000);
        let since = 28 * DAY_MS + DAY_MS / 2;
        assert_eq!(ids.next(now), format!("0A0000011F9018B4AAC2{since:08X}0000"));
        assert_eq!(ids.next(now), format!("0A0000011F9018B4AAC2{since:08X}0001"));
    }

    #[test]
    fn a_month_starts_on_its_first_day() {
        // 1970-01-01, 2000-03-01, 2023-12-31T23:59:59.999Z.
        assert_eq!(ms_since_month_start(Timestamp(0)), 0);
        assert_eq!(ms_since_month_start(Timestamp(951_868_800_000)), 0);
        assert_eq!(ms_since_month_start(Timestamp(1_704_067_199_999)), 31 * DAY_MS - 1);
        assert_eq!(ms_since_month_start(Timestamp(-1)), 31 * DAY_MS - 1);
    }
}
