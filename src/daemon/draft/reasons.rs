//! Why there is no score, and what the gate measured, in wire form. Matched without `_`, so that a
//! new reason cannot be forgotten here.

use super::scaled;
use crate::analysis::decode::dicom::{DicomError, Finding};
use crate::analysis::decode::{DecodeError, ImageName};
use crate::analysis::findings::{Findings, Reason};
use crate::analysis::gate::{
    GateReason, GateReport, LEAST_PHASE_SIMILARITY, MOST_PHASE_SHIFT_MM, Measurement, Quantity,
};
use crate::analysis::phases::{PhaseProblem, SeriesReport};
use crate::clinical::Reason as ClinicalReason;
use crate::clinical::eligibility::CriterionKind;
use crate::host::errors::one_line;
use crate::seal::wire::{self, GateCode, ReasonCode};

/// The most reasons a message holds.
const MAX_REASONS: usize = 12;

/// The reasons in the order found; the ones beyond the wire's limit are left out.
pub(super) fn reasons(findings: &Findings) -> Vec<wire::Reason> {
    let gate = findings.gate.as_ref();
    findings.reasons.iter().take(MAX_REASONS).map(|one| reason(one, gate)).collect()
}

fn reason(reason: &Reason, report: Option<&GateReport>) -> wire::Reason {
    match reason {
        Reason::Image(error) => wire::Reason::with_detail(image(error), &error.to_string()),
        Reason::Series(error) => wire::Reason::with_detail(series(error), &one_line(error)),
        Reason::Phases(problem) => phases(problem),
        Reason::Gate(reason) => match report.and_then(|report| seen(*reason, report)) {
            Some(seen) => wire::Reason::with_detail(gate(*reason), &seen),
            None => wire::Reason::bare(gate(*reason)),
        },
        Reason::Clinical(reason) => {
            wire::Reason::with_detail(clinical(reason), &reason.to_string())
        }
        // What is wrong with the file may quote it, so it stays in local files.
        Reason::ClinicalFile(_) => wire::Reason::bare(ReasonCode::ClinicalInvalid),
    }
}

fn image(error: &DecodeError) -> ReasonCode {
    match error {
        DecodeError::NotNifti { .. } => ReasonCode::NotNifti,
        DecodeError::Truncated { .. } => ReasonCode::Truncated,
        DecodeError::Corrupt { .. } => ReasonCode::Corrupt,
        DecodeError::BadHeader { .. } => ReasonCode::BadHeader,
        DecodeError::WrongDatatype { .. } => ReasonCode::WrongDatatype,
        DecodeError::Colour { .. } => ReasonCode::Colour,
        DecodeError::NotThreeDimensional { .. } => ReasonCode::NotThreeDimensional,
        DecodeError::TooFewSlices { .. } => ReasonCode::TooFewSlices,
        DecodeError::TooLarge { .. } => ReasonCode::TooLarge,
        DecodeError::NoOrientation { .. } => ReasonCode::NoOrientation,
        DecodeError::BadSpacing { .. } => ReasonCode::BadSpacing,
        DecodeError::NotFinite { .. } => ReasonCode::NotFinite,
        DecodeError::ImplausibleHu { .. } => ReasonCode::ImplausibleHu,
    }
}

fn series(error: &DicomError) -> ReasonCode {
    match error {
        DicomError::NotDicom
        | DicomError::NoSeries
        | DicomError::NoFileMeta
        | DicomError::NoTransferSyntax => ReasonCode::NotDicom,
        DicomError::SyntaxNotRead { .. } => ReasonCode::SyntaxNotRead,
        DicomError::LossySyntax { .. } | DicomError::LossyHistory => ReasonCode::LossyCompression,
        DicomError::Truncated { .. } => ReasonCode::Truncated,
        DicomError::Corrupt { .. } | DicomError::BadPixels { .. } => ReasonCode::Corrupt,
        DicomError::Missing { .. } | DicomError::BadValue { .. } => ReasonCode::BadHeader,
        DicomError::TooLarge { .. } => ReasonCode::TooLarge,
        DicomError::TooFew { .. } => ReasonCode::TooFewSlices,
        DicomError::Slice { source, .. } | DicomError::BrokenFiles { source, .. } => series(source),
        DicomError::Gap { .. }
        | DicomError::UnevenSpacing { .. }
        | DicomError::Displaced { .. }
        | DicomError::Unfinished { .. } => ReasonCode::SlicesMissing,
        DicomError::Duplicate { .. } => ReasonCode::DuplicateSlices,
        DicomError::Tilted { .. } => ReasonCode::GantryTilt,
        DicomError::Grid(_) => ReasonCode::BadSpacing,
        DicomError::ImplausibleHu { .. } => ReasonCode::ImplausibleHu,
    }
}

