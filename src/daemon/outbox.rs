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
    /// broker has: nobody can have received anything else.
    pub fn acknowledged(&self, seq: u64) {
        if self.confirm != Confirm::Consumer {
            return;
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
    }

    fn outgoing(&self, seq: u64) -> Option<Outgoing> {
        let cose = match self.journal.message(seq) {
            Ok(cose) => cose?,
            Err(error) => {
                log::error!("result {seq} cannot be read back: {}", one_line(&error));
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
        let mut seqs: Vec<u64> = marks.resend.iter().copied().chain(waiting).take(2 * n).collect();
        drop(ledger);
        drop(marks);
        seqs.sort_unstable();
        seqs.dedup();
        seqs.into_iter().take(n).filter_map(|seq| self.outgoing(seq)).collect()
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
