//! Up-to-seven criterion: largest diameter in cm plus number of lesions, at most 7 (PMC6558441, table
//! 1; Mazzaferro et al., Lancet Oncol 2009;10:35).
//!
//! Published for transplantation without microvascular invasion, which imaging does not show. A
//! diffuse tumour has no number of lesions and no sum.

use super::{Found, Patient, Stage};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "Published for transplantation without microvascular invasion, which is not checked.";

/// Highest sum within, itself included.
const WITHIN_MAX: f64 = 7.0;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let (count, mm) = patient.extent(inputs)?.nodules()?;
    let sum = mm / 10.0 + f64::from(count);
    let stage = if sum <= WITHIN_MAX { Stage::Within7 } else { Stage::Beyond7 };
    Some((stage, Some(sum)))
}
