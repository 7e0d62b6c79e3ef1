//! What is left of a study: its folder, moved out of `work/` into `done/` or `failed/` with the
//! signed result beside it. Every step can be repeated, so a crash in between costs nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use crate::host::fail_point::reach;
use crate::host::files::{
    StateDir, create_private_folder, is_sync_failure, rename_durably, write_durably,
};
use crate::host::inbox::CLAIM_FILE;
use crate::host::journal::JobId;
use crate::seal::verify::Refusal;
use crate::seal::view::{View, ViewError};
use crate::seal::wire::Status;
use crate::units::Bytes;

/// The signed result.
pub const RESULT: &str = "result.cose";
/// The JSON view of the result.
pub const VIEW: &str = "result.json";
/// Why a study failed, in words; in `failed/` only.
pub const REASON: &str = "reason.json";
/// What the run cost; never leaves the box.
pub const RUN: &str = "run.json";
/// Where a worker's artefacts arrive.
const OUT: &str = "out";

/// Why a study could not leave `work/`.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// Writing or moving failed.
    #[error("cannot {doing} {path}", path = .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signed bytes are not a result.
    #[error("the signed result of job {job} cannot be read back")]
    Result {
        /// Which study.
        job: JobId,
        /// Why.
        source: Refusal,
    },
    /// The JSON view cannot be written.
    #[error("the view of job {job} cannot be made")]
    View {
        /// Which study.
        job: JobId,
        /// Why.
        source: ViewError,
    },
}

impl ReleaseError {
    /// Whether the disk did not confirm what was written: nothing may be tried again then.
    pub fn is_sync_failure(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_sync_failure(source),
            Self::Result { .. } | Self::View { .. } => false,
        }
    }
}

/// What the run itself cost, for the field engineer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The dropped folder's name; stays on this box.
    pub study: String,
    /// Attempts made.
    pub attempts: u32,
    /// Wall time of the last worker, milliseconds.
    pub worker_ms: u64,
    /// Its highest resident memory.
    pub peak_rss: Option<Bytes>,
}

