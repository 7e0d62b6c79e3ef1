//! Barcelona Clinic Liver Cancer staging, 2022 (Reig et al., J Hepatol 2022;76:681; table by way of
//! rdrr.io/cran/cliot/man/bclc_staging.html).
//!
//! | stage | rule, first that holds |
//! |---|---|
//! | D | Child-Pugh C, or ECOG 3–4 |
//! | C | invasion of a portal or hepatic vein, or extrahepatic spread, or ECOG 1–2 |
//! | 0 | one lesion of at most 2 cm |
//! | A | one lesion, or at most three of at most 3 cm each |
//! | B | more, or a diffuse tumour |
//!
//! Uncertain: which side the limits themselves are on (the notes follow the paper, ≤); "preserved
//! liver function" is read as Child-Pugh A or B; that the peripheral classes Vp1 and Vv1 are invasion
//! is our reading; whether a patient of class C can be transplanted, which would not be stage D, and
//! whether an ECOG of 1 or 2 is the tumour's doing, is not asked.

use super::{Extent, Found, Patient, Stage};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "Limits of 2 and 3 cm count as within; any Vp or Vv class counts as invasion; Child-Pugh B counts as preserved function; transplantability and the cause of an ECOG of 1 or 2 are not asked.";

/// Largest single lesion of stage 0, mm, itself included: Reig 2022.
const VERY_EARLY_MAX_MM: f64 = 20.0;
/// Largest of several lesions of stage A, mm, itself included: Reig 2022.
const EARLY_EACH_MAX_MM: f64 = 30.0;
/// Most lesions of stage A, where each is small enough: Reig 2022.
const EARLY_MAX_COUNT: u32 = 3;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let disease = patient.disease(inputs)?;
    let stage = match disease.extent {
        _ if disease.end_stage => Stage::BclcD,
        _ if disease.invasion || disease.spread || disease.ecog > 0 => Stage::BclcC,
        Extent::Nodules(1, mm) if mm <= VERY_EARLY_MAX_MM => Stage::Bclc0,
        Extent::Nodules(1, _) => Stage::BclcA,
        Extent::Nodules(count, mm) if count <= EARLY_MAX_COUNT && mm <= EARLY_EACH_MAX_MM => {
            Stage::BclcA
        }
        Extent::Nodules(..) | Extent::Diffuse => Stage::BclcB,
    };
    Some((stage, None))
}
