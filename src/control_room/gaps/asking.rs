//! The requests about one stream: which gaps have settled, what is asked for, how often.

use std::time::{Duration, Instant};

use super::{AskLimits, MAX_PIECE, MAX_PIECES};
use crate::seal::chain::{REORDER_WINDOW, Range};

/// What is missing of one stream.
pub(super) struct Wanted {
    /// Ascending, disjoint.
    pub(super) ranges: Vec<Range>,
    /// The newest number received.
    pub(super) received: u64,
}

impl Wanted {
    /// The missing parts of a range.
    fn within(&self, range: Range) -> impl Iterator<Item = Range> + '_ {
        self.ranges.iter().map(move |r| r.overlap(range)).filter(|part| !part.is_empty())
    }
}

/// What is being asked for of one stream.
#[derive(Debug)]
pub(super) struct Asking {
    /// Gaps up to here are older than the patience.
    settled: u64,
    /// The newest number received at the time beside it: what settles next.
    next: (u64, Instant),
    /// The newest number received, and since when.
    newest: u64,
    heard_at: Instant,
    pieces: Vec<Piece>,
}

/// What one look at a stream comes to.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) ask: Vec<Range>,
    pub(super) lost: Vec<Range>,
    pub(super) wake_at: Option<Instant>,
}

impl Asking {
    /// Nothing asked yet.
    pub(super) fn begin(wanted: &Wanted, now: Instant) -> Self {
        let received = wanted.received;
        let (next, pieces) = ((received, now), Vec::new());
        Self { settled: 0, next, newest: received, heard_at: now, pieces }
    }

    /// What to do now, at most `room` requests.
    pub(super) fn next(
        &mut self,
        wanted: &Wanted,
        now: Instant,
        limits: &AskLimits,
        room: usize,
    ) -> Turn {
        let mut turn = Turn::default();
        let settled = self.settle(wanted, now, limits.patience);
        for mut piece in std::mem::take(&mut self.pieces) {
            let has_room = turn.ask.len() < room;
            match piece.next(wanted, now, limits, has_room) {
                Next::Complete => continue,
                Next::Wait => {}
                Next::Ask(range) => turn.ask.push(range),
                Next::GiveUp => {
                    let gaps = wanted.ranges.iter();
                    let touched = gaps.filter(|gap| !gap.overlap(piece.range).is_empty());
                    let below = Range { from: 0, to: piece.range.to };
                    turn.lost.extend(touched.map(|gap| gap.overlap(below)));
                    continue;
                }
            }
            self.pieces.push(piece);
        }
        for gap in wanted.ranges.iter().rev() {
            let is_busy = self.pieces.len() >= MAX_PIECES || turn.ask.len() >= room;
            if is_busy || gap.to > settled || self.is_in_hand(*gap) || turn.gives_up(*gap) {
                continue;
            }
            let from = gap.from.max(gap.to.saturating_sub(MAX_PIECE - 1));
            let range = Range { from, to: gap.to };
            self.pieces.push(Piece::first(range, now, limits));
            turn.ask.push(range);
        }
        // What is left of a gap that was given up in part is looked at again at once.
        let at_once = (!turn.lost.is_empty()).then_some(now);
        turn.wake_at = at_once.or_else(|| self.wake_at(wanted, limits.patience, settled));
        turn
    }

    /// What was asked for may not have arrived there: it is asked for again, after the patience.
    pub(super) fn resume(&mut self, now: Instant, patience: Duration) {
        self.heard_at = now;
        for piece in &mut self.pieces {
            piece.in_vain = piece.in_vain.saturating_sub(1);
            piece.again_at = now + patience;
        }
    }

    /// A request reached nobody; which of them, the broker's answer does not say.
    pub(super) fn unheard(&mut self) {
        for piece in &mut self.pieces {
            piece.in_vain = piece.in_vain.saturating_sub(1);
        }
    }

    /// Up to which number a gap is one for good.
    fn settle(&mut self, wanted: &Wanted, now: Instant, patience: Duration) -> u64 {
        if wanted.received != self.newest {
            (self.newest, self.heard_at) = (wanted.received, now);
        }
        if now >= self.next.1 + patience {
            self.settled = self.next.0;
            self.next = (wanted.received, now);
        }
        if now >= self.heard_at + patience {
            return u64::MAX;
        }
        self.settled.max(wanted.received.saturating_sub(REORDER_WINDOW + 1))
    }

    fn is_in_hand(&self, gap: Range) -> bool {
        self.pieces.iter().any(|piece| !piece.range.overlap(gap).is_empty())
    }

    fn wake_at(&self, wanted: &Wanted, patience: Duration, settled: u64) -> Option<Instant> {
        let unsettled = wanted.ranges.iter().any(|gap| gap.to > settled);
        let settles = unsettled.then(|| (self.next.1 + patience).min(self.heard_at + patience));
        settles.into_iter().chain(self.pieces.iter().map(|piece| piece.again_at)).min()
    }
}

impl Turn {
    fn gives_up(&self, gap: Range) -> bool {
        self.lost.iter().any(|lost| !lost.overlap(gap).is_empty())
    }
}

/// A range asked for.
#[derive(Debug)]
struct Piece {
    range: Range,
    /// How many numbers of it were missing when last looked at.
    left: u64,
    /// Requests since something came.
    in_vain: u32,
    again_at: Instant,
}

enum Next {
    Complete,
    Wait,
    Ask(Range),
    GiveUp,
}

impl Piece {
    fn first(range: Range, now: Instant, limits: &AskLimits) -> Self {
        Self { range, left: range.count(), in_vain: 1, again_at: now + limits.pause }
    }

    fn next(&mut self, wanted: &Wanted, now: Instant, limits: &AskLimits, room: bool) -> Next {
        let left: u64 = wanted.within(self.range).map(Range::count).sum();
        if left == 0 {
            return Next::Complete;
        }
        if left < self.left {
            (self.left, self.in_vain) = (left, 0);
            self.again_at = now + limits.pause;
        }
        if now < self.again_at {
            return Next::Wait;
        }
        if self.in_vain >= limits.attempts {
            return Next::GiveUp;
        }
        if !room {
            return Next::Wait;
        }
        self.in_vain += 1;
        let factor = 1u32.checked_shl(self.in_vain - 1).unwrap_or(u32::MAX);
        self.again_at = now + limits.pause.saturating_mul(factor);
        let parts = wanted.within(self.range).map(|part| (part.from, part.to));
        let (from, to) =
            parts.fold((u64::MAX, 0), |all, part| (all.0.min(part.0), all.1.max(part.1)));
        Next::Ask(Range { from, to })
    }
}
