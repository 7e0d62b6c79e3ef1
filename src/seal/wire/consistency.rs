//! The rules a decoded message must keep beyond its types. Signer and verifier apply the same
//! ones, so a contradiction can neither leave a device nor be shown to anybody.

use thiserror::Error;

use super::WIRE_VERSION;
use super::atoms::Digest;
use super::codes::{
    DeviceState, IntendedUse, Met, RecommendationCode, RiskGroup, Source, Status, Wording,
};
use super::messages::{AckMessage, CheckpointMessage, MAX_RESEND, ResendMessage, StatusMessage};
use super::parts::{Burden, Clinical, Lesions, Nomogram, Pmn, Recommendation, Staging};
use super::result::{Draft, ResultMessage, intended_use};

/// A rule that a message breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Inconsistent(pub &'static str);

/// A rule of a message: what must hold.
pub trait Consistent {
    /// Checks every rule of this kind of message.
    fn check(&self) -> Result<(), Inconsistent>;
}

impl Consistent for ResultMessage {
    fn check(&self) -> Result<(), Inconsistent> {
        version(self.v)?;
        sequence(self.seq, self.prev)?;
        let released = intended_use(&self.models) == IntendedUse::Clinical;
        require(
            released || self.intended_use == IntendedUse::Demonstration,
            "clinical use is claimed although a package is not released for it",
        )?;
        let mut roles = self.input_digest.series.iter().map(|series| series.role);
        require(roles.by_ref().is_sorted_by(|a, b| a < b), "input roles are not in order")?;
        check_conclusion(&Conclusion {
            status: self.status,
            reasons: self.reasons.len(),
            pmn: self.pmn.as_ref(),
            lesions: self.lesions.as_ref(),
            clinical: self.clinical.as_ref(),
            nomograms: &self.nomograms,
            recommendation: &self.recommendation,
        })
    }
}

/// The rules of a result that concern what the worker determined.
pub fn check_draft(draft: &Draft) -> Result<(), Inconsistent> {
    check_conclusion(&Conclusion {
        status: draft.status,
        reasons: draft.reasons.len(),
        pmn: draft.pmn.as_ref(),
        lesions: draft.lesions.as_ref(),
        clinical: draft.clinical.as_ref(),
        nomograms: &draft.nomograms,
        recommendation: &draft.recommendation,
    })
}

impl Consistent for StatusMessage {
    fn check(&self) -> Result<(), Inconsistent> {
        version(self.v)?;
        require(
            (self.state == DeviceState::Offline) == (self.beat == 0),
            "only the will is number 0 of its boot, and only the will says offline",
        )?;
        last_message(self.last_seq, &self.last_digest)
    }
}

impl Consistent for CheckpointMessage {
    fn check(&self) -> Result<(), Inconsistent> {
        version(self.v)?;
        last_message(self.last_seq, &self.last_digest)
    }
}

fn last_message(seq: u64, digest: &Digest) -> Result<(), Inconsistent> {
    require(
        (seq == 0) == (*digest == Digest::ZERO),
        "the digest of the last message must be zero exactly when there is none",
    )
}

impl Consistent for AckMessage {
    fn check(&self) -> Result<(), Inconsistent> {
        version(self.v)?;
        require(self.seq >= 1, "seq counts from 1")
    }
}

impl Consistent for ResendMessage {
    fn check(&self) -> Result<(), Inconsistent> {
        version(self.v)?;
        require(self.from >= 1 && self.from <= self.to, "the range is empty")?;
        require(self.to - self.from < MAX_RESEND, "more than 1,000 messages are asked for")
    }
}

/// What a result concludes, whether still a draft or already a message.
struct Conclusion<'a> {
    status: Status,
    reasons: usize,
    pmn: Option<&'a Pmn>,
    lesions: Option<&'a Lesions>,
    clinical: Option<&'a Clinical>,
    nomograms: &'a [Nomogram],
    recommendation: &'a Recommendation,
}

