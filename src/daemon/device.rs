//! This box: its configuration, folders, keys and names, opened once and shared by every thread.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use ring::hmac;
use thiserror::Error;

use crate::analysis::engine::int8::compute::MAX_THREADS;
use crate::config::{Config, Effective, EngineIsa, Mode};
use crate::host::files::StateDir;
use crate::host::keys::{self, KeyError};
use crate::host::worker::{Limits, Setup};
use crate::seal::cose::{Ed25519Signer, Signer, sha256};
use crate::seal::trust::TrustStore;
use crate::seal::verify::{Address, PackageMode};
use crate::seal::wire::{BoundError, Digest, Slug, Text};
use crate::units::Bytes;

/// Name and version of this software.
pub const SOFTWARE: &str = concat!("hcc-edge ", env!("CARGO_PKG_VERSION"));

/// All artefacts of one study: two masks and two pictures of the largest scan, and its DICOM objects
/// with a segmentation of the longest kind, come to less.
const MOST_ARTEFACTS: Bytes = Bytes::mib(1024);

/// Why the box cannot start.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The folders of the state directory cannot be made.
    #[error("cannot make the state directory {path}", path = .path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No usable key or trust store.
    #[error("the device has no usable keys")]
    Keys(#[from] KeyError),
    /// A name that the wire does not take; the configuration's rules are the same.
    #[error("site or device cannot be sent")]
    Name(#[from] BoundError),
    /// The path of the running program is not known.
    #[error("cannot find the program's own file to start workers from")]
    Program(#[source] io::Error),
}

/// The box as every thread sees it.
#[derive(Debug)]
pub struct Device {
    /// What the site configured.
    pub config: Config,
    /// Digest of the settings that shape a result.
    pub settings_digest: Digest,
    /// The folders.
    pub state: StateDir,
    /// Site and device.
    pub address: Address,
    /// Signs results and statuses.
    pub signer: Arc<Ed25519Signer>,
    /// Whose acknowledgements and packages count.
    pub trust: TrustStore,
    /// The keys that may have signed this box's journal.
    pub journal_keys: TrustStore,
    /// Makes pseudonyms.
    subjects: hmac::Key,
    /// Started once more for each study.
    pub program: PathBuf,
}

impl Device {
    /// Makes the folders that are missing and reads the keys, which must be there.
    pub fn open(effective: &Effective) -> Result<Self, DeviceError> {
        let config = effective.config.clone();
        let state = StateDir::create(&config.state_dir)
            .map_err(|source| DeviceError::StateDir { path: config.state_dir.clone(), source })?;
        let signer = Arc::new(keys::load(&state.keys())?);
        let trust = keys::load_trust(&state.keys().join(keys::TRUST_STORE))?.unwrap_or_default();
        let journal_keys = trust.of_one_device(signer.public_key());
        let subjects = hmac::Key::new(hmac::HMAC_SHA256, &keys::site_key(&state.keys())?);
        let address = Address {
            site: Slug::new(config.site.as_str())?,
            device: Slug::new(config.device.as_str())?,
        };
        let settings_digest = sha256(effective.result_settings().as_bytes());
        let program = std::env::current_exe().map_err(DeviceError::Program)?;
        Ok(Self {
            config,
            settings_digest,
            state,
            address,
            signer,
            trust,
            journal_keys,
            subjects,
            program,
        })
    }

    /// Name and version of this software, as messages carry it.
    pub fn software() -> Text<64> {
        Text::shortened(SOFTWARE)
    }

    /// The keyed pseudonym of a subject: HMAC-SHA-256 with the site key.
    pub fn pseudonym(&self, subject: &str) -> Digest {
        let tag = hmac::sign(&self.subjects, subject.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest::from(bytes)
    }

    /// Which packages are accepted.
    pub fn package_mode(&self) -> PackageMode {
        package_mode(self.config.mode)
    }

    /// How every worker is started and bounded.
    pub fn worker_setup(&self) -> Setup<'_> {
        let (limits, sandbox) = (self.worker_limits(), self.config.sandbox);
        Setup { program: &self.program, limits, sandbox }
    }

    fn worker_limits(&self) -> Limits {
        let cores = available_parallelism().map_or(1, usize::from);
        let threads = self.config.engine.threads.unwrap_or(cores).min(MAX_THREADS);
        Limits {
            memory: self.config.limits.worker_memory,
            time: Duration::from_millis(self.config.limits.worker_time.0),
            threads: threads as u32,
            isa: self.config.engine.isa.map(EngineIsa::name),
            artefact_bytes: MOST_ARTEFACTS,
        }
    }
}

/// Which packages a device in this mode accepts.
pub fn package_mode(mode: Mode) -> PackageMode {
    match mode {
        Mode::Demonstration => PackageMode::Demonstration,
        Mode::Clinical => PackageMode::Clinical,
    }
}