fn phases(problem: &PhaseProblem) -> wire::Reason {
    let code = match problem {
        PhaseProblem::Missing { image: ImageName::Arterial, .. } => ReasonCode::ArterialMissing,
        PhaseProblem::Missing { image: ImageName::Portal, .. } => ReasonCode::PortalMissing,
        PhaseProblem::Unclear { .. } => ReasonCode::PhaseUnclear,
        PhaseProblem::FramesOfReference | PhaseProblem::Patients | PhaseProblem::Examinations => {
            ReasonCode::PhasesDoNotMatch
        }
        PhaseProblem::Lost { .. } => ReasonCode::SlicesMissing,
        PhaseProblem::NotThere { .. } => ReasonCode::StudyInvalid,
        PhaseProblem::Refused { error, .. } => series(error),
    };
    let detail = one_line(problem);
    if detail.is_empty() {
        wire::Reason::bare(code)
    } else {
        wire::Reason::with_detail(code, &detail)
    }
}

fn gate(reason: GateReason) -> ReasonCode {
    match reason {
        GateReason::PhasesDoNotMatch => ReasonCode::PhasesDoNotMatch,
        GateReason::PhaseUnclear => ReasonCode::PhaseUnclear,
        GateReason::NotContrastEnhanced => ReasonCode::NotContrastEnhanced,
        GateReason::PhasesSwapped => ReasonCode::PhasesSwapped,
        GateReason::ImplausibleHu => ReasonCode::ImplausibleHu,
        GateReason::NoLiver => ReasonCode::NoLiver,
        GateReason::LiverCutOff => ReasonCode::LiverCutOff,
        GateReason::NoTumour => ReasonCode::NoTumour,
        GateReason::SpacingNotSupported => ReasonCode::SpacingNotSupported,
        GateReason::PhasesNotAligned => ReasonCode::PhasesNotAligned,
        GateReason::LesionsOutsideLiver => ReasonCode::LesionsOutsideLiver,
        GateReason::OutOfDistribution => ReasonCode::OutOfDistribution,
    }
}

fn clinical(reason: &ClinicalReason) -> ReasonCode {
    match reason {
        ClinicalReason::OutOfRange(criterion) => match criterion.kind {
            CriterionKind::Age => ReasonCode::OutOfRangeAge,
            CriterionKind::Ecog => ReasonCode::OutOfRangeEcog,
            CriterionKind::ChildPugh => ReasonCode::OutOfRangeChildPugh,
            CriterionKind::LargestDiameter => ReasonCode::OutOfRangeDiameter,
            CriterionKind::PriorTherapy => ReasonCode::OutOfRangePriorTherapy,
            CriterionKind::SecondMalignancy => ReasonCode::OutOfRangeSecondMalignancy,
            CriterionKind::DaysCtToTreatment => ReasonCode::OutOfRangeDaysCtToTreatment,
        },
        ClinicalReason::Unknown(criterion) => match criterion.kind {
            CriterionKind::Age => ReasonCode::UnknownAge,
            CriterionKind::Ecog => ReasonCode::UnknownEcog,
            CriterionKind::ChildPugh => ReasonCode::UnknownChildPugh,
            CriterionKind::LargestDiameter => ReasonCode::UnknownDiameter,
            CriterionKind::PriorTherapy => ReasonCode::UnknownPriorTherapy,
            CriterionKind::SecondMalignancy => ReasonCode::UnknownSecondMalignancy,
            CriterionKind::DaysCtToTreatment => ReasonCode::UnknownDaysCtToTreatment,
        },
    }
}

/// What speaks for a reason of the gate, where its measured numbers do not speak for themselves.
fn seen(reason: GateReason, report: &GateReport) -> Option<String> {
    if report.against_phases == Some(reason) {
        return Some(contrast(report));
    }
    if reason != GateReason::PhasesNotAligned {
        return None;
    }
    let similarity = report.get(Quantity::PhaseSimilarity)?;
    let Some(shift_mm) = report.get(Quantity::PhaseShift) else {
        return Some("the arterial phase has nothing to compare with the liver".to_owned());
    };
    Some(format!(
        "shift {shift_mm:.0} mm, at most {MOST_PHASE_SHIFT_MM:.0} mm; correlation {similarity:.2}, \
         at least {LEAST_PHASE_SIMILARITY:.2}"
    ))
}

