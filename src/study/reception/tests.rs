//! Every rule by example, both sides of every bound, and random sequences against a reference that
//! keeps the whole history.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { files: 4, study: Bytes(100), quiet: Millis(10_000) };
const A: StudyKey = StudyKey([1; 8]);
const B: StudyKey = StudyKey([2; 8]);

fn file(length: u64) -> StoredFile {
    StoredFile { length, sha256: [length as u8; 32] }
}

fn reception() -> Reception {
    Reception::new(BOUNDS)
}

impl Reception {
    /// One object from begin to end.
    fn send(&mut self, by: AssociationId, key: StudyKey, name: &str, now: u64) {
        self.begin(by, key, name, Millis(now)).unwrap();
        if self.folder(key).is_none() {
            self.place(key, format!("folder-{key}-{now}"));
        }
        self.stored(by, key, name.to_owned(), file(1));
    }

    fn closed(&mut self, now: u64) -> Vec<(bool, Vec<String>)> {
        let names = |closing: Closing| (closing.whole, closing.files.into_keys().collect());
        self.due(Millis(now)).into_iter().map(names).collect()
    }
}

fn whole(names: &[&str]) -> Vec<(bool, Vec<String>)> {
    vec![(true, names.iter().map(|name| (*name).to_owned()).collect())]
}

fn cut_off(names: &[&str]) -> Vec<(bool, Vec<String>)> {
    vec![(false, names.iter().map(|name| (*name).to_owned()).collect())]
}

#[test]
fn a_study_is_closed_when_its_last_association_has_been_over_for_the_quiet_time() {
    let mut all = reception();
    let (first, second) = (all.open(), all.open());
    all.send(first, A, "a", 0);
    all.send(second, A, "b", 1_000);
    all.end(first, Ending::Released, Millis(2_000));
    assert_eq!(all.closed(60_000), [], "the second still feeds it");
    all.end(second, Ending::Released, Millis(60_000));
    assert_eq!(all.closed(69_999), []);
    assert_eq!(all.closed(70_000), whole(&["a", "b"]));
    assert_eq!(all.closed(99_000), [], "once");
}

#[test]
fn one_association_per_series_makes_one_study() {
    let mut all = reception();
    for (at, name) in [(0, "a"), (11_000, "b"), (22_000, "c")] {
        let id = all.open();
        all.send(id, A, name, at);
        all.end(id, Ending::Released, Millis(at + 2_000));
        assert_eq!(all.closed(at + 10_999), []);
    }
    assert_eq!(all.closed(34_000), whole(&["a", "b", "c"]));
}

#[test]
fn an_association_that_mixes_studies_feeds_each_of_them_until_it_ends() {
    let mut all = reception();
    let id = all.open();
    all.send(id, A, "a", 0);
    all.send(id, B, "b", 5_000);
    assert_eq!(all.closed(50_000), []);
    all.send(id, A, "c", 60_000);
    all.end(id, Ending::Released, Millis(61_000));
    assert_eq!(all.closed(70_999), []);
    assert_eq!(all.closed(71_000), [whole(&["a", "c"]), whole(&["b"])].concat());
}

/// Objects of one study in an association of their own, which ends so.
fn sent(all: &mut Reception, names: &[&str], ending: Ending, at: u64) {
    let id = all.open();
    for name in names {
        all.send(id, A, name, at);
    }
    all.end(id, ending, Millis(at));
}

#[test]
fn a_break_is_mended_when_everything_it_brought_is_sent_again() {
    let mut all = reception();
    sent(&mut all, &["a", "b"], Ending::Broken, 0);
    sent(&mut all, &["portal"], Ending::Released, 1_000);
    assert_eq!(all.closed(11_000), cut_off(&["a", "b", "portal"]), "another series mends nothing");

    sent(&mut all, &["a", "b"], Ending::Broken, 0);
    sent(&mut all, &["a", "c"], Ending::Released, 1_000);
    assert_eq!(all.closed(11_000), cut_off(&["a", "b", "c"]), "one was not sent again");

    sent(&mut all, &["a", "b"], Ending::Broken, 0);
    sent(&mut all, &["a", "c"], Ending::Released, 1_000);
    sent(&mut all, &["b"], Ending::Released, 2_000);
    assert_eq!(all.closed(12_000), whole(&["a", "b", "c"]), "by two together");
}

