//! Messages for tests: a scored study, one without a score, a failure, and the largest possible.

use super::atoms::{Digest, Id8, Id16, List, Octets, Slug, Text};
use super::clinical_codes::*;
use super::codes::*;
use super::gate_codes::GateCode;
use super::messages::{AckMessage, CheckpointMessage, ResendMessage, Sandbox, StatusMessage};
use super::parts::*;
use super::reason::{Reason, ReasonCode};
use super::result::{Draft, ResultMessage, Stamp};

fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::new(text).unwrap()
}

fn list<T, const N: usize>(items: Vec<T>) -> List<T, N> {
    List::new(items).unwrap()
}

pub(crate) fn stamp() -> Stamp {
    Stamp {
        site: slug("demo-site"),
        device: slug("box-1"),
        epoch: Octets([1, 2, 3, 4, 5, 6, 7, 8]),
        seq: 2,
        prev: Octets([0x11; 32]),
        result_id: Octets([0x22; 16]),
        signed_at_ms: 1_760_000_000_000,
        clock_quality: ClockQuality::Ntp,
        input_digest: Inputs {
            rule: CompletionRule::DoneMarker,
            series: list(vec![
                series(InputRole::Portal, 0x31),
                series(InputRole::Arterial, 0x32),
                series(InputRole::Clinical, 0x33),
            ]),
        },
        subject: Some(Octets([0x44; 32])),
        study_digest: Octets([0x55; 32]),
        software: text("hcc-edge 0.1.0"),
        history: false,
        supersedes: None,
    }
}

fn series(role: InputRole, fill: u8) -> InputSeries {
    InputSeries { role, files: 1, bytes: 5_242_880, digest: Octets([fill; 32]) }
}

fn model(name: &str, task: Task, fill: u8) -> ModelUse {
    ModelUse {
        name: slug(name),
        version: text("0.1.0"),
        task,
        manifest_digest: Octets([fill; 32]),
        intended_use: IntendedUse::Demonstration,
    }
}

/// Three terms whose exact sum is `lp_e4`: 2.5 × 0.7 + 1 × 0.25 + 1 × (−0.3) = 1.7. The widest term
/// spans 0.7 × 4 = 2.8, so the points are 1.75 / 0.028 = 62.5, 0.25 / 0.028 = 8.93, and 0: a negative
/// coefficient gives its points at the low end. The hazard relative to the reference patient is
/// e^(1.7 − 1.2) = 1.6487: survival 0.7^1.6487 = 0.5554 and 0.3^1.6487 = 0.1374.
fn nomogram(treatment: Treatment, name: &str) -> Nomogram {
    Nomogram {
        treatment,
        package: slug(name),
        version: text("0.1.0"),
        manifest_digest: Octets([0x66; 32]),
        terms: list(vec![
            term("pmn_score", (25_000, 7_000), (40_000, 6_250), Source::Measured),
            term("afp_above_400", (10_000, 2_500), (10_000, 893), Source::Supplied),
            term("child_pugh_b", (10_000, -3_000), (10_000, 0), Source::Supplied),
        ]),
        lp_e4: Some(17_000),
        score_e4: Some(17_000),
        cutoff_e4: Some(10_000),
        cutoff_provenance: Provenance::Placeholder,
        risk_group: RiskGroup::High,
        survival: list(vec![
            Survival { months: 12, probability_e4: 5_554 },
            Survival { months: 36, probability_e4: 1_374 },
        ]),
        slope_e4: 10_000,
        intercept_e4: 0,
        band_e4: 1_000,
        high_risk_side: Side::High,
        lp_mean_e4: 12_000,
        baseline: list(vec![
            Survival { months: 12, probability_e4: 7_000 },
            Survival { months: 36, probability_e4: 3_000 },
        ]),
        baseline_provenance: Provenance::Placeholder,
        published_cutoff_e4: -262_500,
    }
}

