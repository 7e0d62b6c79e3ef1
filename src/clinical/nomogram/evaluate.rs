//! One patient through one nomogram: every term with value, contribution and points, then linear
//! predictor, score, risk group and predicted survival. A missing value makes the nomogram not
//! computable; it never becomes a default.

use super::{
    BaselineSurvival, Nomogram, OutsideFittedRange, PackageId, Predictor, Provenance, RiskGroup,
    SURVIVAL_MONTHS, ScoreRule, Side, Term, Treatment,
};
use crate::clinical::assessment::Measured;
use crate::clinical::burden::Burden;
use crate::clinical::data::{ClinicalData, Pvtt, Sex};
use crate::units::Probability;

/// What one nomogram says of one patient.
#[derive(Debug, Clone, PartialEq)]
pub struct NomogramOutcome {
    /// The treatment whose outcome is predicted.
    pub treatment: Treatment,
    /// The package used.
    pub package: PackageId,
    /// Every term of the nomogram, in its order, also when there is no score.
    pub terms: Vec<TermOutcome>,
    /// The score, or everything that stands against one.
    pub score: Result<NomogramScore, Vec<Obstacle>>,
    /// How the linear predictor becomes score and group.
    pub rule: ScoreRule,
    /// Survival of the reference patient.
    pub baseline: BaselineSurvival,
    /// The cut-off printed in the paper: for display, never applied.
    pub published_cutoff: f64,
}

impl NomogramOutcome {
    /// The risk group, `None` when not computable.
    pub fn group(&self) -> Option<RiskGroup> {
        self.score.as_ref().ok().map(|score| score.group)
    }

    /// Whether a score was computed although a value lies outside the range its term was fitted on.
    pub fn extrapolates(&self) -> bool {
        self.score.is_ok() && self.terms.iter().any(|term| term.extrapolated)
    }

    /// `high`, `low`, `indeterminate` or `not_computable`.
    pub fn group_code_name(&self) -> &'static str {
        self.group().map_or("not_computable", RiskGroup::code_name)
    }
}

/// One term for one patient.
#[derive(Debug, Clone, PartialEq)]
pub struct TermOutcome {
    /// Its input.
    pub predictor: Predictor,
    /// The value in [`Predictor::unit`]; `None` when missing.
    pub value: Option<f64>,
    /// Where the value comes from.
    pub source: Source,
    /// Natural logarithm of the hazard ratio per unit.
    pub coefficient: f64,
    /// Where the coefficient comes from.
    pub provenance: Provenance,
    /// The same in words.
    pub source_text: String,
    /// coefficient · value.
    pub contribution: Option<f64>,
    /// 0 at the harmless end of the fitted range; 100 is the largest span any term of this nomogram
    /// has over its fitted range. Outside 0..=100 only where `extrapolated`.
    pub points: Option<f64>,
    /// Lowest and highest value fitted, in [`Predictor::unit`].
    pub fitted: (f64, f64),
    /// The value lies outside the fitted range.
    pub extrapolated: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the image.
    Measured,
    /// From `clinical.json`.
    Supplied,
    /// There is none.
    Missing,
}

impl Source {
    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Supplied => "supplied",
            Self::Missing => "missing",
        }
    }
}

/// A computed score.
#[derive(Debug, Clone, PartialEq)]
pub struct NomogramScore {
    /// Sum of the contributions.
    pub linear_predictor: f64,
    /// slope · linear predictor + intercept.
    pub score: f64,
    /// Sum of the points.
    pub total_points: f64,
    /// The side of the cut-off the score is on.
    pub group: RiskGroup,
    /// Predicted overall survival at [`SURVIVAL_MONTHS`].
    pub survival: [SurvivalPoint; 5],
}

/// One point of a predicted survival curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurvivalPoint {
    /// Months after treatment.
    pub months: u32,
    /// Predicted overall survival.
    pub probability: Probability,
}

/// Why a nomogram gives no score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Obstacle {
    /// The value is missing.
    Missing(Predictor),
    /// The value lies outside the fitted range, and the package refuses to extrapolate.
    OutsideFittedRange {
        /// Of which input.
        predictor: Predictor,
        /// In the predictor's unit.
        value: f64,
        /// Lowest and highest value fitted.
        fitted: (f64, f64),
    },
}

