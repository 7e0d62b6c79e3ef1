//! A phantom as two CT series in DICOM, as a scanner sends them: one file per slice, in any
//! orientation, the voxels and places those of the NIfTI form.
//!
//! Every UID is derived from the description of the phantom, so that the same seed gives the same bytes and no
//! two phantoms are taken for one.

use dicom_dictionary_std::{tags, uids};
use ndarray::Array3;

use super::generate::Phantom;
use super::nifti::array_index;
use super::orientation::Placement;
use super::spec::{PhantomError, PhantomSpec};
use crate::dicom::{Object, Uid};

/// One file of the study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DicomFile {
    /// Its name, such as `portal-0001.dcm`.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The files of both phases, arterial first, made one after the other.
pub fn dicom_files(
    phantom: &Phantom,
) -> impl Iterator<Item = Result<DicomFile, PhantomError>> + use<'_> {
    let placement = Placement::of(&phantom.spec);
    let arterial = phantom.arterial.as_ref().map(|volume| (&ARTERIAL, volume));
    let phases = arterial.into_iter().chain([(&PORTAL, &phantom.portal)]);
    phases.flat_map(move |(phase, volume)| {
        let series = Series { phase, spec: &phantom.spec, placement: placement.clone(), volume };
        (0..series.placement.shape[2]).map(move |slice| series.file(slice))
    })
}

/// What tells the series of a phase from the other one.
struct Phase {
    word: &'static str,
    description: &'static str,
    number: u16,
    /// `HHMMSS`, fitting [`BOLUS_START`]: late arterial 35 s and portal venous 70 s after it.
    acquired: &'static str,
}

const ARTERIAL: Phase =
    Phase { word: "arterial", description: "arterial phase", number: 2, acquired: "090035" };
const PORTAL: Phase =
    Phase { word: "portal", description: "portal venous phase", number: 3, acquired: "090110" };

/// Start of the injection, `HHMMSS`.
const BOLUS_START: &str = "090000";
/// Every phantom is scanned on the same day: the bytes depend on the description alone.
const DAY: &str = "20240102";

/// The HU of stored zero.
const INTERCEPT_HU: i16 = -1024;

/// One series to be written.
struct Series<'a> {
    phase: &'static Phase,
    spec: &'a PhantomSpec,
    placement: Placement,
    volume: &'a Array3<i16>,
}

