//! From a draft to a signed record: the stamp that only the daemon knows, the message, the seal; and
//! the signature under the journal itself.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::device::Device;
use super::notice::ThreadError;
use super::presence::has_run_before;
use crate::host::clock::{self, EARLIEST_MS, Quality};
use crate::host::errors::one_line;
use crate::host::journal::{
    Damage, JobId, Journal, JournalError, JournalHead, SealContext, SealError, Store,
};
use crate::host::keys::{KeyError, random};
use crate::seal::sign::sign;
use crate::seal::wire::{
    CheckpointMessage, ClockQuality, CompletionRule, Digest, Draft, Id8, Id16, Inputs, List,
    Reason, ReasonCode, ResultMessage, Stamp, Status, WIRE_VERSION,
};

/// A result made this long after the study arrived is history: shown, but never over a newer one.
const HISTORY_AFTER_MS: u64 = 6 * 3_600_000;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be opened.
    #[error("cannot open the journal")]
    Journal(#[from] JournalError),
    /// The device has run before, and nothing of its journal is there.
    #[error(
        "the journal in {} is gone, and with it what was not delivered yet; bring it back, or begin a \
         new one with `hcc-edge journal accept-damage`", .0.display()
    )]
    Missing(PathBuf),
    /// No random numbers.
    #[error("cannot name the epoch")]
    Random(#[from] KeyError),
}

/// Opens the device's journal and starts its thread.
pub fn open_journal(device: &Arc<Device>) -> Result<Arc<Journal>, OpenError> {
    let mut epoch = [0; 8];
    random(&mut epoch)?;
    let folder = device.state.journal();
    let (store, ledger) = Store::open(&folder, &device.journal_keys, epoch, Damage::Refuse)?;
    if store.epoch() == epoch && has_run_before(&device.state) {
        store.discard()?;
        return Err(OpenError::Missing(folder));
    }
    let witness = {
        let device = device.clone();
        move |head| checkpoint(&device, head)
    };
    Ok(Arc::new(Journal::start(store, ledger, clock::now_ms, Box::new(witness))))
}

/// Signs what the journal holds. Runs on its thread.
fn checkpoint(device: &Device, head: JournalHead) -> Result<Vec<u8>, String> {
    let message = CheckpointMessage {
        v: WIRE_VERSION,
        site: device.address.site.clone(),
        device: device.address.device.clone(),
        epoch: Id8::from(head.epoch),
        lsn: head.lsn,
        chain: Digest::from(head.chain),
        last_seq: head.last_seq,
        last_digest: Digest::from(head.last_hash),
        signed_at_ms: clock::now_ms(),
        clock_quality: clock_quality(),
    };
    sign(&message, device.signer.as_ref()).map_err(|error| one_line(&error))
}

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
        history: is_history(identity.arrived_ms, clock::steady_ms()),
        supersedes: None,
    };
    let message = ResultMessage::assemble(stamp, draft);
    sign(&message, device.signer.as_ref()).map_err(|error| one_line(&error))
}

/// Whether a result comes so long after its study that it must not be shown over a newer one. Nobody
/// knows that of a study that an unset clock has dated.
fn is_history(arrived_ms: u64, now_ms: u64) -> bool {
    arrived_ms >= EARLIEST_MS && now_ms.saturating_sub(arrived_ms) > HISTORY_AFTER_MS
}

/// How far the wall clock can be trusted, in the wire's words.
pub fn clock_quality() -> ClockQuality {
    match clock::quality() {
        Quality::Unknown => ClockQuality::Unknown,
        Quality::Rtc => ClockQuality::Rtc,
        Quality::Ntp => ClockQuality::Ntp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_result_is_history_unless_nobody_knows_when_its_study_came() {
        let arrived = EARLIEST_MS;
        assert!(!is_history(arrived, arrived + HISTORY_AFTER_MS));
        assert!(is_history(arrived, arrived + HISTORY_AFTER_MS + 1));
        assert!(
            !is_history(arrived - 1, arrived + 2 * HISTORY_AFTER_MS),
            "dated by an unset clock"
        );
        assert!(!is_history(arrived, 0), "the clock went back between two runs");
    }
}
