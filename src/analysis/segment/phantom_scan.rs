//! A scan for this folder's tests: a liver block with a tumour block on an empty background.

use ndarray::Array3;

use crate::analysis::volume::geometry::{StoredAxis, StoredGrid};
use crate::analysis::volume::{Geometry, HuVolume, VoxelBox};
use crate::units::Spacing;

/// HU in the half-open boxes, later ones over earlier ones; `background` elsewhere.
pub(in crate::analysis) fn scan(
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    background: i16,
    boxes: &[(VoxelBox, i16)],
) -> HuVolume {
    let hu = Array3::from_shape_fn(shape, |(z, y, x)| {
        let inside = |region: &VoxelBox| {
            (0..3).all(|a| (region.start[a]..region.end[a]).contains(&[z, y, x][a]))
        };
        boxes.iter().rev().find(|(region, _)| inside(region)).map_or(background, |&(_, hu)| hu)
    });
    let axes = [2, 1, 0].map(|file_axis| StoredAxis { file_axis, reversed: false });
    let [z, y, x] = spacing_mm;
    HuVolume {
        hu,
        geometry: Geometry {
            shape,
            spacing: Spacing::new(spacing_mm).unwrap(),
            voxel_to_world: [[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]],
            stored: StoredGrid { shape: [shape[2], shape[1], shape[0]], axes, header: Vec::new() },
        },
    }
}
