//! The objects of a phantom, read back element by element and put together the slow way.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, from_reader};
use ndarray::Array3;

use super::*;
use crate::analysis::decode::Limits;
use crate::analysis::decode::dicom::survey;
use crate::analysis::lesions::measure;
use crate::analysis::volume::{BACKGROUND, LIVER, TUMOUR};
use crate::phantom::{Orientation, PhantomSpec, Preset, dicom_files, generate};
use crate::units::Spacing;

const LIMITS: Limits = Limits::STANDARD;

/// A portal venous series and what was found on it.
struct Case {
    source: Source,
    geometry: Geometry,
    mask: Mask,
    lesions: Lesions,
}

impl Case {
    /// 33 rows of 35 columns: no slice fills whole bytes.
    fn new(orientation: Orientation) -> Self {
        let spec = PhantomSpec {
            shape: [20, 33, 35],
            spacing: Spacing::new([10.0, 8.5, 9.1]).unwrap(),
            orientation,
            with_arterial: false,
            ..Preset::Small.spec(21)
        };
        let phantom = generate(&spec).unwrap();
        let files: Vec<_> = dicom_files(&phantom).map(|file| file.unwrap().bytes).collect();
        let series = survey(&files, &LIMITS).series.remove(0);
        let source = series.source(&files, &LIMITS).unwrap();
        let (geometry, mask) = (series.geometry().clone(), Mask { labels: phantom.labels });
        let lesions = measure(&mask, &geometry).unwrap();
        Self { source, geometry, mask, lesions }
    }

    fn found(&self) -> Found<'_> {
        let (lesions, mask, geometry) = (Some(&self.lesions), &self.mask, &self.geometry);
        Found { outcome: Outcome::Ok, reasons: &[], lesions, mask, geometry }
    }

    fn objects(&self) -> Objects {
        objects(&run(), &self.source, self.found(), &picture()).unwrap()
    }

    fn segmentation(&self) -> InMemDicomObject {
        read(&self.objects().segmentation.unwrap())
    }

    fn measurements(&self) -> InMemDicomObject {
        read(&self.objects().measurements.unwrap())
    }
}

fn run() -> Run {
    Run {
        result_id: "00112233445566778899aabbccddeeff".to_owned(),
        site: "north".to_owned(),
        device: "ct-3".to_owned(),
        job: "0123456789abcdef".to_owned(),
        software: "hcc-edge 0.1.0".to_owned(),
        segmenter: "liver-tumour".to_owned(),
        segmenter_version: "1.0.0".to_owned(),
        started: "20260304050607".to_owned(),
        demonstration: true,
    }
}

/// 5 x 3 pixels: an odd number of bytes.
fn picture() -> Picture {
    Picture { width: 5, height: 3, rgb: (0..45).collect() }
}

fn read(bytes: &[u8]) -> InMemDicomObject {
    from_reader(bytes).unwrap().into_inner()
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.element(tag).unwrap().items().unwrap()
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned()
}

fn numbers(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

/// The voxels of a segment in the RAS-ordered array: every bit is looked up in its byte, and goes to
/// the voxel nearest to the place that the frame's own position gives it.
fn segment(object: &InMemDicomObject, number: u16, geometry: &Geometry) -> Array3<bool> {
    let bytes = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let size = [tags::ROWS, tags::COLUMNS].map(|tag| numbers(object, tag)[0] as usize);
    let shared = &items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)[0];
    let orientation = &items(shared, tags::PLANE_ORIENTATION_SEQUENCE)[0];
    let orientation = numbers(orientation, tags::IMAGE_ORIENTATION_PATIENT);
    let spacing = numbers(&items(shared, tags::PIXEL_MEASURES_SEQUENCE)[0], tags::PIXEL_SPACING);
    let mut voxels = Array3::from_elem(geometry.shape, false);
    let frames = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    for (frame, groups) in frames.iter().enumerate() {
        let of = &items(groups, tags::SEGMENT_IDENTIFICATION_SEQUENCE)[0];
        if numbers(of, tags::REFERENCED_SEGMENT_NUMBER) != [f64::from(number)] {
            continue;
        }
        let plane = &items(groups, tags::PLANE_POSITION_SEQUENCE)[0];
        let origin = numbers(plane, tags::IMAGE_POSITION_PATIENT);
        for (row, column) in (0..size[0]).flat_map(|r| (0..size[1]).map(move |c| (r, c))) {
            let bit = (frame * size[0] + row) * size[1] + column;
            if bytes[bit / 8] >> (bit % 8) & 1 == 0 {
                continue;
            }
            let lps: [f64; 3] = std::array::from_fn(|axis| {
                origin[axis]
                    + orientation[axis] * spacing[1] * column as f64
                    + orientation[3 + axis] * spacing[0] * row as f64
            });
            let place = geometry.to_voxel([-lps[0], -lps[1], lps[2]]);
            let voxel = place.map(|at| at.round() as usize);
            assert!(place.iter().zip(voxel).all(|(at, voxel)| (at - voxel as f64).abs() < 1e-3));
            voxels[voxel] = true;
        }
    }
    voxels
}

