//! `hcc-edge subscribe`: verified results as they come, one line each. A message that does not
//! verify is named with its reason and never shown as a result. With a consumer's key it also asks
//! devices for what is missing and acknowledges what it has.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use thiserror::Error;

use super::{exit, sighting};
use crate::config::{AddressError, BrokerUrl, TlsFiles, TlsIdentity};
use crate::control_room::state::StateError;
use crate::control_room::subscriber::{SubscriberError, SubscriberSettings};
use crate::control_room::{ConsumerSettings, Distrust, Sighting, Subscriber};
use crate::host::keys::{self, KeyError};
use crate::host::mqtt::link::{BrokerSettings, Credentials, LinkError};
use crate::seal::trust::{MAX_TRUST_BYTES, TrustError, TrustStore};
use crate::seal::wire::Slug;

/// What `hcc-edge subscribe` is told.
#[derive(Debug, Clone, Args)]
pub struct SubscribeArgs {
    /// Broker, `mqtt://host[:port]` or `mqtts://host[:port]`.
    #[arg(long, env = "HCC_EDGE_BROKER")]
    pub broker: String,
    /// Trust store with the devices' public keys.
    #[arg(long, value_name = "trust.toml")]
    pub trust: PathBuf,
    /// File that remembers what was seen, so that gaps and forks are noticed across restarts.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Own key (PKCS#8, made by `hcc-edge keys init --role consumer`): acknowledge results to the
    /// devices that trust it, and ask them for what is missing, from number 1 on.
    #[arg(long, value_name = "FILE", requires = "state")]
    pub consumer_key: Option<PathBuf>,
    /// Also ask once more for what was given up as lost.
    #[arg(long, requires = "consumer_key")]
    pub from_start: bool,
    /// Only this site.
    #[arg(long)]
    pub site: Option<Slug>,
    /// Only this device.
    #[arg(long)]
    pub device: Option<Slug>,
    /// Stop after so many results that were not seen before.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Stop after so many seconds; with --count, fewer results are then an error (75).
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// One JSON object per line; the global flag.
    #[arg(skip)]
    pub json: bool,
    /// End with 5 if anything did not verify or a device's history was forked.
    #[arg(long)]
    pub strict: bool,
    /// MQTT client identifier; needed with --session-hours.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<Slug>,
    /// Let the broker keep results for so many hours while this subscriber is away.
    #[arg(long, value_name = "HOURS", requires = "client_id", default_value_t = 0)]
    pub session_hours: u32,
    /// User name at the broker.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub username: Option<String>,
    /// File whose first line is the password.
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// Authority certificates (PEM) for mqtts://.
    #[arg(long, value_name = "PEM")]
    pub ca: Option<PathBuf>,
    /// Own certificate (PEM) for mqtts://.
    #[arg(long, value_name = "PEM", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// Key to the own certificate (PEM).
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Why `subscribe` ended badly.
#[derive(Debug, Error)]
pub enum SubscribeError {
    /// The broker's address is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The trust store cannot be read.
    #[error("cannot read the trust store {path}")]
    TrustFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The password cannot be read.
    #[error("cannot read the broker's password from {path}")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The trust store is wrong.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The consumer's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The first connection failed.
    #[error(transparent)]
    Broker(LinkError),
    /// The subscriber cannot go on.
    #[error(transparent)]
    Subscriber(#[from] SubscriberError),
    /// Output or runtime failed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// `--strict`.
    #[error("{refused} messages did not verify and {forks} forked a device's history")]
    NotVerified {
        /// Messages refused.
        refused: u64,
        /// Messages of forked histories.
        forks: u64,
    },
    /// `--count` was not reached in time.
    #[error("{seen} of {wanted} results within {seconds} s")]
    TooFew {
        /// Results that were not seen before.
        seen: u64,
        /// `--count`.
        wanted: u64,
        /// `--timeout`.
        seconds: u64,
    },
}

impl SubscribeError {
    /// The process exit code (DESIGN section 8).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) => exit::USAGE,
            Self::TrustFile { .. } | Self::Password { .. } => exit::NO_INPUT,
            Self::Trust(_) => exit::CONFIG,
            Self::Key(error) => exit::key_code(error),
            Self::Subscriber(SubscriberError::Forgetful) => exit::USAGE,
            Self::Broker(_) => exit::BROKER_UNAVAILABLE,
            Self::Subscriber(SubscriberError::SubscriptionRefused { .. }) => exit::PERMISSION,
            Self::Subscriber(SubscriberError::State(StateError::Io { .. })) | Self::Output(_) => {
                exit::IO
            }
            Self::Subscriber(SubscriberError::State(_)) => exit::INTERNAL,
            Self::NotVerified { .. } => exit::VERIFICATION_FAILED,
            Self::TooFew { .. } => exit::TEMPORARY,
        }
    }
}

