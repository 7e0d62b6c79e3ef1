//! The trust store: which key may say what, for which device, and when. Text in, checked entries
//! out; reads no file and no clock.
//!
//! ```toml
//! [[key]]
//! kid = "00112233445566778899aabbccddeeff"
//! role = "device"                      # device | consumer | models
//! device = "box-1"                     # required for a device; narrows a consumer
//! site = "demo-site"                   # likewise
//! not_before = 2026-01-01T00:00:00Z    # optional; compared with the time of signing
//! not_after = 2031-01-01T00:00:00Z     # optional, exclusive
//! public_key = "base64 or hexadecimal of 32 bytes"
//! demonstration = false                # models only: trusted in demonstration mode alone
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;
use toml::value::Datetime;

use super::cose::{KeyId, PublicKey, key_id};
use super::wire::Slug;
use super::wire::atoms::Octets;
use crate::units::Millis;

/// The most keys a trust store may hold.
pub const MAX_KEYS: usize = 256;
/// The largest `trust.toml` that is read, in bytes.
pub const MAX_TRUST_BYTES: usize = 256 * 1024;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `result` and `status` of its own device.
    Device,
    /// `ack` and `resend`.
    Consumer,
    /// Manifests of model packages.
    Models,
}

impl Role {
    /// The word in `trust.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Consumer => "consumer",
            Self::Models => "models",
        }
    }
}

/// One trusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Key id; always the one of `public_key`.
    pub kid: KeyId,
    /// What it may sign.
    pub role: Role,
    /// The device it belongs to (role device) or may address (role consumer; `None` = any).
    pub device: Option<Slug>,
    /// The site of that device.
    pub site: Option<Slug>,
    /// Nothing signed before this moment is accepted.
    pub not_before: Option<Millis>,
    /// Nothing signed at or after this moment is accepted.
    pub not_after: Option<Millis>,
    /// The key.
    pub public_key: PublicKey,
    /// Role models only: trusted in demonstration mode alone.
    pub demonstration: bool,
}

impl TrustedKey {
    /// A device's key without time limits.
    pub fn of_device(site: Slug, device: Slug, public_key: PublicKey) -> Self {
        Self {
            kid: key_id(&public_key),
            role: Role::Device,
            device: Some(device),
            site: Some(site),
            not_before: None,
            not_after: None,
            public_key,
            demonstration: false,
        }
    }

    /// A consumer's key without time limits; it may address this site and device, or any.
    pub fn of_consumer(site: Option<Slug>, device: Option<Slug>, public_key: PublicKey) -> Self {
        Self {
            kid: key_id(&public_key),
            role: Role::Consumer,
            device,
            site,
            not_before: None,
            not_after: None,
            public_key,
            demonstration: false,
        }
    }

    /// Whether something signed at that moment may be accepted.
    pub fn is_valid_at(&self, signed_at: Millis) -> bool {
        self.not_before.is_none_or(|start| start <= signed_at)
            && self.not_after.is_none_or(|end| signed_at < end)
    }

    /// The entry as text for a `trust.toml`.
    pub fn to_toml(&self) -> String {
        let mut text =
            format!("[[key]]\nkid = \"{}\"\nrole = \"{}\"\n", self.kid, self.role.name());
        for (name, value) in [("device", &self.device), ("site", &self.site)] {
            if let Some(value) = value {
                let _infallible = writeln!(text, "{name} = \"{value}\"");
            }
        }
        for (name, moment) in [("not_before", self.not_before), ("not_after", self.not_after)] {
            if let Some(Millis(ms)) = moment {
                let _infallible = writeln!(text, "{name} = {}", rfc3339(ms));
            }
        }
        let _infallible = writeln!(text, "public_key = \"{}\"", STANDARD.encode(self.public_key));
        if self.demonstration {
            text.push_str("demonstration = true\n");
        }
        text
    }
}

