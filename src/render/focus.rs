//! Which part of a study the overview shows.

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
            let around =
                VoxelBox::of_voxels(images.mask.labels.view(), |label| label != BACKGROUND);
            let around = around.unwrap_or(whole(images));
            [0, 1, 2].map(|axis| (around.start[axis] + around.end[axis]) / 2)
        }
    };
    [0, 1, 2].map(|axis| wanted[axis].min(shape[axis] - 1))
}

/// What is worth showing: the patient's body in the focus slice, the liver's height and a margin.
pub(super) fn shown_box(images: &Images, focus: [usize; 3]) -> VoxelBox {
    let spacing = images.portal.geometry.spacing.zyx();
    let slice = images.portal.hu.slice(ndarray::s![focus[0]..focus[0] + 1, .., ..]);
    let mut shown = whole(images);
    if let Some(body) = VoxelBox::of_voxels(slice, |hu| hu > PATIENT_HU) {
        (shown.start[1], shown.end[1]) = (body.start[1], body.end[1]);
        (shown.start[2], shown.end[2]) = (body.start[2], body.end[2]);
    }
    if let Some(liver) = VoxelBox::of_voxels(images.mask.labels.view(), |label| label != BACKGROUND)
    {
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
