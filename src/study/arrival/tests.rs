//! Examples of every rule, and random schedules against a reference that keeps whole listings.

use proptest::prelude::*;

use super::*;

const SETTINGS: Inbox = Inbox {
    settle: Millis(10_000),
    deadline: Millis(60_000),
    rescan: Millis(5_000),
    retention: Millis(86_400_000),
};

fn file(name: &str, length: u64) -> Entry {
    Entry { name: name.into(), kind: Kind::File, length, modified_ns: 1_000 }
}

fn folder_with(entries: &[Entry]) -> Listing {
    Listing { entries: entries.to_vec(), marker: Marker::Absent }
}

fn marked(entries: &[Entry], marker: &str) -> Listing {
    let mut listing = folder_with(entries);
    listing.entries.push(file(".done", marker.len() as u64));
    listing.marker = Marker::parse(marker.as_bytes());
    listing
}

/// Looks at the same listing at each of these times; the verdict of the last look.
fn last_verdict(listing: &Listing, times_ms: &[u64]) -> Verdict {
    let mut arrival = Arrival::new(listing, Millis(times_ms[0]));
    let looks = times_ms.iter().map(|t| arrival.look(listing, Millis(*t), &SETTINGS));
    looks.last().unwrap()
}

#[test]
fn quiescence_needs_the_whole_settling_time() {
    let listing = folder_with(&[file("portal.nii", 10)]);
    assert_eq!(last_verdict(&listing, &[0, 9_999]), Verdict::Waiting);
    assert_eq!(last_verdict(&listing, &[0, 10_000]), Verdict::Complete(Rule::Quiescence));
}

#[test]
fn any_change_of_name_size_time_or_kind_starts_the_wait_again() {
    let before = file("portal.nii", 10);
    let changed = [
        Entry { name: "portal2.nii".into(), ..before.clone() },
        Entry { length: 11, ..before.clone() },
        Entry { modified_ns: 1_001, ..before.clone() },
        Entry { kind: Kind::Symlink, ..before.clone() },
    ];
    for after in changed {
        let mut arrival = Arrival::new(&folder_with(std::slice::from_ref(&before)), Millis(0));
        let after = folder_with(&[after]);
        assert_eq!(arrival.look(&after, Millis(9_000), &SETTINGS), Verdict::Waiting);
        assert_eq!(arrival.look(&after, Millis(18_999), &SETTINGS), Verdict::Waiting, "{after:?}");
        let settled = arrival.look(&after, Millis(19_000), &SETTINGS);
        assert_eq!(settled, Verdict::Complete(Rule::Quiescence));
    }
}

#[test]
fn the_order_of_a_listing_is_no_change() {
    let (a, b) = (file("a", 1), file("b", 2));
    let mut arrival = Arrival::new(&folder_with(&[a.clone(), b.clone()]), Millis(0));
    let turned = folder_with(&[b, a]);
    let verdict = arrival.look(&turned, Millis(10_000), &SETTINGS);
    assert_eq!(verdict, Verdict::Complete(Rule::Quiescence));
}

#[test]
fn a_growing_temporary_file_holds_the_folder_but_an_old_one_does_not() {
    let with_part = |length| folder_with(&[file("portal.nii", 9), file("art.nii.part", length)]);
    let mut arrival = Arrival::new(&with_part(0), Millis(0));
    for second in 1..=30 {
        let verdict = arrival.look(&with_part(second), Millis(second * 1_000), &SETTINGS);
        assert_eq!(verdict, Verdict::Waiting, "at {second} s");
    }
    let verdict = arrival.look(&with_part(30), Millis(40_000), &SETTINGS);
    assert_eq!(verdict, Verdict::Complete(Rule::Quiescence));
}

