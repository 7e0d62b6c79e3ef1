//! Staging of the EASL Clinical Practice Guidelines 2018 (J Hepatol 2018;69:182), a modified BCLC:
//! the rules of [`super::bclc`], with stage 0 below 2 cm and stage A, where there are two or three
//! lesions, below 3 cm.
//!
//! Uncertain: how the "EASL" that Cao 2025 compares with differs from its "BCLC" is not known, and
//! the guideline's figure could not be read at hand: that its limits are "<" is general knowledge.

use super::{Found, Patient, Stage};
use crate::clinical::burden::{extrahepatic_spread, macrovascular_invasion};
use crate::clinical::liver_function::ChildPughClass;
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str = "A modified BCLC; the guideline's figure was not at hand, and what \
                                 Cao 2025 calls EASL is not known.";

/// A single lesion of stage 0 is smaller, mm: EASL 2018.
const VERY_EARLY_BELOW_MM: f64 = 20.0;
/// Each of two or three lesions of stage A is smaller, mm: EASL 2018.
const EARLY_EACH_BELOW_MM: f64 = 30.0;
/// Most lesions of stage A: EASL 2018.
const EARLY_MAX_COUNT: u32 = 3;
/// Lowest ECOG of stage D: EASL 2018.
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
        Stage::EaslD
    } else if invasion || spread || ecog > 0 {
        Stage::EaslC
    } else if count == 1 && mm < VERY_EARLY_BELOW_MM {
        Stage::Easl0
    } else if count == 1 || (count <= EARLY_MAX_COUNT && mm < EARLY_EACH_BELOW_MM) {
        Stage::EaslA
    } else {
        Stage::EaslB
    };
    Some((stage, None))
}
