//! The outbox as a view of the journal: results without a confirmation, and those a consumer asked
//! for once more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Confirm;
use crate::host::errors::one_line;
use crate::host::journal::ledger::CARRIED;
use crate::host::journal::{Journal, Record};
use crate::host::mqtt::{Outbox, Outgoing};
use crate::seal::view::View;
use crate::seal::wire::messages::MAX_RESEND;

/// The most results waiting to be sent once more.
const MOST_RESENDS: usize = MAX_RESEND as usize;

/// What the broker has, or is to get again, beyond what the journal says. Lost at a restart, which
/// only sends a result twice.
#[derive(Debug, Default)]
struct Marks {
    /// The broker has them; their confirmation is not durable yet, or is a consumer's to give.
    at_broker: BTreeSet<u64>,
    /// A consumer asked for them.
    resend: BTreeSet<u64>,
    /// Their records no longer read as they were written.
    unreadable: BTreeSet<u64>,
}

/// The journal's results on their way out. Clones share everything.
#[derive(Debug, Clone)]
pub struct JournalOutbox {
    journal: Arc<Journal>,
    confirm: Confirm,
    with_view: bool,
    marks: Arc<Mutex<Marks>>,
}

impl JournalOutbox {
    /// `with_view` also publishes the JSON view of each result.
    pub fn new(journal: Arc<Journal>, confirm: Confirm, with_view: bool) -> Self {
        Self { journal, confirm, with_view, marks: Arc::default() }
    }

    /// Results to be sent once more, from a consumer's request or because the study came again;
    /// returns how many of them are still kept.
    pub fn resend(&self, from: u64, to: u64) -> u64 {
        let mut marks = self.marks();
        let mut added = 0;
        let ledger = self.journal.ledger();
        let kept =
            (from.max(1)..=to.min(ledger.last_seq())).filter(|seq| ledger.result(*seq).is_some());
        for seq in kept.take(MOST_RESENDS) {
            if marks.resend.len() < MOST_RESENDS && marks.resend.insert(seq) {
                added += 1;
            }
        }
        added
    }

    /// A consumer has everything up to `seq`. Counts where consumers confirm, and for what the
    /// broker has acknowledged.
    ///
    /// # Errors
    /// The last number there is, when the consumer claims to have later ones: this journal has lost
    /// its end.
    pub fn acknowledged(&self, seq: u64) -> Result<(), u64> {
        let last = self.journal.ledger().last_seq();
        if seq > last {
            return Err(last);
        }
        if self.confirm != Confirm::Consumer {
            return Ok(());
        }
        let marks = self.marks();
        let received = marks.at_broker.range(..=seq).copied();
        let ledger = self.journal.ledger();
        let records: Vec<Record> = received
            .filter(|seq| ledger.is_unconfirmed(*seq))
            .map(|seq| Record::Confirm { seq })
            .collect();
        drop(ledger);
        drop(marks);
        if !records.is_empty() {
            self.journal.append_later(records);
        }
        Ok(())
    }

    /// Results whose records have gone bad since the journal was opened.
    pub fn unreadable(&self) -> usize {
        self.marks().unreadable.len()
    }

    fn outgoing(&self, seq: u64) -> Option<Outgoing> {
        let cose = match self.journal.message(seq) {
            Ok(cose) => cose?,
            Err(error) => {
                // The others must not wait for it; a start would refuse this journal.
                log::error!("result {seq} cannot be read back: {}", one_line(&error));
                let mut marks = self.marks();
                marks.resend.remove(&seq);
                marks.unreadable.insert(seq);
                return None;
            }
        };
        let view = self.with_view.then(|| View::of(&cose).ok()?.to_json().ok()).flatten();
        let view_json = view.map(|text| Arc::from(text.into_bytes()));
        Some(Outgoing { seq, cose: Arc::from(cose), view_json })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox for JournalOutbox {
    fn window(&mut self, n: usize) -> Vec<Outgoing> {
        let mut marks = self.marks();
        let ledger = self.journal.ledger();
        marks.at_broker.retain(|seq| ledger.is_unconfirmed(*seq));
        marks.resend.retain(|seq| ledger.result(*seq).is_some());
        let waiting = ledger.unconfirmed().filter(|seq| !marks.at_broker.contains(seq));
        let waiting = waiting.filter(|seq| !marks.unreadable.contains(seq));
        // Of both the lowest first: more than `n` of either never leave at once.
        let again = marks.resend.iter().copied().take(n);
        let seqs: BTreeSet<u64> = again.chain(waiting.take(n)).collect();
        drop(ledger);
        drop(marks);
        seqs.into_iter().filter_map(|seq| self.outgoing(seq)).take(n).collect()
    }

    fn confirmed(&mut self, seq: u64) {
        let mut marks = self.marks();
        marks.resend.remove(&seq);
        marks.at_broker.insert(seq);
        drop(marks);
        // Consumers acknowledge the epoch that is; what was carried over from another one has the
        // broker's word only.
        if self.confirm == Confirm::Broker || seq >= CARRIED {
            self.journal.append_later(vec![Record::Confirm { seq }]);
        }
    }
}
