//! Mask and findings → the segments and their voxels.

use super::ObjectError;
use super::codes::{ABNORMAL_STRUCTURE, ANATOMICAL_STRUCTURE, Code, LIVER, NEOPLASM};
use crate::analysis::lesions::{Lesion, Lesions};
use crate::analysis::volume::runs::{Run, components};
use crate::analysis::volume::{BACKGROUND, Geometry, Mask, TUMOUR, VoxelBox};
use crate::render::colour::{DIAMETER_LINE, LIVER_LINE, Rgb, TUMOUR_LINE};

/// What a segment is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The liver, tumours included.
    Liver,
    /// Every voxel of tumour.
    Tumour,
    /// One lesion of the findings, from 0.
    Lesion(usize),
}

/// One segment; its number is its place in the list, from 1. Segments overlap: a lesion is part of the
/// tumour, which is part of the liver, as the volumes are measured.
pub(super) struct Segment {
    pub(super) part: Part,
    /// The voxels, as runs of the RAS-ordered array.
    pub(super) runs: Vec<Run>,
}

impl Segment {
    /// Its name, also where it is tracked.
    pub(super) fn label(&self) -> String {
        match self.part {
            Part::Liver => "Liver".to_owned(),
            Part::Tumour => "Liver tumour".to_owned(),
            Part::Lesion(number) => format!("Liver lesion {}", number + 1),
        }
    }

    /// Category and type.
    pub(super) fn property(&self) -> (Code, Code) {
        match self.part {
            Part::Liver => (ANATOMICAL_STRUCTURE, LIVER),
            Part::Tumour | Part::Lesion(_) => (ABNORMAL_STRUCTURE, NEOPLASM),
        }
    }

    /// The colour it has in the overview.
    pub(super) fn colour(&self) -> Rgb {
        match self.part {
            Part::Liver => LIVER_LINE,
            Part::Tumour => TUMOUR_LINE,
            Part::Lesion(_) => DIAMETER_LINE,
        }
    }
}

/// Liver, tumour where there is one, and the listed lesions; empty without a liver.
pub(super) fn of(
    mask: &Mask,
    geometry: &Geometry,
    lesions: Option<&Lesions>,
) -> Result<Vec<Segment>, ObjectError> {
    let labels = mask.labels.view();
    let liver = components(labels, |label| label != BACKGROUND).concat();
    let tumours = components(labels, |label| label == TUMOUR);
    let mut segments = vec![
        Segment { part: Part::Liver, runs: liver },
        Segment { part: Part::Tumour, runs: tumours.concat() },
    ];
    segments.retain(|segment| !segment.runs.is_empty());
    let listed = lesions.map_or(&[][..], |lesions| &lesions.lesions);
    let voxel_mm3 = geometry.spacing.voxel_mm3();
    for (number, lesion) in listed.iter().enumerate() {
        let found = tumours.iter().find(|runs| is(lesion, runs, voxel_mm3));
        let runs = found.ok_or(ObjectError::Lesion { number: number + 1 })?.clone();
        segments.push(Segment { part: Part::Lesion(number), runs });
    }
    Ok(segments)
}

/// True when the lesion was measured on this component. Two components in the same box with the same
/// volume would have to interlock; the first of them would then stand for both.
fn is(lesion: &Lesion, runs: &[Run], voxel_mm3: f64) -> bool {
    let voxels: usize = runs.iter().map(Run::len).sum();
    lesion.volume_mm3 == voxels as f64 * voxel_mm3
        && VoxelBox::around(runs.iter().map(Run::bounds)) == Some(lesion.bounds)
}
