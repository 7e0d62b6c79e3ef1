//! A result as DICOM objects of the scan's own study, for a site that asks for them.
//!
//! | file | makes |
//! |---|---|
//! | `segments` | which voxels each segment has |
//! | `segmentation` | Segmentation Storage: liver, tumour, and each lesion, one bit per voxel |
//! | `capture` | Secondary Capture: the overview picture |
//! | `measurements` | Comprehensive 3D SR, TID 1500: volumes and diameters |
//! | `identity` | patient, study, series and equipment of all three |
//!
//! They repeat the patient's identity from the source series, which is what makes them of use in an
//! archive. Nothing else of a result does, and nothing of it may reach a log, a message or the
//! broker. Every run gives its objects UIDs of their own: the time of the run is in all of them, the name
//! of the study's folder in the picture.

mod codes;

mod identity;

mod lab;

mod segments;

mod bits;

mod segmentation;

mod capture;

mod items;

mod measurements;

#[cfg(test)]
mod tests;

use thiserror::Error;

use super::picture::Picture;
use crate::analysis::decode::dicom::Source;
use crate::analysis::findings::Outcome;
use crate::analysis::lesions::Lesions;
use crate::analysis::volume::{Geometry, Mask};
use crate::dicom::WriteError;

/// What the objects say of the run that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The result's id.
    pub result_id: String,
    /// Site of the device.
    pub site: String,
    /// The device.
    pub device: String,
    /// The job, which is another one each time a study comes.
    pub job: String,
    /// Name, version and build of the software.
    pub software: String,
    /// Name of the package that labels liver and tumour.
    pub segmenter: String,
    /// Its version.
    pub segmenter_version: String,
    /// When the analysis was started: `YYYYMMDDHHMMSS` in the source's time zone, or in UTC where the
    /// source names none.
    pub started: String,
    /// True when models or nomograms in use are not released for clinical use.
    pub demonstration: bool,
}

/// The bytes of the files.
#[derive(Clone, PartialEq, Eq)]
pub struct Objects {
    /// The segmentation; `None` without a voxel of liver, which the standard has no form for.
    pub segmentation: Option<Vec<u8>>,
    /// The overview picture.
    pub overview: Vec<u8>,
    /// The measurements on the segmentation; `None` without one.
    pub measurements: Option<Vec<u8>>,
}

/// Why there are no objects. No text of the source is in the messages.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// Mask and source series are not of the same scan.
    #[error("{what} is {found}, expected {expected} as in the source series")]
    Shape {
        /// What was compared.
        what: &'static str,
        /// Of the mask.
        found: usize,
        /// Of the series.
        expected: usize,
    },
    /// A measured lesion that is not in the mask.
    #[error("lesion {number} of the findings is not in the mask")]
    Lesion {
        /// Counted from 1.
        number: usize,
    },
    /// The segmentation would be longer than is written.
    #[error(
        "the segmentation would have {frames} frames and {found} bytes, at most {limit} bytes are written"
    )]
    TooLarge {
        /// Slices of segments.
        frames: usize,
        /// Bytes of all of them.
        found: u64,
        /// Bytes at most.
        limit: u64,
    },
    /// Encoding failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What was found on the portal venous phase.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// How the analysis ended.
    pub outcome: Outcome,
    /// Why it abstained: sentences of this program, with no text of the source in them.
    pub reasons: &'a [&'a str],
    /// What was measured on the mask.
    pub lesions: Option<&'a Lesions>,
    /// Liver and tumour.
    pub mask: &'a Mask,
    /// The grid of the mask, as the source series stores it.
    pub geometry: &'a Geometry,
}

/// Makes the objects. `source` is what the portal venous series repeats of its origin.
pub fn objects(
    run: &Run,
    source: &Source,
    found: Found<'_>,
    picture: &Picture,
) -> Result<Objects, ObjectError> {
    let about = identity::About::new(run, source, found);
    let segments = segments::of(found.mask, found.geometry, found.lesions)?;
    let (mut segmentation, mut measurements) = (None, None);
    if let (Some(lesions), false) = (found.lesions, segments.is_empty()) {
        segmentation = Some(segmentation::write(&about, &found.geometry.stored, &segments)?);
        measurements = Some(measurements::write(&about, &segments, lesions)?);
    }
    Ok(Objects { segmentation, overview: capture::write(&about, picture)?, measurements })
}
