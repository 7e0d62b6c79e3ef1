//! The journal's records folded into what the daemon asks: which studies are open, which result
//! comes next, what is not delivered yet. Holds no message bytes, only where they lie.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ring::digest::{SHA256, digest};

use super::record::{JobId, Record};
use super::store::{Entry, Place};

/// Outbox numbers from here on are not sequence numbers of this epoch but name results carried over
/// from an earlier one, whose journal was damaged before they were delivered.
pub const CARRIED: u64 = 1 << 62;

/// A study that was claimed and is not released yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    /// When it was first seen, Unix milliseconds.
    pub arrived_ms: u64,
    /// The segment of its claim.
    segment: u64,
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
    /// Where its record lies.
    pub place: Place,
}

/// The last signed message: its digest, or the bytes it is made from when it is asked for. A replay
/// passes many last messages and needs the digest of few.
#[derive(Debug)]
enum Last {
    Digest([u8; 32]),
    Message(Vec<u8>),
}

/// The state that the records add up to.
#[derive(Debug)]
pub struct Ledger {
    open: BTreeMap<JobId, JobState>,
    /// Results before these were confirmed and forgotten long ago.
    forgotten: u64,
    /// Index is `seq - 1 - forgotten`.
    results: VecDeque<ResultEntry>,
    by_result_id: HashMap<[u8; 16], u64>,
    carried: BTreeMap<u64, Place>,
    unconfirmed: BTreeSet<u64>,
    last: Last,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::after(0, [0; 32])
    }
}

impl Ledger {
    /// Of a journal whose beginning was pruned: the last result in it and its digest.
    pub(super) fn after(last_seq: u64, last_hash: [u8; 32]) -> Self {
        Self {
            open: BTreeMap::new(),
            forgotten: last_seq,
            results: VecDeque::new(),
            by_result_id: HashMap::new(),
            carried: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            last: Last::Digest(last_hash),
        }
    }

    /// Takes one more record into account.
    pub fn apply(&mut self, entry: Entry) {
        let place = entry.place;
        match entry.record {
            Record::Claim { job, arrived_ms } => {
                let segment = place.segment();
                self.open.insert(job, JobState { arrived_ms, segment, attempts: 0, seq: None });
            }
            Record::Try { job, attempt } => {
                if let Some(state) = self.open.get_mut(&job) {
                    state.attempts = state.attempts.max(attempt);
                }
            }
            Record::Interrupted { job } => {
                if let Some(state) = self.open.get_mut(&job) {
                    state.attempts = state.attempts.saturating_sub(1);
                }
            }
            Record::Result { job, seq, result_id, failed, cose } => {
                self.results.push_back(ResultEntry { job, result_id, failed, place });
                self.by_result_id.insert(result_id, seq);
                self.unconfirmed.insert(seq);
                self.last = Last::Message(cose);
                self.set_result(job, seq);
            }
            // The earlier message goes out again: whoever sent the study again waits for it.
            Record::Duplicate { job, seq } => {
                if self.result(seq).is_some() {
                    self.unconfirmed.insert(seq);
                }
                self.set_result(job, seq);
            }
            Record::Released { job } => {
                self.open.remove(&job);
            }
            Record::Confirm { seq } => {
                self.unconfirmed.remove(&seq);
            }
            Record::Checkpoint { .. } => {}
            Record::Carried { number, .. } => {
                self.carried.insert(number, place);
                self.unconfirmed.insert(number);
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
        self.forgotten + self.results.len() as u64
    }

    /// SHA-256 of the last signed message; zeros before the first.
    pub fn last_hash(&self) -> [u8; 32] {
        match &self.last {
            Last::Digest(digest) => *digest,
            Last::Message(cose) => sha256(cose),
        }
    }

    /// The result with this number; `None` when there is none, or it was pruned.
    pub fn result(&self, seq: u64) -> Option<&ResultEntry> {
        let index = usize::try_from(seq.checked_sub(1)?.checked_sub(self.forgotten)?).ok()?;
        self.results.get(index)
    }

    /// The number of the result with this id, if the study was analysed before.
    pub fn seq_of(&self, result_id: &[u8; 16]) -> Option<u64> {
        self.by_result_id.get(result_id).copied()
    }

    /// Every result that was not pruned, in order.
    pub fn results(&self) -> impl Iterator<Item = (u64, &ResultEntry)> {
        (self.forgotten + 1..).zip(&self.results)
    }

    /// Where the message with this outbox number lies: a sequence number, or one from [`CARRIED`].
    pub(super) fn place(&self, number: u64) -> Option<Place> {
        let carried = self.carried.get(&number).copied();
        carried.or_else(|| self.result(number).map(|entry| entry.place))
    }

    /// The lowest segment that something unfinished needs: an open study, or a result without a
    /// confirmation.
    pub(super) fn oldest_segment_in_use(&self) -> Option<u64> {
        let of_result = |number| self.place(number).map(Place::segment);
        let jobs = self
            .open
            .values()
            .flat_map(|job| [Some(job.segment), job.seq.and_then(of_result)].into_iter().flatten());
        jobs.chain(self.unconfirmed().filter_map(of_result)).min()
    }

    /// Forgets the results that lie before this segment. A study that comes again after that is
    /// analysed anew.
    pub(super) fn forget_before(&mut self, segment: u64) {
        while let Some(oldest) = self.results.front()
            && oldest.place.segment() < segment
        {
            self.forgotten += 1;
            if self.by_result_id.get(&oldest.result_id) == Some(&self.forgotten) {
                self.by_result_id.remove(&oldest.result_id);
            }
            self.results.pop_front();
        }
        self.carried.retain(|_, place| place.segment() >= segment);
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
