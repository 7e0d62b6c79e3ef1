//! TNM of the Liver Cancer Study Group of Japan (wjgnet.com/1007-9327/tables/v14/i1/58.htm, table 1A;
//! the same in PMC9747269, table 5), taken for the "JSH" that Cao 2025 compares with.
//!
//! T counts how many of three hold: one lesion; at most 2 cm; no invasion of a portal vein, hepatic
//! vein or bile duct (Vp0, Vv0, B0). Three make T1, two T2, one T3, none T4.
//!
//! | stage | rule, first that holds |
//! |---|---|
//! | IVB | M1 |
//! | IVA | N1, or T4 |
//! | III, II, I | T3, T2, T1 |
//!
//! A diffuse tumour has no T: only N1 and M1 stage it.
//!
//! Uncertain: the Japan Society of Hepatology also has a treatment algorithm, which is no stage; which
//! of the two the paper means is not known.

use super::{Extent, Found, Patient, Stage};
use crate::clinical::burden::{distant_metastasis, node_metastasis, vessel_or_duct_invasion};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "LCSGJ TNM; whether Cao 2025 means it or the JSH treatment algorithm is not known.";

/// Largest lesion that meets the size condition, mm, itself included: LCSGJ.
const SMALL_MAX_MM: f64 = 20.0;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let data = patient.data;
    let invasion = vessel_or_duct_invasion(data, inputs);
    let node = node_metastasis(data, inputs);
    let distant = distant_metastasis(data, inputs);
    let extent = patient.extent(inputs);
    let (invasion, node, distant, extent) = (invasion?, node?, distant?, extent?);
    let stage = if distant {
        Stage::LcsgjIVb
    } else if node {
        Stage::LcsgjIVa
    } else {
        by_t(extent, invasion)?
    };
    Some((stage, None))
}

/// T1 to T4 without nodes or metastases; a diffuse tumour has no T.
fn by_t(extent: Extent, invasion: bool) -> Option<Stage> {
    let (count, mm) = extent.nodules()?;
    let conditions = [count == 1, mm <= SMALL_MAX_MM, !invasion];
    Some(match conditions.iter().filter(|met| **met).count() {
        0 => Stage::LcsgjIVa,
        1 => Stage::LcsgjIII,
        2 => Stage::LcsgjII,
        _ => Stage::LcsgjI,
    })
}
