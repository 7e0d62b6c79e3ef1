//! The shell parts of the scripts: what was not checked is said at the end, an environment that was left
//! half made is mended, and no file of a study is lost on the way into a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::python::repository;

/// Runs shell commands in the repository, without the settings of the scripts.
fn shell(commands: &str, arguments: &[&Path]) -> Output {
    let settings = std::env::vars_os().map(|(name, _)| name);
    let settings = settings.filter(|name| name.to_string_lossy().starts_with("HCC_EDGE_"));
    let mut shell = Command::new("sh");
    shell.args(["-euc", commands, "sh"]).args(arguments).current_dir(repository());
    settings.for_each(|name| {
        shell.env_remove(name);
    });
    shell.output().unwrap()
}

/// What was printed by commands that succeeded.
fn printed(output: Output) -> String {
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert!(status.success(), "{said}");
    said
}

/// Runs tests of this program in a process of its own; what they announced as not checked.
fn announced(tests: &[&str], environment: &[(&str, &Path)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary");
    fs::write(&summary, "").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--exact")
        .args(tests)
        .env("HCC_EDGE_NOT_CHECKED", &summary)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = printed(output);
    assert!(said.contains(&format!("{} passed", tests.len())), "{said}");
    fs::read_to_string(summary).unwrap()
}

#[test]
fn tests_without_real_data_say_that_they_checked_nothing() {
    let nothing = tempfile::tempdir().unwrap();
    let tests = [
        "real_ct::real_ct_of_one_phase_abstains_with_mask_and_pictures",
        "dicom::nine_lossless_transfer_syntaxes_are_one_volume",
    ];
    let said = announced(&tests, &[("HCC_EDGE_DATA", nothing.path())]);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{said}");
    let start = "NOT CHECKED HERE: tests with the real data ";
    assert!(lines[0].starts_with(&format!("{start}ct-totalsegmentator/")), "{said}");
    assert!(lines[1].starts_with(&format!("{start}dicom-transfer-syntaxes/")), "{said}");
}

#[test]
fn tests_without_programs_say_that_they_checked_nothing() {
    let nothing = tempfile::tempdir().unwrap();
    let mut tests = vec!["dicom_output::a_result_without_a_liver_has_the_picture_alone"];
    let mut expected = vec!["DICOM objects: the rules of the standard (dciodvfy"];
    if cfg!(feature = "dicom-net") {
        tests.push("receive::studies_come_over_tls_from_senders_with_a_certificate_only");
        expected.push("receiving from dcmtk (storescu");
    }
    let said = announced(&tests, &[("PATH", nothing.path())]);
    for gap in expected {
        assert!(said.contains(&format!("NOT CHECKED HERE: {gap}")), "{said}");
    }
}

#[test]
fn the_closing_summary_has_each_gap_once() {
    let steps = "
        . scripts/lib/steps.sh
        gap() { echo 'NOT CHECKED HERE: the moon (no rocket)' >>\"$step_gaps\"; }
        step one not_checked 'the sea' 'no ship'
        step two gap
        step three gap
        echo CLOSING
        ";
    let said = printed(shell(&format!("{steps} step_summary"), &[]));
    let (_, closing) = said.split_once("CLOSING").unwrap();
    for gap in ["NOT CHECKED HERE: the moon (no rocket)", "NOT CHECKED HERE: the sea (no ship)"] {
        assert_eq!(closing.matches(gap).count(), 1, "{said}");
    }
    // Nor does a failure hide them.
    let failed = shell(&format!("{steps} step four false"), &[]);
    assert!(!failed.status.success());
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("FAILED in step: four"), "{said}");
    assert_eq!(said.matches("the moon").count(), 1, "{said}");
}

#[test]
fn scripts_test_gives_the_tests_the_file_of_the_summary() {
    let script = fs::read_to_string(repository().join("scripts/test")).unwrap();
    let at = |part: &str| script.find(part).unwrap_or_else(|| panic!("no {part}"));
    let export = at("export HCC_EDGE_NOT_CHECKED=\"${step_gaps:?}\"");
    assert!(export < at("cargo test --") && at("cargo test --") < at("\nstep_summary\n"));
}

#[test]
fn a_python_environment_that_was_left_half_made_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (venv, nothing) = (folder.path().join("venv"), folder.path().join("nothing.txt"));
    fs::write(&nothing, "").unwrap();
    // As it is while pip's own files are being copied.
    let half = "
        python3 -m venv --without-pip \"$1\"
        packages=$(echo \"$1\"/lib/python3*/site-packages)
        mkdir \"$packages/pip\"
        : >\"$packages/pip/__init__.py\"
        ! \"$1/bin/python\" -m pip --version 2>/dev/null
        ";
    printed(shell(half, &[&venv]));
    let make = ". scripts/lib/python.sh; python_environment \"$1\" \"$2\"; echo \"$python\"";
    let python = printed(shell(make, &[&venv, &nothing]));
    assert_eq!(Path::new(python.trim()), venv.join("bin/python"));
    printed(shell("\"$1\" -m pip --version", &[&venv.join("bin/python")]));
}

/// A program that does nothing.
fn idle_program(path: &Path) {
    fs::write(path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Every file below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(tree(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn real_input_keeps_files_of_one_name_in_two_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for file in [
        "data/packed/a/IM1",
        "data/packed/b/IM1",
        "data/ct-dcmqi-liver/ct-3slice/01.dcm",
        "data/ct-totalsegmentator/example_ct.nii.gz",
        "data/ct-totalsegmentator/example_ct_sm.nii.gz",
        "data/ct-tcga-bc-a10w/.keep",
    ] {
        fs::create_dir_all(at(file).parent().unwrap()).unwrap();
        fs::write(at(file), file).unwrap();
    }
    // tar looks at the content, not at the name.
    let pack = "tar cf \"$1\" -C \"$2\" .";
    let archive = at("data/ct-tcga-bc-a10w/TCGA-BC-A10W_dicom.tar.xz");
    printed(shell(pack, &[&archive, &at("data/packed")]));
    // An environment that is there already, for a script that only names its interpreter.
    fs::create_dir_all(at("venv/bin")).unwrap();
    ["pip", "python"].iter().for_each(|name| idle_program(&at("venv/bin").join(name)));
    let make = "HCC_EDGE_CONVERT_VENV=\"$3\" scripts/real_input \"$1\" \"$2\"";
    let said = printed(shell(make, &[&at("out"), &at("data"), &at("venv")]));
    assert!(said.contains("tcga-bc-a10w: 2 DICOM files"), "{said}");
    let expected = [
        "out/dcmqi-liver/01.dcm",
        "out/example_ct/portal.nii.gz",
        "out/example_ct_sm/portal.nii.gz",
        "out/tcga-bc-a10w/a/IM1",
        "out/tcga-bc-a10w/b/IM1",
    ];
    assert_eq!(tree(&at("out")), expected.map(at));
    let second = fs::read_to_string(at("out/tcga-bc-a10w/b/IM1")).unwrap();
    assert_eq!(second, "data/packed/b/IM1");
}
