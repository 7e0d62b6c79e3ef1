//! What a subscriber remembers of every device, so that nothing is lost, doubled or rewritten
//! unnoticed: per (device, epoch) the last number, the last digest, a window of recent ones and
//! the numbers still missing. Works on verified messages only ([`super::verify`]).
//!
//! ```text
//!                  seq = last + 1, prev fits ──► New
//!                  seq > last + 1            ──► Gap (ask for a resend), counts as received
//! observe(link) ──┤ seq ≤ last, digest known ──► Duplicate, or Fork when it differs
//!                  seq ≤ last, was missing   ──► Filled, or Fork when it does not fit
//!                  seq ≤ last, too long ago  ──► TooOld (cannot be judged)
//! ```
//!
//! A fork means that a device signed two histories. Nothing of that epoch is trusted afterwards:
//! every later message of it is answered with the same fork.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cbor::{self, CborError};
use super::verify::Verified;
use super::wire::{Digest, Id8, List, ResultMessage, Slug};

/// Digests remembered per epoch.
pub const WINDOW: usize = 128;
/// Gaps remembered per epoch; the oldest is given up when there are more.
pub const MAX_GAPS: usize = 32;
/// Epochs followed per device; the oldest is retired when there are more.
pub const MAX_EPOCHS: usize = 4;
/// Retired epochs remembered per device, so that a replay of one is not taken for a new epoch.
pub const MAX_RETIRED: usize = 64;
/// Devices followed.
pub const MAX_DEVICES: usize = 256;
/// The largest snapshot, in bytes: every bound above reached.
pub const MAX_SNAPSHOT: usize = 16 << 20;

/// What the chain needs to know of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Site and device.
    pub source: (Slug, Slug),
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

/// What one message means for the history known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next message.
    New,
    /// A later message; those from `from` to `to` are missing.
    Gap {
        /// First missing number.
        from: u64,
        /// Last missing number.
        to: u64,
    },
    /// One of the missing messages.
    Filled,
    /// Already known, the same bytes.
    Duplicate,
    /// Another message with a number that was already used, or one that does not fit its
    /// neighbours: alarm.
    Fork {
        /// The first number at which the histories part.
        seq: u64,
    },
    /// Older than the window or of a retired epoch: cannot be judged, do not show as new.
    TooOld,
    /// More devices than can be followed.
    TooManyDevices,
}

/// A verdict and whether it opened an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What the message means.
    pub verdict: Verdict,
    /// This device was known under another epoch before: its state was made anew.
    pub new_epoch: bool,
}

/// Every device's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    devices: BTreeMap<(Slug, Slug), Device>,
}

impl Chain {
    /// Takes note of one verified message.
    pub fn observe(&mut self, link: &Link) -> Observation {
        let full = self.devices.len() >= MAX_DEVICES;
        if full && !self.devices.contains_key(&link.source) {
            return Observation { verdict: Verdict::TooManyDevices, new_epoch: false };
        }
        self.devices.entry(link.source.clone()).or_default().observe(link)
    }

    /// The highest number up to which nothing is missing: what a consumer may acknowledge.
    pub fn contiguous(&self, source: &(Slug, Slug), epoch: Id8) -> Option<u64> {
        let history = self.history(source, epoch)?;
        Some(history.missing.front().map_or(history.last_seq, |gap| gap.from - 1))
    }

    /// The ranges `(first, last)` still missing in an epoch, lowest first.
    pub fn missing(&self, source: &(Slug, Slug), epoch: Id8) -> Vec<(u64, u64)> {
        let history = self.history(source, epoch);
        history.map_or(Vec::new(), |h| h.missing.iter().map(|gap| (gap.from, gap.to)).collect())
    }

    /// The state as bytes, for a file of the subscriber's.
    pub fn snapshot(&self) -> Result<Vec<u8>, CborError> {
        let devices = self.devices.iter().map(|(source, device)| RawDevice::of(source, device));
        cbor::encode(&RawChain { v: SNAPSHOT_VERSION, devices: devices.collect() }, MAX_SNAPSHOT)
    }

