//! Results as DICOM objects: they hold against the scan and the result, they are there only where a
//! site asks for them, and the identity they carry is nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hcc_edge::phantom::{PhantomSpec, Preset, dicom_files, generate};

use crate::broker::Mosquitto;
use crate::control::{lines, listen};
use crate::edge::{Edge, Files, phantom, run, view, wait_until};
use crate::python::{interpreter, repository};

const OBJECTS: [&str; 3] = ["segmentation.dcm", "overview.dcm", "measurements.dcm"];
/// Exit code of the checker when something does not hold.
const NOT_HOLDING: i32 = 5;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `scripts/check_dicom_output.py`.
fn checked(result: &Path, source: &Path) -> (Option<i32>, String) {
    let output = Command::new(interpreter())
        .arg(repository().join("scripts/check_dicom_output.py"))
        .args([result, source])
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// The objects in a folder.
fn objects(folder: &Path) -> Vec<&'static str> {
    OBJECTS.into_iter().filter(|name| folder.join(name).exists()).collect()
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
    fs::remove_file(study.join("portal-0024.dcm")).unwrap();
    assert_eq!(checked(&out, &study).0, Some(NOT_HOLDING));
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

#[test]
fn the_daemon_writes_objects_and_says_nothing_of_their_identity() {
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), "[dicom]\nobjects = true\n");
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let _listener = listen(broker.port(), "#", &heard);
    edge.start();
    let spec = PhantomSpec { with_arterial: false, ..Preset::Small.spec(62) };
    let drawn = generate(&spec).unwrap();
    let slices = dicom_files(&drawn).map(Result::unwrap);
    let mut files: Files = slices.map(|file| (file.name, file.bytes)).collect();
    let (sheets, _) = phantom(Preset::Small, 62);
    files.insert("clinical.json".to_owned(), sheets["clinical.json"].clone());
    edge.drop_study("study", &files);
    let place = edge.wait_for("study");
    assert_eq!(objects(&place), OBJECTS);
    assert_eq!(view(&place)["result"]["status"], "abstained");
    let (status, said) = checked(&place, &place.join("input"));
    assert_eq!(status, Some(0), "{said}");

    let result = fs::read(place.join("result.cose")).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    wait_until(&edge, |_| lines(&heard).contains(&hex(&result)));
    let object = dicom_object::from_reader(&files["portal-0001.dcm"][..]).unwrap();
    let study_uid = object.element_by_name("StudyInstanceUID").unwrap().to_str().unwrap();
    for secret in ["PHANTOM^62", study_uid.trim_end_matches('\0')] {
        let secret_hex = hex(secret.as_bytes());
        assert!(hex(&fs::read(place.join("overview.dcm")).unwrap()).contains(&secret_hex));
        assert!(lines(&heard).iter().all(|message| !message.contains(&secret_hex)), "published");
        assert!(!edge.log().contains(secret), "logged");
        for name in ["result.cose", "result.json", "run.json", "report.html"] {
            let bytes = fs::read(place.join(name)).unwrap();
            assert!(!hex(&bytes).contains(&secret_hex), "{name}");
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
