//! China liver cancer staging (National Health Commission guideline, 2024 edition; English edition of
//! 2019 in PMC7768108).
//!
//! | stage | rule, first that holds |
//! |---|---|
//! | IV | Child-Pugh C, or ECOG 3–4 |
//! | IIIb | extrahepatic spread, nodes or distant |
//! | IIIa | thrombus in a portal or hepatic vein |
//! | Ia | one lesion of at most 5 cm |
//! | Ib | one larger lesion, or two or three of at most 3 cm |
//! | IIa | two or three lesions, the largest above 3 cm |
//! | IIb | four or more lesions |
//!
//! A diffuse tumour has none of the stages that count lesions.
//!
//! Uncertain: the guideline's table was read in a secondary copy; which thrombi imaging must show is
//! our reading (any Vp or Vv class).

use super::{Extent, Found, Patient, Stage};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "Read in a secondary copy of the guideline; the limits themselves count as within; any Vp or Vv class counts as macrovascular invasion.";

/// Largest single lesion of stage Ia, mm, itself included: CNLC.
const SINGLE_SMALL_MAX_MM: f64 = 50.0;
/// Largest of two or three lesions of stage Ib, mm, itself included: CNLC.
const FEW_SMALL_MAX_MM: f64 = 30.0;
/// Most lesions that count as few: CNLC.
const FEW_MAX_COUNT: u32 = 3;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let disease = patient.disease(inputs)?;
    let stage = match disease.extent {
        _ if disease.end_stage => Stage::CnlcIV,
        _ if disease.spread => Stage::CnlcIIIb,
        _ if disease.invasion => Stage::CnlcIIIa,
        Extent::Diffuse => return None,
        Extent::Nodules(count, _) if count > FEW_MAX_COUNT => Stage::CnlcIIb,
        Extent::Nodules(1, mm) if mm <= SINGLE_SMALL_MAX_MM => Stage::CnlcIa,
        Extent::Nodules(1, _) => Stage::CnlcIb,
        Extent::Nodules(_, mm) if mm <= FEW_SMALL_MAX_MM => Stage::CnlcIb,
        Extent::Nodules(..) => Stage::CnlcIIa,
    };
    Some((stage, None))
}
