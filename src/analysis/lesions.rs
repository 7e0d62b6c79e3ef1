//! Mask → lesions: connected components, volumes, axial diameters, count.

use ndarray::{Axis, Zip};
use thiserror::Error;

use super::volume::runs::{Run, components};
use super::volume::{BACKGROUND, Geometry, Mask, TUMOUR, VoxelBox};
use crate::units::{Millimetres, OutOfRange};

/// One connected tumour component.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesion {
    /// Volume in cubic millimetres.
    pub volume_mm3: f64,
    /// Longest in-plane (axial) caliper diameter over all slices, as RECIST 1.1 measures
    /// (Eisenhauer 2009).
    pub diameter: Millimetres,
    /// Array slice of that diameter (z index).
    pub slice: usize,
    /// End points of that diameter, array indices `[y, x]` in `slice`.
    pub ends: [[f64; 2]; 2],
    /// Centre of mass in RAS+ millimetres `[x, y, z]`.
    pub centre_mm: [f64; 3],
    /// Half-open voxel box around the component.
    pub bounds: super::volume::VoxelBox,
}

/// Everything measured on a mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesions {
    /// Largest diameter first; at most [`MAX_LESIONS`].
    pub lesions: Vec<Lesion>,
    /// Components of at least the minimum volume, before the list was cut.
    pub count: usize,
    /// Liver volume including tumour, cubic millimetres.
    pub liver_mm3: f64,
    /// Tumour volume, cubic millimetres, components of every size.
    pub tumour_mm3: f64,
}

/// The longest list of lesions that is kept and sent.
pub const MAX_LESIONS: usize = 32;

/// Components smaller than this are noise and not listed: a sphere of 4.6 mm across, less than half
/// of the smallest lesion RECIST 1.1 measures (10 mm, Eisenhauer 2009). A choice of this product.
pub const LEAST_LESION_MM3: f64 = 50.0;

/// A mask that cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum LesionError {
    /// The mask is not on this grid.
    #[error("mask of {found:?} voxels, expected the scan's {expected:?} ([z, y, x])")]
    Shape {
        /// Voxels of the mask.
        found: [usize; 3],
        /// Voxels of the grid.
        expected: [usize; 3],
    },
    /// A diameter longer than any length.
    #[error("a lesion's diameter is no length")]
    Diameter(#[from] OutOfRange),
}

/// Measures every tumour component of `mask`, which lies on `geometry`. Components touch by face,
/// edge or corner; merged tumours count as one.
pub fn measure(mask: &Mask, geometry: &Geometry) -> Result<Lesions, LesionError> {
    let (found, expected) = (mask.labels.dim().into(), geometry.shape);
    if found != expected {
        return Err(LesionError::Shape { found, expected });
    }
    let voxel_mm3 = geometry.spacing.voxel_mm3();
    let (mut liver, mut tumour) = (0usize, 0usize);
    Zip::from(&mask.labels).for_each(|&label| {
        liver += usize::from(label != BACKGROUND);
        tumour += usize::from(label == TUMOUR);
    });
    let mut lesions = Vec::new();
    for runs in components(mask.labels.view(), |label| label == TUMOUR) {
        let volume_mm3 = runs.iter().map(Run::len).sum::<usize>() as f64 * voxel_mm3;
        if volume_mm3 >= LEAST_LESION_MM3 {
            lesions.push(lesion(&runs, volume_mm3, geometry)?);
        }
    }
    lesions.sort_by(|a, b| {
        let by_size = b.diameter.get().total_cmp(&a.diameter.get());
        by_size.then(b.volume_mm3.total_cmp(&a.volume_mm3))
    });
    let count = lesions.len();
    lesions.truncate(MAX_LESIONS);
    let (liver_mm3, tumour_mm3) = (liver as f64 * voxel_mm3, tumour as f64 * voxel_mm3);
    Ok(Lesions { lesions, count, liver_mm3, tumour_mm3 })
}

fn lesion(runs: &[Run], volume_mm3: f64, geometry: &Geometry) -> Result<Lesion, LesionError> {
    let widest = widest_slice(runs, geometry);
    Ok(Lesion {
        volume_mm3,
        diameter: Millimetres::new(widest.length_mm)?,
        slice: widest.slice,
        ends: widest.ends,
        centre_mm: geometry.to_world(centre(runs)),
        bounds: VoxelBox::around(runs.iter().map(Run::bounds)).expect("a lesion has a voxel"),
    })
}

/// Centre of mass as an array position `[z, y, x]`.
fn centre(runs: &[Run]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut voxels = 0.0;
    for run in runs {
        let length = run.len() as f64;
        voxels += length;
        sums[0] += run.z as f64 * length;
        sums[1] += run.y as f64 * length;
        sums[2] += (run.start + run.end - 1) as f64 / 2.0 * length;
    }
    sums.map(|sum| sum / voxels)
}

