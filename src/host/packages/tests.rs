//! Packages that were changed, swapped, revoked or made too large; and which version is in use.

use super::selection::ACTIVE;
use super::*;
use crate::seal::cose::{Ed25519Signer, key_id};
use crate::seal::trust::{Role, TrustedKey};

const TEXT: &str = "schema = 1\nname = \"pmn\"\nversion = \"1.0.0\"\ntask = \"classification\"\n\
                    intended_use = \"demonstration\"\nlicence = \"Apache-2.0\"\n\n[input]\nphases = 2\n";

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[5; 32]).unwrap()
}

pub(super) fn trust(demonstration: bool) -> TrustStore {
    let public_key = signer().public_key();
    let mut store = TrustStore::default();
    store
        .add(TrustedKey {
            kid: key_id(&public_key),
            role: Role::Models,
            device: None,
            site: None,
            not_before: None,
            not_after: None,
            public_key,
            demonstration,
        })
        .unwrap();
    store
}

/// A root with one signed package; returns both.
fn package() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = signed(root.path(), "1.0.0", "");
    (root, folder)
}

/// Signs a package of this version whose manifest says `more`; its folder.
pub(super) fn signed(root: &Path, version: &str, more: &str) -> PathBuf {
    let folder = root.join("pmn").join(version);
    fs::create_dir_all(folder.join("golden")).unwrap();
    let text = TEXT.replace("1.0.0", version).replace("licence", &format!("{more}\nlicence"));
    fs::write(folder.join(MANIFEST), text).unwrap();
    fs::write(folder.join("model.onnx"), b"weights").unwrap();
    fs::write(folder.join("golden/input.bin"), b"in").unwrap();
    assert_eq!(sign(&folder, &signer()).unwrap(), 2);
    folder
}

pub(super) fn terms(trust: TrustStore, mode: PackageMode) -> Terms {
    Terms { trust, mode, floors: BTreeMap::new() }
}

fn loads(folder: &Path) -> Result<VerifiedPackage, PackageError> {
    load(folder, &terms(trust(false), PackageMode::Clinical))
}

#[test]
fn a_signed_package_is_read_whole() {
    let (_root, folder) = package();
    let package = loads(&folder).unwrap();
    assert_eq!((&*package.name, &*package.version), ("pmn", "1.0.0"));
    assert_eq!(package.task, Task::Classification);
    assert_eq!(package.files["golden/input.bin"], b"in");
    assert_eq!(package.files.len(), 2);
    let manifest = fs::read(folder.join(MANIFEST)).unwrap();
    assert_eq!(package.manifest_digest, sha256(&manifest).0);
    assert!(package.manifest_toml.contains("[input]\nphases = 2\n\n[files]\n"));
    sign(&folder, &signer()).unwrap();
    assert_eq!(fs::read(folder.join(MANIFEST)).unwrap(), manifest, "signing again is the same");
}

#[test]
fn every_change_after_signing_is_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 9] = [
        ("a changed file", |f| fs::write(f.join("model.onnx"), b"Weights").unwrap()),
        ("a missing file", |f| fs::remove_file(f.join("golden/input.bin")).unwrap()),
        ("a file too many", |f| fs::write(f.join("extra"), b"").unwrap()),
        ("a changed manifest", |f| {
            let text = fs::read_to_string(f.join(MANIFEST)).unwrap();
            fs::write(f.join(MANIFEST), text.replace("phases = 2", "phases = 1")).unwrap();
        }),
        ("no signature", |f| fs::remove_file(f.join(SIGNATURE)).unwrap()),
        ("a link", |f| std::os::unix::fs::symlink("/dev/null", f.join("link")).unwrap()),
        ("a hidden file", |f| fs::write(f.join(".hidden"), b"").unwrap()),
        ("a deep folder", |f| fs::create_dir_all(f.join("golden/deep")).unwrap()),
        ("a file swapped for a link", |f| {
            fs::rename(f.join("model.onnx"), f.parent().unwrap().join("away")).unwrap();
            std::os::unix::fs::symlink("../away", f.join("model.onnx")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let (_root, folder) = package();
        change(&folder);
        assert!(loads(&folder).is_err(), "accepted: {what}");
    }
}

#[test]
fn only_trusted_keys_sign_and_demonstration_stays_demonstration() {
    let (_root, folder) = package();
    let verdict = |store: TrustStore, mode| load(&folder, &terms(store, mode)).is_ok();
    assert!(verdict(trust(true), PackageMode::Demonstration));
    assert!(!verdict(trust(true), PackageMode::Clinical));
    assert!(verdict(trust(false), PackageMode::Demonstration));
    assert!(!verdict(TrustStore::default(), PackageMode::Demonstration));
}

#[test]
fn a_package_cannot_take_the_place_of_another() {
    let (root, folder) = package();
    let elsewhere = root.path().join("liver-tumour");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&folder, elsewhere.join("1.0.0")).unwrap();
    assert!(matches!(loads(&elsewhere.join("1.0.0")), Err(PackageError::Manifest { .. })));
    fs::rename(elsewhere.join("1.0.0"), root.path().join("pmn/2.0.0")).unwrap();
    assert!(loads(&root.path().join("pmn/2.0.0")).is_err());
}

#[test]
fn the_version_in_use_is_named_or_the_highest() {
    let root = tempfile::tempdir().unwrap();
    let name = Slug::new("pmn").unwrap();
    let roots = [PathBuf::from("/nonexistent"), root.path().to_owned()];
    assert!(matches!(find(&roots, &name), Err(PackageError::NotFound { .. })));
    for version in ["0.9.0", "0.10.0", "draft"] {
        fs::create_dir_all(root.path().join("pmn").join(version)).unwrap();
    }
    assert!(find(&roots, &name).unwrap().ends_with("pmn/0.10.0"));
    fs::write(root.path().join(ACTIVE), "[pmn]\nin_use = \"0.9.0\"\n").unwrap();
    assert!(find(&roots, &name).unwrap().ends_with("pmn/0.9.0"));
    assert_eq!(installed(&roots).unwrap().len(), 1);
    fs::write(root.path().join(ACTIVE), "[pmn]\nin_use = \"0.8.0\"\n").unwrap();
    assert!(find(&roots, &name).is_err());
}

#[test]
fn files_beside_the_packages_are_passed_over() {
    let (root, folder) = package();
    for name in ["README.md", "trust.toml", "demonstration.pk8", ".README.md.swp", "a b"] {
        fs::write(root.path().join(name), b"").unwrap();
    }
    std::os::unix::fs::symlink(&folder, root.path().join("link")).unwrap();
    assert_eq!(installed(&[root.path().to_owned()]).unwrap(), [folder]);
}

#[test]
fn folders_of_packages_are_limited() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..MAX_ENTRIES {
        fs::create_dir(root.path().join(format!("p{number}"))).unwrap();
    }
    assert_eq!(folders(root.path()).unwrap().len(), MAX_ENTRIES);
    fs::create_dir(root.path().join("one-more")).unwrap();
    assert!(matches!(folders(root.path()), Err(PackageError::Layout { .. })));
}

