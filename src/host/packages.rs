//! Model packages on disk: found, read under limits, and verified before anybody parses them.
//! A package is `<root>/<name>/<version>/` with `manifest.toml`, its detached signature
//! `manifest.cose`, and the files the manifest lists with their SHA-256 (MODELS section 1).
//!
//! What is returned is the verified bytes themselves: nothing is read twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::seal::cose::{MessageType, SealError, Signer, seal_detached, sha256};
use crate::seal::trust::TrustStore;
use crate::seal::verify::{PackageMode, Refusal, verify_manifest};
use crate::seal::wire::atoms::Octets;
use crate::seal::wire::codes::{IntendedUse, Task};
use crate::seal::wire::{Digest, Slug, Text};

/// The manifest of a package.
pub const MANIFEST: &str = "manifest.toml";
/// Its detached signature.
pub const SIGNATURE: &str = "manifest.cose";
/// Names the version in use per package: `"liver-tumour" = "1.2.0"`.
pub const ACTIVE: &str = "active.toml";
/// The largest manifest, in bytes.
pub const MAX_MANIFEST: u64 = 64 * 1024;
/// The largest file of a package, in bytes.
pub const MAX_FILE: u64 = 64 << 20;
/// The most files in a package.
pub const MAX_FILES: usize = 64;
/// The most entries looked at in a folder of packages or versions.
const MAX_ENTRIES: usize = 256;

/// A package whose signature and digests were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPackage {
    /// Name; the folder's name.
    pub name: Slug,
    /// Version, three numbers with dots; the folder's name.
    pub version: Text<16>,
    /// What it does.
    pub task: Task,
    /// What it is released for.
    pub intended_use: IntendedUse,
    /// Its licence.
    pub licence: String,
    /// The whole manifest: `[input]`, `[output]` and others are read by the models' own code.
    pub manifest_toml: String,
    /// SHA-256 of the manifest.
    pub manifest_digest: [u8; 32],
    /// Content of every listed file by its name in the package.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why a package is refused.
