//! The patient's side of the page: validity box, liver function, what was supplied.

use super::short;
use crate::render::report::{CriterionRow, FactRow, GradeRow, Met};
use crate::seal::wire::{self, Ascites, Clinical, Criterion, Encephalopathy, Pvtt, Sex, Supplied};

/// Stands where nothing was given.
const NOT_GIVEN: &str = "not given";

pub(super) fn eligibility(clinical: &Clinical) -> Vec<CriterionRow> {
    let row = |check: &wire::CriterionCheck| CriterionRow {
        name: criterion_name(check.criterion).to_owned(),
        value: criterion_value(check, clinical),
        limit: check.criterion.sentence().trim_end_matches('.').to_owned(),
        met: match check.met {
            wire::Met::Yes => Met::Yes,
            wire::Met::No => Met::No,
            wire::Met::Unknown => Met::Unknown,
        },
    };
    clinical.eligibility.iter().map(row).collect()
}

fn criterion_name(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::Age => "Age",
        Criterion::Ecog => "ECOG performance status",
        Criterion::ChildPugh => "Child-Pugh",
        Criterion::Diameter => "Largest diameter",
        Criterion::PriorTherapy => "Earlier treatment",
        Criterion::SecondMalignancy => "Second malignancy",
        Criterion::DaysCtToTreatment => "CT to treatment",
        Criterion::BothPhases => "Phases",
    }
}

fn criterion_value(check: &wire::CriterionCheck, clinical: &Clinical) -> String {
    let Some(value) = check.value_e3 else { return "not known".to_owned() };
    let plain = short(value, 3);
    match check.criterion {
        Criterion::Age => format!("{plain} years"),
        Criterion::Ecog | Criterion::BothPhases => plain,
        Criterion::ChildPugh => match clinical.child_pugh_class {
            Some(class) => format!("{plain} points, class {}", class.name().to_uppercase()),
            None => format!("{plain} points"),
        },
        Criterion::Diameter => format!("{plain} mm"),
        Criterion::PriorTherapy | Criterion::SecondMalignancy => yes_no(value != 0).to_owned(),
        Criterion::DaysCtToTreatment => format!("{plain} days"),
    }
}

pub(super) fn liver_function(clinical: &Clinical) -> Vec<GradeRow> {
    let given = &clinical.supplied;
    let mut rows = Vec::new();
    if let (Some(score), Some(grade)) = (clinical.albi_e4, clinical.albi_grade) {
        rows.push(GradeRow {
            name: "ALBI".to_owned(),
            value: super::signed(score, 4),
            grade: format!("grade {}", grade.name()),
            inputs: format!("bilirubin {}, albumin {}", bilirubin(given), albumin(given)),
        });
    }
    if let (Some(points), Some(class)) = (clinical.child_pugh_points, clinical.child_pugh_class) {
        rows.push(GradeRow {
            name: "Child-Pugh".to_owned(),
            value: format!("{points} points"),
            grade: format!("class {}", class.name().to_uppercase()),
            inputs: format!(
                "bilirubin {}, albumin {}, INR {}, ascites {}, encephalopathy {}",
                bilirubin(given),
                albumin(given),
                scaled(given.inr_e3, ""),
                coded(given.ascites.map(Ascites::name)),
                coded(given.encephalopathy.map(Encephalopathy::name)),
            ),
        });
    }
    rows
}

pub(super) fn supplied(clinical: &Clinical) -> Vec<FactRow> {
    let given = &clinical.supplied;
    let flag = |value: Option<bool>| coded(value.map(yes_no));
    let whole = |value: Option<u64>| value.map_or(NOT_GIVEN.to_owned(), |n| n.to_string());
    let days = given.days_ct_to_treatment.map_or(NOT_GIVEN.to_owned(), |n| format!("{n} days"));
    let rows = [
        ("Age", scaled(given.age_years_e3, " years")),
        ("Sex", coded(given.sex.map(Sex::name))),
        ("ECOG performance status", whole(given.ecog)),
        ("Hepatitis B", flag(given.hbv)),
        ("Alpha-fetoprotein", scaled(given.afp_ng_ml_e3, " ng/mL")),
        ("AST", scaled(given.ast_u_l_e3, " U/L")),
        ("Bilirubin", bilirubin(given)),
        ("Albumin", albumin(given)),
        ("INR", scaled(given.inr_e3, "")),
        ("Ascites", coded(given.ascites.map(Ascites::name))),
        ("Encephalopathy", coded(given.encephalopathy.map(Encephalopathy::name))),
        ("Portal vein tumour thrombus", coded(given.pvtt.map(Pvtt::name))),
        ("Extrahepatic spread", flag(given.extrahepatic_spread)),
        ("Earlier treatment", flag(given.prior_therapy)),
        ("Second malignancy", flag(given.second_malignancy)),
        ("CT to treatment", days),
        ("Number of lesions", whole(given.lesion_count)),
    ];
    rows.map(|(name, value)| FactRow { name: name.to_owned(), value }).into()
}

fn bilirubin(given: &Supplied) -> String {
    scaled(given.bilirubin_umol_l_e3, " µmol/L")
}

fn albumin(given: &Supplied) -> String {
    scaled(given.albumin_g_l_e3, " g/L")
}

fn scaled(value_e3: Option<u64>, unit: &str) -> String {
    let value = value_e3.and_then(|value| i64::try_from(value).ok());
    value.map_or_else(|| NOT_GIVEN.to_owned(), |value| format!("{}{unit}", short(value, 3)))
}

fn coded(name: Option<&'static str>) -> String {
    name.unwrap_or(NOT_GIVEN).to_owned()
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