fn term(
    name: &str,
    (value_e4, coefficient_e4): (i64, i64),
    (high_e4, points_e2): (i64, i64),
    source: Source,
) -> Term {
    Term {
        name: text(name),
        value_e4: Some(value_e4),
        unit: text("1"),
        source,
        coefficient_e4,
        points_e2: Some(points_e2),
        provenance: Provenance::Placeholder,
        provenance_text: text("no published coefficient"),
        low_e4: 0,
        high_e4,
        extrapolated: false,
    }
}

fn clinical() -> Clinical {
    let check = |criterion, value_e3| CriterionCheck { criterion, value_e3, met: Met::Yes };
    Clinical {
        eligibility: list(vec![
            check(Criterion::Age, Some(61_000)),
            check(Criterion::Ecog, Some(0)),
            check(Criterion::Diameter, Some(72_500)),
        ]),
        // 0.66 log10 12 − 0.085 · 41 = 0.7123 − 3.485.
        albi_e4: Some(-27_727),
        albi_grade: Some(AlbiGrade::One),
        child_pugh_points: Some(5),
        child_pugh_class: Some(ChildPughClass::A),
        supplied: Supplied {
            age_years_e3: Some(61_000),
            sex: Some(Sex::Male),
            ecog: Some(0),
            hbv: Some(true),
            afp_ng_ml_e3: Some(812_500),
            bilirubin_umol_l_e3: Some(12_000),
            albumin_g_l_e3: Some(41_000),
            inr_e3: Some(1_050),
            ascites: Some(Ascites::None),
            encephalopathy: Some(Encephalopathy::None),
            pvtt: Some(Pvtt::None),
            extrahepatic_spread: Some(false),
            diffuse_type: Some(false),
            days_ct_to_treatment: Some(6),
            lesion_count: Some(3),
            height_cm_e3: Some(180_000),
            weight_kg_e3: Some(80_000),
            ..Supplied::default()
        },
        burden: Burden {
            count: Some(3),
            count_source: Source::Supplied,
            diameter_um: Some(72_500),
            diameter_source: Source::Measured,
        },
        stagings: list(vec![
            staging(StagingSystem::ModifiedAlbi, Ok(Stage::Malbi1), Some(-27_727)),
            staging(StagingSystem::Bclc, Err(vec![ClinicalField::HepaticVeinInvasion]), None),
            staging(StagingSystem::SixAndTwelve, Ok(Stage::Above6To12), Some(102_500)),
        ]),
        tace: list(vec![
            ContraindicationCheck { item: Contraindication::Decompensation, present: Met::No },
            ContraindicationCheck { item: Contraindication::RenalFailure, present: Met::Unknown },
            ContraindicationCheck { item: Contraindication::LargeTumour, present: Met::Yes },
        ]),
        body_surface_m2_e4: Some(20_000),
        reference_doses: list(vec![
            Dose { item: DoseItem::Leucovorin200, low: 200, high: 200, total_mg_e1: Some(4_000) },
            Dose { item: DoseItem::Leucovorin400, low: 400, high: 400, total_mg_e1: Some(8_000) },
            Dose { item: DoseItem::Epirubicin, low: 20, high: 40, total_mg_e1: None },
        ]),
        findings: List::empty(),
    }
}

fn staging(
    system: StagingSystem,
    outcome: Result<Stage, Vec<ClinicalField>>,
    value_e4: Option<i64>,
) -> Staging {
    let (stage, needs) = outcome.map_or_else(|needs| (None, needs), |stage| (Some(stage), vec![]));
    Staging { system, stage, value_e4, needs: list(needs) }
}

