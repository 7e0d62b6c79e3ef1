//! The chain's state as bytes, for a file of the subscriber's, and back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::history::History;
use super::presence::Presence;
use super::{Chain, Device, MAX_DEVICES, MAX_EPOCHS, MAX_RETIRED, MAX_SNAPSHOT, Source};
use crate::seal::cbor::{self, CborError};
use crate::seal::wire::{Id8, List, Slug};

const SNAPSHOT_VERSION: u64 = 3;

/// Why a snapshot is refused. Starting anew would hide a gap or a fork, so that is left to a person.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Not the strict encoding of a snapshot.
    #[error("the subscriber's state cannot be decoded")]
    Cbor(#[from] CborError),
    /// Written by another version.
    #[error("the subscriber's state has version {found}, expected {SNAPSHOT_VERSION}")]
    Version {
        /// Version found.
        found: u64,
    },
    /// Cannot have been written by us.
    #[error("the subscriber's state contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl Chain {
    /// The state as bytes, for a file of the subscriber's.
    pub fn snapshot(&self) -> Result<Vec<u8>, CborError> {
        let devices = self.devices.iter().map(|(source, device)| RawDevice::of(source, device));
        cbor::encode(&RawChain { v: SNAPSHOT_VERSION, devices: devices.collect() }, MAX_SNAPSHOT)
    }

    /// The state a snapshot holds.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let raw: RawChain = cbor::decode(bytes, MAX_SNAPSHOT)?;
        if raw.v != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { found: raw.v });
        }
        let mut chain = Self::default();
        for device in raw.devices {
            let source = (device.site.clone(), device.device.clone());
            if chain.devices.insert(source, device.checked()?).is_some() {
                return Err(SnapshotError::Contradiction("a device twice"));
            }
        }
        if chain.devices.len() > MAX_DEVICES {
            return Err(SnapshotError::Contradiction("too many devices"));
        }
        Ok(chain)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChain {
    v: u64,
    devices: Vec<RawDevice>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    site: Slug,
    device: Slug,
    epochs: List<History, MAX_EPOCHS>,
    retired: List<Id8, MAX_RETIRED>,
    presence: Option<Presence>,
}

impl RawDevice {
    fn of((site, device): &Source, state: &Device) -> Self {
        let mut raw = Self {
            site: site.clone(),
            device: device.clone(),
            epochs: List::empty(),
            retired: List::empty(),
            presence: state.presence,
        };
        for history in state.epochs.iter().take(MAX_EPOCHS) {
            let _within_bounds = raw.epochs.push(history.clone());
        }
        for epoch in state.retired.iter().take(MAX_RETIRED) {
            let _within_bounds = raw.retired.push(*epoch);
        }
        raw
    }

    fn checked(self) -> Result<Device, SnapshotError> {
        let mut seen = BTreeSet::new();
        let ids = self.epochs.iter().map(|history| history.epoch);
        if !ids.chain(self.retired.iter().copied()).all(|epoch| seen.insert(epoch)) {
            return Err(SnapshotError::Contradiction("an epoch twice"));
        }
        let epochs: Result<_, _> = self.epochs.iter().cloned().map(History::checked).collect();
        let retired = self.retired.iter().copied().collect();
        Ok(Device { epochs: epochs?, retired, presence: self.presence })
    }
}
