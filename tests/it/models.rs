//! The packages of this repository, as `hcc-edge models verify` judges them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const VERIFICATION_FAILED: i32 = 5;
const NO_INPUT: i32 = 66;

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

/// A device without anything, and copies of the repository's packages to install on it.
struct Device {
    state: tempfile::TempDir,
    offered: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), offered: copy_of_the_models() }
    }

    /// The one version of a package that is offered.
    fn offered(&self, name: &str) -> PathBuf {
        let mut versions = fs::read_dir(self.offered.path().join(name)).unwrap();
        versions.next().unwrap().unwrap().path()
    }

    /// Offers the package as another version whose manifest has one more line; its folder.
    fn offer(&self, name: &str, version: &str, line: &str) -> PathBuf {
        let (from, to) = (self.offered(name), self.offered.path().join("next").join(name));
        let to = to.join(version);
        for file in files_below(&from) {
            let copy = to.join(file.strip_prefix(&from).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&file, copy).unwrap();
        }
        let old = from.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(to.join("manifest.toml")).unwrap();
        let (own, new) =
            (format!("version = \"{old}\""), format!("version = \"{version}\"\n{line}"));
        fs::write(to.join("manifest.toml"), text.replacen(&own, &new, 1)).unwrap();
        self.sign(&to);
        to
    }

    fn sign(&self, folder: &Path) {
        let key = self.offered.path().join("demonstration.pk8");
        printed(&["sign".as_ref(), "--key".as_ref(), key.as_ref(), folder.as_ref()]);
    }

    /// Exit status and everything that was said.
    fn models(&self, arguments: &[&OsStr]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_hcc-edge"))
            .args(["--json", "models", "--state-dir"])
            .arg(self.state.path())
            .args(arguments)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    fn install(&self, folder: &Path, flags: &[&str]) -> (i32, String) {
        let mut arguments = vec![OsStr::new("install"), folder.as_os_str()];
        arguments.extend(flags.iter().map(OsStr::new));
        self.models(&arguments)
    }

    /// Versions of a package in the state directory, as `list` tells them: `1.2.0: why`.
    fn listed(&self, name: &str) -> Vec<String> {
        let (status, said) = self.models(&["list".as_ref()]);
        assert_eq!(status, 0, "{said}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let own = self.state.path().join("models").join(name);
        let entries = report["packages"].as_array().unwrap().iter();
        entries
            .filter(|entry| Path::new(entry["folder"].as_str().unwrap()).starts_with(&own))
            .map(|entry| {
                let word = |key: &str| entry[key].as_str().unwrap().to_owned();
                assert_eq!(entry["in_use"], word("why") == "selected");
                format!("{}: {}", word("version"), word("why"))
            })
            .collect()
    }
}

#[test]
fn every_package_is_installed_used_and_taken_back() {
    let device = Device::new();
    for name in ["liver-localiser", "liver-tumour", "nomogram-haic", "nomogram-tace", "pmn"] {
        let (status, said) = device.install(&device.offered(name), &[]);
        assert_eq!((status, said.contains("\"done\":\"installed\"")), (0, true), "{said}");
    }
    let state_models = device.state.path().join("models");
    let verdict = verify(&state_models, &["--trust", store().to_str().unwrap()]);
    assert_eq!((verdict.status, verdict.packages.len()), (0, 5));

    let name = "nomogram-tace";
    let next = device.offer(name, "7.0.0", "");
    assert_eq!(device.install(&next, &[]).0, 0);
    let old = device.offered(name).file_name().unwrap().to_str().unwrap().to_owned();
    let other = "another version there is in use";
    let first_in_use = [format!("{old}: selected"), format!("7.0.0: {other}")];
    let second_in_use = [format!("{old}: {other}"), "7.0.0: selected".to_owned()];
    assert_eq!(device.listed(name), first_in_use);
    let nothing_before = device.models(&["rollback".as_ref(), name.as_ref()]);
    assert_eq!(nothing_before.0, NO_INPUT, "{}", nothing_before.1);
    assert_eq!(device.models(&["use".as_ref(), name.as_ref(), "7.0.0".as_ref()]).0, 0);
    assert_eq!(device.listed(name), second_in_use);
    assert_eq!(device.models(&["rollback".as_ref(), name.as_ref()]).0, 0);
    assert_eq!(device.listed(name), first_in_use);
    let absent = device.models(&["use".as_ref(), name.as_ref(), "8.0.0".as_ref()]);
    assert_eq!(absent.0, NO_INPUT, "{}", absent.1);
    fs::write(state_models.join(name).join("7.0.0/CARD.md"), "another").unwrap();
    let damaged = device.models(&["use".as_ref(), name.as_ref(), "7.0.0".as_ref()]);
    assert_eq!(damaged.0, VERIFICATION_FAILED, "{}", damaged.1);
    assert_eq!(device.listed(name), first_in_use);
}

/// The store that vouches for the packages of the repository.
fn store() -> PathBuf {
    repository_models().join("trust.toml")
}

#[test]
fn what_does_not_verify_or_answers_wrongly_is_not_installed() {
    let device = Device::new();
    let refuse = |folder: &Path, flags: &[&str], why: &str| {
        let (status, said) = device.install(folder, flags);
        assert_eq!(status, VERIFICATION_FAILED, "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(device.listed("liver-localiser"), [""; 0]);
    };
    let folder = device.offered("liver-localiser");
    refuse(&folder, &["--clinical"], "is not signed by a key that is trusted here");
    let answer = folder.join("golden/output.f32");
    let mut bytes = fs::read(&answer).unwrap();
    bytes[3] ^= 0x40;
    fs::write(&answer, bytes).unwrap();
    refuse(&folder, &[], "is not the file that was signed for");
    device.sign(&folder);
    refuse(&folder, &[], "golden");
    let stranger = device.offered.path().join("somebody");
    fs::create_dir_all(&stranger).unwrap();
    fs::rename(device.offered("nomogram-tace"), stranger.join("1.0.0")).unwrap();
    refuse(&stranger.join("1.0.0"), &[], "is not the name of its");
    let (status, said) = device.install(&device.offered.path().join("nothing"), &[]);
    assert_eq!(status, NO_INPUT, "{said}");
}

#[test]
fn a_revoked_version_is_refused_by_every_command() {
    let device = Device::new();
    let (name, old) = ("nomogram-haic", device.offered("nomogram-haic"));
    let version = old.file_name().unwrap();
    let next = device.offer(name, "7.0.0", "revokes_below = \"7.0.0\"");
    assert_eq!(device.install(&old, &[]).0, 0);
    let (status, said) = device.install(&next, &[]);
    assert_eq!((status, said.contains("install it with --use")), (VERIFICATION_FAILED, true));
    assert_eq!(device.install(&next, &["--use"]).0, 0);
    let attempts: [&[&OsStr]; 4] = [
        &["install".as_ref(), old.as_ref()],
        &["install".as_ref(), "--use".as_ref(), old.as_ref()],
        &["use".as_ref(), name.as_ref(), version],
        &["rollback".as_ref(), name.as_ref()],
    ];
    for attempt in attempts {
        let (status, said) = device.models(attempt);
        assert_eq!(status, VERIFICATION_FAILED, "{attempt:?}: {said}");
        assert!(said.contains("is revoked here, every one below 7.0.0 is"), "{said}");
    }
    let version = version.to_str().unwrap();
    let revoked = format!("{version}: revoked, every version below 7.0.0 is");
    assert_eq!(device.listed(name), [revoked, "7.0.0: selected".to_owned()]);
}
