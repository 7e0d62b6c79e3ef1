//! The result of one study: what the worker determines ([`Draft`]), what the daemon adds
//! ([`Stamp`]), and the message made of both ([`ResultMessage`]).

use serde::{Deserialize, Serialize};

use super::atoms::{BoundError, Digest, Id8, Id16, List, Slug, Text};
use super::codes::{ClockQuality, IntendedUse, Status};
use super::consistency::{Inconsistent, check_draft};
use super::parts::{
    Clinical, Engine, GateValue, Inputs, Lesions, ModelUse, Nomogram, Pmn, Recommendation, Timing,
};
use super::reason::Reason;
use super::{MAX_DRAFT, WIRE_VERSION};
use crate::seal::cbor::{self, CborError};

/// The payload of a `result` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultMessage {
    /// Format version.
    pub v: u64,
    /// Site of the device.
    pub site: Slug,
    /// Device; must be the one the signing key belongs to and the one in the topic.
    pub device: Slug,
    /// Epoch of the device's state directory.
    pub epoch: Id8,
    /// Contiguous from 1 per (device, epoch).
    pub seq: u64,
    /// SHA-256 of the previous complete signed message; zeros for `seq` 1.
    pub prev: Digest,
    /// Idempotency key (how it is made: [`crate::seal::digest`]).
    pub result_id: Id16,
    /// Time of signing, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
    /// How far that time can be trusted.
    pub clock_quality: ClockQuality,
    /// How the study ended.
    pub status: Status,
    /// Why there is no score, in the order found; empty exactly when the status is `ok`.
    pub reasons: List<Reason, 12>,
    /// What was received.
    pub input_digest: Inputs,
    /// Keyed pseudonym of the study's subject; null when none was supplied.
    pub subject: Option<Digest>,
    /// SHA-256 over the image files' bytes and `clinical.json`.
    pub study_digest: Digest,
    /// Packages used, in the order of use.
    pub models: List<ModelUse, 6>,
    /// Name, version and build of the software.
    pub software: Text<64>,
    /// What computed the result; null when nothing was computed.
    pub engine: Option<Engine>,
    /// `clinical` only when every package in use is.
    pub intended_use: IntendedUse,
    /// Risk score; null unless the status is `ok`.
    pub pmn: Option<Pmn>,
    /// Lesions; null when nothing was segmented.
    pub lesions: Option<Lesions>,
    /// Eligibility and liver function; null when the clinical layer did not run.
    pub clinical: Option<Clinical>,
    /// Nomograms; empty unless the status is `ok`.
    pub nomograms: List<Nomogram, 2>,
    /// Recommendation; `none` unless the status is `ok`.
    pub recommendation: Recommendation,
    /// What the gate measured.
    pub gate: List<GateValue, 48>,
    /// Durations in milliseconds.
    pub timings_ms: List<Timing, 10>,
    /// True when the result was made long after the study arrived (a backlog): show it, but never
    /// over a newer one.
    pub history: bool,
    /// The result this one replaces.
    pub supersedes: Option<Id16>,
}

impl ResultMessage {
    /// Puts a worker's draft and the daemon's stamp together.
    pub fn assemble(stamp: Stamp, draft: Draft) -> Self {
        let intended_use = intended_use(&draft.models);
        Self {
            v: WIRE_VERSION,
            site: stamp.site,
            device: stamp.device,
            epoch: stamp.epoch,
            seq: stamp.seq,
            prev: stamp.prev,
            result_id: stamp.result_id,
            signed_at_ms: stamp.signed_at_ms,
            clock_quality: stamp.clock_quality,
            status: draft.status,
            reasons: draft.reasons,
            input_digest: stamp.input_digest,
            subject: stamp.subject,
            study_digest: stamp.study_digest,
            models: draft.models,
            software: stamp.software,
            engine: draft.engine,
            intended_use,
            pmn: draft.pmn,
            lesions: draft.lesions,
            clinical: draft.clinical,
            nomograms: draft.nomograms,
            recommendation: draft.recommendation,
            gate: draft.gate,
            timings_ms: draft.timings_ms,
            history: stamp.history,
            supersedes: stamp.supersedes,
        }
    }
}

/// Clinical use needs at least one package and every package released for it.
pub fn intended_use(models: &[ModelUse]) -> IntendedUse {
    let released = |model: &ModelUse| model.intended_use == IntendedUse::Clinical;
    if !models.is_empty() && models.iter().all(released) {
        IntendedUse::Clinical
    } else {
        IntendedUse::Demonstration
    }
}

/// What the daemon knows of a result: identity, order, time and input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Site of the device.
    pub site: Slug,
    /// The device.
    pub device: Slug,
    /// Epoch of the state directory.
    pub epoch: Id8,
    /// Next number of the journal.
    pub seq: u64,
    /// SHA-256 of the previous signed message; zeros for `seq` 1.
    pub prev: Digest,
    /// Idempotency key.
    pub result_id: Id16,
    /// Milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
    /// How far that time can be trusted.
    pub clock_quality: ClockQuality,
    /// What was received.
    pub input_digest: Inputs,
    /// Keyed pseudonym of the subject.
    pub subject: Option<Digest>,
    /// Digest of the study.
    pub study_digest: Digest,
    /// Name, version and build of the software.
    pub software: Text<64>,
    /// Made long after the study arrived.
    pub history: bool,
    /// The result this one replaces.
    pub supersedes: Option<Id16>,
}

/// Everything the analysis determines; crosses the worker's pipe as packed CBOR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// How the study ended.
    pub status: Status,
    /// Why there is no score.
    pub reasons: List<Reason, 12>,
    /// Packages used.
    pub models: List<ModelUse, 6>,
    /// What computed it.
    pub engine: Option<Engine>,
    /// Risk score.
    pub pmn: Option<Pmn>,
    /// Lesions.
    pub lesions: Option<Lesions>,
    /// Eligibility and liver function.
    pub clinical: Option<Clinical>,
    /// Nomograms.
    pub nomograms: List<Nomogram, 2>,
    /// Recommendation.
    pub recommendation: Recommendation,
    /// What the gate measured.
    pub gate: List<GateValue, 48>,
    /// Durations.
    pub timings_ms: List<Timing, 10>,
}

impl Draft {
    /// A draft without any finding: what the daemon says of a study whose worker could not.
    pub fn refused(status: Status, reasons: Vec<Reason>) -> Result<Self, BoundError> {
        Ok(Self {
            status,
            reasons: List::new(reasons)?,
            models: List::empty(),
            engine: None,
            pmn: None,
            lesions: None,
            clinical: None,
            nomograms: List::empty(),
            recommendation: Recommendation::NONE,
            gate: List::empty(),
            timings_ms: List::empty(),
        })
    }

    /// Packed CBOR, at most [`MAX_DRAFT`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, CborError> {
        cbor::encode(self, MAX_DRAFT)
    }

    /// Strict decoding and the same rules a verifier applies: what passes here can be signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DraftError> {
        let draft: Self = cbor::decode(bytes, MAX_DRAFT)?;
        check_draft(&draft)?;
        Ok(draft)
    }
}

/// Why a worker's bytes are not a draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Not the strict encoding of a draft.
    #[error("the worker's draft cannot be decoded")]
    Cbor(#[from] CborError),
    /// Breaks a rule every result keeps.
    #[error("the worker's draft contradicts itself")]
    Inconsistent(#[from] Inconsistent),
}
