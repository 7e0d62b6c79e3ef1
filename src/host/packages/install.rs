//! Changes of a device's own folder of packages: a verified package is put in its place, whole or
//! not at all, and one of the installed versions is selected. One command at a time.
//!
//! Written are the bytes that were verified, never a second reading of the files they came from.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use thiserror::Error;

use super::selection::{Choice, Selection, Version, versions};
use super::{MANIFEST, PackageError, SIGNATURE, Terms, VerifiedPackage, folder_of, load};
use crate::host::files::{create_private_folder, sync_folder, write_durably};
use crate::seal::wire::Slug;

/// The most versions of one package that are installed side by side.
pub const MAX_VERSIONS: usize = 16;
/// Where a package is written before it gets its name; no version's name.
const INCOMING: &str = ".incoming";

/// Why a package is not installed or selected.
#[derive(Debug, Error)]
pub enum InstallError {
    /// It cannot be read, verified or written.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Another command changes the packages.
    #[error("another `hcc-edge models` command is at work in {path}: try again", path = .path.display())]
    Busy {
        /// The folder of packages.
        path: PathBuf,
    },
    /// The same version is installed with other content.
    #[error(
        "version {version} of {name} is installed and is another package: a version is signed once, \
         give this one a higher number"
    )]
    Taken {
        /// The package.
        name: Slug,
        /// The version.
        version: Version,
    },
    /// Too many versions lie there.
    #[error(
        "{MAX_VERSIONS} versions of {name} are installed: remove the folders of some that are not in use"
    )]
    Full {
        /// The package.
        name: Slug,
    },
    /// The package revokes the version in use.
    #[error(
        "version {version} of {name} revokes every one below {floor}, and {in_use} is in use: \
         install it with --use"
    )]
    RevokesInUse {
        /// The package.
        name: Slug,
        /// The version that is installed.
        version: Version,
        /// The lowest version it leaves valid.
        floor: Version,
        /// The version in use.
        in_use: Version,
    },
    /// No such version lies there.
    #[error(
        "version {version} of {name} is not installed in {path}: `hcc-edge models list` says what is",
        path = .path.display()
    )]
    NotInstalled {
        /// The package.
        name: Slug,
        /// The version.
        version: Version,
        /// The folder of packages.
        path: PathBuf,
    },
    /// There is no earlier version to go back to.
    #[error("no other version of {name} was in use in {path} before", path = .path.display())]
    NoPrevious {
        /// The package.
        name: Slug,
        /// The folder of packages.
        path: PathBuf,
    },
}

/// What came of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It was not there before.
    New,
    /// It was there, and whole.
    Already,
    /// It was there, and damaged.
    Mended,
}

/// Puts a verified package into `<models>/<name>/<version>` and raises the floor as far as the
/// package says. The first version of a package is in use at once; a later one when `select` says so.
pub fn install(
    models: &Path,
    package: &VerifiedPackage,
    terms: &Terms,
    select: bool,
) -> Result<Placed, InstallError> {
    let _lock = lock(models)?;
    let (name, version) = (&package.name, number(package)?);
    let mut selection = Selection::read(models)?;
    let before = in_use(models, name, &selection)?;
    let kept = before.filter(|_| !select).unwrap_or(version);
    let floor = selection.of(name).floor.max(package.revokes_below);
    not_revoked(models, name, version, selection.of(name).floor)?;
    if let Some(floor) = floor.filter(|&floor| kept < floor) {
        let name = name.clone();
        return Err(InstallError::RevokesInUse { name, version, floor, in_use: kept });
    }
    if selection.of(name).in_use.is_none() && before.is_some() {
        // Or the new version, the highest, would be in use before the selection says so.
        selection.set(name.clone(), Choice { in_use: before, ..selection.of(name) });
        selection.write(models)?;
    }
    let placed = place(models, package, version, terms)?;
    let mut choice = with(selection.of(name), kept);
    choice.floor = floor;
    if choice != selection.of(name) {
        selection.set(name.clone(), choice);
        selection.write(models)?;
    }
    Ok(placed)
}

