//! The patient's side of the page: validity box, liver function, what was supplied.

use super::{short, staged};
use crate::render::report::{CriterionRow, FactRow, GradeRow, Language, Met};
use crate::seal::wire::{self, Clinical, ClinicalField, Criterion, Supplied};

/// Stands where nothing was given.
const NOT_GIVEN: &str = "not given";

pub(super) fn eligibility(clinical: &Clinical, l: Language) -> Vec<CriterionRow> {
    let row = |check: &wire::CriterionCheck| CriterionRow {
        name: criterion_name(check.criterion, l).to_owned(),
        value: criterion_value(check, clinical, l),
        limit: l.say(check.criterion.sentence()).trim_end_matches(['.', '。']).to_owned(),
        met: match check.met {
            wire::Met::Yes => Met::Yes,
            wire::Met::No => Met::No,
            wire::Met::Unknown => Met::Unknown,
        },
    };
    clinical.eligibility.iter().map(row).collect()
}

fn criterion_name(criterion: Criterion, l: Language) -> &'static str {
    match criterion {
        Criterion::Age => name(ClinicalField::AgeYears, l),
        Criterion::Ecog => name(ClinicalField::Ecog, l),
        Criterion::ChildPugh => l.say("Child-Pugh"),
        Criterion::Diameter => name(ClinicalField::LargestDiameterMm, l),
        Criterion::PriorTherapy => name(ClinicalField::PriorTherapy, l),
        Criterion::SecondMalignancy => name(ClinicalField::SecondMalignancy, l),
        Criterion::DaysCtToTreatment => name(ClinicalField::DaysCtToTreatment, l),
        Criterion::BothPhases => l.say("Phases"),
    }
}

fn criterion_value(check: &wire::CriterionCheck, clinical: &Clinical, l: Language) -> String {
    let Some(value) = check.value_e3 else { return l.say("not known").to_owned() };
    let plain = short(value, 3);
    match check.criterion {
        Criterion::Age => l.fill("{} years", &[&plain]),
        Criterion::Ecog | Criterion::BothPhases => plain,
        Criterion::ChildPugh => match clinical.child_pugh_class {
            Some(class) => l.fill("{} points, class {}", &[&plain, &class.name().to_uppercase()]),
            None => l.fill("{} points", &[&plain]),
        },
        Criterion::Diameter => format!("{plain} mm"),
        Criterion::PriorTherapy | Criterion::SecondMalignancy => yes_no(value != 0, l),
        Criterion::DaysCtToTreatment => l.fill("{} days", &[&plain]),
    }
}

/// ALBI and Child-Pugh, or what each of them needs.
pub(super) fn liver_function(clinical: &Clinical, l: Language) -> Vec<GradeRow> {
    use ClinicalField::{AlbuminGL, Ascites, BilirubinUmolL, Encephalopathy, Inr};
    let given = |fields: &[ClinicalField]| {
        let pair =
            |field: &ClinicalField| format!("{} {}", name(*field, l), value(*field, clinical, l));
        fields.iter().map(pair).collect::<Vec<_>>().join(l.comma())
    };
    let lacking = |fields: &[ClinicalField]| {
        let absent = fields.iter().copied().filter(|f| !is_given(*f, &clinical.supplied));
        staged::needing(&absent.collect::<Vec<_>>(), l)
    };
    let (albi_from, all) =
        ([BilirubinUmolL, AlbuminGL], [BilirubinUmolL, AlbuminGL, Inr, Ascites, Encephalopathy]);
    let albi = match (clinical.albi_e4, clinical.albi_grade) {
        (Some(score), Some(grade)) => GradeRow {
            name: "ALBI".to_owned(),
            value: super::signed(score, 4),
            grade: l.fill("grade {}", &[grade.name()]),
            inputs: given(&albi_from),
        },
        _ => {
            GradeRow { name: "ALBI".to_owned(), inputs: lacking(&albi_from), ..GradeRow::default() }
        }
    };
    let child_pugh = match (clinical.child_pugh_points, clinical.child_pugh_class) {
        (Some(points), Some(class)) => GradeRow {
            name: "Child-Pugh".to_owned(),
            value: l.fill("{} points", &[&points.to_string()]),
            grade: l.fill("class {}", &[&class.name().to_uppercase()]),
            inputs: given(&all),
        },
        _ => {
            GradeRow { name: "Child-Pugh".to_owned(), inputs: lacking(&all), ..GradeRow::default() }
        }
    };
    vec![albi, child_pugh]
}

