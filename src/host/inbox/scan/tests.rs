//! Real folders, simulated time.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::host::inbox::fixtures::{LIMITS, SETTINGS, drop_study, make_fifo, state};
use crate::host::inbox::listing::MARKER_BYTES_PER_FILE;

const ROOM: usize = 10_000;

fn at(seconds: u64) -> Now {
    Now { monotonic: Millis(seconds * 1_000), unix: Millis(1_750_000_000_000 + seconds * 1_000) }
}

fn inbox(state: &StateDir) -> Inbox {
    Inbox::new(state, SETTINGS, LIMITS)
}

/// Name and rule of what is ready at these seconds.
fn scan(inbox: &mut Inbox, seconds: u64) -> Vec<(String, CompletionRule)> {
    let ready = inbox.scan_at(at(seconds), ROOM).unwrap();
    ready.into_iter().map(|r| (r.name.to_string_lossy().into_owned(), r.rule)).collect()
}

fn one(name: &str, rule: CompletionRule) -> Vec<(String, CompletionRule)> {
    vec![(name.to_owned(), rule)]
}

#[test]
fn a_marked_study_is_ready_at_the_first_look() {
    let (_root, state) = state();
    drop_study(&state, "a", &[("portal.nii", "x"), (".done", "")]);
    let ready = inbox(&state).scan_at(at(3), ROOM).unwrap();
    assert_eq!(ready[0].rule, CompletionRule::DoneMarker);
    assert_eq!(ready[0].arrived_ms, 1_750_000_003_000);
    assert!(!ready[0].overdue());
}

#[test]
fn a_half_copied_file_that_grows_keeps_its_study_waiting() {
    let (_root, state) = state();
    let folder = drop_study(&state, "a", &[("portal.nii", "")]);
    let mut inbox = inbox(&state);
    for second in 0..5 {
        fs::write(folder.join("portal.nii"), "x".repeat(second as usize)).unwrap();
        assert_eq!(scan(&mut inbox, second * 9), []);
    }
    assert_eq!(scan(&mut inbox, 45), []);
    assert_eq!(scan(&mut inbox, 46), one("a", CompletionRule::Quiescence));
}

#[test]
fn a_file_replaced_while_settling_starts_the_wait_again() {
    let (_root, state) = state();
    let folder = drop_study(&state, "a", &[("portal.nii", "old")]);
    let mut inbox = inbox(&state);
    assert_eq!(scan(&mut inbox, 0), []);
    fs::write(folder.join("new.tmp"), "new").unwrap();
    let later = fs::metadata(folder.join("portal.nii")).unwrap().modified().unwrap()
        + Duration::from_millis(1);
    fs::File::open(folder.join("new.tmp")).unwrap().set_modified(later).unwrap();
    fs::rename(folder.join("new.tmp"), folder.join("portal.nii")).unwrap();
    assert_eq!(scan(&mut inbox, 11), [], "same name, same length, another time");
    assert_eq!(scan(&mut inbox, 21), one("a", CompletionRule::Quiescence));
}