impl Nomogram {
    /// Applies the nomogram to one patient.
    pub fn evaluate(&self, data: &ClinicalData, measured: &Measured) -> NomogramOutcome {
        let burden = Burden::of(data, measured);
        let widest = self.terms.iter().map(Term::span).fold(0.0, f64::max);
        let terms: Vec<TermOutcome> = self
            .terms
            .iter()
            .map(|term| term.evaluate(term.predictor.read(data, &burden, measured), widest))
            .collect();
        NomogramOutcome {
            treatment: self.treatment,
            package: self.package.clone(),
            score: self.score(&terms),
            terms,
            rule: self.rule.clone(),
            baseline: self.baseline.clone(),
            published_cutoff: self.published_cutoff.value,
        }
    }

    fn score(&self, terms: &[TermOutcome]) -> Result<NomogramScore, Vec<Obstacle>> {
        let obstacles: Vec<Obstacle> = self
            .terms
            .iter()
            .zip(terms)
            .filter_map(|(term, outcome)| self.obstacle(term, outcome))
            .collect();
        if !obstacles.is_empty() {
            return Err(obstacles);
        }
        let linear_predictor = terms.iter().filter_map(|term| term.contribution).sum();
        let score = self.rule.slope * linear_predictor + self.rule.intercept;
        Ok(NomogramScore {
            linear_predictor,
            score,
            total_points: terms.iter().filter_map(|term| term.points).sum(),
            group: self.rule.group(score),
            survival: self.survival(linear_predictor),
        })
    }

    fn obstacle(&self, term: &Term, outcome: &TermOutcome) -> Option<Obstacle> {
        let predictor = term.predictor;
        let refuses = self.outside_fitted_range == OutsideFittedRange::NotComputable;
        match outcome.value {
            None => Some(Obstacle::Missing(predictor)),
            Some(value) if outcome.extrapolated && refuses => {
                Some(Obstacle::OutsideFittedRange { predictor, value, fitted: term.fitted })
            }
            Some(_) => None,
        }
    }

    /// S(t) = S0(t)^exp(LP − LP of the reference patient).
    fn survival(&self, linear_predictor: f64) -> [SurvivalPoint; 5] {
        let relative_hazard = (linear_predictor - self.baseline.lp_mean).exp();
        std::array::from_fn(|at| SurvivalPoint {
            months: SURVIVAL_MONTHS[at],
            probability: Probability::new(
                self.baseline.probability[at].get().powf(relative_hazard),
            )
            .expect("a number in (0, 1) to a power ≥ 0 is in 0..=1"),
        })
    }
}

impl Term {
    /// |coefficient| · width of the fitted range: what the term can add at most.
    pub(super) fn span(&self) -> f64 {
        self.coefficient.abs() * (self.fitted.1 - self.fitted.0)
    }

    fn evaluate(&self, (value, source): (Option<f64>, Source), widest: f64) -> TermOutcome {
        let (low, high) = self.fitted;
        let harmless = if self.coefficient < 0.0 { high } else { low };
        TermOutcome {
            predictor: self.predictor,
            value,
            source,
            coefficient: self.coefficient,
            provenance: self.provenance,
            source_text: self.source.clone(),
            contribution: value.map(|x| self.coefficient * x),
            points: value.map(|x| 100.0 * self.coefficient * (x - harmless) / widest),
            fitted: self.fitted,
            extrapolated: value.is_some_and(|x| !(low..=high).contains(&x)),
        }
    }
}

impl ScoreRule {
    /// The risk group of a score.
    pub fn group(&self, score: f64) -> RiskGroup {
        let excess = match self.high_risk_side {
            Side::High => score - self.cutoff,
            Side::Low => self.cutoff - score,
        };
        if excess.abs() < self.band {
            RiskGroup::Indeterminate
        } else if excess >= 0.0 {
            RiskGroup::High
        } else {
            RiskGroup::Low
        }
    }
}

