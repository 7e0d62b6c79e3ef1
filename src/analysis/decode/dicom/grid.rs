//! Slices of one orientation and size → their order along the normal and the grid they form. The
//! positions decide; SliceThickness and InstanceNumber are never looked at.

use super::error::DicomError;
use super::slice::Slice;
use crate::analysis::decode::limits::{LEAST_VOXELS_ALONG_AXIS, MOST_VOXELS_ALONG_AXIS};
use crate::analysis::volume::geometry::{Affine, Geometry};

/// Distances of neighbouring slices may differ by so much, and a slice may lie so far beside its
/// place, in millimetres (issue of a scanner's rounding, well below a voxel).
pub const PLACE_TOLERANCE_MM: f64 = 0.2;

/// Two slices nearer than this are at the same place.
pub(super) const SAME_PLACE_MM: f64 = 0.01;

/// The direction slices are stacked in, LPS.
pub(super) fn normal(slice: &Slice) -> [f64; 3] {
    let [a, b, c, d, e, f] = slice.orientation;
    [b * f - c * e, c * d - a * f, a * e - b * d]
}

/// Millimetres along `normal`.
pub(super) fn along(slice: &Slice, normal: [f64; 3]) -> f64 {
    dot(slice.position, normal)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The grid of `slices`, which are in order along their normal.
pub(super) fn build(slices: &[Slice]) -> Result<Geometry, DicomError> {
    let (found, least) = (slices.len(), LEAST_VOXELS_ALONG_AXIS);
    if found < least {
        return Err(DicomError::TooFew { what: "slices", found, least });
    }
    if found > MOST_VOXELS_ALONG_AXIS {
        let (found, limit) = (found as u64, MOST_VOXELS_ALONG_AXIS as u64);
        return Err(DicomError::TooLarge { quantity: "slices", found, limit });
    }
    let first = &slices[0];
    let normal = normal(first);
    let places: Vec<f64> = slices.iter().map(|slice| along(slice, normal)).collect();
    check_spacing(&places)?;
    check_line(slices, normal)?;
    let length = places[places.len() - 1] - places[0];
    let affine = affine(first, normal, length / (places.len() - 1) as f64);
    let shape = [first.columns, first.rows, slices.len()];
    Ok(Geometry::from_affine(shape, &affine, header(shape, &affine))?)
}

/// Checks each step against the usual one, and each slice against its place in the grid.
fn check_spacing(places: &[f64]) -> Result<(), DicomError> {
    let slices = places.len();
    let steps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if let Some(at) = steps.iter().position(|step| *step < SAME_PLACE_MM) {
        let here = places.iter().filter(|place| (**place - places[at]).abs() < SAME_PLACE_MM);
        return Err(DicomError::Duplicate { slice: at + 1, slices, count: here.count() });
    }
    let spacing_mm = median(&steps);
    let off = |at: &usize| (steps[*at] - spacing_mm).abs();
    let worst = (0..steps.len()).max_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    let (after, distance_mm) = (worst + 1, steps[worst]);
    if off(&worst) > PLACE_TOLERANCE_MM {
        let fits = (distance_mm / spacing_mm).round();
        if fits >= 2.0 && (distance_mm - fits * spacing_mm).abs() <= PLACE_TOLERANCE_MM * fits {
            let missing = fits as usize - 1;
            return Err(DicomError::Gap { after, slices, distance_mm, spacing_mm, missing });
        }
        return Err(DicomError::UnevenSpacing { after, slices, distance_mm, spacing_mm });
    }
    // Small differences that add up: two spacings in one series.
    let mean = (places[slices - 1] - places[0]) / (slices - 1) as f64;
    let drift = |n: usize| (places[n] - places[0] - n as f64 * mean).abs();
    match (0..slices).find(|&n| drift(n) > PLACE_TOLERANCE_MM) {
        Some(n) => Err(DicomError::UnevenSpacing {
            after: n,
            slices,
            distance_mm: places[n] - places[n - 1],
            spacing_mm: mean,
        }),
        None => Ok(()),
    }
}

/// Checks that the slices lie on a line along their normal.
fn check_line(slices: &[Slice], normal: [f64; 3]) -> Result<(), DicomError> {
    let beside = |slice: &Slice| -> [f64; 3] {
        let along = along(slice, normal);
        std::array::from_fn(|n| slice.position[n] - along * normal[n])
    };
    let lateral: Vec<[f64; 3]> = slices.iter().map(beside).collect();
    let usual: [f64; 3] = std::array::from_fn(|n| {
        median(&lateral.iter().map(|beside| beside[n]).collect::<Vec<_>>())
    });
    let distance = |a: [f64; 3], b: [f64; 3]| {
        let difference = std::array::from_fn(|n| a[n] - b[n]);
        dot(difference, difference).sqrt()
    };
    let off = |n: &usize| distance(lateral[*n], usual);
    let worst = (0..slices.len()).max_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    if off(&worst) <= PLACE_TOLERANCE_MM {
        return Ok(());
    }
    // A tilted gantry moves every slice by the same step.
    let (first, last) = (lateral[0], lateral[slices.len() - 1]);
    let on_line = |n: usize| {
        let part = n as f64 / (slices.len() - 1) as f64;
        let place = std::array::from_fn(|axis| first[axis] + part * (last[axis] - first[axis]));
        distance(lateral[n], place) <= PLACE_TOLERANCE_MM
    };
    if (0..slices.len()).all(on_line) {
        let length = along(&slices[slices.len() - 1], normal) - along(&slices[0], normal);
        let degrees = (distance(first, last) / length).atan().to_degrees();
        return Err(DicomError::Tilted { degrees });
    }
    Err(DicomError::Displaced {
        slice: worst + 1,
        slices: slices.len(),
        off_mm: off(&worst),
        most_mm: PLACE_TOLERANCE_MM,
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Voxel `(column, row, slice)` to RAS+ millimetres; DICOM is LPS, hence the two signs. In single
/// precision, as NIfTI-1 states it, so that the same scan gives the same numbers in either format.
fn affine(first: &Slice, normal: [f64; 3], spacing_mm: f64) -> Affine {
    let [row_mm, column_mm] = first.pixel_spacing;
    std::array::from_fn(|axis| {
        let sign = if axis < 2 { -1.0 } else { 1.0 };
        [
            first.orientation[axis] * column_mm,
            first.orientation[3 + axis] * row_mm,
            normal[axis] * spacing_mm,
            first.position[axis],
        ]
        .map(|value| f64::from((sign * value) as f32))
    })
}

/// The NIfTI-1 header of this grid, which masks are written with: sform, millimetres.
fn header(shape: [usize; 3], affine: &Affine) -> Vec<u8> {
    let mut header = vec![0; 348];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    put(40, &3i16.to_le_bytes());
    put(76, &1f32.to_le_bytes());
    for axis in 0..3 {
        put(42 + 2 * axis, &(shape[axis] as i16).to_le_bytes());
        let length = affine.iter().map(|row| row[axis] * row[axis]).sum::<f64>().sqrt();
        put(80 + 4 * axis, &(length as f32).to_le_bytes());
        for (column, value) in affine[axis].iter().enumerate() {
            put(280 + 16 * axis + 4 * column, &(*value as f32).to_le_bytes());
        }
    }
    for at in [48, 50, 52, 54] {
        put(at, &1i16.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    put(72, &16i16.to_le_bytes());
    put(108, &352f32.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[2]);
    // The sform says "scanner coordinates"; there is no qform.
    put(254, &1i16.to_le_bytes());
    put(344, b"n+1\0");
    header
}
