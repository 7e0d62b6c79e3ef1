//! One file's bytes → its CT slices: where each lies in the patient, how its cells become HU, where
//! its pixels are, and what tells one phase from another. No pixel is decoded here.

use std::ops::Range;

use dicom_dictionary_std::tags;

use super::attributes::{self, Header, MOST_FRAMES, PixelBytes, View, decimal, without_padding};
use super::clock;
use super::error::DicomError;
use super::file::{self, DataSet};
use super::kind::{Kind, other_than_ct};
use super::stored::Stored;
use super::syntax::{Codec, Reading};
use crate::analysis::decode::Limits;
use crate::analysis::decode::limits::{LEAST_VOXELS_ALONG_AXIS, MOST_VOXELS_ALONG_AXIS};
use crate::analysis::volume::geometry::MOST_OFFSET_MM;

/// A UID that is compared and never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Writers pad UIDs differently; the padding is no part of them.
    fn new(uid: &[u8]) -> Self {
        Self(without_padding(uid).to_vec())
    }

    /// As [`Key::new`], of a text.
    #[cfg(test)]
    pub(super) fn of(uid: &str) -> Self {
        Self::new(uid.as_bytes())
    }

    /// True when this is the UID.
    pub(super) fn is(&self, uid: &str) -> bool {
        self.0 == uid.as_bytes()
    }
}

/// One slice: a file of the classic CT object, or a frame of an enhanced one.
#[derive(Clone)]
pub(super) struct Slice {
    /// The series it was sent in.
    pub(super) series: Key,
    /// The examination it is of, when it is named.
    pub(super) study: Option<Key>,
    /// The coordinate system its position is in, when it is named.
    pub(super) frame_of_reference: Option<Key>,
    /// Centre of the first pixel in LPS+ millimetres.
    pub(super) position: [f64; 3],
    /// Direction of growing columns, then of growing rows, LPS unit vectors.
    pub(super) orientation: [f64; 6],
    /// Millimetres between rows, then between columns.
    pub(super) pixel_spacing: [f64; 2],
    /// Rows, 16..=1024.
    pub(super) rows: usize,
    /// Columns, 16..=1024.
    pub(super) columns: usize,
    /// How cells become HU.
    pub(super) stored: Stored,
    /// Where the pixels are.
    pub(super) pixels: Pixels,
    /// Number of the frame, from 1, in an object of several.
    pub(super) frame: Option<u32>,
    /// What tells acquisitions of one series apart.
    pub(super) acquisition: Acquisition,
    /// What names the phase.
    pub(super) clues: SliceClues,
}

/// Where a slice's pixels are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels {
    /// Index of the file.
    pub(super) file: usize,
    /// How they are compressed.
    pub(super) codec: Codec,
    /// True for big-endian cells.
    pub(super) big_endian: bool,
    /// Ranges of the data set, one after the other.
    pub(super) pieces: Vec<Range<usize>>,
}

/// What tells acquisitions of one series apart; nothing here orders slices in space.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Acquisition {
    /// AcquisitionNumber, or the frame's.
    pub(super) number: Option<f64>,
    /// ImagesInAcquisition of an original image; a derived one may have it from its source.
    pub(super) images: Option<usize>,
    /// TemporalPositionIdentifier or index.
    pub(super) temporal_position: Option<f64>,
    /// Milliseconds after the trigger.
    pub(super) trigger_ms: Option<f64>,
    /// Acquisition date and time in seconds.
    pub(super) acquired_s: Option<f64>,
    /// Content date and time in seconds.
    pub(super) content_s: Option<f64>,
}

/// What a slice says about its phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SliceClues {
    /// Series description and protocol name; never shown.
    pub(super) description: String,
    /// ContrastBolusAgent as text; `None` when the attribute is absent or empty.
    pub(super) agent: Option<String>,
    /// Start of the bolus in seconds of the day.
    pub(super) bolus_start_s: Option<f64>,
    /// Convolution kernel.
    pub(super) kernel: String,
    /// The patient's ID; compared, and never shown.
    pub(super) patient_id: String,
}

