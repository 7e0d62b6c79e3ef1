//! Staging of the EASL Clinical Practice Guidelines 2018 (J Hepatol 2018;69:182), a modified BCLC:
//! the rules of [`super::bclc`], with stage 0 below 2 cm and stage A, where there are two or three
//! lesions, below 3 cm.
//!
//! Uncertain: how the "EASL" that Cao 2025 compares with differs from its "BCLC" is not known, and
//! the guideline's figure could not be read at hand. From general knowledge: that its limits are "<",
//! and that it reads preserved function as Child-Pugh A without ascites, where these rules count class
//! B as preserved too.

use super::{Extent, Found, Patient, Stage};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "A modified BCLC; the figure was not at hand: that its limits themselves are excluded is from memory, and Child-Pugh B counts as preserved although the figure reads A without ascites; any Vp or Vv class and an ECOG of 1 or 2 count as stage C; what Cao 2025 calls EASL is not known.";

/// A single lesion of stage 0 is smaller, mm: EASL 2018.
const VERY_EARLY_BELOW_MM: f64 = 20.0;
/// Each of two or three lesions of stage A is smaller, mm: EASL 2018.
const EARLY_EACH_BELOW_MM: f64 = 30.0;
/// Most lesions of stage A: EASL 2018.
const EARLY_MAX_COUNT: u32 = 3;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let disease = patient.disease(inputs)?;
    let stage = match disease.extent {
        _ if disease.end_stage => Stage::EaslD,
        _ if disease.invasion || disease.spread || disease.ecog > 0 => Stage::EaslC,
        Extent::Nodules(1, mm) if mm < VERY_EARLY_BELOW_MM => Stage::Easl0,
        Extent::Nodules(1, _) => Stage::EaslA,
        Extent::Nodules(count, mm) if count <= EARLY_MAX_COUNT && mm < EARLY_EACH_BELOW_MM => {
            Stage::EaslA
        }
        Extent::Nodules(..) | Extent::Diffuse => Stage::EaslB,
    };
    Some((stage, None))
}