#[test]
fn names_and_sizes_are_limited() {
    for good in ["a", "a/b", "A-1_2.x", &"x".repeat(64)] {
        assert!(is_file_name(good), "{good}");
    }
    for bad in ["", "a/b/c", "../a", "/a", "a//b", "a b", "é", MANIFEST, &"x".repeat(65)] {
        assert!(!is_file_name(bad), "{bad}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [0; 10]).unwrap();
    assert!(read(&path, 10).is_ok());
    assert!(matches!(read(&path, 9), Err(PackageError::Layout { .. })));
}

#[test]
fn the_files_table_must_be_last() {
    assert_eq!(without_files_table("a = 1\n\n[files]\nx = 1\n"), Ok("a = 1\n".into()));
    assert!(without_files_table("a = 1\n[files]\nx = 1\n[more]\n").is_err());
}

#[test]
fn a_package_is_limited_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("pmn/1.0.0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(MANIFEST), TEXT).unwrap();
    // Files with holes: they have a size and take no room.
    for number in 0..MAX_PACKAGE / MAX_FILE {
        let file = fs::File::create(folder.join(format!("part{number}"))).unwrap();
        file.set_len(MAX_FILE).unwrap();
    }
    let listed = |names: &[&str]| {
        let entry = |name: &&str| {
            let digest = sha256(&read(&folder.join(name), MAX_FILE).unwrap());
            ((*name).to_owned(), digest)
        };
        names.iter().map(entry).collect::<BTreeMap<_, _>>()
    };
    let parts = ["part0", "part1", "part2", "part3"];
    fs::rename(folder.join(MANIFEST), root.path().join("away")).unwrap();
    assert!(listed_files(&folder, &listed(&parts)).is_ok());
    fs::write(folder.join("zz"), b"x").unwrap();
    let [a, b, c, d] = parts;
    let error = listed_files(&folder, &listed(&[a, b, c, d, "zz"])).unwrap_err();
    assert!(matches!(error, PackageError::Layout { path, .. } if path.ends_with("zz")));
}

#[test]
fn a_version_below_the_floor_is_refused_and_a_package_cannot_revoke_itself() {
    let root = tempfile::tempdir().unwrap();
    let folder = signed(root.path(), "0.9.0", "");
    let floor = |floor: &str| {
        let mut terms = terms(trust(false), PackageMode::Clinical);
        terms.floors.insert(Slug::new("pmn").unwrap(), Version::parse(floor).unwrap());
        load(&folder, &terms)
    };
    assert!(floor("0.9.0").is_ok() && floor("0.8.99").is_ok());
    let error = floor("0.10.0").unwrap_err();
    assert!(matches!(error, PackageError::Revoked { .. }));
    assert!(error.to_string().contains("version 0.9.0 is revoked here, every one below 0.10.0 is"));
    let text = fs::read_to_string(folder.join(MANIFEST)).unwrap();
    for (revokes, good) in [("0.9.0", true), ("0.9.1", false), ("0.9", false)] {
        let text = text.replace("licence", &format!("revokes_below = \"{revokes}\"\nlicence"));
        assert_eq!(Manifest::parse(&text).is_ok(), good, "{revokes}");
    }
}

#[test]
fn the_highest_floor_of_all_folders_counts() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let paths: Vec<PathBuf> = roots.iter().map(|root| root.path().to_owned()).collect();
    for (root, floor) in paths.iter().zip(["0.3.0", "0.2.0"]) {
        fs::write(root.join(ACTIVE), format!("[pmn]\nfloor = \"{floor}\"\n")).unwrap();
    }
    let terms = Terms::new(TrustStore::default(), PackageMode::Clinical, &paths).unwrap();
    assert_eq!(terms.floors[&Slug::new("pmn").unwrap()].to_string(), "0.3.0");
    fs::write(paths[1].join(ACTIVE), "[pmn").unwrap();
    assert!(Terms::new(TrustStore::default(), PackageMode::Clinical, &paths).is_err());
}
