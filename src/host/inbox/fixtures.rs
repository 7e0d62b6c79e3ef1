//! State directories, settings and dropped studies for the tests of the inbox.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use super::{Claim, Ready, claim};
use crate::config;
use crate::host::files::StateDir;
use crate::host::journal::JobId;
use crate::seal::wire::CompletionRule;
use crate::units::{Bytes, Millis};

pub const SETTINGS: config::Inbox = config::Inbox {
    settle: Millis(10_000),
    deadline: Millis(60_000),
    rescan: Millis(5_000),
    retention: Millis(86_400_000),
};

pub const LIMITS: config::Limits = config::Limits {
    max_files: 8,
    max_study: Bytes(1_000),
    max_image: Bytes::mib(1),
    max_voxels: 4_096,
    clinical: Bytes(200),
    worker_memory: Bytes::mib(256),
    worker_time: Millis(10_000),
    attempts: 3,
    outbox_results: 100,
    min_free: Bytes::mib(16),
};

pub fn job() -> JobId {
    JobId::new([7; 8])
}

/// A state directory that lives as long as the first value.
pub fn state() -> (tempfile::TempDir, StateDir) {
    let root = tempfile::tempdir().unwrap();
    let state = StateDir::create(&root.path().join("state")).unwrap();
    (root, state)
}

/// Drops a study into the inbox; its folder.
pub fn drop_study(state: &StateDir, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = state.inbox().join(name);
    fs::create_dir(&folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    folder
}

pub fn ready(name: &str, rule: CompletionRule) -> Ready {
    Ready { name: name.into(), rule, arrived_ms: 1_750_000_000_000 }
}

/// Drops a study and claims it; the claim and its `input`.
pub fn claimed(state: &StateDir, rule: CompletionRule, files: &[(&str, &str)]) -> (Claim, PathBuf) {
    drop_study(state, "study", files);
    let claim = claim(state, &ready("study", rule), job()).unwrap().unwrap();
    let input = state.work().join(job().to_string()).join("input");
    (claim, input)
}

pub fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}
