//! Hong Kong Liver Cancer staging (Yau et al., Gastroenterology 2014;146:1691).
//!
//! Tumour: early, at most 5 cm, at most three lesions, no intrahepatic venous invasion; intermediate,
//! at most 5 cm with either more lesions or venous invasion, or larger with neither; locally advanced,
//! everything beyond, and every diffuse tumour. Extrahepatic vascular invasion or metastasis (EVM):
//! main portal vein (Vp4), inferior vena cava (Vv3), or spread (PMC8197840, table 2, for Vp4).
//!
//! | stage | rule, first that holds |
//! |---|---|
//! | Va, Vb | ECOG 2–4 or Child-Pugh C: early without EVM, otherwise |
//! | IVa, IVb | EVM: Child-Pugh A, B |
//! | I, IIa | early: A, B |
//! | IIb, IIIa | intermediate: A, B |
//! | IIIb | locally advanced |
//!
//! Uncertain: the tree was written down from general knowledge. The one stored source (PMC8197840)
//! confirms IVa, IVb and that Vp1 to Vp3 fall below them, and does not settle stages I to IIIb.

use super::{Extent, Found, Patient, Stage};
use crate::clinical::burden::extrahepatic_spread;
use crate::clinical::data::{Field, HepaticVein, Pvtt};
use crate::clinical::liver_function::ChildPughClass;
use crate::clinical::needs::Inputs;

pub(super) const CAVEAT: &str =
    "UNVERIFIED: the tree of stages I to IIIb and V was not found in a source at hand.";

/// Largest small tumour, mm, itself included: Yau 2014, unverified.
const SMALL_MAX_MM: f64 = 50.0;
/// Most lesions that count as few: Yau 2014, unverified.
const FEW_MAX_COUNT: u32 = 3;
/// Lowest ECOG of stage V: Yau 2014, unverified.
const POOR_ECOG: u32 = 2;

/// Tumour status inside the liver.
#[derive(Clone, Copy, PartialEq)]
enum Status {
    Early,
    Intermediate,
    LocallyAdvanced,
}

pub(super) fn stage(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<Found> {
    let ecog = patient.ecog(inputs);
    let class = patient.child_pugh(inputs);
    let invasion = intrahepatic_invasion(patient, inputs);
    let outside = outside_the_liver(patient, inputs);
    let extent = patient.extent(inputs);
    let (ecog, class, invasion) = (ecog?, class?, invasion?);
    let (outside, extent) = (outside?, extent?);
    let status = match extent {
        Extent::Diffuse => Status::LocallyAdvanced,
        Extent::Nodules(count, mm) => status(count, mm, invasion),
    };
    Some((stage_of(ecog, class, status, outside), None))
}

fn stage_of(ecog: u32, class: ChildPughClass, status: Status, outside: bool) -> Stage {
    use ChildPughClass::{A, B, C};
    match (class, status) {
        (_, status) if ecog >= POOR_ECOG || class == C => {
            if status == Status::Early && !outside {
                Stage::HklcVa
            } else {
                Stage::HklcVb
            }
        }
        (A, _) if outside => Stage::HklcIVa,
        (B | C, _) if outside => Stage::HklcIVb,
        (A, Status::Early) => Stage::HklcI,
        (B | C, Status::Early) => Stage::HklcIIa,
        (A, Status::Intermediate) => Stage::HklcIIb,
        (B | C, Status::Intermediate) => Stage::HklcIIIa,
        (A | B | C, Status::LocallyAdvanced) => Stage::HklcIIIb,
    }
}

fn status(count: u32, mm: f64, invasion: bool) -> Status {
    let (large, many) = (mm > SMALL_MAX_MM, count > FEW_MAX_COUNT);
    match [large, many, invasion].iter().filter(|worse| **worse).count() {
        0 => Status::Early,
        1 => Status::Intermediate,
        _ => Status::LocallyAdvanced,
    }
}

/// Vp1–Vp3 or Vv1–Vv2.
fn intrahepatic_invasion(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<bool> {
    let within = |class| matches!(class, Pvtt::Vp1 | Pvtt::Vp2 | Pvtt::Vp3);
    let within_hepatic = |class| matches!(class, HepaticVein::Vv1 | HepaticVein::Vv2);
    let hepatic = patient.data.hepatic_vein_invasion.map(within_hepatic);
    inputs.need_any(&[
        (Field::Pvtt, patient.data.pvtt.map(within)),
        (Field::HepaticVeinInvasion, hepatic),
    ])
}

/// Vp4, Vv3 or spread.
fn outside_the_liver(patient: &Patient<'_>, inputs: &mut Inputs) -> Option<bool> {
    let spread = extrahepatic_spread(patient.data, &mut Inputs::default());
    let cava = patient.data.hepatic_vein_invasion.map(|class| class == HepaticVein::Vv3);
    inputs.need_any(&[
        (Field::Pvtt, patient.data.pvtt.map(|class| class == Pvtt::Vp4)),
        (Field::HepaticVeinInvasion, cava),
        (Field::ExtrahepaticSpread, spread),
    ])
}
