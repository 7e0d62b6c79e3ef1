//! Which association feeds which study, and when a study that is received is closed.
//!
//! ```text
//! (unknown) ── an object of it begins ──▶ Fed ── its last association ended ──▶ Resting
//!                                          ▲                                      │
//!                                          └───── an object of it begins ─────────┤
//!                                                                                 │
//!           Closing { whole } ◀── `quiet` passed, or the receiver stops ──────────┘
//! ```
//!
//! * A study collects from any number of associations of one sender: some scanners open one for each
//!   series. An association feeds every study it brought an object of until it ends: a sender that goes
//!   through a folder mixes studies, and comes back to one after any time.
//! * A study is whole when every object of it that began was stored, in this association or a later
//!   one, and no association that fed it broke off. An association that began after the break and is
//!   released mends it: senders send again.
//! * What comes for a study that was closed makes a new one.
//!
//! Time is an argument: milliseconds on a clock that is never set. Nothing is written here; the
//! caller stores files and writes markers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

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

#[derive(Debug)]
struct Study {
    folder: Option<String>,
    feeders: BTreeSet<AssociationId>,
    files: Files,
    bytes: u64,
    /// Names of objects that began and are not in `files`.
    missing: BTreeSet<String>,
    /// An object was refused that `missing` has no room for.
    overflowed: bool,
    /// An association broke off: the first one that can mend it.
    mended_from: Option<AssociationId>,
    /// When the last feeder ended.
    resting_since: Millis,
}

impl Study {
    fn new(now: Millis) -> Self {
        Self {
            folder: None,
            feeders: BTreeSet::new(),
            files: Files::new(),
            bytes: 0,
            missing: BTreeSet::new(),
            overflowed: false,
            mended_from: None,
            resting_since: now,
        }
    }

    fn is_whole(&self) -> bool {
        self.missing.is_empty() && !self.overflowed && self.mended_from.is_none()
    }

    fn begin(&mut self, name: &str, most: usize) -> Result<(), Refused> {
        if self.files.contains_key(name) || self.missing.contains(name) {
            return Ok(());
        }
        if self.files.len() + self.missing.len() >= most {
            self.overflowed = true;
            return Err(Refused::Files);
        }
        self.missing.insert(name.to_owned());
        Ok(())
    }

    fn close(self) -> Closing {
        Closing { whole: self.is_whole(), folder: self.folder, files: self.files }
    }
}

/// Every study that is being received.
#[derive(Debug)]
pub struct Reception {
    bounds: Bounds,
    studies: BTreeMap<StudyKey, Study>,
    /// The next association.
    next: u64,
}

impl Reception {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, studies: BTreeMap::new(), next: 0 }
    }

    /// An association begins.
    pub fn open(&mut self) -> AssociationId {
        self.next += 1;
        AssociationId(self.next - 1)
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
            return Err(Refused::Studies);
        }
        let study = self.studies.entry(key).or_insert_with(|| Study::new(now));
        study.feeders.insert(by);
        study.begin(name, self.bounds.files)
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
    pub fn stored(&mut self, key: StudyKey, name: String, file: StoredFile) {
        if let Some(study) = self.studies.get_mut(&key) {
            study.missing.remove(&name);
            study.bytes = study.bytes.saturating_add(file.length);
            let replaced = study.files.insert(name, file);
            study.bytes -= replaced.map_or(0, |file| file.length);
        }
    }

    /// The folder of a study is gone, claimed at its deadline: what still comes is not the whole.
    pub fn vanished(&mut self, key: StudyKey) {
        if let Some(study) = self.studies.get_mut(&key) {
            study.folder = None;
            study.files.clear();
            study.bytes = 0;
            study.mended_from = Some(AssociationId(self.next));
        }
    }

    /// An association ended.
    pub fn end(&mut self, id: AssociationId, ending: Ending, now: Millis) {
        for study in self.studies.values_mut() {
            if !study.feeders.remove(&id) {
                continue;
            }
            study.resting_since = now;
            match ending {
                Ending::Broken => study.mended_from = Some(AssociationId(self.next)),
                Ending::Released => study.mended_from = study.mended_from.filter(|from| id < *from),
            }
        }
    }

    /// Takes up the folder of a receiver that ended without closing it. False when the study has
    /// another folder already.
    pub fn take_up(&mut self, key: StudyKey, folder: String, files: Files, now: Millis) -> bool {
        if self.studies.contains_key(&key) {
            return false;
        }
        let bytes = files.values().fold(0u64, |sum, file| sum.saturating_add(file.length));
        let mended_from = Some(AssociationId(self.next));
        let folder = Some(folder);
        self.studies.insert(key, Study { folder, files, bytes, mended_from, ..Study::new(now) });
        true
    }

    /// Studies that have been at rest for long enough; they are forgotten here.
    pub fn due(&mut self, now: Millis) -> Vec<Closing> {
        let quiet = self.bounds.quiet.0;
        let is_due = |study: &Study| {
            study.feeders.is_empty() && now.0.saturating_sub(study.resting_since.0) >= quiet
        };
        let due: Vec<_> =
            self.studies.iter().filter(|(_, study)| is_due(study)).map(|(key, _)| *key).collect();
        due.iter().filter_map(|key| self.studies.remove(key)).map(Study::close).collect()
    }

    /// Every study, once no association is left: the receiver stops.
    pub fn close_all(&mut self) -> Vec<Closing> {
        std::mem::take(&mut self.studies).into_values().map(Study::close).collect()
    }
}

#[cfg(test)]
mod tests;