/// Why a `trust.toml` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrustError {
    /// Larger or longer than allowed.
    #[error("the trust store is too large: at most {MAX_KEYS} keys in {MAX_TRUST_BYTES} bytes")]
    TooLarge,
    /// Not TOML, or an unknown or missing key.
    #[error("the trust store cannot be read: {0}")]
    Toml(String),
    /// An entry that is not right.
    #[error("key {number} of the trust store: {problem}")]
    Entry {
        /// Position in the file, from 1.
        number: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Every key somebody trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustStore {
    keys: BTreeMap<KeyId, TrustedKey>,
}

impl TrustStore {
    /// Reads and checks a `trust.toml`.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if text.len() > MAX_TRUST_BYTES {
            return Err(TrustError::TooLarge);
        }
        let raw: RawStore =
            toml::from_str(text).map_err(|error| TrustError::Toml(error.to_string()))?;
        if raw.key.len() > MAX_KEYS {
            return Err(TrustError::TooLarge);
        }
        let mut store = Self::default();
        for (index, raw) in raw.key.into_iter().enumerate() {
            let number = index + 1;
            let key = check(raw).map_err(|problem| TrustError::Entry { number, problem })?;
            if store.keys.insert(key.kid, key).is_some() {
                return Err(TrustError::Entry { number, problem: "this key is listed twice" });
            }
        }
        Ok(store)
    }

    /// Adds one key.
    pub fn add(&mut self, key: TrustedKey) -> Result<(), TrustError> {
        if self.keys.len() >= MAX_KEYS && !self.keys.contains_key(&key.kid) {
            return Err(TrustError::TooLarge);
        }
        self.keys.insert(key.kid, key);
        Ok(())
    }

    /// Every key of `other` that is not here yet.
    pub fn merge(&mut self, other: Self) -> Result<(), TrustError> {
        for key in other.keys.into_values() {
            if !self.keys.contains_key(&key.kid) {
                self.add(key)?;
            }
        }
        Ok(())
    }

    /// The keys that speak for one device: its own, which need not be listed, and those listed under
    /// the same site and name, as its former ones are.
    pub fn of_one_device(&self, own: PublicKey) -> Self {
        let kid = key_id(&own);
        let listed = self.keys.get(&kid);
        let is_same = |key: &&TrustedKey| {
            let same = |own: &TrustedKey| (&own.site, &own.device) == (&key.site, &key.device);
            key.role == Role::Device && listed.is_some_and(same)
        };
        let former = self.keys.values().filter(is_same).map(|key| (key.kid, key.clone()));
        let mut keys: BTreeMap<KeyId, TrustedKey> = former.collect();
        keys.entry(kid).or_insert(TrustedKey {
            kid,
            role: Role::Device,
            device: None,
            site: None,
            not_before: None,
            not_after: None,
            public_key: own,
            demonstration: false,
        });
        Self { keys }
    }

    /// The key with that id.
    pub fn get(&self, kid: &KeyId) -> Option<&TrustedKey> {
        self.keys.get(kid)
    }

    /// Every key, by id.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.values()
    }

    /// The store as text.
    pub fn to_toml(&self) -> String {
        let entries: Vec<String> = self.keys().map(TrustedKey::to_toml).collect();
        entries.join("\n")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    #[serde(default)]
    key: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    kid: String,
    role: Role,
    device: Option<String>,
    site: Option<String>,
    not_before: Option<Datetime>,
    not_after: Option<Datetime>,
    public_key: String,
    #[serde(default)]
    demonstration: bool,
}