/// What was seen of the contrast medium.
fn contrast(report: &GateReport) -> String {
    let seen = |image: ImageName, name: &str| {
        let liver = report.get(Quantity::LiverHu(image))?;
        Some(match report.get(Quantity::AortaHu(image)) {
            Some(aorta) => format!("{name}: aorta {aorta:.0} HU, liver {liver:.0} HU"),
            None => format!("{name}: no bright aorta found, liver {liver:.0} HU"),
        })
    };
    let both = [seen(ImageName::Arterial, "arterial"), seen(ImageName::Portal, "portal venous")];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What the gate measured and what the DICOM files were, as far as it has a place on the wire.
pub(super) fn gate_values(findings: &Findings) -> Vec<wire::GateValue> {
    let counted = findings.series.iter().flat_map(counts);
    let measured = findings.gate.iter().flat_map(|gate| &gate.measurements).filter_map(gate_value);
    counted.chain(measured).collect()
}

fn counts(report: &SeriesReport) -> [wire::GateValue; 3] {
    let (mut refused, mut left_out) = (0, 0);
    for finding in &report.findings {
        match finding {
            Finding::Refused { .. } => refused += 1,
            Finding::LeftOut { count, .. }
            | Finding::Copies { count }
            | Finding::Lost { count, .. } => left_out += count,
            Finding::Split { .. } => {}
        }
    }
    [
        (GateCode::SeriesUsable, report.series.len()),
        (GateCode::SeriesRefused, refused),
        (GateCode::ObjectsLeftOut, left_out),
    ]
    .map(|(code, count)| wire::GateValue { code, value_e3: scaled(count as f64, 1e3) })
}

fn gate_value(measured: &Measurement) -> Option<wire::GateValue> {
    use ImageName::{Arterial, Portal};
    let (code, scale) = match measured.quantity {
        Quantity::SliceSpacing(Portal) => (GateCode::SpacingZMm, 1e3),
        Quantity::SliceSpacing(Arterial) => (GateCode::SpacingArterialZMm, 1e3),
        Quantity::InPlaneSpacing(Portal) => (GateCode::SpacingXMm, 1e3),
        Quantity::Obliquity(Portal) => (GateCode::ObliquityDeg, 1e3),
        // Percent in the report, a fraction on the wire.
        Quantity::Clipped(Portal) => (GateCode::ImplausibleFraction, 10.0),
        Quantity::SoftTissue(Portal) => (GateCode::SoftTissueFraction, 10.0),
        Quantity::Air(Portal) => (GateCode::AirFraction, 10.0),
        Quantity::PhaseOverlap => (GateCode::PhaseOverlap, 10.0),
        Quantity::PhaseSimilarity => (GateCode::PhaseSimilarity, 1e3),
        Quantity::PhaseShift => (GateCode::PhaseShiftMm, 1e3),
        Quantity::ShiftRight => (GateCode::PhaseShiftRightMm, 1e3),
        Quantity::ShiftAnterior => (GateCode::PhaseShiftAnteriorMm, 1e3),
        Quantity::ShiftSuperior => (GateCode::PhaseShiftSuperiorMm, 1e3),
        Quantity::LiverAtSides => (GateCode::LiverAtSidesCm2, 1e3),
        Quantity::TumourOutside => (GateCode::TumourOutsideFraction, 10.0),
        Quantity::PrototypeDistance => (GateCode::PrototypeDistance, 1e3),
        Quantity::LiverVolume => (GateCode::LiverMl, 1e3),
        Quantity::LiverHu(Portal) => (GateCode::LiverHuPortal, 1e3),
        Quantity::LiverHu(Arterial) => (GateCode::LiverHuArterial, 1e3),
        Quantity::VesselHu(Portal) => (GateCode::VesselHuPortal, 1e3),
        Quantity::VesselHu(Arterial) => (GateCode::VesselHuArterial, 1e3),
        Quantity::AortaHu(Portal) => (GateCode::AortaHuPortal, 1e3),
        Quantity::AortaHu(Arterial) => (GateCode::AortaHuArterial, 1e3),
        Quantity::InPlaneSpacing(Arterial)
        | Quantity::Obliquity(Arterial)
        | Quantity::Clipped(Arterial)
        | Quantity::SoftTissue(Arterial)
        | Quantity::Air(Arterial)
        | Quantity::PhaseDifference
        | Quantity::LiverInFirstSlice
        | Quantity::LiverInLastSlice
        | Quantity::LiverCovered
        | Quantity::LesionCount => return None,
    };
    Some(wire::GateValue { code, value_e3: scaled(measured.value, scale) })
}
