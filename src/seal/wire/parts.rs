//! The nested maps of a result, in the order of `result.cddl`. Scales are in the names:
//! `_e2`, `_e3`, `_e4`, `_e6` are powers of ten, `_um` micrometres, `_mm3` cubic millimetres.

use serde::{Deserialize, Serialize};

use super::atoms::{Digest, List, Slug, Text};
use super::clinical_codes::{
    ClinicalField, ClinicalFinding, Contraindication, DoseItem, HepaticVein, Lobes, PortalFlow,
    Side, Stage, StagingSystem,
};
use super::codes::{
    AlbiGrade, Ascites, ChildPughClass, CompletionRule, Criterion, Encephalopathy, InputRole,
    IntendedUse, Met, Precision, Provenance, Pvtt, RecommendationCode, RiskGroup, Sex, Source,
    StageCode, Task, Treatment, Wording,
};
use super::gate_codes::GateCode;

/// The longest list of lesions that is sent.
pub const MAX_LESIONS: usize = 32;
/// The most terms a nomogram may have.
pub const MAX_TERMS: usize = 16;

/// What the device received and why it took it as complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The completion rule that fired.
    pub rule: CompletionRule,
    /// One entry per role, in the order of the roles' numbers.
    pub series: List<InputSeries, 6>,
}

/// The files of one role. Of one file the digest is its SHA-256; of several the SHA-256 over
/// `["hcc-edge.series.v1", [digests, sorted]]` in deterministic CBOR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSeries {
    /// Which part of the study.
    pub role: InputRole,
    /// Number of files.
    pub files: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Digest over the files' bytes.
    pub digest: Digest,
}

/// One package that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelUse {
    /// Package name.
    pub name: Slug,
    /// Package version, three numbers with dots.
    pub version: Text<16>,
    /// What it does.
    pub task: Task,
    /// SHA-256 of its signed `manifest.toml`, which lists the SHA-256 of every other file.
    pub manifest_digest: Digest,
    /// What its manifest releases it for.
    pub intended_use: IntendedUse,
}

/// What computed the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Inference backend and its version.
    pub backend: Text<32>,
    /// Arithmetic actually used.
    pub precision: Precision,
    /// Processor or accelerator actually used.
    pub device: Text<48>,
    /// Version of the analysis; part of the result id.
    pub analysis_version: u64,
}

/// What the Prototype Mamba Net says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pmn {
    /// p(proliferative), 0..=10,000.
    pub score_e4: u64,
    /// Whether the score reaches the threshold.
    pub proliferative: bool,
    /// The package's threshold on the score, 0..=10,000.
    pub threshold_e4: u64,
    /// Squared distances to the prototypes: {non-proliferative, proliferative}, HAIC {poor,
    /// good}, TACE {poor, good}.
    pub distances_e6: [u64; 6],
    /// p(good response) under HAIC, 0..=10,000.
    pub haic_good_e4: u64,
    /// p(good response) under TACE, 0..=10,000.
    pub tace_good_e4: u64,
}

/// What was measured on the mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesions {
    /// Number of lesions, before the list was cut.
    pub count: u64,
    /// Liver including tumour.
    pub liver_mm3: u64,
    /// Tumour.
    pub tumour_mm3: u64,
    /// Largest diameter first.
    pub list: List<Lesion, MAX_LESIONS>,
}

/// One lesion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesion {
    /// Longest axial diameter.
    pub diameter_um: u64,
    /// Volume.
    pub volume_mm3: u64,
    /// Centre of mass `[x, y, z]`, RAS+.
    pub centre_um: [i64; 3],
}

/// Eligibility, liver function, stagings and what was supplied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clinical {
    /// The validity box, one entry per criterion.
    pub eligibility: List<CriterionCheck, 8>,
    /// ALBI score.
    pub albi_e4: Option<i64>,
    /// ALBI grade.
    pub albi_grade: Option<AlbiGrade>,
    /// Child-Pugh points, 5..=15.
    pub child_pugh_points: Option<u64>,
    /// Child-Pugh class.
    pub child_pugh_class: Option<ChildPughClass>,
    /// The values of `clinical.json`, null where missing.
    pub supplied: Supplied,
    /// Lesion count and diameter that the stagings use.
    pub burden: Burden,
    /// Stagings and tumour-burden scores, in the order of the systems' numbers.
    pub stagings: List<Staging, 8>,
    /// Contraindications to TACE, in the order of their numbers.
    pub tace: List<ContraindicationCheck, 16>,
    /// Body surface (Mosteller 1987); null without height and weight.
    pub body_surface_m2_e4: Option<u64>,
    /// Published doses: reference, never an order.
    pub reference_doses: List<Dose, 12>,
    /// What puts supplied values in doubt; while there is one, the recommendation is to discuss.
    pub findings: List<ClinicalFinding, 4>,
}