/// Selects a package that was verified in its place.
pub fn select(models: &Path, package: &VerifiedPackage) -> Result<(), InstallError> {
    let _lock = lock(models)?;
    let (name, version) = (&package.name, number(package)?);
    let mut selection = Selection::read(models)?;
    let mut choice = selection.of(name);
    not_revoked(models, name, version, choice.floor)?;
    if !folder_of(models, name, version).is_dir() {
        return Err(not_installed(models, name, version));
    }
    choice.in_use = in_use(models, name, &selection)?;
    selection.set(name.clone(), with(choice, version));
    Ok(selection.write(models)?)
}

/// Reads and verifies one installed version.
pub fn installed_version(
    models: &Path,
    name: &Slug,
    version: Version,
    terms: &Terms,
) -> Result<VerifiedPackage, InstallError> {
    let folder = folder_of(models, name, version);
    if !folder.is_dir() {
        return Err(not_installed(models, name, version));
    }
    Ok(load(&folder, terms)?)
}

/// The version that was in use before the one that is.
pub fn previous(models: &Path, name: &Slug) -> Result<Version, InstallError> {
    let none = || InstallError::NoPrevious { name: name.clone(), path: models.to_owned() };
    Selection::read(models)?.of(name).previous.ok_or_else(none)
}

/// The version in use, whether it is there or was lost.
fn in_use(
    models: &Path,
    name: &Slug,
    selection: &Selection,
) -> Result<Option<Version>, PackageError> {
    let highest = versions(models, name)?.last().copied();
    Ok(selection.of(name).in_use.or(highest))
}

/// With another version in use; the one before it is remembered.
fn with(choice: Choice, version: Version) -> Choice {
    let previous = choice.in_use.filter(|&before| before != version).or(choice.previous);
    Choice { in_use: Some(version), previous, ..choice }
}

fn number(package: &VerifiedPackage) -> Result<Version, PackageError> {
    Version::parse(&package.version).ok_or_else(|| PackageError::Manifest {
        path: PathBuf::from(&*package.name),
        problem: "version must be three numbers with dots".into(),
    })
}

/// The floor may have risen since the package was verified.
fn not_revoked(
    models: &Path,
    name: &Slug,
    version: Version,
    floor: Option<Version>,
) -> Result<(), PackageError> {
    match floor.filter(|&floor| version < floor) {
        Some(floor) => {
            let path = folder_of(models, name, version);
            Err(PackageError::Revoked { path, version, floor })
        }
        None => Ok(()),
    }
}

fn not_installed(models: &Path, name: &Slug, version: Version) -> InstallError {
    InstallError::NotInstalled { name: name.clone(), version, path: models.to_owned() }
}

/// Held until it is dropped.
fn lock(models: &Path) -> Result<File, InstallError> {
    let failed = |source| PackageError::Write { path: models.to_owned(), source };
    create_private_folder(models).map_err(failed)?;
    let folder = File::open(models).map_err(failed)?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(InstallError::Busy { path: models.to_owned() }),
        Err(error) => Err(failed(error.into()).into()),
    }
}

fn place(
    models: &Path,
    package: &VerifiedPackage,
    version: Version,
    terms: &Terms,
) -> Result<Placed, InstallError> {
    let (name, folder) = (&package.name, folder_of(models, &package.name, version));
    let there = folder.symlink_metadata().is_ok();
    if there {
        match load(&folder, terms) {
            Ok(found) if found.manifest_digest == package.manifest_digest => {
                return Ok(Placed::Already);
            }
            Ok(_) => return Err(InstallError::Taken { name: name.clone(), version }),
            Err(_) => {}
        }
    } else if versions(models, name)?.len() >= MAX_VERSIONS {
        return Err(InstallError::Full { name: name.clone() });
    }
    let all = models.join(&**name);
    let incoming = all.join(INCOMING);
    let written = write(&incoming, package).and_then(|()| {
        if there {
            renameat_with(CWD, &incoming, CWD, &folder, RenameFlags::EXCHANGE)?;
        } else {
            fs::rename(&incoming, &folder)?;
        }
        sync_folder(&all)?;
        sync_folder(models)
    });
    // What lay there before, or what was written when something failed: the first failure is told.
    let _ = remove(&incoming);
    written.map_err(|source| PackageError::Write { path: folder, source })?;
    Ok(if there { Placed::Mended } else { Placed::New })
}

