//! Which series of a folder become the two phases.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use ndarray::{Array3, s};

use super::*;
use crate::analysis::decode::Limits;
use crate::analysis::decode::dicom::fixture::FileSpec;
use crate::analysis::pmn::{HeatMap, Risk};
use crate::analysis::volume::{BACKGROUND, LIVER, Mask, VoxelBox};
use crate::units::Bytes;

const SLICES: usize = 24;
const ROWS: usize = 90;
const COLUMNS: usize = 100;
const SETTINGS: Settings = Settings {
    limits: Limits { file: Bytes(1 << 20), voxels: 1 << 20 },
    threads: 2,
    keep_source: false,
};

/// Aorta and liver, HU.
const ARTERIAL: [i16; 2] = [300, 70];
const PORTAL: [i16; 2] = [150, 110];
const PLAIN: [i16; 2] = [45, 55];

/// What is known of a series beside its pixels.
#[derive(Clone, Copy)]
struct Header {
    description: &'static str,
    uid: &'static str,
    frame: &'static str,
    patient: &'static str,
    slices: usize,
}

const HEADER: Header =
    Header { description: "", uid: "1.2.3", frame: "1.2.9", patient: "7", slices: SLICES };

/// Axial slices of a body with an aorta and a liver, 3 mm pixels, 5 mm apart.
fn series(header: Header, [aorta, liver]: [i16; 2]) -> Vec<Vec<u8>> {
    let cells: Vec<u16> = (0..ROWS * COLUMNS)
        .map(|n| {
            // DICOM rows run to the back.
            let (y, x) = ((n / COLUMNS) as f64, (n % COLUMNS) as f64);
            let hu = if !(8.0..80.0).contains(&y) || !(10.0..90.0).contains(&x) {
                -1000
            } else if (y - 55.0).hypot(x - 54.0) <= 4.0 {
                aorta
            } else if (y - 36.0).hypot(x - 30.0) <= 17.0 {
                liver
            } else if (y - 71.0).hypot(x - 50.0) <= 4.0 {
                400
            } else {
                45
            };
            (hu + 1024) as u16
        })
        .collect();
    (0..header.slices)
        .map(|n| {
            FileSpec::axial(0.0)
                .number(tags::ROWS, ROWS as u16)
                .number(tags::COLUMNS, COLUMNS as u16)
                .text(tags::PIXEL_SPACING, VR::DS, "3\\3")
                .text(tags::SERIES_DESCRIPTION, VR::LO, header.description)
                .text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.1")
                .text(tags::SERIES_INSTANCE_UID, VR::UI, header.uid)
                .text(tags::PATIENT_ID, VR::LO, header.patient)
                .text(tags::FRAME_OF_REFERENCE_UID, VR::UI, header.frame)
                .at([-150.0, -135.0, 5.0 * n as f64])
                .file(&cells)
        })
        .collect()
}

fn arterial() -> Vec<Vec<u8>> {
    series(Header { description: "arterial", uid: "1.2.3", ..HEADER }, ARTERIAL)
}

fn portal() -> Vec<Vec<u8>> {
    series(Header { description: "portal", uid: "1.2.4", ..HEADER }, PORTAL)
}

fn unnamed(uid: &'static str, hu: [i16; 2]) -> Vec<Vec<u8>> {
    series(Header { uid, ..HEADER }, hu)
}

/// Knows where the liver is, when there is one, and nothing else.
struct Localiser {
    liver: bool,
}

impl Networks for Localiser {
    type Error = std::convert::Infallible;

    fn locate_liver(&self, _: &HuVolume) -> Result<Option<VoxelBox>, Self::Error> {
        let liver = VoxelBox { start: [1, 36, 52], end: [SLICES - 1, 71, 87] };
        Ok(self.liver.then_some(liver))
    }

    fn segment(
        &self,
        volume: &HuVolume,
        VoxelBox { start: [_, top, left], end: [_, bottom, right] }: VoxelBox,
        _: Bytes,
        _: &mut dyn FnMut(u8),
    ) -> Result<Mask, Self::Error> {
        let mut labels = Array3::from_elem(volume.geometry.shape, BACKGROUND);
        let middle = s![.., top + 8..bottom - 8, left + 8..right - 8];
        labels.slice_mut(middle).fill(LIVER);
        Ok(Mask { labels })
    }