/// Where a worker's artefacts of this study arrive: made anew, and empty.
pub fn fresh_out(work: &Path) -> io::Result<PathBuf> {
    let out = work.join(OUT);
    remove_if_there(&out)?;
    create_private_folder(&out)?;
    Ok(out)
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The final folder of a study.
pub fn place(state: &StateDir, job: JobId, failed: bool) -> PathBuf {
    let parent = if failed { state.failed() } else { state.done() };
    parent.join(job.to_string())
}

/// Writes the result's files into `work/<job>` and moves it to its place, which is returned. A
/// study that is there already is left alone; one whose folder is gone gets its result alone.
pub fn release(
    state: &StateDir,
    job: JobId,
    cose: &[u8],
    run: &Run,
) -> Result<PathBuf, ReleaseError> {
    let view = View::of(cose).map_err(|source| ReleaseError::Result { job, source })?;
    let failed = view.result.status == Status::Failed;
    let place = place(state, job, failed);
    if place.join(RESULT).exists() {
        return Ok(place);
    }
    let work = state.work().join(job.to_string());
    // A folder that is in its place already, and has lost its result, gets the files there.
    let folder = if place.exists() { &place } else { &work };
    create_private_folder(folder).map_err(io_error("make folder", folder))?;
    if failed {
        // Whatever a worker drew before it failed says more than the result does.
        remove_artefacts(folder)?;
    } else {
        collect_artefacts(folder)?;
    }
    reach("release.collected");
    let view_json = view.to_json().map_err(|source| ReleaseError::View { job, source })?;
    let mut files = vec![(VIEW, view_json.into_bytes()), (RUN, run.to_json(job))];
    if failed {
        files.push((REASON, reason_json(&view)));
    }
    // The result comes last: where it is, everything is.
    files.push((RESULT, cose.to_vec()));
    for (name, bytes) in files {
        let path = folder.join(name);
        write_durably(&path, &bytes, 0o640).map_err(io_error("write", &path))?;
    }
    reach("release.written");
    if folder == &work {
        rename_durably(&work, &place).map_err(io_error("move the study to", &place))?;
    }
    reach("release.moved");
    // What it says is in `run.json` now. Should it stay behind, it does no harm.
    let _ = fs::remove_file(place.join(CLAIM_FILE));
    Ok(place)
}

fn remove_artefacts(folder: &Path) -> Result<(), ReleaseError> {
    let out = folder.join(OUT);
    remove_if_there(&out).map_err(io_error("remove", &out))
}

/// Puts a worker's artefacts beside the input.
fn collect_artefacts(work: &Path) -> Result<(), ReleaseError> {
    let out = work.join(OUT);
    if !out.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(&out).map_err(io_error("list", &out))?;
    for entry in entries {
        let entry = entry.map_err(io_error("list", &out))?;
        let target = work.join(entry.file_name());
        fs::rename(entry.path(), &target).map_err(io_error("move an artefact to", &target))?;
    }
    fs::remove_dir(&out).map_err(io_error("remove", &out))
}

impl Run {
    fn to_json(&self, job: JobId) -> Vec<u8> {
        let value = json!({
            "schema": 1,
            "job": job.to_string(),
            "study": self.study,
            "attempts": self.attempts,
            "worker_ms": self.worker_ms,
            "peak_rss_bytes": self.peak_rss.map(|bytes| bytes.0),
        });
        value.to_string().into_bytes()
    }
}

/// Code, sentence and detail of every reason, for whoever stands at the box.
fn reason_json(view: &View) -> Vec<u8> {
    let reason = |reason: &crate::seal::wire::Reason| {
        json!({
            "code": reason.code.name(),
            "what_to_do": reason.code.sentence(),
            "detail": reason.detail.as_ref().map(|detail| detail.to_string()),
        })
    };
    let reasons: Vec<_> = view.result.reasons.iter().map(reason).collect();
    json!({"schema": 1, "status": view.result.status.name(), "reasons": reasons})
        .to_string()
        .into_bytes()
}

fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ReleaseError + 'a {
    move |source| ReleaseError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::Ed25519Signer;
    use crate::seal::sign::sign;
    use crate::seal::wire::{ResultMessage, samples};

    const PICTURE: &str = "overview.png";

    /// A study in `work/` with one artefact, and its signed result.
    fn study(message: &ResultMessage) -> (tempfile::TempDir, StateDir, JobId, Vec<u8>) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::create(root.path()).unwrap();
        let job = JobId::new([7; 8]);
        let work = state.work().join(job.to_string());
        fs::create_dir_all(work.join("input")).unwrap();
        fs::write(fresh_out(&work).unwrap().join(PICTURE), b"drawn").unwrap();
        fs::write(work.join(CLAIM_FILE), b"{}").unwrap();
        let cose = sign(message, &Ed25519Signer::from_seed(&[7; 32]).unwrap()).unwrap();
        (root, state, job, cose)
    }

    #[test]
    fn a_result_takes_input_and_artefacts_with_it_and_once_is_enough() {
        let (_root, state, job, cose) = study(&samples::scored());
        for _ in 0..2 {
            let place = release(&state, job, &cose, &Run::default()).unwrap();
            assert_eq!(place, state.done().join(job.to_string()));
            assert_eq!(fs::read(place.join(RESULT)).unwrap(), cose);
            for name in [VIEW, RUN, PICTURE, "input"] {
                assert!(place.join(name).exists(), "{name}");
            }
            assert!(!place.join(CLAIM_FILE).exists() && !place.join(REASON).exists());
            assert_eq!(fs::read_dir(state.work()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_a_worker_drew_does_not_lie_beside_a_failure() {
        let (_root, state, job, cose) = study(&samples::failed());
        let place = release(&state, job, &cose, &Run::default()).unwrap();
        assert_eq!(place, state.failed().join(job.to_string()));
        assert!(!place.join(PICTURE).exists() && !place.join(OUT).exists());
        let reason: serde_json::Value =
            serde_json::from_slice(&fs::read(place.join(REASON)).unwrap()).unwrap();
        assert!(reason["reasons"][0]["what_to_do"].as_str().unwrap().ends_with('.'));
    }

    #[test]
    fn a_lost_result_is_written_again_where_it_belongs() {
        let (_root, state, job, cose) = study(&samples::scored());
        let place = release(&state, job, &cose, &Run::default()).unwrap();
        fs::remove_file(place.join(RESULT)).unwrap();
        release(&state, job, &cose, &Run::default()).unwrap();
        assert_eq!(fs::read(place.join(RESULT)).unwrap(), cose);
        fs::remove_dir_all(&place).unwrap();
        release(&state, job, &cose, &Run::default()).unwrap();
        assert!(place.join(RESULT).exists(), "even when the whole folder is gone");
        assert_eq!(fs::read_dir(state.work()).unwrap().count(), 0);
    }
}
