//! From a draft to a signed record: the stamp that only the daemon knows, the message, the seal.

use std::sync::Arc;

use super::device::Device;
use super::notice::ThreadError;
use crate::host::clock::{self, Quality};
use crate::host::errors::one_line;
use crate::host::journal::{JobId, Journal, SealContext, SealError};
use crate::seal::sign::sign;
use crate::seal::wire::{
    ClockQuality, CompletionRule, Digest, Draft, Id8, Id16, Inputs, List, Reason, ReasonCode,
    ResultMessage, Stamp, Status,
};

/// A result made this long after the study arrived is history: shown, but never over a newer one.
const HISTORY_AFTER_MS: u64 = 6 * 3_600_000;

/// What is known of a study apart from its analysis.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The idempotency key.
    pub result_id: Id16,
    /// What was received.
    pub inputs: Inputs,
    /// Digest of the study.
    pub study_digest: Digest,
    /// Keyed pseudonym.
    pub subject: Option<Digest>,
    /// When it was first seen, Unix milliseconds.
    pub arrived_ms: u64,
}

impl Identity {
    /// Before the inspection: nothing received.
    pub fn unknown(arrived_ms: u64) -> Self {
        Self {
            result_id: Id16::ZERO,
            inputs: Inputs { rule: CompletionRule::Deadline, series: List::empty() },
            study_digest: Digest::ZERO,
            subject: None,
            arrived_ms,
        }
    }
}

/// Numbers, signs and writes the result of one study; durable when its number is returned. A draft
/// that cannot be signed is replaced by a `failed: internal`, so that the study still gets a result.
pub fn seal(
    device: &Arc<Device>,
    journal: &Journal,
    job: JobId,
    identity: &Identity,
    draft: Draft,
) -> Result<u64, ThreadError> {
    let order = |draft: Draft| {
        let failed = draft.status == Status::Failed;
        let (device, identity) = (device.clone(), identity.clone());
        let result_id = identity.result_id.0;
        let build = move |context| build(&device, identity, draft, context);
        journal.seal(job, result_id, failed, Box::new(build))
    };
    match order(draft) {
        Err(SealError::Build(why)) => {
            log::error!("job {job}: {why}");
            let reason = Reason::bare(ReasonCode::Internal);
            Ok(order(Draft::refused(Status::Failed, vec![reason])?)?)
        }
        other => Ok(other?),
    }
}

/// Runs on the journal's thread, which gives the message its place.
fn build(
    device: &Device,
    identity: Identity,
    draft: Draft,
    context: SealContext,
) -> Result<Vec<u8>, String> {
    let signed_at_ms = clock::now_ms();
    let stamp = Stamp {
        site: device.address.site.clone(),
        device: device.address.device.clone(),
        epoch: Id8::from(context.epoch),
        seq: context.seq,
        prev: Digest::from(context.prev),
        result_id: identity.result_id,
        signed_at_ms,
        clock_quality: clock_quality(),
        input_digest: identity.inputs,
        subject: identity.subject,
        study_digest: identity.study_digest,
        software: Device::software(),
        history: signed_at_ms.saturating_sub(identity.arrived_ms) > HISTORY_AFTER_MS,
        supersedes: None,
    };
    let message = ResultMessage::assemble(stamp, draft);
    sign(&message, device.signer.as_ref()).map_err(|error| one_line(&error))
}

/// How far the wall clock can be trusted, in the wire's words.
pub fn clock_quality() -> ClockQuality {
    match clock::quality() {
        Quality::Unknown => ClockQuality::Unknown,
        Quality::Rtc => ClockQuality::Rtc,
        Quality::Ntp => ClockQuality::Ntp,
    }
}
