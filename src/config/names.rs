//! Names and addresses that come from the configuration only. Never builds one from a file name,
//! a DICOM tag or a message.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest part of a topic, in bytes.
pub const MAX_PART: usize = 32;

/// A site or device id as topics carry it: `[a-z0-9-]{1,32}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName(heapless::String<MAX_PART>);

/// Text that is no [`PartName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not 1 to 32 characters of a-z, 0-9 and -")]
pub struct NameError(pub String);

impl PartName {
    /// Checks length and alphabet.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || !text.bytes().all(plain) {
            return Err(NameError(text.to_owned()));
        }
        heapless::String::try_from(text).map(Self).map_err(|_| NameError(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for PartName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The broker's address: `mqtt://host[:port]` (plain, port 1883) or `mqtts://host[:port]` (TLS,
/// port 8883).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that is no [`BrokerUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not mqtt://host[:port] or mqtts://host[:port]")]
pub struct UrlError(pub String);

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text).ok_or_else(|| UrlError(text.to_owned()))
    }
}

impl BrokerUrl {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']')?;
                let _: std::net::Ipv6Addr = host.parse().ok()?;
                (host, tail.strip_prefix(':').or_else(|| tail.is_empty().then_some(""))?)
            }
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return None;
        }
        let port = if port.is_empty() { default_port } else { port.parse().ok()? };
        (port > 0).then(|| Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_alphabet_and_length() {
        assert_eq!(PartName::new("ct-3").unwrap().as_str(), "ct-3");
        assert!(PartName::new(&"a".repeat(32)).is_ok());
        for bad in ["", "A", "a/b", "a+", "#", "a b", "ä", "a\0", &"a".repeat(33)] {
            assert!(PartName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn urls_read_and_print() {
        let url = |t: &str| t.parse::<BrokerUrl>().map(|u| u.to_string());
        assert_eq!(url("mqtt://localhost").unwrap(), "mqtt://localhost:1883");
        assert_eq!(url("mqtts://b.site.example/").unwrap(), "mqtts://b.site.example:8883");
        assert_eq!(url("mqtt://[::1]:1999").unwrap(), "mqtt://[::1]:1999");
        assert_eq!(url("mqtt://[::1]").unwrap(), "mqtt://[::1]:1883");
        let bad = [
            "localhost",
            "http://x",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://a:0",
            "mqtt://a:65536",
            "mqtt://user:pw@host",
            "mqtt://a/topic",
            "mqtt://[::1",
            "mqtt://[x]",
            "mqtt://[::1]9",
        ];
        for text in bad {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
