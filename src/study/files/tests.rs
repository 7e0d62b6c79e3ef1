//! Roles by name and by `study.json`.

use super::*;

/// Files that are no DICOM.
fn nifti<'a>(names: &[&'a str]) -> Vec<Named<'a>> {
    names.iter().map(|name| Named { name, dicom: false }).collect()
}

/// A file that looks like DICOM.
fn dicom(name: &str) -> Named<'_> {
    Named { name, dicom: true }
}

fn named(text: &str) -> Result<NamedPhases, StudyFileError> {
    NamedPhases::parse(text.as_bytes())
}

#[test]
fn a_name_says_its_role_or_none() {
    let table = [
        ("arterial.nii", Role::Arterial),
        ("ART.nii.gz", Role::Arterial),
        ("ap-1.NII.GZ", Role::Arterial),
        ("art_2mm.nii", Role::Arterial),
        ("portal.nii.gz", Role::Portal),
        ("PVP_thin.nii", Role::Portal),
        ("pv-0001.nii.gz", Role::Portal),
        ("portal..nii", Role::Portal),
        ("Clinical.JSON", Role::Clinical),
        ("artery.nii", Role::Other),
        ("apex.nii", Role::Other),
        ("pvx.nii", Role::Other),
        ("portalvenous.nii", Role::Other),
        ("my_portal.nii", Role::Other),
        ("portal", Role::Other),
        ("portal.dcm", Role::Other),
        ("portal.nii.bz2", Role::Other),
        ("portal .nii", Role::Other),
        ("clinical.json.nii", Role::Other),
        ("portal\n.nii", Role::Other),
        ("study.json", Role::Other),
        ("", Role::Other),
    ];
    for (name, role) in table {
        assert_eq!(Role::by_name(name), role, "{name:?}");
    }
}

#[test]
fn dotfiles_and_unfinished_files_are_ignored() {
    for name in [
        ".done",
        ".DS_Store",
        "a.part",
        ".a/b",
        "a/.b",
        "a.part/b",
        "a.TMP",
        "a.partial",
        "a.nii~",
        ".",
    ] {
        assert!(is_ignored(OsStr::new(name)), "{name}");
    }
    for name in ["a", "part", "a.part.nii", "tmp", "~a", "a.tmp2"] {
        assert!(!is_ignored(OsStr::new(name)), "{name}");
    }
}

#[test]
fn a_plain_name_stays_in_its_folder() {
    for name in
        ["", ".", "..", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "a\0b", &"x".repeat(256)]
    {
        assert!(!is_plain_name(name), "{name:?}");
    }
    for name in ["a", "...", "a b\n", "a/b", &"x".repeat(255)] {
        assert!(is_plain_name(name), "{name:?}");
    }
}

#[test]
fn two_candidates_for_one_phase_are_ambiguous() {
    let found = assign(&nifti(&["portal.nii", "pv.nii.gz", "arterial.nii"]), None);
    assert_eq!(found.roles, [Role::Portal, Role::Portal, Role::Arterial]);
    let problem = found.problem.unwrap();
    assert_eq!(problem, RoleProblem::Ambiguous { role: Role::Portal, count: 2 });
    assert_eq!(problem.to_string(), "2 files could be the portal venous phase");
    let clinical = assign(&nifti(&["portal.nii", "clinical.json", "CLINICAL.json"]), None);
    let expected = RoleProblem::Ambiguous { role: Role::Clinical, count: 2 };
    assert_eq!(clinical.problem, Some(expected));
}

#[test]
fn an_image_without_a_phase_is_never_guessed() {
    let found = assign(&nifti(&["scan.nii.gz", "clinical.json"]), None);
    assert_eq!(found.roles, [Role::Other, Role::Clinical]);
    assert_eq!(found.problem, Some(RoleProblem::NoImage { files: 2 }));
    assert_eq!(
        assign(&nifti(&["scan.nii", "ap.nii"]), None).problem,
        None,
        "one phase is for the gate"
    );
}