fn check(raw: RawKey) -> Result<TrustedKey, &'static str> {
    let public_key = public_key(&raw.public_key)
        .ok_or("public_key must be 32 bytes in base64 or hexadecimal")?;
    let kid = KeyId::from_hex(&raw.kid).ok_or("kid must be 32 hexadecimal digits")?;
    if kid != key_id(&public_key) {
        return Err("kid is not the id of public_key");
    }
    if is_weak(&public_key) {
        return Err("public_key is a point that anybody can sign for");
    }
    let slug = |text: Option<String>, problem| {
        text.map(|text| Slug::new(&text)).transpose().map_err(|_| problem)
    };
    let device = slug(raw.device, "device must be 1 to 32 characters of a-z, 0-9 and -")?;
    let site = slug(raw.site, "site must be 1 to 32 characters of a-z, 0-9 and -")?;
    if raw.role == Role::Device && (device.is_none() || site.is_none()) {
        return Err("a device key needs device and site");
    }
    if raw.demonstration && raw.role != Role::Models {
        return Err("only a models key can be marked demonstration");
    }
    let moment = |date: Option<Datetime>| {
        date.map(|date| unix_ms(&date).ok_or("a time needs a date and, with a time, an offset"))
            .transpose()
    };
    let (not_before, not_after) = (moment(raw.not_before)?, moment(raw.not_after)?);
    if let (Some(start), Some(end)) = (not_before, not_after)
        && start >= end
    {
        return Err("not_after must be later than not_before");
    }
    let (role, demonstration) = (raw.role, raw.demonstration);
    Ok(TrustedKey { kid, role, device, site, not_before, not_after, public_key, demonstration })
}

