//! Stagings, contraindications and published doses of the page, and tumour burden as supplied and as
//! measured.

use super::{number, patient, signed};
use crate::render::report::{BurdenRow, CheckRow, DoseRow, Language, Met, StagingRow};
use crate::seal::wire::{
    self, Clinical, ClinicalField, Contraindication, DoseItem, Lesions, StagingSystem,
};

/// Stands where there is no value.
const NONE: &str = "–";

pub(super) fn burden(
    clinical: &Clinical,
    lesions: Option<&Lesions>,
    l: Language,
) -> Vec<BurdenRow> {
    let (given, used) = (&clinical.supplied, &clinical.burden);
    let whole = |value: Option<u64>| value.map_or(NONE.to_owned(), |n| n.to_string());
    let length = |um: Option<u64>| um.map_or(NONE.to_owned(), |um| format!("{} mm", number(um, 3)));
    let with_source = |value: String, source: wire::Source| match source {
        wire::Source::Supplied => l.fill("{} (supplied)", &[&value]),
        wire::Source::Measured => l.fill("{} (measured)", &[&value]),
        wire::Source::Missing => value,
    };
    let largest = lesions.and_then(|found| found.list.first()).map(|lesion| lesion.diameter_um);
    vec![
        BurdenRow {
            name: patient::name(ClinicalField::LesionCount, l).to_owned(),
            supplied: whole(given.lesion_count),
            measured: whole(lesions.map(|found| found.count)),
            used: with_source(whole(used.count), used.count_source),
        },
        BurdenRow {
            name: patient::name(ClinicalField::LargestDiameterMm, l).to_owned(),
            supplied: length(given.largest_diameter_um),
            measured: length(largest),
            used: with_source(length(used.diameter_um), used.diameter_source),
        },
    ]
}

pub(super) fn stagings(clinical: &Clinical, l: Language) -> Vec<StagingRow> {
    let nothing = l.say(clinical.nothing_to_stage());
    clinical.stagings.iter().map(|staging| row(staging, nothing, l)).collect()
}

fn row(staging: &wire::Staging, nothing: &'static str, l: Language) -> StagingRow {
    StagingRow {
        system: l.say(staging.system.title()).to_owned(),
        stage: match staging.stage {
            Some(stage) => l.say(stage.sentence()).trim_end_matches(['.', '。']).to_owned(),
            None if staging.needs.is_empty() => nothing.to_owned(),
            None => needing(&staging.needs, l),
        },
        value: value(staging),
        caveat: l.say(staging.system.caveat()).to_owned(),
    }
}

fn value(staging: &wire::Staging) -> String {
    let unit = match staging.system {
        StagingSystem::ModifiedAlbi => {
            return staging.value_e4.map(|v| signed(v, 4)).unwrap_or_default();
        }
        StagingSystem::SixAndTwelve | StagingSystem::UpToSeven => " cm + n",
        StagingSystem::Bclc
        | StagingSystem::Easl
        | StagingSystem::Cnlc
        | StagingSystem::Lcsgj
        | StagingSystem::Hklc => return String::new(),
    };
    staging.value_e4.map(|v| format!("{}{unit}", super::short(v, 4))).unwrap_or_default()
}

/// "not computable: needs …", by the names people use.
pub(super) fn needing(needs: &[ClinicalField], l: Language) -> String {
    let names: Vec<&str> = needs.iter().map(|field| patient::name(*field, l)).collect();
    l.fill("not computable: needs {}", &[&names.join(l.comma())])
}

/// What a contraindication is, without its weight.
pub(super) fn bare(item: Contraindication, l: Language) -> &'static str {
    let sentence = l.say(item.sentence());
    let (_, words) = sentence.split_once([':', '：']).unwrap_or(("", sentence));
    words.trim_start().trim_end_matches(['.', '。'])
}

pub(super) fn contraindications(clinical: &Clinical, l: Language) -> Vec<CheckRow> {
    let row = |check: &wire::ContraindicationCheck| CheckRow {
        item: l.say(check.item.sentence()).to_owned(),
        present: match check.present {
            wire::Met::Yes => Met::Yes,
            wire::Met::No => Met::No,
            wire::Met::Unknown => Met::Unknown,
        },
    };
    clinical.tace.iter().map(row).collect()
}

pub(super) fn doses(clinical: &Clinical, l: Language) -> Vec<DoseRow> {
    let row = |dose: &wire::Dose| DoseRow {
        item: l.say(dose.item.sentence()).to_owned(),
        amount: if dose.low == dose.high {
            format!("{} {}", dose.low, unit(dose.item))
        } else {
            format!("{}–{} {}", dose.low, dose.high, unit(dose.item))
        },
        total: dose.total_mg_e1.map(|mg| format!("{} mg", whole_mg(mg))).unwrap_or_default(),
    };
    clinical.reference_doses.iter().map(row).collect()
}

/// Nobody gives a tenth of a milligram: a total is shown in whole ones, half a one upwards.
fn whole_mg(tenths: u64) -> String {
    tenths.saturating_add(5).div_euclid(10).to_string()
}

fn unit(item: DoseItem) -> &'static str {
    match item {
        DoseItem::Oxaliplatin85
        | DoseItem::Oxaliplatin130
        | DoseItem::Leucovorin200
        | DoseItem::Leucovorin400
        | DoseItem::FluorouracilBolus
        | DoseItem::FluorouracilInfusion => "mg/m²",
        DoseItem::Lipiodol => "mL",
        DoseItem::Platinum | DoseItem::Epirubicin => "mg",
    }
}

pub(super) fn body_surface(clinical: &Clinical, l: Language) -> String {
    match clinical.body_surface_m2_e4 {
        Some(m2) => l.fill("Body surface {} m² (Mosteller 1987).", &[&number(m2, 4)]),
        None => l.say("No totals: height and weight are not both given.").to_owned(),
    }
}