#[test]
fn a_break_is_not_mended_by_what_began_before_it_or_broke_off_too() {
    let mut all = reception();
    let parallel = all.open();
    sent(&mut all, &["a"], Ending::Broken, 0);
    all.send(parallel, A, "a", 1_000);
    all.end(parallel, Ending::Released, Millis(1_000));
    assert_eq!(all.closed(11_000), cut_off(&["a"]), "it began before the break");

    sent(&mut all, &["a", "b"], Ending::Broken, 0);
    sent(&mut all, &["a", "b"], Ending::Broken, 1_000);
    sent(&mut all, &["b"], Ending::Released, 2_000);
    assert_eq!(all.closed(12_000), cut_off(&["a", "b"]), "`a` came in broken ones only");

    sent(&mut all, &["a", "b"], Ending::Broken, 0);
    sent(&mut all, &["a"], Ending::Broken, 1_000);
    sent(&mut all, &["a", "b"], Ending::Released, 2_000);
    assert_eq!(all.closed(12_000), whole(&["a", "b"]));
}

#[test]
fn a_break_before_the_first_object_of_a_study_cannot_be_mended() {
    let mut all = reception();
    let cut = all.open();
    all.send(cut, B, "other", 0);
    all.begin(cut, A, "a", Millis(0)).unwrap();
    all.end(cut, Ending::Broken, Millis(0));
    let again = all.open();
    all.send(again, A, "a", 0);
    all.send(again, B, "other", 0);
    all.end(again, Ending::Released, Millis(0));
    assert_eq!(all.closed(10_000), [cut_off(&["a"]), whole(&["other"])].concat());
}

#[test]
fn an_object_that_began_must_be_stored_before_its_study_is_whole() {
    let mut all = reception();
    let cut = all.open();
    all.send(cut, A, "a", 0);
    all.begin(cut, A, "cut", Millis(500)).unwrap();
    all.end(cut, Ending::Broken, Millis(1_000));
    let report = all.open();
    all.send(report, A, "report", 2_000);
    all.end(report, Ending::Released, Millis(3_000));
    assert_eq!(all.closed(12_999), []);
    sent(&mut all, &["a"], Ending::Released, 12_999);
    assert_eq!(all.closed(22_998), []);
    sent(&mut all, &["cut"], Ending::Released, 13_000);
    assert_eq!(all.closed(23_000), whole(&["a", "cut", "report"]));
    sent(&mut all, &["a"], Ending::Released, 0);
    let cut = all.open();
    all.send(cut, A, "b", 0);
    all.begin(cut, A, "cut", Millis(0)).unwrap();
    all.end(cut, Ending::Broken, Millis(0));
    sent(&mut all, &["b"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), cut_off(&["a", "b"]), "all but the one under way");

    let refused = all.open();
    all.send(refused, B, "a", 0);
    all.begin(refused, B, "no space", Millis(0)).unwrap();
    all.end(refused, Ending::Released, Millis(0));
    assert_eq!(all.closed(10_000), cut_off(&["a"]), "refused, and released all the same");
}

#[test]
fn files_are_bounded_and_a_resent_one_needs_no_room() {
    let mut all = reception();
    let id = all.open();
    for name in ["a", "b", "c", "d"] {
        all.send(id, A, name, 0);
    }
    all.send(id, A, "d", 0);
    all.end(id, Ending::Released, Millis(0));
    let id = all.open();
    assert_eq!(all.begin(id, A, "e", Millis(0)), Err(Refused::Files));
    all.end(id, Ending::Released, Millis(0));
    assert_eq!(all.closed(10_000), cut_off(&["a", "b", "c", "d"]), "one was refused");
}

