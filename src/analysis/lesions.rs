//! Mask → lesions: connected components, volumes, axial diameters, count.

use crate::units::Millimetres;

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
