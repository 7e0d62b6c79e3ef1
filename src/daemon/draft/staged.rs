//! Stagings, contraindications, published doses and contradictions in wire form.

use super::scaled;
use crate::clinical::Finding;
use crate::clinical::contraindications::Item;
use crate::clinical::data::Field;
use crate::clinical::protocol::Dose;
use crate::clinical::staging::{NotComputable, Stage, Staging, System};
use crate::seal::wire::{self, BoundError, List};

/// One staging; what it needs are keys of `clinical.json`.
pub(super) fn staging(staging: &Staging) -> Result<wire::Staging, BoundError> {
    let needs = staging.outcome.as_ref().err().map_or(&[][..], NotComputable::needs);
    let needs = needs.iter().copied().filter_map(field).collect();
    Ok(wire::Staging {
        system: system(staging.system),
        stage: staging.outcome.as_ref().ok().copied().map(stage),
        value_e4: staging.value.map(|value| scaled(value, 1e4)),
        needs: List::new(needs)?,
    })
}

/// The checklist; what is unknown is said to be.
pub(super) fn contraindications(
    checked: &[(Item, Option<bool>)],
) -> Vec<wire::ContraindicationCheck> {
    let check = |(one, present): &(Item, Option<bool>)| wire::ContraindicationCheck {
        item: item(*one),
        present: match present {
            Some(true) => wire::Met::Yes,
            Some(false) => wire::Met::No,
            None => wire::Met::Unknown,
        },
    };
    checked.iter().map(check).collect()
}

/// The whole card, with totals where the body surface is known.
pub(super) fn doses(surface_m2: Option<f64>) -> Vec<wire::Dose> {
    let written = |dose: Dose| {
        let (low, high) = dose.range();
        let total = surface_m2.and_then(|surface| dose.total_mg(surface));
        wire::Dose {
            item: dose_item(dose),
            low: u64::from(low),
            high: u64::from(high),
            total_mg_e1: total.map(|mg| scaled(mg, 10.0).max(0) as u64),
        }
    };
    Dose::ALL.into_iter().map(written).collect()
}

/// Which contradiction; its values stand elsewhere in the message.
pub(super) fn finding(finding: &Finding) -> wire::ClinicalFinding {
    match finding {
        Finding::LesionCountDiffers { .. } => wire::ClinicalFinding::LesionCountDiffers,
        Finding::DiameterDiffers { .. } => wire::ClinicalFinding::DiameterDiffers,
        Finding::BilirubinUnit => wire::ClinicalFinding::BilirubinUnit,
    }
}

fn system(system: System) -> wire::StagingSystem {
    match system {
        System::ModifiedAlbi => wire::StagingSystem::ModifiedAlbi,
        System::Bclc => wire::StagingSystem::Bclc,
        System::Easl => wire::StagingSystem::Easl,
        System::Cnlc => wire::StagingSystem::Cnlc,
        System::Lcsgj => wire::StagingSystem::Lcsgj,
        System::Hklc => wire::StagingSystem::Hklc,
        System::SixAndTwelve => wire::StagingSystem::SixAndTwelve,
        System::UpToSeven => wire::StagingSystem::UpToSeven,
    }
}

fn item(item: Item) -> wire::Contraindication {
    match item {
        Item::Decompensation => wire::Contraindication::Decompensation,
        Item::Jaundice => wire::Contraindication::Jaundice,
        Item::Encephalopathy => wire::Contraindication::Encephalopathy,
        Item::RefractoryAscites => wire::Contraindication::RefractoryAscites,
        Item::HepatorenalSyndrome => wire::Contraindication::HepatorenalSyndrome,
        Item::BothLobesReplaced => wire::Contraindication::BothLobesReplaced,
        Item::PortalFlow => wire::Contraindication::PortalFlow,
        Item::ArterialAccess => wire::Contraindication::ArterialAccess,
        Item::RenalFailure => wire::Contraindication::RenalFailure,
        Item::LargeTumour => wire::Contraindication::LargeTumour,
        Item::UntreatedVarices => wire::Contraindication::UntreatedVarices,
        Item::BileDuctObstruction => wire::Contraindication::BileDuctObstruction,
        Item::SevereComorbidity => wire::Contraindication::SevereComorbidity,
    }
}

