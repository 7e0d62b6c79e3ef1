//! What the daemon tells a worker to do: names of the contents, the order itself (JSON), and the
//! constructors of the daemon's side, so that both sides share one set of names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::analysis::decode::dicom;
use crate::host::packages::{MANIFEST, VerifiedPackage};
use crate::host::worker::Input;
use crate::seal::wire::codes;
use crate::seal::wire::{BoundError, Digest, IntendedUse, ModelUse, Slug, Text};
use crate::study::files;

/// Name of the order.
pub const ORDER: &str = "order";
/// Name of the arterial phase's file.
pub const ARTERIAL: &str = "arterial";
/// Name of the portal venous phase's file.
pub const PORTAL: &str = "portal";
/// Name of `clinical.json`.
pub const CLINICAL: &str = "clinical";
/// What the names of the DICOM files start with; their numbers follow.
pub const DICOM_FOLDER: &str = "dicom/";

/// The version of the order's form.
const SCHEMA: u32 = 1;
/// The most packages an order may name.
pub const MAX_PACKAGES: usize = 6;

/// One study to analyse: what the worker needs to know beside the files. All of it is for display
/// in local files, but for the two limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    /// The job, 16 hexadecimal digits.
    pub job: String,
    /// The dropped folder's name, for the local report only.
    pub study: String,
    /// Site of the device.
    pub site: String,
    /// The device.
    pub device: String,
    /// The result's id in hexadecimal.
    pub result_id: String,
    /// Name, version and build of the software.
    pub software: String,
    /// When the analysis was started, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Longest image file as stored, bytes.
    pub max_file_bytes: u64,
    /// Most voxels in one image.
    pub max_voxels: u64,
    /// Whether to make DICOM objects of the result, which carry the patient's identity.
    pub dicom_objects: bool,
    /// The DICOM series of the arterial phase, when `study.json` names it.
    pub arterial_series: Option<SeriesName>,
    /// The DICOM series of the portal venous phase, when `study.json` names it.
    pub portal_series: Option<SeriesName>,
}

/// How a DICOM series is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesName {
    /// By one of its files, in the order sent.
    File(usize),
    /// By its UID.
    Uid(String),
}

impl From<SeriesName> for dicom::SeriesName {
    fn from(name: SeriesName) -> Self {
        match name {
            SeriesName::File(at) => Self::File(at),
            SeriesName::Uid(uid) => Self::Uid(uid),
        }
    }
}

impl From<files::SeriesName> for SeriesName {
    fn from(name: files::SeriesName) -> Self {
        match name {
            files::SeriesName::File(at) => Self::File(at),
            files::SeriesName::Uid(uid) => Self::Uid(uid),
        }
    }
}

/// An image file of the claimed study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// What it is.
    pub kind: ImageKind,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 at the time of the claim.
    pub sha256: [u8; 32],
    /// Length at the time of the claim.
    pub length: u64,
}

/// What an image file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// The late arterial phase, NIfTI.
    Arterial,
    /// The portal venous phase, NIfTI.
    Portal,
    /// A DICOM file.
    Dicom,
}

/// The contents of a study's worker, in the order sent. `packages` are in the order of use.
pub fn inputs(
    order: &WorkOrder,
    packages: Vec<VerifiedPackage>,
    images: Vec<ImageFile>,
    clinical: Option<Vec<u8>>,
) -> Vec<Input> {
    let mut inputs = envelope(Task::Analyse(Box::new(order.clone())), packages);
    inputs.extend(clinical.map(|bytes| Input::Bytes { name: CLINICAL.to_owned(), bytes }));
    let mut dicom_files = 0..;
    inputs.extend(images.into_iter().map(|image| {
        let name = match image.kind {
            ImageKind::Arterial => ARTERIAL.to_owned(),
            ImageKind::Portal => PORTAL.to_owned(),
            ImageKind::Dicom => dicom_name(dicom_files.next().unwrap_or_default()),
        };
        let (path, sha256, length) = (image.path, image.sha256, image.length);
        Input::File { name, path, sha256, length }
    }));
    inputs
}

