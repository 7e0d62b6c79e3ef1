//! The demonstration as a newcomer runs it, and one study on the command line.

use std::fs;
use std::path::Path;

use hcc_edge::phantom::Preset;

use crate::edge::{command, json, phantom, run};

#[test]
fn the_demonstration_ends_with_a_verified_score_and_its_files() {
    let device = tempfile::tempdir().unwrap();
    let output =
        command(&["demo", "--json"]).env("HCC_EDGE_STATE_DIR", device.path()).output().unwrap();
    assert_eq!(fs::read_dir(device.path()).unwrap().count(), 0, "a real device is left alone");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let object = json(&output);
    assert_eq!(object["verified"], true);
    assert_eq!(object["status"], "ok");
    assert_eq!(object["intended_use"], "demonstration");
    assert_eq!(object["result_id"].as_str().unwrap().len(), 32);
    assert_ne!(object["recommendation"]["code"], "none");
    assert!(object["lesions"]["count"].as_u64().unwrap() > 0);
    assert!(!object["truth"]["tumours"].as_array().unwrap().is_empty());
    assert!(object["timings_ms"]["total"].as_u64().unwrap() > 0);
    assert!(object["peak_rss_mib"].as_f64().unwrap() > 1.0);
    let files: Vec<&Path> = object["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| Path::new(f.as_str().unwrap()))
        .collect();
    assert!(files.iter().all(|file| file.is_file()), "{files:?}");
    let folder = files[0].parent().unwrap().parent().unwrap();
    assert!(!folder.join("state").exists(), "the state goes away without --keep");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn one_study_on_the_command_line_gives_files_that_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = (folder.path().join("study"), folder.path().join("out"));
    fs::create_dir(&study).unwrap();
    let (mut files, _) = phantom(Preset::Small, 21);
    files.remove("arterial.nii.gz");
    for (name, bytes) in &files {
        fs::write(study.join(name), bytes).unwrap();
    }
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = ["process", &path(&study), "--out", &path(&out), "--json"];
    // A real device's folder in the environment is not for a throw-away one.
    let device = folder.path().join("device");
    let output = command(&arguments).env("HCC_EDGE_STATE_DIR", &device).output().unwrap();
    assert!(!device.exists());
    assert_eq!(
        output.status.code(),
        Some(4),
        "abstained: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let object = json(&output);
    assert_eq!(object["result"]["status"], "abstained");
    assert_eq!(fs::read_dir(&study).unwrap().count(), files.len(), "the study is left as it is");
    let (result, trust) = (path(&out.join("result.cose")), path(&out.join("trust.toml")));
    let verdict = |file: &str| run(&["verify", file, "--trust", &trust]);
    assert_eq!(verdict(&result).status.code(), Some(0));
    assert_eq!(verdict(&path(&out.join("result.json"))).status.code(), Some(0));
    let mut forged = fs::read(&result).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    fs::write(&result, forged).unwrap();
    let refused = verdict(&result);
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("NOT VERIFIED"));
    assert_eq!(run(&arguments).status.code(), Some(1), "an existing result is not overwritten");
}
