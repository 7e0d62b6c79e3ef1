//! Published contraindications to TACE, as a checklist for the tumour board: each item is present,
//! absent or unknown. It decides nothing and takes no part in the recommendation.
//!
//! Sources: A, World J Hepatol 2015;7:2009, table 1
//! (wjgnet.com/1948-5182/full/v7/i16/2009-T1.htm); B, commonwealthradiologyassociates.com/?p=8564. They
//! agree on most items and disagree on three, which every display says: renal failure is relative in A
//! and absolute in B, decompensation starts at Child-Pugh 8 in A and above 8 in B, and a large
//! tumour is 10 cm or more in A and more than 10 cm in B. Where they disagree on a limit, A is used:
//! it is the more careful one.

use super::burden::Burden;
use super::data::{Ascites, ClinicalData, Encephalopathy, Lobes, PortalFlow, Pvtt};
use super::liver_function::ChildPugh;
use super::needs::any;
use crate::units::Millimetres;

/// How much an item weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Absolute in every source that has it.
    Absolute,
    /// Absolute in one source and relative in the other.
    Disputed,
    /// Relative in every source that has it.
    Relative,
}

impl Severity {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Disputed => "disputed",
            Self::Relative => "relative",
        }
    }
}

/// The items, in the order listed: absolute, disputed, relative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// Child-Pugh 8 points or more.
    Decompensation,
    /// Bilirubin above 3 mg/dL.
    Jaundice,
    /// Any grade.
    Encephalopathy,
    /// Ascites that does not answer to treatment.
    RefractoryAscites,
    /// Hepatorenal syndrome.
    HepatorenalSyndrome,
    /// Massive replacement of both entire lobes.
    BothLobesReplaced,
    /// Thrombus in the main trunk (Vp4), or flow away from the liver.
    PortalFlow,
    /// The hepatic artery cannot be reached or treated.
    ArterialAccess,
    /// Creatinine of 2 mg/dL or more.
    RenalFailure,
    /// Largest diameter of 10 cm or more.
    LargeTumour,
    /// Varices at high risk of bleeding that are not treated.
    UntreatedVarices,
    /// Occluded bile duct or incompetent papilla.
    BileDuctObstruction,
    /// Severe disease of another organ.
    SevereComorbidity,
}

/// Every item of [`Item::ALL`] for one patient, in that order; `None` is unknown.
pub type Checklist = [(Item, Option<bool>); Item::ALL.len()];

/// Lowest Child-Pugh points of decompensation: source A, "≥ B8".
const DECOMPENSATED_POINTS: u8 = 8;
/// Jaundice, µmol/L, itself excluded: source B names jaundice without a number; 3 mg/dL is where
/// Child-Pugh gives three points, and our reading.
const JAUNDICE_ABOVE_UMOL_L: f64 = 51.3;
/// Renal failure, µmol/L, itself included: source B, 2 mg/dL (88.4 µmol/L each). Its alternative, a
/// creatinine clearance below 30 mL/min, is not computed.
const RENAL_FAILURE_UMOL_L: f64 = 176.8;
/// Large tumour, mm, itself included: source A.
const LARGE_TUMOUR_MM: f64 = 100.0;

impl Item {
    /// Every item.
    pub const ALL: [Self; 13] = [
        Self::Decompensation,
        Self::Jaundice,
        Self::Encephalopathy,
        Self::RefractoryAscites,
        Self::HepatorenalSyndrome,
        Self::BothLobesReplaced,
        Self::PortalFlow,
        Self::ArterialAccess,
        Self::RenalFailure,
        Self::LargeTumour,
        Self::UntreatedVarices,
        Self::BileDuctObstruction,
        Self::SevereComorbidity,
    ];

    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::Decompensation => "decompensation",
            Self::Jaundice => "jaundice",
            Self::Encephalopathy => "encephalopathy",
            Self::RefractoryAscites => "refractory_ascites",
            Self::HepatorenalSyndrome => "hepatorenal_syndrome",
            Self::BothLobesReplaced => "both_lobes_replaced",
            Self::PortalFlow => "portal_flow",
            Self::ArterialAccess => "arterial_access",
            Self::RenalFailure => "renal_failure",
            Self::LargeTumour => "large_tumour",
            Self::UntreatedVarices => "untreated_varices",
            Self::BileDuctObstruction => "bile_duct_obstruction",
            Self::SevereComorbidity => "severe_comorbidity",
        }
    }

    /// Absolute, relative, or disputed.
    pub fn severity(self) -> Severity {
        match self {
            Self::Decompensation
            | Self::Jaundice
            | Self::Encephalopathy
            | Self::RefractoryAscites
            | Self::HepatorenalSyndrome
            | Self::BothLobesReplaced
            | Self::PortalFlow
            | Self::ArterialAccess => Severity::Absolute,
            Self::RenalFailure => Severity::Disputed,
            Self::LargeTumour
            | Self::UntreatedVarices
            | Self::BileDuctObstruction
            | Self::SevereComorbidity => Severity::Relative,
        }
    }

    /// Whether the patient has it; `None` when a value is missing.
    fn judge(self, data: &ClinicalData, burden: &Burden) -> Option<bool> {
        match self {
            Self::Decompensation => {
                ChildPugh::of(data).ok().map(|score| score.points() >= DECOMPENSATED_POINTS)
            }
            Self::Jaundice => data.bilirubin_umol_l.map(|value| value > JAUNDICE_ABOVE_UMOL_L),
            Self::Encephalopathy => data.encephalopathy.map(|grade| grade != Encephalopathy::None),
            Self::RefractoryAscites => data.refractory_ascites.or_else(|| {
                let answering = |grade| matches!(grade, Ascites::None | Ascites::Mild);
                data.ascites.filter(|grade| answering(*grade)).map(|_| false)
            }),
            Self::HepatorenalSyndrome => data.hepatorenal_syndrome,
            Self::BothLobesReplaced => data.lobes.map(|lobes| lobes == Lobes::BothReplaced),
            Self::PortalFlow => any([
                data.pvtt.map(|class| class == Pvtt::Vp4),
                data.portal_flow.map(|flow| flow == PortalFlow::Hepatofugal),
            ]),
            Self::ArterialAccess => data.arterial_access_barrier,
            Self::RenalFailure => data.creatinine_umol_l.map(|value| value >= RENAL_FAILURE_UMOL_L),
            Self::LargeTumour => {
                burden.diameter.map(Millimetres::get).map(|mm| mm >= LARGE_TUMOUR_MM)
            }
            Self::UntreatedVarices => data.untreated_varices,
            Self::BileDuctObstruction => data.bile_duct_obstruction,
            Self::SevereComorbidity => data.severe_comorbidity,
        }
    }
}

