//! What a subscriber remembers of every device, so that nothing is lost, doubled or rewritten
//! unnoticed: per (device, epoch) the last number, a window of recent digests and the numbers still
//! missing. Works on verified messages only ([`super::verify`]).
//!
//! ```text
//!                  seq = last + 1, prev fits ──► New
//!                  seq > last + 1            ──► Gap, counts as received
//! observe(link) ──┤ seq ≤ last, digest known ──► Duplicate, or Fork when it differs
//!                  seq ≤ last, was missing   ──► Filled, or Fork when it does not fit
//!                  seq ≤ last, too long ago  ──► TooOld (cannot be judged)
//! ```
//!
//! The first message of a device never seen before may have any number. The history starts there
//! for this subscriber, and what was overtaken by it, at most [`REORDER_WINDOW`] numbers, is accepted
//! when it fits; unless the subscriber wants everything ([`Chain::want_everything`]). A further epoch
//! of a known device starts at 1.
//!
//! A fork means that a device signed two histories. Nothing of that epoch is trusted afterwards.

mod history;

mod presence;

mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use self::history::History;
pub use self::presence::News;
use self::presence::Presence;
pub use self::snapshot::SnapshotError;
use super::verify::Verified;
use super::wire::{Digest, Id8, ResultMessage, Slug, StatusMessage};

/// Digests remembered per epoch.
pub const WINDOW: usize = 128;
/// How many numbers behind the newest a message may arrive and still be on its way from the first
/// time: twice what a device has under way at once.
pub const REORDER_WINDOW: u64 = 16;
/// Gaps remembered per epoch; the oldest is given up when there are more.
pub const MAX_GAPS: usize = 128;
/// Epochs followed per device; the oldest is retired when there are more.
pub const MAX_EPOCHS: usize = 4;
/// Retired epochs remembered per device, so that a replay of one is not taken for a new epoch.
pub const MAX_RETIRED: usize = 64;
/// Devices followed.
pub const MAX_DEVICES: usize = 256;
/// The largest snapshot, in bytes: every bound above reached.
pub const MAX_SNAPSHOT: usize = 16 << 20;

/// Site and device.
pub type Source = (Slug, Slug);

/// One history: the numbers of one epoch of one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Site and device.
    pub source: Source,
    /// Epoch.
    pub epoch: Id8,
}

/// The numbers `from..=to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First.
    pub from: u64,
    /// Last, inclusive.
    pub to: u64,
}

impl Range {
    /// Whether there is no number in it.
    pub fn is_empty(self) -> bool {
        self.from > self.to
    }

    /// How many numbers there are in it.
    pub fn count(self) -> u64 {
        if self.is_empty() { 0 } else { self.to - self.from + 1 }
    }

    /// Whether `seq` is one of them.
    pub fn contains(self, seq: u64) -> bool {
        (self.from..=self.to).contains(&seq)
    }

