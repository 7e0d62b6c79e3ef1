//! One patient, supplied data and measurements together: eligibility first, then liver function,
//! stagings and contraindications, and only inside the validity box the nomograms and the
//! recommendation.

use std::fmt;

use super::burden::Burden;
use super::contraindications::{self, Checklist};
use super::data::{ClinicalData, bilirubin_may_be_mg_dl};
use super::eligibility::{Criterion, Eligibility, LARGEST_DIAMETER_MIN_MM, Met};
use super::liver_function::{Albi, ChildPugh};
use super::needs::NeedsInputs;
use super::nomogram::{NomogramOutcome, NomogramPair};
use super::policy::{Grounds, Recommendation};
use super::protocol;
use super::staging::{self, Staging};
use crate::units::{Millimetres, Probability};

/// What the image said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Largest axial diameter of any lesion.
    pub largest_diameter: Option<Millimetres>,
    /// Number of lesions found.
    pub lesion_count: Option<u32>,
    /// The PMN's risk score and whether it calls the tumour proliferative.
    pub risk: Option<(Probability, bool)>,
}

/// What the clinical layer concluded.
///
/// `nomograms` and `recommendation` are both present or both absent; they are absent whenever
/// [`ClinicalFindings::reasons`] is not empty or no risk score was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct ClinicalFindings {
    /// Every criterion of the validity box.
    pub eligibility: Eligibility,
    /// ALBI, or what it needs.
    pub albi: Result<Albi, NeedsInputs>,
    /// Child-Pugh, or what it needs.
    pub child_pugh: Result<ChildPugh, NeedsInputs>,
    /// Lesion count and diameter that the stagings use.
    pub burden: Burden,
    /// One of each [`staging::System`], in their order.
    pub stagings: Vec<Staging>,
    /// The contraindications to TACE: present, absent, or `None` when unknown.
    pub contraindications: Checklist,
    /// Body surface for the reference card, m², or what it needs.
    pub body_surface_m2: Result<f64, NeedsInputs>,
    /// TACE, then HAIC.
    pub nomograms: Option<[NomogramOutcome; 2]>,
    /// Preliminary, for the tumour board.
    pub recommendation: Option<Recommendation>,
    /// What puts the values in doubt; while there is one, the recommendation is to discuss.
    pub findings: Vec<Finding>,
}

/// Assesses one patient.
pub fn assess(
    data: &ClinicalData,
    measured: &Measured,
    nomograms: &NomogramPair,
) -> ClinicalFindings {
    let eligibility = Eligibility::of(data, measured.largest_diameter);
    let burden = Burden::of(data, measured);
    let findings = Finding::all(data, measured);
    let scored = (eligibility.inside_box() && measured.risk.is_some()).then(|| {
        let tace = nomograms.tace().evaluate(data, measured);
        let haic = nomograms.haic().evaluate(data, measured);
        let recommendation = nomograms.policy().recommend(&Grounds {
            tace: tace.group(),
            haic: haic.group(),
            contradicted: !findings.is_empty(),
            extrapolated: tace.extrapolates() || haic.extrapolates(),
        });
        ([tace, haic], recommendation)
    });
    let (nomograms, recommendation) = scored.unzip();
    ClinicalFindings {
        eligibility,
        albi: Albi::of(data),
        child_pugh: ChildPugh::of(data),
        burden,
        stagings: staging::stage(data, &burden),
        contraindications: contraindications::check(data, &burden),
        body_surface_m2: protocol::body_surface_m2(data),
        nomograms,
        recommendation,
        findings,
    }
}

impl ClinicalFindings {
    /// What is concluded of a patient of whom nothing is known.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        let data = ClinicalData::absent();
        let nothing = Measured { largest_diameter: None, lesion_count: None, risk: None };
        let burden = Burden::of(&data, &nothing);
        Self {
            eligibility: Eligibility::of(&data, None),
            albi: Albi::of(&data),
            child_pugh: ChildPugh::of(&data),
            burden,
            stagings: staging::stage(&data, &burden),
            contraindications: contraindications::check(&data, &burden),
            body_surface_m2: protocol::body_surface_m2(&data),
            nomograms: None,
            recommendation: None,
            findings: Vec::new(),
        }
    }

    /// Why there is no score; empty inside the validity box.
    pub fn reasons(&self) -> Vec<Reason> {
        self.eligibility
            .criteria
            .iter()
            .filter_map(|criterion| match criterion.met {
                Met::Yes => None,
                Met::No => Some(Reason::OutOfRange(*criterion)),
                Met::Unknown => Some(Reason::Unknown(*criterion)),
            })
            .collect()
    }
}