/// What a file turned out to be.
pub(super) enum FileContent {
    /// CT slices.
    Slices(Vec<Slice>),
    /// Something to leave out.
    LeftOut(Kind),
    /// A CT of this series that cannot be used.
    Broken(Key, DicomError),
    /// A file that cannot be read far enough to know what it belongs to.
    Lost(DicomError),
}

/// Reads the header of file number `file`.
pub(super) fn read(file: usize, bytes: &[u8], limits: &Limits) -> FileContent {
    let data = match file::open(bytes, limits) {
        Ok(data) => data,
        Err(DicomError::NotDicom) => return FileContent::LeftOut(Kind::NotDicom),
        Err(error) => return FileContent::Lost(error),
    };
    let (header, complete) = attributes::read(&data.bytes, data.syntax.order);
    let view = header.frame(0);
    if let Err(error) = &complete
        && view.bytes(tags::SOP_CLASS_UID).is_none()
    {
        return FileContent::Lost(error.clone());
    }
    if data.is_directory {
        return FileContent::LeftOut(Kind::Directory);
    }
    if let Some(kind) = other_than_ct(&view) {
        return FileContent::LeftOut(kind);
    }
    let Some(series) = view.bytes(tags::SERIES_INSTANCE_UID).map(Key::new) else {
        let missing = DicomError::Missing { attribute: "SeriesInstanceUID" };
        return FileContent::Lost(complete.err().unwrap_or(missing));
    };
    match complete.and_then(|()| slices(file, &data, &header, &series)) {
        Ok(slices) => FileContent::Slices(slices),
        Err(error) => FileContent::Broken(series, error),
    }
}

