//! `hcc-edge segment`: one volume through one package, ours and one that says it comes from nnU-Net.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::read::GzDecoder;
use serde_json::Value;

const INPUT_REJECTED: i32 = 3;
const VERIFICATION_FAILED: i32 = 5;
const NO_INPUT: i32 = 66;

/// The version of a package in this repository.
fn package(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let versions = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    versions.max().unwrap()
}

fn hcc_edge(arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hcc-edge"));
    command.args(arguments).args(paths).output().unwrap()
}

/// A phantom's portal venous phase, and its true labels.
fn phantom(folder: &Path) -> (PathBuf, PathBuf) {
    let made = hcc_edge(&["phantom", "--single-phase", "--seed", "3"], &[folder]);
    assert!(made.status.success());
    (folder.join("study/portal.nii.gz"), folder.join("truth/labels.nii.gz"))
}

/// Labels of a NIfTI file of bytes.
fn labels(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(&fs::read(file).unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes.split_off(352)
}

/// Liver and tumour together.
fn dice(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let count = |labels: &[u8]| labels.iter().filter(|&&label| label > 0).count();
    let both = a.iter().zip(b).filter(|&(&a, &b)| a > 0 && b > 0).count();
    2.0 * both as f64 / (count(a) + count(b)) as f64
}

fn segment(package: &Path, volume: &Path, out: &Path, more: &[&str]) -> Output {
    let (package, out) = (package.to_str().unwrap(), out.to_str().unwrap());
    let arguments = [&["--json", "segment", "--package", package, "--out", out], more].concat();
    hcc_edge(&arguments, &[volume])
}

/// What the command said of a volume it labelled.
fn said(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The shipped segmentation network as if nnU-Net had trained it on volumes whose axes were transposed.
fn imported(root: &Path) -> PathBuf {
    let source = package("liver-tumour");
    let folder = root.join("liver-tumour").join(source.file_name().unwrap());
    fs::create_dir_all(folder.join("golden")).unwrap();
    for file in ["manifest.toml", "model.onnx", "CARD.md", "golden/input.f32", "golden/output.f32"]
    {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let text = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let recipe =
        "[nnunet]\norientation = \"ras\"\ntranspose = [0, 1, 2]\nmirror_axes = [2]\n\n[golden]";
    fs::write(folder.join("manifest.toml"), text.replace("[golden]", recipe)).unwrap();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demonstration.pk8");
    let signed = hcc_edge(&["models", "sign", "--key", key.to_str().unwrap()], &[&folder]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    folder
}

#[test]
fn a_volume_is_labelled_by_a_package_of_ours_and_by_an_imported_one() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, truth) = phantom(&folder.path().join("phantom"));
    let truth = labels(&truth);
    let localiser = package("liver-localiser");
    let boxed = ["--localiser", localiser.to_str().unwrap()];
    let run = |package: &Path, name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let figures = said(&segment(package, &volume, &out, more));
        assert!(figures["liver_ml"].as_f64().unwrap() > 500.0, "{figures}");
        (labels(&out), figures)
    };
    let (ours, figures) = run(&package("liver-tumour"), "ours.nii.gz", &boxed);
    assert!(dice(&ours, &truth) > 0.85, "{}", dice(&ours, &truth));
    assert_eq!(figures["demonstration"], true);
    let imported = imported(folder.path());
    let (theirs, figures) = run(&imported, "imported.nii.gz", &boxed);
    assert!(dice(&theirs, &ours) > 0.9, "{}", dice(&theirs, &ours));
    let (mirrored, twice) =
        run(&imported, "mirrored.nii.gz", &[&boxed[..], &["--mirror"]].concat());
    assert!(dice(&mirrored, &theirs) > 0.9 && mirrored != theirs);
    assert_eq!(twice["patches"].as_u64().unwrap(), 2 * figures["patches"].as_u64().unwrap());
}

#[test]
fn what_cannot_be_labelled_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, truth) = phantom(&folder.path().join("phantom"));
    let out = folder.path().join("labels.nii.gz");
    let status = |package: &Path, volume: &Path| {
        let output = segment(package, volume, &out, &[]);
        output.status.code().unwrap()
    };
    let imported = imported(folder.path());
    assert_eq!(status(&imported, &folder.path().join("absent.nii.gz")), NO_INPUT);
    // A mask is no CT.
    assert_eq!(status(&imported, &truth), INPUT_REJECTED);
    let localiser = package("liver-localiser");
    assert_eq!(status(&localiser, &volume), 1);
    fs::write(imported.join("model.onnx"), b"another").unwrap();
    assert_eq!(status(&imported, &volume), VERIFICATION_FAILED);
    assert!(!out.exists());
}