/// Why the clinical layer gives no score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The patient is outside the validity box.
    OutOfRange(Criterion),
    /// A criterion cannot be evaluated.
    Unknown(Criterion),
}

impl Reason {
    /// The code in messages, for example `out_of_range:age` or `unknown:ecog`.
    pub fn code_name(&self) -> String {
        match self {
            Self::OutOfRange(criterion) => format!("out_of_range:{}", criterion.kind.name()),
            Self::Unknown(criterion) => format!("unknown:{}", criterion.kind.name()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::OutOfRange(criterion) | Self::Unknown(criterion)) = self;
        let (name, asked) = (criterion.kind.name(), criterion.kind.requirement());
        match criterion.value {
            Some(value) => write!(f, "{name} is {value}; the score is limited to {asked}"),
            None => write!(f, "{name} is not known; the score is limited to {asked}"),
        }
    }
}

/// What puts the values in doubt: a contradiction between what was supplied and what was measured, or
/// a value that may be in another unit. The values stand in the result; which of two is used says
/// [`Burden`]. A finding withholds the recommendation, for any of them can turn it round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// The clinicians count other lesions than the image shows.
    LesionCountDiffers {
        /// From `clinical.json`.
        supplied: u32,
        /// From the image.
        measured: u32,
    },
    /// The clinicians measure another largest diameter than the image shows.
    DiameterDiffers {
        /// From `clinical.json`.
        supplied: Millimetres,
        /// From the image.
        measured: Millimetres,
    },
    /// The supplied bilirubin is plausible in mg/dL.
    BilirubinUnit,
}

/// Two diameters of one lesion differ when they are this far apart, mm, and by [`DIFFERS_FRACTION`]:
/// the absolute part of RECIST 1.1's progression (Eisenhauer et al., Eur J Cancer 2009;45:228).
const DIFFERS_MM: f64 = 5.0;
/// The relative part of the same rule, of the smaller diameter.
const DIFFERS_FRACTION: f64 = 0.2;

impl Finding {
    /// The code in messages.
    pub fn code_name(&self) -> &'static str {
        match self {
            Self::LesionCountDiffers { .. } => "lesion_count_differs",
            Self::DiameterDiffers { .. } => "diameter_differs",
            Self::BilirubinUnit => "bilirubin_unit",
        }
    }

    /// In the order of the variants.
    fn all(data: &ClinicalData, measured: &Measured) -> Vec<Self> {
        let counts = data.lesion_count.zip(measured.lesion_count);
        let counts = counts.filter(|(supplied, measured)| supplied != measured);
        let counts =
            counts.map(|(supplied, measured)| Self::LesionCountDiffers { supplied, measured });
        let supplied = data.largest_diameter_mm.and_then(|mm| Millimetres::new(mm).ok());
        let diameters = supplied.zip(measured.largest_diameter);
        let diameters = diameters.filter(|(supplied, measured)| differ(*supplied, *measured));
        let diameters =
            diameters.map(|(supplied, measured)| Self::DiameterDiffers { supplied, measured });
        let unit = data.bilirubin_umol_l.is_some_and(bilirubin_may_be_mg_dl);
        let unit = unit.then_some(Self::BilirubinUnit);
        counts.into_iter().chain(diameters).chain(unit).collect()
    }
}