/// Every frame of the file that is a slice to measure on.
fn slices(
    file: usize,
    data: &DataSet<'_>,
    header: &Header<'_>,
    series: &Key,
) -> Result<Vec<Slice>, DicomError> {
    let codec = match data.syntax.reading {
        Reading::Lossless(codec) => codec,
        Reading::Lossy => return Err(DicomError::LossySyntax { name: data.syntax.name }),
        Reading::Not => return Err(DicomError::SyntaxNotRead { name: data.syntax.name }),
    };
    let count = frame_count(header)?;
    let whole = header.frame(0);
    if whole.ascii(tags::LOSSY_IMAGE_COMPRESSION) == Some("01") {
        return Err(DicomError::LossyHistory);
    }
    let (rows, columns) = (size(&whole, Side::Rows)?, size(&whole, Side::Columns)?);
    let places = pixel_places(header, count, rows * columns * 2)?;
    let mut slices = Vec::with_capacity(count);
    for (frame, pieces) in places.into_iter().enumerate() {
        let view = header.frame(frame);
        if other_than_ct(&view).is_some() {
            continue;
        }
        let big_endian = data.syntax.order.u16([0, 1]) == 1;
        let [a, b, c, d, e, f] =
            view.needed_decimals(tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient")?;
        slices.push(Slice {
            series: series.clone(),
            study: view.bytes(tags::STUDY_INSTANCE_UID).map(Key::new),
            frame_of_reference: view.bytes(tags::FRAME_OF_REFERENCE_UID).map(Key::new),
            position: position(&view)?,
            orientation: unit_vectors([a, b, c], [d, e, f])?,
            pixel_spacing: pixel_spacing(&view)?,
            rows,
            columns,
            stored: Stored::read(&view)?,
            pixels: Pixels { file, codec, big_endian, pieces },
            frame: (count > 1).then_some(frame as u32 + 1),
            acquisition: acquisition(&view),
            clues: clues(&view),
        });
    }
    Ok(slices)
}

/// NumberOfFrames, which must agree with the functional groups where there are any.
fn frame_count(header: &Header<'_>) -> Result<usize, DicomError> {
    let attribute = "NumberOfFrames";
    let stated = match header.frame(0).ascii(tags::NUMBER_OF_FRAMES) {
        None => 1.0,
        Some(text) => decimal(text).unwrap_or(0.0),
    };
    if stated < 1.0 || stated.fract() != 0.0 {
        let (found, expected) = ("no count".to_owned(), "a whole number from 1");
        return Err(DicomError::BadValue { attribute, found, expected });
    }
    if stated > MOST_FRAMES as f64 {
        let (found, limit) = (stated as u64, MOST_FRAMES as u64);
        return Err(DicomError::TooLarge { quantity: "frames in one file", found, limit });
    }
    let count = stated as usize;
    let groups = header.frame_groups();
    if groups != count && (groups > 0 || count > 1) {
        let expected = "as many as PerFrameFunctionalGroupsSequence has items";
        return Err(DicomError::BadValue { attribute, found: count.to_string(), expected });
    }
    Ok(count)
}

#[derive(Clone, Copy)]
enum Side {
    Rows,
    Columns,
}

fn size(view: &View<'_, '_>, side: Side) -> Result<usize, DicomError> {
    let (tag, attribute, what) = match side {
        Side::Rows => (tags::ROWS, "Rows", "rows"),
        Side::Columns => (tags::COLUMNS, "Columns", "columns"),
    };
    let found = usize::from(view.needed_u16(tag, attribute)?);
    if found > MOST_VOXELS_ALONG_AXIS {
        let limit = MOST_VOXELS_ALONG_AXIS as u64;
        return Err(DicomError::TooLarge { quantity: what, found: found as u64, limit });
    }
    if found < LEAST_VOXELS_ALONG_AXIS {
        return Err(DicomError::TooFew { what, found, least: LEAST_VOXELS_ALONG_AXIS });
    }
    Ok(found)
}

fn position(view: &View<'_, '_>) -> Result<[f64; 3], DicomError> {
    let attribute = "ImagePositionPatient";
    let position = view.needed_decimals(tags::IMAGE_POSITION_PATIENT, attribute)?;
    if let Some(far) = position.iter().find(|mm| mm.abs() > MOST_OFFSET_MM) {
        let expected = "within 100 m";
        return Err(DicomError::BadValue { attribute, found: format!("{far} mm"), expected });
    }
    Ok(position)
}

fn pixel_spacing(view: &View<'_, '_>) -> Result<[f64; 2], DicomError> {
    let attribute = "PixelSpacing";
    let spacing: [f64; 2] = view.needed_decimals(tags::PIXEL_SPACING, attribute)?;
    if let Some(wrong) = spacing.iter().find(|mm| **mm <= 0.0) {
        let expected = "two lengths above 0";
        return Err(DicomError::BadValue { attribute, found: format!("{wrong} mm"), expected });
    }
    Ok(spacing)
}

/// Direction cosines are written with few digits: a length within this of 1 is meant to be 1.
const MOST_LENGTH_ERROR: f64 = 1e-3;

/// Checks the two directions; the grid's own check sees whether they are at right angles.
fn unit_vectors(columns: [f64; 3], rows: [f64; 3]) -> Result<[f64; 6], DicomError> {
    for vector in [columns, rows] {
        let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        if (length - 1.0).abs() > MOST_LENGTH_ERROR {
            let (attribute, expected) = ("ImageOrientationPatient", "vectors of length 1");
            let found = format!("a vector of length {length:.4}");
            return Err(DicomError::BadValue { attribute, found, expected });
        }
    }
    let ([a, b, c], [d, e, f]) = (columns, rows);
    Ok([a, b, c, d, e, f])
}

/// Where each frame's pixels are in the data set.
fn pixel_places(
    header: &Header<'_>,
    frames: usize,
    frame_bytes: usize,
) -> Result<Vec<Vec<Range<usize>>>, DicomError> {
    match &header.pixels {
        None => Err(DicomError::Missing { attribute: "PixelData" }),
        Some(PixelBytes::Native(range)) => native_places(range, frames, frame_bytes),
        Some(PixelBytes::Fragments { offsets, fragments }) => {
            fragment_places(offsets, fragments, frames)
        }
    }
}

fn native_places(
    range: &Range<usize>,
    frames: usize,
    frame_bytes: usize,
) -> Result<Vec<Vec<Range<usize>>>, DicomError> {
    let expected = frames * frame_bytes;
    if range.len() < expected {
        let (found, expected) = (range.len() as u64, expected as u64);
        return Err(DicomError::Truncated { what: "PixelData", found, expected });
    }
    if range.len() > expected {
        return Err(DicomError::Corrupt { found: "more pixels than rows and columns say" });
    }
    let start = |frame: usize| range.start + frame * frame_bytes;
    // One range per frame, because a frame of a compressed image may lie in several.
    let places = (0..frames).map(|frame| start(frame)..start(frame + 1));
    Ok(places.map(|place| std::iter::once(place).collect()).collect())
}

/// A single frame has all fragments; several have one each, or begin where the offset table says.
fn fragment_places(
    offsets: &[u32],
    fragments: &[Range<usize>],
    frames: usize,
) -> Result<Vec<Vec<Range<usize>>>, DicomError> {
    if fragments.is_empty() {
        return Err(DicomError::Corrupt { found: "no pixel fragments" });
    }
    if frames == 1 {
        return Ok(vec![fragments.to_vec()]);
    }
    if fragments.len() == frames {
        return Ok(fragments.iter().map(|range| vec![range.clone()]).collect());
    }
    let unclear = DicomError::Corrupt { found: "pixel fragments that no offset table sorts" };
    if offsets.len() != frames {
        return Err(unclear);
    }
    // Offsets count from the first fragment's item header, eight bytes before its content.
    let first = fragments[0].start;
    let mut places = vec![Vec::new(); frames];
    for fragment in fragments {
        let at = (fragment.start - first) as u64;
        let frame = offsets.partition_point(|&offset| u64::from(offset) <= at);
        places.get_mut(frame.wrapping_sub(1)).ok_or(unclear.clone())?.push(fragment.clone());
    }
    if places.iter().any(Vec::is_empty) || !offsets.is_sorted() {
        return Err(unclear);
    }
    Ok(places)
}

fn acquisition(view: &View<'_, '_>) -> Acquisition {
    let either = |one, other| view.decimal(one).or_else(|| view.decimal(other));
    let frame_time = view.ascii(tags::FRAME_ACQUISITION_DATE_TIME).and_then(clock::date_time_s);
    let whole_time = view.ascii(tags::ACQUISITION_DATE_TIME).and_then(clock::date_time_s);
    let moment = |date, time| clock::moment_s(view.ascii(date), view.ascii(time));
    Acquisition {
        images: view
            .decimal(tags::IMAGES_IN_ACQUISITION)
            .filter(|_| view.ascii(tags::IMAGE_TYPE).is_some_and(|t| t.starts_with("ORIGINAL")))
            .map(|count| count as usize),
        number: either(tags::FRAME_ACQUISITION_NUMBER, tags::ACQUISITION_NUMBER),
        temporal_position: either(
            tags::TEMPORAL_POSITION_INDEX,
            tags::TEMPORAL_POSITION_IDENTIFIER,
        ),
        trigger_ms: view.decimal(tags::TRIGGER_TIME),
        acquired_s: frame_time
            .or_else(|| moment(tags::ACQUISITION_DATE, tags::ACQUISITION_TIME))
            .or(whole_time),
        content_s: moment(tags::CONTENT_DATE, tags::CONTENT_TIME),
    }
}

fn clues(view: &View<'_, '_>) -> SliceClues {
    let [series, protocol] = [tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME].map(|t| view.text(t));
    let named = Some(view.text(tags::CONTRAST_BOLUS_AGENT)).filter(|agent| !agent.is_empty());
    let listed = || view.bytes(tags::CONTRAST_BOLUS_AGENT_SEQUENCE).map(|_| "listed".to_owned());
    SliceClues {
        // The protocol is shared by all phases: its words count when the description has none.
        description: if series.is_empty() { protocol } else { series },
        agent: named.or_else(listed),
        bolus_start_s: view.ascii(tags::CONTRAST_BOLUS_START_TIME).and_then(clock::time_s),
        kernel: view.text(tags::CONVOLUTION_KERNEL),
        patient_id: view.text(tags::PATIENT_ID),
    }
}
