//! Six-and-twelve score: largest diameter in cm plus number of lesions
//! (interventionaloncology360.com/news/prognostic-score-may-better-stratify-candidates-tace; median
//! survival 49.1, 32.0 and 15.8 months under TACE).
//!
//! Made for candidates of TACE without vascular invasion or spread, which is not checked here. A diffuse tumour has
//! no number of lesions and no sum.

use super::{Found, Patient, Stage};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "Made for candidates of TACE without vascular invasion or extrahepatic spread.";

/// Highest sum of the first stratum, itself included.
const FIRST_MAX: f64 = 6.0;
/// Highest sum of the second stratum, itself included.
const SECOND_MAX: f64 = 12.0;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let (count, mm) = patient.extent(inputs)?.nodules()?;
    let sum = mm / 10.0 + f64::from(count);
    let stage = if sum <= FIRST_MAX {
        Stage::AtMost6
    } else if sum <= SECOND_MAX {
        Stage::Above6To12
    } else {
        Stage::Above12
    };
    Some((stage, Some(sum)))
}
