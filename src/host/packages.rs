//! Model packages on disk: found, read under limits, and verified before anybody parses them.
//! A package is `<root>/<name>/<version>/` with `manifest.toml`, its detached signature
//! `manifest.cose`, and the files the manifest lists with their SHA-256 (MODELS section 1).
//!
//! What is returned is the verified bytes themselves: nothing is read twice.

pub mod install;
pub mod list;
pub mod selection;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use self::selection::{Selection, Version};
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
/// The largest manifest, in bytes.
pub const MAX_MANIFEST: u64 = 64 * 1024;
/// The largest file of a package, in bytes.
pub const MAX_FILE: u64 = 64 << 20;
/// The most bytes of all files of a package together.
pub const MAX_PACKAGE: u64 = 256 << 20;
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
    /// Every version below this one is revoked by this package; never above its own.
    pub revokes_below: Option<Version>,
    /// The signature of the manifest.
    pub manifest_cose: Vec<u8>,
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
    /// The file that says what is in use cannot be understood.
    #[error("{path} cannot be used: {problem}", path = .path.display())]
    Selection {
        /// The file.
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
    /// A signed package that was installed here has revoked this version.
    #[error(
        "{path}: version {version} is revoked here, every one below {floor} is: use a newer one",
        path = .path.display()
    )]
    Revoked {
        /// The package folder.
        path: PathBuf,
        /// Its version.
        version: Version,
        /// The lowest version that is accepted.
        floor: Version,
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

/// On what terms a package is accepted.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The keys that may vouch for it.
    pub trust: TrustStore,
    /// Whether demonstration keys count.
    pub mode: PackageMode,
    /// The lowest version accepted of each package.
    pub floors: BTreeMap<Slug, Version>,
}

impl Terms {
    /// With the floors that are remembered in any of the folders searched.
    pub fn new(
        trust: TrustStore,
        mode: PackageMode,
        roots: &[PathBuf],
    ) -> Result<Self, PackageError> {
        let mut floors = BTreeMap::new();
        for root in roots {
            for (name, choice) in Selection::read(root)?.choices() {
                if let Some(floor) = choice.floor.max(floors.get(name).copied()) {
                    floors.insert(name.clone(), floor);
                }
            }
        }
        Ok(Self { trust, mode, floors })
    }
}

/// The folder of the version in use of one package: the first root that has the package decides;
/// there the version that is selected, else the highest.
pub fn find(roots: &[PathBuf], name: &Slug) -> Result<PathBuf, PackageError> {
    for root in roots {
        if let Some(version) = selection::version_in_use(root, name)? {
            return Ok(folder_of(root, name, version));
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

/// `<root>/<name>/<version>`.
fn folder_of(root: &Path, name: &Slug, version: Version) -> PathBuf {
    root.join(&**name).join(version.to_string())
}

/// Reads and verifies the package in one folder.
pub fn load(folder: &Path, terms: &Terms) -> Result<VerifiedPackage, PackageError> {
    let manifest_bytes = read(&folder.join(MANIFEST), MAX_MANIFEST)?;
    let cose = read(&folder.join(SIGNATURE), MAX_MANIFEST)?;
    verify_manifest(&cose, &manifest_bytes, &terms.trust, terms.mode).map_err(|source| {
        PackageError::Signature { path: folder.to_owned(), source: Box::new(source) }
    })?;
    let refuse = |problem: String| PackageError::Manifest { path: folder.to_owned(), problem };
    let manifest_digest = sha256(&manifest_bytes).0;
    let manifest_toml =
        String::from_utf8(manifest_bytes).map_err(|_| refuse("it is not UTF-8".into()))?;
    let manifest = Manifest::parse(&manifest_toml).map_err(refuse)?;
    named_by_its_folder(folder, &manifest).map_err(|problem| refuse(problem.into()))?;
    if let Some(&floor) = terms.floors.get(&manifest.name).filter(|&&floor| manifest.number < floor)
    {
        let (path, version) = (folder.to_owned(), manifest.number);
        return Err(PackageError::Revoked { path, version, floor });
    }
    let files = listed_files(folder, &manifest.files)?;
    Ok(VerifiedPackage {
        name: manifest.name,
        version: manifest.version,
        task: manifest.task,
        intended_use: manifest.intended_use,
        licence: manifest.licence,
        revokes_below: manifest.revokes_below,
        manifest_cose: cose,
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
    number: Version,
    task: Task,
    intended_use: IntendedUse,
    licence: String,
    revokes_below: Option<Version>,
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
    revokes_below: Option<String>,
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
        let number =
            Version::parse(&raw.version).ok_or("version must be three numbers with dots")?;
        let floor = raw.revokes_below.as_deref().map(|text| {
            let floor = Version::parse(text).filter(|&floor| floor <= number);
            floor.ok_or("revokes_below must be three numbers with dots, at most its own version")
        });
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
            number,
            revokes_below: floor.transpose()?,
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
    let mut left = MAX_PACKAGE;
    for (name, digest) in listed {
        let path = folder.join(name);
        let bytes = read(&path, MAX_FILE.min(left))?;
        left -= bytes.len() as u64;
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
mod tests;
