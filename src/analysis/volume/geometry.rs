//! Where voxels are in the patient: the file's own grid, the RAS-ordered grid, and the way between.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis};
use thiserror::Error;

use crate::units::{OutOfRange, Spacing};

/// Rows of a map from a voxel `(a, b, c, 1)` to RAS+ millimetres `(x, y, z)`.
pub type Affine = [[f64; 4]; 3];

/// The grid of a volume, in file order and in RAS order.
///
/// A file stores voxels `(i, j, k)`, `i` fastest, with an affine to RAS+ millimetres (x towards the
/// patient's Right, y Anterior, z Superior). In memory the axes are permuted and flipped so that
/// the array is `[z, y, x]` with each axis growing towards S, A, R as nearly as the grid allows; an
/// oblique scan stays oblique. Nothing is interpolated.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Voxels along `[z, y, x]`.
    pub shape: [usize; 3],
    /// Millimetres along `[z, y, x]`.
    pub spacing: Spacing,
    /// Rows of the map from RAS-ordered voxel `(x, y, z, 1)` to RAS+ millimetres.
    pub voxel_to_world: [[f64; 4]; 3],
    /// How the file stores this grid.
    pub stored: StoredGrid,
}

/// The file's own grid, kept so that a mask goes back bit for bit to where the scan was.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGrid {
    /// Voxels along the file's axes `(i, j, k)`.
    pub shape: [usize; 3],
    /// For each array axis `[z, y, x]`: the file axis it came from and whether it was reversed.
    pub axes: [StoredAxis; 3],
    /// The 348 header bytes of the NIfTI-1 file, written back unchanged but for the data type.
    pub header: Vec<u8>,
}

/// Where one array axis came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAxis {
    /// File axis: 0 = i, 1 = j, 2 = k.
    pub file_axis: usize,
    /// True when the array runs against the file's order.
    pub reversed: bool,
}

/// An affine that is no grid of a scanner.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum GeometryError {
    /// NaN, infinite, or further from the origin than [`MOST_OFFSET_MM`].
    #[error("not finite or more than 100 m from the origin")]
    NotFinite,
    /// A column's length is no accepted spacing.
    #[error("unusable spacing")]
    Spacing(#[from] OutOfRange),
    /// Two axes are not at right angles: a sheared grid (an uncorrected gantry tilt).
    #[error("axes not at right angles (cosine {cosine:.4})")]
    Sheared {
        /// The largest cosine between two axes.
        cosine: f64,
    },
}

/// A scan's origin lies within this distance of the scanner's, in millimetres.
pub const MOST_OFFSET_MM: f64 = 100_000.0;

/// Two axes are at right angles when the cosine between them is at most this: 0.06°, which moves
/// the far end of a 500 mm field by half a millimetre and is well above f32 rounding.
pub const MOST_SHEAR_COSINE: f64 = 1e-3;

impl Geometry {
    /// The grid of a file with `shape` voxels along `(i, j, k)`, its `affine` from `(i, j, k, 1)`,
    /// and its 348 header bytes.
    pub fn from_affine(
        shape: [usize; 3],
        affine: &Affine,
        header: Vec<u8>,
    ) -> Result<Self, GeometryError> {
        if affine.iter().flatten().any(|v| !v.is_finite() || v.abs() > MOST_OFFSET_MM) {
            return Err(GeometryError::NotFinite);
        }
        let lengths = column_lengths(affine);
        Spacing::new(lengths)?;
        check_right_angles(affine, lengths)?;
        let axes = nearest_axes(affine, lengths);
        let spacing = Spacing::new(axes.map(|axis| lengths[axis.file_axis]))?;
        let voxel_to_world = std::array::from_fn(|row| reordered_row(affine[row], shape, &axes));
        Ok(Self {
            shape: axes.map(|axis| shape[axis.file_axis]),
            spacing,
            voxel_to_world,
            stored: StoredGrid { shape, axes, header },
        })
    }

    /// RAS+ millimetres `[x, y, z]` of the array position `[z, y, x]`, which may lie between voxels.
    pub fn to_world(&self, [z, y, x]: [f64; 3]) -> [f64; 3] {
        self.voxel_to_world.map(|row| row[0] * x + row[1] * y + row[2] * z + row[3])
    }

    /// Array position `[z, y, x]` of a point in RAS+ millimetres `[x, y, z]`.
    pub fn to_voxel(&self, world_mm: [f64; 3]) -> [f64; 3] {
        let m = &self.voxel_to_world;
        let offset: [f64; 3] = std::array::from_fn(|n| world_mm[n] - m[n][3]);
        // Cramer's rule; the determinant is the voxel volume, at least 0.2³ mm³.
        let column = |n: usize| [m[0][n], m[1][n], m[2][n]];
        let whole = determinant([column(0), column(1), column(2)]);
        [
            determinant([column(0), column(1), offset]) / whole,
            determinant([column(0), offset, column(2)]) / whole,
            determinant([offset, column(1), column(2)]) / whole,
        ]
    }

