//! Deletes the input of studies that were finished long ago; results stay.

use std::fs;
use std::io;

use super::device::Device;
use super::release;
use crate::host::inbox::INPUT;
use crate::host::journal::{JobId, Journal};

/// Removes every `input/` older than the configured retention; returns how many.
pub fn sweep(device: &Device, journal: &Journal, now_ms: u64) -> usize {
    let oldest_kept = now_ms.saturating_sub(device.config.inbox.retention.0);
    let expired: Vec<(JobId, bool)> = {
        let ledger = journal.ledger();
        let old = ledger.results().filter(|(_, entry)| entry.time_ms < oldest_kept);
        old.map(|(_, entry)| (entry.job, entry.failed)).collect()
    };
    let remove = |(job, failed): &(JobId, bool)| {
        let input = release::place(&device.state, *job, *failed).join(INPUT);
        match fs::remove_dir_all(&input) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                log::warn!("cannot delete {}: {error}", input.display());
                false
            }
        }
    };
    expired.iter().filter(|study| remove(study)).count()
}