#[test]
fn study_json_overrides_names_phase_by_phase() {
    let swap = named(r#"{"schema":1,"arterial":"portal.nii","portal":"arterial.nii"}"#).unwrap();
    let found = assign(&nifti(&["portal.nii", "arterial.nii"]), Some(&swap));
    assert_eq!(found.roles, [Role::Arterial, Role::Portal]);
    let one = named(r#"{"schema":1,"portal":"x.nii"}"#).unwrap();
    let found = assign(&nifti(&["x.nii", "pv.nii", "pvp.nii", "ap.nii"]), Some(&one));
    assert_eq!(found.roles, [Role::Portal, Role::Other, Role::Other, Role::Arterial]);
    assert_eq!(found.problem, None, "what it names is no longer ambiguous");
}

#[test]
fn study_json_must_name_two_files_that_are_there() {
    use StudyFileError as E;
    let cases = [
        ("{}", E::Malformed),
        ("[]", E::Malformed),
        (r#"{"schema":1,"artery":"a.nii"}"#, E::Malformed),
        (r#"{"schema":1,"portal":"a.nii","portal":"b.nii"}"#, E::Malformed),
        (r#"{"schema":2}"#, E::Schema(2)),
        (r#"{"schema":1,"portal":"../a.nii"}"#, E::NotAFileName(Role::Portal)),
        (r#"{"schema":1,"arterial":""}"#, E::NotAFileName(Role::Arterial)),
        (r#"{"schema":1,"arterial":".a.nii"}"#, E::NotAFileName(Role::Arterial)),
        (r#"{"schema":1,"portal":"a.nii","arterial":"a.nii"}"#, E::SameFile),
    ];
    for (text, expected) in cases {
        assert_eq!(named(text), Err(expected), "{text}");
    }
    let absent = named(r#"{"schema":1,"portal":"x.nii"}"#).unwrap();
    let found = assign(&nifti(&["pv.nii", "ap.nii"]), Some(&absent));
    assert_eq!(found.problem, Some(E::NotThere(Role::Portal).into()));
    assert_eq!(found.roles, [Role::Other, Role::Arterial]);
    let clinical = named(r#"{"schema":1,"portal":"clinical.json"}"#).unwrap();
    let found = assign(&nifti(&["clinical.json", "ap.nii"]), Some(&clinical));
    assert_eq!(found.problem, Some(E::NotAnImage(Role::Portal).into()));
}

#[test]
fn no_message_about_roles_holds_a_file_name() {
    let secret = "MUELLER_HANS.nii";
    let absent = named(&format!(r#"{{"schema":1,"portal":"{secret}"}}"#)).unwrap();
    let problems = [
        assign(&nifti(&["portal_MUELLER.nii", "pv_MUELLER.nii"]), None).problem,
        assign(&nifti(&["MUELLER.nii"]), None).problem,
        assign(&nifti(&["ap.nii"]), Some(&absent)).problem,
        named(r#"{"schema":1,"portal":"/MUELLER.nii"}"#).err().map(Into::into),
        assign(&[dicom("MUELLER"), nifti(&["art.nii"])[0]], None).problem,
        assign(&[dicom("a")], Some(&absent)).problem,
        named(r#"{"MUELLER":1}"#).err().map(Into::into),
    ];
    for problem in problems {
        let text = problem.unwrap().to_string();
        assert!(!text.contains("MUELLER"), "{text}");
    }
}

#[test]
fn dicom_files_are_the_images_of_their_study() {
    let files = [dicom("IM0001"), dicom("portal.dcm"), nifti(&["clinical.json", "notes.txt"])[0]];
    let found = assign(&files, None);
    assert_eq!(found.roles, [Role::Dicom, Role::Dicom, Role::Clinical]);
    assert_eq!((found.problem, found.series), (None, NamedSeries::default()));
    // A mask beside them has no phase; a phase beside them is one too many.
    let mask = assign(&[dicom("1"), nifti(&["mask.nii.gz"])[0]], None);
    assert_eq!((mask.roles, mask.problem), (vec![Role::Dicom, Role::Other], None));
    let both = assign(&[dicom("1"), dicom("2"), nifti(&["portal.nii"])[0]], None);
    assert_eq!(both.problem, Some(RoleProblem::TwoKinds { nifti: 1, dicom: 2 }));
}

#[test]
fn study_json_names_series_by_a_file_or_a_uid() {
    let of = |text: &str| named(text).unwrap();
    let files = [dicom("b"), dicom("1.2.3"), nifti(&["study.json"])[0]];
    let both = of(r#"{"schema":1,"arterial":"1.2.3","portal":"1.2.840.4"}"#);
    let found = assign(&files, Some(&both));
    // A file that looks like a UID is the file.
    let expected = NamedSeries {
        arterial: Some(SeriesName::File(1)),
        portal: Some(SeriesName::Uid("1.2.840.4".to_owned())),
    };
    assert_eq!((found.series, found.problem), (expected, None));
    assert_eq!(found.roles, [Role::Dicom, Role::Dicom, Role::Phases]);
    for (text, expected) in [
        (r#"{"schema":1,"portal":"c"}"#, StudyFileError::NotThere(Role::Portal)),
        (r#"{"schema":1,"portal":"study.json"}"#, StudyFileError::NotAnImage(Role::Portal)),
    ] {
        assert_eq!(assign(&files, Some(&of(text))).problem, Some(expected.into()), "{text}");
    }
    let longest = format!("1.{}", "2".repeat(62));
    for (uid, fits) in [(longest.clone(), true), (longest + "3", false), ("12".to_owned(), false)] {
        assert_eq!(is_uid(&uid), fits, "{uid}");
    }
}