    /// The state a snapshot holds.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let raw: RawChain = cbor::decode(bytes, MAX_SNAPSHOT)?;
        if raw.v != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { found: raw.v });
        }
        let mut chain = Self::default();
        for device in raw.devices {
            let source = (device.site.clone(), device.device.clone());
            if chain.devices.insert(source, device.checked()?).is_some() {
                return Err(SnapshotError::Contradiction("a device twice"));
            }
        }
        if chain.devices.len() > MAX_DEVICES {
            return Err(SnapshotError::Contradiction("too many devices"));
        }
        Ok(chain)
    }

    fn history(&self, source: &(Slug, Slug), epoch: Id8) -> Option<&History> {
        self.devices.get(source)?.epochs.iter().find(|history| history.epoch == epoch)
    }
}

/// Why a snapshot is refused. A subscriber that meets one starts anew and says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Not the strict encoding of a snapshot.
    #[error("the subscriber's state cannot be decoded")]
    Cbor(#[from] CborError),
    /// Written by another version.
    #[error("the subscriber's state has version {found}, expected {SNAPSHOT_VERSION}")]
    Version {
        /// Version found.
        found: u64,
    },
    /// Cannot have been written by us.
    #[error("the subscriber's state contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// One device: the epochs followed, oldest first, and the ids of those given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Device {
    epochs: VecDeque<History>,
    retired: VecDeque<Id8>,
}

impl Device {
    fn observe(&mut self, link: &Link) -> Observation {
        if let Some(known) = self.epochs.iter_mut().find(|history| history.epoch == link.epoch) {
            return Observation { verdict: known.observe(link), new_epoch: false };
        }
        if self.retired.contains(&link.epoch) {
            return Observation { verdict: Verdict::TooOld, new_epoch: false };
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
        let mut history = History::begin(link.epoch);
        let verdict = history.observe(link);
        self.epochs.push_back(history);
        Observation { verdict, new_epoch }
    }
}

/// One epoch of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    epoch: Id8,
    /// 0 before the first message; the digest before it is zero, as `prev` of seq 1 demands.
    last_seq: u64,
    forked_at: Option<u64>,
    /// By number, ascending.
    recent: VecDeque<Seen>,
    /// Disjoint, ascending.
    missing: VecDeque<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    seq: u64,
    prev: Digest,
    digest: Digest,
}

/// Numbers `from..=to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: u64,
    to: u64,
}

impl History {
    fn begin(epoch: Id8) -> Self {
        let (recent, missing) = (VecDeque::new(), VecDeque::new());
        Self { epoch, last_seq: 0, forked_at: None, recent, missing }
    }

    fn observe(&mut self, link: &Link) -> Verdict {
        if let Some(seq) = self.forked_at {
            return Verdict::Fork { seq };
        }
        if let Some(known) = self.recent.iter().find(|seen| seen.seq == link.seq) {
            return match known.digest == link.digest {
                true => Verdict::Duplicate,
                false => self.fork(link.seq),
            };
        }
        if link.seq > self.last_seq {
            return self.advance(link);
        }
        let Some(gap) = self.missing.iter().position(|gap| gap.contains(link.seq)) else {
            return Verdict::TooOld;
        };
        if !self.fits(link) {
            return self.fork(link.seq);
        }
        self.fill(gap, link.seq);
        self.remember(link);
        Verdict::Filled
    }

    fn advance(&mut self, link: &Link) -> Verdict {
        if !self.fits(link) {
            return self.fork(link.seq);
        }
        let from = self.last_seq + 1;
        self.last_seq = link.seq;
        self.remember(link);
        if link.seq == from {
            return Verdict::New;
        }
        let to = link.seq - 1;
        if self.missing.len() == MAX_GAPS {
            self.missing.pop_front();
        }
        self.missing.push_back(Range { from, to });
        Verdict::Gap { from, to }
    }

    /// Whether a message agrees with those right before and right after it, where known.
    fn fits(&self, link: &Link) -> bool {
        let before = self.recent.iter().find(|seen| seen.seq + 1 == link.seq);
        let after = self.recent.iter().find(|seen| seen.seq == link.seq + 1);
        before.is_none_or(|seen| seen.digest == link.prev)
            && after.is_none_or(|seen| seen.prev == link.digest)
    }