    /// What two ranges share.
    pub fn overlap(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// The parts of it before, within and after `other`, those that are not empty, each with
    /// whether it is the one within.
    fn cut(self, other: Self) -> Vec<(Self, bool)> {
        let within = self.overlap(other);
        if within.is_empty() {
            return vec![(self, false)];
        }
        let before = Self { from: self.from, to: within.from - 1 };
        let after = Self { from: within.to + 1, to: self.to };
        let parts = [(before, false), (within, true), (after, false)];
        parts.into_iter().filter(|(part, _)| !part.is_empty()).collect()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// What the chain needs to know of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Site and device.
    pub source: Source,
    /// Epoch.
    pub epoch: Id8,
    /// Number within the epoch, from 1.
    pub seq: u64,
    /// Digest of the message before.
    pub prev: Digest,
    /// Digest of this message.
    pub digest: Digest,
}

impl From<&Verified<ResultMessage>> for Link {
    fn from(verified: &Verified<ResultMessage>) -> Self {
        let message = &verified.message;
        Self {
            source: (message.site.clone(), message.device.clone()),
            epoch: message.epoch,
            seq: message.seq,
            prev: message.prev,
            digest: verified.digest,
        }
    }
}

impl Link {
    /// The stream it belongs to.
    pub fn stream(&self) -> Stream {
        Stream { source: self.source.clone(), epoch: self.epoch }
    }
}

/// Where two signed histories of one epoch part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The number of the message that does not fit.
    pub seq: u64,
    /// The digest that was known, of that message or of its neighbour.
    pub known: Digest,
    /// The digest found in its place.
    pub found: Digest,
}

/// What one message means for the history known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next message, or the first.
    New,
    /// A later message; these are missing.
    Gap(Range),
    /// One of the missing messages, or one that the first message overtook.
    Filled,
    /// Already known, the same bytes.
    Duplicate,
    /// Another message with a number that was already used, or one that does not fit its
    /// neighbours: alarm.
    Fork(Fork),
    /// The epoch forked before: not to be believed.
    Forked(Fork),
    /// Older than the window, from before the start, or of a retired epoch: cannot be judged, do
    /// not show as new.
    TooOld,
    /// More devices than can be followed.
    TooManyDevices,
}

impl Verdict {
    /// Whether the message was not known before and belongs to the history.
    pub fn is_fresh(&self) -> bool {
        match self {
            Self::New | Self::Gap(_) | Self::Filled => true,
            Self::Duplicate
            | Self::Fork(_)
            | Self::Forked(_)
            | Self::TooOld
            | Self::TooManyDevices => false,
        }
    }
}

/// A verdict and what else the message changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What the message means.
    pub verdict: Verdict,
    /// This device was known under another epoch before: its state was made anew.
    pub new_epoch: bool,
    /// Missing numbers that are forgotten because there are more than [`MAX_GAPS`] gaps.
    pub forgotten: Vec<Range>,
}

impl Observation {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, new_epoch: false, forgotten: Vec::new() }
    }
}

/// Every device's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    devices: BTreeMap<Source, Device>,
    /// Where the history of a device never seen before starts; not part of a snapshot.
    start: Start,
}

/// Where a first history starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Start {
    /// With the first message that comes.
    #[default]
    AtFirst,
    /// With number 1.
    AtOne,
}

impl Chain {
    /// From now on every history starts at number 1, those known already as well. For whoever
    /// acknowledges: that says "everything up to here". Returns what there is no room to want.
    pub fn want_everything(&mut self) -> Vec<(Stream, Range)> {
        self.start = Start::AtOne;
        let mut forgotten = Vec::new();
        for (source, device) in &mut self.devices {
            for history in &mut device.epochs {
                history.start_at_one();
                let stream = Stream { source: source.clone(), epoch: history.epoch };
                let ranges = history.trim().into_iter();
                forgotten.extend(ranges.map(|range| (stream.clone(), range)));
            }
        }
        forgotten
    }

    /// Wants again what was given up.
    pub fn take_up(&mut self) {
        let histories = self.devices.values_mut().flat_map(|device| &mut device.epochs);
        histories.for_each(History::take_up);
    }

    /// Takes note of one verified message.
    pub fn observe(&mut self, link: &Link) -> Observation {
        let full = self.devices.len() >= MAX_DEVICES;
        if full && !self.devices.contains_key(&link.source) {
            return Observation::of(Verdict::TooManyDevices);
        }
        self.devices.entry(link.source.clone()).or_default().observe(link, self.start)
    }

    /// Takes note of one verified status.
    pub fn observe_status(&mut self, status: &StatusMessage) -> News {
        let source = (status.site.clone(), status.device.clone());
        let full = self.devices.len() >= MAX_DEVICES;
        if full && !self.devices.contains_key(&source) {
            return News::Same;
        }
        self.devices.entry(source).or_default().observe_status(status)
    }

