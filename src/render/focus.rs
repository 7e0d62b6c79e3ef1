//! Which part of a study the overview shows.

use ndarray::Array3;

use crate::analysis::findings::Images;
use crate::analysis::lesions::Lesion;
use crate::analysis::volume::{BACKGROUND, VoxelBox};

/// Tissue denser than this belongs to the patient, not to fat, air or the couch.
const PATIENT_HU: i16 = -30;
/// Shown beyond the densest tissue, for skin and fat.
const PATIENT_MARGIN_MM: f64 = 12.0;
/// Shown above and below the liver.
const LIVER_MARGIN_MM: f64 = 35.0;

/// The voxel `[z, y, x]` all planes go through: in the slice of the largest diameter, its middle;
/// without a tumour the middle of the liver, without a liver the middle of the scan.
pub(super) fn focus(images: &Images, lesion: Option<&Lesion>) -> [usize; 3] {
    let shape = images.portal.hu.shape();
    let wanted = match lesion {
        Some(lesion) => {
            let middle = |axis: usize| (lesion.ends[0][axis] + lesion.ends[1][axis]) / 2.0;
            // A negative or non-finite end becomes 0 in the cast; the clamp below does the rest.
            [lesion.slice, middle(0).round() as usize, middle(1).round() as usize]
        }
        None => {
            let around = bounds(&images.mask.labels, |label| label != BACKGROUND);
            let around = around.unwrap_or(whole(images));
            [0, 1, 2].map(|axis| (around.start[axis] + around.end[axis]) / 2)
        }
    };
    [0, 1, 2].map(|axis| wanted[axis].min(shape[axis] - 1))
}

/// What is worth showing: the patient's body in the focus slice, the liver's height and a margin.
pub(super) fn shown_box(images: &Images, focus: [usize; 3]) -> VoxelBox {
    let spacing = images.portal.geometry.spacing.zyx();
    let slice = images.portal.hu.slice(ndarray::s![focus[0]..focus[0] + 1, .., ..]).to_owned();
    let mut shown = whole(images);
    if let Some(body) = bounds(&slice, |hu| hu > PATIENT_HU) {
        (shown.start[1], shown.end[1]) = (body.start[1], body.end[1]);
        (shown.start[2], shown.end[2]) = (body.start[2], body.end[2]);
    }
    if let Some(liver) = bounds(&images.mask.labels, |label| label != BACKGROUND) {
        (shown.start[0], shown.end[0]) = (liver.start[0], liver.end[0]);
        for axis in [1, 2] {
            shown.start[axis] = shown.start[axis].min(liver.start[axis]);
            shown.end[axis] = shown.end[axis].max(liver.end[axis]);
        }
    }
    for (axis, spacing_mm) in spacing.into_iter().enumerate() {
        let margin_mm = if axis == 0 { LIVER_MARGIN_MM } else { PATIENT_MARGIN_MM };
        let margin = (margin_mm / spacing_mm).ceil() as usize;
        shown.start[axis] = shown.start[axis].saturating_sub(margin);
        shown.end[axis] = (shown.end[axis] + margin).min(images.portal.hu.shape()[axis]);
    }
    shown
}

fn whole(images: &Images) -> VoxelBox {
    let shape = images.portal.hu.shape();
    VoxelBox { start: [0; 3], end: [shape[0], shape[1], shape[2]] }
}

/// The box around the voxels that are wanted.
fn bounds<T: Copy>(volume: &Array3<T>, wanted: impl Fn(T) -> bool) -> Option<VoxelBox> {
    let mut found: Option<VoxelBox> = None;
    for ((z, y, x), value) in volume.indexed_iter() {
        if wanted(*value) {
            let index = [z, y, x];
            let around = found.get_or_insert(VoxelBox { start: index, end: index.map(|i| i + 1) });
            for (axis, at) in index.into_iter().enumerate() {
                around.start[axis] = around.start[axis].min(at);
                around.end[axis] = around.end[axis].max(at + 1);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_every_wanted_voxel_and_no_more() {
        let mut volume = Array3::<u8>::zeros([5, 6, 7]);
        assert_eq!(bounds(&volume, |v| v > 0), None);
        volume[[1, 2, 3]] = 1;
        volume[[3, 2, 5]] = 1;
        let expected = VoxelBox { start: [1, 2, 3], end: [4, 3, 6] };
        assert_eq!(bounds(&volume, |v| v > 0), Some(expected));
    }
}
