//! When a folder in the inbox is complete. Every look at the folder gives a [`Listing`]; an
//! [`Arrival`] remembers how long the folder has been there and how long nothing in it changed.
//!
//! ```text
//!            .done, and every file it promises is there ──▶ Complete(DoneMarker)
//!            .done says that the sender was cut off ──────▶ Complete(DoneMarker)
//! Waiting ── nothing changed for `settle` ────────────────▶ Complete(Quiescence)
//!            `deadline` since it was first seen ──────────▶ Overdue
//! ```
//!
//! * A marker that promises more than is there holds the folder until the deadline, quiet or not.
//! * A marker that says "open" does the same: its writer knows that more is to come.
//! * A marker that says "aborted" ends the wait; that the study fails is for the inspection to say.
//! * A marker that cannot be read may be half written: it counts once the folder is quiet.
//! * A folder without a file that counts is never complete.
//! * Ignored files are no input, but a change of one is a change: a growing `.part` is a transfer
//!   that goes on.
//!
//! Time is an argument and is counted in steps between looks. A step backwards counts nothing, so a
//! clock that jumps back only makes the folder wait longer; a jump forwards cannot be told from
//! time, so the caller passes a monotonic clock.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::files::is_ignored;
use super::marker::{Marker, Promise};
use crate::config::Inbox;
use crate::units::Millis;

/// What a folder held at one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Everything in the folder, in any order.
    pub entries: Vec<Entry>,
    /// The `.done` marker among them.
    pub marker: Marker,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is; a link is not followed.
    pub kind: Kind,
    /// Length in bytes.
    pub length: u64,
    /// Modification time in nanoseconds since the Unix epoch.
    pub modified_ns: i128,
}

/// What a folder entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

impl Entry {
    /// Whether it is part of the study: no folder, no dotfile, nothing still being written.
    pub fn counts(&self) -> bool {
        self.kind != Kind::Folder && !is_ignored(&self.name)
    }
}

impl Listing {
    /// The entries that are part of the study.
    pub fn counted(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.counts())
    }

    fn keeps(&self, promise: &Promise) -> bool {
        let promised = promise.files.unwrap_or(0);
        let present = |name: &String| self.counted().any(|entry| entry.name == name.as_str());
        self.counted().count() as u64 >= promised && promise.sha256.keys().all(present)
    }

    /// Two listings with the same fingerprint are the same for all purposes here: 64 bits, of
    /// names, kinds, lengths and times.
    fn fingerprint(&self) -> u64 {
        let mut sorted: Vec<&Entry> = self.entries.iter().collect();
        sorted.sort_unstable();
        let mut hasher = DefaultHasher::new();
        sorted.hash(&mut hasher);
        hasher.finish()
    }
}

/// The rule that made a study complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The `.done` marker.
    DoneMarker,
    /// Nothing changed for the settling time.
    Quiescence,
}

/// What is known of a folder after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Look again later.
    Waiting,
    /// It can be claimed.
    Complete(Rule),
    /// It was not complete before the deadline; it is claimed all the same and fails.
    Overdue,
}

/// What is remembered of a folder between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    last_look: Millis,
    fingerprint: u64,
    /// Since it was first seen.
    age: Millis,
    /// Since a change was last seen.
    quiet: Millis,
}

impl Arrival {
    /// A folder seen for the first time.
    pub fn new(listing: &Listing, now: Millis) -> Self {
        let fingerprint = listing.fingerprint();
        Self { last_look: now, fingerprint, age: Millis(0), quiet: Millis(0) }
    }

    /// How long ago it was first seen.
    pub fn age(&self) -> Millis {
        self.age
    }

    /// Takes in one more look and judges. The first look may be judged too, with its own listing.
    pub fn look(&mut self, listing: &Listing, now: Millis, settings: &Inbox) -> Verdict {
        let step = now.0.saturating_sub(self.last_look.0);
        self.last_look = now;
        self.age = Millis(self.age.0.saturating_add(step));
        let fingerprint = listing.fingerprint();
        if fingerprint == self.fingerprint {
            self.quiet = Millis(self.quiet.0.saturating_add(step));
        } else {
            self.fingerprint = fingerprint;
            self.quiet = Millis(0);
        }
        self.judge(listing, settings)
    }

    fn judge(&self, listing: &Listing, settings: &Inbox) -> Verdict {
        if let Some(rule) = self.complete_by(listing, settings) {
            Verdict::Complete(rule)
        } else if self.age >= settings.deadline {
            Verdict::Overdue
        } else {
            Verdict::Waiting
        }
    }

    fn complete_by(&self, listing: &Listing, settings: &Inbox) -> Option<Rule> {
        let settled = self.quiet >= settings.settle;
        listing.counted().next()?;
        match &listing.marker {
            Marker::Present(promise) => listing.keeps(promise).then_some(Rule::DoneMarker),
            Marker::Open => None,
            Marker::Aborted => Some(Rule::DoneMarker),
            Marker::Malformed => settled.then_some(Rule::DoneMarker),
            Marker::Absent => settled.then_some(Rule::Quiescence),
        }
    }
}

#[cfg(test)]
mod tests;
