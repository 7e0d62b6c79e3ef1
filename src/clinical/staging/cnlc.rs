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
//! Uncertain: the guideline's table was read in a secondary copy; which thrombi imaging must show is
//! our reading (any Vp or Vv class).

use super::{Found, Patient, Stage};
use crate::clinical::burden::{extrahepatic_spread, macrovascular_invasion};
use crate::clinical::liver_function::ChildPughClass;
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "Read in a secondary copy of the guideline; any Vp or Vv class counts as macrovascular invasion.";

/// Largest single lesion of stage Ia, mm, itself included: CNLC.
const SINGLE_SMALL_MAX_MM: f64 = 50.0;
/// Largest of two or three lesions of stage Ib, mm, itself included: CNLC.
const FEW_SMALL_MAX_MM: f64 = 30.0;
/// Most lesions that count as few: CNLC.
const FEW_MAX_COUNT: u32 = 3;
/// Lowest ECOG of stage IV: CNLC.
const END_STAGE_ECOG: u32 = 3;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let ecog = patient.ecog(inputs);
    let class = patient.child_pugh(inputs);
    let invasion = macrovascular_invasion(patient.data, inputs);
    let spread = extrahepatic_spread(patient.data, inputs);
    let burden = patient.burden.need(inputs);
    let (ecog, class, (count, mm)) = (ecog?, class?, burden?);
    let (invasion, spread) = (invasion?, spread?);
    let stage = if class == ChildPughClass::C || ecog >= END_STAGE_ECOG {
        Stage::CnlcIV
    } else if spread {
        Stage::CnlcIIIb
    } else if invasion {
        Stage::CnlcIIIa
    } else if count > FEW_MAX_COUNT {
        Stage::CnlcIIb
    } else if count == 1 && mm <= SINGLE_SMALL_MAX_MM {
        Stage::CnlcIa
    } else if count == 1 || mm <= FEW_SMALL_MAX_MM {
        Stage::CnlcIb
    } else {
        Stage::CnlcIIa
    };
    Some((stage, None))
}
