//! Hostile bytes → [`HuVolume`](super::volume::HuVolume), under limits. One variant of
//! [`DecodeError`] per reason code, so that a technician reads the same word everywhere.
//!
//! Nothing here trusts a byte before it is checked, allocates what a header merely claims, or
//! repairs what it finds.

pub mod limits;

pub mod intake;

pub mod header;

pub mod nifti;

pub mod dicom;

mod source;

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

pub use intake::Intake;
pub use limits::Limits;
pub use nifti::{Decoded, decode};

/// Which of a study's two images is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageName {
    /// The late arterial phase.
    Arterial,
    /// The portal venous phase.
    Portal,
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arterial => "arterial image",
            Self::Portal => "portal venous image",
        })
    }
}

/// Why a file is not a usable CT volume: the image, what was found, what was expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are no single-file NIfTI-1.
    #[error(
        "{image}: found {found}, expected a single-file NIfTI-1; convert the series to .nii.gz"
    )]
    NotNifti {
        /// The image.
        image: ImageName,
        /// What the bytes look like.
        found: &'static str,
    },
    /// The file ends before its data do.
    #[error("{image}: {found} bytes after unpacking, expected {expected}; copy the file again")]
    Truncated {
        /// The image.
        image: ImageName,
        /// Bytes there are, unpacked.
        found: u64,
        /// Bytes the header asks for, or the most a packed file of this size can hold.
        expected: u64,
    },
    /// The file is damaged, or holds more than its header says.
    #[error("{image}: {found}, expected an undamaged file; copy or export it again")]
    Corrupt {
        /// The image.
        image: ImageName,
        /// What is wrong.
        found: &'static str,
    },
    /// A header field contradicts the standard or another field.
    #[error("{image}: header field {attribute} is {found}, expected {expected}; export it again")]
    BadHeader {
        /// The image.
        image: ImageName,
        /// Field of the NIfTI-1 header.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Voxels of a type that no CT is stored in.
    #[error(
        "{image}: datatype {found}, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32) or 512 (u16); \
         export the CT in one of these"
    )]
    WrongDatatype {
        /// The image.
        image: ImageName,
        /// NIfTI datatype code.
        found: i16,
    },
    /// A colour picture.
    #[error("{image}: colour voxels (datatype {found}), expected CT; send the original series")]
    Colour {
        /// The image.
        image: ImageName,
        /// NIfTI datatype code: 128 (RGB) or 2304 (RGBA).
        found: i16,
    },
    /// A single slice, a time series, or more axes still.
    #[error("{image}: dimensions {found}, expected three; send one phase per file")]
    NotThreeDimensional {
        /// The image.
        image: ImageName,
        /// `dim[0]` and the dimensions it counts.
        found: String,
    },
    /// Fewer voxels along an axis than any liver scan has.
    #[error("{image}: {found} slices, expected at least {least}; send the whole series")]
    TooFewSlices {
        /// The image.
        image: ImageName,
        /// The shortest axis, in voxels.
        found: usize,
        /// The least accepted.
        least: usize,
    },
    /// Over a named limit.
    #[error(
        "{image}: {quantity} {found}, at most {limit}; send the axial series of the liver only"
    )]
    TooLarge {
        /// The image.
        image: ImageName,
        /// What is too large.
        quantity: &'static str,
        /// How large it is.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Neither sform nor qform: left and right cannot be told apart.
    #[error(
        "{image}: neither sform_code nor qform_code is set, expected an orientation; convert the \
         original DICOM series again"
    )]
    NoOrientation {
        /// The image.
        image: ImageName,
    },
    /// Voxel sizes outside the accepted range, in another unit, or contradicting each other.
    #[error("{image}: voxel spacing {found}, expected {expected}; export it again")]
    BadSpacing {
        /// The image.
        image: ImageName,
        /// What the header says.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// NaN or infinite voxels.
    #[error("{image}: {count} voxels are NaN or infinite, expected none; export it again")]
    NotFinite {
        /// The image.
        image: ImageName,
        /// How many voxels.
        count: u64,
    },
    /// Values that no CT of an abdomen has.
    #[error(
        "{image}: values {low}..{high}, expected Hounsfield units (air below {air}, soft tissue \
         above {soft}); is this an MR, a mask or a rescaled image?"
    )]
    ImplausibleHu {
        /// The image.
        image: ImageName,
        /// Lowest value, rounded.
        low: i64,
        /// Highest value, rounded.
        high: i64,
        /// The lowest value of a CT lies below this.
        air: i16,
        /// The highest value of a CT lies above this.
        soft: i16,
    },
}
