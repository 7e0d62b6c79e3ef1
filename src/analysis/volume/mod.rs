//! Volumes and where they sit in the patient: one type per stage of the data path.
//!
//! | type | values | grid |
//! |---|---|---|
//! | [`HuVolume`] | Hounsfield units | the scan's own voxels, axes flipped and permuted to RAS |
//! | [`ModelVolume`] | normalised network input | resampled |
//! | [`Mask`] | labels 0, 1, 2 | the grid of its `HuVolume` |
//!
//! Every array is `[z, y, x]`, C order, with z growing towards the patient's Superior, y Anterior
//! and x Right, so that the axes of all volumes agree whatever the file's order was.

pub mod geometry;
pub mod kernel;
pub mod resample;
pub mod restore;
pub mod runs;

use ndarray::{Array3, ArrayView3, s};

use crate::units::Bytes;

pub use geometry::Geometry;

/// Hounsfield units on the scan's own grid, `[z, y, x]`, −1024..=3071 (clipped at decoding, and
/// the clipping is reported by the gate).
#[derive(Debug, Clone, PartialEq)]
pub struct HuVolume {
    /// Voxel values in HU.
    pub hu: Array3<i16>,
    /// Where the voxels are, in the RAS-ordered grid and in the file's own.
    pub geometry: Geometry,
}

impl HuVolume {
    /// Memory that the voxels take.
    pub fn bytes(&self) -> Bytes {
        Bytes((self.hu.len() * size_of::<i16>()) as u64)
    }
}

/// A network's input on its own grid, `[z, y, x]`, normalised as the package's manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelVolume {
    /// Normalised values, no unit.
    pub values: Array3<f32>,
    /// Voxel of this grid → voxel of the source `HuVolume`, per axis `[z, y, x]`:
    /// `source = origin + index * step`.
    pub origin: [f64; 3],
    /// See `origin`; in source voxels.
    pub step: [f64; 3],
}

/// Label of background in a [`Mask`].
pub const BACKGROUND: u8 = 0;
/// Label of liver in a [`Mask`].
pub const LIVER: u8 = 1;
/// Label of tumour in a [`Mask`].
pub const TUMOUR: u8 = 2;

/// Labels on the grid of the `HuVolume` they were made from, `[z, y, x]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// [`BACKGROUND`], [`LIVER`] or [`TUMOUR`].
    pub labels: Array3<u8>,
}

/// A half-open box of voxels, `[z, y, x]`: `start[a] <= index < end[a]`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoxelBox {
    /// First voxel inside.
    pub start: [usize; 3],
    /// First voxel outside.
    pub end: [usize; 3],
}

impl VoxelBox {
    /// The smallest box around all of these; `None` without any.
    pub fn around(boxes: impl IntoIterator<Item = Self>) -> Option<Self> {
        boxes.into_iter().reduce(|all, one| Self {
            start: [0, 1, 2].map(|axis| all.start[axis].min(one.start[axis])),
            end: [0, 1, 2].map(|axis| all.end[axis].max(one.end[axis])),
        })
    }

    /// The smallest box around the voxels that are wanted; `None` without any.
    pub fn of_voxels<T: Copy>(
        volume: ArrayView3<'_, T>,
        wanted: impl Fn(T) -> bool,
    ) -> Option<Self> {
        let row_box = |(z, y): (usize, usize)| {
            let row = volume.slice(s![z, y, ..]);
            let first = row.iter().position(|&value| wanted(value))?;
            let last = row.iter().rposition(|&value| wanted(value))?;
            Some(Self { start: [z, y, first], end: [z + 1, y + 1, last + 1] })
        };
        let (slices, rows, _) = volume.dim();
        let places = (0..slices).flat_map(|z| (0..rows).map(move |y| (z, y)));
        Self::around(places.filter_map(row_box))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_holds_every_wanted_voxel_and_no_more() {
        let mut volume = Array3::<u8>::zeros([5, 6, 7]);
        assert_eq!(VoxelBox::of_voxels(volume.view(), |v| v > 0), None);
        volume[[1, 2, 3]] = 1;
        volume[[3, 2, 5]] = 1;
        let expected = VoxelBox { start: [1, 2, 3], end: [4, 3, 6] };
        assert_eq!(VoxelBox::of_voxels(volume.view(), |v| v > 0), Some(expected));
    }
}
