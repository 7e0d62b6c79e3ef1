//! Results as DICOM objects: they hold against the scan and the result, they are there only where a
//! site asks for them, and the identity they carry is nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use flate2::read::GzDecoder;
use hcc_edge::phantom::{PhantomSpec, Preset, dicom_files, generate};
use serde_json::Value;

use crate::broker::Mosquitto;
use crate::control::{lines, listen, listen_for};
use crate::edge::{Edge, Files, phantom, run, view, wait_until};
use crate::python::{interpreter, repository};
use crate::real_data::not_checked;

const OBJECTS: [&str; 3] = ["segmentation.dcm", "overview.dcm", "measurements.dcm"];
/// Exit code of the checker when something does not hold.
const NOT_HOLDING: i32 = 5;
/// Exit code when a file is missing.
const NO_INPUT: i32 = 66;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `scripts/check_dicom_output.py`; what it could not check is announced.
fn checked(result: &Path, source: &Path) -> (Option<i32>, String) {
    let output = Command::new(interpreter())
        .arg(repository().join("scripts/check_dicom_output.py"))
        .args([result, source])
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    for gap in said.lines().filter_map(|line| line.strip_prefix("NOT CHECKED HERE: ")) {
        let (what, why) = gap.trim_end_matches(')').split_once(" (").unwrap();
        not_checked(&format!("DICOM objects: {what}"), why);
    }
    (status.code(), said)
}

/// The objects in a folder.
fn objects(folder: &Path) -> Vec<&'static str> {
    OBJECTS.into_iter().filter(|name| folder.join(name).exists()).collect()
}

/// Puts a study's files into folders, beside a DICOMDIR and a text, as on a disc.
fn as_on_a_disc(study: &Path) {
    for (number, path) in fs::read_dir(study).unwrap().map(|e| e.unwrap().path()).enumerate() {
        let folder = study.join(format!("DICOM/{}", number % 3));
        fs::create_dir_all(&folder).unwrap();
        fs::rename(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let mut directory = InMemDicomObject::new_empty();
    directory.put_str(tags::FILE_SET_ID, VR::CS, "DISC");
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
        .media_storage_sop_instance_uid("1.2.3.4");
    directory.with_meta(meta).unwrap().write_to_file(study.join("DICOMDIR")).unwrap();
    fs::write(study.join("README.TXT"), "open with any viewer").unwrap();
}

/// Processes a study on the command line; returns the folder of the result.
fn processed(folder: &Path, study: &Path, more: &[&str]) -> PathBuf {
    let out = folder.join("out");
    let arguments = [&["process", text(study), "--out", text(&out)], more].concat();
    let output = run(&arguments);
    assert!(out.join("result.json").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn objects_hold_against_the_scan_and_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("phantom");
    let drawn = run(&["phantom", text(&made), "--dicom", "--preset", "small", "--seed", "61"]);
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let study = made.join("study");
    let out = processed(folder.path(), &study, &["--dicom-objects"]);
    assert_eq!(objects(&out), OBJECTS);
    let (status, said) = checked(&out, &study);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.matches("\nok ").count() > 15, "{said}");

    // One voxel of the last frame, one number, one slice of the scan: each is noticed.
    let changed = |name: &str, change: fn(&mut Vec<u8>)| {
        let path = out.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let (status, said) = checked(&out, &study);
        fs::write(&path, whole).unwrap();
        assert_eq!(status, Some(NOT_HOLDING), "{name}: {said}");
        assert!(said.contains("WRONG"), "{name}: {said}");
    };
    changed("segmentation.dcm", |bytes| {
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
    });
    changed("overview.dcm", |bytes| *bytes.last_mut().unwrap() ^= 1);
    changed("result.json", |bytes| {
        let found = String::from_utf8(bytes.clone()).unwrap();
        *bytes = found.replacen("\"liver_mm3\":", "\"liver_mm3\":1", 1).into_bytes();
    });
    as_on_a_disc(&study);
    let (status, said) = checked(&out, &study);
    assert_eq!(status, Some(0), "{said}");
    let slice = (0..3).map(|n| study.join(format!("DICOM/{n}/portal-0024.dcm")));
    fs::remove_file(slice.into_iter().find(|path| path.exists()).unwrap()).unwrap();
    assert_eq!(checked(&out, &study).0, Some(NOT_HOLDING));
    for name in ["segmentation.dcm", "measurements.dcm"] {
        fs::remove_file(out.join(name)).unwrap();
    }
    let (status, said) = checked(&out, &study);
    assert_eq!(status, Some(NOT_HOLDING), "{said}");
    assert!(said.contains("WRONG the picture is alone"), "{said}");
}

#[test]
fn a_result_without_a_liver_has_the_picture_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spec = PhantomSpec { with_arterial: false, ..Preset::Small.spec(63) };
    let mut drawn = generate(&spec).unwrap();
    drawn.portal.mapv_inplace(|hu| if (-200..250).contains(&hu) { -90 } else { hu });
    let study = folder.path().join("study");
    fs::create_dir(&study).unwrap();
    for slice in dicom_files(&drawn).map(Result::unwrap) {
        fs::write(study.join(slice.name), slice.bytes).unwrap();
    }
    as_on_a_disc(&study);
    let out = processed(folder.path(), &study, &["--dicom-objects"]);
    assert_eq!(objects(&out), ["overview.dcm"]);
    let (status, said) = checked(&out, &study);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("ok    the picture is alone, 0 voxels"), "{said}");
    assert!(said.contains("ok    overview.dcm: patient and study are those of the scan"), "{said}");
    fs::remove_dir_all(study.join("DICOM")).unwrap();
    assert_eq!(checked(&out, &study).0, Some(NOT_HOLDING), "no scan to compare with");
    fs::remove_file(out.join("overview.dcm")).unwrap();
    assert_eq!(checked(&out, &study).0, Some(NO_INPUT));
}

