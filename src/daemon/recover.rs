//! After a start: what the last run left, put in order. The journal is right; folders follow.

use std::sync::Arc;

use super::device::Device;
use super::notice::ThreadError;
use super::release::{self, Run};
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::fail_point::reach;
use crate::host::inbox::{self, Claim};
use crate::host::journal::{JobId, Journal, Record, SealError};

/// Puts folders and journal in agreement; returns the open studies, oldest first.
pub fn recover(device: &Device, journal: &Journal) -> Result<Vec<JobId>, ThreadError> {
    adopt(device, journal)?;
    rebuild(device, journal)?;
    let ledger = journal.ledger();
    let mut open: Vec<(u64, JobId)> =
        ledger.open().iter().map(|(job, state)| (state.arrived_ms, *job)).collect();
    open.sort_unstable();
    Ok(open.into_iter().map(|(_, job)| job).collect())
}

/// Studies that were moved out of the inbox just before the journal could say so.
fn adopt(device: &Device, journal: &Journal) -> Result<(), ThreadError> {
    for job in inbox::recover(&device.state)? {
        let is_known = journal.ledger().open().contains_key(&job);
        if is_known {
            continue;
        }
        let claim = Claim::load(&device.state, job);
        let arrived_ms = claim.map_or_else(|_| clock::steady_ms(), |claim| claim.arrived_ms);
        log::info!("job {job}: found in work/ without a claim, taken up");
        journal.append(vec![Record::Claim { job, arrived_ms }])?;
        reach("recover.adopted");
    }
    Ok(())
}

/// Results whose folder is gone are written again, from the journal.
fn rebuild(device: &Device, journal: &Journal) -> Result<(), ThreadError> {
    let results: Vec<(u64, JobId, bool)> = {
        let ledger = journal.ledger();
        let closed = ledger.results().filter(|(_, entry)| !ledger.open().contains_key(&entry.job));
        closed.map(|(seq, entry)| (seq, entry.job, entry.failed)).collect()
    };
    for (seq, job, failed) in results {
        let place = release::place(&device.state, job, failed);
        if place.join(release::RESULT).exists() {
            continue;
        }
        let cose = journal.message(seq).map_err(|e| SealError::Journal(Arc::new(e)))?;
        let Some(cose) = cose else { continue };
        match release::release(&device.state, job, &cose, &Run::default()) {
            Ok(place) => {
                log::info!("job {job}: result written again to {}", place.display());
                reach("recover.rebuilt");
            }
            Err(error) if error.is_sync_failure() => return Err(error.into()),
            Err(error) => log::error!("job {job}: {}", one_line(&error)),
        }
    }
    Ok(())
}
