//! One study that is received: what is there, what must still come, and who is sending.

use std::collections::{BTreeMap, BTreeSet};

use super::{AssociationId, Closing, Ending, Files, Kept, Leaving, Refused, StoredFile, StudyKey};
use crate::study::marker::Open;
use crate::units::Millis;

#[derive(Debug)]
pub struct Study {
    pub folder: Option<String>,
    pub files: Files,
    pub bytes: u64,
    /// Names of objects that each association has brought so far.
    feeders: BTreeMap<AssociationId, BTreeSet<String>>,
    /// Names of objects that began and are not in `files`.
    missing: BTreeSet<String>,
    /// What associations that broke off had brought, each with the first association that may bring
    /// it again.
    awaited: BTreeMap<String, AssociationId>,
    /// Something is missing that nobody can name.
    lost: bool,
    /// When the last feeder ended.
    resting_since: Millis,
}

impl Study {
    pub fn new(now: Millis) -> Self {
        Self {
            folder: None,
            files: Files::new(),
            bytes: 0,
            feeders: BTreeMap::new(),
            missing: BTreeSet::new(),
            awaited: BTreeMap::new(),
            lost: false,
            resting_since: now,
        }
    }

    /// One of an earlier receiver; associations from `next` on may bring what it awaits.
    pub fn take_up(kept: Kept, next: AssociationId, now: Millis) -> Self {
        let Kept { folder, files, left } = kept;
        let (awaited, lost) = match left {
            Open::Unsaid => (files.keys().cloned().collect(), files.is_empty()),
            Open::Awaits(names) => (names, false),
            Open::Broken => (BTreeSet::new(), true),
        };
        Self {
            folder: Some(folder),
            bytes: files.values().fold(0u64, |sum, file| sum.saturating_add(file.length)),
            missing: awaited.iter().filter(|name| !files.contains_key(*name)).cloned().collect(),
            awaited: awaited.into_iter().map(|name| (name, next)).collect(),
            files,
            lost,
            ..Self::new(now)
        }
    }

    pub fn begin(&mut self, by: AssociationId, name: &str, most: usize) -> Result<(), Refused> {
        self.feeders.entry(by).or_default();
        if self.files.contains_key(name) || self.missing.contains(name) {
            return Ok(());
        }
        if self.files.len() + self.missing.len() >= most {
            self.lost = true;
            return Err(Refused::Files);
        }
        self.missing.insert(name.to_owned());
        Ok(())
    }

    pub fn stored(&mut self, by: AssociationId, name: String, file: StoredFile) {
        self.feeders.entry(by).or_default().insert(name.clone());
        self.missing.remove(&name);
        self.bytes = self.bytes.saturating_add(file.length);
        let replaced = self.files.insert(name, file);
        self.bytes -= replaced.map_or(0, |file| file.length);
    }

    pub fn vanished(&mut self) {
        self.folder = None;
        self.files.clear();
        self.bytes = 0;
        self.lost = true;
    }

    /// An association ended, which may have fed another study; those from `next` on began later.
    pub fn end(&mut self, id: AssociationId, ending: Ending, next: AssociationId, now: Millis) {
        let Some(brought) = self.feeders.remove(&id) else { return };
        self.resting_since = now;
        match ending {
            // Nobody can tell whether what comes later is what would have come.
            Ending::Broken if brought.is_empty() => self.lost = true,
            Ending::Broken => self.awaited.extend(brought.into_iter().map(|name| (name, next))),
            Ending::Released => {
                self.awaited.retain(|name, first| id < *first || !brought.contains(name));
            }
        }
    }

    pub fn is_due(&self, now: Millis, quiet: Millis) -> bool {
        self.feeders.is_empty() && now.0.saturating_sub(self.resting_since.0) >= quiet.0
    }

    pub fn close(self) -> Closing {
        let whole = self.missing.is_empty() && self.awaited.is_empty() && !self.lost;
        Closing { whole, folder: self.folder, files: self.files }
    }

    /// Leaves it to the next receiver. An association that still goes on has broken off.
    pub fn leave(mut self, key: StudyKey, next: AssociationId) -> Leaving {
        let feeders: Vec<AssociationId> = self.feeders.keys().copied().collect();
        for id in feeders {
            self.end(id, Ending::Broken, next, self.resting_since);
        }
        let left = if self.lost {
            Open::Broken
        } else {
            self.missing.extend(self.awaited.into_keys());
            Open::Awaits(self.missing)
        };
        Leaving { key, folder: self.folder, left, files: self.files.len() }
    }
}