#[test]
fn nothing_is_made_unasked_or_of_nifti() {
    let folder = tempfile::tempdir().unwrap();
    let (dicom, nifti) = (folder.path().join("dicom"), folder.path().join("nifti"));
    for (made, more) in [(&dicom, &["--dicom"][..]), (&nifti, &[])] {
        let arguments = ["phantom", text(made), "--preset", "small", "--single-phase"];
        assert!(run(&[&arguments, more].concat()).status.success());
    }
    let unasked = processed(&dicom, &dicom.join("study"), &[]);
    let of_nifti = processed(&nifti, &nifti.join("study"), &["--dicom-objects"]);
    for out in [unasked, of_nifti] {
        assert!(objects(&out).is_empty() && out.join("mask.nii.gz").exists());
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(!page.contains("DICOM objects"), "nothing is missing");
    }
}

/// Elements that name a person, an examination or a place: (tag, value, whether the objects repeat it).
const IDENTITY: [(Tag, &str, bool); 14] = [
    (tags::PATIENT_NAME, "Winterbourne^Aurelia", true),
    (tags::PATIENT_ID, "PID-77310492", true),
    (tags::PATIENT_BIRTH_DATE, "19370214", true),
    (tags::OTHER_PATIENT_NAMES, "Featherstone^Aurelia", false),
    (tags::PATIENT_ADDRESS, "17 Larkspur Crescent", false),
    (tags::ACCESSION_NUMBER, "ACC-60318825", true),
    (tags::STUDY_ID, "SID-48219073", true),
    (tags::STUDY_DESCRIPTION, "abdomen for Dr Peppercorn", true),
    (tags::REFERRING_PHYSICIAN_NAME, "Quackenbush^Ottoline", true),
    (tags::OPERATORS_NAME, "Nightingale^Tobias", false),
    (tags::INSTITUTION_NAME, "Saint Elmo Infirmary", false),
    (tags::INSTITUTION_ADDRESS, "3 Harbour Steps", false),
    (tags::STATION_NAME, "ELMO-CT-09", false),
    (tags::DEVICE_SERIAL_NUMBER, "SN-55120986", false),
];

/// UIDs of the source: each slice has its own instance.
const UIDS: [Tag; 4] = [
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
    tags::SOP_INSTANCE_UID,
];

/// A two-phase study as DICOM, of somebody.
fn identified_study() -> Files {
    let drawn = generate(&Preset::Small.spec(3)).unwrap();
    let mut files = Files::new();
    for slice in dicom_files(&drawn).map(Result::unwrap) {
        let mut object = dicom_object::from_reader(&slice.bytes[..]).unwrap();
        for (tag, value, _) in IDENTITY {
            let vr = StandardDataDictionary.by_tag(tag).unwrap().vr().relaxed();
            object.put_str(tag, vr, value);
        }
        let mut bytes = Vec::new();
        object.write_all(&mut bytes).unwrap();
        files.insert(slice.name, bytes);
    }
    let (sheets, _) = phantom(Preset::Small, 3);
    let mut clinical: Value = serde_json::from_slice(&sheets["clinical.json"]).unwrap();
    // The subject of the result is then made of the patient's ID.
    clinical.as_object_mut().unwrap().remove("subject");
    files.insert("clinical.json".to_owned(), clinical.to_string().into_bytes());
    files
}

