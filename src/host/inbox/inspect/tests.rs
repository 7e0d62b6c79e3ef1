//! Claimed folders of every kind: whole, broken, hostile.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::host::files::StateDir;
use crate::host::inbox::fixtures::{LIMITS, claimed, job, make_fifo, state};
use crate::host::journal::JobId;
use crate::seal::wire::CompletionRule;

const RULE: CompletionRule = CompletionRule::Quiescence;
const WHOLE: [(&str, &str); 3] =
    [("arterial.nii.gz", "early"), ("portal.nii.gz", "late"), ("clinical.json", "{\"ecog\":0}")];

/// A claimed study of these files.
struct Study {
    _root: tempfile::TempDir,
    _state: StateDir,
    claim: Claim,
    input: PathBuf,
}

impl Study {
    fn new(files: &[(&str, &str)]) -> Self {
        let (root, state) = state();
        let (claim, input) = claimed(&state, RULE, files);
        Self { _root: root, _state: state, claim, input }
    }

    fn whole_and(more: &[(&str, &str)]) -> Self {
        Self::new(&[&WHOLE, more].concat())
    }

    fn inspect(&self) -> Result<Inspection, Refusal> {
        inspect(&self.input, &self.claim, &LIMITS)
    }

    fn refusal(&self) -> Refusal {
        self.inspect().expect_err("the study is refused")
    }

    fn refused(&self) -> (ReasonCode, String) {
        let refusal = self.refusal();
        (refusal.reason, refusal.detail)
    }
}

fn refused(files: &[(&str, &str)]) -> (ReasonCode, String) {
    Study::new(files).refused()
}

fn accepted(files: &[(&str, &str)]) -> Inspection {
    Study::new(files).inspect().unwrap()
}

fn fault(reason: ReasonCode, detail: &str) -> (ReasonCode, String) {
    (reason, detail.to_owned())
}

