//! One epoch of one device, as one subscriber has seen it. Decides about a message by number and
//! digest alone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Fork, Link, MAX_GAPS, REORDER_WINDOW, Range, SnapshotError, Verdict, WINDOW};
use crate::seal::wire::{Digest, Id8};

/// What is remembered of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) epoch: Id8,
    /// Where the history starts for this subscriber: nothing before it is missing.
    start: u64,
    /// `start - 1` before the first message; the digest before number 1 is zero, as `prev` demands.
    pub(super) last_seq: u64,
    pub(super) fork: Option<Fork>,
    /// By number, ascending. Holds whatever was seen of the last [`REORDER_WINDOW`] numbers.
    recent: VecDeque<Seen>,
    /// Disjoint, ascending.
    gaps: VecDeque<Gap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    seq: u64,
    prev: Digest,
    digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    range: Range,
    /// Nobody asks for it any more; should it come after all, it is welcome.
    given_up: bool,
}

impl History {
    /// Nothing seen yet; `start` is the first number that counts.
    pub(super) fn begin(epoch: Id8, start: u64) -> Self {
        let (recent, gaps) = (VecDeque::new(), VecDeque::new());
        Self { epoch, start, last_seq: start.saturating_sub(1), fork: None, recent, gaps }
    }

    pub(super) fn observe(&mut self, link: &Link) -> Verdict {
        if let Some(fork) = self.fork {
            return Verdict::Forked(fork);
        }
        if let Some(known) = self.recent.iter().find(|seen| seen.seq == link.seq) {
            let (known, found) = (known.digest, link.digest);
            return match known == found {
                true => Verdict::Duplicate,
                false => self.fork(Fork { seq: link.seq, known, found }),
            };
        }
        let place = self.place(link.seq);
        if matches!(place, Place::TooOld) {
            return Verdict::TooOld;
        }
        if let Some(fork) = self.contradiction(link) {
            return self.fork(fork);
        }
        let verdict = match place {
            Place::Ahead => self.advance(link.seq),
            Place::InGap(gap) => self.fill(gap, link.seq),
            Place::BeforeStart | Place::TooOld => Verdict::Filled,
        };
        self.remember(link);
        verdict
    }

    fn place(&self, seq: u64) -> Place {
        if seq > self.last_seq {
            return Place::Ahead;
        }
        if let Some(gap) = self.gaps.iter().position(|gap| gap.range.contains(seq)) {
            return Place::InGap(gap);
        }
        // A message seen before is in `recent` as long as its number is within the window.
        let is_late = seq < self.start && self.last_seq - seq <= REORDER_WINDOW;
        if is_late { Place::BeforeStart } else { Place::TooOld }
    }

    fn advance(&mut self, seq: u64) -> Verdict {
        let range = Range { from: self.last_seq + 1, to: seq - 1 };
        self.last_seq = seq;
        if range.is_empty() {
            return Verdict::New;
        }
        self.gaps.push_back(Gap { range, given_up: false });
        Verdict::Gap(range)
    }

    /// How a message contradicts those right before and right after it, where known.
    fn contradiction(&self, link: &Link) -> Option<Fork> {
        let seq = link.seq;
        let fork = |known, found| (known != found).then_some(Fork { seq, known, found });
        let before = self.recent.iter().find(|seen| seen.seq + 1 == seq);
        let after = self.recent.iter().find(|seen| seen.seq == seq + 1);
        before
            .and_then(|seen| fork(seen.digest, link.prev))
            .or_else(|| after.and_then(|seen| fork(seen.prev, link.digest)))
    }

    fn fork(&mut self, fork: Fork) -> Verdict {
        self.fork = Some(fork);
        Verdict::Fork(fork)
    }

    fn remember(&mut self, link: &Link) {
        let seen = Seen { seq: link.seq, prev: link.prev, digest: link.digest };
        let at = self.recent.partition_point(|other| other.seq < seen.seq);
        self.recent.insert(at, seen);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
    }

    /// Takes one number out of a gap, which may split it in two.
    fn fill(&mut self, at: usize, seq: u64) -> Verdict {
        if let Some(gap) = self.gaps.remove(at) {
            let right = Range { from: seq + 1, to: gap.range.to };
            let left = Range { from: gap.range.from, to: seq - 1 };
            for range in [right, left].into_iter().filter(|range| !range.is_empty()) {
                self.gaps.insert(at, Gap { range, ..gap });
            }
        }
        Verdict::Filled
    }

    /// Keeps the number of gaps within bounds; returns those that are forgotten although they were
    /// still wanted.
    pub(super) fn trim(&mut self) -> Vec<Range> {
        let mut forgotten = Vec::new();
        while self.gaps.len() > MAX_GAPS {
            let at = self.gaps.iter().position(|gap| gap.given_up).unwrap_or(0);
            let gap = self.gaps.remove(at).filter(|gap| !gap.given_up);
            forgotten.extend(gap.map(|gap| gap.range));
        }
        forgotten
    }

    /// What is missing and still wanted, lowest first.
    pub(super) fn missing(&self) -> impl Iterator<Item = Range> + '_ {
        self.gaps.iter().filter(|gap| !gap.given_up).map(|gap| gap.range)
    }

    /// The highest number below which nothing that is wanted is missing.
    pub(super) fn contiguous(&self) -> u64 {
        self.missing().next().map_or(self.last_seq, |range| range.from - 1)
    }

    /// No longer wants the numbers of this range.
    pub(super) fn give_up(&mut self, range: Range) {
        let gaps = std::mem::take(&mut self.gaps);
        for gap in gaps {
            for (part, is_inside) in gap.range.cut(range) {
                let given_up = gap.given_up || is_inside;
                self.gaps.push_back(Gap { range: part, given_up });
            }
        }
    }

    /// Wants everything from number 1.
    pub(super) fn start_at_one(&mut self) {
        let mut to = self.start - 1;
        for seen in self.recent.iter().rev().filter(|seen| seen.seq < self.start) {
            self.gaps.push_front(Gap { range: Range { from: seen.seq + 1, to }, given_up: false });
            to = seen.seq - 1;
        }
        self.gaps.push_front(Gap { range: Range { from: 1, to }, given_up: false });
        self.gaps.retain(|gap| !gap.range.is_empty());
        self.start = 1;
    }

    /// Wants again what was given up.
    pub(super) fn take_up(&mut self) {
        self.gaps.iter_mut().for_each(|gap| gap.given_up = false);
    }

    /// Refuses what [`History::observe`] cannot have made.
    pub(super) fn checked(self) -> Result<Self, SnapshotError> {
        let known = self.recent.iter().map(|seen| seen.seq);
        let gaps = self.gaps.iter().flat_map(|gap| [gap.range.from, gap.range.to]);
        let sound = self.recent.len() <= WINDOW
            && self.gaps.len() <= MAX_GAPS
            && (1..=self.last_seq.saturating_add(1)).contains(&self.start)
            && known.clone().is_sorted_by(|a, b| a < b)
            && known.clone().all(|seq| (1..=self.last_seq).contains(&seq))
            && gaps.clone().is_sorted()
            && gaps.clone().all(|seq| (self.start..=self.last_seq).contains(&seq));
        if sound { Ok(self) } else { Err(SnapshotError::Contradiction("an epoch out of order")) }
    }
}

/// Where a number not seen lately lies.
enum Place {
    /// Above everything seen.
    Ahead,
    /// In the gap at this position.
    InGap(usize),
    /// Right before the start: overtaken by the message the history starts with.
    BeforeStart,
    /// Further back, and not missing.
    TooOld,
}