    /// Puts every voxel `by_mm` further, RAS+ millimetres `[x, y, z]`; how the file stores the grid stays.
    pub fn move_by(&mut self, by_mm: [f64; 3]) {
        for (row, mm) in self.voxel_to_world.iter_mut().zip(by_mm) {
            row[3] += mm;
        }
    }

    /// True when both grids have the same shape and no voxel is further than `tolerance_mm` from
    /// its namesake. Both maps are affine, so the corners decide.
    pub fn same_grid(&self, other: &Self, tolerance_mm: f64) -> bool {
        self.shape == other.shape
            && self.corners().into_iter().all(|corner| {
                distance_mm(self.to_world(corner), other.to_world(corner)) <= tolerance_mm
            })
    }

    /// The largest angle between an array axis and the patient axis it is named after, in degrees,
    /// 0..90.
    pub fn obliquity_degrees(&self) -> f64 {
        let [sz, sy, sx] = self.spacing.zyx();
        let m = &self.voxel_to_world;
        [m[0][0] / sx, m[1][1] / sy, m[2][2] / sz]
            .map(|cosine| cosine.clamp(-1.0, 1.0).acos().to_degrees())
            .into_iter()
            .fold(0.0, f64::max)
    }

    /// Array positions `[z, y, x]` of the eight outermost voxel centres.
    pub fn corners(&self) -> [[f64; 3]; 8] {
        std::array::from_fn(|n| {
            std::array::from_fn(|axis| {
                if n >> axis & 1 == 1 { (self.shape[axis] - 1) as f64 } else { 0.0 }
            })
        })
    }

    /// Cubic centimetres in `voxels` voxels.
    pub fn millilitres(&self, voxels: usize) -> f64 {
        voxels as f64 * self.spacing.voxel_mm3() / 1000.0
    }
}

impl StoredGrid {
    /// A `[z, y, x]` array seen with the file's axes `(i, j, k)`; nothing is copied.
    pub fn file_order<'a, T>(&self, array: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        let mut view = array;
        for (axis, stored) in self.axes.iter().enumerate() {
            if stored.reversed {
                view.invert_axis(Axis(axis));
            }
        }
        view.permuted_axes(self.array_axes())
    }

    /// The same for writing.
    pub fn file_order_mut<'a, T>(&self, array: &'a mut Array3<T>) -> ArrayViewMut3<'a, T> {
        let mut view = array.view_mut();
        for (axis, stored) in self.axes.iter().enumerate() {
            if stored.reversed {
                view.invert_axis(Axis(axis));
            }
        }
        view.permuted_axes(self.array_axes())
    }

    /// For each file axis `(i, j, k)`: the array axis it became.
    fn array_axes(&self) -> [usize; 3] {
        let mut array_axes = [0; 3];
        for (axis, stored) in self.axes.iter().enumerate() {
            array_axes[stored.file_axis] = axis;
        }
        array_axes
    }
}

/// Lengths of an affine's three columns: the spacings along the file's axes, in millimetres.
pub fn column_lengths(affine: &Affine) -> [f64; 3] {
    std::array::from_fn(|n| affine.iter().map(|row| row[n] * row[n]).sum::<f64>().sqrt())
}

/// Euclidean distance of two points in millimetres.
pub fn distance_mm(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

fn check_right_angles(affine: &Affine, lengths: [f64; 3]) -> Result<(), GeometryError> {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let dot: f64 = affine.iter().map(|row| row[a] * row[b]).sum();
        let cosine = (dot / (lengths[a] * lengths[b])).abs();
        if cosine > MOST_SHEAR_COSINE {
            return Err(GeometryError::Sheared { cosine });
        }
    }
    Ok(())
}

/// For `[z, y, x]`: the file axis that lies nearest to S, A, R, the three together; a tie (45°) goes
/// to the first permutation in the list, so the choice is deterministic.
fn nearest_axes(affine: &Affine, lengths: [f64; 3]) -> [StoredAxis; 3] {
    const PERMUTATIONS: [[usize; 3]; 6] =
        [[2, 1, 0], [2, 0, 1], [1, 2, 0], [1, 0, 2], [0, 2, 1], [0, 1, 2]];
    // Array axis 0 is patient axis 2 (S), axis 1 is A, axis 2 is R.
    let cosine = |array_axis: usize, file_axis: usize| {
        affine[2 - array_axis][file_axis] / lengths[file_axis]
    };
    let mut best = (f64::MIN, PERMUTATIONS[0]);
    for permutation in PERMUTATIONS {
        let alignment: f64 = (0..3).map(|axis| cosine(axis, permutation[axis]).abs()).sum();
        if alignment > best.0 + 1e-9 {
            best = (alignment, permutation);
        }
    }
    std::array::from_fn(|axis| {
        let file_axis = best.1[axis];
        StoredAxis { file_axis, reversed: cosine(axis, file_axis) < 0.0 }
    })
}

