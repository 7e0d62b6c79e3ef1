//! Takes a study from the inbox by renaming its folder, so that it is in exactly one place at
//! every moment, also across a power cut.
//!
//! ```text
//! mkdir work/<job> ─▶ claim.json, fsync ─▶ rename inbox/<name> → work/<job>/input, fsync
//! └──────── nothing was taken: recover() removes it ────────┘ └─ claimed: recover() lists it
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::content::{self, Bounds};
use super::scan::Ready;
use crate::host::fail_point::reach;
use crate::host::files::{
    StateDir, create_private_folder, is_sync_failure, rename_durably, sync_folder, write_durably,
};
use crate::host::journal::JobId;
use crate::seal::wire::CompletionRule;

/// The claimed folder inside `work/<job>/`.
pub const INPUT: &str = "input";
/// What is known of the claim, inside `work/<job>/`.
pub const CLAIM_FILE: &str = "claim.json";
/// The version of [`CLAIM_FILE`].
const SCHEMA: u64 = 1;
/// The longest [`CLAIM_FILE`], in bytes: a name of 255 bytes, each escaped, and the rest.
const MAX_CLAIM_BYTES: u64 = 8 * 1024;

/// A study that was taken from the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name from now on.
    pub job: JobId,
    /// The dropped folder's name, which may be a patient's: for local files only.
    pub study: String,
    /// Why it was taken.
    pub rule: CompletionRule,
    /// When it was first seen, Unix milliseconds.
    pub arrived_ms: u64,
}