fn dose_item(dose: Dose) -> wire::DoseItem {
    match dose {
        Dose::Oxaliplatin85 => wire::DoseItem::Oxaliplatin85,
        Dose::Oxaliplatin130 => wire::DoseItem::Oxaliplatin130,
        Dose::Leucovorin200 => wire::DoseItem::Leucovorin200,
        Dose::Leucovorin400 => wire::DoseItem::Leucovorin400,
        Dose::FluorouracilBolus => wire::DoseItem::FluorouracilBolus,
        Dose::FluorouracilInfusion => wire::DoseItem::FluorouracilInfusion,
        Dose::Lipiodol => wire::DoseItem::Lipiodol,
        Dose::Platinum => wire::DoseItem::Platinum,
        Dose::Epirubicin => wire::DoseItem::Epirubicin,
    }
}

/// No score needs the subject, which no message names.
fn field(field: Field) -> Option<wire::ClinicalField> {
    use wire::ClinicalField as Wire;
    Some(match field {
        Field::AgeYears => Wire::AgeYears,
        Field::Sex => Wire::Sex,
        Field::Ecog => Wire::Ecog,
        Field::Hbv => Wire::Hbv,
        Field::AfpNgMl => Wire::AfpNgMl,
        Field::AstUL => Wire::AstUL,
        Field::BilirubinUmolL => Wire::BilirubinUmolL,
        Field::AlbuminGL => Wire::AlbuminGL,
        Field::Inr => Wire::Inr,
        Field::Ascites => Wire::Ascites,
        Field::Encephalopathy => Wire::Encephalopathy,
        Field::Pvtt => Wire::Pvtt,
        Field::ExtrahepaticSpread => Wire::ExtrahepaticSpread,
        Field::PriorTherapy => Wire::PriorTherapy,
        Field::SecondMalignancy => Wire::SecondMalignancy,
        Field::DaysCtToTreatment => Wire::DaysCtToTreatment,
        Field::LesionCount => Wire::LesionCount,
        Field::LargestDiameterMm => Wire::LargestDiameterMm,
        Field::LymphNodeMetastasis => Wire::LymphNodeMetastasis,
        Field::DistantMetastasis => Wire::DistantMetastasis,
        Field::HepaticVeinInvasion => Wire::HepaticVeinInvasion,
        Field::BileDuctInvasion => Wire::BileDuctInvasion,
        Field::Lobes => Wire::Lobes,
        Field::DiffuseType => Wire::DiffuseType,
        Field::CreatinineUmolL => Wire::CreatinineUmolL,
        Field::RefractoryAscites => Wire::RefractoryAscites,
        Field::HepatorenalSyndrome => Wire::HepatorenalSyndrome,
        Field::PortalFlow => Wire::PortalFlow,
        Field::ArterialAccessBarrier => Wire::ArterialAccessBarrier,
        Field::UntreatedVarices => Wire::UntreatedVarices,
        Field::BileDuctObstruction => Wire::BileDuctObstruction,
        Field::SevereComorbidity => Wire::SevereComorbidity,
        Field::HeightCm => Wire::HeightCm,
        Field::WeightKg => Wire::WeightKg,
        Field::Subject => return None,
    })
}

