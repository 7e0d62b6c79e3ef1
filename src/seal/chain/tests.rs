//! The chain as a whole: order, starts, gaps, forks, bounds, snapshots.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::seal::cose::sha256;
use crate::seal::wire::atoms::Octets;

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

fn stream() -> Stream {
    link(1, 1, 0).stream()
}

fn range(from: u64, to: u64) -> Range {
    Range { from, to }
}

/// Where the message `seq` of history 9 contradicts message `known` of the true one.
fn fork(seq: u64, known: u64) -> Fork {
    Fork { seq, known: link(1, known, 0).digest, found: link(1, known, 9).digest }
}

#[test]
fn order_gaps_and_duplicates_are_told_apart() {
    let mut chain = Chain::default();
    use Verdict::{Duplicate, Filled, Gap, New, TooOld};
    assert_eq!(
        verdicts(&mut chain, &[1, 2, 2, 6, 4, 7, 4, 1]),
        [New, New, Duplicate, Gap(range(3, 5)), Filled, New, Duplicate, Duplicate]
    );
    assert_eq!(chain.missing(&stream()), [range(3, 3), range(5, 5)]);
    assert_eq!(chain.contiguous(&stream()), Some(2));
    assert_eq!(verdicts(&mut chain, &[3, 5]), [Filled, Filled]);
    assert_eq!(chain.contiguous(&stream()), Some(7));
    let far = 7 + WINDOW as u64;
    let onwards: Vec<u64> = (8..=far).collect();
    assert!(verdicts(&mut chain, &onwards).iter().all(|verdict| *verdict == New));
    assert_eq!(verdicts(&mut chain, &[7, 8]), [TooOld, Duplicate], "the window's two sides");
}

#[test]
fn a_history_starts_with_the_first_message_whatever_its_number() {
    use Verdict::{Duplicate, Filled, Gap, New, TooOld};
    let mut chain = Chain::default();
    assert_eq!(
        verdicts(&mut chain, &[100, 98, 98, 99, 101, 104]),
        [New, Filled, Duplicate, Filled, New, Gap(range(102, 103))]
    );
    assert_eq!(chain.contiguous(&stream()), Some(101));
    assert_eq!(verdicts(&mut chain, &[87, 88]), [TooOld, Filled], "the reorder window's two sides");
    let onwards: Vec<u64> = (105..=120).collect();
    verdicts(&mut chain, &onwards);
    let seen_and_unseen = verdicts(&mut chain, &[98, 97, 88, 102]);
    assert_eq!(seen_and_unseen, [Duplicate, TooOld, Duplicate, Filled]);
    let missing = chain.missing(&stream());
    assert_eq!(missing, [range(103, 103)], "nothing before the start");
}

#[test]
fn what_comes_late_must_fit_the_first_message() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[100]);
    let verdict = chain.observe(&link(1, 99, 9)).verdict;
    assert_eq!(verdict, Verdict::Fork(fork(99, 99)));
}

#[test]
fn whoever_wants_everything_misses_what_came_before_its_start() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[100, 97, 102]);
    assert_eq!(chain.want_everything(), []);
    let missing = [range(1, 96), range(98, 99), range(101, 101)];
    assert_eq!(chain.missing(&stream()), missing);
    assert_eq!(chain.contiguous(&stream()), Some(0));
    let next = Link { source: (source().0, Slug::new("box-2").unwrap()), ..link(1, 4, 0) };
    assert_eq!(chain.observe(&next).verdict, Verdict::Gap(range(1, 3)), "a device seen later");
    chain.want_everything();
    assert_eq!(chain.missing(&stream()), missing, "wanting twice changes nothing");
}

#[test]
fn what_is_given_up_is_passed_over_and_still_welcome() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[1, 12]);
    chain.give_up(&stream(), range(0, 8));
    assert_eq!(chain.missing(&stream()), [range(9, 11)]);
    assert_eq!(chain.contiguous(&stream()), Some(8));
    let mut chain = Chain::restore(&chain.snapshot().unwrap()).unwrap();
    assert_eq!(verdicts(&mut chain, &[5, 5]), [Verdict::Filled, Verdict::Duplicate]);
    chain.give_up(&stream(), range(9, 20));
    assert_eq!(chain.contiguous(&stream()), Some(12));
    chain.take_up();
    assert_eq!(chain.missing(&stream()), [range(2, 4), range(6, 8), range(9, 11)]);
}

#[test]
fn the_oldest_gap_is_forgotten_when_there_are_too_many() {
    let mut chain = Chain::default();
    let odd: Vec<u64> = (0..=MAX_GAPS as u64).map(|n| 2 * n + 1).collect();
    verdicts(&mut chain, &odd);
    assert_eq!(chain.missing(&stream()).len(), MAX_GAPS);
    let observation = chain.observe(&link(1, odd[MAX_GAPS] + 2, 0));
    assert_eq!(observation.forgotten, [range(2, 2)]);
    chain.give_up(&stream(), range(10, 10));
    let observation = chain.observe(&link(1, odd[MAX_GAPS] + 4, 0));
    assert_eq!(observation.forgotten, [], "one that nobody wants goes first");
    assert_eq!(chain.missing(&stream()).len(), MAX_GAPS);
}