/// A caliper's reading in one slice.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Caliper {
    length_mm: f64,
    slice: usize,
    ends: [[f64; 2]; 2],
}

/// The longest caliper diameter over all slices of a component.
fn widest_slice(runs: &[Run], geometry: &Geometry) -> Caliper {
    let metric = InPlane::of(geometry);
    let mut widest = Caliper { length_mm: 0.0, slice: runs[0].z, ends: [[0.0; 2]; 2] };
    for slice in runs.chunk_by(|a, b| a.z == b.z) {
        let hull = convex_hull(outline(slice));
        for (n, &a) in hull.iter().enumerate() {
            for &b in &hull[n + 1..] {
                let length_mm = metric.distance_mm(a, b);
                if length_mm > widest.length_mm {
                    widest = Caliper { length_mm, slice: slice[0].z, ends: [a, b] };
                }
            }
        }
    }
    widest
}

/// Points `[y, x]` half-way between each border pixel and its neighbour outside: the contour a
/// threshold at one half draws. Pixel centres would measure a sphere about a pixel too short, pixel
/// corners up to a diagonal too long.
fn outline(slice: &[Run]) -> Vec<[f64; 2]> {
    let mut points = Vec::with_capacity(slice.len() * 6);
    for run in slice {
        let y = run.y as f64;
        let (first, last) = (run.start as f64, (run.end - 1) as f64);
        points.extend([[y, first - 0.5], [y, last + 0.5]]);
        points.extend([[y - 0.5, first], [y - 0.5, last], [y + 0.5, first], [y + 0.5, last]]);
    }
    points
}

/// Convex hull by Andrew's monotone chain. It is taken in array indices, because an affine map keeps
/// hulls, so an oblique plane needs no care here.
fn convex_hull(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    let mut hull = half_hull(points.iter().copied());
    hull.extend(half_hull(points.iter().rev().copied()));
    hull
}

/// One side of the hull, without its last point.
fn half_hull(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let mut chain: Vec<[f64; 2]> = Vec::new();
    for point in points {
        while let [.., a, b] = chain[..] {
            let turn = (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
            if turn > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(point);
    }
    chain.pop();
    chain
}

/// Lengths within a slice: the products of its two axes in patient space.
struct InPlane {
    yy: f64,
    yx: f64,
    xx: f64,
}

impl InPlane {
    fn of(geometry: &Geometry) -> Self {
        let product = |a: usize, b: usize| {
            geometry.voxel_to_world.iter().map(|row| row[a] * row[b]).sum::<f64>()
        };
        Self { yy: product(1, 1), yx: product(1, 0), xx: product(0, 0) }
    }

    fn distance_mm(&self, a: [f64; 2], b: [f64; 2]) -> f64 {
        let (dy, dx) = (a[0] - b[0], a[1] - b[1]);
        (self.yy * dy * dy + 2.0 * self.yx * dy * dx + self.xx * dx * dx).sqrt()
    }
}

/// Clears everything but the largest connected piece of liver and tumour together, and what that
/// piece encloses in its slice: a necrotic rim must not cut a tumour out of the liver. Returns how many
/// voxels of tumour were cleared.
pub fn keep_largest_liver(mask: &mut Mask) -> usize {
    let pieces = components(mask.labels.view(), |label| label != BACKGROUND);
    let voxels = |piece: &Vec<Run>| piece.iter().map(Run::len).sum::<usize>();
    // The first of equals, so that the choice does not hang on the order of iteration.
    let Some(largest) = (0..pieces.len()).min_by_key(|&n| (usize::MAX - voxels(&pieces[n]), n))
    else {
        return 0;
    };
    let mut outside = 0;
    for (n, piece) in pieces.iter().enumerate() {
        if n == largest || encloses(&pieces[largest], centre(piece)) {
            continue;
        }
        for run in piece {
            let mut row = mask.labels.index_axis_mut(Axis(0), run.z);
            let mut cleared = row.slice_mut(ndarray::s![run.y, run.start..run.end]);
            outside += cleared.iter().filter(|label| **label == TUMOUR).count();
            cleared.fill(BACKGROUND);
        }
    }
    outside
}

/// True when `piece` lies on all four sides of a position within its slice.
fn encloses(piece: &[Run], [z, y, x]: [f64; 3]) -> bool {
    let [z, y, x] = [z.round() as usize, y.round() as usize, x.round() as usize];
    let start = piece.partition_point(|run| run.z < z);
    let end = piece.partition_point(|run| run.z <= z);
    let mut sides = [false; 4];
    for run in &piece[start..end] {
        let across = (run.start..run.end).contains(&x);
        sides[0] |= run.y == y && run.end <= x;
        sides[1] |= run.y == y && run.start > x;
        sides[2] |= run.y < y && across;
        sides[3] |= run.y > y && across;
    }
    sides == [true; 4]
}

#[cfg(test)]
#[path = "lesions_tests.rs"]
mod tests;
