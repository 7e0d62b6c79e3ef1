//! The packages' bytes → the networks and nomograms that [`analyse`](crate::analysis::analyse) takes.
//! The daemon has verified every byte; here they are parsed for the first time.

use super::contents::Contents;
use super::failure::Failure;
use super::order::package_folder;
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::package::Package;
use crate::analysis::models::Packages;
use crate::clinical::NomogramPair;
use crate::clinical::nomogram::{Nomogram, PackageId, Treatment};
use crate::host::packages::MANIFEST;
use crate::seal::wire::{ModelUse, Task};

/// The data of a nomogram inside its package.
pub const NOMOGRAM: &str = "nomogram.toml";

/// Everything that computes.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What the result says of the packages.
    pub(super) models: Vec<ModelUse>,
    /// Localiser, segmentation, PMN.
    pub(super) networks: Packages,
    /// TACE and HAIC.
    pub(super) nomograms: NomogramPair,
}

/// Takes the packages out of the contents. Exactly one of each kind must be there.
pub(super) fn load(
    models: &[ModelUse],
    contents: &mut Contents,
    compute: Compute,
) -> Result<Loaded, Failure> {
    let mut found = Found::default();
    for model in models {
        found.add(model, contents)?;
    }
    let networks = Packages {
        localiser: one(found.localiser, "localisation")?,
        segmenter: one(found.segmenter, "segmentation")?,
        pmn: one(found.pmn, "classification")?,
        compute,
        ran_on: Vec::new().into(),
    };
    let tace = one(found.tace, "nomogram (TACE)")?;
    let haic = one(found.haic, "nomogram (HAIC)")?;
    Ok(Loaded { models: models.to_vec(), networks, nomograms: NomogramPair::new(tace, haic)? })
}

/// What was parsed so far.
#[derive(Default)]
struct Found {
    localiser: Vec<Package>,
    segmenter: Vec<Package>,
    pmn: Vec<Package>,
    tace: Vec<Nomogram>,
    haic: Vec<Nomogram>,
}

impl Found {
    fn add(&mut self, model: &ModelUse, contents: &mut Contents) -> Result<(), Failure> {
        let name = &model.name;
        let mut files = contents.take_below(&package_folder(name));
        let mut text = |file: &'static str| {
            let missing = || Failure::PackageFile { package: name.to_string(), file };
            String::from_utf8(files.remove(file).ok_or_else(missing)?).map_err(|_| missing())
        };
        let manifest = text(MANIFEST)?;
        let digest = model.manifest_digest.0;
        if model.task == Task::Nomogram {
            let version = model.version.to_string();
            let id = PackageId { name: name.to_string(), version, digest };
            let nomogram = Nomogram::parse(id, &text(NOMOGRAM)?)?;
            match nomogram.treatment {
                Treatment::Tace => self.tace.push(nomogram),
                Treatment::Haic => self.haic.push(nomogram),
            }
            return Ok(());
        }
        let package = Package::new(&manifest, digest, files)
            .map_err(|source| Failure::Package { package: name.to_string(), source })?;
        match model.task {
            Task::Localisation => self.localiser.push(package),
            Task::Segmentation => self.segmenter.push(package),
            Task::Classification | Task::Nomogram => self.pmn.push(package),
        }
        Ok(())
    }
}

fn one<T>(mut found: Vec<T>, task: &'static str) -> Result<T, Failure> {
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (last, more) => {
            Err(Failure::PackageCount { task, found: more + usize::from(last.is_some()) })
        }
    }
}
