//! A phantom as the files of a study, and its truth as files of their own.

use serde::Serialize;

use super::clinical::ClinicalSheet;
use super::generate::{Phantom, generate};
use super::nifti::encode;
use super::orientation::Placement;
use super::spec::{PhantomError, PhantomSpec, Phenotype};
use super::truth::Truth;

/// The bytes of one synthetic study, its images as NIfTI.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyFiles {
    /// Both phases.
    pub images: ImageFiles,
    /// What goes with the images in any form.
    pub sheets: SheetFiles,
}

/// The bytes of the images.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFiles {
    /// Gzipped NIfTI-1, int16 HU; absent in a single-phase study.
    pub arterial_nii_gz: Option<Vec<u8>>,
    /// Gzipped NIfTI-1, int16 HU.
    pub portal_nii_gz: Vec<u8>,
}

/// The bytes of the clinical data and of the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetFiles {
    /// Gzipped NIfTI-1, uint8 labels 0, 1, 2 on the portal grid.
    pub truth_labels_nii_gz: Vec<u8>,
    /// Clinical data, schema 1.
    pub clinical_json: Vec<u8>,
    /// The truth with its units, schema 1.
    pub truth_json: Vec<u8>,
    /// The same truth as a value.
    pub truth: Truth,
}

/// Draws a phantom and encodes it.
pub fn study(spec: &PhantomSpec) -> Result<StudyFiles, PhantomError> {
    let phantom = generate(spec)?;
    Ok(StudyFiles { images: encode_images(&phantom)?, sheets: encode_sheets(&phantom)? })
}

/// Encodes the images of a phantom that was drawn before.
pub fn encode_images(phantom: &Phantom) -> Result<ImageFiles, PhantomError> {
    let placement = Placement::of(&phantom.spec);
    let axes = phantom.spec.orientation.axes();
    let arterial = phantom.arterial.as_ref().map(|v| encode(v, &placement, axes)).transpose()?;
    Ok(ImageFiles {
        arterial_nii_gz: arterial,
        portal_nii_gz: encode(&phantom.portal, &placement, axes)?,
    })
}

/// Encodes what goes with the images.
pub fn encode_sheets(phantom: &Phantom) -> Result<SheetFiles, PhantomError> {
    let spec = &phantom.spec;
    let axes = spec.orientation.axes();
    Ok(SheetFiles {
        truth_labels_nii_gz: encode(&phantom.labels, &Placement::of(spec), axes)?,
        clinical_json: json(&ClinicalSheet::new(spec))?,
        truth_json: json(&TruthFile::new(spec, &phantom.truth))?,
        truth: phantom.truth.clone(),
    })
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, PhantomError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| PhantomError::Encode(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `truth.json`.
#[derive(Debug, Serialize)]
struct TruthFile {
    schema: u32,
    seed: u64,
    shape_zyx: [usize; 3],
    spacing_zyx_mm: [f64; 3],
    orientation: String,
    liver_ml: f64,
    tumours: Vec<TumourFile>,
}

#[derive(Debug, Serialize)]
struct TumourFile {
    phenotype: &'static str,
    diameter_mm: f64,
    slice: usize,
    volume_mm3: f64,
    centre_mm: [f64; 3],
}

impl TruthFile {
    fn new(spec: &PhantomSpec, truth: &Truth) -> Self {
        let tumours = truth.tumours.iter().map(|tumour| TumourFile {
            phenotype: phenotype_name(tumour.phenotype),
            diameter_mm: tumour.diameter_mm,
            slice: tumour.slice,
            volume_mm3: tumour.volume_mm3,
            centre_mm: tumour.centre_mm,
        });
        Self {
            schema: 1,
            seed: spec.seed,
            shape_zyx: spec.shape,
            spacing_zyx_mm: spec.spacing.zyx(),
            orientation: spec.orientation.letters(),
            liver_ml: truth.liver_ml,
            tumours: tumours.collect(),
        }
    }
}

/// The phenotype as `truth.json` spells it.
pub fn phenotype_name(phenotype: Phenotype) -> &'static str {
    match phenotype {
        Phenotype::Proliferative => "proliferative",
        Phenotype::NonProliferative => "non_proliferative",
    }
}

#[cfg(test)]
mod tests;