    fn fork(&mut self, seq: u64) -> Verdict {
        self.forked_at = Some(seq);
        Verdict::Fork { seq }
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
    fn fill(&mut self, gap: usize, seq: u64) {
        let Some(range) = self.missing.remove(gap) else { return };
        let right = Range { from: seq + 1, to: range.to };
        let left = Range { from: range.from, to: seq - 1 };
        for part in [right, left] {
            if part.from <= part.to && self.missing.len() < MAX_GAPS {
                self.missing.insert(gap, part);
            }
        }
    }

    fn checked(self) -> Result<Self, SnapshotError> {
        let known = self.recent.iter().map(|seen| seen.seq);
        let gaps = self.missing.iter().flat_map(|gap| [gap.from, gap.to]);
        let sound = self.recent.len() <= WINDOW
            && self.missing.len() <= MAX_GAPS
            && known.clone().is_sorted_by(|a, b| a < b)
            && gaps.clone().is_sorted()
            && known.chain(gaps).all(|seq| (1..=self.last_seq).contains(&seq));
        if sound { Ok(self) } else { Err(SnapshotError::Contradiction("an epoch out of order")) }
    }
}

impl Range {
    fn contains(&self, seq: u64) -> bool {
        (self.from..=self.to).contains(&seq)
    }
}

const SNAPSHOT_VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChain {
    v: u64,
    devices: Vec<RawDevice>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    site: Slug,
    device: Slug,
    epochs: List<History, MAX_EPOCHS>,
    retired: List<Id8, MAX_RETIRED>,
}

impl RawDevice {
    fn of((site, device): &(Slug, Slug), state: &Device) -> Self {
        let mut raw = Self {
            site: site.clone(),
            device: device.clone(),
            epochs: List::empty(),
            retired: List::empty(),
        };
        for history in state.epochs.iter().take(MAX_EPOCHS) {
            let _within_bounds = raw.epochs.push(history.clone());
        }
        for epoch in state.retired.iter().take(MAX_RETIRED) {
            let _within_bounds = raw.retired.push(*epoch);
        }
        raw
    }