#[derive(Debug, Error)]
pub enum PackageError {
    /// No package of that name in any of the folders searched.
    #[error("no package {name} in {}", searched(.roots))]
    NotFound {
        /// The package.
        name: String,
        /// The folders searched.
        roots: Vec<PathBuf>,
    },
    /// The file system refused, or a file is missing.
    #[error("cannot read {path}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name, size or kind of file that is not allowed.
    #[error("{path}: {problem}", path = .path.display())]
    Layout {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The signature does not hold.
    #[error("the manifest in {path} is not signed by a key that is trusted here", path = .path.display())]
    Signature {
        /// The package folder.
        path: PathBuf,
        /// Why.
        source: Box<Refusal>,
    },
    /// The manifest cannot be understood.
    #[error("the manifest in {path} cannot be used: {problem}", path = .path.display())]
    Manifest {
        /// The package folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is not the one that was signed for.
    #[error("{path} is not the file that was signed for (its SHA-256 is another)", path = .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
    },
    /// Signing failed.
    #[error("cannot sign the package in {path}", path = .path.display())]
    Sign {
        /// The package folder.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// The manifest or its signature could not be written.
    #[error("cannot write into {path}", path = .path.display())]
    Write {
        /// The package folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn searched(roots: &[PathBuf]) -> String {
    let names: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    names.join(", ")
}

/// The folders to search, in order: one named on the command line, the state directory's, and in
/// demonstration mode the repository's.
pub fn search_order(named: Option<&Path>, state: Option<&Path>, mode: PackageMode) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = named.map(Path::to_owned).into_iter().collect();
    roots.extend(state.map(|state| state.join("models")));
    if mode == PackageMode::Demonstration {
        roots.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
        roots.push(PathBuf::from("models"));
    }
    roots
}

/// Why the keys that vouch for packages cannot be read.
#[derive(Debug, Error)]
pub enum PackageTrustError {
    /// A trust store beside the packages cannot be used.
    #[error(transparent)]
    Keys(#[from] super::keys::KeyError),
    /// There are too many keys.
    #[error(transparent)]
    Trust(#[from] crate::seal::trust::TrustError),
}

/// The keys that may vouch for packages: the device's own and, in demonstration mode, the
/// demonstration keys that lie beside the packages.
pub fn trust_for(
    own: &TrustStore,
    roots: &[PathBuf],
    mode: PackageMode,
) -> Result<TrustStore, PackageTrustError> {
    let mut trust = own.clone();
    if mode == PackageMode::Demonstration {
        for root in roots {
            let store = root.join(super::keys::TRUST_STORE);
            let beside = super::keys::load_trust(&store)?.unwrap_or_default();
            for key in beside.keys().filter(|key| key.demonstration) {
                trust.add(key.clone())?;
            }
        }
    }
    Ok(trust)
}

/// The folder of the version in use of one package: the first root that has the package decides;
/// there the version in `active.toml`, else the highest.
pub fn find(roots: &[PathBuf], name: &Slug) -> Result<PathBuf, PackageError> {
    for root in roots {
        if let Some(version) = version_in_use(root, name)? {
            return Ok(root.join(&**name).join(version));
        }
    }
    Err(PackageError::NotFound { name: name.to_string(), roots: roots.to_vec() })
}

/// Folders of the versions in use of every package in the roots, by name.
pub fn installed(roots: &[PathBuf]) -> Result<Vec<PathBuf>, PackageError> {
    let mut names = BTreeSet::new();
    for root in roots {
        names.extend(folders(root)?.iter().filter_map(|name| Slug::new(name).ok()));
    }
    let mut found = Vec::new();
    for name in names {
        match find(roots, &name) {
            Ok(path) => found.push(path),
            Err(PackageError::NotFound { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads and verifies the package in one folder.
pub fn load(
    folder: &Path,
    trust: &TrustStore,
    mode: PackageMode,
) -> Result<VerifiedPackage, PackageError> {
    let manifest_bytes = read(&folder.join(MANIFEST), MAX_MANIFEST)?;
    let cose = read(&folder.join(SIGNATURE), MAX_MANIFEST)?;
    verify_manifest(&cose, &manifest_bytes, trust, mode).map_err(|source| {
        PackageError::Signature { path: folder.to_owned(), source: Box::new(source) }
    })?;
    let refuse = |problem: String| PackageError::Manifest { path: folder.to_owned(), problem };
    let manifest_digest = sha256(&manifest_bytes).0;
    let manifest_toml =
        String::from_utf8(manifest_bytes).map_err(|_| refuse("it is not UTF-8".into()))?;
    let manifest = Manifest::parse(&manifest_toml).map_err(refuse)?;
    named_by_its_folder(folder, &manifest).map_err(|problem| refuse(problem.into()))?;
    let files = listed_files(folder, &manifest.files)?;
    Ok(VerifiedPackage {
        name: manifest.name,
        version: manifest.version,
        task: manifest.task,
        intended_use: manifest.intended_use,
        licence: manifest.licence,
        manifest_toml,
        manifest_digest,
        files,
    })
}

/// Rewrites the `[files]` table, always the last of the manifest, with the digests of the files
/// that are there, and signs. Returns the number of files.
pub fn sign(folder: &Path, signer: &dyn Signer) -> Result<usize, PackageError> {
    let manifest_path = folder.join(MANIFEST);
    let bytes = read(&manifest_path, MAX_MANIFEST)?;
    let refuse = |problem: String| PackageError::Manifest { path: folder.to_owned(), problem };
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".into()))?;
    let names = present_files(folder)?;
    let mut signed = without_files_table(&text).map_err(|problem| refuse(problem.into()))?;
    signed.push_str("\n[files]\n");
    for name in &names {
        let digest = sha256(&read(&folder.join(name), MAX_FILE)?);
        signed.push_str(&format!("\"{name}\" = \"{digest}\"\n"));
    }
    let manifest = Manifest::parse(&signed).map_err(refuse)?;
    named_by_its_folder(folder, &manifest).map_err(|problem| refuse(problem.into()))?;
    let cose = seal_detached(MessageType::Manifest, signed.as_bytes(), signer)
        .map_err(|source| PackageError::Sign { path: folder.to_owned(), source })?;
    for (name, content) in [(MANIFEST, signed.as_bytes()), (SIGNATURE, &cose)] {
        super::files::write_durably(&folder.join(name), content, 0o644)
            .map_err(|source| PackageError::Write { path: folder.to_owned(), source })?;
    }
    Ok(names.len())
}

/// The part of a manifest every package has.
struct Manifest {
    name: Slug,
    version: Text<16>,
    task: Task,
    intended_use: IntendedUse,
    licence: String,
    files: BTreeMap<String, Digest>,
}

#[derive(Deserialize)]
struct RawManifest {
    schema: u64,
    name: String,
    version: String,
    task: String,
    intended_use: String,
    licence: String,
    files: BTreeMap<String, String>,
}

impl Manifest {
    fn parse(text: &str) -> Result<Self, String> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| error.to_string())?;
        if raw.schema != 1 {
            return Err(format!("schema is {}, expected 1", raw.schema));
        }
        let by_name = |wanted: &str, names: &[&str]| names.contains(&wanted);
        let task = Task::ALL.iter().find(|task| by_name(&raw.task, &[task.name()]));
        let used = IntendedUse::ALL.iter().find(|kind| by_name(&raw.intended_use, &[kind.name()]));
        version_numbers(&raw.version).ok_or("version must be three numbers with dots")?;
        if raw.files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
        let mut files = BTreeMap::new();
        for (name, digest) in raw.files {
            is_file_name(&name).then_some(()).ok_or_else(|| format!("file name {name:?}"))?;
            let digest = Octets::from_hex(&digest).ok_or_else(|| format!("digest of {name}"))?;
            files.insert(name, digest);
        }
        Ok(Self {
            name: Slug::new(&raw.name).map_err(|error| format!("name: {error}"))?,
            version: Text::new(&raw.version).map_err(|error| format!("version: {error}"))?,
            task: *task.ok_or_else(|| format!("unknown task {:?}", raw.task))?,
            intended_use: *used
                .ok_or_else(|| format!("unknown intended_use {:?}", raw.intended_use))?,
            licence: raw.licence,
            files,
        })
    }
}

/// `<name>/<version>` of the path must be what the manifest says, so that a signed package cannot
/// be put in the place of another.
fn named_by_its_folder(folder: &Path, manifest: &Manifest) -> Result<(), &'static str> {
    let folder = folder.canonicalize().map_err(|_| "its folder cannot be resolved")?;
    let mut parts = folder.iter().rev().map(|part| part.to_string_lossy());
    if parts.next().as_deref() != Some(&*manifest.version) {
        return Err("its version is not the name of its folder");
    }
    if parts.next().as_deref() != Some(&*manifest.name) {
        return Err("its name is not the name of its parent folder");
    }
    Ok(())
}

fn listed_files(
    folder: &Path,
    listed: &BTreeMap<String, Digest>,
) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    for name in present_files(folder)? {
        if !listed.contains_key(&name) {
            let path = folder.join(name);
            return Err(PackageError::Layout { path, problem: "the manifest does not list it" });
        }
    }
    let mut files = BTreeMap::new();
    for (name, digest) in listed {
        let path = folder.join(name);
        let bytes = read(&path, MAX_FILE)?;
        if sha256(&bytes) != *digest {
            return Err(PackageError::Digest { path });
        }
        files.insert(name.clone(), bytes);
    }
    Ok(files)
}

/// Names of every file but the manifest and its signature, sub-folders one deep, sorted.
fn present_files(folder: &Path) -> Result<BTreeSet<String>, PackageError> {
    let mut names = BTreeSet::new();
    for (name, is_folder) in entries(folder)? {
        if !is_folder {
            names.insert(name);
            continue;
        }
        for (inner, is_folder) in entries(&folder.join(&name))? {
            if is_folder {
                let path = folder.join(name).join(inner);
                return Err(PackageError::Layout { path, problem: "folders nest only once" });
            }
            names.insert(format!("{name}/{inner}"));
        }
    }
    names.remove(MANIFEST);
    names.remove(SIGNATURE);
    if names.len() > MAX_FILES {
        let path = folder.to_owned();
        return Err(PackageError::Layout { path, problem: "too many files" });
    }
    Ok(names)
}

/// Name and whether it is a folder; anything that is neither folder nor plain file is refused.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, PackageError> {
    let io = |source| PackageError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let kind = entry.file_type().map_err(io)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let refuse = |problem| Err(PackageError::Layout { path: entry.path(), problem });
        if !is_plain_name(&name) {
            return refuse("only letters, digits, dot, underscore and hyphen are allowed in names");
        }
        if !kind.is_file() && !kind.is_dir() {
            return refuse("it is neither a plain file nor a folder");
        }
        if found.len() == MAX_ENTRIES {
            return refuse("too many entries in its folder");
        }
        found.push((name, kind.is_dir()));
    }
    Ok(found)
}

/// Names of the folders in a folder that may be absent. Whatever else lies there is passed over:
/// the root also holds `trust.toml` and what people leave in it.
fn folders(root: &Path) -> Result<Vec<String>, PackageError> {
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let io = |source| PackageError::Io { path: root.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !entry.file_type().map_err(io)?.is_dir() {
            continue;
        }
        if found.len() == MAX_ENTRIES {
            let path = root.to_owned();
            return Err(PackageError::Layout { path, problem: "too many folders in it" });
        }
        found.extend(entry.file_name().into_string().ok());
    }
    Ok(found)
}

fn version_in_use(root: &Path, name: &Slug) -> Result<Option<String>, PackageError> {
    let versions = folders(&root.join(&**name))?;
    let numbered = versions.iter().filter_map(|v| Some((version_numbers(v)?, v)));
    let Some((_, highest)) = numbered.max() else { return Ok(None) };
    let path = root.join(ACTIVE);
    if !path.exists() {
        return Ok(Some(highest.clone()));
    }
    let text = String::from_utf8(read(&path, MAX_MANIFEST)?).unwrap_or_default();
    let active: BTreeMap<String, String> = toml::from_str(&text).map_err(|error| {
        PackageError::Manifest { path: path.clone(), problem: error.to_string() }
    })?;
    match active.get(&**name) {
        None => Ok(Some(highest.clone())),
        Some(version) if versions.contains(version) => Ok(Some(version.clone())),
        Some(_) => Err(PackageError::Layout { path, problem: "it names a version that is absent" }),
    }
}

fn version_numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    let numbers: [u32; 3] = numbers?.try_into().ok()?;
    let canonical = format!("{}.{}.{}", numbers[0], numbers[1], numbers[2]) == version;
    canonical.then_some(numbers)
}

fn is_plain_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.')
}

fn is_file_name(name: &str) -> bool {
    let mut parts = name.split('/');
    let shaped = parts.clone().count() <= 2 && parts.all(is_plain_name);
    shaped && name != MANIFEST && name != SIGNATURE
}

/// The manifest up to its `[files]` table, which must be the last one.
fn without_files_table(text: &str) -> Result<String, &'static str> {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| line.trim() == "[files]");
    let (kept, dropped) = lines.split_at(start.unwrap_or(lines.len()));
    if dropped.iter().skip(1).any(|line| line.trim_start().starts_with('[')) {
        return Err("[files] must be its last table");
    }
    Ok(kept.join("\n").trim_end().to_owned() + "\n")
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PackageError> {
    let io = |source| PackageError::Io { path: path.to_owned(), source };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let refuse = |problem| PackageError::Layout { path: path.to_owned(), problem };
    if !metadata.is_file() {
        return Err(refuse("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(refuse("it is larger than allowed"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::{Ed25519Signer, key_id};
    use crate::seal::trust::{Role, TrustedKey};

    const TEXT: &str = "schema = 1\nname = \"pmn\"\nversion = \"1.0.0\"\ntask = \"classification\"\n\
                        intended_use = \"demonstration\"\nlicence = \"Apache-2.0\"\n\n[input]\nphases = 2\n";

    fn signer() -> Ed25519Signer {
        Ed25519Signer::from_seed(&[5; 32]).unwrap()
    }

    fn trust(demonstration: bool) -> TrustStore {
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
        let folder = root.path().join("pmn/1.0.0");
        fs::create_dir_all(folder.join("golden")).unwrap();
        fs::write(folder.join(MANIFEST), TEXT).unwrap();
        fs::write(folder.join("model.onnx"), b"weights").unwrap();
        fs::write(folder.join("golden/input.bin"), b"in").unwrap();
        assert_eq!(sign(&folder, &signer()).unwrap(), 2);
        (root, folder)
    }

    fn loads(folder: &Path) -> Result<VerifiedPackage, PackageError> {
        load(folder, &trust(false), PackageMode::Clinical)
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
        let verdict = |store: &TrustStore, mode| load(&folder, store, mode).is_ok();
        assert!(verdict(&trust(true), PackageMode::Demonstration));
        assert!(!verdict(&trust(true), PackageMode::Clinical));
        assert!(verdict(&trust(false), PackageMode::Demonstration));
        assert!(!verdict(&TrustStore::default(), PackageMode::Demonstration));
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
        fs::write(root.path().join(ACTIVE), "pmn = \"0.9.0\"\n").unwrap();
        assert!(find(&roots, &name).unwrap().ends_with("pmn/0.9.0"));
        assert_eq!(installed(&roots).unwrap().len(), 1);
        fs::write(root.path().join(ACTIVE), "pmn = \"0.8.0\"\n").unwrap();
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
        assert_eq!(version_numbers("1.20.3"), Some([1, 20, 3]));
        for bad in ["1.2", "1.2.3.4", "1.2.x", "01.2.3", "1.2.-3", "1.2.+3"] {
            assert_eq!(version_numbers(bad), None, "{bad}");
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
}
