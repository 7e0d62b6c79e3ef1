//! Segments → `segmentation.dcm`, a Segmentation (PS3.3 A.51) on the source series' own grid: one frame
//! for each slice in which a segment has voxels.

use std::collections::BTreeSet;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::ObjectError;
use super::bits::Bits;
use super::codes;
use super::identity::{About, SEGMENTATION, long_string};
use super::lab::cielab;
use super::segments::Segment;
use crate::analysis::decode::dicom::source::SourceSlice;
use crate::analysis::volume::geometry::StoredGrid;
use crate::analysis::volume::runs::Run;
use crate::dicom::Object;

/// The class of the object.
pub(super) const CLASS: &str = uids::SEGMENTATION_STORAGE;

/// Longest segmentation, in bytes: 4000 frames of 512 x 512, where a thick liver in thin slices with 32
/// lesions has half as many. All artefacts of a result have a limit of their own, and to go over it
/// would cost the result.
pub(super) const MOST_BYTES: u64 = 128 << 20;

/// What a frame takes beside its pixels: where it lies and what it refers to.
const FRAME_BYTES: u64 = 1024;

/// Writes the object.
pub(super) fn write(
    about: &About<'_>,
    grid: &StoredGrid,
    segments: &[Segment],
) -> Result<Vec<u8>, ObjectError> {
    let (found, expected) = (grid.shape[2], about.source.slices.len());
    if found != expected {
        return Err(ObjectError::Shape { what: "the number of slices", found, expected });
    }
    let frames = frames(grid, segments);
    check_size(grid.shape, frames.len())?;
    let groups = frames.iter().map(|frame| functional_groups(about, *frame)).collect();
    let object = about
        .object(SEGMENTATION)
        .with(image(about, grid, frames.len()))
        .with(dimensions(about))
        .item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared(about))
        .sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, groups)
        .sequence(tags::SEGMENT_SEQUENCE, descriptions(about, segments))
        .item(
            tags::REFERENCED_SERIES_SEQUENCE,
            source_series(about, tags::REFERENCED_INSTANCE_SEQUENCE),
        )
        .pixel_bytes(pixels(grid, segments, &frames));
    Ok(object.file(CLASS, &about.instance(SEGMENTATION))?)
}

/// Refuses what would be longer than the limit, before anything of that size is made.
fn check_size([columns, rows, _]: [usize; 3], frames: usize) -> Result<(), ObjectError> {
    let frame_bytes = ((rows * columns) as u64).div_ceil(8) + FRAME_BYTES;
    let found = (frames as u64).saturating_mul(frame_bytes);
    if found > MOST_BYTES {
        let limit = MOST_BYTES;
        return Err(ObjectError::TooLarge { frames, found, limit });
    }
    Ok(())
}

/// A frame: the slice of the stored grid, from 0, and the number of the segment, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    slice: usize,
    segment: usize,
}

/// Segment by segment, each in the series' order of slices.
fn frames(grid: &StoredGrid, segments: &[Segment]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (n, segment) in segments.iter().enumerate() {
        let mut touched = vec![false; grid.shape[2]];
        for [.., slice] in segment.runs.iter().flat_map(|run| voxels(grid, run)) {
            touched[slice] = true;
        }
        let slices = (0..touched.len()).filter(|slice| touched[*slice]);
        frames.extend(slices.map(|slice| Frame { slice, segment: n + 1 }));
    }
    frames
}

/// The voxels of a run as `[column, row, slice]` of the stored grid.
fn voxels(grid: &StoredGrid, run: &Run) -> impl Iterator<Item = [usize; 3]> + use<> {
    let (axes, shape) = (grid.axes, grid.shape);
    let (z, y) = (run.z, run.y);
    (run.start..run.end).map(move |x| {
        let mut file = [0; 3];
        for (stored, at) in axes.into_iter().zip([z, y, x]) {
            let last = shape[stored.file_axis] - 1;
            file[stored.file_axis] = if stored.reversed { last - at } else { at };
        }
        file
    })
}

