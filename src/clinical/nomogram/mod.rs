//! A nomogram as data: a Cox linear predictor over named inputs, its cut-off and its baseline
//! survival, each number with its provenance. This file holds what a nomogram is; `parse` reads and
//! checks a package's `nomogram.toml`, `evaluate` applies it to one patient.
//!
//! The published cut-offs are carried as reference constants and take no part in any computation.

mod evaluate;
mod parse;

use serde::Deserialize;

use super::data::Field;
use super::policy::Policy;
use crate::units::Probability;

pub use evaluate::{NomogramOutcome, NomogramScore, Obstacle, Source, SurvivalPoint, TermOutcome};
pub use parse::{MAX_BYTES, NomogramError};

/// Months at which survival is predicted: the yearly grid over which Cao 2025 reports its curves.
pub const SURVIVAL_MONTHS: [u32; 5] = [12, 24, 36, 48, 60];

/// One treatment's nomogram. [`Nomogram::parse`] is the way in.
#[derive(Debug, Clone, PartialEq)]
pub struct Nomogram {
    /// The package it came from.
    pub package: PackageId,
    /// The treatment whose outcome it predicts.
    pub treatment: Treatment,
    /// The linear predictor's terms, each predictor at most once.
    pub terms: Vec<Term>,
    /// From linear predictor to score and risk group.
    pub rule: ScoreRule,
    /// Survival of the reference patient.
    pub baseline: BaselineSurvival,
    /// What a value outside its fitted range means.
    pub outside_fitted_range: OutsideFittedRange,
    /// The cut-off printed in the paper.
    pub published_cutoff: PublishedCutoff,
    /// What to recommend from both nomograms' risk groups.
    pub policy: Policy,
}

impl Nomogram {
    /// True when any number that shapes the result is a placeholder.
    pub fn has_placeholder(&self) -> bool {
        self.terms.iter().any(|term| term.provenance == Provenance::Placeholder)
            || self.rule.cutoff_provenance == Provenance::Placeholder
            || self.baseline.provenance == Provenance::Placeholder
    }
}

/// The TACE and the HAIC nomogram in use, with one policy between them.
#[derive(Debug, Clone, PartialEq)]
pub struct NomogramPair {
    tace: Nomogram,
    haic: Nomogram,
}

impl NomogramPair {
    /// Pairs two nomograms. Each package carries the recommendation policy, because each is signed
    /// and installed by itself: a pair is accepted only when both state the same one, so that a
    /// policy is never applied to a nomogram it was not written for.
    pub fn new(tace: Nomogram, haic: Nomogram) -> Result<Self, NomogramError> {
        for (nomogram, expected) in [(&tace, Treatment::Tace), (&haic, Treatment::Haic)] {
            if nomogram.treatment != expected {
                let package = nomogram.package.name.clone();
                let found = nomogram.treatment;
                return Err(NomogramError::WrongTreatment { package, found, expected });
            }
        }
        if tace.policy != haic.policy {
            return Err(NomogramError::PoliciesDiffer {
                tace: tace.package.name,
                haic: haic.package.name,
            });
        }
        Ok(Self { tace, haic })
    }

    /// The nomogram for TACE.
    pub fn tace(&self) -> &Nomogram {
        &self.tace
    }

    /// The nomogram for HAIC.
    pub fn haic(&self) -> &Nomogram {
        &self.haic
    }

    /// The policy both packages state.
    pub fn policy(&self) -> &Policy {
        &self.haic.policy
    }
}

/// Which package a nomogram came from, as its signed manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageId {
    /// For example `nomogram-tace`.
    pub name: String,
    /// For example `0.1.0`.
    pub version: String,
    /// SHA-256 of the manifest.
    pub digest: [u8; 32],
}

/// The two treatments compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Transarterial chemoembolisation.
    Tace,
    /// Hepatic arterial infusion chemotherapy (FOLFOX).
    Haic,
}

impl Treatment {
    /// `tace` or `haic`.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::Tace => "tace",
            Self::Haic => "haic",
        }
    }
}