/// One criterion of the validity box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriterionCheck {
    /// Which criterion.
    pub criterion: Criterion,
    /// The value judged, times 1,000: years, ECOG grade, Child-Pugh points, millimetres, 0 or 1,
    /// days, number of phases.
    pub value_e3: Option<i64>,
    /// The verdict.
    pub met: Met,
}

/// Lesion count and largest diameter in use: the supplied count and the measured diameter where
/// there are both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burden {
    /// Number of lesions.
    pub count: Option<u64>,
    /// Where it comes from.
    pub count_source: Source,
    /// Largest axial diameter.
    pub diameter_um: Option<u64>,
    /// Where it comes from.
    pub diameter_source: Source,
}

/// One staging. Without a stage it says what it needs; when it needs nothing, the tumour is diffuse
/// (`supplied.diffuse_type`) and its nodules cannot be counted, or no lesion was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    /// Which one.
    pub system: StagingSystem,
    /// The stage; null when not computable.
    pub stage: Option<Stage>,
    /// The number behind it: the ALBI score, or diameter in cm plus count.
    pub value_e4: Option<i64>,
    /// What is missing.
    pub needs: List<ClinicalField, 12>,
}

/// One contraindication to TACE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContraindicationCheck {
    /// Which one.
    pub item: Contraindication,
    /// Whether the patient has it.
    pub present: Met,
}

/// One published dose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose {
    /// Drug, unit and source.
    pub item: DoseItem,
    /// Lowest published amount.
    pub low: u64,
    /// Highest published amount.
    pub high: u64,
    /// Amount times body surface; null where either is missing or it is not given per m².
    pub total_mg_e1: Option<u64>,
}

/// `clinical.json` as the device understood it; `subject` is not among the values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supplied {
    /// Age in years.
    pub age_years_e3: Option<u64>,
    /// Sex.
    pub sex: Option<Sex>,
    /// ECOG performance status.
    pub ecog: Option<u64>,
    /// Hepatitis B.
    pub hbv: Option<bool>,
    /// Alpha-fetoprotein, ng/mL.
    pub afp_ng_ml_e3: Option<u64>,
    /// Aspartate aminotransferase, U/L.
    pub ast_u_l_e3: Option<u64>,
    /// Bilirubin, µmol/L.
    pub bilirubin_umol_l_e3: Option<u64>,
    /// Albumin, g/L.
    pub albumin_g_l_e3: Option<u64>,
    /// International normalised ratio.
    pub inr_e3: Option<u64>,
    /// Ascites.
    pub ascites: Option<Ascites>,
    /// Encephalopathy.
    pub encephalopathy: Option<Encephalopathy>,
    /// Portal vein tumour thrombus.
    pub pvtt: Option<Pvtt>,
    /// Extrahepatic spread.
    pub extrahepatic_spread: Option<bool>,
    /// Earlier treatment of this tumour.
    pub prior_therapy: Option<bool>,
    /// A second malignancy.
    pub second_malignancy: Option<bool>,
    /// Days from CT to treatment.
    pub days_ct_to_treatment: Option<i64>,
    /// Number of lesions as reported by the site.
    pub lesion_count: Option<u64>,
    /// Largest axial diameter as reported by the site.
    pub largest_diameter_um: Option<u64>,
    /// Lymph node metastasis (N1).
    pub lymph_node_metastasis: Option<bool>,
    /// Distant metastasis (M1).
    pub distant_metastasis: Option<bool>,
    /// Hepatic vein tumour thrombus.
    pub hepatic_vein_invasion: Option<HepaticVein>,
    /// Bile duct invasion.
    pub bile_duct_invasion: Option<bool>,
    /// Lobes with tumour.
    pub lobes: Option<Lobes>,
    /// Diffuse or infiltrative type.
    pub diffuse_type: Option<bool>,
    /// Creatinine, µmol/L.
    pub creatinine_umol_l_e3: Option<u64>,
    /// Refractory ascites.
    pub refractory_ascites: Option<bool>,
    /// Hepatorenal syndrome.
    pub hepatorenal_syndrome: Option<bool>,
    /// Flow in the portal vein.
    pub portal_flow: Option<PortalFlow>,
    /// Barrier to arterial access.
    pub arterial_access_barrier: Option<bool>,
    /// Untreated varices at high risk of bleeding.
    pub untreated_varices: Option<bool>,
    /// Occluded bile duct or incompetent papilla.
    pub bile_duct_obstruction: Option<bool>,
    /// Severe comorbidity.
    pub severe_comorbidity: Option<bool>,
    /// Height, cm.
    pub height_cm_e3: Option<u64>,
    /// Body weight, kg.
    pub weight_kg_e3: Option<u64>,
}