fn pixels(grid: &StoredGrid, segments: &[Segment], frames: &[Frame]) -> Vec<u8> {
    let [columns, rows, slices] = grid.shape;
    let mut bits = Bits::new(frames.len() * rows * columns);
    for (n, segment) in segments.iter().enumerate() {
        let mut places = vec![0; slices];
        for (place, frame) in frames.iter().enumerate().filter(|(_, f)| f.segment == n + 1) {
            places[frame.slice] = place;
        }
        for [column, row, slice] in segment.runs.iter().flat_map(|run| voxels(grid, run)) {
            bits.set((places[slice] * rows + row) * columns + column);
        }
    }
    bits.into_bytes()
}

/// The modules of the image itself.
fn image(about: &About<'_>, grid: &StoredGrid, frames: usize) -> Object {
    let [columns, rows, _] = grid.shape.map(|n| n as u16);
    Object::default()
        .texts(&[
            (tags::IMAGE_TYPE, "DERIVED\\PRIMARY"),
            (tags::FRAME_OF_REFERENCE_UID, &about.frame_of_reference()),
            (tags::POSITION_REFERENCE_INDICATOR, ""),
            (tags::NUMBER_OF_FRAMES, &frames.to_string()),
            (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
            (tags::BURNED_IN_ANNOTATION, "NO"),
            (tags::LOSSY_IMAGE_COMPRESSION, "00"),
            (tags::SEGMENTATION_TYPE, "BINARY"),
            (tags::SEGMENTS_OVERLAP, "YES"),
            (tags::CONTENT_LABEL, "LIVER_TUMOUR"),
            (tags::CONTENT_DESCRIPTION, &about.described("Liver, tumour, lesions")),
            (tags::IMAGE_COMMENTS, &about.image_comments()),
            (tags::CONTENT_CREATOR_NAME, ""),
        ])
        .shorts(tags::SAMPLES_PER_PIXEL, &[1])
        .shorts(tags::ROWS, &[rows])
        .shorts(tags::COLUMNS, &[columns])
        .shorts(tags::BITS_ALLOCATED, &[1])
        .shorts(tags::BITS_STORED, &[1])
        .shorts(tags::HIGH_BIT, &[0])
        .shorts(tags::PIXEL_REPRESENTATION, &[0])
}

/// Frames are told apart by segment and by position.
fn dimensions(about: &About<'_>) -> Object {
    let uid = about.uid("dimensions");
    let organisation = Object::default().text(tags::DIMENSION_ORGANIZATION_UID, uid.as_str());
    let index = |pointer, group, label| {
        organisation
            .clone()
            .tags(tags::DIMENSION_INDEX_POINTER, &[pointer])
            .tags(tags::FUNCTIONAL_GROUP_POINTER, &[group])
            .text(tags::DIMENSION_DESCRIPTION_LABEL, label)
    };
    let segment = index(
        tags::REFERENCED_SEGMENT_NUMBER,
        tags::SEGMENT_IDENTIFICATION_SEQUENCE,
        "Referenced Segment Number",
    );
    let position = index(
        tags::IMAGE_POSITION_PATIENT,
        tags::PLANE_POSITION_SEQUENCE,
        "Image Position Patient",
    );
    Object::default()
        .item(tags::DIMENSION_ORGANIZATION_SEQUENCE, organisation)
        .sequence(tags::DIMENSION_INDEX_SEQUENCE, vec![segment, position])
}

/// What all frames share: orientation and spacing.
fn shared(about: &About<'_>) -> Object {
    let source = about.source;
    let spacing_mm = slice_spacing_mm(&source.slices);
    let orientation =
        Object::default().decimals(tags::IMAGE_ORIENTATION_PATIENT, &source.orientation);
    let measures = Object::default()
        .decimals(tags::PIXEL_SPACING, &source.pixel_spacing)
        .decimals(tags::SLICE_THICKNESS, &[spacing_mm])
        .decimals(tags::SPACING_BETWEEN_SLICES, &[spacing_mm]);
    Object::default()
        .item(tags::PLANE_ORIENTATION_SEQUENCE, orientation)
        .item(tags::PIXEL_MEASURES_SEQUENCE, measures)
}

/// The mean distance of neighbouring slices, which the reader has found to be equal.
fn slice_spacing_mm(slices: &[SourceSlice]) -> f64 {
    let (Some(first), Some(last)) = (slices.first(), slices.last()) else { return 0.0 };
    let squares = first.position.iter().zip(last.position).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>().sqrt() / slices.len().saturating_sub(1).max(1) as f64
}

/// What a frame has of its own: where it lies, which segment it is of, and which slice it comes from.
fn functional_groups(about: &About<'_>, frame: Frame) -> Object {
    let slice = &about.source.slices[frame.slice];
    let segment = frame.segment as u16;
    let content = Object::default()
        .longs(tags::DIMENSION_INDEX_VALUES, &[u32::from(segment), frame.slice as u32 + 1]);
    let position = Object::default().decimals(tags::IMAGE_POSITION_PATIENT, &slice.position);
    let identification = Object::default().shorts(tags::REFERENCED_SEGMENT_NUMBER, &[segment]);
    let source = reference(slice, true)
        .text(tags::SPATIAL_LOCATIONS_PRESERVED, "YES")
        .item(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::SOURCE_IMAGE.item());
    let derivation = Object::default()
        .item(tags::SOURCE_IMAGE_SEQUENCE, source)
        .item(tags::DERIVATION_CODE_SEQUENCE, codes::SEGMENTATION.item());
    Object::default()
        .item(tags::FRAME_CONTENT_SEQUENCE, content)
        .item(tags::PLANE_POSITION_SEQUENCE, position)
        .item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, identification)
        .item(tags::DERIVATION_IMAGE_SEQUENCE, derivation)
}