fn stage(stage: Stage) -> wire::Stage {
    match stage {
        Stage::Malbi1 => wire::Stage::Malbi1,
        Stage::Malbi2a => wire::Stage::Malbi2a,
        Stage::Malbi2b => wire::Stage::Malbi2b,
        Stage::Malbi3 => wire::Stage::Malbi3,
        Stage::Bclc0 => wire::Stage::Bclc0,
        Stage::BclcA => wire::Stage::BclcA,
        Stage::BclcB => wire::Stage::BclcB,
        Stage::BclcC => wire::Stage::BclcC,
        Stage::BclcD => wire::Stage::BclcD,
        Stage::Easl0 => wire::Stage::Easl0,
        Stage::EaslA => wire::Stage::EaslA,
        Stage::EaslB => wire::Stage::EaslB,
        Stage::EaslC => wire::Stage::EaslC,
        Stage::EaslD => wire::Stage::EaslD,
        Stage::CnlcIa => wire::Stage::CnlcIa,
        Stage::CnlcIb => wire::Stage::CnlcIb,
        Stage::CnlcIIa => wire::Stage::CnlcIIa,
        Stage::CnlcIIb => wire::Stage::CnlcIIb,
        Stage::CnlcIIIa => wire::Stage::CnlcIIIa,
        Stage::CnlcIIIb => wire::Stage::CnlcIIIb,
        Stage::CnlcIV => wire::Stage::CnlcIV,
        Stage::LcsgjI => wire::Stage::LcsgjI,
        Stage::LcsgjII => wire::Stage::LcsgjII,
        Stage::LcsgjIII => wire::Stage::LcsgjIII,
        Stage::LcsgjIVa => wire::Stage::LcsgjIVa,
        Stage::LcsgjIVb => wire::Stage::LcsgjIVb,
        Stage::HklcI => wire::Stage::HklcI,
        Stage::HklcIIa => wire::Stage::HklcIIa,
        Stage::HklcIIb => wire::Stage::HklcIIb,
        Stage::HklcIIIa => wire::Stage::HklcIIIa,
        Stage::HklcIIIb => wire::Stage::HklcIIIb,
        Stage::HklcIVa => wire::Stage::HklcIVa,
        Stage::HklcIVb => wire::Stage::HklcIVb,
        Stage::HklcVa => wire::Stage::HklcVa,
        Stage::HklcVb => wire::Stage::HklcVb,
        Stage::AtMost6 => wire::Stage::AtMost6,
        Stage::Above6To12 => wire::Stage::Above6To12,
        Stage::Above12 => wire::Stage::Above12,
        Stage::Within7 => wire::Stage::Within7,
        Stage::Beyond7 => wire::Stage::Beyond7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::contraindications::Severity;

    /// The clinical layer and the wire format name everything alike.
    #[test]
    fn names_are_the_same_on_both_sides() {
        for one in System::ALL {
            assert_eq!(one.code_name(), system(one).name());
            assert!(system(one).sentence().ends_with(one.caveat()), "{}", one.caveat());
        }
        for one in Item::ALL {
            assert_eq!(one.code_name(), item(one).name());
            let weight = match one.severity() {
                Severity::Absolute => "Absolute: ",
                Severity::Disputed => "Absolute in one source, relative in the other: ",
                Severity::Relative => "Relative: ",
            };
            assert!(item(one).sentence().starts_with(weight), "{one:?}");
            assert_eq!(item(one).is_absolute(), one.severity() == Severity::Absolute, "{one:?}");
        }
        for one in Field::ALL.into_iter().filter(|one| *one != Field::Subject) {
            let code = field(one).unwrap();
            assert_eq!(
                (one.name(), format!("{}.", one.label()).as_str()),
                (code.name(), code.sentence())
            );
        }
        assert_eq!(field(Field::Subject), None);
        for one in STAGES {
            assert_eq!(one.code_name(), stage(one).name());
        }
        assert_eq!(STAGES.len(), wire::Stage::ALL.len());
    }

    const STAGES: [Stage; 40] = [
        Stage::Malbi1,
        Stage::Malbi2a,
        Stage::Malbi2b,
        Stage::Malbi3,
        Stage::Bclc0,
        Stage::BclcA,
        Stage::BclcB,
        Stage::BclcC,
        Stage::BclcD,
        Stage::Easl0,
        Stage::EaslA,
        Stage::EaslB,
        Stage::EaslC,
        Stage::EaslD,
        Stage::CnlcIa,
        Stage::CnlcIb,
        Stage::CnlcIIa,
        Stage::CnlcIIb,
        Stage::CnlcIIIa,
        Stage::CnlcIIIb,
        Stage::CnlcIV,
        Stage::LcsgjI,
        Stage::LcsgjII,
        Stage::LcsgjIII,
        Stage::LcsgjIVa,
        Stage::LcsgjIVb,
        Stage::HklcI,
        Stage::HklcIIa,
        Stage::HklcIIb,
        Stage::HklcIIIa,
        Stage::HklcIIIb,
        Stage::HklcIVa,
        Stage::HklcIVb,
        Stage::HklcVa,
        Stage::HklcVb,
        Stage::AtMost6,
        Stage::Above6To12,
        Stage::Above12,
        Stage::Within7,
        Stage::Beyond7,
    ];
}
