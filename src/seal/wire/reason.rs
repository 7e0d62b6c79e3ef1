//! Why a study has no score: a number, a name, and what a scanner technician can do about it.

use serde::{Deserialize, Serialize};

use super::atoms::Text;
use super::codes::codes;

/// One reason. `detail` explains the case at hand in a few words: expected and found, never a
/// file name, never anything that identifies a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Which reason.
    pub code: ReasonCode,
    /// Expected and found, when that helps.
    pub detail: Option<Text<160>>,
}

impl Reason {
    /// A reason that needs no detail.
    pub fn bare(code: ReasonCode) -> Self {
        Self { code, detail: None }
    }

    /// A reason with an explanation, shortened to what fits.
    pub fn with_detail(code: ReasonCode, detail: &str) -> Self {
        Self { code, detail: Some(Text::shortened(detail)) }
    }
}

codes! {
    /// Reason codes. 0–19 intake, 20–49 image files, 50–69 gate, 70–89 the worker, 100–119 a
    /// criterion of the validity box is not met, 120–139 it cannot be evaluated.
    ReasonCode {
        EmptyStudy = 0, "empty_study", "The study folder held no usable file: send the series again, both phases.";
        Incomplete = 1, "incomplete", "The study was not complete before the deadline: check the transfer and send it again.";
        MarkerMismatch = 2, "marker_mismatch", "The files are not the ones the .done marker lists: send the study again and write the marker last.";
        SymlinkRefused = 3, "symlink_refused", "The study holds a link, a pipe or a device instead of a plain file: copy the files themselves.";
        AmbiguousRole = 4, "ambiguous_role", "Two files could be the same phase: keep one per phase, NIfTI or DICOM, or name them in study.json.";
        ClinicalInvalid = 5, "clinical_invalid", "clinical.json cannot be used: correct the field that is named here and send the study again.";
        ArterialMissing = 6, "arterial_missing", "There is no arterial phase: send the arterial series together with the portal venous one.";
        PortalMissing = 7, "portal_missing", "There is no portal venous phase: send the portal venous series together with the arterial one.";
        TooManyFiles = 8, "too_many_files", "The study holds more files than allowed: send only the two series and clinical.json.";
        StudyInvalid = 9, "study_invalid", "study.json cannot be used: correct it or name the files by their phase.";

        NotNifti = 20, "not_nifti", "A file is not a NIfTI-1 image: export the series as .nii or .nii.gz.";
        Truncated = 21, "truncated", "An image file ends too early: the transfer was cut off, send it again.";
        Corrupt = 22, "corrupt", "An image file is damaged (its checksum is wrong): send it again.";
        WrongDatatype = 23, "wrong_datatype", "The voxel type is not supported: export 16-bit integers.";
        NotThreeDimensional = 24, "not_three_dimensional", "The image is not one three-dimensional series: export each phase by itself.";
        Colour = 25, "colour", "The image is in colour: export the original CT series, not a screenshot or a fusion.";
        NotFinite = 26, "not_finite", "The image holds numbers that are not finite: export the original CT series.";
        ImplausibleHu = 27, "implausible_hu", "The values are not Hounsfield units of a CT: check that the series is a CT with its original scaling.";
        BadHeader = 28, "bad_header", "The image header contradicts itself: export the series again.";
        NoOrientation = 29, "no_orientation", "The image does not say how it lies in the patient: export it with its orientation.";
        BadSpacing = 30, "bad_spacing", "The voxel size is missing or impossible: export the series again with its voxel size.";
        TooLarge = 31, "too_large", "The image is larger than this device accepts: send only the liver series.";
        SpacingNotSupported = 32, "spacing_not_supported", "The slices are too thick or too thin: reconstruct with 1 to 5 mm slices.";
        TooFewSlices = 33, "too_few_slices", "The series has too few slices: send the whole liver, not a scout or a sample.";
        NotDicom = 34, "not_dicom", "A file is not a DICOM image that can be read: export the series again, uncompressed.";
        SlicesMissing = 35, "slices_missing", "Slices are missing or unevenly spaced: send the whole series again.";

        SyntaxNotRead = 36, "transfer_syntax_not_read", "The images are compressed in a way that is not read: export the series uncompressed or losslessly compressed.";
        LossyCompression = 37, "lossy_compression", "The images were compressed with loss, which changes what is measured: send the original series.";
        DuplicateSlices = 38, "duplicate_slices", "Different images lie at the same place: export each acquisition as its own series.";
        GantryTilt = 39, "gantry_tilt", "The slices are tilted against the table: send a series without tilt or a reformatted one.";

        PhasesDoNotMatch = 50, "phases_do_not_match", "The two phases do not show the same region: send both phases of the same examination.";
        NoLiver = 51, "no_liver", "No liver was found: check that this is an abdominal CT.";
        NoTumour = 52, "no_tumour", "No liver tumour was found: look at the pictures; a radiologist decides.";
        LiverCutOff = 53, "liver_cut_off", "The liver is cut off at the edge of the scan: send a series that covers the whole liver.";
        NotContrastEnhanced = 54, "not_contrast_enhanced", "The images show no contrast enhancement: send the contrast phases.";
        PhasesSwapped = 55, "phases_swapped", "The phases look swapped: check which series is arterial and which is portal venous.";

        PhaseUnclear = 56, "phase_unclear", "The contrast phases cannot be told apart: check that two different series were sent.";

        PhasesNotAligned = 57, "phases_not_aligned", "The liver does not lie in the same place in both phases: the patient moved or breathed too differently; look at the pictures, and scan again where that is justified.";
        LesionsOutsideLiver = 58, "lesions_outside_liver", "Much of what was taken for tumour lies outside the liver: look at the pictures; a radiologist decides.";
        OutOfDistribution = 59, "out_of_distribution", "The tumour is like none that the classifier was trained on, so its score would mean nothing: a radiologist decides.";

        Poison = 70, "poison", "Processing failed three times: keep the study and call the field engineer.";
        WorkerCrashed = 71, "worker_crashed", "Processing ended unexpectedly: keep the study and call the field engineer.";
        WorkerTimeout = 72, "worker_timeout", "Processing took too long and was stopped: send the study again; if it happens again call the field engineer.";
        WorkerMemory = 73, "worker_memory", "Processing needs more memory than allowed: send a smaller series or call the field engineer.";
        Internal = 74, "internal", "The device made an error: keep the study and call the field engineer.";
        ModelRefused = 75, "model_refused", "A model package was refused: call the field engineer.";

        OutOfRangeAge = 100, "out_of_range:age", "Outside the validity range: age must be 18 to 75 years.";
        OutOfRangeEcog = 101, "out_of_range:ecog", "Outside the validity range: ECOG must be 0 or 1.";
        OutOfRangeChildPugh = 102, "out_of_range:child_pugh", "Outside the validity range: Child-Pugh must be A or B.";
        OutOfRangeDiameter = 103, "out_of_range:diameter", "Outside the validity range: the largest tumour must measure at least 5 cm.";
        OutOfRangePriorTherapy = 104, "out_of_range:prior_therapy", "Outside the validity range: the tumour was treated before.";
        OutOfRangeSecondMalignancy = 105, "out_of_range:second_malignancy", "Outside the validity range: there is a second malignancy.";
        OutOfRangeDaysCtToTreatment = 106, "out_of_range:days_ct_to_treatment", "Outside the validity range: the CT must be at most 14 days before treatment.";

        UnknownAge = 120, "unknown:age", "age_years is missing in clinical.json: add it and send the study again.";
        UnknownEcog = 121, "unknown:ecog", "ecog is missing in clinical.json: add it and send the study again.";
        UnknownChildPugh = 122, "unknown:child_pugh", "Child-Pugh cannot be computed: add bilirubin, albumin, INR, ascites and encephalopathy to clinical.json.";
        UnknownDiameter = 123, "unknown:diameter", "The tumour diameter could not be measured: check the images.";
        UnknownPriorTherapy = 124, "unknown:prior_therapy", "prior_therapy is missing in clinical.json: add it and send the study again.";
        UnknownSecondMalignancy = 125, "unknown:second_malignancy", "second_malignancy is missing in clinical.json: add it and send the study again.";
        UnknownDaysCtToTreatment = 126, "unknown:days_ct_to_treatment", "days_ct_to_treatment is missing in clinical.json: add it and send the study again.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_number_name_and_instruction() {
        let numbers: BTreeSet<u64> = ReasonCode::ALL.iter().map(|r| r.code()).collect();
        let names: BTreeSet<&str> = ReasonCode::ALL.iter().map(|r| r.name()).collect();
        assert_eq!((numbers.len(), names.len()), (ReasonCode::ALL.len(), ReasonCode::ALL.len()));
        for reason in ReasonCode::ALL {
            let shaped = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':';
            assert!(reason.name().chars().all(shaped), "{}", reason.name());
            let sentence = reason.sentence();
            assert!(sentence.ends_with('.') && sentence.len() > 30, "{sentence}");
            assert!(sentence.contains(": "), "says what is wrong and what to do: {sentence}");
        }
    }

    #[test]
    fn every_criterion_of_the_validity_box_has_both_reasons() {
        use crate::seal::wire::codes::Criterion;
        let names: BTreeSet<&str> = ReasonCode::ALL.iter().map(|r| r.name()).collect();
        for criterion in Criterion::ALL.iter().filter(|c| **c != Criterion::BothPhases) {
            for kind in ["out_of_range", "unknown"] {
                let name = format!("{kind}:{}", criterion.name());
                assert!(names.contains(name.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn a_long_detail_is_shortened_not_refused() {
        let reason = Reason::with_detail(ReasonCode::Internal, &"x".repeat(500));
        assert_eq!(reason.detail.unwrap().len(), 160);
    }
}
