//! Barcelona Clinic Liver Cancer staging, 2022 (Reig et al., J Hepatol 2022;76:681; table by way of
//! rdrr.io/cran/cliot/man/bclc_staging.html).
//!
//! | stage | rule, first that holds |
//! |---|---|
//! | D | Child-Pugh C, or ECOG 3–4 |
//! | C | invasion of a portal or hepatic vein, or extrahepatic spread, or ECOG 1–2 |
//! | 0 | one lesion of at most 2 cm |
//! | A | one lesion, or at most three of at most 3 cm each |
//! | B | more |
//!
//! Uncertain: which side the limits themselves are on (the notes follow the paper, ≤); "preserved
//! liver function" is read as Child-Pugh A or B; whether a patient of class C can be transplanted,
//! which would not be stage D, and whether an ECOG of 1 is the tumour's doing, is not asked.

use super::{Found, Patient, Stage};
use crate::clinical::burden::{extrahepatic_spread, macrovascular_invasion};
use crate::clinical::liver_function::ChildPughClass;
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "Transplantability and the cause of an ECOG of 1 are not asked; \
                                 Child-Pugh B counts as preserved function.";

/// Largest single lesion of stage 0, mm, itself included: Reig 2022.
const VERY_EARLY_MAX_MM: f64 = 20.0;
/// Largest of several lesions of stage A, mm, itself included: Reig 2022.
const EARLY_EACH_MAX_MM: f64 = 30.0;
/// Most lesions of stage A, where each is small enough: Reig 2022.
const EARLY_MAX_COUNT: u32 = 3;
/// Lowest ECOG of stage D: Reig 2022.
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
        Stage::BclcD
    } else if invasion || spread || ecog > 0 {
        Stage::BclcC
    } else if count == 1 && mm <= VERY_EARLY_MAX_MM {
        Stage::Bclc0
    } else if count == 1 || (count <= EARLY_MAX_COUNT && mm <= EARLY_EACH_MAX_MM) {
        Stage::BclcA
    } else {
        Stage::BclcB
    };
    Some((stage, None))
}
