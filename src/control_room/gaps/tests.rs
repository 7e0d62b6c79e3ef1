//! Gaps in simulated time: an honest history over a bad way, a device that answers or does not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::seal::chain::{Link, REORDER_WINDOW};
use crate::seal::wire::atoms::Octets;
use crate::seal::wire::{Digest, Slug, samples};

const LIMITS: AskLimits =
    AskLimits { patience: Duration::from_secs(2), pause: Duration::from_secs(4), attempts: 6 };

fn link(seq: u64) -> Link {
    let digest = |seq: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seq.to_le_bytes());
        Octets(bytes)
    };
    let StatusMessage { site, device, epoch, .. } = samples::status();
    Link { source: (site, device), epoch, seq, prev: digest(seq - 1), digest: digest(seq) }
}

fn stream() -> Stream {
    link(1).stream()
}

fn status(last_seq: u64, state: DeviceState) -> StatusMessage {
    StatusMessage { last_seq, state, last_digest: Digest::ZERO, ..samples::status() }
}

/// A subscriber that wants everything, with a clock of its own.
struct World {
    chain: Chain,
    gaps: Gaps,
    now: Instant,
    asked: Vec<Range>,
    lost: Vec<Range>,
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::default();
        chain.want_everything();
        let (gaps, now) = (Gaps::new(LIMITS), Instant::now());
        Self { chain, gaps, now, asked: Vec::new(), lost: Vec::new() }
    }

    fn arrives(&mut self, seqs: impl IntoIterator<Item = u64>) -> &mut Self {
        for seq in seqs {
            self.chain.observe(&link(seq));
        }
        self
    }

    /// Looks now; returns what is asked.
    fn look(&mut self) -> Vec<Range> {
        let mut asks = Vec::new();
        for step in self.gaps.next(&self.chain, self.now, 100) {
            match step {
                Step::Ask(of, range) => {
                    assert_eq!(of, stream());
                    asks.push(range);
                }
                Step::Lost(of, range) => {
                    self.chain.give_up(&of, range);
                    self.lost.push(range);
                }
            }
        }
        self.asked.extend(&asks);
        asks
    }

    /// Looks whenever the time has come, until `until`; returns what is asked.
    fn wait(&mut self, until: Instant) -> Vec<Range> {
        let mut lost = self.lost.len();
        let mut asks = self.look();
        while let Some(at) = self.gaps.wake_at().filter(|at| *at <= until) {
            let has_given_up = std::mem::replace(&mut lost, self.lost.len()) < self.lost.len();
            assert!(at > self.now || has_given_up, "no time passes");
            self.now = at;
            asks.extend(self.look());
        }
        self.now = until;
        asks
    }

    fn wait_s(&mut self, seconds: u64) -> Vec<Range> {
        self.wait(self.now + Duration::from_secs(seconds))
    }
}

fn range(from: u64, to: u64) -> Range {
    Range { from, to }
}

#[test]
fn a_gap_is_asked_for_when_it_is_old_enough() {
    let mut world = World::new();
    assert_eq!(world.arrives([1, 2, 5]).look(), []);
    assert_eq!(world.gaps.wake_at(), Some(world.now + LIMITS.patience));
    assert_eq!(world.wait_s(1), []);
    assert_eq!(world.arrives([6]).wait_s(1), [range(3, 4)]);
    world.arrives([3, 4]);
    assert_eq!(world.wait_s(10_000), []);
    assert_eq!(world.gaps.wake_at(), None, "nothing left to wait for");
}

#[test]
fn a_gap_is_asked_for_when_it_is_far_behind() {
    let mut world = World::new();
    world.arrives([1]).arrives(3..=2 + REORDER_WINDOW);
    assert_eq!(world.look(), [], "{REORDER_WINDOW} later messages");
    assert_eq!(world.arrives([3 + REORDER_WINDOW]).look(), [range(2, 2)]);
}

