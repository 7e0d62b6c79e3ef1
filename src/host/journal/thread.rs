//! The journal's own thread: numbers, signs, writes, syncs. Several waiting orders share one sync.
//!
//! The first failure is final: every later order is refused, and the daemon ends. A retried fsync
//! may report success for pages that were already dropped, so there is no retry.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use super::ledger::{Ledger, sha256};
use super::record::{JobId, Record};
use super::store::{JournalError, Store, read_at};
use crate::host::errors::one_line;

/// Orders that may wait; a caller beyond that waits itself.
pub const MAX_WAITING: usize = 256;

/// What a result is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext {
    /// The journal's epoch.
    pub epoch: [u8; 8],
    /// The number this result gets if signing works.
    pub seq: u64,
    /// SHA-256 of the previous signed message; zeros for the first.
    pub prev: [u8; 32],
}

/// What a checkpoint is about: everything written so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHead {
    /// The journal's epoch.
    pub epoch: [u8; 8],
    /// Number of records.
    pub lsn: u64,
    /// Hash chain over them.
    pub chain: [u8; 32],
    /// Number of the last result; 0 before the first.
    pub last_seq: u64,
    /// SHA-256 of that result; zeros before the first.
    pub last_hash: [u8; 32],
}

/// Signs a checkpoint. Runs on the journal's thread and must not wait.
pub type Witness = Box<dyn Fn(JournalHead) -> Result<Vec<u8>, String> + Send>;

/// Makes the signed bytes of a result. Runs on the journal's thread and must not wait.
pub type Build = Box<dyn FnOnce(SealContext) -> Result<Vec<u8>, String> + Send>;

/// Why an order was not carried out.
#[derive(Debug, Clone, Error)]
pub enum SealError {
    /// The message could not be made; the journal goes on.
    #[error("signing the result: {0}")]
    Build(String),
    /// The journal can no longer be written.
    #[error("the journal has failed")]
    Journal(#[from] Arc<JournalError>),
    /// The journal's thread has ended.
    #[error("the journal is closed")]
    Closed,
}

enum Order {
    Append { records: Vec<Record>, done: Option<Reply<()>> },
    Seal { job: JobId, result_id: [u8; 16], failed: bool, build: Build, done: Reply<u64> },
    Prune { before_ms: u64, now_ms: u64 },
}

type Reply<T> = SyncSender<Result<T, SealError>>;

/// Handle to the journal's thread; the last one dropped ends it.
#[derive(Debug)]
pub struct Journal {
    orders: Option<SyncSender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    store: Mutex<Store>,
    failure: OnceLock<Arc<JournalError>>,
    folder: PathBuf,
    epoch: [u8; 8],
}

impl Journal {
    /// Starts the thread. `now_ms` gives Unix milliseconds.
    pub fn start(store: Store, ledger: Ledger, now_ms: fn() -> u64, witness: Witness) -> Self {
        let (epoch, folder) = (store.epoch(), store.folder().to_owned());
        let (ledger, store) = (Mutex::new(ledger), Mutex::new(store));
        let shared = Arc::new(Shared { ledger, store, failure: OnceLock::new(), folder, epoch });
        let (orders, waiting) = mpsc::sync_channel(MAX_WAITING);
        let thread = thread::spawn({
            let shared = shared.clone();
            move || serve(&shared, &waiting, now_ms, &witness)
        });
        Self { orders: Some(orders), shared, thread: Some(thread) }
    }

    /// The epoch of this state directory.
    pub fn epoch(&self) -> [u8; 8] {
        self.shared.epoch
    }

    /// The state all durable records add up to. Hold it briefly: the journal waits for it.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.shared.ledger)
    }

    /// Whether so much is kept that no more work should be taken in.
    pub fn is_nearly_full(&self) -> bool {
        lock(&self.shared.store).is_nearly_full()
    }

    /// Deletes, some time soon, the segments that were closed before `before_ms` and of which nothing
    /// is needed any more; `now_ms` is a time that somebody vouches for. Both Unix milliseconds.
    pub fn prune(&self, before_ms: u64, now_ms: u64) {
        if let Err(error) = self.send(Order::Prune { before_ms, now_ms }) {
            log::error!("{error}");
        }
    }

    /// Why nothing can be written any more, once that is so.
    pub fn failure(&self) -> Option<SealError> {
        self.shared.failure.get().map(|error| SealError::Journal(error.clone()))
    }

    /// Appends records; they are durable when it returns.
    pub fn append(&self, records: Vec<Record>) -> Result<(), SealError> {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(Order::Append { records, done: Some(done) })?;
        answer.recv().map_err(|_| SealError::Closed)?
    }