    /// No longer wants these numbers; should they come, they are accepted still.
    pub fn give_up(&mut self, stream: &Stream, range: Range) {
        let epochs = self.devices.get_mut(&stream.source).map(|device| &mut device.epochs);
        let mut histories = epochs.into_iter().flatten();
        if let Some(history) = histories.find(|history| history.epoch == stream.epoch) {
            history.give_up(range);
            history.trim();
        }
    }

    /// The highest number up to which nothing that is wanted is missing: what a consumer may
    /// acknowledge. `None` for a stream that is not known or forked.
    pub fn contiguous(&self, stream: &Stream) -> Option<u64> {
        self.sound(stream).map(History::contiguous)
    }

    /// The highest number seen; `None` for a stream that is not known or forked.
    pub fn last_seq(&self, stream: &Stream) -> Option<u64> {
        self.sound(stream).map(|history| history.last_seq)
    }

    /// What is missing in a stream and wanted, lowest first.
    pub fn missing(&self, stream: &Stream) -> Vec<Range> {
        self.sound(stream).map_or(Vec::new(), |history| history.missing().collect())
    }

    /// Every stream in which something is missing.
    pub fn incomplete(&self) -> impl Iterator<Item = Stream> + '_ {
        self.histories(|history| history.fork.is_none() && history.missing().next().is_some())
            .map(|(stream, _)| stream)
    }

    /// Every stream that forked.
    pub fn forks(&self) -> impl Iterator<Item = (Stream, Fork)> + '_ {
        self.histories(|history| history.fork.is_some())
            .filter_map(|(stream, history)| Some((stream, history.fork?)))
    }

    /// Whether a stream forked.
    pub fn is_forked(&self, stream: &Stream) -> bool {
        self.history(stream).is_some_and(|history| history.fork.is_some())
    }

    fn histories(
        &self,
        which: impl Fn(&History) -> bool,
    ) -> impl Iterator<Item = (Stream, &History)> {
        self.devices
            .iter()
            .flat_map(|(source, device)| device.epochs.iter().map(move |h| (source, h)))
            .filter(move |(_, history)| which(history))
            .map(|(source, history)| {
                (Stream { source: source.clone(), epoch: history.epoch }, history)
            })
    }

    fn history(&self, stream: &Stream) -> Option<&History> {
        let device = self.devices.get(&stream.source)?;
        device.epochs.iter().find(|history| history.epoch == stream.epoch)
    }

    fn sound(&self, stream: &Stream) -> Option<&History> {
        self.history(stream).filter(|history| history.fork.is_none())
    }
}

/// One device: the epochs followed, oldest first, and the ids of those given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Device {
    epochs: VecDeque<History>,
    retired: VecDeque<Id8>,
    presence: Option<Presence>,
}

impl Device {
    fn observe(&mut self, link: &Link, start: Start) -> Observation {
        if let Some(known) = self.epochs.iter_mut().find(|history| history.epoch == link.epoch) {
            let verdict = known.observe(link);
            return Observation { forgotten: known.trim(), ..Observation::of(verdict) };
        }
        if self.retired.contains(&link.epoch) {
            return Observation::of(Verdict::TooOld);
        }
        let new_epoch = !self.epochs.is_empty();
        if self.epochs.len() == MAX_EPOCHS
            && let Some(oldest) = self.epochs.pop_front()
        {
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(oldest.epoch);
        }
        let first = if new_epoch || start == Start::AtOne { 1 } else { link.seq };
        let mut history = History::begin(link.epoch, first);
        let verdict = history.observe(link);
        self.epochs.push_back(history);
        Observation { new_epoch, ..Observation::of(verdict) }
    }
}

impl Device {
    fn observe_status(&mut self, status: &StatusMessage) -> News {
        let Some(known) = self.presence else {
            self.presence = Some(Presence::of(status));
            return News::Changed;
        };
        let Some(next) = known.after(status) else { return News::Old };
        self.presence = Some(next);
        if next.differs_from(&known) { News::Changed } else { News::Same }
    }
}

#[cfg(test)]
mod tests;
