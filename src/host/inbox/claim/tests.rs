//! Claims on real folders, cut short at every step.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::host::inbox::fixtures::{drop_study, job, ready, state};

const RULE: CompletionRule = CompletionRule::Quiescence;

#[test]
fn a_claim_moves_the_folder_and_can_be_read_back() {
    let (_root, state) = state();
    drop_study(&state, "Müller \"x\"\n", &[("portal.nii", "x")]);
    let made = claim(&state, &ready("Müller \"x\"\n", RULE), job()).unwrap().unwrap();
    let folder = state.work().join("0707070707070707");
    assert_eq!(fs::read(folder.join("input/portal.nii")).unwrap(), b"x");
    assert_eq!(fs::read_dir(state.inbox()).unwrap().count(), 0);
    assert_eq!(made.study, "Müller \"x\"\n");
    assert!(!made.overdue());
    assert_eq!(Claim::load(&state, job()).unwrap(), made);
    assert_eq!(recover(&state).unwrap(), [job()]);
}

#[test]
fn every_rule_and_any_name_survive_the_file() {
    let (_root, state) = state();
    let longest = "\u{1}".repeat(255);
    for (n, rule) in (1..).zip(CompletionRule::ALL) {
        drop_study(&state, &longest, &[]);
        let job = JobId::new([n; 8]);
        let made = claim(&state, &ready(&longest, *rule), job).unwrap().unwrap();
        assert_eq!(made.overdue(), *rule == CompletionRule::Deadline);
        assert_eq!(Claim::load(&state, job).unwrap(), made);
    }
    let name = OsString::from_vec(vec![b'a', 0xff]);
    fs::create_dir(state.inbox().join(&name)).unwrap();
    let hostile = Ready { name, ..ready("", RULE) };
    let made = claim(&state, &hostile, job()).unwrap().unwrap();
    assert_eq!(made.study, "a\u{fffd}");
}

#[test]
fn a_folder_that_vanished_leaves_nothing_behind() {
    let (_root, state) = state();
    assert_eq!(claim(&state, &ready("gone", RULE), job()).unwrap(), None);
    assert_eq!(fs::read_dir(state.work()).unwrap().count(), 0);
}

#[test]
fn a_job_id_is_used_once() {
    let (_root, state) = state();
    drop_study(&state, "a", &[("portal.nii", "a")]);
    drop_study(&state, "b", &[("portal.nii", "b")]);
    claim(&state, &ready("a", RULE), job()).unwrap();
    let second = claim(&state, &ready("b", RULE), job());
    assert!(matches!(second, Err(ClaimError::Taken(_))), "{second:?}");
    assert_eq!(Claim::load(&state, job()).unwrap().study, "a");
    assert!(state.inbox().join("b").exists(), "the second is still in the inbox");
}

#[test]
fn a_crash_before_the_rename_takes_nothing() {
    let (_root, state) = state();
    let study = drop_study(&state, "a", &[("portal.nii", "x")]);
    let folder = job_folder(&state, job());
    let steps: [&dyn Fn(); 3] = [
        &|| fs::create_dir(&folder).unwrap(),
        &|| {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("claim.json.tmp"), "{").unwrap();
        },
        &|| {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(CLAIM_FILE), "{}").unwrap();
        },
    ];
    for crash in steps {
        crash();
        assert_eq!(recover(&state).unwrap(), []);
        assert!(!folder.exists() && study.exists());
    }
    assert!(claim(&state, &ready("a", RULE), job()).unwrap().is_some(), "it can be claimed again");
}

#[test]
fn recovery_leaves_alone_what_is_not_a_claim_cut_short() {
    let (_root, state) = state();
    fs::create_dir(state.work().join("lost+found")).unwrap();
    let folder = job_folder(&state, job());
    fs::create_dir(&folder).unwrap();
    for name in [CLAIM_FILE, "mask.nii.gz"] {
        fs::write(folder.join(name), "x").unwrap();
    }
    assert_eq!(recover(&state).unwrap(), []);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "it holds more than a claim");
    assert!(state.work().join("lost+found").exists());
}

#[test]
fn a_link_put_in_the_folders_place_is_claimed_as_a_link() {
    let (_root, state) = state();
    symlink(state.keys(), state.inbox().join("a")).unwrap();
    claim(&state, &ready("a", RULE), job()).unwrap();
    let input = job_folder(&state, job()).join(INPUT);
    assert!(input.symlink_metadata().unwrap().is_symlink());
    assert_eq!(recover(&state).unwrap(), [job()]);
}

#[test]
fn a_damaged_claim_is_refused_with_its_path() {
    let (_root, state) = state();
    drop_study(&state, "a", &[]);
    claim(&state, &ready("a", RULE), job()).unwrap();
    let path = job_folder(&state, job()).join(CLAIM_FILE);
    let good = fs::read_to_string(&path).unwrap();
    let damages = [
        String::new(),
        good.replace("\"schema\":1", "\"schema\":2"),
        good.replace("quiescence", "luck"),
        good.replace("arrived_ms", "arrived"),
        good.replace("\"a\"", &format!("\"{}\"", "a".repeat(MAX_CLAIM_BYTES as usize))),
    ];
    for damage in damages {
        assert_ne!(damage, good);
        fs::write(&path, &damage).unwrap();
        let error = Claim::load(&state, job()).unwrap_err();
        assert!(matches!(error, ClaimError::Damaged { .. }), "{damage:.80}");
        assert!(error.to_string().contains("claim.json cannot be used"), "{error}");
    }
}

#[test]
fn no_error_names_the_study() {
    let (_root, state) = state();
    let name = "MUELLER_HANS";
    fs::write(state.inbox().join(name), "in the way of nothing").unwrap();
    fs::create_dir_all(state.work()).unwrap();
    fs::remove_dir(state.work()).unwrap();
    fs::write(state.work(), "a file where the folder should be").unwrap();
    let error = claim(&state, &ready(name, RULE), job()).unwrap_err();
    assert!(matches!(error, ClaimError::Io { .. }), "{error:?}");
    let whole = format!("{error} {error:?}");
    assert!(!whole.contains(name), "{whole}");
    let (inbox, work) = (state.inbox(), state.work());
    let other = ClaimError::OtherFileSystem { inbox, work }.to_string();
    assert!(other.contains("different file systems"), "{other}");
}

/// `/dev/shm` is a file system of its own on Linux; where it is not, the claim must succeed.
#[test]
fn an_inbox_on_another_file_system_is_said_clearly_and_takes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let (_root, state) = state();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::remove_dir(state.inbox()).unwrap();
    symlink(elsewhere.path(), state.inbox()).unwrap();
    drop_study(&state, "a", &[("portal.nii", "x")]);
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let claimed = claim(&state, &ready("a", RULE), job());
    if device(elsewhere.path()) == device(&state.work()) {
        assert!(claimed.unwrap().is_some());
    } else {
        assert!(matches!(claimed, Err(ClaimError::OtherFileSystem { .. })), "{claimed:?}");
        assert!(elsewhere.path().join("a/portal.nii").exists());
        assert_eq!(fs::read_dir(state.work()).unwrap().count(), 0);
    }
}
