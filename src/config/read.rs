//! Text, environment and flags → typed values with their origin. Knows the table, not the meaning
//! of a key.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{AddressError, BrokerUrl};
use super::keys::{KEYS, Key, Kind, Presence};
use super::names::{AeTitle, PartName};
use super::{Problem, Sources};

/// Environment variables with this prefix are settings: `HCC_EDGE_MQTT__URL` is `mqtt.url`.
pub const ENV_PREFIX: &str = "HCC_EDGE_";

/// Variables that carry the prefix and are no settings: where the configuration file is, what is
/// logged, which broker `subscribe` listens to, where a test ends the process and rolls the journal,
/// where scripts and tests find their data and Python.
pub const NOT_SETTINGS: &[&str] = &[
    "HCC_EDGE_CONFIG",
    "HCC_EDGE_LOG",
    "HCC_EDGE_BENCH_VENV",
    "HCC_EDGE_BINARY",
    "HCC_EDGE_BROKER",
    "HCC_EDGE_DATA",
    "HCC_EDGE_FAIL_AT",
    "HCC_EDGE_NOT_CHECKED",
    "HCC_EDGE_PATIENCE_MS",
    "HCC_EDGE_SEGMENT_BYTES",
    "HCC_EDGE_STAND_STILL",
    "HCC_EDGE_CONVERT_VENV",
    "HCC_EDGE_DICOM_VENV",
    "HCC_EDGE_NNUNET_VENV",
    "HCC_EDGE_TEST_PYTHON",
    "HCC_EDGE_TEST_VENV",
    "HCC_EDGE_TRAIN_VENV",
];

/// Largest configuration text, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// Longest path, in bytes (`PATH_MAX`).
const MAX_PATH: usize = 4_096;

/// Longest free text, in bytes.
const MAX_TEXT_VALUE: usize = 128;

/// Most paths in a list.
const MAX_PATHS: usize = 16;

/// Most AE titles in a list.
const MAX_TITLES: usize = 64;

/// What an AE title may be, in words.
const AE_TITLE: &str = "1 to 16 printable ASCII characters without \\, no space at either end";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Line of the file, from 1.
    Line(usize),
    /// This environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
    /// The table's default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("command line"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value that satisfies its key's [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Name, path, text, url or choice.
    Text(String),
    /// A whole number.
    Integer(u64),
    /// True or false.
    Flag(bool),
    /// A list of paths or titles.
    List(Vec<String>),
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The value.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}

/// Key → value. Optional keys that nobody set are absent.
pub type Values = BTreeMap<&'static str, Given>;

/// Reads all sources; every fault goes to `problems` and its key stays unset.
pub(super) fn read(sources: &Sources<'_>, problems: &mut Vec<Problem>) -> Values {
    let mut values = defaults();
    read_text(sources.text, &mut values, problems);
    for (name, text) in &sources.environment {
        read_variable(name, text, &mut values, problems);
    }
    for (path, text) in &sources.flags {
        match Key::find(path) {
            Some(key) => put(key, from_words(key.kind, text), Origin::Flag, &mut values, problems),
            None => problems.push(unknown(Origin::Flag, path)),
        }
    }
    for key in KEYS.iter().filter(|key| key.presence == Presence::Required) {
        let already_faulty = problems
            .iter()
            .any(|p| matches!(p, Problem::BadValue { key: k, .. } if *k == key.path));
        if !values.contains_key(key.path) && !already_faulty {
            problems.push(Problem::Missing { key: key.path, example: key.example });
        }
    }
    values
}

fn defaults() -> Values {
    let mut values = Values::new();
    for key in KEYS {
        let Presence::Default(text) = key.presence else { continue };
        let text = text.trim_matches('"');
        let value =
            if text == "[]" { Ok(Value::List(Vec::new())) } else { from_words(key.kind, text) };
        if let Ok(value) = value {
            values.insert(key.path, Given { value, origin: Origin::Default });
        }
    }
    values
}

fn read_text(text: &str, values: &mut Values, problems: &mut Vec<Problem>) {
    if text.len() > MAX_TEXT {
        let why = format!("{} bytes, at most {MAX_TEXT}", text.len());
        return problems.push(Problem::NotToml { line: 1, why });
    }
    let (table, faults) = DeTable::parse_recoverable(text);
    let syntax_is_sound = faults.is_empty();
    for fault in faults {
        let line = fault.span().map_or(1, |span| line_of(text, span.start));
        problems.push(Problem::NotToml { line, why: fault.message().to_owned() });
    }
    if syntax_is_sound {
        walk(&Walk { text, prefix: "" }, table.get_ref(), values, problems);
    }
}

struct Walk<'a> {
    text: &'a str,
    prefix: &'a str,
}

/// Sections are one level deep: a table inside a section is an unknown key.
fn walk(at: &Walk<'_>, table: &DeTable<'_>, values: &mut Values, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let path = format!("{}{}", at.prefix, name.get_ref());
        let origin = Origin::Line(line_of(at.text, name.span().start));
        let is_section =
            KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(s, _)| s == path));
        match (Key::find(&path), value.get_ref()) {
            (Some(key), _) => put(key, from_toml(key.kind, value), origin, values, problems),
            (None, DeValue::Table(inner)) if is_section => {
                walk(&Walk { text: at.text, prefix: &format!("{path}.") }, inner, values, problems);
            }
            (None, _) => problems.push(unknown(origin, &path)),
        }
    }
}

fn read_variable(name: &str, text: &str, values: &mut Values, problems: &mut Vec<Problem>) {
    let Some(rest) = name.strip_prefix(ENV_PREFIX) else { return };
    if NOT_SETTINGS.contains(&name) {
        return;
    }
    let path = rest.to_ascii_lowercase().replace("__", ".");
    let origin = Origin::Environment(name.to_owned());
    match Key::find(&path) {
        Some(key) => put(key, from_words(key.kind, text), origin, values, problems),
        None => problems.push(unknown(origin, &path)),
    }
}