impl Treatment {
    /// The terms of its published nomogram (Cao 2025); a site's own package may have others.
    pub fn published_terms(self) -> &'static [Predictor] {
        use Predictor::{
            AstUL, DlRiskScore, Hbv, LargestDiameterCm, LesionCount, Proliferative, Pvtt, SexMale,
        };
        match self {
            Self::Tace => &[LesionCount, Hbv, LargestDiameterCm, DlRiskScore, Proliferative],
            Self::Haic => &[SexMale, AstUL, LesionCount, Pvtt, DlRiskScore, Proliferative],
        }
    }
}

/// One term of the linear predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Its input.
    pub predictor: Predictor,
    /// Natural logarithm of the hazard ratio per unit of the input.
    pub coefficient: f64,
    /// As printed, where there is one.
    pub hazard_ratio: Option<HazardRatio>,
    /// How the input becomes a number; says so where that is an assumption.
    pub coding: String,
    /// Lowest and highest value fitted, in the predictor's unit.
    pub fitted: (f64, f64),
    /// Where the fitted range comes from.
    pub fitted_provenance: Provenance,
    /// The reference patient's value: the survival baseline belongs to it.
    pub reference: f64,
    /// Where the coefficient comes from.
    pub provenance: Provenance,
    /// The same in words.
    pub source: String,
    /// What speaks against the coefficient.
    pub doubt: Option<String>,
}

/// A printed hazard ratio and its 95 % confidence interval, both as printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HazardRatio {
    /// Per unit of the input.
    pub ratio: f64,
    /// Lower and upper limit.
    pub ci: (f64, f64),
}

/// The inputs a term may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    /// 1 male, 0 female.
    SexMale,
    /// Aspartate aminotransferase.
    AstUL,
    /// Supplied by the clinicians, else counted on the image.
    LesionCount,
    /// 1 chronic hepatitis B, 0 none.
    Hbv,
    /// Largest axial diameter, measured on the image.
    LargestDiameterCm,
    /// 1 any portal vein tumour thrombus (Vp1–Vp4), 0 none.
    Pvtt,
    /// The PMN's p(proliferative).
    DlRiskScore,
    /// 1 when the PMN calls the tumour proliferative, else 0.
    Proliferative,
}

impl Predictor {
    /// Every predictor.
    pub const ALL: [Self; 8] = [
        Self::SexMale,
        Self::AstUL,
        Self::LesionCount,
        Self::Hbv,
        Self::LargestDiameterCm,
        Self::Pvtt,
        Self::DlRiskScore,
        Self::Proliferative,
    ];

    /// The name in package files and messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::SexMale => "sex_male",
            Self::AstUL => "ast_u_l",
            Self::LesionCount => "lesion_count",
            Self::Hbv => "hbv",
            Self::LargestDiameterCm => "largest_diameter_cm",
            Self::Pvtt => "pvtt",
            Self::DlRiskScore => "dl_risk_score",
            Self::Proliferative => "proliferative",
        }
    }

    /// The key of `clinical.json` it cannot do without; none for what the image says.
    pub fn field(self) -> Option<Field> {
        match self {
            Self::SexMale => Some(Field::Sex),
            Self::AstUL => Some(Field::AstUL),
            Self::Hbv => Some(Field::Hbv),
            Self::Pvtt => Some(Field::Pvtt),
            Self::LesionCount
            | Self::LargestDiameterCm
            | Self::DlRiskScore
            | Self::Proliferative => None,
        }
    }

    /// The unit of its value. A package must state the same one.
    pub fn unit(self) -> &'static str {
        match self {
            Self::SexMale | Self::Hbv | Self::Pvtt | Self::Proliferative => "0 or 1",
            Self::AstUL => "U/L",
            Self::LesionCount => "lesions",
            Self::LargestDiameterCm => "cm",
            Self::DlRiskScore => "probability",
        }
    }

    /// The values it can have at all.
    fn domain(self) -> (f64, f64) {
        match self {
            Self::SexMale | Self::Hbv | Self::Pvtt | Self::Proliferative | Self::DlRiskScore => {
                (0.0, 1.0)
            }
            Self::AstUL => (1.0, 20_000.0),
            Self::LesionCount => (0.0, 99.0),
            Self::LargestDiameterCm => (0.0, 1000.0),
        }
    }
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// The logarithm of a published hazard ratio, or another published number.
    PublishedHr,
    /// Fitted by the package's author on patients the source text names.
    OwnFit,
    /// Chosen so that the machinery can be shown; no evidence behind it.
    Placeholder,
}

