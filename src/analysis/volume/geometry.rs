//! Where voxels are in the patient: the file's own grid, the RAS-ordered grid, and the way between.

use crate::units::Spacing;

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