/// Runs until the count, the time or the output ends.
pub fn run(args: &SubscribeArgs, out: &mut dyn Write) -> Result<(), SubscribeError> {
    let mut subscriber = Subscriber::new(settings(args)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut tally = Tally::default();
    runtime.block_on(async {
        let listening = listen(args, &mut subscriber, &mut tally, out);
        match args.timeout {
            None => listening.await,
            Some(seconds) => {
                let limit = Duration::from_secs(seconds);
                // Running out of time is judged below, by what was seen until then.
                tokio::time::timeout(limit, listening).await.unwrap_or(Ok(()))
            }
        }?;
        Ok::<_, SubscribeError>(subscriber.close().await?)
    })?;
    tally.judge(args)
}

fn settings(args: &SubscribeArgs) -> Result<SubscriberSettings, SubscribeError> {
    let url: BrokerUrl = args.broker.parse()?;
    let own_id = || format!("hcc-subscribe-{}", std::process::id());
    let identity = TlsIdentity::of(args.cert.clone(), args.key.clone());
    let tls = args.ca.clone().map(|ca| TlsFiles { ca, identity });
    Ok(SubscriberSettings {
        broker: BrokerSettings { tls, credentials: credentials(args)?, ..BrokerSettings::new(url) },
        client_id: args.client_id.as_ref().map_or_else(own_id, Slug::to_string),
        session_kept_for: Duration::from_secs(u64::from(args.session_hours) * 3600),
        site: args.site.clone(),
        device: args.device.clone(),
        state: args.state.clone(),
        trust: read_trust(&args.trust)?,
        consumer: args.consumer_key.as_deref().map(|key| consumer(args, key)).transpose()?,
    })
}

fn credentials(args: &SubscribeArgs) -> Result<Option<Credentials>, SubscribeError> {
    let Some((user, path)) = args.username.as_ref().zip(args.password_file.as_ref()) else {
        return Ok(None);
    };
    let read = Credentials::read(user, path);
    read.map(Some).map_err(|source| SubscribeError::Password { path: path.clone(), source })
}

fn consumer(args: &SubscribeArgs, key: &Path) -> Result<ConsumerSettings, KeyError> {
    let signer = Arc::new(keys::load_signer(key)?);
    Ok(ConsumerSettings { signer, from_start: args.from_start })
}

fn read_trust(path: &Path) -> Result<TrustStore, SubscribeError> {
    let failed = |source| SubscribeError::TrustFile { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_TRUST_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(TrustStore::parse(&text)?)
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Tally {
    fresh: u64,
    refused: u64,
    forks: u64,
    connected: bool,
}

impl Tally {
    fn judge(&self, args: &SubscribeArgs) -> Result<(), SubscribeError> {
        if args.strict && self.refused + self.forks > 0 {
            return Err(SubscribeError::NotVerified { refused: self.refused, forks: self.forks });
        }
        match (args.count, args.timeout) {
            (Some(wanted), Some(seconds)) if self.fresh < wanted => {
                Err(SubscribeError::TooFew { seen: self.fresh, wanted, seconds })
            }
            _ => Ok(()),
        }
    }
}

async fn listen(
    args: &SubscribeArgs,
    subscriber: &mut Subscriber,
    tally: &mut Tally,
    out: &mut dyn Write,
) -> Result<(), SubscribeError> {
    while args.count.is_none_or(|wanted| tally.fresh < wanted) {
        let seen = subscriber.next().await?;
        match &seen {
            Sighting::Connected => tally.connected = true,
            Sighting::Disconnected(_) if tally.connected => {}
            Sighting::Disconnected(_) => {
                let Sighting::Disconnected(error) = seen else { continue };
                return Err(SubscribeError::Broker(error));
            }
            Sighting::Result { observation, .. } => {
                tally.fresh += u64::from(observation.verdict.is_fresh());
            }
            Sighting::Alarm(..) => tally.forks += 1,
            Sighting::Refused { reason: Distrust::Forked { .. }, .. } => tally.forks += 1,
            Sighting::Refused { .. } => tally.refused += 1,
            Sighting::Status(_) | Sighting::Asked(..) | Sighting::Lost(..) => {}
        }
        let line =
            if args.json { sighting::json(&seen).to_string() } else { sighting::text(&seen) };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}