/// Farther apart than two readings of one lesion, or on different sides of the validity box's limit.
fn differ(one: Millimetres, other: Millimetres) -> bool {
    let (low, high) = (one.get().min(other.get()), one.get().max(other.get()));
    let apart = high - low;
    let across = low < LARGEST_DIAMETER_MIN_MM && high >= LARGEST_DIAMETER_MIN_MM;
    across || (apart >= DIFFERS_MM && apart >= DIFFERS_FRACTION * low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::data::{Ascites, Encephalopathy, Field, HepaticVein, Lobes, Pvtt, Sex};
    use crate::clinical::nomogram::shipped;
    use crate::clinical::policy::{Advice, Basis};

    fn inside() -> ClinicalData {
        ClinicalData {
            age_years: Some(60),
            sex: Some(Sex::Male),
            ecog: Some(0),
            hbv: Some(true),
            ast_u_l: Some(50.0),
            bilirubin_umol_l: Some(12.0),
            albumin_g_l: Some(40.0),
            inr: Some(1.0),
            ascites: Some(Ascites::None),
            encephalopathy: Some(Encephalopathy::None),
            pvtt: Some(Pvtt::None),
            prior_therapy: Some(false),
            second_malignancy: Some(false),
            days_ct_to_treatment: Some(7),
            ..ClinicalData::absent()
        }
    }

    fn image(score: f64) -> Measured {
        Measured {
            largest_diameter: Millimetres::new(70.0).ok(),
            lesion_count: Some(2),
            risk: Probability::new(score).ok().map(|p| (p, score >= 0.5)),
        }
    }

    fn advice(data: &ClinicalData, measured: &Measured) -> &'static str {
        assess(data, measured, &shipped::pair()).recommendation.unwrap().advice.code_name()
    }

    #[test]
    fn inside_the_box_there_is_a_recommendation() {
        assert_eq!(advice(&inside(), &image(0.9)), "haic_favoured");
        assert_eq!(advice(&inside(), &image(0.1)), "no_significant_difference_shown");
    }

    /// TACE: 2·0.231 + 0.507 + 7·0.068 + 2p + 0.5 = 1.945 + 2p meets 2.914 at p = 0.4845 (class
    /// set by hand); HAIC: −0.274 + 0.494 + 0.5 + 2p = 0.72 + 2p meets 1.802 at p = 0.541.
    #[test]
    fn near_a_cutoff_and_without_a_value_it_is_for_discussion() {
        let mut near = image(0.541);
        near.risk = Probability::new(0.541).ok().map(|p| (p, true));
        assert_eq!(advice(&inside(), &near), "discuss");
        let data = ClinicalData { hbv: None, ..inside() };
        let found = assess(&data, &image(0.9), &shipped::pair());
        let outcomes = found.nomograms.unwrap();
        assert!(outcomes[0].score.is_err() && outcomes[1].score.is_ok());
        assert_eq!(found.recommendation.unwrap().advice.code_name(), "discuss");
    }

    /// What the image shows and what the clinicians say must agree before anything is recommended:
    /// 50.1 mm here and 45 mm there, ten lesions here and one there.
    #[test]
    fn a_contradiction_between_image_and_file_is_for_discussion() {
        let across = ClinicalData { largest_diameter_mm: Some(45.0), ..inside() };
        let just_inside = Measured { largest_diameter: Millimetres::new(50.1).ok(), ..image(0.9) };
        let one = ClinicalData { lesion_count: Some(1), ..inside() };
        let ten = Measured { lesion_count: Some(10), ..image(0.9) };
        let none = Measured { lesion_count: Some(0), ..image(0.9) };
        let unit = ClinicalData { bilirubin_umol_l: Some(4.0), ..inside() };
        for (data, measured, code) in [
            (&across, &just_inside, "diameter_differs"),
            (&one, &ten, "lesion_count_differs"),
            (&one, &none, "lesion_count_differs"),
            (&unit, &image(0.9), "bilirubin_unit"),
        ] {
            let found = assess(data, measured, &shipped::pair());
            let codes: Vec<_> = found.findings.iter().map(Finding::code_name).collect();
            assert_eq!(codes, [code]);
            let given = found.recommendation.unwrap();
            assert_eq!((given.advice, given.basis), (Advice::Discuss, Basis::Contradiction));
        }
        assert_eq!(advice(&inside(), &just_inside), "haic_favoured");
        let bilirubin = |value| ClinicalData { bilirubin_umol_l: Some(value), ..inside() };
        assert_eq!(advice(&bilirubin(5.99), &image(0.9)), "discuss");
        assert_eq!(advice(&bilirubin(6.0), &image(0.9)), "haic_favoured");
    }

    /// A package that flags what it extrapolates scores such a patient and recommends nothing.
    #[test]
    fn an_extrapolated_score_is_for_discussion() {
        let pair = shipped::flagging_pair();
        let beyond = Measured { largest_diameter: Millimetres::new(250.1).ok(), ..image(0.9) };
        let found = assess(&inside(), &beyond, &pair);
        assert!(found.nomograms.unwrap().iter().all(|one| one.score.is_ok()));
        let given = found.recommendation.unwrap();
        assert_eq!((given.advice, given.basis), (Advice::Discuss, Basis::Extrapolated));
        let given = assess(&inside(), &image(0.9), &pair).recommendation.unwrap();
        assert_eq!(given.advice, Advice::HaicFavoured);
    }

    #[test]
    fn outside_the_box_there_are_reasons_and_no_score() {
        let data = ClinicalData { age_years: Some(80), ecog: None, ..inside() };
        let found = assess(&data, &image(0.9), &shipped::pair());
        let codes: Vec<String> = found.reasons().iter().map(Reason::code_name).collect();
        assert_eq!(codes, ["out_of_range:age", "unknown:ecog"]);
        assert_eq!((found.nomograms, found.recommendation), (None, None));
        assert!(found.albi.is_ok() && found.child_pugh.is_ok());
    }

    #[test]
    fn reasons_are_sentences() {
        let data = ClinicalData { age_years: Some(80), inr: None, ..inside() };
        let found = assess(&data, &image(0.9), &shipped::pair());
        let said: Vec<String> = found.reasons().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "age is 80; the score is limited to age 18 to 75 years",
                "child_pugh is not known; the score is limited to Child-Pugh class A or B",
            ]
        );
        assert_eq!(found.child_pugh, Err(NeedsInputs(vec![Field::Inr])));
    }

    #[test]
    fn without_a_risk_score_there_is_no_nomogram() {
        let measured = Measured { risk: None, ..image(0.9) };
        let found = assess(&inside(), &measured, &shipped::pair());
        assert_eq!((found.reasons(), found.nomograms, found.recommendation), (vec![], None, None));
    }

    #[test]
    fn differing_lesion_counts_are_a_finding() {
        for (supplied, findings) in [
            (None, vec![]),
            (Some(2), vec![]),
            (Some(3), vec![Finding::LesionCountDiffers { supplied: 3, measured: 2 }]),
        ] {
            let data = ClinicalData { lesion_count: supplied, ..inside() };
            assert_eq!(assess(&data, &image(0.9), &shipped::pair()).findings, findings);
        }
        let finding = Finding::LesionCountDiffers { supplied: 3, measured: 2 };
        assert_eq!(finding.code_name(), "lesion_count_differs");
    }

    /// The image shows 70 mm: 5 mm or 20 % apart is not enough, both are (84 mm, 58 mm); across the
    /// 50 mm of the validity box any difference is.
    #[test]
    fn differing_diameters_are_a_finding() {
        for (supplied, measured, found) in [
            (70.0, 70.0, false),
            (83.9, 70.0, false),
            (84.0, 70.0, true),
            (58.4, 70.0, false),
            (58.3, 70.0, true),
            (14.0, 10.0, false),
            (15.0, 10.0, true),
            (49.9, 50.0, true),
            (50.0, 51.0, false),
        ] {
            let data = ClinicalData { largest_diameter_mm: Some(supplied), ..inside() };
            let measured =
                Measured { largest_diameter: Millimetres::new(measured).ok(), ..image(0.9) };
            let findings = assess(&data, &measured, &shipped::pair()).findings;
            let codes: Vec<_> = findings.iter().map(Finding::code_name).collect();
            let expected: &[&str] = if found { &["diameter_differs"] } else { &[] };
            assert_eq!(codes, expected, "{supplied} {measured:?}");
        }
    }

    /// SplitMix64 (Steele et al., OOPSLA 2014): the whole test is one fixed sequence.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % n
        }

        /// `None` once in twenty.
        fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
            (self.below(20) > 0).then(|| value(self))
        }

        fn whole(&mut self, low: u64, high: u64) -> Option<u32> {
            self.maybe(|dice| u32::try_from(low + dice.below(high - low + 1)).unwrap())
        }

        fn tenths(&mut self, low: u64, high: u64) -> Option<f64> {
            self.maybe(|dice| (low + dice.below(high - low + 1)) as f64 / 10.0)
        }

        /// True once in `n`.
        fn rarely(&mut self, n: u64) -> Option<bool> {
            self.maybe(|dice| dice.below(n) == 0)
        }

        fn pick<T: Copy>(&mut self, names: &[(&str, T)]) -> Option<T> {
            self.maybe(|dice| names[dice.below(names.len() as u64) as usize].1)
        }

        fn patient(&mut self) -> ClinicalData {
            ClinicalData {
                age_years: self.whole(14, 79),
                sex: self.pick(&Sex::NAMES),
                ecog: self.whole(0, 2),
                hbv: self.rarely(2),
                afp_ng_ml: self.tenths(0, 10_000),
                ast_u_l: self.tenths(10, 5000),
                bilirubin_umol_l: self.tenths(10, 700),
                albumin_g_l: self.tenths(250, 500),
                inr: self.tenths(8, 26),
                ascites: self.pick(&Ascites::NAMES),
                encephalopathy: self.pick(&Encephalopathy::NAMES),
                pvtt: self.pick(&Pvtt::NAMES),
                extrahepatic_spread: self.rarely(5),
                prior_therapy: self.rarely(10),
                second_malignancy: self.rarely(10),
                days_ct_to_treatment: self.whole(0, 17),
                lesion_count: self.whole(0, 25),
                largest_diameter_mm: self.tenths(300, 2700),
                lymph_node_metastasis: self.rarely(5),
                distant_metastasis: self.rarely(5),
                hepatic_vein_invasion: self.pick(&HepaticVein::NAMES),
                bile_duct_invasion: self.rarely(5),
                lobes: self.pick(&Lobes::NAMES),
                diffuse_type: self.rarely(5),
                creatinine_umol_l: self.tenths(400, 4000),
                ..ClinicalData::absent()
            }
        }

        /// An image that agrees with the clinicians three times in four, as far as they say anything.
        fn image(&mut self, data: &ClinicalData) -> Measured {
            let (seen_mm, seen_count) = (self.tenths(400, 2700), self.whole(0, 25));
            let agrees = self.below(4) > 0;
            let told_mm = data.largest_diameter_mm.filter(|_| agrees);
            let told_count = data.lesion_count.filter(|_| agrees);
            let mm = told_mm.or(seen_mm);
            Measured {
                largest_diameter: mm.and_then(|mm| Millimetres::new(mm).ok()),
                lesion_count: told_count.or(seen_count),
                risk: self.tenths(0, 10).map(|p| (Probability::new(p).unwrap(), p >= 0.5)),
            }
        }
    }

    /// The validity box of DESIGN section 9 once more, written out as one condition.
    fn in_box(data: &ClinicalData, measured: &Measured) -> bool {
        let points = || -> Option<u32> {
            let (bilirubin, albumin, inr) = (data.bilirubin_umol_l?, data.albumin_g_l?, data.inr?);
            let count = |worse: bool, bad: bool| 1 + u32::from(worse) + u32::from(bad);
            Some(
                count(bilirubin >= 34.2, bilirubin > 51.3)
                    + count(albumin <= 35.0, albumin < 28.0)
                    + count(inr >= 1.7, inr > 2.3)
                    + data.ascites? as u32
                    + data.encephalopathy? as u32
                    + 2,
            )
        };
        data.age_years.is_some_and(|age| age > 17 && age < 76)
            && data.ecog.is_some_and(|ecog| ecog < 2)
            && points().is_some_and(|points| points < 10)
            && measured.largest_diameter.is_some_and(|length| length.get() >= 50.0)
            && data.prior_therapy == Some(false)
            && data.second_malignancy == Some(false)
            && data.days_ct_to_treatment.is_some_and(|days| days < 15)
    }

    /// 0 recommendations over 100,000 random patients outside the box, and nothing but discussion
    /// where image and file contradict each other; those inside it, generated alike, show that the
    /// test could fail.
    #[test]
    fn no_recommendation_outside_the_box() {
        let pair = shipped::pair();
        let mut dice = Dice(20_250_812);
        let (mut outside, mut recommended, mut contradicted, mut advised) = (0, 0, 0, 0);
        while outside < 100_000 {
            let data = dice.patient();
            let measured = dice.image(&data);
            let found = assess(&data, &measured, &pair);
            let scored = found.nomograms.is_some() || found.recommendation.is_some();
            let within = in_box(&data, &measured);
            assert_eq!(found.reasons().is_empty(), within, "{data:?} {measured:?}");
            assert_eq!(scored, within && measured.risk.is_some(), "{data:?} {measured:?}");
            assert_eq!(found.nomograms.is_some(), found.recommendation.is_some());
            outside += u32::from(!within);
            recommended += u32::from(scored);
            let code = found.recommendation.map(|given| given.advice.code_name());
            let advice = code.is_some_and(|code| code != "discuss");
            assert!(!advice || found.findings.is_empty(), "{data:?} {measured:?}");
            contradicted += u32::from(scored && !found.findings.is_empty());
            advised += u32::from(advice);
        }
        assert!(recommended > 1000 && contradicted > 100, "{recommended} {contradicted}");
        assert!(advised > 100, "{advised}");
    }
}