#[test]
fn requests_in_vain_grow_apart_and_end() {
    let mut world = World::new();
    world.arrives([1, 4]).wait_s(2);
    let mut times = Vec::new();
    let start = world.now;
    while world.lost.is_empty() {
        let at = world.gaps.wake_at().unwrap();
        times.extend(world.wait(at).iter().map(|_| (at - start).as_secs()));
    }
    assert_eq!(times, [4, 12, 28, 60, 124], "after the first one");
    assert_eq!((world.now - start).as_secs(), 252);
    assert_eq!(world.lost, [range(2, 3)]);
    assert_eq!(world.wait_s(100_000), [], "told once, not asked for again");
    assert_eq!(world.lost.len(), 1);
    world.chain.take_up();
    assert_eq!(world.wait_s(2), [range(2, 3)], "unless told to");
}

#[test]
fn answers_start_the_pauses_anew() {
    let mut world = World::new();
    world.arrives([1, 12]).wait_s(2);
    for seq in 2..=6 {
        assert_eq!(world.wait_s(4), [range(seq, 11)], "some is missing still");
        world.arrives([seq]);
        assert_eq!(world.wait_s(3), []);
    }
    assert_eq!(world.arrives(7..=11).wait_s(10_000), []);
    assert_eq!(world.lost, []);
}

#[test]
fn newest_first_and_what_a_device_no_longer_has_ends_the_gap() {
    let mut world = World::new();
    world.arrives([10_000]);
    world.wait_s(2);
    let (mut to, kept) = (9_999, 9_600);
    while to > kept {
        let piece = range(to - MAX_PIECE + 1, to);
        assert_eq!(world.asked.last(), Some(&piece));
        world.arrives(piece.from.max(kept)..=piece.to).look();
        to -= MAX_PIECE;
    }
    let asked = world.asked.len();
    world.wait_s(1_000);
    assert_eq!(world.asked[asked..], [range(9_500, 9_599); 6]);
    assert_eq!(world.lost, [range(1, 9_599)]);
    assert_eq!(world.chain.contiguous(&stream()), Some(10_000));
}

#[test]
fn a_gap_that_reaches_into_the_window_is_asked_for_as_a_whole() {
    let mut world = World::new();
    let newest = 20 + REORDER_WINDOW;
    world.arrives(1..=10).arrives(21..=newest);
    assert_eq!(world.look(), [], "20 is {REORDER_WINDOW} behind");
    assert_eq!(world.arrives([newest + 1]).look(), [range(11, 20)]);
}

#[test]
fn what_a_device_says_it_has_is_asked_for() {
    let mut world = World::new();
    world.gaps.heard(&status(3, DeviceState::Online), world.now);
    assert_eq!(world.wait_s(1), [], "results are on their way");
    assert_eq!(world.arrives([1]).wait_s(1), []);
    assert_eq!(world.wait_s(1), [range(2, 3)]);
    assert_eq!(world.arrives([2, 3]).wait_s(10_000), []);
    world.gaps.heard(&status(5, DeviceState::Online), world.now);
    world.wait_s(1_000);
    assert_eq!(world.lost, [range(4, 5)]);
    world.gaps.heard(&status(5, DeviceState::Online), world.now);
    assert_eq!(world.wait_s(1_000), [], "given up, however often the device says so");
    world.gaps.heard(&status(7, DeviceState::Online), world.now);
    assert_eq!(world.wait_s(2), [range(6, 7)]);
}

#[test]
fn a_device_that_is_away_is_not_asked_and_loses_nothing() {
    let mut world = World::new();
    world.arrives([1, 4]).wait_s(2);
    for away in [DeviceState::Offline, DeviceState::Stopped] {
        world.gaps.heard(&status(4, away), world.now);
        assert_eq!(world.wait_s(100_000), []);
        world.gaps.heard(&status(4, DeviceState::Online), world.now);
        assert_eq!(world.wait_s(1), []);
        assert_eq!(world.wait_s(1), [range(2, 3)]);
    }
    world.gaps.connected(world.now);
    assert_eq!(world.wait_s(2), [range(2, 3)], "the request may be lost with the connection");
    assert_eq!(world.lost, []);
}

#[test]
fn a_forked_history_is_not_asked_for() {
    let mut world = World::new();
    world.arrives([1, 4]);
    world.chain.observe(&Link { digest: Octets([9; 32]), ..link(4) });
    world.gaps.heard(&status(9, DeviceState::Online), world.now);
    assert_eq!(world.wait_s(1_000), []);
}