/// What must not be said: every value of [`IDENTITY`], each part of a name, and every UID in the files.
fn secrets(files: &Files) -> BTreeSet<String> {
    let parts = IDENTITY.iter().flat_map(|(_, value, _)| value.split('^'));
    let mut found: BTreeSet<String> = parts.map(str::to_owned).collect();
    found.extend(["1937-02-14".to_owned(), "14.02.1937".to_owned()]);
    for (_, bytes) in files.iter().filter(|(name, _)| name.ends_with(".dcm")) {
        let object = dicom_object::from_reader(&bytes[..]).unwrap();
        let uids = UIDS.map(|tag| object.element(tag).unwrap().to_str().unwrap().into_owned());
        found.extend(uids.map(|uid| uid.trim_end_matches('\0').to_owned()));
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Every file below a folder but what a study brought and the objects, unpacked where it is packed.
fn everything_else(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "input" {
            found.extend(everything_else(&path));
        } else if path.is_file() && !OBJECTS.contains(&name) {
            let mut bytes = fs::read(&path).unwrap();
            if name.ends_with(".gz") {
                let packed = std::mem::take(&mut bytes);
                GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
            }
            found.push((path, bytes));
        }
    }
    found
}

#[test]
fn the_daemon_writes_objects_and_says_nothing_of_their_identity() {
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), "[dicom]\nobjects = true\n");
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let _listener = listen(broker.port(), "#", &heard);
    // Topic, content type, correlation data, user properties, response topic.
    let around = folder.path().join("around");
    let _other_listener = listen_for("%t %C %D %P %R", broker.port(), "#", &around);
    edge.start();
    let files = identified_study();
    edge.drop_study("study", &files);
    let place = edge.wait_for("study");
    assert_eq!(objects(&place), OBJECTS);
    assert_eq!(view(&place)["result"]["status"], "ok");
    let (status, said) = checked(&place, &place.join("input"));
    assert_eq!(status, Some(0), "{said}");

    let result = fs::read(place.join("result.cose")).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    wait_until(&edge, |edge| {
        lines(&heard).contains(&hex(&result)) && edge.log().contains("delivered")
    });
    let object = fs::read(place.join("overview.dcm")).unwrap();
    for (tag, value, repeated) in IDENTITY {
        assert!(contains(&files["portal-0001.dcm"], value), "{tag}");
        assert_eq!(contains(&object, value), repeated, "{tag}: {value}");
    }
    assert_eq!(edge.terminate(), Some(0));
    let secrets = secrets(&files);
    // Two phases of 48 slices.
    assert!(secrets.len() > 100, "{secrets:?}");
    let messages = lines(&heard);
    assert_eq!(lines(&around).len(), messages.len(), "the same messages");
    let kept = everything_else(&edge.state());
    for name in ["result.cose", "result.json", "run.json", "report.html", "mask.nii.gz"] {
        assert!(kept.iter().any(|(path, _)| *path == place.join(name)), "{name} is looked at");
    }
    for secret in secrets {
        let published = messages.iter().any(|message| message.contains(&hex(secret.as_bytes())));
        assert!(!published, "{secret} was published");
        assert!(lines(&around).iter().all(|line| !line.contains(&secret)), "{secret} in a topic");
        assert!(!edge.log().contains(&secret), "{secret} was logged");
        for (path, bytes) in &kept {
            assert!(!contains(bytes, &secret), "{secret} is in {}", path.display());
        }
    }
}

#[test]
fn a_study_that_has_a_result_gets_no_objects_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("phantom");
    let arguments = ["phantom", text(&made), "--dicom", "--preset", "small", "--single-phase"];
    assert!(run(&arguments).status.success());
    let study = made.join("study");
    let processed = |edge: &Edge, out: &str, more: &[&str]| {
        let (out, config) = (folder.path().join(out), edge.config());
        let device = ["--device", "--config", text(&config)];
        let arguments = [&["process", text(&study), "--out", text(&out)], &device[..], more];
        let output = run(&arguments.concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(out.join("result.cose").exists(), "{said}");
        (objects(&out), said)
    };
    let edge = Edge::new(1, "");
    let (none, said) = processed(&edge, "unasked", &[]);
    assert!(none.is_empty() && !said.contains("DICOM objects"), "{said}");
    let (none, said) = processed(&edge, "too late", &["--dicom-objects"]);
    assert!(none.is_empty() && said.contains("no DICOM objects are made: result 1"), "{said}");

    let edge = Edge::new(1, "");
    let (all, said) = processed(&edge, "asked", &["--dicom-objects"]);
    assert!(all == OBJECTS && !said.contains("DICOM objects"), "{said}");
    let (none, said) = processed(&edge, "again", &["--dicom-objects"]);
    assert!(none.is_empty() && said.contains("those of result 1 lie in done/"), "{said}");
}