pub(crate) fn scored_draft() -> Draft {
    let timing = |stage, elapsed_ms| Timing { stage, elapsed_ms };
    let lesion = |diameter_um, volume_mm3| Lesion {
        diameter_um,
        volume_mm3,
        centre_um: [-40_000, 12_500, -300_250],
    };
    Draft {
        status: Status::Ok,
        reasons: List::empty(),
        models: list(vec![
            model("liver-localiser", Task::Localisation, 0x71),
            model("liver-tumour", Task::Segmentation, 0x72),
            model("pmn", Task::Classification, 0x73),
            model("nomogram-tace", Task::Nomogram, 0x66),
            model("nomogram-haic", Task::Nomogram, 0x66),
        ]),
        engine: Some(Engine {
            backend: text("tract 0.23"),
            precision: Precision::Mixed,
            device: text("cpu x86-64, 2 threads"),
            analysis_version: 1,
        }),
        pmn: Some(Pmn {
            score_e4: 7_312,
            proliferative: true,
            threshold_e4: 5_000,
            distances_e6: [4_100_000, 1_200_345, 3_000_000, 2_500_000, 1_000_000, 1_900_000],
            haic_good_e4: 6_100,
            tace_good_e4: 3_900,
        }),
        lesions: Some(Lesions {
            count: 3,
            liver_mm3: 1_450_000,
            tumour_mm3: 201_000,
            list: list(vec![lesion(72_500, 190_000), lesion(21_000, 11_000)]),
        }),
        clinical: Some(clinical()),
        nomograms: list(vec![
            nomogram(Treatment::Tace, "nomogram-tace"),
            nomogram(Treatment::Haic, "nomogram-haic"),
        ]),
        recommendation: Recommendation {
            code: RecommendationCode::HaicFavoured,
            wording: Wording::HaicFavoured,
        },
        gate: list(vec![
            GateValue { code: GateCode::SlicesPortal, value_e3: 80_000 },
            GateValue { code: GateCode::LiverHuPortal, value_e3: 104_250 },
        ]),
        timings_ms: list(vec![
            timing(StageCode::Decode, 412),
            timing(StageCode::Segment, 20_133),
            timing(StageCode::Total, 31_000),
        ]),
    }
}

/// A complete result with a score.
pub(crate) fn scored() -> ResultMessage {
    ResultMessage::assemble(stamp(), scored_draft())
}

/// A single-phase study: lesions, and not as many as were supplied, but no score.
pub(crate) fn abstained() -> ResultMessage {
    let scored = scored_draft();
    let lesions = scored.lesions.map(|found| Lesions { count: 2, ..found });
    let findings = list(vec![ClinicalFinding::LesionCountDiffers]);
    let clinical = scored.clinical.map(|clinical| Clinical { findings, ..clinical });
    let draft = Draft {
        status: Status::Abstained,
        reasons: list(vec![
            Reason::bare(ReasonCode::ArterialMissing),
            Reason::with_detail(ReasonCode::UnknownAge, "age_years not supplied"),
        ]),
        pmn: None,
        lesions,
        clinical,
        nomograms: List::empty(),
        recommendation: Recommendation::NONE,
        ..scored_draft()
    };
    ResultMessage::assemble(Stamp { subject: None, ..stamp() }, draft)
}

/// The first message of an epoch: a study that could not be processed.
pub(crate) fn failed() -> ResultMessage {
    let reasons = vec![Reason::bare(ReasonCode::Incomplete)];
    let draft = Draft::refused(Status::Failed, reasons).unwrap();
    ResultMessage::assemble(Stamp { seq: 1, prev: Digest::ZERO, ..stamp() }, draft)
}