    fn classify(
        &self,
        _: &HuVolume,
        _: &HuVolume,
        _: &Mask,
    ) -> Result<(Risk, HeatMap), Self::Error> {
        unreachable!("no series is classified to be named")
    }
}

fn read_with(
    files: &[Vec<Vec<u8>>],
    named: &NamedSeries,
    liver: bool,
) -> Result<Phases, Vec<Reason>> {
    match read(files.concat(), named, &Localiser { liver }, &SETTINGS) {
        Ok(phases) => Ok(phases),
        Err(Unread::Files(reasons)) => Err(reasons),
        Err(Unread::Network(never)) => match never {},
    }
}

fn phases(files: &[Vec<Vec<u8>>]) -> Phases {
    read_with(files, &NamedSeries::default(), true).unwrap()
}

/// The density where the aorta is, which tells the volumes apart.
fn aorta(decoded: &Option<Decoded>) -> Option<i16> {
    // Row 55 of 90 from the front is row 34 from the back; column 54 from the right of the patient
    // is column 45 from the left.
    decoded.as_ref().map(|decoded| decoded.volume.hu[[3, ROWS - 1 - 55, COLUMNS - 1 - 54]])
}

fn used(phases: &Phases) -> Vec<Option<ImageName>> {
    phases.series.as_ref().unwrap().series.iter().map(|seen| seen.used).collect()
}

#[test]
fn described_series_are_taken_by_their_words() {
    let plain = Header { description: "nativ", uid: "1.2.5", ..HEADER };
    let found = phases(&[portal(), series(plain, PLAIN), arterial()]);
    assert_eq!((aorta(&found.arterial), aorta(&found.portal)), (Some(300), Some(150)));
    assert_eq!(found.problems, []);
    let mut used = used(&found);
    used.sort_by_key(|used| format!("{used:?}"));
    assert_eq!(used, [None, Some(ImageName::Arterial), Some(ImageName::Portal)]);
}

#[test]
fn the_source_kept_is_the_portal_series_and_only_when_it_is_asked_for() {
    let files = [portal(), arterial()];
    assert_eq!(phases(&files).source, None);
    let settings = Settings { keep_source: true, ..SETTINGS };
    let source = |files: &[Vec<Vec<u8>>]| {
        let named = NamedSeries::default();
        let read = read(files.concat(), &named, &Localiser { liver: true }, &settings);
        read.ok().unwrap().source
    };
    let kept = source(&files).unwrap().unwrap();
    assert_eq!((&*kept.series, kept.slices.len()), ("1.2.4", SLICES));
    assert_eq!(source(&[arterial()]), None);
}

#[test]
fn series_that_nothing_names_are_looked_at() {
    let found = phases(&[unnamed("1.2.3", PORTAL), unnamed("1.2.4", ARTERIAL)]);
    assert_eq!((aorta(&found.arterial), aorta(&found.portal)), (Some(300), Some(150)));
    assert_eq!(found.problems, []);
    let report = found.series.unwrap();
    let words: Vec<String> = report.series.iter().map(ToString::to_string).collect();
    assert!(
        words.iter().any(|text| text.contains("arterial by its contrast; aorta 300 HU")),
        "{words:?}"
    );
    let alone = phases(&[unnamed("1.2.3", PORTAL)]);
    assert_eq!((aorta(&alone.arterial), aorta(&alone.portal)), (None, Some(150)));
    let seen = "1 portal venous".to_owned();
    assert_eq!(alone.problems, [PhaseProblem::Missing { image: ImageName::Arterial, seen }]);
}

#[test]
fn an_image_settles_what_attributes_dispute_but_never_overrules_them() {
    let disputed = |hu| {
        let header = Header { description: "arterial portal", uid: "1.2.5", ..HEADER };
        phases(&[series(header, hu), portal()])
    };
    assert_eq!(aorta(&disputed(ARTERIAL).arterial), Some(300));
    let plain = disputed(PLAIN);
    assert_eq!(aorta(&plain.arterial), None);
    let seen = "1 portal venous, 1 of no clear phase (no bright aorta, liver 55 HU)".to_owned();
    let expected = PhaseProblem::Unclear { image: ImageName::Arterial, count: 1, seen };
    assert_eq!(plain.problems, [expected]);
}

