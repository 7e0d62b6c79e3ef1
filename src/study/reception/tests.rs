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
        self.stored(key, name.to_owned(), file(1));
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

#[test]
fn a_break_is_mended_by_a_later_association_only() {
    let mut all = reception();
    let (broken, parallel) = (all.open(), all.open());
    all.send(broken, A, "a", 0);
    all.end(broken, Ending::Broken, Millis(1_000));
    all.send(parallel, A, "b", 2_000);
    all.end(parallel, Ending::Released, Millis(3_000));
    assert_eq!(all.closed(13_000), cut_off(&["a", "b"]), "it began before the break");

    let broken = all.open();
    all.send(broken, A, "a", 0);
    all.end(broken, Ending::Broken, Millis(1_000));
    let later = all.open();
    all.send(later, A, "b", 2_000);
    all.end(later, Ending::Released, Millis(3_000));
    assert_eq!(all.closed(13_000), whole(&["a", "b"]));
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
    let again = all.open();
    all.send(again, A, "cut", 12_999);
    all.end(again, Ending::Released, Millis(13_000));
    assert_eq!(all.closed(23_000), whole(&["a", "cut", "report"]));

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
    all.stored(A, "a".into(), file(60));
    assert_eq!(all.has_room(A, "b", 40), Ok(()));
    assert_eq!(all.has_room(A, "b", 41), Err(Refused::Bytes));
    assert_eq!(all.has_room(A, "b", u64::MAX), Err(Refused::Bytes));
    assert_eq!(all.has_room(A, "a", 100), Ok(()));
    all.stored(A, "a".into(), file(20));
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
fn what_an_earlier_receiver_left_is_cut_off_unless_it_is_sent_again() {
    let files = || Files::from([("a".to_owned(), file(1))]);
    let mut all = reception();
    assert!(all.take_up(A, "old".into(), files(), Millis(0)));
    assert!(!all.take_up(A, "older".into(), files(), Millis(0)), "one folder per study");
    assert_eq!(all.closed(9_999), []);
    assert_eq!(all.closed(10_000), cut_off(&["a"]));
    all.take_up(A, "old".into(), files(), Millis(0));
    let id = all.open();
    all.send(id, A, "b", 0);
    all.end(id, Ending::Released, Millis(0));
    assert_eq!(all.closed(10_000), whole(&["a", "b"]));
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
    assert_eq!(all.closed(10_002), cut_off(&["b"]));
}

#[test]
fn a_stop_closes_what_rests_as_it_is() {
    let mut all = reception();
    let (released, broken) = (all.open(), all.open());
    all.send(released, A, "a", 0);
    all.send(broken, B, "b", 0);
    all.end(released, Ending::Released, Millis(1));
    all.end(broken, Ending::Broken, Millis(1));
    let closed: Vec<bool> = all.close_all().iter().map(|closing| closing.whole).collect();
    assert_eq!(closed, [true, false]);
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
        let mended = |begun: u64| {
            let later =
                |(id, ending, _): &&(u64, Ending, u64)| *id >= begun && *ending == Ending::Released;
            self.ended.iter().any(|end| later(&end))
        };
        let breaks = self.ended.iter().filter(|(_, ending, _)| *ending == Ending::Broken);
        self.sent.iter().all(|(_, name, _)| stored(name))
            && breaks.map(|(.., begun)| *begun).all(mended)
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