#[test]
fn segments_are_the_mask_in_the_patient_whatever_the_orientation() {
    for letters in ["LPS", "RAS", "ASR", "LSA", "IPR"] {
        let case = Case::new(Orientation::parse(letters).unwrap());
        let object = case.segmentation();
        let voxels = |number| segment(&object, number, &case.geometry);
        let labels = &case.mask.labels;
        assert_eq!(voxels(1), labels.mapv(|label| label != BACKGROUND), "{letters}");
        assert_eq!(voxels(2), labels.mapv(|label| label == TUMOUR), "{letters}");
        let voxel_mm3 = case.geometry.spacing.voxel_mm3();
        assert!(!case.lesions.lesions.is_empty());
        for (number, lesion) in (3..).zip(&case.lesions.lesions) {
            let voxels = voxels(number);
            let count = voxels.iter().filter(|set| **set).count();
            assert_eq!(count as f64 * voxel_mm3, lesion.volume_mm3, "{letters} {number}");
            assert!(voxels.iter().zip(labels).all(|(set, label)| !set || *label == TUMOUR));
        }
        let segments = items(&object, tags::SEGMENT_SEQUENCE);
        assert_eq!(segments.len(), 2 + case.lesions.lesions.len());
        assert_eq!(text(&segments[0], tags::SEGMENT_LABEL), "Liver");
        assert_eq!(text(&segments[1], tags::SEGMENT_LABEL), "Liver tumour");
    }
}

#[test]
fn every_frame_names_the_slice_at_its_place() {
    let case = Case::new(Orientation::LPS);
    let object = case.segmentation();
    let frames = items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    assert_eq!(text(&object, tags::NUMBER_OF_FRAMES), frames.len().to_string());
    for groups in frames {
        let plane = &items(groups, tags::PLANE_POSITION_SEQUENCE)[0];
        let position = numbers(plane, tags::IMAGE_POSITION_PATIENT);
        let derivation = &items(groups, tags::DERIVATION_IMAGE_SEQUENCE)[0];
        let source = &items(derivation, tags::SOURCE_IMAGE_SEQUENCE)[0];
        let instance = text(source, tags::REFERENCED_SOP_INSTANCE_UID);
        let slice = case.source.slices.iter().find(|slice| slice.instance == instance);
        assert_eq!(slice.unwrap().position.to_vec(), position);
        let index =
            numbers(&items(groups, tags::FRAME_CONTENT_SEQUENCE)[0], tags::DIMENSION_INDEX_VALUES);
        let place = index[1] as usize - 1;
        assert_eq!(case.source.slices[place].instance, instance);
    }
    let series = &items(&object, tags::REFERENCED_SERIES_SEQUENCE)[0];
    assert_eq!(items(series, tags::REFERENCED_INSTANCE_SEQUENCE).len(), 20);
}

/// Every content item below `object`, depth first.
fn content(object: &InMemDicomObject) -> Vec<&InMemDicomObject> {
    let children = object.element(tags::CONTENT_SEQUENCE).ok();
    let children = children.and_then(|element| element.items()).unwrap_or_default();
    children.iter().flat_map(|child| [vec![child], content(child)].concat()).collect()
}

fn named(item: &InMemDicomObject) -> String {
    text(&items(item, tags::CONCEPT_NAME_CODE_SEQUENCE)[0], tags::CODE_MEANING)
}

#[test]
fn the_report_has_the_findings_numbers() {
    let case = Case::new(Orientation::LPS);
    let report = case.measurements();
    let values: Vec<(String, f64)> = content(&report)
        .into_iter()
        .filter(|item| text(item, tags::VALUE_TYPE) == "NUM")
        .map(|item| {
            let measured = &items(item, tags::MEASURED_VALUE_SEQUENCE)[0];
            (named(item), numbers(measured, tags::NUMERIC_VALUE)[0])
        })
        .collect();
    let volume = |mm3: f64| ("Volume".to_owned(), mm3.round());
    let mut expected = vec![volume(case.lesions.liver_mm3), volume(case.lesions.tumour_mm3)];
    for lesion in &case.lesions.lesions {
        let mm = (lesion.diameter.get() * 1000.0).round() / 1000.0;
        expected.extend([("Long Axis".to_owned(), mm), volume(lesion.volume_mm3)]);
    }
    assert_eq!(values, expected);
}