#[test]
fn bytes_are_bounded_and_those_of_a_replaced_file_are_free() {
    let mut all = reception();
    let id = all.open();
    all.begin(id, A, "a", Millis(0)).unwrap();
    assert_eq!(all.has_room(A, "a", 100), Ok(()));
    assert_eq!(all.has_room(A, "a", 101), Err(Refused::Bytes));
    all.stored(id, A, "a".into(), file(60));
    assert_eq!(all.has_room(A, "b", 40), Ok(()));
    assert_eq!(all.has_room(A, "b", 41), Err(Refused::Bytes));
    assert_eq!(all.has_room(A, "b", u64::MAX), Err(Refused::Bytes));
    assert_eq!(all.has_room(A, "a", 100), Ok(()));
    all.stored(id, A, "a".into(), file(20));
    assert_eq!(all.has_room(A, "b", 80), Ok(()));
    assert_eq!(all.has_room(A, "b", 81), Err(Refused::Bytes));
}

#[test]
fn studies_at_once_are_bounded() {
    let mut all = reception();
    let id = all.open();
    for n in 0..MAX_STUDIES {
        all.begin(id, StudyKey((n as u64).to_be_bytes()), "a", Millis(0)).unwrap();
    }
    let one_more = StudyKey((MAX_STUDIES as u64).to_be_bytes());
    assert_eq!(all.begin(id, one_more, "a", Millis(0)), Err(Refused::Studies));
    assert_eq!(all.begin(id, StudyKey([0; 8]), "a", Millis(0)), Ok(()), "a known one goes on");
}

#[test]
fn an_object_that_no_study_misses_breaks_every_study_of_its_association() {
    let mut all = reception();
    let others = all.open();
    for n in 0..MAX_STUDIES - 1 {
        all.send(others, StudyKey((n as u64).to_be_bytes()), "a", 0);
    }
    let (full, released) = (all.open(), all.open());
    all.send(full, A, "a", 0);
    assert_eq!(all.begin(full, B, "refused", Millis(0)), Err(Refused::Studies));
    all.end(others, Ending::Released, Millis(0));
    let as_whole = all.closed(10_000);
    assert!(as_whole.len() == MAX_STUDIES - 1 && as_whole.iter().all(|(whole, _)| *whole));
    all.send(full, B, "b", 10_000);
    all.send(released, StudyKey([3; 8]), "c", 10_000);
    all.end(full, Ending::Released, Millis(10_000));
    all.end(released, Ending::Released, Millis(10_000));
    let expected = [cut_off(&["a"]), cut_off(&["b"]), whole(&["c"])].concat();
    assert_eq!(all.closed(20_000), expected, "the one that was refused first, too");

    let id = all.open();
    all.send(id, A, "a", 0);
    all.unattributed(id);
    all.end(id, Ending::Released, Millis(0));
    assert_eq!(all.closed(10_000), cut_off(&["a"]), "refused and of no known study");
}

/// A folder of an earlier receiver with these files.
fn kept(names: &[&str], left: Open) -> Kept {
    let files = names.iter().map(|name| ((*name).to_owned(), file(1))).collect();
    Kept { folder: "old".into(), files, left }
}