/// A marker that lists one file.
fn marker_of(name: &str, content: &str) -> String {
    format!(r#"{{"sha256": {{"{name}": "{}"}}}}"#, sha256(content.as_bytes()))
}

#[test]
fn a_whole_study_is_hashed_and_every_file_has_its_role() {
    let study = Study::whole_and(&[("notes.txt", "n"), (".DS_Store", "d")]);
    let found = study.inspect().unwrap();
    let names: Vec<_> = found.files.iter().map(|f| (f.role, f.name.to_str().unwrap())).collect();
    let expected = [
        (InputRole::Portal, "portal.nii.gz"),
        (InputRole::Arterial, "arterial.nii.gz"),
        (InputRole::Clinical, "clinical.json"),
        (InputRole::Other, "notes.txt"),
    ];
    assert_eq!(names, expected);
    assert_eq!(found.files[0].sha256, sha256(b"late"));
    assert_eq!(fs::read(&found.files[0].path).unwrap(), b"late");
    assert_eq!(found.clinical.as_deref(), Some(&b"{\"ecog\":0}"[..]));
    assert_eq!(found.inputs.rule, RULE);
    let series: Vec<_> = found.inputs.series.iter().map(|s| (s.role, s.files, s.bytes)).collect();
    let counts = [(1, 4), (1, 5), (1, 10), (1, 1)];
    let expected = InputRole::ALL.iter().zip(counts);
    let expected: Vec<_> = expected.map(|(role, (files, bytes))| (*role, files, bytes)).collect();
    assert_eq!(series, expected);
}

#[test]
fn the_study_digest_is_that_of_images_and_clinical_data() {
    let by_hand = study_digest(&[
        (InputRole::Portal, sha256(b"late")),
        (InputRole::Arterial, sha256(b"early")),
        (InputRole::Clinical, sha256(b"{\"ecog\":0}")),
    ]);
    let digest = accepted(&WHOLE).study_digest;
    assert_eq!(Ok(digest), by_hand);
    let more = accepted(&[&WHOLE[..], &[("notes.txt", "n"), (".done", "")]].concat());
    assert_eq!(more.study_digest, digest, "other files and the marker do not count");
    assert_ne!(accepted(&WHOLE[..2]).study_digest, digest);
}

#[test]
fn one_phase_is_for_the_gate_to_judge() {
    assert_eq!(accepted(&WHOLE[1..2]).inputs.series.len(), 1);
}

#[test]
fn limits_hold_on_both_sides() {
    let many: Vec<String> = (0..LIMITS.max_files).map(|n| format!("portal{n}")).collect();
    let mut files: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
    files[0] = ("pv.nii", "x");
    files.extend([(".done", ""), ("a.tmp", ""), (".x", "")]);
    assert_eq!(accepted(&files).files.len(), LIMITS.max_files, "ignored files do not count");
    files.push(("one more", ""));
    assert_eq!(refused(&files), fault(ReasonCode::TooManyFiles, "more than 8 files"));

    let full = "x".repeat(LIMITS.max_study.0 as usize);
    assert_eq!(accepted(&[("pv.nii", &full)]).files[0].length, LIMITS.max_study.0);
    let (reason, _) = refused(&[("pv.nii", &full), ("ap.nii", "x")]);
    assert_eq!(reason, ReasonCode::TooLarge);

    let fits = "x".repeat(LIMITS.clinical.0 as usize);
    let image = ("pv.nii", "x");
    assert_eq!(accepted(&[image, ("clinical.json", &fits)]).clinical, Some(fits.clone().into()));
    let long = fits + "x";
    let expected = fault(ReasonCode::ClinicalInvalid, "clinical.json has more than 200 bytes");
    assert_eq!(refused(&[image, ("clinical.json", &long)]), expected);
    let expected = fault(ReasonCode::StudyInvalid, "study.json has more than 200 bytes");
    assert_eq!(refused(&[image, ("study.json", &long)]), expected);
    let marker = LIMITS.clinical.0 + LIMITS.max_files as u64 * listing::MARKER_BYTES_PER_FILE;
    let blank = " ".repeat(marker as usize);
    assert_eq!(accepted(&[image, (".done", &blank)]).files.len(), 1, "an empty marker");
    let (reason, _) = refused(&[image, (".done", &(blank + " "))]);
    assert_eq!(reason, ReasonCode::MarkerMismatch);
}

#[test]
fn a_flood_of_ignored_files_is_refused_unread() {
    let study = Study::new(&WHOLE);
    for n in 0..LIMITS.max_files + listing::SPARE_ENTRIES {
        fs::write(study.input.join(format!(".{n}")), "").unwrap();
    }
    let refusal = study.refusal();
    assert_eq!(refusal.reason, ReasonCode::TooManyFiles);
    assert!(refusal.inputs.series.is_empty());
}

#[test]
fn links_and_pipes_are_refused_without_being_opened() {
    let link = Study::new(&WHOLE);
    symlink("/etc/passwd", link.input.join("notes.txt")).unwrap();
    let fifo = Study::new(&WHOLE);
    make_fifo(&fifo.input.join("notes.txt"));
    for study in [link, fifo] {
        let refusal = study.refusal();
        assert_eq!(refusal.reason, ReasonCode::SymlinkRefused);
        assert_eq!(refusal.detail, "1 entries are not plain files");
        assert_eq!(refusal.inputs.series.len(), 3, "the plain files were read");
    }
    let ignored = Study::new(&WHOLE);
    symlink("/etc/passwd", ignored.input.join(".notes")).unwrap();
    assert!(ignored.inspect().is_ok(), "an ignored link is ignored");
}

#[test]
fn a_study_that_is_itself_a_link_is_refused() {
    let target = Study::new(&WHOLE);
    let study = Study::new(&[]);
    fs::remove_dir(&study.input).unwrap();
    symlink(&target.input, &study.input).unwrap();
    assert_eq!(study.refused().0, ReasonCode::SymlinkRefused);
}

#[test]
fn a_file_that_is_not_the_listed_one_any_more_is_incomplete() {
    let study = Study::new(&[("pv.nii", "12345")]);
    let entry = |length| Entry { name: "pv.nii".into(), kind: Kind::File, length, modified_ns: 0 };
    let read = |entry: &Entry| {
        let mut read = Read::default();
        read.take(&study.input, entry, &LIMITS);
        (read.files.len(), read.fault.map(|fault| fault.reason))
    };
    assert_eq!(read(&entry(5)), (1, None));
    assert_eq!(read(&entry(4)), (0, Some(ReasonCode::Incomplete)), "it grew");
    assert_eq!(read(&entry(6)), (0, Some(ReasonCode::Incomplete)), "it was cut");
    let gone = Entry { name: "gone.nii".into(), ..entry(5) };
    assert_eq!(read(&gone), (0, Some(ReasonCode::Incomplete)));
    fs::remove_file(study.input.join("pv.nii")).unwrap();
    make_fifo(&study.input.join("pv.nii"));
    assert_eq!(read(&entry(5)), (0, Some(ReasonCode::Incomplete)), "a pipe in its place");
    fs::remove_file(study.input.join("pv.nii")).unwrap();
    symlink("/etc/passwd", study.input.join("pv.nii")).unwrap();
    assert_eq!(read(&entry(5)), (0, Some(ReasonCode::Incomplete)), "a link in its place");
}

/// What a DICOM file begins with.
fn dicom(content: &str) -> String {
    format!("{}DICM{content}", "\0".repeat(128))
}

#[test]
fn dicom_files_lie_in_folders_of_any_name_and_phases_by_name_at_the_top() {
    let study = Study::new(&[("clinical.json", "{}")]);
    let path = |name: &str| study.input.join(name);
    fs::create_dir_all(path("DICOM/PA0/ST0/SE0")).unwrap();
    fs::create_dir_all(path("b.part")).unwrap();
    for name in ["DICOM/PA0/ST0/SE0/IM0", "DICOM/x", "b.part/x"] {
        fs::write(path(name), dicom(name)).unwrap();
    }
    fs::write(path("DICOM/portal.nii"), "no phase").unwrap();
    let found = study.inspect().unwrap();
    let roles: Vec<_> = found.files.iter().map(|f| (f.role, f.name.to_str().unwrap())).collect();
    let expected = [
        (InputRole::Clinical, "clinical.json"),
        (InputRole::Other, "DICOM/portal.nii"),
        (InputRole::Dicom, "DICOM/PA0/ST0/SE0/IM0"),
        (InputRole::Dicom, "DICOM/x"),
    ];
    assert_eq!(roles, expected);
    assert_eq!(fs::read(&found.files[3].path).unwrap(), dicom("DICOM/x").as_bytes());
}

#[test]
fn what_an_interrupted_copy_leaves_is_incomplete() {
    let whole = dicom("a");
    for (name, content) in [("b", ""), ("b", "\0\0\0"), ("b.DCM", "text")] {
        let (reason, detail) = refused(&[("a", &whole), (name, content)]);
        assert_eq!(reason, ReasonCode::Incomplete, "{name}: {detail}");
    }
    assert!(Study::new(&[("a", &whole), ("notes.txt", "text")]).inspect().is_ok());
    assert!(Study::whole_and(&[("empty", "")]).inspect().is_ok(), "NIfTI says its length itself");
}

#[test]
fn what_would_say_something_lies_at_the_top() {
    for (name, reason) in
        [("clinical.json", ReasonCode::ClinicalInvalid), ("Study.json", ReasonCode::StudyInvalid)]
    {
        let study = Study::new(&[("a", &dicom("a"))]);
        fs::create_dir(study.input.join("export")).unwrap();
        fs::write(study.input.join("export").join(name), "{}").unwrap();
        assert_eq!(study.refused().0, reason, "{name}");
    }
}

#[test]
fn folders_too_deep_are_refused_and_not_passed_over() {
    let study = Study::whole_and(&[]);
    fs::create_dir_all(study.input.join("1/2/3/4/5")).unwrap();
    assert!(study.inspect().is_ok());
    fs::create_dir_all(study.input.join("1/2/3/4/5/6")).unwrap();
    let detail = "folders within folders, more than 5 levels deep";
    assert_eq!(study.refused(), fault(ReasonCode::TooManyFiles, detail));
}

#[test]
fn study_json_of_a_dicom_study_is_part_of_it() {
    let with = |study_json: &str| {
        let (a, b) = (dicom("a"), dicom("b"));
        accepted(&[("b", &b), ("a", &a), ("study.json", study_json)])
    };
    let first = with(r#"{"schema": 1, "portal": "b"}"#);
    assert_eq!(first.series.portal, Some(SeriesName::File(1)), "by place among the sorted files");
    assert_eq!(first.files.last().unwrap().role, InputRole::Phases);
    let second = with(r#"{"schema": 1, "portal": "a"}"#);
    assert_eq!(second.series.portal, Some(SeriesName::File(0)));
    assert_ne!(first.study_digest, second.study_digest, "another series is another study");
    // The same bytes under swapped names: the name leads to another file.
    let swapped = accepted(&[
        ("b", &dicom("a")),
        ("a", &dicom("b")),
        ("study.json", r#"{"schema": 1, "portal": "b"}"#),
    ]);
    assert_ne!(first.study_digest, swapped.study_digest, "another file is another study");
}

#[test]
fn a_marker_is_held_to_its_word() {
    let with = |marker: &str| Study::whole_and(&[(".done", marker)]).inspect();
    for kept in ["", r#"{"files": 3}"#, &marker_of("portal.nii.gz", "late")] {
        assert!(with(kept).is_ok(), "{kept}");
    }
    let broken = [
        (r#"{"files": 2}"#.to_owned(), "3 files, the .done marker promises 2"),
        (r#"{"files": 4}"#.to_owned(), "3 files, the .done marker promises 4"),
        (marker_of("portal.nii.gz", "other"), "1 of 1 listed files are missing or differ"),
        (marker_of("missing.nii.gz", "late"), "1 of 1 listed files are missing or differ"),
        (marker_of(".done", ""), "1 of 1 listed files are missing or differ"),
        ("{".to_owned(), "the .done marker cannot be read"),
    ];
    for (marker, detail) in broken {
        let refusal = with(&marker).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.detail), (ReasonCode::MarkerMismatch, detail));
    }
}

#[test]
fn an_overdue_study_is_incomplete_or_empty() {
    let overdue = |files: &[(&str, &str)]| {
        let mut study = Study::new(files);
        study.claim.rule = CompletionRule::Deadline;
        let refusal = study.refusal();
        assert_eq!(refusal.inputs.rule, CompletionRule::Deadline);
        (refusal.reason, refusal.detail)
    };
    let detail = "1 files at the deadline, the .done marker promises 3";
    let short = [("pv.nii", "x"), (".done", r#"{"files":3}"#)];
    assert_eq!(overdue(&short), fault(ReasonCode::Incomplete, detail));
    let detail = "not complete at the deadline, with 3 files";
    assert_eq!(overdue(&WHOLE), fault(ReasonCode::Incomplete, detail));
    assert_eq!(overdue(&[(".done", "")]).0, ReasonCode::EmptyStudy);
    let open = [("pv.nii", "x"), (".done", r#"{"open": true}"#)];
    let detail = "still being sent at the deadline, with 1 files";
    assert_eq!(overdue(&open), fault(ReasonCode::Incomplete, detail));
}

#[test]
fn a_study_that_was_cut_off_is_incomplete_whatever_is_there() {
    let aborted = (".done", r#"{"aborted": true}"#);
    let detail = "the transfer was cut off, with 3 files; send it again";
    let refusal = Study::whole_and(&[aborted]).refusal();
    assert_eq!((refusal.reason, &*refusal.detail), (ReasonCode::Incomplete, detail));
    assert_eq!(refusal.inputs.series.len(), 3, "its files are in the result");
    assert_eq!(refused(&[aborted]).0, ReasonCode::EmptyStudy);
}

#[test]
fn roles_that_cannot_be_used_are_refused() {
    let ambiguous = [("pv.nii", "a"), ("portal.nii", "b")];
    let detail = "2 files could be the portal venous phase";
    assert_eq!(refused(&ambiguous), fault(ReasonCode::AmbiguousRole, detail));
    assert_eq!(refused(&[("scan.nii", "a")]).0, ReasonCode::EmptyStudy, "nothing is guessed");
    let named = r#"{"schema":1,"portal":"scan.nii"}"#;
    let files = [("scan.nii", "a"), ("study.json", named), ("notes", "")];
    assert_eq!(accepted(&files).files[0].role, InputRole::Portal);
    assert_eq!(refused(&files[1..]).0, ReasonCode::StudyInvalid);
    assert_eq!(refused(&[("pv.nii", "a"), ("study.json", "")]).0, ReasonCode::StudyInvalid);
    let twice = [("scan.nii", "a"), ("study.json", named), ("STUDY.json", named)];
    assert_eq!(refused(&twice), fault(ReasonCode::StudyInvalid, "more than one study.json"));
}

#[test]
fn hostile_file_names_are_other_files() {
    let study = Study::new(&WHOLE);
    let names = [
        OsString::from("new\nline.nii"),
        OsString::from("n".repeat(255)),
        OsString::from_vec(b"portal\xff.nii".to_vec()),
    ];
    for name in &names {
        fs::write(study.input.join(name), "x").unwrap();
    }
    let found = study.inspect().unwrap();
    let others = found.files.iter().filter(|file| file.role == InputRole::Other);
    assert_eq!(others.count(), names.len());
}

#[test]
fn a_study_mended_and_sent_again_is_not_the_one_refused() {
    let good = accepted(&WHOLE).study_digest;
    let marked = |marker: &str| Study::whole_and(&[(".done", marker)]).refusal().study_digest;
    let wrong_marker = marked(r#"{"files": 9}"#);
    assert_ne!(wrong_marker, good, "only the marker was wrong");
    assert_eq!(wrong_marker, marked(r#"{"files": 8}"#), "refused again for the same reason");
    let linked = Study::whole_and(&[]);
    symlink("/etc/passwd", linked.input.join("x")).unwrap();
    assert_ne!(linked.refusal().study_digest, wrong_marker, "refused for another reason");
}

#[test]
fn two_empty_studies_are_two_studies_and_one_looked_at_twice_is_one() {
    let mut study = Study::new(&[]);
    let first = study.refusal();
    assert_eq!(study.refusal(), first);
    assert_eq!(study.claim.job, job());
    study.claim.job = JobId::new([8; 8]);
    assert_ne!(study.refusal().study_digest, first.study_digest);
}

#[test]
fn no_detail_names_a_file() {
    let name = "pv-MUELLER.nii";
    let long = "x".repeat(LIMITS.max_study.0 as usize + 1);
    let studies = [
        Study::new(&[(name, "a"), ("pv_MUELLER.nii", "b")]),
        Study::new(&[(name, &long)]),
        Study::new(&[("MUELLER.nii", "a")]),
        Study::new(&[(name, "a"), (".done", &marker_of(name, "b"))]),
        Study::new(&[(name, "a"), ("study.json", r#"{"schema":1,"portal":"MUELLER.nii"}"#)]),
    ];
    for study in studies {
        let refusal = study.refusal();
        assert!(!refusal.to_string().contains("MUELLER"), "{refusal}");
        assert!(refusal.detail.len() <= 160, "it fits the message: {refusal}");
    }
}
