//! Volumes and diameters → `measurements.dcm`, a Comprehensive 3D SR that follows TID 1500 "Imaging
//! Measurement Report": a group of TID 1411 for each segment, which it points at.

use dicom_dictionary_std::{tags, uids};

use super::ObjectError;
use super::codes;
use super::identity::{About, MAKER, MEASUREMENTS, SEGMENTATION, long_string};
use super::items::{Relation, code, container, image, number, related, templated, text, uid};
use super::segmentation::{self, source_series};
use super::segments::{Part, Segment};
use crate::analysis::lesions::Lesions;
use crate::dicom::Object;

/// Writes the object.
pub(super) fn write(
    about: &About<'_>,
    segments: &[Segment],
    lesions: &Lesions,
) -> Result<Vec<u8>, ObjectError> {
    let groups = segments.iter().enumerate();
    let groups = groups.map(|(n, segment)| group(about, n + 1, segment, lesions)).collect();
    let mut content = vec![code(Relation::Modifier, codes::LANGUAGE, codes::ENGLISH)];
    content.extend(observer(about));
    content.push(code(Relation::Modifier, codes::PROCEDURE_REPORTED, codes::COMPUTED_TOMOGRAPHY));
    content.push(related(Relation::Contains, container(codes::MEASUREMENTS, groups)));
    let remarks = about.remarks().into_iter();
    content.extend(remarks.map(|said| text(Relation::Contains, codes::COMMENT, &said)));
    let object = about.object(MEASUREMENTS).with(document(about)).with(templated(
        codes::MEASUREMENT_REPORT,
        "1500",
        content,
    ));
    Ok(object.file(uids::COMPREHENSIVE3_DSR_STORAGE, &about.instance(MEASUREMENTS))?)
}

/// The document, and the objects that its content points at. It is partial where the analysis
/// abstained: what would follow from the measurements is not there.
fn document(about: &About<'_>) -> Object {
    let completion = if about.abstained() { "PARTIAL" } else { "COMPLETE" };
    Object::default()
        .texts(&[
            (tags::COMPLETION_FLAG, completion),
            (tags::VERIFICATION_FLAG, "UNVERIFIED"),
            (tags::PRELIMINARY_FLAG, "PRELIMINARY"),
        ])
        .sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new())
        .sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new())
        .item(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, evidence(about))
}

/// The study's objects that are pointed at: the segmentation and the series it was made from.
fn evidence(about: &About<'_>) -> Object {
    let source = source_series(about, tags::REFERENCED_SOP_SEQUENCE);
    let made = Object::default()
        .text(tags::SERIES_INSTANCE_UID, about.series(SEGMENTATION).as_str())
        .item(tags::REFERENCED_SOP_SEQUENCE, segmentation(about));
    Object::default()
        .text(tags::STUDY_INSTANCE_UID, &about.source.study)
        .sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![source, made])
}

/// A reference to the segmentation.
fn segmentation(about: &About<'_>) -> Object {
    Object::default().texts(&[
        (tags::REFERENCED_SOP_CLASS_UID, segmentation::CLASS),
        (tags::REFERENCED_SOP_INSTANCE_UID, about.instance(SEGMENTATION).as_str()),
    ])
}

/// Who observed (TID 1001): this device.
fn observer(about: &About<'_>) -> [Object; 5] {
    let device = about.device_uid();
    [
        code(Relation::Context, codes::OBSERVER_TYPE, codes::DEVICE),
        uid(Relation::Context, codes::DEVICE_UID, device.as_str()),
        text(Relation::Context, codes::DEVICE_NAME, &long_string(&about.run.device)),
        text(Relation::Context, codes::DEVICE_MANUFACTURER, MAKER),
        text(Relation::Context, codes::DEVICE_MODEL, &long_string(&about.run.software)),
    ]
}

/// One volumetric region with its measurements (TID 1411).
fn group(about: &About<'_>, number: usize, segment: &Segment, lesions: &Lesions) -> Object {
    let label = segment.label();
    let (_, finding) = segment.property();
    let referenced = segmentation(about).shorts(tags::REFERENCED_SEGMENT_NUMBER, &[number as u16]);
    let mut content = vec![
        text(Relation::Context, codes::TRACKING_ID, &label),
        uid(Relation::Context, codes::TRACKING_UID, about.uid(&label).as_str()),
        code(Relation::Contains, codes::FINDING, finding),
        text(Relation::Modifier, codes::ALGORITHM_NAME, &long_string(&about.run.segmenter)),
        text(
            Relation::Modifier,
            codes::ALGORITHM_VERSION,
            &long_string(&about.run.segmenter_version),
        ),
        code(Relation::Modifier, codes::FINDING_SITE, codes::LIVER),
        image(codes::REFERENCED_SEGMENT, referenced),
        uid(Relation::Contains, codes::SOURCE_SERIES, &about.source.series),
    ];
    content.extend(measured(segment.part, lesions));
    let group = templated(codes::MEASUREMENT_GROUP, "1411", content);
    related(Relation::Contains, group)
}

/// The numbers of a segment, rounded as in the signed result: to cubic millimetres and micrometres.
fn measured(part: Part, lesions: &Lesions) -> Vec<Object> {
    let volume = |mm3: f64| number(codes::VOLUME, mm3.round(), codes::CUBIC_MILLIMETRE);
    match part {
        Part::Liver => vec![volume(lesions.liver_mm3)],
        Part::Tumour => vec![volume(lesions.tumour_mm3)],
        Part::Lesion(lesion) => lesions.lesions.get(lesion).map_or(Vec::new(), |lesion| {
            let mm = lesion.diameter.micrometres() as f64 / 1000.0;
            vec![number(codes::LONG_AXIS, mm, codes::MILLIMETRE), volume(lesion.volume_mm3)]
        }),
    }
}