pub(super) fn supplied(clinical: &Clinical, l: Language) -> Vec<FactRow> {
    let row = |field: &ClinicalField| FactRow {
        name: name(*field, l).to_owned(),
        value: value(*field, clinical, l),
    };
    ClinicalField::ALL.iter().map(row).collect()
}

/// What a person calls a key of `clinical.json`.
pub(super) fn name(field: ClinicalField, l: Language) -> &'static str {
    l.say(field.sentence()).trim_end_matches(['.', '。'])
}

fn is_given(field: ClinicalField, given: &Supplied) -> bool {
    text(field, given, Language::English).is_some()
}

fn value(field: ClinicalField, clinical: &Clinical, l: Language) -> String {
    text(field, &clinical.supplied, l).unwrap_or_else(|| l.say(NOT_GIVEN).to_owned())
}

/// A supplied value with its unit.
fn text(field: ClinicalField, given: &Supplied, l: Language) -> Option<String> {
    use ClinicalField as Field;
    let flag = |value: Option<bool>| value.map(|yes| yes_no(yes, l));
    let code = |name: Option<&'static str>| name.map(|name| l.say(name).to_owned());
    let graded = |sentence: Option<&'static str>| {
        sentence.map(|words| l.say(words).trim_end_matches(['.', '。']).to_owned())
    };
    let whole = |value: Option<u64>| value.map(|n| n.to_string());
    let scaled = |value: Option<u64>, unit: &str| {
        let value = value.and_then(|value| i64::try_from(value).ok());
        value.map(|value| format!("{}{unit}", short(value, 3)))
    };
    match field {
        Field::AgeYears => scaled(given.age_years_e3, "").map(|age| l.fill("{} years", &[&age])),
        Field::Sex => code(given.sex.map(wire::Sex::name)),
        Field::Ecog => whole(given.ecog),
        Field::Hbv => flag(given.hbv),
        Field::AfpNgMl => scaled(given.afp_ng_ml_e3, " ng/mL"),
        Field::AstUL => scaled(given.ast_u_l_e3, " U/L"),
        Field::BilirubinUmolL => scaled(given.bilirubin_umol_l_e3, " µmol/L"),
        Field::AlbuminGL => scaled(given.albumin_g_l_e3, " g/L"),
        Field::Inr => scaled(given.inr_e3, ""),
        Field::Ascites => graded(given.ascites.map(wire::Ascites::sentence)),
        Field::Encephalopathy => graded(given.encephalopathy.map(wire::Encephalopathy::sentence)),
        Field::Pvtt => code(given.pvtt.map(wire::Pvtt::name)),
        Field::ExtrahepaticSpread => flag(given.extrahepatic_spread),
        Field::PriorTherapy => flag(given.prior_therapy),
        Field::SecondMalignancy => flag(given.second_malignancy),
        Field::DaysCtToTreatment => {
            given.days_ct_to_treatment.map(|n| l.fill("{} days", &[&n.to_string()]))
        }
        Field::LesionCount => whole(given.lesion_count),
        Field::LargestDiameterMm => scaled(given.largest_diameter_um, " mm"),
        Field::LymphNodeMetastasis => flag(given.lymph_node_metastasis),
        Field::DistantMetastasis => flag(given.distant_metastasis),
        Field::HepaticVeinInvasion => {
            code(given.hepatic_vein_invasion.map(wire::HepaticVein::name))
        }
        Field::BileDuctInvasion => flag(given.bile_duct_invasion),
        Field::Lobes => code(given.lobes.map(wire::Lobes::name)),
        Field::DiffuseType => flag(given.diffuse_type),
        Field::CreatinineUmolL => scaled(given.creatinine_umol_l_e3, " µmol/L"),
        Field::RefractoryAscites => flag(given.refractory_ascites),
        Field::HepatorenalSyndrome => flag(given.hepatorenal_syndrome),
        Field::PortalFlow => code(given.portal_flow.map(wire::PortalFlow::name)),
        Field::ArterialAccessBarrier => flag(given.arterial_access_barrier),
        Field::UntreatedVarices => flag(given.untreated_varices),
        Field::BileDuctObstruction => flag(given.bile_duct_obstruction),
        Field::SevereComorbidity => flag(given.severe_comorbidity),
        Field::HeightCm => scaled(given.height_cm_e3, " cm"),
        Field::WeightKg => scaled(given.weight_kg_e3, " kg"),
    }
}

fn yes_no(value: bool, l: Language) -> String {
    l.say(if value { "yes" } else { "no" }).to_owned()
}
