//! The clinical layer's conclusions in wire form: eligibility, liver function, what was supplied,
//! nomograms term by term, recommendation.

use super::scaled;
use crate::clinical::ClinicalFindings;
use crate::clinical::data::{Ascites, ClinicalData, Encephalopathy, Pvtt, Sex};
use crate::clinical::eligibility::{Criterion, CriterionKind, CriterionValue, Met};
use crate::clinical::liver_function::{AlbiGrade, ChildPugh, ChildPughClass};
use crate::clinical::nomogram::{
    NomogramOutcome, NomogramScore, Provenance, RiskGroup, Source, TermOutcome, Treatment,
};
use crate::clinical::policy::{Advice, Basis, Recommendation};
use crate::seal::wire::{self, BoundError, Digest, List, Slug, Text};

/// Eligibility, ALBI, Child-Pugh and the supplied values.
pub(super) fn clinical(
    found: &ClinicalFindings,
    data: &ClinicalData,
) -> Result<wire::Clinical, BoundError> {
    let child_pugh = found.child_pugh.as_ref().ok();
    let albi = found.albi.as_ref().ok();
    let points = child_pugh.map(|score| u64::from(score.points()));
    let checks = found.eligibility.criteria.iter().map(|c| criterion(c, points)).collect();
    Ok(wire::Clinical {
        eligibility: List::new(checks)?,
        albi_e4: albi.map(|albi| scaled(albi.score, 1e4)),
        albi_grade: albi.map(|albi| match albi.grade {
            AlbiGrade::One => wire::AlbiGrade::One,
            AlbiGrade::Two => wire::AlbiGrade::Two,
            AlbiGrade::Three => wire::AlbiGrade::Three,
        }),
        child_pugh_points: points,
        child_pugh_class: child_pugh.map(ChildPugh::class).map(class),
        supplied: supplied(data),
    })
}

fn class(class: ChildPughClass) -> wire::ChildPughClass {
    match class {
        ChildPughClass::A => wire::ChildPughClass::A,
        ChildPughClass::B => wire::ChildPughClass::B,
        ChildPughClass::C => wire::ChildPughClass::C,
    }
}

/// Child-Pugh is judged by its class and sent as its points.
fn criterion(criterion: &Criterion, child_pugh_points: Option<u64>) -> wire::CriterionCheck {
    let value_e3 = criterion.value.and_then(|value| match value {
        CriterionValue::Whole(number) => Some(i64::from(number) * 1000),
        CriterionValue::Class(_) => child_pugh_points.map(|points| points as i64 * 1000),
        CriterionValue::Length(length) => Some(scaled(length.get(), 1e3)),
        CriterionValue::Present(present) => Some(i64::from(present) * 1000),
    });
    wire::CriterionCheck {
        criterion: match criterion.kind {
            CriterionKind::Age => wire::Criterion::Age,
            CriterionKind::Ecog => wire::Criterion::Ecog,
            CriterionKind::ChildPugh => wire::Criterion::ChildPugh,
            CriterionKind::LargestDiameter => wire::Criterion::Diameter,
            CriterionKind::PriorTherapy => wire::Criterion::PriorTherapy,
            CriterionKind::SecondMalignancy => wire::Criterion::SecondMalignancy,
            CriterionKind::DaysCtToTreatment => wire::Criterion::DaysCtToTreatment,
        },
        value_e3,
        met: match criterion.met {
            Met::Yes => wire::Met::Yes,
            Met::No => wire::Met::No,
            Met::Unknown => wire::Met::Unknown,
        },
    }
}

fn supplied(data: &ClinicalData) -> wire::Supplied {
    let thousandths = |value: Option<f64>| value.map(|v| scaled(v, 1e3).max(0) as u64);
    wire::Supplied {
        age_years_e3: data.age_years.map(|years| u64::from(years) * 1000),
        sex: data.sex.map(|sex| match sex {
            Sex::Female => wire::Sex::Female,
            Sex::Male => wire::Sex::Male,
        }),
        ecog: data.ecog.map(u64::from),
        hbv: data.hbv,
        afp_ng_ml_e3: thousandths(data.afp_ng_ml),
        ast_u_l_e3: thousandths(data.ast_u_l),
        bilirubin_umol_l_e3: thousandths(data.bilirubin_umol_l),
        albumin_g_l_e3: thousandths(data.albumin_g_l),
        inr_e3: thousandths(data.inr),
        ascites: data.ascites.map(|ascites| match ascites {
            Ascites::None => wire::Ascites::None,
            Ascites::Mild => wire::Ascites::Mild,
            Ascites::Moderate => wire::Ascites::Severe,
        }),
        encephalopathy: data.encephalopathy.map(|grade| match grade {
            Encephalopathy::None => wire::Encephalopathy::None,
            Encephalopathy::Grade1To2 => wire::Encephalopathy::Mild,
            Encephalopathy::Grade3To4 => wire::Encephalopathy::Severe,
        }),
        pvtt: data.pvtt.map(|pvtt| match pvtt {
            Pvtt::None => wire::Pvtt::None,
            Pvtt::Vp1 => wire::Pvtt::Vp1,
            Pvtt::Vp2 => wire::Pvtt::Vp2,
            Pvtt::Vp3 => wire::Pvtt::Vp3,
            Pvtt::Vp4 => wire::Pvtt::Vp4,
        }),
        extrahepatic_spread: data.extrahepatic_spread,
        prior_therapy: data.prior_therapy,
        second_malignancy: data.second_malignancy,
        days_ct_to_treatment: data.days_ct_to_treatment.map(i64::from),
        lesion_count: data.lesion_count.map(u64::from),
    }
}