impl Provenance {
    /// The name in package files and messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::PublishedHr => "published_hr",
            Self::OwnFit => "own_fit",
            Self::Placeholder => "placeholder",
        }
    }
}

/// score = slope · linear predictor + intercept, compared with a cut-off.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRule {
    /// a of a·LP + b; never zero.
    pub slope: f64,
    /// b of a·LP + b.
    pub intercept: f64,
    /// In units of the score.
    pub cutoff: f64,
    /// Half-width around the cut-off within which the group is indeterminate, in units of the score;
    /// 0 for none. A score exactly one half-width away is decided.
    pub band: f64,
    /// Which side of the cut-off is high risk.
    pub high_risk_side: Side,
    /// Where the cut-off comes from.
    pub cutoff_provenance: Provenance,
    /// The same in words.
    pub cutoff_source: String,
}

/// A side of the cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Scores at or above the cut-off.
    High,
    /// Scores at or below the cut-off.
    Low,
}

/// The risk group of a computed score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RiskGroup {
    /// On the high-risk side of the cut-off.
    High,
    /// On the other side.
    Low,
    /// Within the band around the cut-off.
    Indeterminate,
}

impl RiskGroup {
    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
            Self::Indeterminate => "indeterminate",
        }
    }
}

/// S0(t): survival of the reference patient, at [`SURVIVAL_MONTHS`].
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineSurvival {
    /// Strictly between 0 and 1, never rising.
    pub probability: [Probability; 5],
    /// Linear predictor of the reference patient.
    pub lp_mean: f64,
    /// Where the curve comes from.
    pub provenance: Provenance,
    /// The same in words.
    pub source: String,
}

/// What a value outside its term's fitted range means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideFittedRange {
    /// No score.
    NotComputable,
    /// A score, with the term marked as extrapolated.
    Flag,
}

/// A cut-off printed in the paper. It belongs to a score that cannot be reconstructed, so nothing
/// here reads it except for display.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedCutoff {
    /// As printed.
    pub value: f64,
    /// Why it is not applied.
    pub reason: String,
}

impl PublishedCutoff {
    /// The label every display of the value carries.
    pub const LABEL: &str = "published, never applied";
}

/// The packages of this repository, for the tests of the clinical layer.
#[cfg(test)]
pub(in crate::clinical) mod shipped {
    use super::*;

    pub const TACE: &str = include_str!("../../../models/nomogram-tace/0.1.0/nomogram.toml");
    pub const HAIC: &str = include_str!("../../../models/nomogram-haic/0.1.0/nomogram.toml");

    pub fn package(name: &str) -> PackageId {
        PackageId { name: name.to_owned(), version: "0.1.0".to_owned(), digest: [7; 32] }
    }

    pub fn tace() -> Nomogram {
        Nomogram::parse(package("nomogram-tace"), TACE).unwrap()
    }

    pub fn haic() -> Nomogram {
        Nomogram::parse(package("nomogram-haic"), HAIC).unwrap()
    }

    pub fn pair() -> NomogramPair {
        NomogramPair::new(tace(), haic()).unwrap()
    }

