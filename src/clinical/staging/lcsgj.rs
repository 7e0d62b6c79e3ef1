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
//! Uncertain: the Japan Society of Hepatology also has a treatment algorithm, which is no stage; which
//! of the two the paper means is not known.

use super::{Found, Patient, Stage};
use crate::clinical::burden::{distant_metastasis, node_metastasis};
use crate::clinical::data::{Field, HepaticVein, Pvtt};
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "LCSGJ TNM; whether Cao 2025 means it or the JSH treatment algorithm is not known.";

/// Largest lesion that meets the size condition, mm, itself included: LCSGJ.
const SMALL_MAX_MM: f64 = 20.0;

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let data = patient.data;
    let invasion = inputs.need_any(&[
        (Field::Pvtt, data.pvtt.map(|class| class != Pvtt::None)),
        (
            Field::HepaticVeinInvasion,
            data.hepatic_vein_invasion.map(|class| class != HepaticVein::None),
        ),
        (Field::BileDuctInvasion, data.bile_duct_invasion),
    ]);
    let node = node_metastasis(data, inputs);
    let distant = distant_metastasis(data, inputs);
    let (count, mm) = patient.burden.need(inputs)?;
    let conditions = [count == 1, mm <= SMALL_MAX_MM, !invasion?];
    let (node, distant) = (node?, distant?);
    let stage = match conditions.iter().filter(|met| **met).count() {
        _ if distant => Stage::LcsgjIVb,
        _ if node => Stage::LcsgjIVa,
        0 => Stage::LcsgjIVa,
        1 => Stage::LcsgjIII,
        2 => Stage::LcsgjII,
        _ => Stage::LcsgjI,
    };
    Some((stage, None))
}
