//! What the device says of itself: the signed status and its will, and the birth certificate.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::device::{Device, SOFTWARE};
use super::sealing::clock_quality;
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::fail_point::reach;
use crate::host::files::{StateDir, write_durably};
use crate::host::journal::Journal;
use crate::host::mqtt::messages::{Presence, StatusSigner};
use crate::host::worker::SelfTest;
use crate::seal::cose::{Signer, key_id};
use crate::seal::sign::sign;
use crate::seal::view::VIEW_SCHEMA;
use crate::seal::wire::{DeviceState, Digest, Id8, ModelUse, Sandbox, StatusMessage, WIRE_VERSION};

/// Holds the number of the last start.
const BOOT: &str = "boot";

/// Whether a daemon has been started on this state directory before.
pub fn has_run_before(state: &StateDir) -> bool {
    state.root().join(BOOT).exists()
}

/// Counts this start of the daemon, durably; the first is 1.
pub fn next_boot(state: &StateDir) -> io::Result<u64> {
    let path = state.root().join(BOOT);
    let last = match std::fs::read_to_string(&path) {
        // A number that goes back would make control rooms take this boot for an old one.
        Ok(text) => text.trim().parse::<u64>().map_err(|_| {
            let why = format!("{} holds no number: write the last boot's into it", path.display());
            io::Error::other(why)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let boot = last + 1;
    write_durably(&path, format!("{boot}\n").as_bytes(), 0o600)?;
    reach("boot.counted");
    Ok(boot)
}

/// Signs statuses of one boot; the will is number 0, the others count from 1.
pub fn signer(
    device: Arc<Device>,
    journal: Arc<Journal>,
    boot: u64,
    sandbox: Sandbox,
) -> StatusSigner {
    let beat = AtomicU64::new(0);
    Arc::new(move |presence| {
        let (state, beat) = match presence {
            Presence::Offline => (DeviceState::Offline, 0),
            Presence::Online => (DeviceState::Online, beat.fetch_add(1, Ordering::Relaxed) + 1),
            Presence::Stopped => (DeviceState::Stopped, beat.fetch_add(1, Ordering::Relaxed) + 1),
        };
        let (last_seq, last_hash, backlog) = {
            let ledger = journal.ledger();
            (ledger.last_seq(), ledger.last_hash(), ledger.backlog())
        };
        let message = StatusMessage {
            v: WIRE_VERSION,
            site: device.address.site.clone(),
            device: device.address.device.clone(),
            epoch: Id8::from(journal.epoch()),
            boot,
            beat,
            signed_at_ms: clock::now_ms(),
            clock_quality: clock_quality(),
            state,
            last_seq,
            last_digest: Digest::from(last_hash),
            backlog: backlog as u64,
            sandbox: sandbox.clone(),
            software: Device::software(),
        };
        sign(&message, device.signer.as_ref()).unwrap_or_else(|error| {
            // An empty status verifies nowhere: the device then looks offline, which is the truth.
            log::error!("the status cannot be signed: {}", one_line(&error));
            Vec::new()
        })
    })
}

/// The birth certificate, unsigned JSON.
pub fn info(device: &Device, journal: &Journal, models: &[ModelUse], test: &SelfTest) -> Value {
    json!({
        "schema": 1,
        "signed": false,
        "software": SOFTWARE,
        "site": device.address.site,
        "device": device.address.device,
        "kid": key_id(&device.signer.public_key()),
        "epoch": Id8::from(journal.epoch()),
        "wire_version": WIRE_VERSION,
        "view_schema": VIEW_SCHEMA,
        "mode": format!("{:?}", device.config.mode).to_lowercase(),
        "engine": {
            "backend": test.report.backend,
            "precision": test.report.precision,
            "device": test.report.device,
        },
        "models": models,
    })
}