/// A reference to the object of a slice, and to its frame where that is asked for.
pub(super) fn reference(slice: &SourceSlice, with_frame: bool) -> Object {
    let object = Object::default().texts(&[
        (tags::REFERENCED_SOP_CLASS_UID, &slice.class),
        (tags::REFERENCED_SOP_INSTANCE_UID, &slice.instance),
    ]);
    match slice.frame.filter(|_| with_frame) {
        Some(frame) => object.text(tags::REFERENCED_FRAME_NUMBER, &frame.to_string()),
        None => object,
    }
}

/// The source series with its objects, each once, in the sequence `listed_in`.
pub(super) fn source_series(about: &About<'_>, listed_in: Tag) -> Object {
    let mut seen = BTreeSet::new();
    let slices = about.source.slices.iter().filter(|slice| seen.insert(&slice.instance));
    let instances = slices.map(|slice| reference(slice, false)).collect();
    Object::default()
        .text(tags::SERIES_INSTANCE_UID, &about.source.series)
        .sequence(listed_in, instances)
}

fn descriptions(about: &About<'_>, segments: &[Segment]) -> Vec<Object> {
    let algorithm = Object::default()
        .item(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, codes::ARTIFICIAL_INTELLIGENCE.item())
        .text(tags::ALGORITHM_NAME, &long_string(&about.run.segmenter))
        .text(tags::ALGORITHM_VERSION, &long_string(&about.run.segmenter_version));
    let description = |(n, segment): (usize, &Segment)| {
        let (category, property) = segment.property();
        let label = segment.label();
        Object::default()
            .shorts(tags::SEGMENT_NUMBER, &[n as u16 + 1])
            .texts(&[
                (tags::SEGMENT_LABEL, &label),
                (tags::SEGMENT_ALGORITHM_TYPE, "AUTOMATIC"),
                (tags::SEGMENT_ALGORITHM_NAME, &long_string(&about.run.segmenter)),
                (tags::TRACKING_ID, &label),
                (tags::TRACKING_UID, about.uid(&label).as_str()),
            ])
            .shorts(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &cielab(segment.colour()))
            .item(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, algorithm.clone())
            .item(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, category.item())
            .item(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, property.item())
            .item(tags::ANATOMIC_REGION_SEQUENCE, codes::LIVER.item())
    };
    segments.iter().enumerate().map(description).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segmentation_has_at_most_the_bytes_of_its_limit() {
        // 512 x 512 bits and 1024 bytes are 33,792 bytes: 3971 of them are within 128 MiB.
        let shape = [512, 512, 640];
        assert_eq!(check_size(shape, 3971), Ok(()));
        let found = 3972 * 33_792;
        let refused = ObjectError::TooLarge { frames: 3972, found, limit: 134_217_728 };
        assert_eq!(check_size(shape, 3972), Err(refused.clone()));
        let said = refused.to_string();
        assert!(said.contains("3972 frames") && said.contains("134217728 bytes"), "{said}");
    }
}
