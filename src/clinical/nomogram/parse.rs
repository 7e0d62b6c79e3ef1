//! `nomogram.toml` in, checked [`Nomogram`] out. A package that contradicts itself (a coefficient
//! that is not the logarithm of its hazard ratio, a doubt left unsaid, a baseline of another
//! patient) is refused with every contradiction in one answer.

use serde::Deserialize;
use thiserror::Error;

use super::{
    BaselineSurvival, HazardRatio, Nomogram, OutsideFittedRange, PackageId, Predictor, Provenance,
    PublishedCutoff, SURVIVAL_MONTHS, ScoreRule, Side, Term, Treatment,
};
use crate::clinical::policy::{Advice, Policy};
use crate::units::Probability;

/// Largest `nomogram.toml` accepted, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The schema this reader understands.
const SCHEMA: u32 = 1;

/// Largest coefficient or score parameter, in absolute value: a hazard ratio of e^20 per unit is
/// beyond anything a fit gives, and sums stay far from overflow.
const MAX_PARAMETER: f64 = 20.0;

/// Coefficients are printed to three decimals and hazard ratios to two: ln(HR ± 0.005) is within
/// this of the printed coefficient for every HR ≥ 0.5.
const LN_HR_TOLERANCE: f64 = 0.011;

/// `lp_mean` is printed to three decimals.
const LP_MEAN_TOLERANCE: f64 = 0.0006;

/// The longest source of a term, in bytes: what a message carries of it.
const MAX_SOURCE_BYTES: usize = 80;

/// Why a nomogram, or a pair of them, was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NomogramError {
    /// Larger than [`MAX_BYTES`].
    #[error("nomogram.toml of package {package} has {bytes} bytes, expected at most {MAX_BYTES}")]
    TooLarge {
        /// Package name.
        package: String,
        /// Its size.
        bytes: usize,
    },
    /// Not TOML, or not of this shape.
    #[error("could not read nomogram.toml of package {package}: correct it and sign it again")]
    Unreadable {
        /// Package name.
        package: String,
        /// Line and key.
        #[source]
        source: toml::de::Error,
    },
    /// Readable, and contradicts itself.
    #[error("nomogram.toml of package {package} is refused: {}", problems.join("; "))]
    Invalid {
        /// Package name.
        package: String,
        /// Key, found and expected, of everything that is wrong.
        problems: Vec<String>,
    },
    /// A nomogram was offered for another treatment.
    #[error(
        "package {package} holds the {} nomogram, expected the one for {}",
        found.code_name(),
        expected.code_name()
    )]
    WrongTreatment {
        /// Package name.
        package: String,
        /// What it is for.
        found: Treatment,
        /// What it was offered for.
        expected: Treatment,
    },
    /// Two packages that do not belong together.
    #[error(
        "packages {tace} and {haic} state different recommendation policies: install a pair whose \
         [policy] tables agree"
    )]
    PoliciesDiffer {
        /// The TACE package.
        tace: String,
        /// The HAIC package.
        haic: String,
    },
}