fn check_conclusion(of: &Conclusion<'_>) -> Result<(), Inconsistent> {
    let scored = of.status == Status::Ok;
    require(scored == (of.reasons == 0), "reasons are given exactly when there is no score")?;
    require(scored == of.pmn.is_some(), "a risk score is present exactly when the status is ok")?;
    require(scored || of.nomograms.is_empty(), "a nomogram although the status is not ok")?;
    require(
        scored == (of.recommendation.code != RecommendationCode::None),
        "a recommendation is present exactly when the status is ok",
    )?;
    require(!scored || of.lesions.is_some(), "a score without lesions")?;
    check_wording(of.recommendation)?;
    if scored {
        check_grounds(of)?;
    }
    of.pmn.map_or(Ok(()), check_pmn)?;
    of.lesions.map_or(Ok(()), check_lesions)?;
    of.clinical.map_or(Ok(()), check_clinical)?;
    of.nomograms.iter().try_for_each(check_nomogram)?;
    let mut treatments = of.nomograms.iter().map(|nomogram| nomogram.treatment);
    require(treatments.by_ref().is_sorted_by(|a, b| a < b), "nomograms are not in order")
}

fn check_wording(recommendation: &Recommendation) -> Result<(), Inconsistent> {
    let expected = match recommendation.wording {
        Wording::None => RecommendationCode::None,
        Wording::HaicFavoured => RecommendationCode::HaicFavoured,
        Wording::NoDifference => RecommendationCode::NoSignificantDifferenceShown,
        Wording::Discordant
        | Wording::Indeterminate
        | Wording::NotComputable
        | Wording::DiscussHigh
        | Wording::DiscussLow
        | Wording::Contradiction
        | Wording::Extrapolated => RecommendationCode::Discuss,
    };
    require(recommendation.code == expected, "the wording belongs to another recommendation")
}

/// A recommendation may say no more than what it stands on.
fn check_grounds(of: &Conclusion<'_>) -> Result<(), Inconsistent> {
    let judged = of.clinical.map(|clinical| &clinical.eligibility[..]).unwrap_or_default();
    let inside = !judged.is_empty() && judged.iter().all(|check| check.met == Met::Yes);
    require(inside, "a score although a criterion of the validity box is not met")?;
    let findings = of.clinical.is_some_and(|clinical| !clinical.findings.is_empty());
    let [tace, haic] = of.nomograms else {
        return Err(Inconsistent("a recommendation without both nomograms"));
    };
    let extrapolated = of.nomograms.iter().flat_map(|one| one.terms.iter());
    let extrapolated = extrapolated.into_iter().any(|term| term.extrapolated);
    let allowed: &[Wording] = match (tace.risk_group, haic.risk_group) {
        _ if findings => &[Wording::Contradiction],
        (RiskGroup::NotComputable, _) | (_, RiskGroup::NotComputable) => &[Wording::NotComputable],
        _ if extrapolated => &[Wording::Extrapolated],
        (RiskGroup::Indeterminate, _) | (_, RiskGroup::Indeterminate) => &[Wording::Indeterminate],
        (RiskGroup::High, RiskGroup::High) => &[Wording::HaicFavoured, Wording::DiscussHigh],
        (RiskGroup::Low, RiskGroup::Low) => &[Wording::NoDifference, Wording::DiscussLow],
        (RiskGroup::High, RiskGroup::Low) | (RiskGroup::Low, RiskGroup::High) => {
            &[Wording::Discordant]
        }
    };
    let grounded = allowed.contains(&of.recommendation.wording);
    require(grounded, "the recommendation does not follow from nomograms and findings")
}

fn check_pmn(pmn: &Pmn) -> Result<(), Inconsistent> {
    for probability in [pmn.score_e4, pmn.threshold_e4, pmn.haic_good_e4, pmn.tace_good_e4] {
        require(probability <= 10_000, "a probability above 1")?;
    }
    Ok(())
}

fn check_lesions(lesions: &Lesions) -> Result<(), Inconsistent> {
    require(lesions.list.len() as u64 <= lesions.count, "more lesions listed than counted")?;
    let mut diameters = lesions.list.iter().map(|lesion| lesion.diameter_um);
    require(diameters.by_ref().is_sorted_by(|a, b| a >= b), "lesions are not largest first")
}

fn check_clinical(clinical: &Clinical) -> Result<(), Inconsistent> {
    check_burden(&clinical.burden)?;
    clinical.stagings.iter().try_for_each(check_staging)?;
    let in_order = clinical.stagings.is_sorted_by(|a, b| a.system < b.system)
        && clinical.tace.is_sorted_by(|a, b| a.item < b.item)
        && clinical.reference_doses.is_sorted_by(|a, b| a.item < b.item)
        && clinical.findings.is_sorted_by(|a, b| a < b);
    require(in_order, "stagings, contraindications, doses or findings are not in order")
}