fn awaits(names: &[&str]) -> Open {
    Open::Awaits(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn what_a_killed_receiver_left_is_cut_off_unless_all_of_it_is_sent_again() {
    let mut all = reception();
    let left = || kept(&["a", "b"], Open::Unsaid);
    assert!(all.take_up(A, left(), Millis(0)));
    assert!(!all.take_up(A, left(), Millis(0)), "one folder per study");
    assert_eq!(all.closed(9_999), []);
    assert_eq!(all.closed(10_000), cut_off(&["a", "b"]));
    all.take_up(A, left(), Millis(0));
    sent(&mut all, &["a", "c"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), cut_off(&["a", "b", "c"]));
    all.take_up(A, left(), Millis(0));
    sent(&mut all, &["a", "b", "c"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), whole(&["a", "b", "c"]));
    all.take_up(A, kept(&[], Open::Unsaid), Millis(0));
    sent(&mut all, &["a"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), cut_off(&["a"]), "what it would have brought is not known");
}

#[test]
fn what_a_stopped_receiver_left_goes_on_where_it_was() {
    let mut all = reception();
    assert!(all.take_up(A, kept(&["a"], awaits(&[])), Millis(5_000)));
    assert_eq!(all.closed(14_999), [], "it rests anew");
    assert_eq!(all.closed(15_000), whole(&["a"]));
    all.take_up(A, kept(&["a"], awaits(&[])), Millis(0));
    sent(&mut all, &["b"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), whole(&["a", "b"]));
    for (again, is_whole) in [(&["a"][..], false), (&["cut"], false), (&["a", "cut"], true)] {
        all.take_up(A, kept(&["a", "b"], awaits(&["a", "cut"])), Millis(0));
        sent(&mut all, again, Ending::Released, 0);
        assert_eq!(all.closed(10_000)[0].0, is_whole, "{again:?}");
    }
    all.take_up(A, kept(&["a"], Open::Broken), Millis(0));
    sent(&mut all, &["a"], Ending::Released, 0);
    assert_eq!(all.closed(10_000), cut_off(&["a"]));
}

#[test]
fn a_study_whose_folder_was_claimed_goes_on_in_another_and_is_cut_off() {
    let mut all = reception();
    let id = all.open();
    all.send(id, A, "a", 0);
    all.vanished(A);
    assert_eq!(all.folder(A), None);
    all.send(id, A, "b", 1);
    all.end(id, Ending::Released, Millis(2));
    sent(&mut all, &["a", "b"], Ending::Released, 2);
    assert_eq!(all.closed(10_002), cut_off(&["a", "b"]));
}

#[test]
fn a_stop_leaves_what_each_study_awaits() {
    let mut all = reception();
    let left = |all: &mut Reception| {
        let said = |leaving: Leaving| (leaving.key, leaving.left, leaving.files);
        all.leave_all().into_iter().map(said).collect::<Vec<_>>()
    };
    sent(&mut all, &["a", "b"], Ending::Released, 0);
    let (broken, goes_on) = (all.open(), all.open());
    all.send(broken, B, "a", 0);
    all.begin(broken, B, "cut", Millis(0)).unwrap();
    all.end(broken, Ending::Broken, Millis(1));
    let [c, d] = [StudyKey([3; 8]), StudyKey([4; 8])];
    all.send(goes_on, c, "a", 0);
    all.begin(goes_on, d, "first", Millis(0)).unwrap();
    let expected = [
        (A, awaits(&[]), 2),
        (B, awaits(&["a", "cut"]), 1),
        (c, awaits(&["a"]), 1),
        (d, Open::Broken, 0),
    ];
    assert_eq!(left(&mut all), expected);
    assert_eq!(left(&mut all), [], "once");
}

#[derive(Debug, Clone)]
enum Step {
    /// Association of this number sends an object of this study; it may be cut off.
    Send {
        by: usize,
        study: u8,
        name: u8,
        stored: bool,
    },
    End {
        by: usize,
        ending: Ending,
    },
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![Just(Ending::Released), Just(Ending::Broken)];
    prop_oneof![
        6 => (0..3usize, 0..3u8, 0..3u8, prop::bool::weighted(0.9))
            .prop_map(|(by, study, name, stored)| Step::Send { by, study, name, stored }),
        3 => (0..3usize, ending).prop_map(|(by, ending)| Step::End { by, ending }),
        3 => prop_oneof![1..4_000u64, Just(10_000), 9_000..20_000u64].prop_map(Step::Wait),
    ]
}

/// What happened to one study since it was opened, in order.
#[derive(Debug, Default, Clone)]
struct History {
    /// (association, name, stored)
    sent: Vec<(u64, String, bool)>,
    /// (association, ending, associations begun until then)
    ended: Vec<(u64, Ending, u64)>,
    last_end: u64,
}

impl History {
    /// Whole by the words of the module's documentation, from the whole history.
    fn is_whole(&self) -> bool {
        let stored = |name: &String| self.sent.iter().any(|(_, n, stored)| n == name && *stored);
        let mut breaks = self.ended.iter().filter(|(_, ending, _)| *ending == Ending::Broken);
        self.sent.iter().all(|(_, name, _)| stored(name))
            && breaks.all(|(id, _, begun)| self.is_mended(*id, *begun))
    }

    /// Whether all that a broken association brought came again in released ones begun after it.
    fn is_mended(&self, broken: u64, begun: u64) -> bool {
        let is_later = |by: u64| {
            by >= begun && self.ended.iter().any(|e| e.0 == by && e.1 == Ending::Released)
        };
        let came_again = |name: &String| {
            self.sent.iter().any(|(by, n, stored)| n == name && *stored && is_later(*by))
        };
        let mut brought = self.sent.iter().filter(|(by, _, stored)| *by == broken && *stored);
        brought.clone().next().is_some() && brought.all(|(_, name, _)| came_again(name))
    }

    fn names(&self) -> Vec<String> {
        let stored = self.sent.iter().filter(|(.., stored)| *stored);
        let names: BTreeSet<String> = stored.map(|(_, name, _)| name.clone()).collect();
        names.into_iter().collect()
    }
}

proptest! {
    #[test]
    fn every_closing_agrees_with_the_history(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut all = Reception::new(Bounds { files: 100, ..BOUNDS });
        let mut slots: [Option<AssociationId>; 3] = [None; 3];
        let mut open: BTreeMap<u8, History> = BTreeMap::new();
        // Which association that goes on has brought what.
        let mut fed: BTreeSet<(u64, u8)> = BTreeSet::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Send { by, study, name, stored } => {
                    let id = *slots[by].get_or_insert_with(|| all.open());
                    let (key, name) = (StudyKey([study; 8]), name.to_string());
                    if stored {
                        all.send(id, key, &name, now);
                    } else {
                        all.begin(id, key, &name, Millis(now)).unwrap();
                    }
                    fed.insert((id.0, study));
                    open.entry(study).or_default().sent.push((id.0, name, stored));
                }
                Step::End { by, ending } => {
                    let Some(id) = slots[by].take() else { continue };
                    all.end(id, ending, Millis(now));
                    for (study, history) in &mut open {
                        if fed.remove(&(id.0, *study)) {
                            history.ended.push((id.0, ending, all.next));
                            history.last_end = now;
                        }
                    }
                }
                Step::Wait(time) => {
                    now += time;
                    let due = |study: &u8, history: &History| {
                        !fed.iter().any(|(_, at)| at == study)
                            && now - history.last_end >= BOUNDS.quiet.0
                    };
                    let expected: Vec<u8> =
                        open.iter().filter(|(s, h)| due(s, h)).map(|(s, _)| *s).collect();
                    let found = all.due(Millis(now));
                    prop_assert_eq!(found.len(), expected.len());
                    for (study, closing) in expected.into_iter().zip(found) {
                        let history = open.remove(&study).unwrap();
                        let names: Vec<String> = closing.files.into_keys().collect();
                        prop_assert_eq!(&names, &history.names());
                        prop_assert_eq!(closing.whole, history.is_whole(), "{:?}", history);
                        let folder = closing.folder.unwrap_or_default();
                        let place = format!("folder-{}", StudyKey([study; 8]));
                        prop_assert!(names.is_empty() || folder.starts_with(&place));
                    }
                }
            }
        }
    }
}