/// Every list full, every text as long as it may be, every number as wide as it may be; the one
/// thing given up is consistency of `reasons`, which only exist without nomograms.
pub(crate) fn largest() -> ResultMessage {
    let mut draft = scored_draft();
    let longest_slug = "z".repeat(32);
    let mut models = Vec::new();
    for task in Task::ALL.iter().cycle().take(6) {
        models.push(ModelUse {
            name: slug(&longest_slug),
            version: text(&"9".repeat(16)),
            ..model("m", *task, 0xff)
        });
    }
    draft.models = list(models);
    draft.engine = Some(Engine {
        backend: text(&"b".repeat(32)),
        device: text(&"d".repeat(48)),
        precision: Precision::Mixed,
        analysis_version: u64::MAX,
    });
    let widest = Lesion {
        diameter_um: u64::MAX,
        volume_mm3: u64::MAX,
        centre_um: [i64::MIN, i64::MAX, i64::MIN],
    };
    draft.lesions = Some(Lesions {
        count: u64::MAX,
        liver_mm3: u64::MAX,
        tumour_mm3: u64::MAX,
        list: list(vec![widest; MAX_LESIONS]),
    });
    if let Some(pmn) = &mut draft.pmn {
        pmn.distances_e6 = [u64::MAX; 6];
    }
    draft.clinical = Some(widest_clinical());
    draft.nomograms =
        list(vec![widest_nomogram(Treatment::Tace), widest_nomogram(Treatment::Haic)]);
    draft.recommendation =
        Recommendation { code: RecommendationCode::Discuss, wording: Wording::Contradiction };
    let gate = |code: &GateCode| GateValue { code: *code, value_e3: i64::MIN };
    draft.gate = list(GateCode::ALL.iter().map(gate).collect());
    let timing = |stage: &StageCode| Timing { stage: *stage, elapsed_ms: u64::MAX };
    draft.timings_ms = list(StageCode::ALL.iter().cycle().take(10).map(timing).collect());
    let series = |role: &InputRole| InputSeries {
        role: *role,
        files: u64::MAX,
        bytes: u64::MAX,
        digest: Octets([0xff; 32]),
    };
    let stamp = Stamp {
        site: slug(&longest_slug),
        device: slug(&longest_slug),
        seq: u64::MAX,
        signed_at_ms: u64::MAX,
        input_digest: Inputs {
            rule: CompletionRule::Deadline,
            series: list(InputRole::ALL.iter().map(series).collect()),
        },
        software: text(&"s".repeat(64)),
        history: true,
        supersedes: Some(Id16::ZERO),
        ..stamp()
    };
    ResultMessage::assemble(stamp, draft)
}

fn widest_clinical() -> Clinical {
    let check = |criterion: &Criterion| CriterionCheck {
        criterion: *criterion,
        value_e3: Some(i64::MIN),
        met: Met::Yes,
    };
    Clinical {
        eligibility: list(Criterion::ALL.iter().map(check).collect()),
        albi_e4: Some(i64::MIN),
        albi_grade: Some(AlbiGrade::Three),
        child_pugh_points: Some(u64::MAX),
        child_pugh_class: Some(ChildPughClass::C),
        supplied: Supplied {
            age_years_e3: Some(u64::MAX),
            sex: Some(Sex::Male),
            ecog: Some(u64::MAX),
            hbv: Some(true),
            afp_ng_ml_e3: Some(u64::MAX),
            ast_u_l_e3: Some(u64::MAX),
            bilirubin_umol_l_e3: Some(u64::MAX),
            albumin_g_l_e3: Some(u64::MAX),
            inr_e3: Some(u64::MAX),
            ascites: Some(Ascites::Severe),
            encephalopathy: Some(Encephalopathy::Severe),
            pvtt: Some(Pvtt::Vp4),
            extrahepatic_spread: Some(true),
            prior_therapy: Some(true),
            second_malignancy: Some(true),
            days_ct_to_treatment: Some(i64::MIN),
            lesion_count: Some(u64::MAX),
            largest_diameter_um: Some(u64::MAX),
            lymph_node_metastasis: Some(true),
            distant_metastasis: Some(true),
            hepatic_vein_invasion: Some(HepaticVein::Vv3),
            bile_duct_invasion: Some(true),
            lobes: Some(Lobes::BothReplaced),
            diffuse_type: Some(true),
            creatinine_umol_l_e3: Some(u64::MAX),
            refractory_ascites: Some(true),
            hepatorenal_syndrome: Some(true),
            portal_flow: Some(PortalFlow::Hepatofugal),
            arterial_access_barrier: Some(true),
            untreated_varices: Some(true),
            bile_duct_obstruction: Some(true),
            severe_comorbidity: Some(true),
            height_cm_e3: Some(u64::MAX),
            weight_kg_e3: Some(u64::MAX),
        },
        burden: Burden {
            count: Some(u64::MAX),
            count_source: Source::Supplied,
            diameter_um: Some(u64::MAX),
            diameter_source: Source::Supplied,
        },
        stagings: widest_stagings(),
        tace: list(Contraindication::ALL.iter().map(widest_contraindication).collect()),
        body_surface_m2_e4: Some(u64::MAX),
        reference_doses: list(DoseItem::ALL.iter().map(widest_dose).collect()),
        findings: list(ClinicalFinding::ALL.to_vec()),
    }
}