#[test]
fn an_empty_folder_and_a_broken_promise_are_overdue() {
    let (_root, state) = state();
    drop_study(&state, "empty", &[]);
    drop_study(&state, "short", &[("portal.nii", "x"), (".done", r#"{"files": 2}"#)]);
    let mut inbox = inbox(&state);
    assert_eq!((scan(&mut inbox, 0), scan(&mut inbox, 59)), (vec![], vec![]));
    let deadline = CompletionRule::Deadline;
    let expected = [("empty".to_owned(), deadline), ("short".to_owned(), deadline)];
    assert_eq!(scan(&mut inbox, 60), expected);
    assert!(inbox.scan_at(at(61), ROOM).unwrap()[0].overdue());
}

#[test]
fn a_long_or_linked_marker_is_no_marker() {
    let (_root, state) = state();
    let longest = LIMITS.clinical.0 + LIMITS.max_files as u64 * MARKER_BYTES_PER_FILE;
    let fits = " ".repeat(longest as usize);
    let files = |marker| [("portal.nii", "x"), (".done", marker)];
    drop_study(&state, "fits", &files(&fits));
    drop_study(&state, "long", &files(&format!("{fits} ")));
    let linked = drop_study(&state, "linked", &[("portal.nii", "x")]);
    symlink(state.inbox().join("fits/.done"), linked.join(".done")).unwrap();
    let piped = drop_study(&state, "piped", &[("portal.nii", "x")]);
    make_fifo(&piped.join(".done"));
    let mut inbox = inbox(&state);
    assert_eq!(scan(&mut inbox, 0), one("fits", CompletionRule::DoneMarker));
    assert_eq!(scan(&mut inbox, 10).len(), 4, "the others count once they are quiet");
}

#[test]
fn what_is_not_a_study_folder_is_left_alone() {
    let (_root, state) = state();
    let target = drop_study(&state, ".hidden", &[("portal.nii", "x"), (".done", "")]);
    for unfinished in ["a.part", "b.tmp", "c.PARTIAL", "d~"] {
        drop_study(&state, unfinished, &[("portal.nii", "x"), (".done", "")]);
    }
    symlink(&target, state.inbox().join("link")).unwrap();
    fs::write(state.inbox().join("portal.nii"), "x").unwrap();
    make_fifo(&state.inbox().join("pipe"));
    let mut inbox = inbox(&state);
    assert_eq!((scan(&mut inbox, 0), scan(&mut inbox, 100)), (vec![], vec![]));
    assert_eq!(inbox.told.len(), 3, "a link, a file and a pipe, each once");
    assert_eq!(fs::read_dir(state.inbox()).unwrap().count(), 8);
    fs::rename(&target, state.inbox().join("seen")).unwrap();
    assert_eq!(scan(&mut inbox, 101), one("seen", CompletionRule::DoneMarker));
}

#[test]
fn the_oldest_come_first_and_no_more_than_there_is_room_for() {
    let (_root, state) = state();
    let mut inbox = inbox(&state);
    for (second, name) in [(0, "c"), (1, "a"), (2, "b")] {
        drop_study(&state, name, &[("portal.nii", "x"), (".done", "")]);
        inbox.scan_at(at(second), 0).unwrap();
    }
    let names = |room, inbox: &mut Inbox| {
        let ready = inbox.scan_at(at(3), room).unwrap();
        ready.into_iter().map(|r| r.name.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(0, &mut inbox), [""; 0]);
    assert_eq!(names(2, &mut inbox), ["c", "a"]);
    assert_eq!(names(9, &mut inbox), ["c", "a", "b"], "what was not claimed is ready again");
}

#[test]
fn a_folder_dropped_again_under_the_same_name_is_new() {
    let (_root, state) = state();
    let mut inbox = inbox(&state);
    let folder = drop_study(&state, "a", &[("portal.nii", "x")]);
    scan(&mut inbox, 0);
    assert_eq!(scan(&mut inbox, 50).len(), 1);
    fs::rename(&folder, state.work().join("claimed")).unwrap();
    drop_study(&state, "a", &[]);
    assert_eq!(scan(&mut inbox, 61), [], "its deadline counts from now");
    assert_eq!(scan(&mut inbox, 121), one("a", CompletionRule::Deadline));
}

#[test]
fn hostile_names_are_studies_like_any_other() {
    let (_root, state) = state();
    let long = "n".repeat(255);
    let names = [
        OsString::from("new\nline"),
        OsString::from("..."),
        OsString::from(&long),
        OsString::from("$(reboot); rm -rf ..\\"),
        OsString::from_vec(vec![b'a', 0xff, 0xfe]),
    ];
    for name in &names {
        let folder = state.inbox().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("portal.nii"), "x").unwrap();
        fs::write(folder.join(".done"), "").unwrap();
    }
    let ready = inbox(&state).scan_at(at(0), ROOM).unwrap();
    let found: BTreeSet<_> = ready.into_iter().map(|r| r.name).collect();
    let expected: BTreeSet<_> = names.into_iter().filter(|name| name != "...").collect();
    assert_eq!(found, expected, "a name with a leading dot is hidden");
}

#[test]
fn two_thousand_folders_are_followed_and_more_than_the_most_wait_their_turn() {
    let (_root, state) = state();
    for n in 0..2_000 {
        drop_study(&state, &format!("s{n:04}"), &[("portal.nii", "x")]);
    }
    let mut inbox = inbox(&state);
    assert_eq!(scan(&mut inbox, 0), []);
    assert_eq!(scan(&mut inbox, 10).len(), 2_000);
    for n in 2_000..=MAX_FOLDERS {
        fs::create_dir(state.inbox().join(format!("s{n:04}"))).unwrap();
    }
    assert_eq!(scan(&mut inbox, 11).len(), 2_000);
    assert_eq!(inbox.followed.len(), MAX_FOLDERS);
    fs::remove_dir_all(state.inbox().join("s0000")).unwrap();
    assert_eq!(scan(&mut inbox, 12).len(), 1_999);
    assert_eq!(inbox.followed.len(), MAX_FOLDERS, "the one that waited took the place");
}

#[test]
fn a_study_with_too_many_entries_is_not_listed_to_its_end() {
    let (_root, state) = state();
    let folder = drop_study(&state, "a", &[]);
    let most = LIMITS.max_files + listing::SPARE_ENTRIES;
    for n in 0..most {
        fs::write(folder.join(format!("f{n}")), "").unwrap();
    }
    assert!(!listing::list(&folder, &LIMITS).unwrap().cut);
    fs::write(folder.join("one more"), "").unwrap();
    let listed = listing::list(&folder, &LIMITS).unwrap();
    assert!(listed.cut && listed.listing.entries.len() == most);
}

#[test]
fn an_inbox_that_is_gone_is_an_error_that_names_it() {
    let (_root, state) = state();
    let mut inbox = inbox(&state);
    fs::remove_dir(state.inbox()).unwrap();
    let error = inbox.scan(0, ROOM).unwrap_err().to_string();
    assert!(error.contains(&state.inbox().display().to_string()), "{error}");
}

#[test]
fn a_marker_written_into_a_followed_folder_wakes_the_wait() {
    let (_root, state) = state();
    let folder = drop_study(&state, "a", &[("portal.nii", "x")]);
    let mut inbox = inbox(&state);
    assert_eq!(inbox.scan(0, ROOM).unwrap(), []);
    fs::write(folder.join(".done"), "").unwrap();
    assert!(inbox.wait(Duration::from_secs(20)));
    assert_eq!(inbox.scan(1, ROOM).unwrap().len(), 1);
}

#[test]
fn the_second_look_at_a_flood_sees_only_what_was_ready_and_sees_it_anew() {
    let (_root, state) = state();
    for name in ["a", "b", "c"] {
        drop_study(&state, name, &[("portal.nii", "x"), (".done", "")]);
    }
    let mut inbox = inbox(&state);
    assert_eq!(inbox.scan_at(at(0), 1).unwrap().len(), 1);
    drop_study(&state, "late", &[("portal.nii", "x"), (".done", "")]);
    fs::rename(state.inbox().join("a"), state.work().join("a")).unwrap();
    fs::write(state.inbox().join("b/.done"), "{\"files\": 9}").unwrap();
    let names = |ready: Vec<Ready>| -> Vec<String> {
        ready.into_iter().map(|r| r.name.into_string().unwrap()).collect()
    };
    assert_eq!(
        names(inbox.look_again(0, ROOM)),
        ["c"],
        "claimed, no longer complete, not seen yet"
    );
    assert_eq!(names(inbox.scan_at(at(1), ROOM).unwrap()), ["c", "late"]);
}

#[test]
fn stray_files_take_no_study_its_place() {
    let (_root, state) = state();
    for n in 0..MAX_FOLDERS + 10 {
        fs::write(state.inbox().join(format!("stray-{n}")), "").unwrap();
    }
    drop_study(&state, "z", &[("portal.nii", "x"), (".done", "")]);
    assert_eq!(scan(&mut inbox(&state), 0), one("z", CompletionRule::DoneMarker));
}

#[test]
fn an_inbox_made_anew_is_watched_again() {
    let (_root, state) = state();
    let mut inbox = inbox(&state);
    assert_eq!(scan(&mut inbox, 0), []);
    fs::remove_dir(state.inbox()).unwrap();
    assert!(inbox.scan_at(at(1), ROOM).is_err());
    fs::create_dir(state.inbox()).unwrap();
    assert_eq!(scan(&mut inbox, 2), []);
    drop_study(&state, "a", &[("portal.nii", "x"), (".done", "")]);
    assert!(inbox.wait(Duration::from_secs(20)), "its events are heard");
    assert_eq!(scan(&mut inbox, 3), one("a", CompletionRule::DoneMarker));
}
