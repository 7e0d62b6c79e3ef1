//! The clinical layer's conclusions in wire form: eligibility, liver function, stagings,
//! contraindications, published doses, nomograms term by term, recommendation. What was supplied is
//! `supplied`'s.

use super::scaled;
use super::staged::{contraindications, doses, finding, staging};
use super::supplied::supplied;
use crate::clinical::ClinicalFindings;
use crate::clinical::burden::Burden;
use crate::clinical::data::ClinicalData;
use crate::clinical::eligibility::{Criterion, CriterionKind, CriterionValue, Met};
use crate::clinical::liver_function::{AlbiGrade, ChildPugh, ChildPughClass};
use crate::clinical::nomogram::{
    BaselineSurvival, NomogramOutcome, NomogramScore, Provenance, RiskGroup, SURVIVAL_MONTHS, Side,
    Source, TermOutcome, Treatment,
};
use crate::clinical::policy::{Advice, Basis, Recommendation};
use crate::seal::wire::{self, BoundError, Digest, List, Slug, Text};
use crate::units::Millimetres;

/// Everything but the nomograms.
pub(super) fn clinical(
    found: &ClinicalFindings,
    data: &ClinicalData,
) -> Result<wire::Clinical, BoundError> {
    let child_pugh = found.child_pugh.as_ref().ok();
    let albi = found.albi.as_ref().ok();
    let points = child_pugh.map(|score| u64::from(score.points()));
    let surface = found.body_surface_m2.as_ref().ok().copied();
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
        burden: burden(&found.burden),
        stagings: List::new(found.stagings.iter().map(staging).collect::<Result<_, _>>()?)?,
        tace: List::new(contraindications(&found.contraindications))?,
        body_surface_m2_e4: surface.map(|m2| scaled(m2, 1e4).max(0) as u64),
        reference_doses: List::new(doses(surface))?,
        findings: List::new(found.findings.iter().map(finding).collect())?,
    })
}

fn burden(burden: &Burden) -> wire::Burden {
    wire::Burden {
        count: burden.count.map(u64::from),
        count_source: source(burden.count_source),
        diameter_um: burden.diameter.map(Millimetres::micrometres),
        diameter_source: source(burden.diameter_source),
    }
}

fn source(source: Source) -> wire::Source {
    match source {
        Source::Measured => wire::Source::Measured,
        Source::Supplied => wire::Source::Supplied,
        Source::Missing => wire::Source::Missing,
    }
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
        cutoff_e4: Some(scaled(outcome.rule.cutoff, 1e4)),
        cutoff_provenance: provenance(outcome.rule.cutoff_provenance),
        risk_group: match outcome.group() {
            Some(RiskGroup::Low) => wire::RiskGroup::Low,
            Some(RiskGroup::High) => wire::RiskGroup::High,
            Some(RiskGroup::Indeterminate) => wire::RiskGroup::Indeterminate,
            None => wire::RiskGroup::NotComputable,
        },
        survival: List::new(score.map(survival).unwrap_or_default())?,
        slope_e4: scaled(outcome.rule.slope, 1e4),
        intercept_e4: scaled(outcome.rule.intercept, 1e4),
        band_e4: scaled(outcome.rule.band, 1e4).max(0) as u64,
        high_risk_side: match outcome.rule.high_risk_side {
            Side::High => wire::Side::High,
            Side::Low => wire::Side::Low,
        },
        lp_mean_e4: scaled(outcome.baseline.lp_mean, 1e4),
        baseline: List::new(baseline(&outcome.baseline))?,
        baseline_provenance: provenance(outcome.baseline.provenance),
        published_cutoff_e4: scaled(outcome.published_cutoff, 1e4),
    })
}

fn baseline(baseline: &BaselineSurvival) -> Vec<wire::Survival> {
    let points = SURVIVAL_MONTHS.iter().zip(baseline.probability);
    let points = points.map(|(months, probability)| wire::Survival {
        months: u64::from(*months),
        probability_e4: probability.e4(),
    });
    points.collect()
}

fn term(term: &TermOutcome) -> Result<wire::Term, BoundError> {
    Ok(wire::Term {
        name: Text::new(term.predictor.code_name())?,
        value_e4: term.value.map(|v| scaled(v, 1e4)),
        unit: Text::new(term.predictor.unit())?,
        source: source(term.source),
        coefficient_e4: scaled(term.coefficient, 1e4),
        points_e2: term.points.map(|p| scaled(p, 1e2)),
        provenance: provenance(term.provenance),
        provenance_text: Text::shortened(&term.source_text),
        low_e4: scaled(term.fitted.0, 1e4),
        high_e4: scaled(term.fitted.1, 1e4),
        extrapolated: term.extrapolated,
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
        wording: match (recommendation.advice, recommendation.basis) {
            (Advice::HaicFavoured, _) => wire::Wording::HaicFavoured,
            (Advice::NoSignificantDifferenceShown, _) => wire::Wording::NoDifference,
            (Advice::Discuss, Basis::HighOnBoth) => wire::Wording::DiscussHigh,
            (Advice::Discuss, Basis::LowOnBoth) => wire::Wording::DiscussLow,
            (Advice::Discuss, Basis::Discordant) => wire::Wording::Discordant,
            (Advice::Discuss, Basis::Indeterminate) => wire::Wording::Indeterminate,
            (Advice::Discuss, Basis::NotComputable) => wire::Wording::NotComputable,
            (Advice::Discuss, Basis::Contradiction) => wire::Wording::Contradiction,
            (Advice::Discuss, Basis::Extrapolated) => wire::Wording::Extrapolated,
        },
    }
}