/// One row of the affine, from `(i, j, k, 1)` to `(x, y, z, 1)` of the reordered grid.
fn reordered_row(row: [f64; 4], shape: [usize; 3], axes: &[StoredAxis; 3]) -> [f64; 4] {
    let mut reordered = [0.0, 0.0, 0.0, row[3]];
    for (axis, stored) in axes.iter().enumerate() {
        let step = row[stored.file_axis];
        if stored.reversed {
            reordered[2 - axis] = -step;
            reordered[3] += step * (shape[stored.file_axis] - 1) as f64;
        } else {
            reordered[2 - axis] = step;
        }
    }
    reordered
}

fn determinant([a, b, c]: [[f64; 3]; 3]) -> f64 {
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain() -> Geometry {
        let affine = [[1.0, 0.0, 0.0, 5.0], [0.0, 1.0, 0.0, 6.0], [0.0, 0.0, 2.0, 7.0]];
        Geometry::from_affine([20, 21, 22], &affine, vec![0; 348]).unwrap()
    }

    /// Rotation about a unit axis, Rodrigues' formula, times spacings.
    fn turned(axis: [f64; 3], angle: f64, mm: [f64; 3]) -> Affine {
        let length = axis.iter().map(|v| v * v).sum::<f64>().sqrt();
        let [x, y, z] = axis.map(|v| v / length);
        let (s, c) = angle.sin_cos();
        let t = 1.0 - c;
        let rotation = [
            [t * x * x + c, t * x * y - s * z, t * x * z + s * y],
            [t * x * y + s * z, t * y * y + c, t * y * z - s * x],
            [t * x * z - s * y, t * y * z + s * x, t * z * z + c],
        ];
        rotation.map(|row| [row[0] * mm[0], row[1] * mm[1], row[2] * mm[2], 10.0])
    }

    #[test]
    fn the_same_grid_is_the_same_within_a_tolerance() {
        let mut moved = plain();
        moved.move_by([0.0, 0.0, 0.5]);
        assert!(plain().same_grid(&moved, 0.5 + 1e-9) && !plain().same_grid(&moved, 0.5 - 1e-9));
        // A slightly longer voxel adds up to the far corner: 21 slices of 0.01 mm.
        let mut longer = plain();
        longer.voxel_to_world[2][2] += 0.01;
        assert!(plain().same_grid(&longer, 0.2101) && !plain().same_grid(&longer, 0.2099));
        let mut shorter = plain();
        shorter.shape[0] -= 1;
        assert!(!plain().same_grid(&shorter, 1000.0));
    }

    #[test]
    fn right_angles_offsets_and_spacings_are_limited() {
        let build = |change: fn(&mut Affine)| {
            let mut affine = plain().voxel_to_world;
            change(&mut affine);
            Geometry::from_affine([20, 21, 22], &affine, Vec::new())
        };
        assert!(build(|a| a[0][1] = 0.9e-3).is_ok());
        assert!(matches!(build(|a| a[0][1] = 1.1e-3), Err(GeometryError::Sheared { .. })));
        assert!(build(|a| a[0][3] = MOST_OFFSET_MM).is_ok());
        assert_eq!(build(|a| a[0][3] = MOST_OFFSET_MM * 1.01), Err(GeometryError::NotFinite));
        assert_eq!(build(|a| a[1][1] = f64::NAN), Err(GeometryError::NotFinite));
        assert!(matches!(build(|a| a[1][1] = 0.0), Err(GeometryError::Spacing(_))));
    }

    proptest! {
        #[test]
        fn any_turn_keeps_places_and_faces_the_patient(
            axis in [-1.0f64..1.0, -1.0f64..1.0, 0.1f64..1.0],
            angle in -3.2f64..3.2,
            mirrored: bool,
            at in [0usize..20, 0usize..21, 0usize..22],
        ) {
            let mut affine = turned(axis, angle, [0.7, 0.9, 2.5]);
            if mirrored {
                affine.iter_mut().for_each(|row| row[0] = -row[0]);
            }
            let geometry = Geometry::from_affine([20, 21, 22], &affine, vec![0; 348]).unwrap();
            // Each axis leans to its own side of the patient, by less than a right angle.
            for n in 0..3 {
                prop_assert!(geometry.voxel_to_world[n][n] > 0.0);
            }
            prop_assert!(geometry.obliquity_degrees() < 90.0);
            // A mark in the file's voxel `at` is found in the array where the affine says it is.
            let mut array = Array3::zeros(geometry.shape);
            geometry.stored.file_order_mut(&mut array)[at] = 1u8;
            prop_assert_eq!(geometry.stored.file_order(array.view())[at], 1);
            let marked = array.indexed_iter().find(|(_, v)| **v == 1).map(|(index, _)| index);
            let (z, y, x) = marked.unwrap();
            let position = [z, y, x].map(|n| n as f64);
            let world = affine
                .map(|r| r[0] * at[0] as f64 + r[1] * at[1] as f64 + r[2] * at[2] as f64 + r[3]);
            prop_assert!(distance_mm(geometry.to_world(position), world) < 1e-9);
            prop_assert!(distance_mm(geometry.to_voxel(world), position) < 1e-9);
        }
    }
}
