//! Modified ALBI grade (mALBI): the ALBI score (Johnson et al., J Clin Oncol 2015;33:550) with
//! grade 2 divided at −2.27.
//!
//! Uncertain: the number −2.27 is general knowledge; the stored sources describe the grades without
//! printing it.

use super::{Found, Patient, Stage};
use crate::clinical::liver_function::{Albi, ModifiedAlbiGrade};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "The limit -2.27 between 2a and 2b was not found printed in a source at hand.";

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let albi = match Albi::of(patient.data) {
        Ok(albi) => albi,
        Err(needs) => return inputs.lack(needs),
    };
    let stage = match ModifiedAlbiGrade::of_score(albi.score) {
        ModifiedAlbiGrade::One => Stage::Malbi1,
        ModifiedAlbiGrade::TwoA => Stage::Malbi2a,
        ModifiedAlbiGrade::TwoB => Stage::Malbi2b,
        ModifiedAlbiGrade::Three => Stage::Malbi3,
    };
    Some((stage, Some(albi.score)))
}
