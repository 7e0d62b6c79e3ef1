//! The journal's records folded into what the daemon asks: which studies are open, which result
//! comes next, what is not delivered yet. Holds no message bytes, only where they lie.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ring::digest::{SHA256, digest};

use super::record::{JobId, Record};
use super::store::{Entry, Place};

/// A study that was claimed and is not released yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    /// When it was first seen, Unix milliseconds.
    pub arrived_ms: u64,
    /// Attempts that were started.
    pub attempts: u32,
    /// Its result, once there is one.
    pub seq: Option<u64>,
}

/// A signed result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultEntry {
    /// Its study.
    pub job: JobId,
    /// The idempotency key.
    pub result_id: [u8; 16],
    /// Whether the study belongs in `failed/`.
    pub failed: bool,
    /// When it was written, Unix milliseconds.
    pub time_ms: u64,
    /// Where its record lies.
    pub place: Place,
}

/// The state that the records add up to.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<JobId, JobState>,
    /// Index is `seq - 1`.
    results: Vec<ResultEntry>,
    by_result_id: HashMap<[u8; 16], u64>,
    unconfirmed: BTreeSet<u64>,
    last_hash: [u8; 32],
}

impl Ledger {
    /// Folds a replay.
    pub fn of(entries: &[Entry]) -> Self {
        let mut ledger = Self::default();
        for entry in entries {
            ledger.apply(entry);
        }
        ledger
    }

    /// Takes one more record into account.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Claim { job, arrived_ms } => {
                let state = JobState { arrived_ms: *arrived_ms, attempts: 0, seq: None };
                self.open.insert(*job, state);
            }
            Record::Try { job, attempt } => {
                if let Some(state) = self.open.get_mut(job) {
                    state.attempts = state.attempts.max(*attempt);
                }
            }
            Record::Interrupted { job } => {
                if let Some(state) = self.open.get_mut(job) {
                    state.attempts = state.attempts.saturating_sub(1);
                }
            }
            Record::Result { job, seq, result_id, failed, cose } => {
                let (time_ms, place) = (entry.time_ms, entry.place);
                let (job, result_id, failed) = (*job, *result_id, *failed);
                self.results.push(ResultEntry { job, result_id, failed, time_ms, place });
                self.by_result_id.insert(result_id, *seq);
                self.unconfirmed.insert(*seq);
                self.last_hash = sha256(cose);
                self.set_result(job, *seq);
            }
            // The earlier message goes out again: whoever sent the study again waits for it.
            Record::Duplicate { job, seq } => {
                self.unconfirmed.insert(*seq);
                self.set_result(*job, *seq);
            }
            Record::Released { job } => {
                self.open.remove(job);
            }
            Record::Confirm { seq } => {
                self.unconfirmed.remove(seq);
            }
        }
    }

    fn set_result(&mut self, job: JobId, seq: u64) {
        if let Some(state) = self.open.get_mut(&job) {
            state.seq = Some(seq);
        }
    }

    /// Studies that were claimed and not released, by job.
    pub fn open(&self) -> &BTreeMap<JobId, JobState> {
        &self.open
    }

    /// Number of the last result; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.results.len() as u64
    }

    /// SHA-256 of the last signed message; zeros before the first.
    pub fn last_hash(&self) -> [u8; 32] {
        self.last_hash
    }

    /// The result with this number.
    pub fn result(&self, seq: u64) -> Option<&ResultEntry> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.results.get(index)
    }

    /// The number of the result with this id, if the study was analysed before.
    pub fn seq_of(&self, result_id: &[u8; 16]) -> Option<u64> {
        self.by_result_id.get(result_id).copied()
    }

    /// Every result, in order.
    pub fn results(&self) -> impl Iterator<Item = (u64, &ResultEntry)> {
        (1..).zip(&self.results)
    }

    /// Results without a confirmation, in order.
    pub fn unconfirmed(&self) -> impl Iterator<Item = u64> + '_ {
        self.unconfirmed.iter().copied()
    }

    /// Whether this result waits for a confirmation.
    pub fn is_unconfirmed(&self, seq: u64) -> bool {
        self.unconfirmed.contains(&seq)
    }

    /// Number of results without a confirmation.
    pub fn backlog(&self) -> usize {
        self.unconfirmed.len()
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
