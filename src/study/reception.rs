//! Which association feeds which study, and when a study that is received is closed.
//!
//! ```text
//! (unknown) ── an object of it begins ──▶ Fed ── its last association ended ──▶ Resting
//!                                          ▲                                    │    │
//!                                          └────── an object of it begins ──────┤    │
//!                                                                               │    │
//!           Closing { whole } ◀───────────────── `quiet` passed ────────────────┘    │
//!           Leaving, for the next receiver ◀────── the receiver stops ───────────────┘
//! ```
//!
//! * A study collects from any number of associations of one sender: some scanners open one for each
//!   series. An association feeds every study it brought an object of until it ends: a sender that goes
//!   through a folder mixes studies, and comes back to one after any time.
//! * A study is whole when every object of it that began was stored, in this association or a later
//!   one, and every association of it that broke off is mended: each object it had brought was sent
//!   again by associations that began after the break and were released. Senders send all of it again;
//!   one that goes on with another series has not made up for what the break lost.
//! * An association that broke off before it brought an object of the study cannot be mended: nothing
//!   tells whether what comes later is what would have come. Nor can a study be whole any more that
//!   was claimed while it was received.
//! * A receiver that was killed broke off every association: what it left must all be sent again. One
//!   that stops in order says what each study awaits.
//! * What comes for a study that was closed makes a new one.
//!
//! Time is an argument: milliseconds on a clock that is never set. Nothing is written here; the
//! caller stores files and writes markers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use self::study::Study;
use super::marker::Open;
use crate::units::{Bytes, Millis};

/// Most studies that are received at once.
pub const MAX_STUDIES: usize = 256;

/// A study of one sender: a digest of what identifies it, never the identifier itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StudyKey(pub [u8; 8]);

impl fmt::Display for StudyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An association by its place in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssociationId(u64);

/// How an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Released by the sender, who has sent what it wanted to.
    Released,
    /// Aborted, timed out, or the connection broke.
    Broken,
}

/// A file that is in its study's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// Files of a study by name.
pub type Files = BTreeMap<String, StoredFile>;

/// Bounds on what is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most files in a study.
    pub files: usize,
    /// Most bytes in a study.
    pub study: Bytes,
    /// Time at rest after which a study is closed.
    pub quiet: Millis,
}

/// Why an object is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// Too many studies at once.
    #[error("{MAX_STUDIES} studies are being received already")]
    Studies,
    /// Too many files in one study.
    #[error("the study has limits.max_files files already")]
    Files,
    /// Too many bytes in one study.
    #[error("the study would be larger than limits.max_study_mib")]
    Bytes,
}

/// A study that is closed: its marker is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its folder in the inbox; `None` when no object of it was ever stored.
    pub folder: Option<String>,
    /// Whether everything that its senders began is there.
    pub whole: bool,
    /// What is there.
    pub files: Files,
}

/// A study that is left open in the inbox, and says for the next receiver what it awaits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Whose it is.
    pub key: StudyKey,
    /// Its folder in the inbox; `None` when no object of it was ever stored.
    pub folder: Option<String>,
    /// What its marker shall say.
    pub left: Open,
    /// Number of files that are there.
    pub files: usize,
}

/// A study that an earlier receiver left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its folder in the inbox.
    pub folder: String,
    /// What is there.
    pub files: Files,
    /// What its marker says.
    pub left: Open,
}

/// Every study that is being received.
#[derive(Debug)]
pub struct Reception {
    bounds: Bounds,
    studies: BTreeMap<StudyKey, Study>,
    /// Associations of which an object was refused that no study misses.
    unattributed: BTreeSet<AssociationId>,
    /// The next association.
    next: u64,
}

impl Reception {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, studies: BTreeMap::new(), unattributed: BTreeSet::new(), next: 0 }
    }

    /// An association begins.
    pub fn open(&mut self) -> AssociationId {
        self.next += 1;
        AssociationId(self.next - 1)
    }

    /// An object is refused, and which study misses it is not known: any that this association feeds.
    pub fn unattributed(&mut self, by: AssociationId) {
        self.unattributed.insert(by);
    }

    /// An object begins: from now on its study is fed by this association, and not whole before the
    /// object is stored.
    pub fn begin(
        &mut self,
        by: AssociationId,
        key: StudyKey,
        name: &str,
        now: Millis,
    ) -> Result<(), Refused> {
        if !self.studies.contains_key(&key) && self.studies.len() >= MAX_STUDIES {
            self.unattributed(by);
            return Err(Refused::Studies);
        }
        let study = self.studies.entry(key).or_insert_with(|| Study::new(now));
        study.begin(by, name, self.bounds.files)
    }

    /// Whether a whole object may be stored; asked right before it is.
    pub fn has_room(&self, key: StudyKey, name: &str, length: u64) -> Result<(), Refused> {
        let Some(study) = self.studies.get(&key) else { return Ok(()) };
        let replaced = study.files.get(name).map_or(0, |file| file.length);
        let bytes = (study.bytes - replaced).saturating_add(length);
        if bytes > self.bounds.study.0 { Err(Refused::Bytes) } else { Ok(()) }
    }

    /// The folder of a study, when it has one already.
    pub fn folder(&self, key: StudyKey) -> Option<&str> {
        self.studies.get(&key)?.folder.as_deref()
    }

    /// A folder was made for a study.
    pub fn place(&mut self, key: StudyKey, folder: String) {
        if let Some(study) = self.studies.get_mut(&key) {
            study.folder = Some(folder);
        }
    }

    /// An object is in its study's folder; one of the same name was replaced.
    pub fn stored(&mut self, by: AssociationId, key: StudyKey, name: String, file: StoredFile) {
        if let Some(study) = self.studies.get_mut(&key) {
            study.stored(by, name, file);
        }
    }

    /// The folder of a study is gone, claimed at its deadline: what still comes is not the whole.
    pub fn vanished(&mut self, key: StudyKey) {
        if let Some(study) = self.studies.get_mut(&key) {
            study.vanished();
        }
    }

    /// An association ended. One of which an object is missing somewhere counts as broken.
    pub fn end(&mut self, id: AssociationId, ending: Ending, now: Millis) {
        let ending = if self.unattributed.remove(&id) { Ending::Broken } else { ending };
        for study in self.studies.values_mut() {
            study.end(id, ending, AssociationId(self.next), now);
        }
    }

    /// Takes up a folder that an earlier receiver left open. False when the study has another
    /// folder already.
    pub fn take_up(&mut self, key: StudyKey, kept: Kept, now: Millis) -> bool {
        if self.studies.contains_key(&key) {
            return false;
        }
        self.studies.insert(key, Study::take_up(kept, AssociationId(self.next), now));
        true
    }

    /// Studies that have been at rest for long enough; they are forgotten here.
    pub fn due(&mut self, now: Millis) -> Vec<Closing> {
        let quiet = self.bounds.quiet;
        let is_due = |(_, study): &(&StudyKey, &Study)| study.is_due(now, quiet);
        let due: Vec<_> = self.studies.iter().filter(is_due).map(|(key, _)| *key).collect();
        due.iter().filter_map(|key| self.studies.remove(key)).map(Study::close).collect()
    }

    /// Every study that is not closed yet, once no association is left: the receiver stops.
    pub fn leave_all(&mut self) -> Vec<Leaving> {
        let next = AssociationId(self.next);
        let left = std::mem::take(&mut self.studies).into_iter();
        left.map(|(key, study)| study.leave(key, next)).collect()
    }
}

mod study;

#[cfg(test)]
mod tests;
