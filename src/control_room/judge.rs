//! Whether to believe a message: the topic, then every step of the verifier.

use rumqttc::v5::mqttbytes::v5::Publish;
use thiserror::Error;

use crate::host::mqtt::topic::{self, Kind};
use crate::seal::trust::TrustStore;
use crate::seal::verify::{Refusal, Verified, verify};
use crate::seal::wire::{ResultMessage, StatusMessage};

/// Why a message is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// It fails a step of the verifier.
    #[error("it does not verify")]
    Refusal(#[from] Refusal),
    /// Results are never retained: somebody else keeps an old one in front of new readers.
    #[error("it is a retained result, which no device publishes")]
    Retained,
    /// The device has said something newer since: somebody repeats an old status.
    #[error("it is older than what the device said of itself before")]
    Stale,
    /// Not a topic of this product.
    #[error("the topic is not one a device publishes on")]
    Topic,
    /// It verifies, and its device has signed two histories.
    #[error("the device's history forked at {seq}: nothing of this epoch is believed any more")]
    Forked {
        /// Where.
        seq: u64,
    },
}

/// A message to be believed, so far as one message can tell.
pub(super) enum Judged {
    Result(Box<Verified<ResultMessage>>),
    Status(Box<Verified<StatusMessage>>),
}

/// Judges one message by itself.
pub(super) fn judge(publish: &Publish, trust: &TrustStore) -> Result<Judged, Distrust> {
    let text = std::str::from_utf8(&publish.topic).map_err(|_| Distrust::Topic)?;
    let (address, kind) = topic::parse(text).ok_or(Distrust::Topic)?;
    let bytes = &publish.payload;
    match kind {
        Kind::Result if publish.retain => Err(Distrust::Retained),
        Kind::Result => Ok(Judged::Result(Box::new(verify(bytes, trust, Some(&address))?))),
        Kind::Status => Ok(Judged::Status(Box::new(verify(bytes, trust, Some(&address))?))),
        Kind::Info
        | Kind::View
        | Kind::Job
        | Kind::Telemetry
        | Kind::Alarm(_)
        | Kind::Command(_)
        | Kind::Reply
        | Kind::Ack => Err(Distrust::Topic),
    }
}
