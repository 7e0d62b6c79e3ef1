//! From two risk groups to a recommendation. The mapping is data from the nomogram packages; the
//! wording is not: a recommendation is always preliminary and for the tumour board.

use serde::Deserialize;

use super::nomogram::RiskGroup;

/// What every recommendation carries.
pub const QUALIFIER: &str = "preliminary, for the tumour board";

/// What the agreement of both nomograms leads to. A package may lead to less than the default, never
/// to more: agreement may be for discussion, and without it everything is, whatever a package says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// High risk on both nomograms: [`Advice::HaicFavoured`] or [`Advice::Discuss`].
    pub high_on_both: Advice,
    /// Low risk on both nomograms: [`Advice::NoSignificantDifferenceShown`] or [`Advice::Discuss`].
    pub low_on_both: Advice,
}

impl Policy {
    /// The recommendation for the groups on the TACE and the HAIC nomogram; `None` is a nomogram
    /// that could not be computed.
    pub fn recommend(&self, tace: Option<RiskGroup>, haic: Option<RiskGroup>) -> Recommendation {
        let (advice, basis) = match (tace, haic) {
            (None, _) | (_, None) => (Advice::Discuss, Basis::NotComputable),
            (Some(RiskGroup::Indeterminate), Some(_))
            | (Some(_), Some(RiskGroup::Indeterminate)) => (Advice::Discuss, Basis::Indeterminate),
            (Some(RiskGroup::High), Some(RiskGroup::High)) => {
                (self.high_on_both, Basis::HighOnBoth)
            }
            (Some(RiskGroup::Low), Some(RiskGroup::Low)) => (self.low_on_both, Basis::LowOnBoth),
            (Some(RiskGroup::High), Some(RiskGroup::Low))
            | (Some(RiskGroup::Low), Some(RiskGroup::High)) => (Advice::Discuss, Basis::Discordant),
        };
        Recommendation { advice, basis }
    }
}

/// A preliminary recommendation for the tumour board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// What is suggested.
    pub advice: Advice,
    /// Why.
    pub basis: Basis,
}

impl Recommendation {
    /// A sentence for a reader, the qualifier included.
    pub fn wording(&self) -> String {
        format!("{} because {} ({QUALIFIER})", self.advice.wording(), self.basis.wording())
    }
}

/// What may be suggested. There is no "equivalent": a difference that was not shown (Cao 2025, low
/// risk, P = 0.085 and 0.560) is absence of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// HAIC rather than TACE.
    HaicFavoured,
    /// Neither treatment was shown to be better.
    NoSignificantDifferenceShown,
    /// No suggestion.
    Discuss,
}

impl Advice {
    /// The name in package files and messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::HaicFavoured => "haic_favoured",
            Self::NoSignificantDifferenceShown => "no_significant_difference_shown",
            Self::Discuss => "discuss",
        }
    }

    fn wording(self) -> &'static str {
        match self {
            Self::HaicFavoured => "HAIC favoured over TACE",
            Self::NoSignificantDifferenceShown => {
                "no significant difference between HAIC and TACE shown"
            }
            Self::Discuss => "no suggestion, to be discussed",
        }
    }
}

/// Why a recommendation is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// High risk on both nomograms.
    HighOnBoth,
    /// Low risk on both nomograms.
    LowOnBoth,
    /// The nomograms disagree.
    Discordant,
    /// At least one score is within the band around its cut-off.
    Indeterminate,
    /// At least one nomogram could not be computed.
    NotComputable,
}

impl Basis {
    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::HighOnBoth => "high_on_both",
            Self::LowOnBoth => "low_on_both",
            Self::Discordant => "discordant",
            Self::Indeterminate => "indeterminate",
            Self::NotComputable => "not_computable",
        }
    }

    fn wording(self) -> &'static str {
        match self {
            Self::HighOnBoth => "the risk is high on both nomograms",
            Self::LowOnBoth => "the risk is low on both nomograms",
            Self::Discordant => "the nomograms disagree",
            Self::Indeterminate => "a score lies too close to its cut-off",
            Self::NotComputable => "a nomogram could not be computed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Policy = Policy {
        high_on_both: Advice::HaicFavoured,
        low_on_both: Advice::NoSignificantDifferenceShown,
    };

    /// The table of DESIGN section 9, every one of its 16 cells.
    #[test]
    fn every_pair_of_groups() {
        use RiskGroup::{High, Indeterminate, Low};
        let groups = [Some(High), Some(Low), Some(Indeterminate), None];
        for tace in groups {
            for haic in groups {
                let expected = match (tace, haic) {
                    (Some(High), Some(High)) => "haic_favoured",
                    (Some(Low), Some(Low)) => "no_significant_difference_shown",
                    _ => "discuss",
                };
                let found = DEFAULT.recommend(tace, haic);
                assert_eq!(found.advice.code_name(), expected, "{tace:?} {haic:?}");
                assert!(found.wording().contains(QUALIFIER));
                assert!(!found.wording().contains("equivalent"));
            }
        }
    }

    /// A policy that always favours HAIC still needs two groups that agree.
    #[test]
    fn nothing_is_recommended_without_two_groups_that_agree() {
        let eager =
            Policy { high_on_both: Advice::HaicFavoured, low_on_both: Advice::HaicFavoured };
        let undecided = [None, Some(RiskGroup::Indeterminate)];
        for open in undecided {
            for other in [None, Some(RiskGroup::High), Some(RiskGroup::Low)] {
                assert_eq!(eager.recommend(open, other).advice, Advice::Discuss);
                assert_eq!(eager.recommend(other, open).advice, Advice::Discuss);
            }
        }
        let discordant = eager.recommend(Some(RiskGroup::High), Some(RiskGroup::Low));
        assert_eq!(discordant.advice, Advice::Discuss);
        let decided = eager.recommend(Some(RiskGroup::High), Some(RiskGroup::High));
        assert_eq!(decided.advice, Advice::HaicFavoured);
    }
}
