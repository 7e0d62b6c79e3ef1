//! The broker's address: `mqtt://host[:port]` or `mqtts://host[:port]`, nothing else. Credentials
//! do not belong in it, because addresses end up in logs; what looks like one is never repeated.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// Longest host name (RFC 1035, 255 octets with separators).
const MAX_HOST: usize = 253;

/// Why a broker address is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No `mqtt://` or `mqtts://` in front.
    #[error("broker address {0:?} does not start with mqtt:// or mqtts://")]
    Scheme(String),
    /// User name or password inside.
    #[error("broker address contains credentials: set user name and password file instead")]
    Credentials,
    /// A path, query or fragment.
    #[error("broker address {0:?} has something after host and port")]
    Trailing(String),
    /// Host empty, too long or with characters no host name has.
    #[error("broker address {0:?} has no usable host name")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("broker address has port {0:?}, expected 1 to 65535")]
    Port(String),
}

/// Where the broker is and whether the way there is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    host: String,
    port: u16,
    tls: bool,
}

impl BrokerUrl {
    /// An unencrypted broker on this machine.
    pub fn loopback(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port, tls: false }
    }

    /// Host name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is used.
    pub fn tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for BrokerUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::Credentials);
        }
        let (tls, rest) = match (text.strip_prefix("mqtts://"), text.strip_prefix("mqtt://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(AddressError::Scheme(shown(text))),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(AddressError::Trailing(shown(text)));
        }
        let (host, port) = split_port(rest);
        let host = checked_host(host).ok_or_else(|| AddressError::Host(shown(text)))?;
        let port = match port {
            None if tls => 8883,
            None => 1883,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(AddressError::Port(shown(digits))),
            },
        };
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

/// Splits at the last colon outside the brackets of an IPv6 address.
fn split_port(rest: &str) -> (&str, Option<&str>) {
    let after_bracket = rest.rfind(']').map_or(0, |i| i + 1);
    match rest[after_bracket..].rfind(':') {
        Some(i) => (&rest[..after_bracket + i], Some(&rest[after_bracket + i + 1..])),
        None => (rest, None),
    }
}

/// The host if it may be one; an IPv6 address loses its brackets.
fn checked_host(host: &str) -> Option<&str> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok().then_some(inner);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let plain = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(allowed);
    plain.then_some(host)
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
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
    fn addresses_print_as_they_read() {
        for (text, printed) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.ward-3.example/", "mqtts://broker.ward-3.example:8883"),
            ("mqtt://127.0.0.1:40001", "mqtt://127.0.0.1:40001"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
            ("mqtts://[fe80::1]", "mqtts://[fe80::1]:8883"),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), printed);
            assert_eq!(printed.parse::<BrokerUrl>(), Ok(url));
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use AddressError as E;
        let refused = |text: &str| text.parse::<BrokerUrl>().unwrap_err();
        assert!(matches!(refused("broker:1883"), E::Scheme(_)));
        assert!(matches!(refused("ws://broker"), E::Scheme(_)));
        for text in ["mqtt://user:secret@broker", "mqtts://user:secret@b/x", "user:secret@b"] {
            assert_eq!(refused(text), E::Credentials);
            assert!(!refused(text).to_string().contains("secret"));
        }
        for bad in ["mqtt://broker/path", "mqtt://broker?x", "mqtt://broker#x"] {
            assert!(matches!(refused(bad), E::Trailing(_)), "{bad}");
        }
        for bad in [
            "mqtt://",
            "mqtt://:1883",
            "mqtt://a b",
            "mqtt://é",
            "mqtt://::1:1883",
            "mqtt://[::zz]",
            "mqtt://[::1",
            "mqtt://[::1]9",
            "mqtt://[broker]",
        ] {
            assert!(matches!(refused(bad), E::Host(_)), "{bad}");
        }
        for bad in ["mqtt://b:0", "mqtt://b:65536", "mqtt://b:", "mqtt://b:x"] {
            assert!(matches!(refused(bad), E::Port(_)), "{bad}");
        }
        for (good, port) in [("mqtt://b:1", 1), ("mqtt://b:65535", 65_535)] {
            assert_eq!(good.parse::<BrokerUrl>().unwrap().port(), port);
        }
    }

    #[test]
    fn an_ipv6_address_is_in_brackets_only_where_it_is_written() {
        let url: BrokerUrl = "mqtts://[::1]:1884".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.tls()), ("::1", 1884, true));
    }

    #[test]
    fn the_loopback_address_reads_back() {
        let url = BrokerUrl::loopback(40_001);
        assert_eq!(url.to_string().parse(), Ok(url));
    }

    #[test]
    fn host_names_end_at_253_characters() {
        let host = "a".repeat(MAX_HOST);
        assert!(format!("mqtt://{host}").parse::<BrokerUrl>().is_ok());
        assert!(format!("mqtt://{host}a").parse::<BrokerUrl>().is_err());
    }
}