/// One nomogram, complete enough to redo its sum.
pub(super) fn nomogram(outcome: &NomogramOutcome) -> Result<wire::Nomogram, BoundError> {
    let score = outcome.score.as_ref().ok();
    let terms: Result<Vec<_>, _> = outcome.terms.iter().map(term).collect();
    Ok(wire::Nomogram {
        treatment: match outcome.treatment {
            Treatment::Tace => wire::Treatment::Tace,
            Treatment::Haic => wire::Treatment::Haic,
        },
        package: Slug::new(&outcome.package.name)?,
        version: Text::new(&outcome.package.version)?,
        manifest_digest: Digest::from(outcome.package.digest),
        terms: List::new(terms?)?,
        lp_e4: score.map(|s| scaled(s.linear_predictor, 1e4)),
        score_e4: score.map(|s| scaled(s.score, 1e4)),
        cutoff_e4: Some(scaled(outcome.cutoff, 1e4)),
        cutoff_provenance: provenance(outcome.cutoff_provenance),
        risk_group: match outcome.group() {
            Some(RiskGroup::Low) => wire::RiskGroup::Low,
            Some(RiskGroup::High) => wire::RiskGroup::High,
            Some(RiskGroup::Indeterminate) => wire::RiskGroup::Indeterminate,
            None => wire::RiskGroup::NotComputable,
        },
        survival: List::new(score.map(survival).unwrap_or_default())?,
    })
}

fn term(term: &TermOutcome) -> Result<wire::Term, BoundError> {
    Ok(wire::Term {
        name: Text::new(term.predictor.code_name())?,
        value_e4: term.value.map(|v| scaled(v, 1e4)),
        unit: Text::new(term.predictor.unit())?,
        source: match term.source {
            Source::Measured => wire::Source::Measured,
            Source::Supplied => wire::Source::Supplied,
            Source::Missing => wire::Source::Missing,
        },
        coefficient_e4: scaled(term.coefficient, 1e4),
        points_e2: term.points.map(|p| scaled(p, 1e2)),
        provenance: provenance(term.provenance),
        provenance_text: Text::shortened(&term.source_text),
    })
}

fn provenance(provenance: Provenance) -> wire::Provenance {
    match provenance {
        Provenance::PublishedHr => wire::Provenance::Published,
        Provenance::OwnFit => wire::Provenance::OwnFit,
        Provenance::Placeholder => wire::Provenance::Placeholder,
    }
}

fn survival(score: &NomogramScore) -> Vec<wire::Survival> {
    let point = |p: &crate::clinical::nomogram::SurvivalPoint| wire::Survival {
        months: u64::from(p.months),
        probability_e4: p.probability.e4(),
    };
    score.survival.iter().map(point).collect()
}

/// The recommendation and the exact words shown with it.
pub(super) fn recommendation(recommendation: &Recommendation) -> wire::Recommendation {
    wire::Recommendation {
        code: match recommendation.advice {
            Advice::HaicFavoured => wire::RecommendationCode::HaicFavoured,
            Advice::NoSignificantDifferenceShown => {
                wire::RecommendationCode::NoSignificantDifferenceShown
            }
            Advice::Discuss => wire::RecommendationCode::Discuss,
        },
        wording: match recommendation.basis {
            Basis::HighOnBoth => wire::Wording::HaicFavoured,
            Basis::LowOnBoth => wire::Wording::NoDifference,
            Basis::Discordant => wire::Wording::Discordant,
            Basis::Indeterminate => wire::Wording::Indeterminate,
            Basis::NotComputable => wire::Wording::NotComputable,
        },
    }
}