impl Series<'_> {
    fn file(&self, slice: usize) -> Result<DicomFile, PhantomError> {
        let object = self.identity().with(self.acquisition(slice)).with(self.plane(slice));
        let [columns, rows, _] = self.placement.shape.map(|n| n as u16);
        let object = object
            .texts(&[(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")])
            .shorts(tags::SAMPLES_PER_PIXEL, &[1])
            .shorts(tags::ROWS, &[rows])
            .shorts(tags::COLUMNS, &[columns])
            .shorts(tags::BITS_ALLOCATED, &[16])
            .shorts(tags::BITS_STORED, &[16])
            .shorts(tags::HIGH_BIT, &[15])
            .shorts(tags::PIXEL_REPRESENTATION, &[0])
            .decimals(tags::RESCALE_INTERCEPT, &[f64::from(INTERCEPT_HU)])
            .text(tags::RESCALE_SLOPE, "1")
            .text(tags::RESCALE_TYPE, "HU")
            .pixel_words(self.cells(slice));
        let instance = self.uid(&[self.phase.word.as_bytes(), &slice.to_be_bytes()]);
        let bytes = object
            .file(uids::CT_IMAGE_STORAGE, &instance)
            .map_err(|error| PhantomError::Encode(error.to_string()))?;
        Ok(DicomFile { name: format!("{}-{:04}.dcm", self.phase.word, slice + 1), bytes })
    }

    /// A UID of this phantom.
    fn uid(&self, parts: &[&[u8]]) -> Uid {
        // The debug form names every field of the description, and floats by their shortest text.
        let spec = format!("{:?}", self.spec);
        Uid::derived(&[&[b"phantom", spec.as_bytes()], parts].concat())
    }

    /// Patient, study, series and equipment.
    fn identity(&self) -> Object {
        let name = format!("PHANTOM^{}", self.spec.seed);
        Object::default().texts(&[
            (tags::PATIENT_NAME, &name),
            (tags::PATIENT_ID, &name),
            (tags::PATIENT_BIRTH_DATE, ""),
            (tags::PATIENT_SEX, "M"),
            (tags::QUALITY_CONTROL_SUBJECT, "YES"),
            (tags::STUDY_INSTANCE_UID, self.uid(&[b"study"]).as_str()),
            (tags::STUDY_DATE, DAY),
            (tags::STUDY_TIME, BOLUS_START),
            (tags::STUDY_ID, "1"),
            (tags::STUDY_DESCRIPTION, "synthetic two-phase liver CT"),
            (tags::REFERRING_PHYSICIAN_NAME, ""),
            (tags::ACCESSION_NUMBER, ""),
            (tags::MODALITY, "CT"),
            (tags::SERIES_INSTANCE_UID, self.uid(&[self.phase.word.as_bytes()]).as_str()),
            (tags::SERIES_NUMBER, &self.phase.number.to_string()),
            (tags::SERIES_DESCRIPTION, self.phase.description),
            (tags::BODY_PART_EXAMINED, "ABDOMEN"),
            (tags::PATIENT_POSITION, "HFS"),
            (tags::FRAME_OF_REFERENCE_UID, self.uid(&[b"frame of reference"]).as_str()),
            (tags::POSITION_REFERENCE_INDICATOR, ""),
            (tags::MANUFACTURER, "hcc-edge phantom"),
        ])
    }

    /// When and how the slice was "taken".
    fn acquisition(&self, slice: usize) -> Object {
        Object::default().texts(&[
            (tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL"),
            (tags::INSTANCE_NUMBER, &(slice + 1).to_string()),
            (tags::ACQUISITION_NUMBER, &self.phase.number.to_string()),
            (tags::ACQUISITION_DATE, DAY),
            (tags::ACQUISITION_TIME, self.phase.acquired),
            (tags::CONTENT_DATE, DAY),
            (tags::CONTENT_TIME, self.phase.acquired),
            (tags::KVP, "120"),
            (tags::CONTRAST_BOLUS_AGENT, "synthetic"),
            (tags::CONTRAST_BOLUS_START_TIME, BOLUS_START),
        ])
    }

    /// Where the slice lies: DICOM counts towards Left, Posterior and Superior.
    fn plane(&self, slice: usize) -> Object {
        let Placement { spacing, directions, origin, .. } = &self.placement;
        let [columns, rows, slices] = *directions;
        let along = slice as f64 * spacing[2];
        let position = std::array::from_fn(|axis| origin[axis] + along * slices[axis]);
        Object::default()
            .decimals(tags::IMAGE_ORIENTATION_PATIENT, &[lps(columns), lps(rows)].concat())
            .decimals(tags::IMAGE_POSITION_PATIENT, &lps(position))
            .decimals(tags::PIXEL_SPACING, &[spacing[1], spacing[0]])
            .decimals(tags::SLICE_THICKNESS, &[spacing[2]])
    }

    /// Stored values, row by row.
    fn cells(&self, slice: usize) -> Vec<u16> {
        let [columns, rows, _] = self.placement.shape;
        let axes = self.spec.orientation.axes();
        let mut cells = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let hu = self.volume[array_index(self.volume, axes, [column, row, slice])];
                cells.push((hu - INTERCEPT_HU) as u16);
            }
        }
        cells
    }
}

/// Right and Anterior to Left and Posterior.
fn lps([x, y, z]: [f64; 3]) -> [f64; 3] {
    [-x, -y, z]
}

#[cfg(test)]
mod tests;