#[test]
fn the_same_number_with_other_bytes_is_a_fork_for_good() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[1, 2, 3, 5]);
    assert_eq!(chain.observe(&link(1, 2, 9)).verdict, Verdict::Fork(fork(2, 2)));
    let mut chain = Chain::restore(&chain.snapshot().unwrap()).unwrap();
    assert_eq!(verdicts(&mut chain, &[4]), [Verdict::Forked(fork(2, 2))]);
    assert_eq!(chain.forks().collect::<Vec<_>>(), [(stream(), fork(2, 2))]);
    assert_eq!(chain.contiguous(&stream()), None, "nothing of it is acknowledged");
    assert_eq!((chain.missing(&stream()), chain.incomplete().count()), (vec![], 0));
}

#[test]
fn a_history_that_does_not_join_on_is_a_fork() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[1, 2]);
    assert_eq!(chain.observe(&link(1, 3, 9)).verdict, Verdict::Fork(fork(3, 2)));
    let mut chain = Chain::default();
    verdicts(&mut chain, &[2, 4]);
    let torn = Link { prev: link(1, 2, 0).digest, ..link(1, 3, 9) };
    assert_eq!(chain.observe(&torn).verdict, Verdict::Fork(fork(3, 3)), "filling a gap");
}

#[test]
fn a_new_epoch_is_reported_and_an_old_one_cannot_come_back() {
    let mut chain = Chain::default();
    assert!(!chain.observe(&link(1, 1, 0)).new_epoch);
    for epoch in 2..=MAX_EPOCHS as u8 + 1 {
        let seen = chain.observe(&link(epoch, 1, 0));
        assert_eq!((seen.verdict, seen.new_epoch), (Verdict::New, true));
    }
    assert_eq!(chain.observe(&link(1, 2, 0)).verdict, Verdict::TooOld, "retired");
    assert_eq!(chain.observe(&link(2, 2, 0)).verdict, Verdict::New, "still followed");
    let verdict = chain.observe(&link(9, 3, 0)).verdict;
    assert_eq!(verdict, Verdict::Gap(range(1, 2)), "a further epoch starts at 1");
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
fn a_snapshot_with_every_bound_reached_fits() {
    let mut chain = Chain::default();
    let high = 1 << 40;
    for epoch in 0..(MAX_RETIRED + MAX_EPOCHS) as u8 {
        let followed = epoch as usize >= MAX_RETIRED;
        let steps = if followed { (WINDOW + MAX_GAPS) as u64 } else { 1 };
        for seq in (0..steps).map(|step| high + 2 * step) {
            chain.observe(&link(epoch, seq, 0));
        }
    }
    let of_one_device = chain.snapshot().unwrap().len();
    assert!(of_one_device * MAX_DEVICES < MAX_SNAPSHOT, "{of_one_device} bytes");
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut chain = Chain::default();
    verdicts(&mut chain, &[1, 5]);
    let bytes = chain.snapshot().unwrap();
    assert!(Chain::restore(&bytes[..bytes.len() - 1]).is_err());
    assert!(Chain::restore(b"").is_err());
    let mut other_version = bytes;
    other_version[2] = 1;
    assert_eq!(Chain::restore(&other_version), Err(SnapshotError::Version { found: 1 }));
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
        chain.want_everything();
        let mut arrived = BTreeSet::new();
        let restart = restart.index(seqs.len());
        for (step, seq) in seqs.iter().enumerate() {
            if step == restart {
                chain = Chain::restore(&chain.snapshot().unwrap()).unwrap();
                chain.want_everything();
            }
            let verdict = chain.observe(&link(1, *seq, 0)).verdict;
            let again = !arrived.insert(*seq);
            prop_assert_eq!(verdict == Verdict::Duplicate, again);
            let forked = matches!(verdict, Verdict::Fork(_));
            prop_assert!(!forked);
        }
        let last = arrived.last().copied().unwrap_or(0);
        let missing: Vec<u64> = (1..=last).filter(|seq| !arrived.contains(seq)).collect();
        let said: Vec<u64> =
            chain.missing(&stream()).into_iter().flat_map(|gap| gap.from..=gap.to).collect();
        prop_assert_eq!(said, missing);
    }
    /// Wherever a subscriber joins, no number is shown as new twice, and what it acknowledges it
    /// has seen, from its first message on.
    #[test]
    fn no_number_is_new_twice(
        seqs in prop::collection::vec(1u64..80, 1..100),
        restart in any::<prop::sample::Index>(),
    ) {
        let mut chain = Chain::default();
        let mut fresh = BTreeSet::new();
        let restart = restart.index(seqs.len());
        for (step, seq) in seqs.iter().enumerate() {
            if step == restart {
                chain = Chain::restore(&chain.snapshot().unwrap()).unwrap();
            }
            if chain.observe(&link(1, *seq, 0)).verdict.is_fresh() {
                prop_assert!(fresh.insert(*seq));
            }
            let acknowledged = chain.contiguous(&stream()).unwrap();
            prop_assert!((seqs[0]..=acknowledged).all(|seq| fresh.contains(&seq)));
        }
    }
}
