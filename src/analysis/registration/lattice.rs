//! The points at which the phases are compared: a box of points at one distance round the liver,
//! along the axes of the portal venous grid.

use ndarray::{Array3, s};

use super::CELL;
use crate::analysis::threads::planes;
use crate::analysis::volume::resample::trilinear;
use crate::analysis::volume::{BACKGROUND, HuVolume, Mask, VoxelBox};

/// Densities are clipped to this: lung and gas are one edge against the liver, and neither ribs, which
/// stay, nor vessels, which are another density in the other phase, outweigh it.
const CLIPPED_HU: (i16, i16) = (-150, 150);
/// The highest value of a point; the lowest is 0.
pub(super) const HIGHEST: i16 = CLIPPED_HU.1 - CLIPPED_HU.0;
/// Points along an axis of a cell in which liver is looked for: what surrounds the liver counts for one
/// to two cells. More of it would be ribs and wall, which stay.
const BAND: usize = 2;
/// A point that does not count: outside the image, or not near the liver.
const NOWHERE: i16 = -1;

/// A box of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lattice {
    /// Position of the first point on the portal venous grid, `[z, y, x]`.
    origin: [f64; 3],
    /// From one point to the next, in voxels of that grid.
    step: [f64; 3],
    /// Points along each axis, a multiple of [`CELL`].
    shape: [usize; 3],
}

impl Lattice {
    /// Points `step_mm` apart round a box, with a cell to spare on every side.
    pub(super) fn round(portal: &HuVolume, liver: VoxelBox, step_mm: f64) -> Self {
        let step = portal.geometry.spacing.zyx().map(|mm| step_mm / mm);
        let size = |axis: usize| (liver.end[axis] - liver.start[axis]) as f64 / step[axis];
        Self {
            origin: [0, 1, 2].map(|axis| liver.start[axis] as f64 - CELL as f64 * step[axis]),
            step,
            shape: [0, 1, 2]
                .map(|axis| (size(axis).ceil() as usize).next_multiple_of(CELL) + 2 * CELL),
        }
    }

    /// The same points and `margin` more on every side.
    pub(super) fn wider(&self, margin: usize) -> Self {
        Self {
            origin: [0, 1, 2].map(|axis| self.origin[axis] - margin as f64 * self.step[axis]),
            shape: self.shape.map(|size| size + 2 * margin),
            ..*self
        }
    }

    /// Points with a margin on every side.
    pub(super) fn points_with(&self, margin: usize) -> usize {
        self.shape.iter().map(|size| size + 2 * margin).product()
    }

    /// The portal venous phase at the points of every cell that holds liver or touches one that does.
    pub(super) fn near_liver(&self, portal: &HuVolume, mask: &Mask, threads: usize) -> Array3<i16> {
        let near = self.cells_near(mask, threads);
        let mut values = Array3::from_elem(self.shape, NOWHERE);
        planes(threads, &mut values, |z, mut plane| {
            for ((y, x), value) in plane.indexed_iter_mut() {
                if near[[z / BAND, y / BAND, x / BAND]] {
                    *value = stored(trilinear(&portal.hu, self.position([z, y, x])));
                }
            }
        });
        values
    }

    /// An image on any grid at these points.
    pub(super) fn sampled(
        &self,
        image: &HuVolume,
        portal: &HuVolume,
        threads: usize,
    ) -> Array3<i16> {
        let mut values = Array3::from_elem(self.shape, NOWHERE);
        let position =
            |at: [usize; 3]| image.geometry.to_voxel(portal.geometry.to_world(self.position(at)));
        planes(threads, &mut values, |z, mut plane| {
            for (y, mut row) in plane.outer_iter_mut().enumerate() {
                // Along a row the position moves by the same step.
                let (start, next) = (position([z, y, 0]), position([z, y, 1]));
                let step = [0, 1, 2].map(|axis| next[axis] - start[axis]);
                for (x, value) in row.iter_mut().enumerate() {
                    let at = [0, 1, 2].map(|axis| start[axis] + step[axis] * x as f64);
                    *value = stored(trilinear(&image.hu, at));
                }
            }
        });
        values
    }

    fn position(&self, at: [usize; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| self.origin[axis] + self.step[axis] * at[axis] as f64)
    }

    /// Cells of [`BAND`] points within one cell of liver.
    fn cells_near(&self, mask: &Mask, threads: usize) -> Array3<bool> {
        let cells = self.shape.map(|size| size / BAND);
        let shape: [usize; 3] = mask.labels.dim().into();
        let nearest = |axis: usize, point: usize| {
            let voxel = (self.origin[axis] + self.step[axis] * point as f64).round();
            (0.0..shape[axis] as f64).contains(&voxel).then_some(voxel as usize)
        };
        let columns: Vec<Option<usize>> = (0..self.shape[2]).map(|x| nearest(2, x)).collect();
        let mut liver = Array3::from_elem(cells, false);
        planes(threads, &mut liver, |z, mut plane| {
            for point in z * BAND..(z + 1) * BAND {
                for y in 0..self.shape[1] {
                    let (Some(z), Some(row)) = (nearest(0, point), nearest(1, y)) else { continue };
                    let labels = mask.labels.slice(s![z, row, ..]);
                    for (x, column) in columns.iter().enumerate() {
                        plane[[y / BAND, x / BAND]] |=
                            column.is_some_and(|column| labels[column] != BACKGROUND);
                    }
                }
            }
        });
        let mut near = Array3::from_elem(cells, false);
        planes(threads, &mut near, |z, mut plane| {
            for ((y, x), near) in plane.indexed_iter_mut() {
                let around = |at: usize, len: usize| at.saturating_sub(1)..(at + 2).min(len);
                let [z, y, x] = [around(z, cells[0]), around(y, cells[1]), around(x, cells[2])];
                *near = liver.slice(s![z, y, x]).iter().any(|liver| *liver);
            }
        });
        near
    }
}

/// A density as it is stored in a lattice.
fn stored(hu: Option<i16>) -> i16 {
    hu.map_or(NOWHERE, |hu| hu.clamp(CLIPPED_HU.0, CLIPPED_HU.1) - CLIPPED_HU.0)
}

/// The lattice of twice the step: means of the points of eight that count, where half of them do.
pub(super) fn halved(values: &Array3<i16>, threads: usize) -> Array3<i16> {
    let [depth, height, width]: [usize; 3] = values.dim().into();
    let mut half = Array3::from_elem([depth / 2, height / 2, width / 2], NOWHERE);
    planes(threads, &mut half, |z, mut plane| {
        for (y, mut out) in plane.outer_iter_mut().enumerate() {
            let rows = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(dz, dy)| row(values, 2 * z + dz, 2 * y + dy));
            for (x, out) in out.iter_mut().enumerate() {
                let (mut count, mut sum) = (0, 0);
                for value in rows.iter().flat_map(|row| &row[2 * x..2 * x + 2]) {
                    let there = i32::from(*value >= 0);
                    count += there;
                    sum += there * i32::from(*value);
                }
                if count >= 4 {
                    *out = ((sum + count / 2) / count) as i16;
                }
            }
        }
    });
    half
}

/// A row of a lattice; all are made in C order, so that rows lie one after another.
pub(super) fn row(values: &Array3<i16>, z: usize, y: usize) -> &[i16] {
    let [_, height, width]: [usize; 3] = values.dim().into();
    let start = (z * height + y) * width;
    let all = values.as_slice().expect("lattices are made in C order");
    &all[start..start + width]
}