impl Nomogram {
    /// Reads the text of a package's `nomogram.toml`; `package` is what its signed manifest says.
    pub fn parse(package: PackageId, text: &str) -> Result<Self, NomogramError> {
        if text.len() > MAX_BYTES {
            return Err(NomogramError::TooLarge { package: package.name, bytes: text.len() });
        }
        let raw: RawNomogram = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(source) => return Err(NomogramError::Unreadable { package: package.name, source }),
        };
        let mut problems = Problems(Vec::new());
        raw.check(&mut problems);
        let baseline = raw.survival.checked(&mut problems);
        match baseline {
            Some(baseline) if problems.0.is_empty() => Ok(raw.into_nomogram(package, baseline)),
            _ => Err(NomogramError::Invalid { package: package.name, problems: problems.0 }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNomogram {
    schema: u32,
    treatment: Treatment,
    outside_fitted_range: OutsideFittedRange,
    terms: Vec<RawTerm>,
    score: RawScore,
    survival: RawSurvival,
    published_cutoff: RawPublishedCutoff,
    policy: RawPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTerm {
    name: Predictor,
    coefficient: f64,
    hazard_ratio: Option<f64>,
    ci: Option<(f64, f64)>,
    unit: String,
    coding: String,
    low: f64,
    high: f64,
    range_provenance: Provenance,
    reference: f64,
    provenance: Provenance,
    source: String,
    doubt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScore {
    slope: f64,
    intercept: f64,
    cutoff: f64,
    band: f64,
    high_risk_side: Side,
    cutoff_provenance: Provenance,
    cutoff_source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSurvival {
    months: Vec<u32>,
    baseline: Vec<f64>,
    lp_mean: f64,
    provenance: Provenance,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPublishedCutoff {
    value: f64,
    label: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    high_on_both: Advice,
    low_on_both: Advice,
    discordant: Advice,
    indeterminate: Advice,
    not_computable: Advice,
}

/// What is wrong so far.
struct Problems(Vec<String>);

impl Problems {
    fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    fn require_parameter(&mut self, key: &str, value: f64) {
        self.require(value.abs() <= MAX_PARAMETER, || {
            format!("{key} is {value}, expected −{MAX_PARAMETER}..={MAX_PARAMETER}")
        });
    }

    fn require_text(&mut self, key: &str, text: &str) {
        self.require(!text.trim().is_empty(), || {
            format!("{key} is empty, expected an explanation")
        });
    }
}

impl RawNomogram {
    fn check(&self, problems: &mut Problems) {
        problems.require(self.schema == SCHEMA, || {
            format!("schema is {}, expected {SCHEMA}", self.schema)
        });
        for (at, term) in self.terms.iter().enumerate() {
            let repeated = self.terms[..at].iter().any(|earlier| earlier.name == term.name);
            let name = term.name.code_name();
            problems.require(!repeated, || format!("term {name} stands twice, expected it once"));
            term.check(problems);
        }
        let weighted = self.terms.iter().any(|term| term.coefficient != 0.0);
        problems.require(weighted, || "no term has a coefficient, expected at least one".into());
        self.score.check(problems);
        self.check_reference(problems);
        self.published_cutoff.check(self.score.cutoff, problems);
        self.policy.check(problems);
    }

    /// The baseline belongs to the patient whose values are the terms' reference values.
    fn check_reference(&self, problems: &mut Problems) {
        let sum: f64 = self.terms.iter().map(|term| term.coefficient * term.reference).sum();
        let found = self.survival.lp_mean;
        problems.require((sum - found).abs() <= LP_MEAN_TOLERANCE, || {
            format!(
                "survival.lp_mean is {found}, expected {sum:.3}, the sum over the \
                 terms of coefficient times reference"
            )
        });
    }

    fn into_nomogram(self, package: PackageId, baseline: BaselineSurvival) -> Nomogram {
        Nomogram {
            package,
            treatment: self.treatment,
            terms: self.terms.into_iter().map(RawTerm::into_term).collect(),
            rule: ScoreRule {
                slope: self.score.slope,
                intercept: self.score.intercept,
                cutoff: self.score.cutoff,
                band: self.score.band,
                high_risk_side: self.score.high_risk_side,
                cutoff_provenance: self.score.cutoff_provenance,
                cutoff_source: self.score.cutoff_source,
            },
            baseline,
            outside_fitted_range: self.outside_fitted_range,
            published_cutoff: PublishedCutoff {
                value: self.published_cutoff.value,
                reason: self.published_cutoff.reason,
            },
            policy: self.policy.into_policy(),
        }
    }
}

impl RawTerm {
    fn check(&self, problems: &mut Problems) {
        let name = self.name.code_name();
        let key = |part: &str| format!("terms.{name}.{part}");
        problems.require_parameter(&key("coefficient"), self.coefficient);
        problems.require_text(&key("coding"), &self.coding);
        problems.require_text(&key("source"), &self.source);
        problems.require(self.source.len() <= MAX_SOURCE_BYTES, || {
            let found = self.source.len();
            format!("{} has {found} bytes, a message carries {MAX_SOURCE_BYTES}", key("source"))
        });
        let unit = self.name.unit();
        problems.require(self.unit == unit, || {
            format!("{} is {:?}, expected {unit:?}", key("unit"), self.unit)
        });
        let (least, most) = self.name.domain();
        let ordered = least <= self.low && self.low < self.high && self.high <= most;
        problems.require(ordered, || {
            format!(
                "{} is {}..={}, expected a range within {least}..={most}",
                key("low/high"),
                self.low,
                self.high
            )
        });
        problems.require((self.low..=self.high).contains(&self.reference), || {
            format!(
                "{} is {}, expected {}..={}",
                key("reference"),
                self.reference,
                self.low,
                self.high
            )
        });
        self.check_hazard_ratio(problems);
    }

    /// A published coefficient is the logarithm of its printed hazard ratio, and an interval that
    /// contradicts or does not support it is said to.
    fn check_hazard_ratio(&self, problems: &mut Problems) {
        let name = self.name.code_name();
        let published = self.provenance == Provenance::PublishedHr;
        let (Some(ratio), Some((low, high))) = (self.hazard_ratio, self.ci) else {
            let alone = published || self.hazard_ratio.is_some() || self.ci.is_some();
            problems.require(!alone, || {
                format!("terms.{name} lacks hazard_ratio or ci, expected both")
            });
            return;
        };
        let plausible = ratio > 0.0 && low > 0.0 && low <= high && high.is_finite();
        problems.require(plausible, || {
            format!(
                "terms.{name} has hazard ratio {ratio} ({low}-{high}), expected positive \
                 numbers in order"
            )
        });
        let close = (ratio.ln() - self.coefficient).abs() <= LN_HR_TOLERANCE;
        problems.require(close, || {
            format!(
                "terms.{name}.coefficient is {}, expected ln({ratio}) = {:.3}",
                self.coefficient,
                ratio.ln()
            )
        });
        let supported = (low..=high).contains(&ratio) && !(low..=high).contains(&1.0);
        let doubted = self.doubt.as_ref().is_some_and(|doubt| !doubt.trim().is_empty());
        problems.require(supported || doubted, || {
            format!(
                "terms.{name}.doubt is missing, expected a sentence: the interval {low}-{high} \
                 contains 1 or misses the ratio {ratio}"
            )
        });
    }

    fn into_term(self) -> Term {
        let pair = self.hazard_ratio.zip(self.ci);
        Term {
            predictor: self.name,
            coefficient: self.coefficient,
            hazard_ratio: pair.map(|(ratio, ci)| HazardRatio { ratio, ci }),
            coding: self.coding,
            fitted: (self.low, self.high),
            fitted_provenance: self.range_provenance,
            reference: self.reference,
            provenance: self.provenance,
            source: self.source,
            doubt: self.doubt,
        }
    }
}

impl RawScore {
    fn check(&self, problems: &mut Problems) {
        problems.require_parameter("score.slope", self.slope);
        problems.require_parameter("score.intercept", self.intercept);
        problems.require(self.cutoff.is_finite(), || {
            format!("score.cutoff is {}, expected a finite number", self.cutoff)
        });
        problems.require((0.0..=MAX_PARAMETER).contains(&self.band), || {
            format!("score.band is {}, expected 0..={MAX_PARAMETER}", self.band)
        });
        let side = if self.slope > 0.0 { Side::High } else { Side::Low };
        problems.require(self.slope != 0.0 && self.high_risk_side == side, || {
            format!(
                "score.high_risk_side contradicts slope {}: risk rises with the linear predictor",
                self.slope
            )
        });
        problems.require_text("score.cutoff_source", &self.cutoff_source);
    }
}

impl RawSurvival {
    fn checked(&self, problems: &mut Problems) -> Option<BaselineSurvival> {
        problems.require(self.months == SURVIVAL_MONTHS, || {
            format!("survival.months is {:?}, expected {SURVIVAL_MONTHS:?}", self.months)
        });
        problems.require_text("survival.source", &self.source);
        let inside = self.baseline.iter().all(|s| 0.0 < *s && *s < 1.0);
        let falling = self.baseline.is_sorted_by(|earlier, later| earlier >= later);
        problems.require(inside && falling && self.baseline.len() == SURVIVAL_MONTHS.len(), || {
            format!(
                "survival.baseline is {:?}, expected 5 numbers between 0 and 1 that never rise",
                self.baseline
            )
        });
        let probability: Vec<Probability> =
            self.baseline.iter().filter_map(|s| Probability::new(*s).ok()).collect();
        Some(BaselineSurvival {
            probability: probability.try_into().ok()?,
            lp_mean: self.lp_mean,
            provenance: self.provenance,
            source: self.source.clone(),
        })
    }
}

impl RawPublishedCutoff {
    fn check(&self, own: f64, problems: &mut Problems) {
        problems.require(self.label == PublishedCutoff::LABEL, || {
            format!(
                "published_cutoff.label is {:?}, expected {:?}",
                self.label,
                PublishedCutoff::LABEL
            )
        });
        problems.require(self.value.is_finite() && self.value != own, || {
            format!(
                "score.cutoff is the published {}, which belongs to a score that \
                 cannot be reconstructed: expected one of this score",
                self.value
            )
        });
        problems.require_text("published_cutoff.reason", &self.reason);
    }
}

impl RawPolicy {
    /// A site may say less than the evidence allows, never more: only the advice that has exact words
    /// in the wire format, or discuss, can follow from two groups.
    fn check(&self, problems: &mut Problems) {
        let discuss = Advice::Discuss;
        for (key, advice, most) in [
            ("high_on_both", self.high_on_both, Advice::HaicFavoured),
            ("low_on_both", self.low_on_both, Advice::NoSignificantDifferenceShown),
            ("discordant", self.discordant, discuss),
            ("indeterminate", self.indeterminate, discuss),
            ("not_computable", self.not_computable, discuss),
        ] {
            problems.require(advice == most || advice == discuss, || {
                let expected = if most == discuss {
                    String::new()
                } else {
                    format!("{} or ", most.code_name())
                };
                format!("policy.{key} is {}, expected {expected}discuss", advice.code_name())
            });
        }
    }

    fn into_policy(self) -> Policy {
        Policy { high_on_both: self.high_on_both, low_on_both: self.low_on_both }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shipped;
    use super::*;

    /// The TACE package with one piece of text replaced.
    fn with(from: &str, to: &str) -> Result<Nomogram, NomogramError> {
        assert!(shipped::TACE.contains(from), "{from}");
        Nomogram::parse(shipped::package("nomogram-tace"), &shipped::TACE.replacen(from, to, 1))
    }

    fn refusal(from: &str, to: &str) -> String {
        match with(from, to) {
            Err(NomogramError::Invalid { problems, .. }) => problems.join("; "),
            other => panic!("{from} -> {to} gave {other:?}"),
        }
    }

    #[test]
    fn a_source_fits_a_message() {
        let source = "multivariable Cox; ln(hazard ratio)";
        let of_length = |bytes: usize| {
            let rest = "Cao et al., NPJ Digit Med 2025;8:692, ".len() + source.len();
            with(source, &format!("{source}{}", "x".repeat(bytes - rest)))
        };
        assert!(of_length(MAX_SOURCE_BYTES).is_ok());
        assert!(of_length(MAX_SOURCE_BYTES + 1).is_err());
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (from, to, named) in [
            ("schema = 1", "schema = 2", "schema is 2"),
            ("unit = \"cm\"", "unit = \"mm\"", "terms.largest_diameter_cm.unit is \"mm\""),
            ("low = 5.0", "low = 26.0", "low/high is 26..=25"),
            ("low = 5.0", "low = nan", "low/high"),
            ("reference = 10.0", "reference = 25.1", "reference is 25.1"),
            ("coefficient = 0.231", "coefficient = 0.131", "expected ln(1.26) = 0.231"),
            ("coefficient = 2.0", "coefficient = inf", "dl_risk_score.coefficient is inf"),
            ("ci = [0.99, 1.60]", "ci = [1.60, 0.99]", "positive numbers in order"),
            ("hazard_ratio = 1.26\n", "", "lacks hazard_ratio or ci"),
            ("slope = 1.0", "slope = -1.0", "high_risk_side contradicts"),
            ("slope = 1.0", "slope = 0.0", "high_risk_side contradicts"),
            ("band = 0.1", "band = -0.1", "score.band"),
            ("cutoff = 2.914", "cutoff = -26.25", "cannot be reconstructed"),
            ("cutoff = 2.914", "cutoff = nan", "score.cutoff"),
            ("lp_mean = 2.914", "lp_mean = 2.9", "expected 2.914"),
            ("lp_mean = 2.914", "lp_mean = nan", "survival.lp_mean"),
            ("[12, 24, 36, 48, 60]", "[12, 24, 36, 48, 61]", "survival.months"),
            ("0.145]", "0.185]", "never rise"),
            ("0.145]", "0.0]", "between 0 and 1"),
            ("[0.570,", "[1.0,", "between 0 and 1"),
            ("[0.570, ", "[", "5 numbers"),
            ("published, never applied", "published", "published_cutoff.label"),
            ("indeterminate = \"discuss\"", "indeterminate = \"haic_favoured\"", "policy.inde"),
            (
                "not_computable = \"discuss\"\n",
                "not_computable = \"haic_favoured\"\n",
                "policy.not",
            ),
            ("discordant = \"discuss\"", "discordant = \"haic_favoured\"", "policy.discordant"),
            (
                "high_on_both = \"haic_favoured\"",
                "high_on_both = \"no_significant_difference_shown\"",
                "policy.high_on_both is no_significant_difference_shown, expected haic_favoured or \
                 discuss",
            ),
            (
                "low_on_both = \"no_significant_difference_shown\"",
                "low_on_both = \"haic_favoured\"",
                "policy.low_on_both",
            ),
            ("name = \"hbv\"", "name = \"lesion_count\"", "stands twice"),
        ] {
            let problems = refusal(from, to);
            assert!(problems.contains(named), "{to}: {problems}");
        }
    }

    /// 1.07 (1.04-1.11) needs no doubt; an interval that holds 1 or misses the ratio does.
    #[test]
    fn a_doubt_must_be_said() {
        let needed = "ci = [1.00, 1.11]";
        assert!(refusal("ci = [1.04, 1.11]", needed).contains("largest_diameter_cm.doubt"));
        assert!(refusal("ci = [1.04, 1.11]", "ci = [1.04, 1.06]").contains("doubt"));
        let said = format!("{needed}\ndoubt = \"The interval holds 1.\"");
        assert!(with("ci = [1.04, 1.11]", &said).is_ok());
        let empty = format!("{needed}\ndoubt = \" \"");
        assert!(refusal("ci = [1.04, 1.11]", &empty).contains("doubt"));
    }

    #[test]
    fn limits_on_both_sides() {
        let band = |band: &str| with("band = 0.1", &format!("band = {band}"));
        assert!(band("0").is_ok() && band("20").is_ok() && band("20.1").is_err());
        let lp = |lp: &str| with("lp_mean = 2.914", &format!("lp_mean = {lp}"));
        assert!(lp("2.9148").is_ok() && lp("2.9138").is_ok());
        assert!(lp("2.9150").is_err() && lp("2.9136").is_err());
        let coefficient = |c: &str| with("coefficient = 0.068", &format!("coefficient = {c}"));
        assert!(coefficient("0.0790").is_err(), "ln 1.07 is 0.0677");
        let padded = |bytes: usize| {
            let text = format!("{}{}", shipped::TACE, "\n".repeat(bytes - shipped::TACE.len()));
            Nomogram::parse(shipped::package("nomogram-tace"), &text)
        };
        assert!(padded(MAX_BYTES).is_ok());
        assert!(matches!(padded(MAX_BYTES + 1), Err(NomogramError::TooLarge { .. })));
    }

    #[test]
    fn unknown_keys_and_names_are_refused_with_their_line() {
        for (from, to) in [
            ("name = \"hbv\"", "name = \"hcv\""),
            ("schema = 1", "schema = 1\nsurprise = 2"),
            ("treatment = \"tace\"", "treatment = \"sirt\""),
            ("high_on_both = \"haic_favoured\"", "high_on_both = \"equivalent\""),
            ("[policy]", "[polic]"),
        ] {
            let Err(NomogramError::Unreadable { package, source }) = with(from, to) else {
                panic!("{to} was read")
            };
            assert_eq!(package, "nomogram-tace");
            assert!(source.to_string().contains("line"), "{source}");
        }
    }

    #[test]
    fn code_names_are_the_names_read() {
        for predictor in Predictor::ALL {
            let text = format!("name = \"{}\"", predictor.code_name());
            #[derive(Deserialize)]
            struct Named {
                name: Predictor,
            }
            assert_eq!(toml::from_str::<Named>(&text).unwrap().name, predictor);
        }
    }
}