#[test]
fn no_room_is_no_request_in_vain() {
    let mut world = World::new();
    world.arrives([1, 4]).wait_s(1);
    world.now += Duration::from_secs(1_000);
    let none = |world: &mut World| world.gaps.next(&world.chain, world.now, 0);
    assert_eq!(none(&mut world), []);
    assert_eq!(world.look(), [range(2, 3)]);
    world.now += Duration::from_secs(1_000);
    for _ in 0..10 {
        assert_eq!(none(&mut world), []);
    }
    assert_eq!(world.look(), [range(2, 3)]);
}

#[test]
fn only_so_many_devices_are_listened_to() {
    let mut world = World::new();
    for n in 0..=MAX_DEVICES {
        let device = Slug::new(&format!("box-{n}")).unwrap();
        let status = StatusMessage { device, ..status(1, DeviceState::Online) };
        world.gaps.heard(&status, world.now);
    }
    assert_eq!(world.gaps.devices.len(), MAX_DEVICES);
}

/// When each message arrives, milliseconds after the start: sent 100 ms apart, each at most
/// `late_ms` late.
fn arrivals(late_ms: &[u64]) -> BTreeMap<u64, Vec<u64>> {
    let mut arrivals: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (seq, late) in (1u64..).zip(late_ms) {
        arrivals.entry(100 * seq + late).or_default().push(seq);
    }
    arrivals
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever overtakes what within the window, nothing is asked for.
    #[test]
    fn what_arrives_within_the_window_is_not_asked_for(
        late_ms in prop::collection::vec(0u64..1_600, 1..80),
    ) {
        let mut world = World::new();
        let start = world.now;
        for (at_ms, seqs) in arrivals(&late_ms) {
            let asked = world.wait(start + Duration::from_millis(at_ms));
            prop_assert_eq!(asked, vec![]);
            let looked = world.arrives(seqs).look();
            prop_assert_eq!(looked, vec![]);
        }
        prop_assert_eq!(world.wait_s(10_000), vec![]);
    }

    /// A way that loses messages and requests, a device that no longer has its oldest results:
    /// in the end everything it has is here, what it has not is told as lost, once, and both took
    /// a bounded number of requests.
    #[test]
    fn every_real_gap_is_asked_for_and_finitely_often(
        lost in prop::collection::vec(prop::bool::weighted(0.3), 2..120),
        answers in prop::collection::vec(prop::bool::weighted(0.6), 1..40),
        kept_from in 1u64..40,
    ) {
        let mut world = World::new();
        let last = lost.len() as u64;
        for seq in (1..=last).filter(|seq| !lost[*seq as usize - 1]) {
            world.arrives([seq]);
        }
        let missing: Vec<u64> =
            (1..=last).filter(|seq| lost[*seq as usize - 1]).collect();
        world.gaps.heard(&status(last, DeviceState::Online), world.now);
        let mut asks = 0;
        let mut answers = answers.iter().cycle();
        loop {
            for ask in world.look() {
                asks += 1;
                // Every sixth request at the latest gets through.
                if *answers.next().unwrap() || asks % 5 == 0 {
                    world.arrives((ask.from.max(kept_from)..=ask.to).filter(|seq| seq % 7 != 3 || asks % 2 == 0));
                }
            }
            let Some(at) = world.gaps.wake_at() else { break };
            prop_assert!(at > world.now || !world.lost.is_empty());
            world.now = at;
            prop_assert!(asks < 100 * last, "asked without end");
        }
        for seq in missing {
            let is_lost = world.lost.iter().filter(|range| range.contains(seq)).count();
            let is_here = world.chain.missing(&stream()).iter().all(|gap| !gap.contains(seq));
            prop_assert!(is_here && is_lost <= 1);
            prop_assert!(is_lost == 1 || seq >= kept_from, "{seq} cannot have come");
            let was_asked = world.asked.iter().any(|ask| ask.contains(seq));
            prop_assert!(was_asked, "{seq} was not asked for");
        }
    }
}