fn check_burden(burden: &Burden) -> Result<(), Inconsistent> {
    let count = burden.count.is_none() == (burden.count_source == Source::Missing);
    let diameter = burden.diameter_um.is_none() == (burden.diameter_source == Source::Missing);
    require(count && diameter, "a tumour burden has a value exactly when it is not missing")
}

fn check_staging(staging: &Staging) -> Result<(), Inconsistent> {
    let own = staging.stage.is_none_or(|stage| stage.belongs_to(staging.system));
    require(own, "a stage of another staging")?;
    require(staging.stage.is_none() || staging.needs.is_empty(), "a stage that needs something")
}

fn check_nomogram(nomogram: &Nomogram) -> Result<(), Inconsistent> {
    for term in nomogram.terms.iter() {
        require(
            term.value_e4.is_none() == (term.source == Source::Missing),
            "a term has a value exactly when it is not missing",
        )?;
    }
    let missing = nomogram.terms.iter().any(|term| term.source == Source::Missing);
    let computable = nomogram.risk_group != RiskGroup::NotComputable;
    require(!(computable && missing), "a nomogram was computed although a value is missing")?;
    require(
        computable == nomogram.lp_e4.is_some() && computable == nomogram.score_e4.is_some(),
        "a nomogram has a score exactly when it is computable",
    )?;
    require(
        !computable || nomogram.cutoff_e4.is_some(),
        "a risk group without the cut-off it was read from",
    )?;
    require(computable || nomogram.survival.is_empty(), "survival without a score")?;
    let points = nomogram.survival.iter().chain(nomogram.baseline.iter());
    let probabilities = points.into_iter().all(|point| point.probability_e4 <= 10_000);
    require(probabilities, "a probability above 1")
}

fn version(v: u64) -> Result<(), Inconsistent> {
    require(v == WIRE_VERSION, "the format version is not 1")
}

fn sequence(seq: u64, prev: Digest) -> Result<(), Inconsistent> {
    require(seq >= 1, "seq counts from 1")?;
    require(
        (seq == 1) == (prev == Digest::ZERO),
        "prev is zero exactly for the first message of an epoch",
    )
}