fn comments(report: &InMemDicomObject) -> Vec<String> {
    let comments = content(report).into_iter().filter(|item| named(item) == "Comment");
    comments.map(|item| text(item, tags::TEXT_VALUE)).collect()
}

#[test]
fn the_report_says_that_it_is_a_demonstration_and_that_nobody_verified_it() {
    let mut case = Case::new(Orientation::LPS);
    case.source.copied.push((tags::TIMEZONE_OFFSET_FROM_UTC, b"+0100".to_vec()));
    let report = case.measurements();
    assert_eq!(comments(&report).len(), 2);
    assert!(comments(&report)[0].contains("DEMONSTRATION - NOT FOR CLINICAL USE"));
    assert!(comments(&report)[1].contains("Preliminary"));
    assert_eq!(text(&report, tags::COMPLETION_FLAG), "COMPLETE");
    assert_eq!(text(&report, tags::VERIFICATION_FLAG), "UNVERIFIED");
    assert!(text(&report, tags::SERIES_DESCRIPTION).contains("demonstration"));
    let run = Run { demonstration: false, ..run() };
    let found = Found { outcome: Outcome::Abstained, ..case.found() };
    let released = objects(&run, &case.source, found, &picture()).unwrap();
    let released = read(&released.measurements.unwrap());
    assert_eq!(comments(&released).len(), 1);
    assert_eq!(text(&released, tags::COMPLETION_FLAG), "PARTIAL");
}

#[test]
fn every_object_says_that_and_why_the_analysis_abstained() {
    let case = Case::new(Orientation::LPS);
    let reasons = ["There is no arterial phase: send it.", "The liver is cut off: send all of it."];
    let made = |outcome, demonstration| {
        let found = Found { outcome, reasons: &reasons, ..case.found() };
        let run = Run { demonstration, ..run() };
        let made = objects(&run, &case.source, found, &picture()).unwrap();
        [made.segmentation.unwrap(), made.overview, made.measurements.unwrap()].map(|b| read(&b))
    };
    for (outcome, demonstration) in
        [Outcome::Ok, Outcome::Abstained].into_iter().flat_map(|o| [(o, true), (o, false)])
    {
        let abstained = outcome == Outcome::Abstained;
        let [segmentation, capture, report] = made(outcome, demonstration);
        let described = [&segmentation, &capture, &report]
            .map(|object| text(object, tags::SERIES_DESCRIPTION))
            .into_iter()
            .chain([text(&segmentation, tags::CONTENT_DESCRIPTION)]);
        for description in described {
            assert_eq!(description.contains("abstained"), abstained, "{description}");
            assert_eq!(description.contains("demonstration"), demonstration, "{description}");
            assert!(description.contains("unverified") && description.len() <= 64, "{description}");
        }
        let remarks = [
            text(&segmentation, tags::IMAGE_COMMENTS),
            text(&capture, tags::IMAGE_COMMENTS),
            comments(&report).join(" "),
        ];
        for remarks in remarks {
            assert!(remarks.contains("Preliminary"), "{remarks}");
            for reason in reasons {
                let said = format!("The analysis abstained: {reason}");
                assert_eq!(remarks.contains(&said), abstained, "{remarks}");
            }
        }
    }
}

#[test]
fn times_are_said_to_be_in_utc_where_the_scan_names_no_zone() {
    let zone = tags::TIMEZONE_OFFSET_FROM_UTC;
    for (named, contributed, in_utc) in [
        (None, "20260304050607+0000", true),
        (Some("+0530"), "20260304050607+0530", false),
        (Some("-0130"), "20260304050607-0130", false),
        (Some("local"), "20260304050607+0000", true),
    ] {
        let mut case = Case::new(Orientation::LPS);
        case.source.copied.retain(|(tag, _)| *tag != zone);
        case.source.copied.extend(named.map(|named| (zone, named.as_bytes().to_vec())));
        let made = case.objects();
        let report = read(&made.measurements.unwrap());
        assert_eq!(comments(&report).iter().any(|said| said.contains("in UTC")), in_utc);
        for object in [read(&made.segmentation.unwrap()), read(&made.overview), report] {
            // It would be about the times of the study, too.
            assert_eq!(object.element(zone).is_err(), in_utc, "{named:?}");
            let equipment = &items(&object, tags::CONTRIBUTING_EQUIPMENT_SEQUENCE)[0];
            assert_eq!(text(equipment, tags::CONTRIBUTION_DATE_TIME), contributed);
        }
    }
}