    /// The pair that flags a value outside the fitted range and computes a score all the same.
    pub fn flagging_pair() -> NomogramPair {
        let flagging = |name, text: &str| {
            let (refuse, flag) =
                ("outside_fitted_range = \"not_computable\"", "outside_fitted_range = \"flag\"");
            Nomogram::parse(package(name), &text.replace(refuse, flag)).unwrap()
        };
        let (tace, haic) = (flagging("nomogram-tace", TACE), flagging("nomogram-haic", HAIC));
        NomogramPair::new(tace, haic).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coefficients(nomogram: &Nomogram, provenance: Provenance) -> Vec<(&'static str, f64)> {
        let chosen = nomogram.terms.iter().filter(|term| term.provenance == provenance);
        chosen.map(|term| (term.predictor.code_name(), term.coefficient)).collect()
    }

    #[test]
    fn shipped_packages_have_the_terms_of_the_published_nomograms() {
        for nomogram in [shipped::tace(), shipped::haic()] {
            let terms: Vec<Predictor> = nomogram.terms.iter().map(|term| term.predictor).collect();
            assert_eq!(terms, nomogram.treatment.published_terms());
        }
    }

    /// Hazard ratios of Cao 2025 with their logarithms to three decimals; the terms without a
    /// published coefficient say so.
    #[test]
    fn shipped_coefficients_are_the_published_ones() {
        let published = Provenance::PublishedHr;
        assert_eq!(
            coefficients(&shipped::tace(), published),
            [("lesion_count", 0.231), ("hbv", 0.507), ("largest_diameter_cm", 0.068)]
        );
        assert_eq!(
            coefficients(&shipped::haic(), published),
            [("sex_male", -0.274), ("ast_u_l", 0.0), ("lesion_count", 0.247), ("pvtt", 0.451)]
        );
        for nomogram in [shipped::tace(), shipped::haic()] {
            let invented: Vec<&str> = coefficients(&nomogram, Provenance::Placeholder)
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(invented, ["dl_risk_score", "proliferative"]);
            assert_eq!(nomogram.rule.cutoff_provenance, Provenance::Placeholder);
            assert_eq!(nomogram.baseline.provenance, Provenance::Placeholder);
            assert!(nomogram.has_placeholder());
        }
    }

    /// The published rows (1, 3, 5 years; low then high risk, training) give the shipped baselines:
    /// mean of the groups, geometric mean of the neighbours between. Tolerance: three decimals.
    #[test]
    fn shipped_baselines_have_the_stated_shape() {
        for (nomogram, low, high) in [
            (shipped::tace(), [0.627, 0.423, 0.252], [0.512, 0.044, 0.038]),
            (shipped::haic(), [0.878, 0.621, 0.491], [0.632, 0.334, 0.254]),
        ] {
            let [one, three, five] = std::array::from_fn(|at| f64::midpoint(low[at], high[at]));
            let expected = [one, (one * three).sqrt(), three, (three * five).sqrt(), five];
            for (found, expected) in nomogram.baseline.probability.iter().zip(expected) {
                assert!((found.get() - expected).abs() < 0.0011, "{found:?} {expected}");
            }
        }
    }

    #[test]
    fn published_cutoffs_are_kept_and_labelled() {
        assert_eq!(shipped::tace().published_cutoff.value, -26.25);
        assert_eq!(shipped::haic().published_cutoff.value, -22.34);
        assert_eq!(PublishedCutoff::LABEL, "published, never applied");
    }

    #[test]
    fn cards_say_first_that_this_is_no_evidence() {
        for card in [
            include_str!("../../../models/nomogram-tace/0.1.0/CARD.md"),
            include_str!("../../../models/nomogram-haic/0.1.0/CARD.md"),
        ] {
            assert!(card.lines().next().unwrap().contains("None of this is clinical evidence"));
        }
    }

    #[test]
    fn a_pair_needs_one_of_each_and_one_policy() {
        let wrong = NomogramPair::new(shipped::haic(), shipped::tace());
        assert!(matches!(wrong, Err(NomogramError::WrongTreatment { .. })));
        let twice = NomogramPair::new(shipped::tace(), shipped::tace());
        assert!(matches!(twice, Err(NomogramError::WrongTreatment { .. })));
        let other =
            shipped::HAIC.replace("high_on_both = \"haic_favoured\"", "high_on_both = \"discuss\"");
        let other = Nomogram::parse(shipped::package("nomogram-haic"), &other).unwrap();
        let error = NomogramPair::new(shipped::tace(), other);
        assert!(matches!(error, Err(NomogramError::PoliciesDiffer { .. })));
        assert_eq!(shipped::pair().policy(), &shipped::tace().policy);
    }
}