fn require(holds: bool, rule: &'static str) -> Result<(), Inconsistent> {
    if holds { Ok(()) } else { Err(Inconsistent(rule)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::wire::atoms::List;
    use crate::seal::wire::reason::{Reason, ReasonCode};
    use crate::seal::wire::samples;

    /// Applies one change to a good message and expects it to be refused.
    fn refuses(what: &str, change: impl FnOnce(&mut ResultMessage)) {
        let mut message = samples::scored();
        assert_eq!(message.check(), Ok(()));
        change(&mut message);
        assert!(message.check().is_err(), "accepted: {what}");
    }

    fn edit<T: Clone, const N: usize>(list: &mut List<T, N>, change: impl FnOnce(&mut T)) {
        let mut items = list.to_vec();
        change(&mut items[0]);
        *list = List::new(items).unwrap();
    }

    #[test]
    fn samples_are_consistent() {
        for message in
            [samples::scored(), samples::abstained(), samples::failed(), samples::largest()]
        {
            assert_eq!(message.check(), Ok(()));
        }
    }

    #[test]
    fn identity_rules_hold() {
        refuses("another version", |m| m.v = 2);
        refuses("seq 0", |m| m.seq = 0);
        refuses("first message with a predecessor", |m| m.seq = 1);
        refuses("later message without one", |m| m.prev = Digest::ZERO);
        refuses("clinical use of demonstration packages", |m| {
            m.intended_use = IntendedUse::Clinical;
        });
        refuses("input roles out of order", |m| {
            let mut series = m.input_digest.series.to_vec();
            series.reverse();
            m.input_digest.series = List::new(series).unwrap();
        });
    }

    #[test]
    fn a_status_and_its_findings_cannot_disagree() {
        refuses("ok with a reason", |m| {
            m.reasons.push(Reason::bare(ReasonCode::NoTumour)).unwrap();
        });
        refuses("ok without a score", |m| m.pmn = None);
        refuses("ok without lesions", |m| m.lesions = None);
        refuses("ok without recommendation", |m| m.recommendation = Recommendation::NONE);
        refuses("abstained with score and recommendation", |m| {
            m.status = Status::Abstained;
            m.reasons.push(Reason::bare(ReasonCode::NoTumour)).unwrap();
        });
        refuses("wording of another recommendation", |m| {
            m.recommendation.wording = Wording::Discordant
        });
    }

    #[test]
    fn numbers_cannot_contradict_each_other() {
        refuses("probability 1.0001", |m| m.pmn.as_mut().unwrap().score_e4 = 10_001);
        refuses("more lesions listed than counted", |m| m.lesions.as_mut().unwrap().count = 1);
        refuses("small lesion first", |m| {
            edit(&mut m.lesions.as_mut().unwrap().list, |lesion| lesion.diameter_um = 1);
        });
        refuses("score without its value", |m| {
            edit(&mut m.nomograms, |n| edit(&mut n.terms, |t| t.value_e4 = None));
        });
        refuses("computed with a missing value", |m| {
            edit(&mut m.nomograms, |n| {
                edit(&mut n.terms, |t| (t.value_e4, t.source) = (None, Source::Missing));
            });
        });
        refuses("not computable with a score", |m| {
            edit(&mut m.nomograms, |n| n.risk_group = RiskGroup::NotComputable);
        });
        refuses("survival above 1", |m| {
            edit(&mut m.nomograms, |n| edit(&mut n.survival, |s| s.probability_e4 = 10_001));
        });
        refuses("the same nomogram twice", |m| {
            let first = m.nomograms[0].clone();
            m.nomograms = List::new(vec![first.clone(), first]).unwrap();
        });
    }

    const CONTRADICTED: Recommendation =
        Recommendation { code: RecommendationCode::Discuss, wording: Wording::Contradiction };

    fn regroup(m: &mut ResultMessage, groups: [RiskGroup; 2]) {
        let mut nomograms = m.nomograms.to_vec();
        for (nomogram, group) in nomograms.iter_mut().zip(groups) {
            nomogram.risk_group = group;
            if group == RiskGroup::NotComputable {
                (nomogram.lp_e4, nomogram.score_e4) = (None, None);
                nomogram.survival = List::empty();
            }
        }
        m.nomograms = List::new(nomograms).unwrap();
    }

    /// Every pair of groups with every wording: only what the policy may say passes.
    #[test]
    fn a_recommendation_follows_from_its_grounds() {
        use RiskGroup::{High, Indeterminate, Low, NotComputable};
        for tace in RiskGroup::ALL {
            for haic in RiskGroup::ALL {
                let mut message = samples::scored();
                regroup(&mut message, [*tace, *haic]);
                let mut passing = Vec::new();
                for wording in Wording::ALL {
                    for code in RecommendationCode::ALL {
                        message.recommendation = Recommendation { code: *code, wording: *wording };
                        if message.check().is_ok() {
                            passing.push((*code, *wording));
                        }
                    }
                }
                let discuss = |wording| (RecommendationCode::Discuss, wording);
                let expected = match (tace, haic) {
                    (NotComputable, _) | (_, NotComputable) => {
                        vec![discuss(Wording::NotComputable)]
                    }
                    (Indeterminate, _) | (_, Indeterminate) => {
                        vec![discuss(Wording::Indeterminate)]
                    }
                    (High, High) => vec![
                        (RecommendationCode::HaicFavoured, Wording::HaicFavoured),
                        discuss(Wording::DiscussHigh),
                    ],
                    (Low, Low) => vec![
                        (RecommendationCode::NoSignificantDifferenceShown, Wording::NoDifference),
                        discuss(Wording::DiscussLow),
                    ],
                    (High, Low) | (Low, High) => vec![discuss(Wording::Discordant)],
                };
                assert_eq!(passing, expected, "{tace:?} {haic:?}");
            }
        }
    }

    #[test]
    fn doubtful_values_and_an_unmet_criterion_are_no_grounds() {
        use crate::seal::wire::ClinicalFinding;
        fn find(m: &mut ResultMessage) {
            let findings = List::new(vec![ClinicalFinding::BilirubinUnit]).unwrap();
            m.clinical.as_mut().unwrap().findings = findings;
        }
        refuses("HAIC favoured beside a finding", find);
        refuses("a contradiction without a finding", |m| m.recommendation = CONTRADICTED);
        refuses("HAIC favoured on an extrapolated value", |m| {
            edit(&mut m.nomograms, |n| edit(&mut n.terms, |t| t.extrapolated = true));
        });
        refuses("one nomogram", |m| {
            m.nomograms = List::new(vec![m.nomograms[0].clone()]).unwrap();
        });
        refuses("a criterion that is not met", |m| {
            edit(&mut m.clinical.as_mut().unwrap().eligibility, |check| check.met = Met::No);
        });
        refuses("a criterion that is not known", |m| {
            edit(&mut m.clinical.as_mut().unwrap().eligibility, |check| check.met = Met::Unknown);
        });
        refuses("no criterion at all", |m| {
            m.clinical.as_mut().unwrap().eligibility = List::empty();
        });
        refuses("no clinical part", |m| m.clinical = None);
        refuses("a risk group without a cut-off", |m| {
            edit(&mut m.nomograms, |n| n.cutoff_e4 = None);
        });
        let mut message = samples::scored();
        find(&mut message);
        message.recommendation = CONTRADICTED;
        assert_eq!(message.check(), Ok(()));
    }

    #[test]
    fn the_clinical_part_cannot_contradict_itself() {
        use crate::seal::wire::{ClinicalField, ClinicalFinding, Stage};
        refuses("a count without a source", |m| {
            m.clinical.as_mut().unwrap().burden.count = None;
        });
        refuses("a source without a diameter", |m| {
            m.clinical.as_mut().unwrap().burden.diameter_source = Source::Missing;
        });
        refuses("a stage of another staging", |m| {
            edit(&mut m.clinical.as_mut().unwrap().stagings, |s| s.stage = Some(Stage::BclcB));
        });
        refuses("a stage that needs something", |m| {
            edit(&mut m.clinical.as_mut().unwrap().stagings, |s| {
                s.needs = List::new(vec![ClinicalField::Ecog]).unwrap();
            });
        });
        fn reversed<T: Clone, const N: usize>(list: &mut List<T, N>) {
            let mut items = list.to_vec();
            items.reverse();
            *list = List::new(items).unwrap();
        }
        refuses("stagings in another order", |m| {
            reversed(&mut m.clinical.as_mut().unwrap().stagings);
        });
        refuses("contraindications in another order", |m| {
            reversed(&mut m.clinical.as_mut().unwrap().tace);
        });
        refuses("doses in another order", |m| {
            reversed(&mut m.clinical.as_mut().unwrap().reference_doses)
        });
        refuses("the same finding twice", |m| {
            let clinical = m.clinical.as_mut().unwrap();
            clinical.findings = List::new(vec![ClinicalFinding::DiameterDiffers; 2]).unwrap();
            m.recommendation = CONTRADICTED;
        });
        refuses("a baseline above 1", |m| {
            edit(&mut m.nomograms, |n| edit(&mut n.baseline, |s| s.probability_e4 = 10_001));
        });
    }

    #[test]
    fn companion_messages_keep_their_rules() {
        let status = samples::status();
        assert_eq!(status.check(), Ok(()));
        assert!(StatusMessage { beat: 0, ..status.clone() }.check().is_err());
        let will = StatusMessage { beat: 0, state: DeviceState::Offline, ..status.clone() };
        assert_eq!(will.check(), Ok(()));
        assert!(StatusMessage { last_seq: 0, ..status.clone() }.check().is_err());
        assert!(StatusMessage { v: 0, ..status }.check().is_err());
        assert_eq!(samples::ack().check(), Ok(()));
        assert!(AckMessage { seq: 0, ..samples::ack() }.check().is_err());
        let resend = samples::resend();
        let asking = |from, to| ResendMessage { from, to, ..resend.clone() }.check().is_ok();
        assert!(asking(1, 1) && asking(1, MAX_RESEND) && asking(u64::MAX - 1, u64::MAX));
        assert!(
            !asking(0, 1) && !asking(2, 1) && !asking(1, MAX_RESEND + 1) && !asking(1, u64::MAX)
        );
    }
}