#[test]
fn what_cannot_be_looked_at_stays_unnamed() {
    let files = [unnamed("1.2.3", PORTAL)];
    let found = read_with(&files, &NamedSeries::default(), false).unwrap();
    assert!(found.arterial.is_none() && found.portal.is_none());
    assert_eq!(found.problems.len(), 2);
    assert_eq!(found.series.unwrap().in_short(), "1 of no clear phase");
}

#[test]
fn study_json_has_the_last_word() {
    let files = [arterial(), portal()];
    let file = |n| Some(SeriesName::File(n));
    let uid = |uid: &str| Some(SeriesName::Uid(uid.to_owned()));
    let swapped = NamedSeries { arterial: uid("1.2.4"), portal: file(3) };
    let found = read_with(&files, &swapped, true).unwrap();
    assert_eq!((aorta(&found.arterial), aorta(&found.portal)), (Some(150), Some(300)));
    assert_eq!(found.problems, []);
    let absent = NamedSeries { arterial: uid("1.2.40"), portal: None };
    let found = read_with(&files, &absent, true).unwrap();
    assert_eq!((aorta(&found.arterial), aorta(&found.portal)), (None, Some(150)));
    let seen = "1 arterial, 1 portal venous".to_owned();
    assert_eq!(found.problems, [PhaseProblem::NotThere { image: ImageName::Arterial, seen }]);
}

#[test]
fn a_missing_phase_comes_with_the_series_that_may_be_it() {
    let mut gap = arterial();
    gap.remove(9);
    let found = phases(&[gap, portal()]);
    assert_eq!(aorta(&found.portal), Some(150));
    let [PhaseProblem::Missing { image: ImageName::Arterial, seen }, refused] = &found.problems[..]
    else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(seen, "1 portal venous, 1 refused");
    let gap = "a series of 23 slices: 10.00 mm from slice 9 of 23 to the next";
    assert!(refused.to_string().starts_with(gap), "{refused}");
    // A test bolus is no phase.
    let bolus = Header { description: "bolus", uid: "1.2.6", slices: 5, ..HEADER };
    assert_eq!(phases(&[series(bolus, PLAIN), portal()]).problems.len(), 1);
}

#[test]
fn nothing_usable_says_why() {
    let few = read_with(&[portal()[..15].to_vec()], &NamedSeries::default(), true).unwrap_err();
    let expected = DicomError::TooFew { what: "slices", found: 15, least: 16 };
    assert_eq!(few, [Reason::Series(expected)]);
    let segmentation = FileSpec::axial(0.0)
        .text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.66.4")
        .headless();
    let none = read_with(&[vec![segmentation]], &NamedSeries::default(), true).unwrap_err();
    assert_eq!(none, [Reason::Series(DicomError::NoSeries)]);
    let lost = read_with(&[vec![b"DICM".to_vec()]], &NamedSeries::default(), true).unwrap_err();
    assert_eq!(lost, [Reason::Series(DicomError::NoSeries)]);
}

#[test]
fn phases_of_two_spaces_do_not_match() {
    let moved = Header { description: "arterial", frame: "1.2.10", ..HEADER };
    let found = phases(&[series(moved, ARTERIAL), portal()]);
    assert_eq!(found.problems, [PhaseProblem::FramesOfReference]);
    assert!(found.arterial.is_some() && found.portal.is_some());
}

#[test]
fn phases_of_two_patients_do_not_match() {
    let other = Header { description: "arterial", patient: "8", ..HEADER };
    let found = phases(&[series(other, ARTERIAL), portal()]);
    assert_eq!(found.problems, [PhaseProblem::Patients]);
    assert_eq!(found.subject, Subject::new("7"), "the portal venous phase names the patient");
    let unnamed = Header { description: "arterial", patient: "", ..HEADER };
    assert_eq!(phases(&[series(unnamed, ARTERIAL), portal()]).problems, []);
    // One series UID for the slices of two people does not make them one volume.
    let mixed: Vec<Vec<u8>> = series(HEADER, PORTAL)
        .into_iter()
        .zip(series(Header { patient: "8", ..HEADER }, PORTAL))
        .enumerate()
        .map(|(n, (seven, eight))| if n < 12 { seven } else { eight })
        .collect();
    assert!(read_with(&[mixed], &NamedSeries::default(), true).is_err());
}