/// A claim that was not made, or cannot be read back.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// A rename cannot cross file systems, and a copy could be cut short.
    #[error("{inbox} and {work} are on different file systems: a study is claimed by renaming it, so put the whole state folder on one", inbox = .inbox.display(), work = .work.display())]
    OtherFileSystem {
        /// The inbox.
        inbox: PathBuf,
        /// Where the study should go.
        work: PathBuf,
    },
    /// The scanner side owns the folder and keeps us out.
    #[error("a study in {inbox} cannot be moved: its folder must be writable for this user (for example chmod g+w and a common group)", inbox = .inbox.display())]
    Denied {
        /// The inbox.
        inbox: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The job's folder exists.
    #[error("{folder} exists already: a job id must be new", folder = .0.display())]
    Taken(PathBuf),
    /// The file system refused.
    #[error("{doing} {path}", path = .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `claim.json` is not what [`claim`] writes.
    #[error("{path} cannot be used: {problem}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ClaimError {
    /// Whether the disk did not confirm what was written: nothing may be tried again then.
    pub fn is_sync_failure(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_sync_failure(source),
            Self::OtherFileSystem { .. }
            | Self::Denied { .. }
            | Self::Taken(_)
            | Self::Damaged { .. } => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaim {
    schema: u64,
    study: String,
    rule: String,
    arrived_ms: u64,
}

impl Claim {
    /// Whether the study was never complete; it fails as incomplete or empty.
    pub fn overdue(&self) -> bool {
        self.rule == CompletionRule::Deadline
    }

    /// Reads the claim of a job in `work/`.
    pub fn load(state: &StateDir, job: JobId) -> Result<Self, ClaimError> {
        let path = job_folder(state, job).join(CLAIM_FILE);
        let damaged = |problem: String| ClaimError::Damaged { path: path.clone(), problem };
        let bounds = Bounds { longest: MAX_CLAIM_BYTES, keep: MAX_CLAIM_BYTES };
        let content = content::read(&path, bounds).map_err(|error| damaged(error.to_string()))?;
        let bytes = content.kept.unwrap_or_default();
        let raw: RawClaim =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if raw.schema != SCHEMA {
            return Err(damaged(format!("schema is {}, expected {SCHEMA}", raw.schema)));
        }
        let rule = CompletionRule::ALL.iter().find(|rule| rule.name() == raw.rule);
        let rule = *rule.ok_or_else(|| damaged(format!("unknown rule {:?}", raw.rule)))?;
        Ok(Self { job, study: raw.study, rule, arrived_ms: raw.arrived_ms })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let raw = RawClaim {
            schema: SCHEMA,
            study: self.study.clone(),
            rule: self.rule.name().to_owned(),
            arrived_ms: self.arrived_ms,
        };
        write_durably(path, &serde_json::to_vec(&raw)?, 0o600)
    }
}

/// Claims a study: after it returns, the folder is `work/<job>/input` and will stay so through a
/// power cut. `None` when the folder vanished meanwhile; nothing is left of the attempt then.
///
/// # Errors
/// The study is still in the inbox, unless only the last fsync failed: then it is in `work/`, and
/// [`recover`] finds it there.
pub fn claim(state: &StateDir, ready: &Ready, job: JobId) -> Result<Option<Claim>, ClaimError> {
    let study = ready.name.to_string_lossy().into_owned();
    let claim = Claim { job, study, rule: ready.rule, arrived_ms: ready.arrived_ms };
    take(state, &state.inbox().join(&ready.name), claim)
}

/// [`claim`] of a folder on the state directory's file system that a scan does not see.
pub fn take(state: &StateDir, from: &Path, claim: Claim) -> Result<Option<Claim>, ClaimError> {
    let folder = job_folder(state, claim.job);
    if folder.symlink_metadata().is_ok() {
        return Err(ClaimError::Taken(folder));
    }
    prepare(state, &folder, &claim)
        .map_err(|source| io_error("cannot prepare the claim in", &folder, source))?;
    reach("claim.prepared");
    let taken = rename_durably(from, &folder.join(INPUT));
    reach("claim.moved");
    let Err(source) = taken else { return Ok(Some(claim)) };
    if !is_there(&folder.join(INPUT)) {
        remove_attempt(&folder).map_err(|error| io_error("cannot remove", &folder, error))?;
    }
    match source.kind() {
        io::ErrorKind::NotFound => Ok(None),
        io::ErrorKind::CrossesDevices => {
            Err(ClaimError::OtherFileSystem { inbox: state.inbox(), work: state.work() })
        }
        io::ErrorKind::PermissionDenied => Err(ClaimError::Denied { inbox: state.inbox(), source }),
        _ => Err(io_error("cannot move a study into", &folder, source)),
    }
}

/// Whether a job's study is in `work/`, whatever [`claim`] answered.
pub fn is_taken(state: &StateDir, job: JobId) -> bool {
    is_there(&job_folder(state, job).join(INPUT))
}

/// Jobs in `work/` whose study was taken, in the order of their ids. Claims that were cut short
/// before they took anything are removed; what is not ours is left alone and logged.
pub fn recover(state: &StateDir) -> Result<Vec<JobId>, ClaimError> {
    let work = state.work();
    let cannot_list = |source| io_error("cannot list", &work, source);
    let mut jobs = Vec::new();
    for entry in fs::read_dir(&work).map_err(cannot_list)? {
        let name: OsString = entry.map_err(cannot_list)?.file_name();
        let Some(job) = name.to_str().and_then(JobId::parse) else {
            log::warn!("{} is no job and is left alone", work.join(&name).display());
            continue;
        };
        let folder = job_folder(state, job);
        if is_there(&folder.join(INPUT)) {
            jobs.push(job);
        } else if let Err(error) = remove_attempt(&folder) {
            log::warn!("{} has no input and is left alone: {error}", folder.display());
        }
    }
    jobs.sort_unstable();
    Ok(jobs)
}

fn job_folder(state: &StateDir, job: JobId) -> PathBuf {
    state.work().join(job.to_string())
}

fn prepare(state: &StateDir, folder: &Path, claim: &Claim) -> io::Result<()> {
    create_private_folder(folder)?;
    claim.write(&folder.join(CLAIM_FILE))?;
    sync_folder(&state.work())
}

/// Removes what [`claim`] writes before it takes the study; a folder that holds more is left whole.
fn remove_attempt(folder: &Path) -> io::Result<()> {
    let names: Result<Vec<_>, _> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names?;
    // `write_durably` makes `.claim.json.<something>.tmp` first.
    let unfinished = format!(".{CLAIM_FILE}.");
    let ours = |name: &str| {
        name == CLAIM_FILE || (name.starts_with(&unfinished) && name.ends_with(".tmp"))
    };
    if !names.iter().all(|name| name.to_str().is_some_and(ours)) {
        return Err(io::Error::other("it holds more than a claim"));
    }
    names.iter().try_for_each(|name| fs::remove_file(folder.join(name)))?;
    fs::remove_dir(folder)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> ClaimError {
    ClaimError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
