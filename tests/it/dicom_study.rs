//! The same two-phase scan as DICOM, written by a script that shares no code with the program, and as
//! NIfTI: the same masks at the same places and the same numbers.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;
use hcc_edge::phantom::Preset;
use serde_json::Value;

use crate::dicom::script;
use crate::edge::phantom;

/// What of a result comes from the images and the clinical data.
const MEASURED: [&str; 8] =
    ["status", "reasons", "lesions", "pmn", "clinical", "nomograms", "recommendation", "models"];

/// Where the affine and the voxels of a NIfTI-1 file are.
const AFFINE: std::ops::Range<usize> = 280..328;
const VOXELS: usize = 352;

/// What the program makes of a study folder.
fn processed(study: &Path, out: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hcc-edge"))
        .args(["process", "--out"])
        .args([out, study])
        .env_remove("HCC_EDGE_CONFIG")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(out.join("result.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["result"].take()
}

/// Affine and voxels of a mask.
fn mask(out: &Path) -> (Vec<f32>, Vec<u8>) {
    let mut bytes = Vec::new();
    let packed = fs::read(out.join("mask.nii.gz")).unwrap();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let numbers = bytes[AFFINE].chunks_exact(4);
    let affine = numbers.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    (affine, bytes[VOXELS..].to_vec())
}

#[test]
fn a_scan_as_dicom_gives_the_numbers_and_the_mask_that_it_gives_as_nifti() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (nifti, dicom) = (at("nifti"), at("dicom"));
    fs::create_dir(&nifti).unwrap();
    fs::create_dir(&dicom).unwrap();
    let (files, _) = phantom(Preset::Small, 3);
    for (name, bytes) in &files {
        fs::write(nifti.join(name), bytes).unwrap();
    }
    fs::write(dicom.join("clinical.json"), &files["clinical.json"]).unwrap();
    for (phase, description, time, syntax) in [
        ("arterial", "Liver late arterial", "120035", "rle"),
        ("portal", "Liver portal venous", "120110", "big"),
    ] {
        let file = nifti.join(format!("{phase}.nii.gz"));
        let about = ["--description", description, "--time", time, "--prefix", phase];
        let written = ["--syntax", syntax, "--order", "shuffled"];
        let files = [file.to_str().unwrap(), dicom.to_str().unwrap()];
        script("nifti_to_dicom.py", &[&files[..], &about, &written].concat());
    }
    let (from_nifti, from_dicom) = (processed(&nifti, &at("a")), processed(&dicom, &at("b")));
    assert_eq!(from_dicom["status"], "ok");
    for part in MEASURED {
        assert_eq!(from_dicom[part], from_nifti[part], "{part}");
    }
    let (affine, voxels) = mask(&at("a"));
    assert!(voxels.iter().any(|label| *label > 0));
    assert_eq!(mask(&at("b")), (affine, voxels));
}