    fn checked(self) -> Result<Device, SnapshotError> {
        let mut seen = BTreeSet::new();
        let ids = self.epochs.iter().map(|history| history.epoch);
        if !ids.chain(self.retired.iter().copied()).all(|epoch| seen.insert(epoch)) {
            return Err(SnapshotError::Contradiction("an epoch twice"));
        }
        let epochs: Result<_, _> = self.epochs.iter().cloned().map(History::checked).collect();
        Ok(Device { epochs: epochs?, retired: self.retired.iter().copied().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::sha256;
    use crate::seal::wire::atoms::Octets;
    use proptest::prelude::*;

    fn source() -> (Slug, Slug) {
        (Slug::new("demo-site").unwrap(), Slug::new("box-1").unwrap())
    }

    /// Message `seq` of history `fork` in epoch `epoch`; history 0 is the true one.
    fn link(epoch: u8, seq: u64, fork: u8) -> Link {
        let digest = |seq: u64| match seq {
            0 => Digest::ZERO,
            _ => sha256(format!("{epoch}/{seq}/{fork}").as_bytes()),
        };
        Link {
            source: source(),
            epoch: Octets([epoch; 8]),
            seq,
            prev: digest(seq - 1),
            digest: digest(seq),
        }
    }

    fn verdicts(chain: &mut Chain, seqs: &[u64]) -> Vec<Verdict> {
        seqs.iter().map(|seq| chain.observe(&link(1, *seq, 0)).verdict).collect()
    }

    const EPOCH: Id8 = Octets([1; 8]);

    #[test]
    fn order_gaps_and_duplicates_are_told_apart() {
        let mut chain = Chain::default();
        use Verdict::{Duplicate, Filled, Gap, New, TooOld};
        assert_eq!(
            verdicts(&mut chain, &[1, 2, 2, 6, 4, 7, 4, 1]),
            [New, New, Duplicate, Gap { from: 3, to: 5 }, Filled, New, Duplicate, Duplicate]
        );
        assert_eq!(chain.missing(&source(), EPOCH), [(3, 3), (5, 5)]);
        assert_eq!(chain.contiguous(&source(), EPOCH), Some(2));
        assert_eq!(verdicts(&mut chain, &[3, 5]), [Filled, Filled]);
        assert_eq!(chain.contiguous(&source(), EPOCH), Some(7));
        let far = 7 + WINDOW as u64;
        let onwards: Vec<u64> = (8..=far).collect();
        assert!(verdicts(&mut chain, &onwards).iter().all(|verdict| *verdict == New));
        assert_eq!(verdicts(&mut chain, &[7, 8]), [TooOld, Duplicate], "the window's two sides");
    }

    #[test]
    fn a_subscriber_that_joins_late_sees_what_it_missed() {
        let mut chain = Chain::default();
        assert_eq!(verdicts(&mut chain, &[4]), [Verdict::Gap { from: 1, to: 3 }]);
        assert_eq!(chain.contiguous(&source(), EPOCH), Some(0));
    }

    #[test]
    fn the_same_number_with_other_bytes_is_a_fork_for_good() {
        let mut chain = Chain::default();
        verdicts(&mut chain, &[1, 2, 3]);
        assert_eq!(chain.observe(&link(1, 2, 9)).verdict, Verdict::Fork { seq: 2 });
        assert_eq!(verdicts(&mut chain, &[4]), [Verdict::Fork { seq: 2 }]);
    }

    #[test]
    fn a_history_that_does_not_join_on_is_a_fork() {
        let mut chain = Chain::default();
        verdicts(&mut chain, &[1, 2]);
        assert_eq!(chain.observe(&link(1, 3, 9)).verdict, Verdict::Fork { seq: 3 });
        let mut chain = Chain::default();
        verdicts(&mut chain, &[1, 3]);
        assert_eq!(
            chain.observe(&link(1, 2, 9)).verdict,
            Verdict::Fork { seq: 2 },
            "filling a gap"
        );
    }

    #[test]
    fn a_new_epoch_is_reported_and_an_old_one_cannot_come_back() {
        let mut chain = Chain::default();
        assert!(!chain.observe(&link(1, 1, 0)).new_epoch);
        for epoch in 2..=MAX_EPOCHS as u8 + 1 {
            let seen = chain.observe(&link(epoch, 1, 0));
            assert_eq!(seen, Observation { verdict: Verdict::New, new_epoch: true });
        }
        assert_eq!(chain.observe(&link(1, 2, 0)).verdict, Verdict::TooOld, "retired");
        assert_eq!(chain.observe(&link(2, 2, 0)).verdict, Verdict::New, "still followed");
    }

    #[test]
    fn devices_are_bounded() {
        let mut chain = Chain::default();
        let of_device = |n: usize| Link {
            source: (source().0, Slug::new(&format!("box-{n}")).unwrap()),
            ..link(1, 1, 0)
        };
        for n in 0..MAX_DEVICES {
            assert_eq!(chain.observe(&of_device(n)).verdict, Verdict::New);
        }
        assert_eq!(chain.observe(&of_device(MAX_DEVICES)).verdict, Verdict::TooManyDevices);
        assert_eq!(chain.observe(&of_device(0)).verdict, Verdict::Duplicate);
        assert_eq!(Chain::restore(&chain.snapshot().unwrap()), Ok(chain));
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let mut chain = Chain::default();
        verdicts(&mut chain, &[1, 5]);
        let bytes = chain.snapshot().unwrap();
        assert!(Chain::restore(&bytes[..bytes.len() - 1]).is_err());
        assert!(Chain::restore(b"").is_err());
        let mut other_version = bytes;
        other_version[2] = 2;
        assert_eq!(Chain::restore(&other_version), Err(SnapshotError::Version { found: 2 }));
    }

    proptest! {
        /// Whatever the order of arrival and wherever the subscriber restarts, the honest history
        /// never forks, and what is said to be missing is exactly what did not arrive.
        #[test]
        fn any_order_of_an_honest_history_is_understood(
            seqs in prop::collection::vec(1u64..30, 1..60),
            restart in any::<prop::sample::Index>(),
        ) {
            let mut chain = Chain::default();
            let mut arrived = BTreeSet::new();
            let restart = restart.index(seqs.len());
            for (step, seq) in seqs.iter().enumerate() {
                if step == restart {
                    chain = Chain::restore(&chain.snapshot().unwrap()).unwrap();
                }
                let verdict = chain.observe(&link(1, *seq, 0)).verdict;
                let again = !arrived.insert(*seq);
                prop_assert_eq!(verdict == Verdict::Duplicate, again);
                let forked = matches!(verdict, Verdict::Fork { .. });
                prop_assert!(!forked);
            }
            let last = arrived.last().copied().unwrap_or(0);
            let missing: Vec<u64> = (1..=last).filter(|seq| !arrived.contains(seq)).collect();
            let said: Vec<u64> =
                chain.missing(&source(), EPOCH).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(said, missing);
        }
    }
}