fn public_key(text: &str) -> Option<PublicKey> {
    if let Some(octets) = Octets::<32>::from_hex(text) {
        return Some(octets.0);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// y of the points of small order on Curve25519's twisted Edwards form: 0, 1, −1 and the two of
/// order 8 (RFC 7748 curve, RFC 8032 encoding, little-endian).
const SMALL_ORDER_Y: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/// Whether signatures under this key prove nothing: a point of small order. One whose y is written
/// as p or more is refused as well: no key is made so.
fn is_weak(public_key: &PublicKey) -> bool {
    let mut y = *public_key;
    y[31] &= 0x7f;
    let beyond_p = y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff) && y[0] >= 0xed;
    beyond_p || SMALL_ORDER_Y.contains(&Octets(y).to_string().as_str())
}

/// Milliseconds since the Unix epoch; a date alone is its first instant in UTC.
fn unix_ms(moment: &Datetime) -> Option<Millis> {
    let date = moment.date?;
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = match (moment.time, moment.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                toml::value::Offset::Z => 0,
                toml::value::Offset::Custom { minutes } => i64::from(minutes),
            };
            let (hour, minute) = (i64::from(time.hour), i64::from(time.minute));
            hour * 3_600 + (minute - minutes) * 60 + i64::from(time.second.unwrap_or(0))
        }
        (Some(_), None) | (None, Some(_)) => return None,
    };
    u64::try_from((days * 86_400 + seconds) * 1_000).ok().map(Millis)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; `month` 1..=12, `day` 1..=31.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A moment as RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let mut year = 1970 + days / 366;
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_from_civil(year, month + 1, 1) <= days {
        month += 1;
    }
    let day = days - days_from_civil(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> TrustedKey {
        let slug = |text| Slug::new(text).unwrap();
        TrustedKey {
            not_before: Some(Millis(1_767_225_600_000)),
            not_after: Some(Millis(1_924_992_000_000)),
            ..TrustedKey::of_device(slug("demo-site"), slug("box-1"), [9; 32])
        }
    }

    #[test]
    fn an_entry_survives_its_text() {
        let store = TrustStore::parse(&key().to_toml()).unwrap();
        assert_eq!(store.get(&key().kid), Some(&key()));
        assert!(key().to_toml().contains("not_before = 2026-01-01T00:00:00Z"));
        assert_eq!(TrustStore::parse(&store.to_toml()), Ok(store));
        let consumer = TrustedKey::of_consumer(None, Slug::new("box-1").ok(), [8; 32]);
        let store = TrustStore::parse(&consumer.to_toml()).unwrap();
        assert_eq!(store.get(&consumer.kid), Some(&consumer));
    }

    #[test]
    fn dates_offsets_and_hexadecimal_are_understood() {
        let hex = Octets([9; 32]).to_string();
        let text = format!(
            "[[key]]\nkid = \"{}\"\nrole = \"consumer\"\nnot_before = 2026-01-01\n\
             not_after = 2026-01-01T02:00:00+01:00\npublic_key = \"{hex}\"\n",
            key().kid
        );
        let store = TrustStore::parse(&text).unwrap();
        let read = store.get(&key().kid).unwrap();
        assert_eq!(read.not_before, Some(Millis(1_767_225_600_000)));
        assert_eq!(read.not_after, Some(Millis(1_767_225_600_000 + 3_600_000)));
        assert!(read.is_valid_at(Millis(1_767_225_600_000)));
        assert!(!read.is_valid_at(Millis(1_767_225_599_999)));
        assert!(!read.is_valid_at(Millis(1_767_225_600_000 + 3_600_000)));
    }

    #[test]
    fn one_devices_keys_are_its_own_and_its_former_ones() {
        let of = |device: &str, seed: u8| {
            let slug = |text| Slug::new(text).unwrap();
            TrustedKey::of_device(slug("demo-site"), slug(device), [seed; 32])
        };
        let mut store = TrustStore::default();
        for key in [of("box-1", 21), of("box-1", 22), of("box-2", 23)] {
            store.add(key).unwrap();
        }
        let keys = |own: u8| -> Vec<u8> {
            let same = store.of_one_device([own; 32]);
            let mut keys: Vec<u8> = same.keys().map(|key| key.public_key[0]).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!((keys(21), keys(23), keys(24)), (vec![21, 22], vec![23], vec![24]));
    }

    #[test]
    fn keys_that_anybody_can_sign_for_are_refused() {
        let weak = |y: &str, sign: u8| {
            let mut key = Octets::<32>::from_hex(y).unwrap().0;
            key[31] |= sign;
            is_weak(&key)
        };
        for y in SMALL_ORDER_Y {
            assert!(weak(y, 0) && weak(y, 0x80), "{y}");
        }
        let p = format!("ed{}7f", "ff".repeat(30));
        assert!(weak(&p, 0) && weak(&p, 0x80));
        // RFC 8032, section 7.1, test 1: an honest key.
        assert!(!weak("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", 0));
    }

    #[test]
    fn wrong_entries_are_refused() {
        let good = key().to_toml();
        for (from, to, what) in [
            ("kid = \"", "kid = \"00", "kid too long"),
            ("role = \"device\"", "role = \"king\"", "unknown role"),
            ("device = \"box-1\"\n", "", "a device key without device"),
            ("device = \"box-1\"", "device = \"Box 1\"", "a device that is no topic part"),
            ("public_key = \"CQ", "public_key = \"CA", "kid of another key"),
            ("not_after = 2031", "not_after = 2025", "ends before it starts"),
            ("not_before = 2026-01-01T00:00:00Z", "not_before = 2026-01-01T00:00:00", "no offset"),
            ("role =", "colour = 1\nrole =", "unknown word"),
            ("[[key]]", "demonstration = 1\n[[key]]", "unknown word outside"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{what}");
            assert!(TrustStore::parse(&bad).is_err(), "accepted: {what}");
        }
        let marked = format!("{good}demonstration = true\n");
        assert!(TrustStore::parse(&marked).is_err(), "a demonstration device");
        assert!(TrustStore::parse(&format!("{good}\n{good}")).is_err(), "the same key twice");
        assert_eq!(TrustStore::parse(""), Ok(TrustStore::default()));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let mut store = TrustStore::default();
        for n in 0..MAX_KEYS {
            let mut public = [9; 32];
            public[..8].copy_from_slice(&n.to_le_bytes());
            store.add(TrustedKey { public_key: public, kid: key_id(&public), ..key() }).unwrap();
        }
        assert_eq!(
            TrustStore::parse(&store.to_toml()).map(|read| read.keys().count()),
            Ok(MAX_KEYS)
        );
        assert_eq!(store.add(key()), Err(TrustError::TooLarge));
        assert_eq!(TrustStore::parse(&" ".repeat(MAX_TRUST_BYTES + 1)), Err(TrustError::TooLarge));
        assert!(TrustStore::parse(&" ".repeat(MAX_TRUST_BYTES)).is_ok());
    }

    proptest! {
        #[test]
        fn moments_round_trip_through_text(seconds in 0u64..8_000_000_000) {
            let text = rfc3339(seconds * 1_000);
            let parsed: Datetime = text.parse().unwrap();
            prop_assert_eq!(unix_ms(&parsed), Some(Millis(seconds * 1_000)));
        }
    }
}
