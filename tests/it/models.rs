//! The packages of this repository, as `hcc-edge models verify` judges them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const VERIFICATION_FAILED: i32 = 5;

fn repository_models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Exit status, and per package its folder and the reason it is refused for.
struct Verdict {
    status: i32,
    packages: Vec<(PathBuf, Option<String>)>,
}

impl Verdict {
    fn refused(&self) -> Vec<&(PathBuf, Option<String>)> {
        self.packages.iter().filter(|(_, reason)| reason.is_some()).collect()
    }
}

/// Runs `models verify` for a device without any state of its own.
fn verify(models: &Path, flags: &[&str]) -> Verdict {
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hcc-edge"))
        .args(["--json", "models", "--state-dir"])
        .arg(state.path())
        .args(["verify", "--models"])
        .arg(models)
        .args(flags)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let package = |entry: &Value| {
        let reason = entry["reason"].as_str().map(ToOwned::to_owned);
        assert_eq!(entry["verified"], reason.is_none());
        (PathBuf::from(entry["folder"].as_str().unwrap()), reason)
    };
    let packages = report["packages"].as_array().unwrap().iter().map(package).collect();
    Verdict { status: output.status.code().unwrap(), packages }
}

/// Every file below `folder`.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A copy that may be damaged.
fn copy_of_the_models() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files_below(&repository_models()) {
        let to = copy.path().join(file.strip_prefix(repository_models()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    copy
}

#[test]
fn the_packages_of_the_repository_verify_in_demonstration_mode() {
    let verdict = verify(&repository_models(), &[]);
    assert_eq!(verdict.refused(), Vec::<&(PathBuf, Option<String>)>::new());
    assert_eq!(verdict.status, 0);
    let names: Vec<_> =
        verdict.packages.iter().map(|(folder, _)| folder.parent().unwrap().file_name()).collect();
    let expected = ["liver-localiser", "liver-tumour", "nomogram-haic", "nomogram-tace", "pmn"];
    assert_eq!(names, expected.map(|name| Some(name.as_ref())));
}

/// What `models` prints on standard output.
fn printed(arguments: &[&OsStr]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hcc-edge"))
        .arg("models")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// For a device without any state of its own.
fn verify_prints(models: &Path) -> String {
    let state = tempfile::tempdir().unwrap();
    let flags = ["--state-dir".as_ref(), state.path().as_os_str()];
    printed(&[flags[0], flags[1], "verify".as_ref(), "--models".as_ref(), models.as_ref()])
}

#[test]
fn verify_says_what_computes_a_network_and_why() {
    let text = verify_prints(&repository_models());
    assert_eq!(text.matches("int8 engine, all ").count(), 3, "{text}");
    assert_eq!(text.matches(" of them in f32").count(), 1, "{text}");
    let models = copy_of_the_models();
    let folder = models.path().join("liver-localiser/0.1.0");
    let model = folder.join("model.onnx");
    let mut bytes = fs::read(&model).unwrap();
    let activations: Vec<usize> =
        (0..bytes.len() - 9).filter(|&at| bytes[at..].starts_with(b"LeakyRelu")).collect();
    activations.into_iter().for_each(|at| bytes[at..at + 9].copy_from_slice(b"HardSwish"));
    fs::write(&model, bytes).unwrap();
    let key = models.path().join("demonstration.pk8");
    printed(&["sign".as_ref(), "--key".as_ref(), key.as_ref(), folder.as_ref()]);
    let text = verify_prints(models.path());
    assert_eq!(text.matches("int8 engine, all ").count(), 2, "{text}");
    assert_eq!(text.matches("nodes are not computed in integers:").count(), 1, "{text}");
    assert!(text.contains("(HardSwish): ") && text.contains("see --json"), "{text}");
}

#[test]
fn a_clinical_device_refuses_every_package_of_the_repository() {
    let store = repository_models().join("trust.toml");
    let named = ["--clinical", "--trust", store.to_str().unwrap()];
    for flags in [&["--clinical"][..], &named] {
        let verdict = verify(&repository_models(), flags);
        assert_eq!(verdict.status, VERIFICATION_FAILED, "{flags:?}");
        assert_eq!((verdict.packages.len(), verdict.refused().len()), (5, 5), "{flags:?}");
    }
}

#[test]
fn one_flipped_byte_in_any_file_is_refused_and_only_there() {
    let copy = copy_of_the_models();
    let packages = verify(copy.path(), &[]).packages;
    let mut tried = 0;
    for (folder, _) in &packages {
        assert!(folder.starts_with(copy.path()), "{} is the copy", folder.display());
        for file in files_below(folder) {
            let sound = fs::read(&file).unwrap();
            let mut damaged = sound.clone();
            damaged[sound.len() / 2] ^= 1;
            fs::write(&file, damaged).unwrap();
            let verdict = verify(copy.path(), &[]);
            fs::write(&file, sound).unwrap();
            assert_eq!(verdict.status, VERIFICATION_FAILED, "{}", file.display());
            let [(refused, _)] = verdict.refused()[..] else { panic!("{}", file.display()) };
            assert_eq!(refused, folder, "{}", file.display());
            tried += 1;
        }
    }
    assert!(tried >= 20, "{tried} files tried");
}
