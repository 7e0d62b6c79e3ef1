//! Configuration: TOML text, environment and flags in, a checked [`Config`] out.
//!
//! One table, [`KEYS`], says what a key is called, what it means and what it may hold; reading,
//! checking and the reference page all follow it, so they cannot drift apart. Nothing here opens
//! a file or looks at the environment: the caller passes both in. All faults are reported at once,
//! each with the line or the variable it came from.

mod address;
mod checked;
mod keys;
mod names;
mod read;
mod receive;
mod reference;

pub use address::{AddressError, BrokerUrl};
pub use checked::{
    Config, Confirm, Delivery, EngineConfig, EngineIsa, EngineKind, Inbox, Limits, Login, Mode,
    Mqtt, SandboxRule, TlsFiles, TlsIdentity,
};
pub use keys::{KEYS, Key, Kind, Presence};
pub use names::{AeTitle, AeTitleError, MAX_AE_TITLE, MAX_PART, NameError, PartName};
pub use read::{ENV_PREFIX, Given, NOT_SETTINGS, Origin, Value, Values};
pub use receive::{Receive, ReceiveTls};

use thiserror::Error;

/// Where settings come from, weakest first: text, then environment, then flags.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// The TOML file's text; empty when there is none.
    pub text: &'a str,
    /// Environment variables; those that do not start with [`ENV_PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// Command-line flags as (key, value), for example `("mqtt.url", "mqtt://localhost")`.
    pub flags: Vec<(String, String)>,
}

/// One fault in the configuration.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Problem {
    /// The text is not TOML.
    #[error("line {line}: not valid TOML: {why}")]
    NotToml {
        /// Line of the text, from 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// No key of this name exists.
    #[error("{origin}: unknown key `{key}`{}", nearest.map_or(String::new(), |k| format!(", did you mean `{k}`?")))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// What was written.
        key: String,
        /// The nearest key that exists, when one is near.
        nearest: Option<&'static str>,
    },
    /// The value is of another type, out of range or malformed.
    #[error("{origin}: `{key}` is {found}, expected {expected}")]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What was found.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A key without a default is not set.
    #[error("`{key}` is not set; add for example `{key} = {example}`")]
    Missing {
        /// The key.
        key: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// Two keys contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// Every fault found, in the order of the sources.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// A checked configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Key → value and origin, defaults included.
    pub values: Values,
}

/// Reads all sources and checks them together.
///
/// # Errors
/// Every fault at once; nothing is corrected or left out.
pub fn load(sources: &Sources<'_>) -> Result<Effective, ConfigError> {
    let mut problems = Vec::new();
    let values = read::read(sources, &mut problems);
    let config = checked::check(&values, &mut problems);
    match (config, problems.is_empty()) {
        (Some(config), true) => Ok(Effective { config, values }),
        _ => Err(ConfigError { problems }),
    }
}

/// The reference of all keys as Markdown.
pub fn reference() -> String {
    reference::markdown(KEYS)
}

impl Effective {
    /// The values in use as TOML, each with its origin as a comment.
    pub fn to_toml(&self) -> String {
        reference::show(&self.values)
    }

    /// The settings that can change a result, as text of fixed form: one `key = value` line per
    /// key marked `shapes_result`, in table order. The result id covers its digest.
    pub fn result_settings(&self) -> String {
        reference::result_settings(&self.values)
    }
}

#[cfg(test)]
mod tests;
