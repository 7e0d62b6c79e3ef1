//! Synthetic two-phase studies with known truth: an abdomen drawn from a seed, as files.
//!
//! | step | in | out |
//! |---|---|---|
//! | [`spec`] | seed, preset | [`PhantomSpec`], checked |
//! | [`anatomy`] | seed | organs as signed distances, with HU in both phases |
//! | [`generate`](mod@generate) | spec | [`Phantom`]: arterial, portal, labels, truth |
//! | [`study`](mod@study) | spec | NIfTI and JSON bytes, in any axis order |
//! | [`dicom`] | phantom | the images as DICOM files, in any axis order |
//!
//! Nothing here is fitted to a patient. Enhancement values are round numbers typical of a
//! 120 kVp multiphasic liver CT; the shapes are ellipsoids, tubes and smooth deformations.
//!
//! **The same seed gives the same bytes everywhere:** only `+ − × ÷`, `sqrt`, rounding and
//! comparisons are used, which IEEE 754 defines to the bit; no function of the platform's maths
//! library is called (a rotation comes from a rational quaternion, noise from integer hashes).
//!
//! Patient axes are those of the rest of the crate: x to the patient's Right, y Anterior, z
//! Superior, in millimetres; the liver lies at high x.

pub mod spec;

mod random;

mod shape;

pub mod anatomy;

mod body;

mod organs;

mod vessels;

mod tumour;

pub mod truth;

pub mod generate;

pub mod orientation;

mod nifti;

mod clinical;

pub mod study;

pub mod dicom;

pub use dicom::{DicomFile, dicom_files};
pub use generate::{Phantom, generate};
pub use orientation::Orientation;
pub use spec::{PhantomError, PhantomSpec, Phenotype, Preset, TumourSpec};
pub use study::{ImageFiles, SheetFiles, StudyFiles, study};
pub use truth::{Truth, TumourTruth};
