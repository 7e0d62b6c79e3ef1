//! What a phantom really contains, measured on its own labels.

use super::anatomy::Label;
use super::orientation::patient_to_world;
use super::spec::{PhantomSpec, Phenotype};
use crate::analysis::volume::{BACKGROUND, LIVER, TUMOUR};

/// The truth of one phantom, on its voxel grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Liver including tumours, millilitres.
    pub liver_ml: f64,
    /// In the order of the spec; a tumour outside the grid has volume 0.
    pub tumours: Vec<TumourTruth>,
}

/// One tumour.
#[derive(Debug, Clone, PartialEq)]
pub struct TumourTruth {
    /// Longest axial diameter (RECIST 1.1), between the centres of the two farthest voxels of the
    /// tumour in one slice, millimetres.
    pub diameter_mm: f64,
    /// Array slice (z index) of that diameter.
    pub slice: usize,
    /// Voxels times voxel volume, cubic millimetres.
    pub volume_mm3: f64,
    /// How it enhances.
    pub phenotype: Phenotype,
    /// Centre of mass, RAS+ millimetres `[x, y, z]` in the files' world.
    pub centre_mm: [f64; 3],
}

/// The ends of one tumour in one row of voxels.
#[derive(Debug, Clone, Copy)]
struct Run {
    z: usize,
    y: usize,
    first_x: usize,
    last_x: usize,
}

/// Counts labels while a phantom is drawn, slice by slice.
#[derive(Debug)]
pub(super) struct Counter {
    organ_voxels: u64,
    runs: Vec<Vec<Run>>,
    voxels: Vec<u64>,
    index_sums: Vec<[u64; 3]>,
}

impl Counter {
    pub(super) fn new(tumours: usize) -> Self {
        Self {
            organ_voxels: 0,
            runs: vec![Vec::new(); tumours],
            voxels: vec![0; tumours],
            index_sums: vec![[0; 3]; tumours],
        }
    }

    /// One voxel, in the order z, y, x.
    pub(super) fn count(&mut self, [z, y, x]: [usize; 3], label: Label) {
        if label == Label::Background {
            return;
        }
        self.organ_voxels += 1;
        let Label::Tumour(tumour) = label else { return };
        let tumour = usize::from(tumour);
        self.voxels[tumour] += 1;
        for (sum, index) in self.index_sums[tumour].iter_mut().zip([z, y, x]) {
            *sum += index as u64;
        }
        match self.runs[tumour].last_mut() {
            Some(run) if run.z == z && run.y == y => run.last_x = x,
            _ => self.runs[tumour].push(Run { z, y, first_x: x, last_x: x }),
        }
    }

    /// The truth, when every voxel has been counted.
    pub(super) fn finish(self, spec: &PhantomSpec) -> Truth {
        let voxel_mm3 = spec.spacing.voxel_mm3();
        let tumours = spec.tumours.iter().enumerate().map(|(index, tumour)| {
            let count = self.voxels[index];
            let (diameter_mm, slice) = longest_axial(&self.runs[index], spec.spacing.zyx());
            let centre = mean_mm(spec, self.index_sums[index], count);
            TumourTruth {
                diameter_mm,
                slice,
                volume_mm3: count as f64 * voxel_mm3,
                phenotype: tumour.phenotype,
                centre_mm: patient_to_world(spec, centre),
            }
        });
        Truth {
            liver_ml: self.organ_voxels as f64 * voxel_mm3 / 1000.0,
            tumours: tumours.collect(),
        }
    }
}

/// Mean position in patient millimetres `[x, y, z]`; the grid's centre when nothing was counted.
fn mean_mm(spec: &PhantomSpec, sums_zyx: [u64; 3], count: u64) -> [f64; 3] {
    let spacing = spec.spacing.zyx();
    [2, 1, 0].map(|axis| {
        let middle = (spec.shape[axis] as f64 - 1.0) / 2.0;
        let mean = if count == 0 { middle } else { sums_zyx[axis] as f64 / count as f64 };
        (mean - middle) * spacing[axis]
    })
}

/// The longest distance between two voxel centres of one slice, and the slice. Only the ends of
/// rows can be farthest apart.
fn longest_axial(runs: &[Run], [_, dy, dx]: [f64; 3]) -> (f64, usize) {
    let mut longest = 0.0;
    let mut slice = runs.first().map_or(0, |run| run.z);
    for rows in runs.chunk_by(|a, b| a.z == b.z) {
        for (index, a) in rows.iter().enumerate() {
            for b in &rows[index..] {
                let (u, v) = (widest(a, b) as f64 * dx, a.y.abs_diff(b.y) as f64 * dy);
                let squared = u * u + v * v;
                if squared > longest {
                    longest = squared;
                    slice = a.z;
                }
            }
        }
    }
    (longest.sqrt(), slice)
}

/// The widest step in x from a voxel of one row to a voxel of another.
fn widest(a: &Run, b: &Run) -> usize {
    a.last_x.abs_diff(b.first_x).max(b.last_x.abs_diff(a.first_x))
}

/// The label's value in a mask.
pub(super) fn label_value(label: Label) -> u8 {
    match label {
        Label::Background => BACKGROUND,
        Label::Liver => LIVER,
        Label::Tumour(_) => TUMOUR,
    }
}