/// The picture may show a name whatever the source says of its own pixels.
#[test]
fn a_removed_identity_is_said_to_be_removed_but_not_of_the_picture() {
    let mut case = Case::new(Orientation::LPS);
    let code = |value: &[u8]| vec![(tags::CODE_VALUE, value.to_vec())];
    case.source.copied.push((tags::PATIENT_IDENTITY_REMOVED, b"YES".to_vec()));
    case.source.copied.push((tags::DEIDENTIFICATION_METHOD, b"by hand".to_vec()));
    case.source.deidentification = vec![code(b"113100"), code(b"113105")];
    let made = case.objects();
    for bytes in [made.segmentation.unwrap(), made.measurements.unwrap()] {
        let object = read(&bytes);
        assert_eq!(text(&object, tags::PATIENT_IDENTITY_REMOVED), "YES");
        let codes = items(&object, tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
        let values: Vec<_> = codes.iter().map(|code| text(code, tags::CODE_VALUE)).collect();
        assert_eq!(values, ["113100", "113105"]);
    }
    let picture = read(&made.overview);
    assert_eq!(text(&picture, tags::PATIENT_IDENTITY_REMOVED), "NO");
    assert!(picture.element(tags::DEIDENTIFICATION_METHOD).is_err());
    assert!(picture.element(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).is_err());
    let of_nobody = Case::new(Orientation::LPS).segmentation();
    assert!(of_nobody.element(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).is_err());
}

#[test]
fn the_capture_has_the_pictures_pixels() {
    let object = read(&Case::new(Orientation::LPS).objects().overview);
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    assert_eq!((&pixels[..45], pixels.len()), (&picture().rgb[..], 46));
    assert_eq!(text(&object, tags::BURNED_IN_ANNOTATION), "YES");
}

#[test]
fn all_objects_carry_the_sources_identity_and_uids_of_their_own() {
    let case = Case::new(Orientation::LPS);
    let all = |run: &Run| -> Vec<InMemDicomObject> {
        let made = objects(run, &case.source, case.found(), &picture()).unwrap();
        let files = [made.segmentation.unwrap(), made.overview, made.measurements.unwrap()];
        files.iter().map(|bytes| read(bytes)).collect()
    };
    let own = |objects: &[InMemDicomObject]| -> Vec<String> {
        let tags = [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
        objects.iter().flat_map(|object| tags.map(|tag| text(object, tag))).collect()
    };
    let first = all(&run());
    for object in &first {
        assert_eq!(text(object, tags::PATIENT_NAME), "PHANTOM^21");
        assert_eq!(text(object, tags::PATIENT_ID), "PHANTOM^21");
        assert_eq!(text(object, tags::STUDY_INSTANCE_UID), case.source.study);
        assert_eq!(text(object, tags::CONTENT_DATE), "20260304");
        assert_eq!(text(object, tags::CONTENT_TIME), "050607");
    }
    let uids = own(&first);
    let different: std::collections::BTreeSet<_> = uids.iter().collect();
    assert_eq!(different.len(), 6);
    assert_eq!(own(&all(&run())), uids);
    // The same study at another time, as another job, or on another device: other objects.
    let other = || "9".to_owned();
    for another in [
        Run { result_id: other(), ..run() },
        Run { site: other(), ..run() },
        Run { device: other(), ..run() },
        Run { job: other(), ..run() },
        Run { started: "20260304050608".to_owned(), ..run() },
    ] {
        assert!(own(&all(&another)).iter().all(|uid| !uids.contains(uid)), "{another:?}");
    }
}

#[test]
fn a_missing_identity_stays_empty_and_a_missing_frame_of_reference_is_the_series_own() {
    let mut case = Case::new(Orientation::LPS);
    case.source.copied.retain(|(tag, _)| *tag != tags::PATIENT_NAME);
    case.source.frame_of_reference = None;
    let object = case.segmentation();
    assert_eq!(text(&object, tags::PATIENT_NAME), "");
    assert!(text(&object, tags::FRAME_OF_REFERENCE_UID).starts_with("2.25."));
}

#[test]
fn without_a_liver_there_is_the_picture_alone() {
    let mut case = Case::new(Orientation::LPS);
    case.mask.labels.fill(BACKGROUND);
    case.lesions = measure(&case.mask, &case.geometry).unwrap();
    let made = case.objects();
    assert!(made.segmentation.is_none() && made.measurements.is_none());
    assert!(!made.overview.is_empty());
}

#[test]
fn findings_of_another_scan_are_refused() {
    let mut case = Case::new(Orientation::LPS);
    case.source.slices.pop();
    let made = objects(&run(), &case.source, case.found(), &picture());
    let expected = ObjectError::Shape { what: "the number of slices", found: 20, expected: 19 };
    assert_eq!(made.err(), Some(expected));
    let mut case = Case::new(Orientation::LPS);
    case.mask.labels.mapv_inplace(|label| label.min(LIVER));
    let made = objects(&run(), &case.source, case.found(), &picture());
    assert_eq!(made.err(), Some(ObjectError::Lesion { number: 1 }));
}
