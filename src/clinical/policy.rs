//! From two risk groups to a recommendation. The mapping is data from the nomogram packages; the
//! wording, which the message holds, is not: a recommendation is always preliminary and for the tumour
//! board.

use serde::Deserialize;

use super::nomogram::RiskGroup;

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
    /// The recommendation on these grounds. Only two groups that agree, reached from values that
    /// nothing puts in doubt, lead to more than [`Advice::Discuss`].
    pub fn recommend(&self, grounds: &Grounds) -> Recommendation {
        let (advice, basis) = match (grounds.tace, grounds.haic) {
            _ if grounds.contradicted => (Advice::Discuss, Basis::Contradiction),
            (None, _) | (_, None) => (Advice::Discuss, Basis::NotComputable),
            _ if grounds.extrapolated => (Advice::Discuss, Basis::Extrapolated),
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

/// What a recommendation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grounds {
    /// The group on the TACE nomogram; `None` when it could not be computed.
    pub tace: Option<RiskGroup>,
    /// The group on the HAIC nomogram; `None` when it could not be computed.
    pub haic: Option<RiskGroup>,
    /// There is a finding: supplied values contradict the image or may be in another unit.
    pub contradicted: bool,
    /// A value lies outside the range its term was fitted on.
    pub extrapolated: bool,
}

/// A preliminary recommendation for the tumour board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// What is suggested.
    pub advice: Advice,
    /// Why.
    pub basis: Basis,
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
    /// Supplied values contradict the image or may be in another unit.
    Contradiction,
    /// At least one value lies outside the range its term was fitted on.
    Extrapolated,
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
            Self::Contradiction => "contradiction",
            Self::Extrapolated => "extrapolated",
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

    /// Nothing puts the values in doubt.
    fn sound(tace: Option<RiskGroup>, haic: Option<RiskGroup>) -> Grounds {
        Grounds { tace, haic, contradicted: false, extrapolated: false }
    }

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
                let found = DEFAULT.recommend(&sound(tace, haic));
                assert_eq!(found.advice.code_name(), expected, "{tace:?} {haic:?}");
            }
        }
    }

    /// Whatever the nomograms say, doubtful values are for discussion, and the reason is said.
    #[test]
    fn nothing_is_recommended_on_doubtful_values() {
        let groups = [Some(RiskGroup::High), Some(RiskGroup::Low), None];
        for group in groups {
            let contradicted = Grounds { contradicted: true, ..sound(group, group) };
            let found = DEFAULT.recommend(&contradicted);
            assert_eq!(found.basis.code_name(), "contradiction", "{group:?}");
            assert_eq!(found.advice, Advice::Discuss, "{group:?}");
            let extrapolated = Grounds { extrapolated: true, ..sound(group, group) };
            let found = DEFAULT.recommend(&extrapolated);
            let expected = if group.is_some() { "extrapolated" } else { "not_computable" };
            assert_eq!(found.basis.code_name(), expected, "{group:?}");
            assert_eq!(found.advice, Advice::Discuss, "{group:?}");
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
                assert_eq!(eager.recommend(&sound(open, other)).advice, Advice::Discuss);
                assert_eq!(eager.recommend(&sound(other, open)).advice, Advice::Discuss);
            }
        }
        let discordant = eager.recommend(&sound(Some(RiskGroup::High), Some(RiskGroup::Low)));
        assert_eq!(discordant.advice, Advice::Discuss);
        let decided = eager.recommend(&sound(Some(RiskGroup::High), Some(RiskGroup::High)));
        assert_eq!(decided.advice, Advice::HaicFavoured);
    }
}