fn widest_stagings() -> List<Staging, 8> {
    let needs = ClinicalField::ALL.iter().rev().take(12).copied().collect::<Vec<_>>();
    let widest = |system: &StagingSystem| staging(*system, Err(needs.clone()), Some(i64::MIN));
    list(StagingSystem::ALL.iter().map(widest).collect())
}

fn widest_contraindication(item: &Contraindication) -> ContraindicationCheck {
    ContraindicationCheck { item: *item, present: Met::Unknown }
}

fn widest_dose(item: &DoseItem) -> Dose {
    Dose { item: *item, low: u64::MAX, high: u64::MAX, total_mg_e1: Some(u64::MAX) }
}

fn widest_nomogram(treatment: Treatment) -> Nomogram {
    let term = Term {
        name: text(&"n".repeat(32)),
        value_e4: Some(i64::MIN),
        unit: text(&"u".repeat(16)),
        source: Source::Supplied,
        coefficient_e4: i64::MIN,
        points_e2: Some(i64::MIN),
        provenance: Provenance::Placeholder,
        provenance_text: text(&"p".repeat(80)),
        low_e4: i64::MIN,
        high_e4: i64::MIN,
        extrapolated: true,
    };
    Nomogram {
        package: slug(&"z".repeat(32)),
        version: text(&"9".repeat(16)),
        terms: list(vec![term; MAX_TERMS]),
        lp_e4: Some(i64::MIN),
        score_e4: Some(i64::MIN),
        cutoff_e4: Some(i64::MIN),
        survival: list(vec![Survival { months: u64::MAX, probability_e4: 10_000 }; 6]),
        slope_e4: i64::MIN,
        intercept_e4: i64::MIN,
        band_e4: u64::MAX,
        lp_mean_e4: i64::MIN,
        baseline: list(vec![Survival { months: u64::MAX, probability_e4: 10_000 }; 6]),
        published_cutoff_e4: i64::MIN,
        ..nomogram(treatment, "n")
    }
}

pub(crate) fn status() -> StatusMessage {
    StatusMessage {
        v: 1,
        site: slug("demo-site"),
        device: slug("box-1"),
        epoch: Id8::ZERO,
        boot: 3,
        beat: 7,
        signed_at_ms: 1_760_000_000_000,
        clock_quality: ClockQuality::Rtc,
        state: DeviceState::Online,
        last_seq: 2,
        last_digest: Octets([0x77; 32]),
        backlog: 0,
        sandbox: Sandbox { rlimits: true, no_new_privs: true, seccomp: true, landlock_abi: 4 },
        software: text("hcc-edge 0.1.0"),
    }
}

pub(crate) fn checkpoint() -> CheckpointMessage {
    CheckpointMessage {
        v: 1,
        site: slug("demo-site"),
        device: slug("box-1"),
        epoch: Id8::ZERO,
        lsn: 256,
        chain: Octets([0x55; 32]),
        last_seq: 2,
        last_digest: Octets([0x77; 32]),
        signed_at_ms: 1_760_000_000_000,
        clock_quality: ClockQuality::Ntp,
    }
}

pub(crate) fn ack() -> AckMessage {
    AckMessage {
        v: 1,
        site: slug("demo-site"),
        device: slug("box-1"),
        epoch: Id8::ZERO,
        seq: 2,
        signed_at_ms: 1_760_000_000_000,
    }
}

pub(crate) fn resend() -> ResendMessage {
    ResendMessage {
        v: 1,
        site: slug("demo-site"),
        device: slug("box-1"),
        epoch: Id8::ZERO,
        from: 2,
        to: 9,
        signed_at_ms: 1_760_000_000_000,
    }
}