impl Predictor {
    /// The patient's value in [`Predictor::unit`] and where it comes from.
    fn read(
        self,
        data: &ClinicalData,
        burden: &Burden,
        measured: &Measured,
    ) -> (Option<f64>, Source) {
        let indicator = |flag: bool| f64::from(u8::from(flag));
        let (value, source) = match self {
            Self::SexMale => (data.sex.map(|sex| indicator(sex == Sex::Male)), Source::Supplied),
            Self::AstUL => (data.ast_u_l, Source::Supplied),
            Self::LesionCount => (burden.count.map(f64::from), burden.count_source),
            Self::Hbv => (data.hbv.map(indicator), Source::Supplied),
            Self::LargestDiameterCm => {
                (measured.largest_diameter.map(|length| length.get() / 10.0), Source::Measured)
            }
            Self::Pvtt => (data.pvtt.map(|pvtt| indicator(pvtt != Pvtt::None)), Source::Supplied),
            Self::DlRiskScore => (measured.risk.map(|(score, _)| score.get()), Source::Measured),
            Self::Proliferative => {
                (measured.risk.map(|(_, positive)| indicator(positive)), Source::Measured)
            }
        };
        (value, if value.is_some() { source } else { Source::Missing })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shipped;
    use super::*;
    use crate::units::Millimetres;

    fn patient() -> ClinicalData {
        ClinicalData {
            sex: Some(Sex::Male),
            hbv: Some(true),
            ast_u_l: Some(61.0),
            pvtt: Some(Pvtt::Vp2),
            lesion_count: Some(3),
            ..ClinicalData::absent()
        }
    }

    fn image() -> Measured {
        Measured {
            largest_diameter: Millimetres::new(80.0).ok(),
            lesion_count: Some(2),
            risk: Probability::new(0.7).ok().map(|score| (score, true)),
        }
    }

    fn score(outcome: &NomogramOutcome) -> &NomogramScore {
        outcome.score.as_ref().unwrap()
    }

    /// By hand: 3·0.231 + 1·0.507 + 8·0.068 + 0.7·2 + 1·0.5 = 3.644; relative hazard
    /// exp(3.644 − 2.914) = 2.0751; S(12) = 0.570^2.0751 = 0.3115, S(60) = 0.145^2.0751 = 0.0182.
    /// Tolerance: the rounding of the hand-worked numbers.
    #[test]
    fn tace_worked_example() {
        let outcome = shipped::tace().evaluate(&patient(), &image());
        let found = score(&outcome);
        assert!((found.linear_predictor - 3.644).abs() < 1e-9);
        assert!((found.score - 3.644).abs() < 1e-9);
        assert_eq!(found.group, RiskGroup::High);
        assert!((found.survival[0].probability.get() - 0.3115).abs() < 5e-5);
        assert!((found.survival[4].probability.get() - 0.0182).abs() < 5e-5);
    }

    /// By hand: −0.274 + 61·0 + 3·0.247 + 1·0.451 + 0.7·2 + 1·0.5 = 2.818; cut-off 1.802.
    #[test]
    fn haic_worked_example() {
        let outcome = shipped::haic().evaluate(&patient(), &image());
        let found = score(&outcome);
        assert!((found.linear_predictor - 2.818).abs() < 1e-9);
        assert_eq!(found.group, RiskGroup::High);
        assert_eq!(outcome.group_code_name(), "high");
    }

    /// Points of the TACE terms for the same patient. The widest term is the lesion count,
    /// 0.231·(20 − 1) = 4.389: lesions 0.462, HBV 0.507, diameter 3·0.068, score 1.4, class 0.5.
    #[test]
    fn points_are_relative_to_the_widest_term() {
        let outcome = shipped::tace().evaluate(&patient(), &image());
        let found: Vec<f64> = outcome.terms.iter().map(|term| term.points.unwrap()).collect();
        for (found, contribution) in found.iter().zip([0.462, 0.507, 0.204, 1.4, 0.5]) {
            assert!((found - 100.0 * contribution / 4.389).abs() < 1e-9, "{found}");
        }
        let total: f64 = found.iter().sum();
        assert!((score(&outcome).total_points - total).abs() < 1e-9);
    }

    /// HAIC's sex term has a negative coefficient: a woman, not a man, has the points.
    #[test]
    fn points_are_never_negative_within_the_fitted_range() {
        for (sex, expected) in [(Sex::Male, 0.0), (Sex::Female, 100.0 * 0.274 / 4.693)] {
            let data = ClinicalData { sex: Some(sex), ..patient() };
            let outcome = shipped::haic().evaluate(&data, &image());
            assert!((outcome.terms[0].points.unwrap() - expected).abs() < 1e-9, "{sex:?}");
        }
    }

    /// The sum again, from the package's text by way of nothing but names and numbers.
    #[test]
    fn linear_predictor_equals_a_slow_recomputation() {
        for lesions in 1..=20 {
            for (step, mm) in (50..=250).step_by(10).enumerate() {
                let risk = f64::from(lesions) / 20.0;
                let flag = step % 2 == 0;
                let data = ClinicalData {
                    hbv: Some(flag),
                    sex: Some(if flag { Sex::Male } else { Sex::Female }),
                    pvtt: Some(if flag { Pvtt::None } else { Pvtt::Vp4 }),
                    lesion_count: Some(lesions),
                    ..patient()
                };
                let measured = Measured {
                    largest_diameter: Millimetres::new(f64::from(mm)).ok(),
                    lesion_count: None,
                    risk: Some((Probability::new(risk).unwrap(), flag)),
                };
                let one = if flag { 1.0 } else { 0.0 };
                let slow = |text: &str| -> f64 {
                    let table: toml::Table = text.parse().unwrap();
                    let mut sum = 0.0;
                    for term in table["terms"].as_array().unwrap() {
                        let value = match term["name"].as_str().unwrap() {
                            "lesion_count" => f64::from(lesions),
                            "largest_diameter_cm" => f64::from(mm) / 10.0,
                            "hbv" | "sex_male" | "proliferative" => one,
                            "pvtt" => 1.0 - one,
                            "ast_u_l" => 61.0,
                            "dl_risk_score" => risk,
                            other => panic!("{other}"),
                        };
                        sum += term["coefficient"].as_float().unwrap() * value;
                    }
                    sum
                };
                let tace = shipped::tace().evaluate(&data, &measured);
                assert!((score(&tace).linear_predictor - slow(shipped::TACE)).abs() < 1e-9);
                let haic = shipped::haic().evaluate(&data, &measured);
                assert!((score(&haic).linear_predictor - slow(shipped::HAIC)).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_missing_value_is_not_computable_and_named() {
        let blind = Measured { largest_diameter: None, lesion_count: None, risk: None };
        let outcome = shipped::tace().evaluate(&ClinicalData::absent(), &blind);
        let missing = outcome.score.unwrap_err();
        let expected = [
            Predictor::LesionCount,
            Predictor::Hbv,
            Predictor::LargestDiameterCm,
            Predictor::DlRiskScore,
            Predictor::Proliferative,
        ];
        assert_eq!(missing, expected.map(Obstacle::Missing));
        assert!(outcome.terms.iter().all(|term| term.source == Source::Missing));
        assert!(outcome.terms.iter().all(|term| term.contribution.is_none()));

        let data = ClinicalData { ast_u_l: None, ..patient() };
        let outcome = shipped::haic().evaluate(&data, &image());
        assert_eq!(outcome.group_code_name(), "not_computable");
        assert_eq!(outcome.score, Err(vec![Obstacle::Missing(Predictor::AstUL)]));
    }

    #[test]
    fn sources_are_told_apart_and_the_supplied_count_wins() {
        let outcome = shipped::tace().evaluate(&patient(), &image());
        assert_eq!(
            (outcome.terms[0].value, outcome.terms[0].source),
            (Some(3.0), Source::Supplied)
        );
        assert_eq!(outcome.terms[2].source, Source::Measured);
        let data = ClinicalData { lesion_count: None, ..patient() };
        let outcome = shipped::tace().evaluate(&data, &image());
        assert_eq!(
            (outcome.terms[0].value, outcome.terms[0].source),
            (Some(2.0), Source::Measured)
        );
    }

    /// The nodules of a diffuse tumour cannot be counted, whoever gives a number.
    #[test]
    fn a_diffuse_tumour_has_no_lesion_count() {
        for diffuse in [None, Some(false), Some(true)] {
            let data = ClinicalData { diffuse_type: diffuse, ..patient() };
            for nomogram in [shipped::tace(), shipped::haic()] {
                let outcome = nomogram.evaluate(&data, &image());
                let missing = Err(vec![Obstacle::Missing(Predictor::LesionCount)]);
                assert_eq!(outcome.score == missing, diffuse == Some(true), "{diffuse:?}");
            }
        }
    }

    #[test]
    fn fitted_range_on_both_sides() {
        let nomogram = shipped::tace();
        for (lesions, computed) in [(0, false), (1, true), (20, true), (21, false)] {
            let data = ClinicalData { lesion_count: Some(lesions), ..patient() };
            let outcome = nomogram.evaluate(&data, &image());
            assert_eq!(outcome.score.is_ok(), computed, "{lesions}");
            assert_eq!(outcome.terms[0].extrapolated, !computed, "{lesions}");
        }
        for (mm, computed) in [(49.9, false), (50.0, true), (250.0, true), (250.1, false)] {
            let measured = Measured { largest_diameter: Millimetres::new(mm).ok(), ..image() };
            assert_eq!(nomogram.evaluate(&patient(), &measured).score.is_ok(), computed, "{mm}");
        }
    }

    #[test]
    fn a_package_may_flag_extrapolation_instead() {
        let text = shipped::TACE.replace(
            "outside_fitted_range = \"not_computable\"",
            "outside_fitted_range = \"flag\"",
        );
        let nomogram = Nomogram::parse(shipped::package("nomogram-tace"), &text).unwrap();
        let data = ClinicalData { lesion_count: Some(21), ..patient() };
        let outcome = nomogram.evaluate(&data, &image());
        assert!(outcome.terms[0].extrapolated && outcome.score.is_ok() && outcome.extrapolates());
        assert!(!nomogram.evaluate(&patient(), &image()).extrapolates());
        let data = ClinicalData { lesion_count: None, ..patient() };
        let uncounted = Measured { lesion_count: None, ..image() };
        assert!(nomogram.evaluate(&data, &uncounted).score.is_err());
    }

    #[test]
    fn groups_on_both_sides_of_cutoff_and_band() {
        let mut rule = shipped::tace().rule;
        (rule.cutoff, rule.band) = (2.0, 0.5);
        for (score, group) in [
            (1.0, RiskGroup::Low),
            (1.5, RiskGroup::Low),
            (1.51, RiskGroup::Indeterminate),
            (2.0, RiskGroup::Indeterminate),
            (2.49, RiskGroup::Indeterminate),
            (2.5, RiskGroup::High),
        ] {
            assert_eq!(rule.group(score), group, "{score}");
        }
        rule.band = 0.0;
        assert_eq!(rule.group(1.999), RiskGroup::Low);
        assert_eq!(rule.group(2.0), RiskGroup::High);
        rule.high_risk_side = Side::Low;
        assert_eq!(rule.group(2.0), RiskGroup::High);
        assert_eq!(rule.group(2.001), RiskGroup::Low);
    }

    /// The reference patient has the baseline, and more risk never means more survival.
    #[test]
    fn survival_falls_with_risk_and_time() {
        let nomogram = shipped::haic();
        let at_mean = nomogram.survival(nomogram.baseline.lp_mean);
        for (found, baseline) in at_mean.iter().zip(nomogram.baseline.probability) {
            assert!((found.probability.get() - baseline.get()).abs() < 1e-12);
        }
        let curves: Vec<_> = (-40..=40).map(|lp| nomogram.survival(f64::from(lp))).collect();
        for curve in &curves {
            assert!(curve.is_sorted_by(|a, b| a.probability >= b.probability));
        }
        for pair in curves.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a.probability >= b.probability));
        }
    }

    #[test]
    fn the_published_cutoff_changes_nothing_but_itself() {
        let mut nomogram = shipped::tace();
        let before = nomogram.evaluate(&patient(), &image());
        nomogram.published_cutoff.value = 99.0;
        let after = nomogram.evaluate(&patient(), &image());
        assert_eq!(after.published_cutoff, 99.0);
        let unchanged = NomogramOutcome { published_cutoff: before.published_cutoff, ..after };
        assert_eq!(unchanged, before);
    }
}
