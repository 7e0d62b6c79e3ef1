//! The packages in use: found, verified, and handed to each worker as verified bytes. They are read
//! anew for every study, so that a damaged file is noticed before it is used and no copy stays in
//! the daemon's memory.

use thiserror::Error;

use super::device::Device;
use crate::host::packages::{self, PackageError, Terms, VerifiedPackage};
use crate::seal::wire::codes::Task;
use crate::seal::wire::{BoundError, Digest, ModelUse, Slug};

/// The packages of a study, in the order of use.
pub const IN_USE: [(&str, Task); 5] = [
    ("liver-localiser", Task::Localisation),
    ("liver-tumour", Task::Segmentation),
    ("pmn", Task::Classification),
    ("nomogram-tace", Task::Nomogram),
    ("nomogram-haic", Task::Nomogram),
];

/// Why the packages cannot be used.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// One of them is missing, damaged or not trusted.
    #[error("package {name} is refused")]
    Refused {
        /// Its name.
        name: &'static str,
        /// Why.
        source: PackageError,
    },
    /// One of them does something else than its name says.
    #[error("package {name} is for {found}, expected {expected}", found = .found.name(), expected = .expected.name())]
    Task {
        /// Its name.
        name: &'static str,
        /// What its manifest says.
        found: Task,
        /// What it is used for.
        expected: Task,
    },
    /// A name in the list above that is no package name.
    #[error("a package name that cannot be sent")]
    Name(#[from] BoundError),
    /// What is in use and what is revoked cannot be read.
    #[error("the versions in use cannot be told")]
    Selection(#[source] PackageError),
    /// The keys that vouch for packages cannot be read.
    #[error("the keys that vouch for packages cannot be read")]
    Trust(#[from] packages::PackageTrustError),
}

/// Verified packages, in the order of [`IN_USE`].
#[derive(Debug, Clone)]
pub struct PackageSet(Vec<VerifiedPackage>);

impl PackageSet {
    /// Finds, reads and verifies every package.
    pub fn load(device: &Device) -> Result<Self, PackagesError> {
        let mode = device.package_mode();
        let mut roots = device.config.models.clone();
        roots.extend(packages::search_order(None, Some(device.state.root()), mode));
        let trust = packages::trust_for(&device.trust, &roots, mode)?;
        let terms = Terms::new(trust, mode, &roots).map_err(PackagesError::Selection)?;
        let load = |(name, expected): &(&'static str, Task)| {
            let refused = |source| PackagesError::Refused { name, source };
            let folder = packages::find(&roots, &Slug::new(name)?).map_err(refused)?;
            let package = packages::load(&folder, &terms).map_err(refused)?;
            if package.task != *expected {
                let (found, expected) = (package.task, *expected);
                return Err(PackagesError::Task { name, found, expected });
            }
            Ok(package)
        };
        IN_USE.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// What a result says of them.
    pub fn in_use(&self) -> Vec<ModelUse> {
        self.0.iter().map(model_use).collect()
    }

    /// Digests of the manifests, for the result id.
    pub fn digests(&self) -> Vec<Digest> {
        self.0.iter().map(|package| Digest::from(package.manifest_digest)).collect()
    }

    /// The verified bytes, for a worker.
    pub fn into_inner(self) -> Vec<VerifiedPackage> {
        self.0
    }
}

fn model_use(package: &VerifiedPackage) -> ModelUse {
    ModelUse {
        name: package.name.clone(),
        version: package.version.clone(),
        task: package.task,
        manifest_digest: Digest::from(package.manifest_digest),
        intended_use: package.intended_use,
    }
}