/// Names sort as the numbers do.
fn dicom_name(number: u32) -> String {
    format!("{DICOM_FOLDER}{number:08}")
}

/// The contents of a worker that tests the packages.
pub fn self_test_inputs(packages: Vec<VerifiedPackage>) -> Vec<Input> {
    envelope(Task::SelfTest, packages)
}

fn envelope(task: Task, packages: Vec<VerifiedPackage>) -> Vec<Input> {
    let entries = packages.iter().map(PackageEntry::of).collect();
    let envelope = Wire { schema: SCHEMA, task, packages: entries };
    let bytes = serde_json::to_vec(&envelope).expect("text and whole numbers are always JSON");
    let mut inputs = vec![Input::Bytes { name: ORDER.to_owned(), bytes }];
    for package in packages {
        let folder = package_folder(&package.name);
        let manifest = (MANIFEST.to_owned(), package.manifest_toml.into_bytes());
        inputs.extend(
            [manifest]
                .into_iter()
                .chain(package.files)
                .map(|(name, bytes)| Input::Bytes { name: format!("{folder}{name}"), bytes }),
        );
    }
    inputs
}

/// What the names of a package's files start with.
pub(super) fn package_folder(name: &str) -> String {
    format!("package/{name}/")
}

/// The order as understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) task: Task,
    /// In the order of use.
    pub(super) packages: Vec<ModelUse>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// Analyse a study.
    Analyse(Box<WorkOrder>),
    /// Run every network on its golden input.
    SelfTest,
}

/// An order that cannot be followed: the daemon's fault, never the study's.
#[derive(Debug, Error)]
pub(super) enum OrderError {
    /// Absent, or not JSON of this form.
    #[error("the order cannot be read")]
    Json(#[from] serde_json::Error),
    /// Of another version.
    #[error("the order has schema {0}, expected {SCHEMA}")]
    Schema(u32),
    /// More packages than a result names.
    #[error("the order names {0} packages, at most {MAX_PACKAGES} are taken")]
    Packages(usize),
    /// A package whose name or version cannot be sent.
    #[error("the order names a package that no result can name")]
    Bound(#[from] BoundError),
    /// A word or digest that means nothing.
    #[error("the order says {0:?} of a package")]
    Word(String),
}

impl Envelope {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, OrderError> {
        let wire: Wire = serde_json::from_slice(bytes)?;
        if wire.schema != SCHEMA {
            return Err(OrderError::Schema(wire.schema));
        }
        if wire.packages.len() > MAX_PACKAGES {
            return Err(OrderError::Packages(wire.packages.len()));
        }
        let packages: Result<Vec<_>, _> =
            wire.packages.into_iter().map(PackageEntry::understood).collect();
        Ok(Self { task: wire.task, packages: packages? })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    task: Task,
    packages: Vec<PackageEntry>,
}

/// What the daemon verified about a package.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageEntry {
    name: String,
    version: String,
    task: String,
    intended_use: String,
    manifest_digest: String,
}

impl PackageEntry {
    fn of(package: &VerifiedPackage) -> Self {
        Self {
            name: package.name.to_string(),
            version: package.version.to_string(),
            task: package.task.name().to_owned(),
            intended_use: package.intended_use.name().to_owned(),
            manifest_digest: Digest::from(package.manifest_digest).to_string(),
        }
    }

    fn understood(self) -> Result<ModelUse, OrderError> {
        let task = codes::Task::ALL.iter().find(|task| task.name() == self.task);
        let intended_use = IntendedUse::ALL.iter().find(|used| used.name() == self.intended_use);
        let digest = Digest::from_hex(&self.manifest_digest);
        Ok(ModelUse {
            name: Slug::new(&self.name)?,
            version: Text::new(&self.version)?,
            task: *task.ok_or(OrderError::Word(self.task))?,
            manifest_digest: digest.ok_or(OrderError::Word(self.manifest_digest))?,
            intended_use: *intended_use.ok_or(OrderError::Word(self.intended_use))?,
        })
    }
}