fn put(
    key: &'static Key,
    value: Result<Value, String>,
    origin: Origin,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    match value.and_then(|value| in_kind(key.kind, value)) {
        Ok(value) => {
            values.insert(key.path, Given { value, origin });
        }
        Err(found) => problems.push(Problem::BadValue {
            origin,
            key: key.path,
            found,
            expected: expected(key),
        }),
    }
}

/// A TOML value as a [`Value`], or what it is instead.
fn from_toml(kind: Kind, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let value = value.get_ref();
    let text = |value: &DeValue<'_>| value.as_str().map(ToOwned::to_owned);
    let found = || match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(n) => n.to_string(),
        DeValue::Float(n) => n.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        other => format!("a {}", other.type_str()),
    };
    match kind {
        Kind::Integer { .. } => value
            .as_integer()
            .and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
            .map(Value::Integer),
        Kind::Flag => value.as_bool().map(Value::Flag),
        Kind::Paths | Kind::Titles => value.as_array().and_then(|list| {
            list.iter().map(|item| text(item.get_ref())).collect::<Option<_>>().map(Value::List)
        }),
        Kind::Name
        | Kind::Path
        | Kind::Text
        | Kind::Url
        | Kind::Ip
        | Kind::Title
        | Kind::Choice(_) => text(value).map(Value::Text),
    }
    .ok_or_else(found)
}

/// A word of the environment or the command line as a [`Value`], or what it is instead.
fn from_words(kind: Kind, text: &str) -> Result<Value, String> {
    let found = || format!("{text:?}");
    match kind {
        Kind::Integer { .. } => text.parse().map(Value::Integer).map_err(|_| found()),
        Kind::Flag => text.parse().map(Value::Flag).map_err(|_| found()),
        Kind::Paths | Kind::Titles => Ok(Value::List(
            text.split(':').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect(),
        )),
        Kind::Name
        | Kind::Path
        | Kind::Text
        | Kind::Url
        | Kind::Ip
        | Kind::Title
        | Kind::Choice(_) => Ok(Value::Text(text.to_owned())),
    }
}

/// The value if it satisfies the kind's range and form, else what was found.
fn in_kind(kind: Kind, value: Value) -> Result<Value, String> {
    let is_path = |text: &str| (1..=MAX_PATH).contains(&text.len()) && !text.contains('\0');
    let fits = match (kind, &value) {
        (Kind::Integer { low, high }, Value::Integer(n)) => (low..=high).contains(n),
        (Kind::Flag, Value::Flag(_)) => true,
        (Kind::Paths, Value::List(list)) => {
            list.len() <= MAX_PATHS && list.iter().all(|text| is_path(text))
        }
        (Kind::Titles, Value::List(list)) => {
            list.len() <= MAX_TITLES && list.iter().all(|text| AeTitle::new(text).is_ok())
        }
        (Kind::Title, Value::Text(text)) => AeTitle::new(text).is_ok(),
        (Kind::Ip, Value::Text(text)) => text.parse::<IpAddr>().is_ok(),
        (Kind::Name, Value::Text(text)) => PartName::new(text).is_ok(),
        (Kind::Path, Value::Text(text)) => is_path(text),
        (Kind::Text, Value::Text(text)) => {
            (1..=MAX_TEXT_VALUE).contains(&text.len()) && !text.chars().any(char::is_control)
        }
        (Kind::Url, Value::Text(text)) => match text.parse::<BrokerUrl>() {
            Err(AddressError::Credentials) => return Err("an address with credentials".to_owned()),
            address => address.is_ok(),
        },
        (Kind::Choice(words), Value::Text(text)) => words.contains(&text.as_str()),
        (_, Value::Text(_) | Value::Integer(_) | Value::Flag(_) | Value::List(_)) => false,
    };
    if fits { Ok(value) } else { Err(shown(&value)) }
}

/// A value as TOML writes it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Integer(n) => n.to_string(),
        Value::Flag(b) => b.to_string(),
        Value::List(list) => toml::Value::from(list.clone()).to_string(),
    }
}

/// What a key accepts, in words.
pub(super) fn expected(key: &Key) -> String {
    let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
    match key.kind {
        Kind::Name => "1 to 32 characters of a-z, 0-9 and -".to_owned(),
        Kind::Path => format!("a path of 1 to {MAX_PATH} bytes"),
        Kind::Paths => format!("a list of at most {MAX_PATHS} paths"),
        Kind::Ip => "an IPv4 or IPv6 address".to_owned(),
        Kind::Title => AE_TITLE.to_owned(),
        Kind::Titles => format!("a list of at most {MAX_TITLES} titles, each {AE_TITLE}"),
        Kind::Text => format!("text of 1 to {MAX_TEXT_VALUE} bytes"),
        Kind::Url => "mqtt://host[:port] or mqtts://host[:port]".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Integer { low, high } => format!("{low}..={high}{unit}"),
        Kind::Choice(words) => words.join(" or "),
    }
}

/// Distance up to which a name counts as a slip for another, as Jaro-Winkler similarity.
const NEAR: f64 = 0.8;

fn unknown(origin: Origin, path: &str) -> Problem {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &Key| {
        let whole = strsim::jaro_winkler(key.path, path);
        whole.max(0.99 * strsim::jaro_winkler(&last(key.path), &last(path)))
    };
    let nearest = KEYS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|key| likeness(key) >= NEAR)
        .map(|key| key.path);
    Problem::UnknownKey { origin, key: path.to_owned(), nearest }
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}