/// Goes through the list for one patient.
pub fn check(data: &ClinicalData, burden: &Burden) -> Checklist {
    Item::ALL.map(|item| (item, item.judge(data, burden)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::assessment::Measured;

    fn found(item: Item, change: impl Fn(&mut ClinicalData)) -> Option<bool> {
        let mut data = ClinicalData::absent();
        change(&mut data);
        let nothing = Measured { largest_diameter: None, lesion_count: None, risk: None };
        let checked = check(&data, &Burden::of(&data, &nothing));
        checked.iter().find(|(one, _)| *one == item).unwrap().1
    }

    fn preserved(data: &mut ClinicalData) {
        data.bilirubin_umol_l = Some(12.0);
        data.albumin_g_l = Some(40.0);
        data.inr = Some(1.0);
        data.ascites = Some(Ascites::None);
        data.encephalopathy = Some(Encephalopathy::None);
    }

    /// Limits of source A, and of source B where A has none.
    #[test]
    fn every_limit_on_both_sides() {
        for (value, expected) in [(51.3, Some(false)), (51.31, Some(true))] {
            assert_eq!(found(Item::Jaundice, |d| d.bilirubin_umol_l = Some(value)), expected);
        }
        for (value, expected) in [(176.7, Some(false)), (176.8, Some(true))] {
            assert_eq!(found(Item::RenalFailure, |d| d.creatinine_umol_l = Some(value)), expected);
        }
        for (value, expected) in [(99.9, Some(false)), (100.0, Some(true))] {
            assert_eq!(found(Item::LargeTumour, |d| d.largest_diameter_mm = Some(value)), expected);
        }
        // 7 points: INR 1.8 and mild ascites; 8 with moderate ascites instead.
        for (ascites, expected) in [(Ascites::Mild, Some(false)), (Ascites::Moderate, Some(true))] {
            let case = |d: &mut ClinicalData| {
                preserved(d);
                (d.inr, d.ascites) = (Some(1.8), Some(ascites));
            };
            assert_eq!(found(Item::Decompensation, case), expected);
        }
    }

    #[test]
    fn findings_and_their_neighbours() {
        use Item::{BothLobesReplaced, Encephalopathy as Grade, PortalFlow as Flow};
        for (lobes, expected) in
            [(Lobes::One, false), (Lobes::Both, false), (Lobes::BothReplaced, true)]
        {
            assert_eq!(found(BothLobesReplaced, |d| d.lobes = Some(lobes)), Some(expected));
        }
        for (grade, expected) in [(Encephalopathy::None, false), (Encephalopathy::Grade1To2, true)]
        {
            assert_eq!(found(Grade, |d| d.encephalopathy = Some(grade)), Some(expected));
        }
        let flow = |class, flow| found(Flow, move |d| (d.pvtt, d.portal_flow) = (class, flow));
        let (towards, away) = (Some(PortalFlow::Hepatopetal), Some(PortalFlow::Hepatofugal));
        assert_eq!(flow(Some(Pvtt::Vp4), None), Some(true));
        assert_eq!(flow(Some(Pvtt::Vp3), None), None);
        assert_eq!(flow(Some(Pvtt::Vp3), towards), Some(false));
        assert_eq!(flow(None, away), Some(true));
        let refractory = |ascites, refractory| {
            found(Item::RefractoryAscites, move |d| {
                (d.ascites, d.refractory_ascites) = (ascites, refractory);
            })
        };
        assert_eq!(refractory(Some(Ascites::Mild), None), Some(false));
        assert_eq!(refractory(Some(Ascites::Moderate), None), None);
        assert_eq!(refractory(Some(Ascites::Moderate), Some(true)), Some(true));
    }

    #[test]
    fn nothing_known_is_everything_unknown() {
        for item in Item::ALL {
            assert_eq!(found(item, |_| ()), None, "{item:?}");
        }
        type Set = fn(&mut ClinicalData);
        let flags: [(Item, Set); 5] = [
            (Item::HepatorenalSyndrome, |d| d.hepatorenal_syndrome = Some(true)),
            (Item::ArterialAccess, |d| d.arterial_access_barrier = Some(true)),
            (Item::UntreatedVarices, |d| d.untreated_varices = Some(true)),
            (Item::BileDuctObstruction, |d| d.bile_duct_obstruction = Some(true)),
            (Item::SevereComorbidity, |d| d.severe_comorbidity = Some(true)),
        ];
        for (item, set) in flags {
            assert_eq!(found(item, set), Some(true), "{item:?}");
        }
    }

    #[test]
    fn items_stand_from_absolute_to_relative() {
        let severities: Vec<Severity> = Item::ALL.iter().map(|item| item.severity()).collect();
        assert!(severities.is_sorted());
        assert_eq!(Item::RenalFailure.severity().name(), "disputed");
    }
}