/// One nomogram, complete enough to redo its sum by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nomogram {
    /// The treatment it speaks about.
    pub treatment: Treatment,
    /// Package name.
    pub package: Slug,
    /// Package version.
    pub version: Text<16>,
    /// SHA-256 of the package's manifest.
    pub manifest_digest: Digest,
    /// Every term, also the missing ones.
    pub terms: List<Term, MAX_TERMS>,
    /// Linear predictor Σ coefficient × value; null when a value is missing.
    pub lp_e4: Option<i64>,
    /// Score on the nomogram's own scale; null when a value is missing.
    pub score_e4: Option<i64>,
    /// Cut-off on that scale; never null when there is a score.
    pub cutoff_e4: Option<i64>,
    /// Where the cut-off comes from.
    pub cutoff_provenance: Provenance,
    /// The verdict.
    pub risk_group: RiskGroup,
    /// Predicted survival; empty when a value is missing.
    pub survival: List<Survival, 6>,
    /// a of score = a × LP + b.
    pub slope_e4: i64,
    /// b of score = a × LP + b.
    pub intercept_e4: i64,
    /// Half-width around the cut-off within which the group is indeterminate.
    pub band_e4: u64,
    /// The side of the cut-off that is high risk.
    pub high_risk_side: Side,
    /// Linear predictor of the reference patient, whose survival is the baseline.
    pub lp_mean_e4: i64,
    /// Survival of the reference patient; predicted survival is baseline ^ exp(LP - lp_mean).
    pub baseline: List<Survival, 6>,
    /// Where the baseline comes from.
    pub baseline_provenance: Provenance,
    /// The cut-off the paper prints: reference, never applied.
    pub published_cutoff_e4: i64,
}

/// One term of a nomogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Name of the variable.
    pub name: Text<32>,
    /// Its value as the coefficient multiplies it.
    pub value_e4: Option<i64>,
    /// Unit of the value.
    pub unit: Text<16>,
    /// Where the value comes from.
    pub source: Source,
    /// Coefficient per unit.
    pub coefficient_e4: i64,
    /// Points on the nomogram.
    pub points_e2: Option<i64>,
    /// Where the coefficient comes from.
    pub provenance: Provenance,
    /// The source of the coefficient in words.
    pub provenance_text: Text<80>,
    /// Lowest value fitted.
    pub low_e4: i64,
    /// Highest value fitted.
    pub high_e4: i64,
    /// The value lies outside the fitted range.
    pub extrapolated: bool,
}

/// Predicted survival at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    /// Months after treatment.
    pub months: u64,
    /// Probability to be alive, 0..=10,000.
    pub probability_e4: u64,
}

impl Clinical {
    /// The absolute contraindications to TACE that are present.
    pub fn absolute_contraindications(&self) -> impl Iterator<Item = Contraindication> + '_ {
        let present = self.tace.iter().filter(|check| check.present == Met::Yes);
        present.map(|check| check.item).filter(|item| item.is_absolute())
    }

    /// Why a staging without a stage has none although it needs nothing.
    pub fn nothing_to_stage(&self) -> &'static str {
        match self.supplied.diffuse_type {
            Some(true) => "not computable: diffuse: nodules cannot be counted",
            Some(false) | None => "no lesion was counted",
        }
    }
}

/// What the policy recommends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recommendation {
    /// The recommendation.
    pub code: RecommendationCode,
    /// The exact words shown with it.
    pub wording: Wording,
}

impl Recommendation {
    /// No recommendation: the only one possible unless the status is `ok`.
    pub const NONE: Self = Self { code: RecommendationCode::None, wording: Wording::None };
}

/// One number the gate measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateValue {
    /// Its name and unit.
    pub code: GateCode,
    /// The value times 1,000.
    pub value_e3: i64,
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Which stage.
    pub stage: StageCode,
    /// Wall time.
    pub elapsed_ms: u64,
}