    /// Appends records some time soon; for what may be lost and repeated, like a confirmation.
    pub fn append_later(&self, records: Vec<Record>) {
        if let Err(error) = self.send(Order::Append { records, done: None }) {
            log::error!("{error}");
        }
    }

    /// Numbers, signs and appends a result; it is durable when its number is returned.
    pub fn seal(
        &self,
        job: JobId,
        result_id: [u8; 16],
        failed: bool,
        build: Build,
    ) -> Result<u64, SealError> {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(Order::Seal { job, result_id, failed, build, done })?;
        answer.recv().map_err(|_| SealError::Closed)?
    }

    /// The signed bytes of the result with this outbox number, read back from the disk; `None` when
    /// there is none, or it was pruned.
    pub fn message(&self, number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let Some(place) = self.ledger().place(number) else {
            return Ok(None);
        };
        // Without the store's lock, which is held while a group is synced.
        match read_at(&self.shared.folder, place)? {
            Record::Result { cose, .. } | Record::Carried { cose, .. } => Ok(Some(cose)),
            _ => Ok(None),
        }
    }

    fn send(&self, order: Order) -> Result<(), SealError> {
        let orders = self.orders.as_ref().ok_or(SealError::Closed)?;
        orders.send(order).map_err(|_| SealError::Closed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the journal's thread panicked");
        }
    }
}

/// A panic elsewhere does not make the journal's state wrong: it is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, waiting: &Receiver<Order>, now_ms: fn() -> u64, witness: &Witness) {
    while let Ok(first) = waiting.recv() {
        let mut batch = Batch::new(shared);
        batch.add(first);
        while batch.orders < MAX_WAITING
            && let Ok(order) = waiting.try_recv()
        {
            batch.add(order);
        }
        if shared.failure.get().is_none()
            && let Err(error) = batch.write(shared, now_ms(), witness)
        {
            log::error!("the journal has failed: {error}");
            shared.failure.get_or_init(|| Arc::new(error));
        }
        let prune = batch.prune;
        batch.answer(shared.failure.get());
        if let Some(times_ms) = prune
            && shared.failure.get().is_none()
        {
            prune_before(shared, times_ms);
        }
    }
}

/// Prunes while no study is open: one that is being looked at may be answered with an old result. What
/// cannot be pruned now is pruned another time, unless the disk does not confirm.
fn prune_before(shared: &Shared, times_ms: (u64, u64)) {
    let needed = {
        let ledger = lock(&shared.ledger);
        if !ledger.open().is_empty() {
            return;
        }
        ledger.oldest_segment_in_use()
    };
    match lock(&shared.store).prune(times_ms, needed) {
        Ok(Some(first)) => {
            lock(&shared.ledger).forget_before(first);
            log::info!("the journal begins with segment {first} now, as the retention says");
        }
        Ok(None) => {}
        Err(error) => {
            log::error!("the journal is not pruned: {}", one_line(&error));
            if error.is_sync_failure() {
                shared.failure.get_or_init(|| Arc::new(error));
            }
        }
    }
}

/// Orders that share one sync.
struct Batch {
    records: Vec<Record>,
    answers: Vec<Answer>,
    orders: usize,
    next: SealContext,
    prune: Option<(u64, u64)>,
}

enum Answer {
    Appended(Reply<()>),
    Sealed(Reply<u64>, Result<u64, SealError>),
}

impl Batch {
    fn new(shared: &Shared) -> Self {
        let ledger = lock(&shared.ledger);
        let (seq, prev) = (ledger.last_seq() + 1, ledger.last_hash());
        let next = SealContext { epoch: shared.epoch, seq, prev };
        Self { records: Vec::new(), answers: Vec::new(), orders: 0, next, prune: None }
    }

    fn add(&mut self, order: Order) {
        self.orders += 1;
        match order {
            Order::Append { records, done } => {
                self.records.extend(records);
                self.answers.extend(done.map(Answer::Appended));
            }
            Order::Seal { job, result_id, failed, build, done } => {
                let outcome = build(self.next).map_err(SealError::Build).map(|cose| {
                    let seq = self.next.seq;
                    self.next.seq += 1;
                    self.next.prev = sha256(&cose);
                    self.records.push(Record::Result { job, seq, result_id, failed, cose });
                    seq
                });
                self.answers.push(Answer::Sealed(done, outcome));
            }
            Order::Prune { before_ms, now_ms } => self.prune = Some((before_ms, now_ms)),
        }
    }

