//! Why a DICOM file or series is not a usable CT volume, as a closed list. A message says what was
//! found, where along the series, what was expected and what to do; it never repeats a UID, a name
//! or any other text of the file.

use thiserror::Error;

use crate::analysis::volume::geometry::GeometryError;

/// What is wrong with one file or one series.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DicomError {
    /// Neither a preamble nor anything that looks like a data set.
    #[error("found something else than DICOM, expected DICOM files; leave other files out")]
    NotDicom,
    /// Files of DICOM, and no CT series among them.
    #[error("found no CT series, expected the arterial and the portal venous one; send the series")]
    NoSeries,
    /// A data set without the header that says how it is encoded.
    #[error(
        "found a data set without file meta information, expected a DICOM file (PS3.10); export \
         the series again"
    )]
    NoFileMeta,
    /// File meta information without a transfer syntax.
    #[error("TransferSyntaxUID is missing, expected one; export the series again")]
    NoTransferSyntax,
    /// A transfer syntax that is not read.
    #[error(
        "transfer syntax {name} is not read, expected uncompressed or losslessly compressed \
         images; export the series uncompressed"
    )]
    SyntaxNotRead {
        /// Name of the transfer syntax.
        name: &'static str,
    },
    /// A transfer syntax that loses information.
    #[error(
        "transfer syntax {name} is lossy, expected lossless images for measurement; export the \
         original series"
    )]
    LossySyntax {
        /// Name of the transfer syntax.
        name: &'static str,
    },
    /// Lossless now, but compressed with loss before.
    #[error(
        "LossyImageCompression says that the image was compressed with loss before, expected \
         lossless images for measurement; export the original series"
    )]
    LossyHistory,
    /// The file ends before its data do.
    #[error("{what} has {found} bytes, expected {expected}; copy the file again")]
    Truncated {
        /// What ends early.
        what: &'static str,
        /// Bytes there are.
        found: u64,
        /// Bytes the header asks for.
        expected: u64,
    },
    /// The encoding of the data set is damaged.
    #[error("found {found}, expected an undamaged data set; copy or export the file again")]
    Corrupt {
        /// What is wrong.
        found: &'static str,
    },
    /// An attribute that the geometry or the values depend on is not there.
    #[error("{attribute} is missing, expected a value; export the original series")]
    Missing {
        /// Keyword of the attribute.
        attribute: &'static str,
    },
    /// An attribute whose value is no number, out of range, or not supported.
    #[error("{attribute} is {found}, expected {expected}; export the original series")]
    BadValue {
        /// Keyword of the attribute.
        attribute: &'static str,
        /// The number found, or what kind of value it is.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Compressed pixels that cannot be decoded.
    #[error("{codec} pixels: {found}, expected an undamaged image; copy or export it again")]
    BadPixels {
        /// Name of the compression.
        codec: &'static str,
        /// What is wrong.
        found: &'static str,
    },
    /// Over a named limit.
    #[error("{quantity} {found}, at most {limit}; send the axial series of the liver only")]
    TooLarge {
        /// What is too large.
        quantity: &'static str,
        /// How large it is.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Fewer slices, rows or columns than any liver scan has.
    #[error("{found} {what}, expected at least {least}; send the whole series")]
    TooFew {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The least accepted.
        least: usize,
    },
    /// A slice that cannot be used; the source says why.
    #[error("slice {slice} of {slices} along the normal cannot be used")]
    Slice {
        /// Counted from 1 along the normal.
        slice: usize,
        /// Slices in the series.
        slices: usize,
        /// Why.
        source: Box<DicomError>,
    },
    /// Files of the series whose place in it is unknown because they cannot be read.
    #[error("{count} of {of} files of the series cannot be used")]
    BrokenFiles {
        /// Unusable files.
        count: usize,
        /// Files of the series.
        of: usize,
        /// Why the first of them is not.
        source: Box<DicomError>,
    },
    /// Slices are missing.
    #[error(
        "{distance_mm:.2} mm from slice {after} of {slices} to the next, expected \
         {spacing_mm:.2} mm as elsewhere: {missing} slices are missing; send the whole series"
    )]
    Gap {
        /// The slice before the gap, counted from 1 along the normal.
        after: usize,
        /// Slices in the series.
        slices: usize,
        /// The distance found.
        distance_mm: f64,
        /// The usual distance.
        spacing_mm: f64,
        /// Slices that fit into the gap.
        missing: usize,
    },
    /// Fewer slices than the scanner says the acquisition has.
    #[error(
        "{found} slices of an acquisition that ImagesInAcquisition says has {expected}; send the \
         whole series"
    )]
    Unfinished {
        /// Slices of the acquisition among the files.
        found: usize,
        /// What the attribute says.
        expected: usize,
    },
    /// A distance that is neither the usual one nor a multiple of it.
    #[error(
        "{distance_mm:.2} mm from slice {after} of {slices} to the next, expected \
         {spacing_mm:.2} mm as elsewhere; export one series of equal spacing"
    )]
    UnevenSpacing {
        /// The slice before, counted from 1 along the normal.
        after: usize,
        /// Slices in the series.
        slices: usize,
        /// The distance found.
        distance_mm: f64,
        /// The usual distance.
        spacing_mm: f64,
    },
    /// Two different images at the same place, and nothing that tells them apart.
    #[error(
        "{count} different images at the place of slice {slice} of {slices} along the normal, \
         expected one; export each acquisition as its own series"
    )]
    Duplicate {
        /// Counted from 1 along the normal.
        slice: usize,
        /// Places along the normal.
        slices: usize,
        /// Images at that place.
        count: usize,
    },
    /// A slice beside the line that the others lie on.
    #[error(
        "slice {slice} of {slices} lies {off_mm:.2} mm off the line of the others, expected at \
         most {most_mm} mm; export the original series"
    )]
    Displaced {
        /// Counted from 1 along the normal.
        slice: usize,
        /// Slices in the series.
        slices: usize,
        /// How far off.
        off_mm: f64,
        /// The most accepted.
        most_mm: f64,
    },
    /// The slices are stacked at an angle to their normal.
    #[error(
        "the slices are tilted by {degrees:.1} degrees against the table (gantry tilt), expected \
         none; send a series without tilt or a reformatted one"
    )]
    Tilted {
        /// Angle between the normal and the line through the slices.
        degrees: f64,
    },
    /// A grid that no scanner makes.
    #[error("the slices form no usable grid; export the original series")]
    Grid(#[from] GeometryError),
    /// Values that no CT of an abdomen has.
    #[error(
        "values {low}..{high}, expected Hounsfield units (air below {air}, soft tissue above \
         {soft}); is this a map or a rescaled image?"
    )]
    ImplausibleHu {
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