/// A folder with all that is in it, or whatever else lies there.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes every file; all of it is durable when it returns. What a crash left there goes first.
fn write(incoming: &Path, package: &VerifiedPackage) -> io::Result<()> {
    remove(incoming)?;
    // Readable for the daemon, whoever installs; the folder above them is private.
    let make = |folder: &Path| fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
    make(incoming)?;
    let mut folders = BTreeSet::new();
    let own = [(MANIFEST, package.manifest_toml.as_bytes()), (SIGNATURE, &package.manifest_cose)];
    let listed = package.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    for (name, bytes) in own.into_iter().chain(listed) {
        let path = incoming.join(name);
        if let Some((folder, _)) = name.split_once('/')
            && folders.insert(folder.to_owned())
        {
            make(&incoming.join(folder))?;
        }
        write_durably(&path, bytes, 0o644)?;
    }
    sync_folder(incoming)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{signed, terms, trust};
    use super::*;
    use crate::host::packages::list::{Listed, Standing, list};
    use crate::host::packages::selection::version_in_use;
    use crate::seal::verify::PackageMode;

    /// A device's folder of packages and a folder from which packages come.
    struct Device {
        models: PathBuf,
        offered: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Device {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (models, offered) = (folder.path().join("models"), folder.path().join("offered"));
            Self { models, offered, _folder: folder }
        }

        fn terms(&self) -> Terms {
            let roots = [self.models.clone()];
            let mode = PackageMode::Clinical;
            Terms::new(trust(false), mode, &roots).unwrap()
        }

        fn install(&self, version: &str, more: &str, select: bool) -> Result<Placed, InstallError> {
            let folder = signed(&self.offered, version, more);
            let package = load(&folder, &self.terms())?;
            install(&self.models, &package, &self.terms(), select)
        }

        fn select(&self, version: &str) -> Result<(), InstallError> {
            let version = Version::parse(version).unwrap();
            select(&self.models, &installed_version(&self.models, &name(), version, &self.terms())?)
        }

        fn in_use(&self) -> Option<String> {
            version_in_use(&self.models, &name()).unwrap().map(|version| version.to_string())
        }
    }

    fn name() -> Slug {
        Slug::new("pmn").unwrap()
    }

    #[test]
    fn a_package_is_installed_as_it_was_signed() {
        let device = Device::new();
        assert_eq!(device.install("1.0.0", "", false).unwrap(), Placed::New);
        let of = |root: &Path| load(&root.join("pmn/1.0.0"), &device.terms()).unwrap();
        assert_eq!(of(&device.models), of(&device.offered));
        assert_eq!(device.install("1.0.0", "", false).unwrap(), Placed::Already);
        assert_eq!(device.in_use().as_deref(), Some("1.0.0"), "the first is in use at once");
        let names: Vec<_> = fs::read_dir(device.models.join("pmn")).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    }

    #[test]
    fn a_damaged_one_is_mended_and_another_one_of_its_version_refused() {
        let device = Device::new();
        device.install("1.0.0", "", false).unwrap();
        fs::write(device.models.join("pmn/1.0.0/model.onnx"), b"Weights").unwrap();
        fs::create_dir(device.models.join("pmn").join(INCOMING)).unwrap();
        assert_eq!(device.install("1.0.0", "", false).unwrap(), Placed::Mended);
        assert!(load(&device.models.join("pmn/1.0.0"), &device.terms()).is_ok());
        assert!(!device.models.join("pmn").join(INCOMING).exists());
        let error = device.install("1.0.0", "peak_ram_mib = 2", false).unwrap_err();
        assert!(matches!(error, InstallError::Taken { .. }), "{error}");
    }

    #[test]
    fn a_later_version_waits_until_it_is_selected_and_can_be_taken_back() {
        let device = Device::new();
        device.install("1.0.0", "", false).unwrap();
        device.install("1.1.0", "", false).unwrap();
        assert_eq!(device.in_use().as_deref(), Some("1.0.0"));
        assert!(matches!(previous(&device.models, &name()), Err(InstallError::NoPrevious { .. })));
        device.select("1.1.0").unwrap();
        assert_eq!(device.in_use().as_deref(), Some("1.1.0"));
        assert_eq!(previous(&device.models, &name()).unwrap().to_string(), "1.0.0");
        device.select("1.0.0").unwrap();
        assert_eq!(previous(&device.models, &name()).unwrap().to_string(), "1.1.0");
        device.install("1.2.0", "", true).unwrap();
        assert_eq!(device.in_use().as_deref(), Some("1.2.0"));
        assert!(matches!(device.select("9.9.9"), Err(InstallError::NotInstalled { .. })));
        assert_eq!(device.in_use().as_deref(), Some("1.2.0"));
    }

    /// Copied by hand, without an entry: the highest is in use, and stays so beside a higher one.
    #[test]
    fn what_was_in_use_without_being_selected_stays_in_use() {
        let device = Device::new();
        signed(&device.models, "1.0.0", "");
        device.install("2.0.0", "", false).unwrap();
        assert_eq!(device.in_use().as_deref(), Some("1.0.0"));
    }

    #[test]
    fn a_revoked_version_never_comes_back() {
        let device = Device::new();
        device.install("1.0.0", "", false).unwrap();
        let revoking = "revokes_below = \"1.1.0\"";
        let error = device.install("1.1.0", revoking, false).unwrap_err();
        assert!(matches!(error, InstallError::RevokesInUse { .. }), "{error}");
        assert!(device.select("1.0.0").is_ok(), "nothing was changed");
        device.install("1.1.0", revoking, true).unwrap();
        let revoked = |result: Result<(), InstallError>| {
            let error = result.unwrap_err();
            let is = matches!(error, InstallError::Package(PackageError::Revoked { .. }));
            assert!(is, "{error}");
        };
        revoked(device.select("1.0.0"));
        revoked(device.install("1.0.0", "", true).map(|_| ()));
        // One that revokes nothing does not lower the floor.
        device.install("1.2.0", "", true).unwrap();
        revoked(device.select("1.0.0"));
        let before = terms(trust(false), PackageMode::Clinical);
        let package = load(&device.models.join("pmn/1.0.0"), &before).unwrap();
        revoked(select(&device.models, &package));
        let standing = |listed: &[Listed]| {
            listed.iter().map(|entry| entry.standing.clone()).collect::<Vec<_>>()
        };
        let roots = [device.models.clone()];
        let floor = Version::parse("1.1.0").unwrap();
        let expected = [Standing::Revoked(floor), Standing::Other, Standing::Selected];
        assert_eq!(standing(&list(&roots, &device.terms()).unwrap()), expected);
    }

    #[test]
    fn installed_versions_are_limited() {
        let device = Device::new();
        for minor in 0..MAX_VERSIONS {
            device.install(&format!("1.{minor}.0"), "", false).unwrap();
        }
        let error = device.install("2.0.0", "", false).unwrap_err();
        assert!(matches!(error, InstallError::Full { .. }), "{error}");
        assert_eq!(device.install("1.3.0", "", false).unwrap(), Placed::Already);
    }

    #[test]
    fn one_command_at_a_time() {
        let device = Device::new();
        let held = lock(&device.models).unwrap();
        let error = device.install("1.0.0", "", false).unwrap_err();
        assert!(matches!(error, InstallError::Busy { .. }), "{error}");
        drop(held);
        device.install("1.0.0", "", false).unwrap();
    }

    #[test]
    fn a_version_in_use_that_was_lost_can_be_installed_again() {
        let device = Device::new();
        device.install("1.0.0", "", false).unwrap();
        fs::remove_dir_all(device.models.join("pmn/1.0.0")).unwrap();
        assert_eq!(device.in_use(), None);
        assert_eq!(device.install("1.0.0", "", false).unwrap(), Placed::New);
        assert_eq!(device.in_use().as_deref(), Some("1.0.0"));
        // A plain file in its place is no package either.
        fs::remove_dir_all(device.models.join("pmn/1.0.0")).unwrap();
        fs::write(device.models.join("pmn/1.0.0"), b"").unwrap();
        assert_eq!(device.install("1.0.0", "", false).unwrap(), Placed::Mended);
        assert!(!device.models.join("pmn").join(INCOMING).exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let device = Device::new();
        fs::create_dir(&device.models).unwrap();
        fs::write(device.models.join("pmn"), b"a file where the package's folder has to be")
            .unwrap();
        let error = device.install("1.0.0", "", true).unwrap_err();
        assert!(matches!(error, InstallError::Package(PackageError::Write { .. })), "{error}");
        let left: Vec<_> =
            fs::read_dir(&device.models).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [device.models.join("pmn")]);
    }
}
