//! Topic names, built from checked parts and taken apart again (DESIGN section 7). A part comes
//! from the config only, never from a file name or an image.

use std::fmt::{self, Write};

use crate::seal::verify::Address;
use crate::seal::wire::Slug;

/// First levels of every topic; the `v1` changes when a message changes incompatibly.
pub const ROOT: &str = "hcc/v1";

/// Longest topic that can be built: root, two parts, the longest suffix, the slashes.
pub const MAX_TOPIC: usize = 96;

/// A topic name of bounded length.
pub type Topic = heapless::String<MAX_TOPIC>;

/// The topic of one kind of message of one device.
pub fn topic(address: &Address, kind: Kind) -> Topic {
    build(&address.site, &address.device, kind)
}

/// The filter for every command to one device.
pub fn commands(address: &Address) -> Topic {
    build(&address.site, &address.device, "cmd/+")
}

/// A subscription filter over devices; a missing part is the wildcard `+`. `kind` is literal.
pub fn filter(site: Option<&Slug>, device: Option<&Slug>, kind: Kind) -> Topic {
    build(site.map_or("+", |s| s), device.map_or("+", |d| d), kind)
}

fn build(site: &str, device: &str, rest: impl fmt::Display) -> Topic {
    let mut topic = Topic::new();
    write!(topic, "{ROOT}/{site}/{device}/{rest}")
        .expect("MAX_TOPIC covers the root, two parts and the longest kind");
    topic
}

/// Takes a topic apart; `None` for everything that no device of this version publishes or reads.
pub fn parse(topic: &str) -> Option<(Address, Kind)> {
    if topic.len() > MAX_TOPIC {
        return None;
    }
    let rest = topic.strip_prefix(ROOT)?.strip_prefix('/')?;
    let mut levels = rest.splitn(3, '/');
    let site = Slug::new(levels.next()?).ok()?;
    let device = Slug::new(levels.next()?).ok()?;
    Some((Address { site, device }, kind(levels.next()?)?))
}

/// The last levels of a topic: what kind of message it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signed presence, retained.
    Status,
    /// Versions and digests, retained JSON.
    Info,
    /// Signed result.
    Result,
    /// JSON view of a result.
    View,
    /// Progress of a study, JSON.
    Job,
    /// Sensors and queue depth, JSON.
    Telemetry,
    /// A standing problem, retained JSON until cleared.
    Alarm(AlarmCode),
    /// A command to the device.
    Command(Verb),
    /// The device's answer to a command.
    Reply,
    /// A consumer's signed acknowledgement.
    Ack,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Info => f.write_str("info"),
            Self::Result => f.write_str("result"),
            Self::View => f.write_str("result/view"),
            Self::Job => f.write_str("job"),
            Self::Telemetry => f.write_str("telemetry"),
            Self::Alarm(code) => write!(f, "alarm/{}", code.as_str()),
            Self::Command(verb) => write!(f, "cmd/{}", verb.as_str()),
            Self::Reply => f.write_str("reply"),
            Self::Ack => f.write_str("ack"),
        }
    }
}

/// The closed list of standing problems a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmCode {
    /// Disk nearly full or failing.
    Disk,
    /// Clock not trustworthy.
    Clock,
    /// Certificate expired or about to.
    Certificate,
    /// Too hot.
    Thermal,
    /// A model package does not verify.
    Model,
    /// The journal is damaged.
    Journal,
    /// The broker refuses what the device is meant to publish.
    Auth,
    /// Results reach the broker, but nobody is subscribed or one is too large for it.
    Delivery,
}

impl AlarmCode {
    /// Every code, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Disk,
        Self::Clock,
        Self::Certificate,
        Self::Thermal,
        Self::Model,
        Self::Journal,
        Self::Auth,
        Self::Delivery,
    ];

    /// The topic level.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Certificate => "certificate",
            Self::Thermal => "thermal",
            Self::Model => "model",
            Self::Journal => "journal",
            Self::Auth => "auth",
            Self::Delivery => "delivery",
        }
    }
}

/// The closed list of commands; none of them alters models or configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Are you there?
    Ping,
    /// Publish part of an epoch again; the body is signed by a consumer.
    Resend,
    /// Look into the inbox now.
    Rescan,
    /// Run the self check.
    Check,
}

impl Verb {
    /// Every verb, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Ping, Self::Resend, Self::Rescan, Self::Check];

    /// The topic level.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Resend => "resend",
            Self::Rescan => "rescan",
            Self::Check => "check",
        }
    }
}

fn kind(text: &str) -> Option<Kind> {
    match text {
        "status" => Some(Kind::Status),
        "info" => Some(Kind::Info),
        "result" => Some(Kind::Result),
        "result/view" => Some(Kind::View),
        "job" => Some(Kind::Job),
        "telemetry" => Some(Kind::Telemetry),
        "reply" => Some(Kind::Reply),
        "ack" => Some(Kind::Ack),
        other => match other.split_once('/')? {
            ("alarm", code) => {
                AlarmCode::ALL.into_iter().find(|c| c.as_str() == code).map(Kind::Alarm)
            }
            ("cmd", verb) => Verb::ALL.into_iter().find(|v| v.as_str() == verb).map(Kind::Command),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> Vec<Kind> {
        let mut kinds = vec![
            Kind::Status,
            Kind::Info,
            Kind::Result,
            Kind::View,
            Kind::Job,
            Kind::Telemetry,
            Kind::Reply,
            Kind::Ack,
        ];
        kinds.extend(AlarmCode::ALL.map(Kind::Alarm));
        kinds.extend(Verb::ALL.map(Kind::Command));
        kinds
    }

    fn slug(text: &str) -> Slug {
        Slug::new(text).unwrap()
    }

    #[test]
    fn the_longest_names_fit_and_read_back() {
        let longest = slug(&"a".repeat(32));
        let address = Address { site: longest.clone(), device: longest };
        for kind in kinds() {
            assert_eq!(parse(&topic(&address, kind)), Some((address.clone(), kind)));
        }
        assert!(commands(&address).ends_with("/cmd/+"));
    }

    #[test]
    fn foreign_topics_are_not_ours() {
        for topic in [
            "hcc/v1/s/d",
            "hcc/v1/s/d/",
            "hcc/v2/s/d/result",
            "hcc/v1/s/d/result/",
            "hcc/v1/s/d/result/other",
            "hcc/v1/s/d/cmd/erase",
            "hcc/v1/s/d/alarm/none",
            "/hcc/v1/s/d/result",
            "hcc/v1/+/d/result",
        ] {
            assert_eq!(parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_filter_names_what_it_is_given() {
        let device = slug("box-1");
        assert_eq!(filter(None, Some(&device), Kind::Result), "hcc/v1/+/box-1/result");
        assert_eq!(filter(None, None, Kind::Status), "hcc/v1/+/+/status");
    }

    proptest! {
        #[test]
        fn any_text_parses_to_what_builds_it(topic in "(hcc/v1/)?[a-z/+-]{0,40}(/result)?") {
            if let Some((address, kind)) = parse(&topic) {
                let built = super::topic(&address, kind);
                prop_assert_eq!(built.as_str(), topic);
            }
        }
    }
}
