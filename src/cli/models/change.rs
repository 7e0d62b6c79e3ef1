//! `models install`, `use` and `rollback`: what changes the packages of a device. Whatever is put in
//! use is verified as the device would, and has answered its stored question on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::super::exit::{self, exit};
use super::super::settings::ConfigArgs;
use super::trust_for_packages;
use crate::analysis::engine::golden;
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::package::Package;
use crate::clinical::nomogram::{Nomogram, PackageId, Treatment};
use crate::daemon::device::package_mode;
use crate::daemon::inside::NOMOGRAM;
use crate::daemon::packages::IN_USE;
use crate::host::packages::install::{self, InstallError, Placed};
use crate::host::packages::selection::Version;
use crate::host::packages::{self, PackageError, Terms, VerifiedPackage};
use crate::seal::verify::PackageMode;
use crate::seal::wire::{Slug, Task};

/// Which device is changed.
#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// The device's configuration: its state directory and its mode, instead of flags.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Accept only packages that a clinical device accepts.
    #[arg(long, conflicts_with = "config")]
    clinical: bool,
}

/// The device's folder of packages, and what it accepts.
pub(super) struct Target {
    models: PathBuf,
    terms: Terms,
}

impl DeviceArgs {
    pub(super) fn target(&self, state: &Path) -> anyhow::Result<Target> {
        let (state, mode) = match &self.config {
            Some(config) => {
                let loaded = ConfigArgs { config: config.clone(), set: Vec::new() }.load()?;
                (loaded.config.state_dir, package_mode(loaded.config.mode))
            }
            None if self.clinical => (state.to_owned(), PackageMode::Clinical),
            None => (state.to_owned(), PackageMode::Demonstration),
        };
        if !state.is_dir() {
            return Err(anyhow::anyhow!("{} is not a folder", state.display())
                .context(exit(exit::NO_INPUT, "opening the device's state directory")));
        }
        let roots = packages::search_order(None, Some(&state), mode);
        let trust = trust_for_packages(None, &state, &roots, mode)?;
        let models = state.join("models");
        let own = std::slice::from_ref(&models);
        let terms = Terms::new(trust, mode, own).with_context(reading_packages)?;
        Ok(Target { terms, models })
    }
}

fn reading_packages() -> exit::Exit {
    exit(exit::VERIFICATION_FAILED, "reading the device's packages")
}

/// Verifies, asks the stored question, and puts in place.
pub(super) fn install(
    target: &Target,
    folder: &Path,
    select: bool,
    json: bool,
) -> anyhow::Result<u8> {
    if !folder.is_dir() {
        return Err(anyhow::anyhow!("{} is not a folder", folder.display())
            .context(exit(exit::NO_INPUT, "reading the package")));
    }
    let package = packages::load(folder, &target.terms)
        .map_err(|error| coded(error.into(), "the package is refused, nothing was changed"))?;
    check(&package)?;
    let placed = install::install(&target.models, &package, &target.terms, select)
        .map_err(|error| coded(error, "the package is not installed"))?;
    let done = match placed {
        Placed::New => "installed",
        Placed::Already => "already_installed",
        Placed::Mended => "mended",
    };
    tell(target, &package, done, json)
}

/// Verifies an installed version, asks it its stored question, and puts it in use.
pub(super) fn select(
    target: &Target,
    name: &Slug,
    version: &str,
    json: bool,
) -> anyhow::Result<u8> {
    let Some(version) = Version::parse(version) else {
        bail!("{version:?} is no version, such as 1.2.0");
    };
    put_in_use(target, name, version, json)
}

/// The same with the version that was in use before.
pub(super) fn roll_back(target: &Target, name: &Slug, json: bool) -> anyhow::Result<u8> {
    let version = install::previous(&target.models, name)
        .map_err(|error| coded(error, "there is nothing to go back to"))?;
    put_in_use(target, name, version, json)
}

fn put_in_use(target: &Target, name: &Slug, version: Version, json: bool) -> anyhow::Result<u8> {
    let unchanged = "the version in use was not changed";
    let package = install::installed_version(&target.models, name, version, &target.terms)
        .map_err(|error| coded(error, unchanged))?;
    check(&package)?;
    install::select(&target.models, &package).map_err(|error| coded(error, unchanged))?;
    tell(target, &package, "selected", json)
}

/// Says what was done, and which version is in use now.
fn tell(target: &Target, package: &VerifiedPackage, done: &str, json: bool) -> anyhow::Result<u8> {
    let (name, version) = (&package.name, &package.version);
    let roots = std::slice::from_ref(&target.models);
    let in_use = packages::find(roots, name)?;
    let in_use = in_use.file_name().unwrap_or_default().to_string_lossy();
    if json {
        println!("{}", json!({ "name": name, "version": version, "done": done, "in_use": in_use }));
    } else {
        println!("{name} {version}: {}; in use is {in_use}", done.replace('_', " "));
    }
    Ok(exit::OK)
}

/// Whether the device has a use for the package, and gets the right answer from it.
fn check(package: &VerifiedPackage) -> anyhow::Result<()> {
    let refused = || exit(exit::VERIFICATION_FAILED, "the package is refused, nothing was changed");
    useful(package).and_then(|()| self_test(package)).with_context(refused)
}

fn useful(package: &VerifiedPackage) -> anyhow::Result<()> {
    let found = package.task.name();
    match IN_USE.iter().find(|(name, _)| *name == &*package.name) {
        Some((_, task)) if *task == package.task => Ok(()),
        Some((name, task)) => bail!("{name} is for {found}, expected {}", task.name()),
        None => {
            let names = IN_USE.map(|(name, _)| name).join(", ");
            bail!("no package {} is used here; those that are: {names}", package.name)
        }
    }
}

fn self_test(package: &VerifiedPackage) -> anyhow::Result<()> {
    let digest = package.manifest_digest;
    if package.task != Task::Nomogram {
        let package = Package::new(&package.manifest_toml, digest, package.files.clone())?;
        golden::self_test(&package, Compute::with_threads(SELF_TEST_THREADS))?;
        return Ok(());
    }
    let (name, version) = (package.name.to_string(), package.version.to_string());
    let bytes = package.files.get(NOMOGRAM).with_context(|| format!("no file {NOMOGRAM}"))?;
    let text = std::str::from_utf8(bytes).with_context(|| format!("{NOMOGRAM} is no text"))?;
    let nomogram = Nomogram::parse(PackageId { name, version, digest }, text)?;
    let expected = match nomogram.treatment {
        Treatment::Tace => "nomogram-tace",
        Treatment::Haic => "nomogram-haic",
    };
    if expected != &*package.name {
        bail!("the nomogram in it is that of {expected}");
    }
    Ok(())
}

/// Threads of the self-test: what the smallest boxes have.
const SELF_TEST_THREADS: usize = 2;

/// With the exit code that goes with the error.
fn coded(error: InstallError, doing: &str) -> anyhow::Error {
    let code = match &error {
        InstallError::Package(PackageError::Write { .. }) => exit::IO,
        InstallError::Package(PackageError::Io { .. })
        | InstallError::NotInstalled { .. }
        | InstallError::NoPrevious { .. } => exit::NO_INPUT,
        InstallError::Busy { .. } => exit::TEMPORARY,
        InstallError::Package(_)
        | InstallError::Taken { .. }
        | InstallError::RevokesInUse { .. }
        | InstallError::Full { .. } => exit::VERIFICATION_FAILED,
    };
    anyhow::Error::from(error).context(exit(code, doing))
}