    fn write(
        &mut self,
        shared: &Shared,
        now_ms: u64,
        witness: &Witness,
    ) -> Result<(), JournalError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut store = lock(&shared.store);
        if store.is_segment_full() {
            store.roll()?;
        }
        if store.wants_checkpoint() {
            let (head, ledger) = (store.head(), lock(&shared.ledger));
            let head = JournalHead {
                epoch: head.epoch,
                lsn: head.lsn,
                chain: head.chain,
                last_seq: ledger.last_seq(),
                last_hash: ledger.last_hash(),
            };
            let cose = witness(head).map_err(JournalError::Checkpoint)?;
            self.records.insert(0, Record::Checkpoint { cose });
        }
        let entries = store.append(&self.records, now_ms)?;
        drop(store);
        let mut ledger = lock(&shared.ledger);
        entries.into_iter().for_each(|entry| ledger.apply(entry));
        Ok(())
    }

    /// A caller that has gone away does not need its answer.
    fn answer(self, failed: Option<&Arc<JournalError>>) {
        let failure = || failed.map(|error| SealError::Journal(error.clone()));
        for answer in self.answers {
            match answer {
                Answer::Appended(reply) => {
                    let _ = reply.send(failure().map_or(Ok(()), Err));
                }
                Answer::Sealed(reply, outcome) => {
                    let _ = reply.send(failure().map_or(outcome, Err));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::journal::store::Damage;
    use crate::host::journal::testing::{trust, witness};

    fn started(folder: &std::path::Path) -> Journal {
        let (store, ledger) = Store::open(folder, &trust(), [3; 8], Damage::Refuse).unwrap();
        Journal::start(store, ledger, || 42, Box::new(witness))
    }

    fn message(context: SealContext) -> Result<Vec<u8>, String> {
        let mut bytes = context.seq.to_be_bytes().to_vec();
        bytes.extend(context.prev);
        Ok(bytes)
    }

    #[test]
    fn numbers_are_contiguous_and_chained_from_many_threads_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3u64 {
            let journal = started(folder.path());
            thread::scope(|scope| {
                for worker in 0..8u8 {
                    let journal = &journal;
                    scope.spawn(move || {
                        for n in 0..4u8 {
                            let id = [worker * 16 + n; 16];
                            journal.seal(JobId::new([1; 8]), id, false, Box::new(message)).unwrap();
                        }
                    });
                }
            });
            assert_eq!(journal.ledger().last_seq(), (round + 1) * 32);
        }
        let journal = started(folder.path());
        let mut prev = [0; 32];
        for seq in 1..=96u64 {
            let bytes = journal.message(seq).unwrap().unwrap();
            assert_eq!((&bytes[..8], &bytes[8..]), (&seq.to_be_bytes()[..], &prev[..]));
            prev = sha256(&bytes);
        }
        assert_eq!(journal.message(97).unwrap(), None);
    }

    #[test]
    fn a_message_that_cannot_be_made_uses_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let journal = started(folder.path());
        let job = JobId::new([1; 8]);
        let refused = journal.seal(job, [0; 16], false, Box::new(|_| Err("no key".to_owned())));
        assert!(matches!(refused, Err(SealError::Build(_))));
        assert_eq!(journal.seal(job, [0; 16], false, Box::new(message)).unwrap(), 1);
    }

    #[test]
    fn the_outbox_is_what_is_sealed_and_not_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = started(folder.path());
        let job = JobId::new([1; 8]);
        for n in 1..=3u8 {
            journal.seal(job, [n; 16], false, Box::new(message)).unwrap();
        }
        journal.append(vec![Record::Confirm { seq: 2 }]).unwrap();
        assert_eq!(journal.ledger().unconfirmed().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(journal.ledger().seq_of(&[2; 16]), Some(2));
        journal.append(vec![Record::Duplicate { job, seq: 2 }]).unwrap();
        assert_eq!(journal.ledger().backlog(), 3);
    }

    #[test]
    fn after_a_failure_nothing_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let journal = started(folder.path());
        let too_long = Record::Result {
            job: JobId::new([1; 8]),
            seq: 1,
            result_id: [0; 16],
            failed: false,
            cose: vec![0; crate::host::journal::record::MAX_BODY + 1],
        };
        assert!(matches!(journal.append(vec![too_long]), Err(SealError::Journal(_))));
        assert!(journal.failure().is_some());
        let after = journal.append(vec![Record::Confirm { seq: 1 }]);
        assert!(matches!(after, Err(SealError::Journal(_))));
        assert_eq!(journal.ledger().last_seq(), 0);
    }
}
