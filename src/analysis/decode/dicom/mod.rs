//! The DICOM files of one study folder → volumes, and which phase each of them is.
//!
//! 1. [`survey`] reads every header, without decoding a pixel: what each file is, which slices make a
//!    series, and whether they form a grid. What is left out or refused is a [`Finding`].
//! 2. [`phase`] names the phase of each series and picks the arterial and the portal venous one.
//! 3. [`Series::decode`] makes the volume of a series; only those that are needed take memory.
//!
//! dicom-rs decodes element headers and text; lengths, numbers and pixels are checked here. JPEG
//! lossless, JPEG-LS and RLE are decoded here too: the codecs there are need C++, trust what a stream
//! claims, or decode restart intervals wrongly without a word.
//!
//! Patients' names and dates of birth are never read, but by [`source`], for objects that a site asks
//! for. UIDs and the patient's ID are compared and never shown.

mod error;

mod file;

mod elements;

mod syntax;

mod attributes;

mod clock;

pub mod kind;

mod slice;

mod stored;

mod pixels;

mod stacks;

mod grid;

mod volume;

mod series;

mod words;

pub mod phase;

pub mod source;

pub mod transfer;

#[cfg(test)]
pub(in crate::analysis) mod fixture;

#[cfg(test)]
mod tests;

pub use error::DicomError;
pub use file::is_dicom;
pub use grid::PLACE_TOLERANCE_MM;
pub use kind::Kind;
pub use series::{Assembled, Finding, Series, SeriesName, Survey, assemble, survey};
pub use source::Source;
pub use volume::SeriesVolume;
