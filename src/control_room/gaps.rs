//! When to ask a device for what is missing. Pure: the chain and the time are arguments.
//!
//! ```text
//! missing ── settled? ──no──► wait: it may have been overtaken on its way
//!               │yes
//!               ▼
//!            Ask ──► some of it came ──► the pauses start anew, until all of it is there
//!             ▲ │
//!             │ └──► nothing came ──► a pause, twice as long each time
//!             └─────────┘  │
//!                          └──► asked often enough ──► Lost, told once
//! ```
//!
//! A gap has settled when all of it is [`AskLimits::patience`] old, or further behind the newest
//! message than the reorder window of [`crate::seal::chain`]. What the device's signed status says
//! exists beyond the newest message counts as missing too, once nothing has arrived for as long.
//!
//! One gap is asked for in one piece at a time, newest piece first: a device keeps its newest
//! results. So what lies below a number that it does not give is given up together with it. While a
//! device is known to be away, nothing is asked and nothing is given up.

mod asking;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use self::asking::{Asking, Wanted};
use crate::seal::chain::{Chain, MAX_DEVICES, Range, Source, Stream};
use crate::seal::wire::messages::MAX_RESEND;
use crate::seal::wire::{DeviceState, Id8, StatusMessage};

/// Gaps of one stream that are asked for at once.
const MAX_PIECES: usize = 4;

/// The most numbers of one request, so that all pieces of a stream together stay within what a
/// device sends again.
pub const MAX_PIECE: u64 = MAX_RESEND / MAX_PIECES as u64;

/// How long to wait, and how often to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskLimits {
    /// How long a result may be overtaken on its way.
    pub patience: Duration,
    /// Wait after the first request in vain; it doubles with each further one.
    pub pause: Duration,
    /// Requests in vain, one after the other, before the numbers are given up.
    pub attempts: u32,
}

impl Default for AskLimits {
    /// Two seconds of patience; 4 s, 8 s … 128 s between six requests: some four minutes.
    fn default() -> Self {
        let (patience, pause) = (Duration::from_secs(2), Duration::from_secs(4));
        Self { patience, pause, attempts: 6 }
    }
}

/// What to do about missing numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask the device to send these again.
    Ask(Stream, Range),
    /// Asked for in vain: to be given up, and told.
    Lost(Stream, Range),
}

/// What was asked for, and what devices say of themselves.
#[derive(Debug, Default)]
pub struct Gaps {
    limits: AskLimits,
    devices: BTreeMap<Source, Announced>,
    streams: BTreeMap<Stream, Asking>,
    wake_at: Option<Instant>,
}

/// The last signed status of one device.
#[derive(Debug)]
struct Announced {
    epoch: Id8,
    /// The highest number that exists.
    last_seq: u64,
    is_present: bool,
    /// Beyond the newest message, numbers up to this one were asked for in vain.
    given_up_to: u64,
}

impl Gaps {
    /// Nothing asked yet.
    pub fn new(limits: AskLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A device speaks of itself. One that comes back is given a moment to go on by itself.
    pub fn heard(&mut self, status: &StatusMessage, now: Instant) {
        let source = (status.site.clone(), status.device.clone());
        if self.devices.len() >= MAX_DEVICES && !self.devices.contains_key(&source) {
            return;
        }
        let (epoch, last_seq) = (status.epoch, status.last_seq);
        let is_present = status.state == DeviceState::Online;
        let before = self.devices.get(&source);
        let given_up_to = before.filter(|b| b.epoch == epoch).map_or(0, |b| b.given_up_to);
        let is_back = is_present && before.is_some_and(|b| !b.is_present);
        let announced = Announced { epoch, last_seq, is_present, given_up_to };
        self.devices.insert(source.clone(), announced);
        if is_back {
            self.resume(now, |stream| stream.source == source);
        }
    }

    /// The connection to the broker is new: what was asked for over the last one may be lost.
    pub fn connected(&mut self, now: Instant) {
        self.resume(now, |_| true);
    }

    /// A request about this stream reached nobody.
    pub fn unheard(&mut self, stream: &Stream) {
        if let Some(asking) = self.streams.get_mut(stream) {
            asking.unheard();
        }
    }

    fn resume(&mut self, now: Instant, which: impl Fn(&Stream) -> bool) {
        for (_, asking) in self.streams.iter_mut().filter(|(stream, _)| which(stream)) {
            asking.resume(now, self.limits.patience);
        }
    }

    /// What to do now, at most `room` requests.
    pub fn next(&mut self, chain: &Chain, now: Instant, room: usize) -> Vec<Step> {
        let streams: BTreeSet<Stream> = chain.incomplete().chain(self.announced(chain)).collect();
        self.streams.retain(|stream, _| streams.contains(stream));
        self.wake_at = None;
        let mut steps = Vec::new();
        for stream in streams {
            let announced = self.devices.get_mut(&stream.source);
            if announced.as_ref().is_some_and(|announced| !announced.is_present) {
                continue;
            }
            let wanted = wanted(chain, &stream, announced.as_deref());
            let asking =
                self.streams.entry(stream.clone()).or_insert_with(|| Asking::begin(&wanted, now));
            let room = room.saturating_sub(steps.len());
            let turn = asking.next(&wanted, now, &self.limits, room);
            if let Some(announced) = announced {
                let lost = turn.lost.iter().map(|range| range.to).max().unwrap_or(0);
                announced.given_up_to = announced.given_up_to.max(lost);
            }
            self.wake_at = [self.wake_at, turn.wake_at].into_iter().flatten().min();
            steps.extend(turn.lost.into_iter().map(|range| Step::Lost(stream.clone(), range)));
            steps.extend(turn.ask.into_iter().map(|range| Step::Ask(stream.clone(), range)));
        }
        steps
    }

    /// When [`Gaps::next`] may have something although nothing was heard meanwhile.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Streams of which a device says that there is more than was seen.
    fn announced<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = Stream> + 'a {
        let streams = self.devices.iter().map(|(source, announced)| {
            (Stream { source: source.clone(), epoch: announced.epoch }, announced)
        });
        streams
            .filter(|(stream, announced)| {
                let seen = chain.last_seq(stream).unwrap_or(0).max(announced.given_up_to);
                announced.last_seq > seen && !chain.is_forked(stream)
            })
            .map(|(stream, _)| stream)
    }
}

fn wanted(chain: &Chain, stream: &Stream, announced: Option<&Announced>) -> Wanted {
    let received = chain.last_seq(stream).unwrap_or(0);
    let mut ranges = chain.missing(stream);
    if let Some(announced) = announced.filter(|announced| announced.epoch == stream.epoch) {
        let from = received.max(announced.given_up_to) + 1;
        let beyond = Range { from, to: announced.last_seq };
        ranges.extend((!beyond.is_empty()).then_some(beyond));
    }
    Wanted { ranges, received }
}

#[cfg(test)]
mod tests;