#[test]
fn a_marker_completes_at_once_when_its_promise_is_kept() {
    let files = [file("portal.nii", 10), file("clinical.json", 2)];
    let done = Verdict::Complete(Rule::DoneMarker);
    let digest = "0".repeat(64);
    let listing_names = |name: &str| format!(r#"{{"sha256":{{"{name}":"{digest}"}}}}"#);
    for kept in ["", r#"{"files":2}"#, r#"{"files":1}"#, &listing_names("portal.nii")] {
        assert_eq!(last_verdict(&marked(&files, kept), &[0]), done, "{kept}");
    }
    for broken in [r#"{"files":3}"#, &listing_names("arterial.nii")] {
        let listing = marked(&files, broken);
        assert_eq!(last_verdict(&listing, &[0, 30_000, 59_999]), Verdict::Waiting, "{broken}");
        assert_eq!(last_verdict(&listing, &[0, 60_000]), Verdict::Overdue, "{broken}");
    }
}

#[test]
fn an_open_marker_holds_the_folder_and_an_aborted_one_ends_the_wait() {
    let files = [file("a.dcm", 10)];
    let open = marked(&files, r#"{"open": true}"#);
    assert_eq!(last_verdict(&open, &[0, 30_000, 59_999]), Verdict::Waiting);
    assert_eq!(last_verdict(&open, &[0, 60_000]), Verdict::Overdue);
    let aborted = marked(&files, r#"{"aborted": true}"#);
    assert_eq!(last_verdict(&aborted, &[0]), Verdict::Complete(Rule::DoneMarker));
}

#[test]
fn a_marker_that_cannot_be_read_waits_for_quiet() {
    let listing = marked(&[file("portal.nii", 10)], r#"{"files": "#);
    assert_eq!(last_verdict(&listing, &[0, 9_999]), Verdict::Waiting);
    assert_eq!(last_verdict(&listing, &[0, 10_000]), Verdict::Complete(Rule::DoneMarker));
}

#[test]
fn a_folder_without_files_is_never_complete() {
    let sub_folder = Entry { kind: Kind::Folder, ..file("sub", 0) };
    let empty = [
        folder_with(&[]),
        folder_with(&[file(".DS_Store", 6), file("a.tmp", 1)]),
        folder_with(&[sub_folder]),
        marked(&[], ""),
        marked(&[], r#"{"aborted": true}"#),
    ];
    for listing in empty {
        assert_eq!(last_verdict(&listing, &[0, 59_999]), Verdict::Waiting, "{listing:?}");
        assert_eq!(last_verdict(&listing, &[0, 60_000]), Verdict::Overdue, "{listing:?}");
    }
}

#[test]
fn a_folder_that_never_rests_is_overdue_at_the_deadline() {
    let mut arrival = Arrival::new(&folder_with(&[file("portal.nii", 0)]), Millis(0));
    for second in 1..=60 {
        let listing = folder_with(&[file("portal.nii", second)]);
        let verdict = arrival.look(&listing, Millis(second * 1_000), &SETTINGS);
        let expected = if second < 60 { Verdict::Waiting } else { Verdict::Overdue };
        assert_eq!(verdict, expected, "at {second} s");
    }
}

#[test]
fn a_clock_that_jumps_back_only_delays() {
    let listing = folder_with(&[file("portal.nii", 10)]);
    let complete = Verdict::Complete(Rule::Quiescence);
    assert_eq!(last_verdict(&listing, &[1_000_000, 1_009_000, 5_000, 5_999]), Verdict::Waiting);
    assert_eq!(last_verdict(&listing, &[1_000_000, 1_009_000, 5_000, 6_000]), complete);
    assert_eq!(last_verdict(&listing, &[0, u64::MAX, 0, u64::MAX]), complete, "no overflow");
}

/// The verdict from the whole history: times never go back, listings are compared entry by entry.
fn reference(history: &[(u64, Listing)]) -> Verdict {
    let (now, listing) = history.last().unwrap();
    let sorted = |listing: &Listing| {
        let mut entries = listing.entries.clone();
        entries.sort();
        entries
    };
    let changed = |at: &usize| sorted(&history[*at].1) != sorted(&history[at - 1].1);
    let last_change = (1..history.len()).rev().find(changed).unwrap_or(0);
    let quiet = now - history[last_change].0 >= SETTINGS.settle.0;
    let ignored = |e: &Entry| {
        let name = e.name.to_str().unwrap();
        name.starts_with('.') || name.ends_with(".part")
    };
    let files = listing.entries.iter().filter(|e| e.kind == Kind::File && !ignored(e)).count();
    let by_rule = match &listing.marker {
        _ if files == 0 => None,
        Marker::Present(p) => (p.files.unwrap_or(0) <= files as u64).then_some(Rule::DoneMarker),
        Marker::Open => None,
        Marker::Aborted => Some(Rule::DoneMarker),
        Marker::Malformed => quiet.then_some(Rule::DoneMarker),
        Marker::Absent => quiet.then_some(Rule::Quiescence),
    };
    match by_rule {
        Some(rule) => Verdict::Complete(rule),
        None if now - history[0].0 >= SETTINGS.deadline.0 => Verdict::Overdue,
        None => Verdict::Waiting,
    }
}

fn any_listing() -> impl Strategy<Value = Listing> {
    let names = prop::sample::subsequence(vec!["a.nii", "b.nii", "c.part", ".x"], 0..=4);
    let markers = prop::sample::select(vec![
        None,
        None,
        None,
        Some(""),
        Some(r#"{"files":2}"#),
        Some("{"),
        Some(r#"{"open":true}"#),
        Some(r#"{"aborted":true}"#),
    ]);
    (names.prop_shuffle(), 0..2u64, markers).prop_map(|(names, length, marker)| {
        let entries: Vec<Entry> = names.iter().map(|name| file(name, length)).collect();
        marker.map_or_else(|| folder_with(&entries), |text| marked(&entries, text))
    })
}

/// Steps between looks in milliseconds, each with a new listing or with the one before.
fn any_schedule() -> impl Strategy<Value = Vec<(u64, Option<Listing>)>> {
    let step = prop_oneof![Just(0u64), 1..4_000u64, Just(5_000), Just(10_000), 4_000..20_000u64];
    let listing = prop_oneof![2 => Just(None), 1 => any_listing().prop_map(Some)];
    prop::collection::vec((step, listing), 1..30)
}

proptest! {
    #[test]
    fn every_look_agrees_with_the_reference(first in any_listing(), schedule in any_schedule()) {
        let mut arrival = Arrival::new(&first, Millis(7));
        let mut history = vec![(7, first)];
        for (step, listing) in schedule {
            let (before, same) = history.last().unwrap().clone();
            history.push((before + step, listing.unwrap_or(same)));
            let (now, listing) = history.last().unwrap();
            let verdict = arrival.look(listing, Millis(*now), &SETTINGS);
            prop_assert_eq!(verdict, reference(&history), "{:?}", history);
        }
    }

    #[test]
    fn never_complete_by_quiet_before_the_settling_time_whatever_the_clock_does(
        times in prop::collection::vec(0..40_000u64, 2..40),
        changes in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut length = 0;
        let mut arrival = Arrival::new(&folder_with(&[file("a.nii", length)]), Millis(times[0]));
        let (mut forwards, mut total) = (0, 0);
        for (pair, change) in times.windows(2).zip(changes) {
            length += u64::from(change);
            let step = pair[1].saturating_sub(pair[0]);
            forwards = if change { 0 } else { forwards + step };
            total += step;
            let listing = folder_with(&[file("a.nii", length)]);
            let verdict = arrival.look(&listing, Millis(pair[1]), &SETTINGS);
            prop_assert_eq!(verdict == Verdict::Complete(Rule::Quiescence), forwards >= 10_000);
            prop_assert!(total < 60_000 || verdict != Verdict::Waiting, "undecided at the deadline");
        }
    }
}
