//! What the report says, as plain text with units: the caller formats, the page only lays out.

use super::drawing::{AxisView, CurveView};
use super::language::Language;

/// Everything the page says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportView {
    /// The language of every text of the view.
    pub language: Language,
    /// True draws the banner: not everything in use is released for clinical use.
    pub demonstration: bool,
    /// Name of the study as the site knows it, or a short id.
    pub study: String,
    /// One line about the scan: phases, voxels, spacing.
    pub scan: String,
    /// When the result was made.
    pub made_at: String,
    /// How the analysis ended, and why.
    pub outcome: OutcomeView,
    /// Absent when no score was computed.
    pub score: Option<ScoreView>,
    /// Absent when no recommendation is made.
    pub recommendation: Option<RecommendationView>,
    /// True shows `overview.png`, which lies beside the page.
    pub has_overview: bool,
    /// A line over the lesion table: count, liver and tumour volume.
    pub lesion_summary: String,
    /// Largest first.
    pub lesions: Vec<LesionRow>,
    /// Distances to the prototypes behind the score.
    pub prototypes: Vec<FactRow>,
    /// The validity box, criterion by criterion.
    pub eligibility: Vec<CriterionRow>,
    /// ALBI and Child-Pugh.
    pub liver_function: Vec<GradeRow>,
    /// Lesion count and diameter, supplied and measured.
    pub burden: Vec<BurdenRow>,
    /// One row per staging.
    pub stagings: Vec<StagingRow>,
    /// The published contraindications to TACE.
    pub contraindications: Vec<CheckRow>,
    /// The published doses.
    pub doses: Vec<DoseRow>,
    /// The body surface the totals are for, or what it needs.
    pub body_surface: String,
    /// How often the published doses were given.
    pub dose_schedule: String,
    /// `clinical.json` as understood.
    pub supplied: Vec<FactRow>,
    /// What the gate measured on the images, units in the names.
    pub measurements: Vec<FactRow>,
    /// One for each therapy.
    pub nomograms: Vec<NomogramView>,
    /// Predicted survival under each nomogram.
    pub curves: Vec<CurveView>,
    /// The packages in use.
    pub models: Vec<ModelRow>,
    /// Stages in the order run.
    pub timings: Vec<TimingRow>,
    /// Result id, device, software, engine and the like.
    pub facts: Vec<FactRow>,
}

/// How an analysis ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutcomeView {
    /// Decides the colour alone.
    pub tone: Tone,
    /// Such as "Scored" or "No score: the study is single-phase".
    pub headline: String,
    /// Why there is no score, and what to do; and, beside a score too, what puts values in doubt,
    /// absolute contraindications to TACE and notes.
    pub reasons: Vec<ReasonRow>,
}

/// Colour of an outcome; its words carry the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// There is a score.
    Good,
    /// Looked at and withheld.
    Held,
    /// Not analysed.
    #[default]
    Stopped,
}

/// One reason, finding or note.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReasonRow {
    /// The code of the wire format, such as `arterial_missing`.
    pub code: String,
    /// What is wrong and what to do next.
    pub sentence: String,
}

/// The PMN's score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreView {
    /// Such as "0.87".
    pub score: String,
    /// Such as "proliferative".
    pub class: String,
    /// Such as "0.50".
    pub threshold: String,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecommendationView {
    /// A few words.
    pub headline: String,
    /// The full wording, with "preliminary, for the tumour board".
    pub wording: String,
}

/// One lesion.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LesionRow {
    /// Largest axial diameter.
    pub diameter: String,
    /// Volume.
    pub volume: String,
    /// Slice of the diameter.
    pub slice: String,
    /// Centre in the scanner's millimetres.
    pub centre: String,
}

/// One criterion of the validity box.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CriterionRow {
    /// What is asked.
    pub name: String,
    /// What was found.
    pub value: String,
    /// What is accepted.
    pub limit: String,
    /// Whether it holds.
    pub met: Met,
}

/// Whether a criterion holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Met {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It cannot be evaluated, which counts as not met.
    #[default]
    Unknown,
}

/// One grade of liver function or stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GradeRow {
    /// Such as "ALBI".
    pub name: String,
    /// Such as "−2.71".
    pub value: String,
    /// Such as "grade 1".
    pub grade: String,
    /// The values it was computed from.
    pub inputs: String,
}

/// A quantity that can be supplied and measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BurdenRow {
    /// Such as "Number of lesions".
    pub name: String,
    /// From `clinical.json`.
    pub supplied: String,
    /// From the images.
    pub measured: String,
    /// The one in use.
    pub used: String,
}

/// One staging.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StagingRow {
    /// Such as "BCLC 2022".
    pub system: String,
    /// The stage, or what it needs.
    pub stage: String,
    /// The number behind it; empty when there is none.
    pub value: String,
    /// What is uncertain about the rule.
    pub caveat: String,
}

/// One item of a checklist of contraindications.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckRow {
    /// What, and how much it weighs.
    pub item: String,
    /// Whether the patient has it.
    pub present: Met,
}

/// One published dose.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DoseRow {
    /// Drug, unit and source.
    pub item: String,
    /// The published amount.
    pub amount: String,
    /// For this patient's body surface; empty where that is unknown.
    pub total: String,
}

/// One nomogram, so that a reader can redo the sum by hand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NomogramView {
    /// Such as "HAIC nomogram".
    pub name: String,
    /// Risk group, or why there is none.
    pub risk_group: String,
    /// Cut-off and where it comes from.
    pub cut_off: String,
    /// In the order summed.
    pub terms: Vec<TermRow>,
    /// The same as axes, for the drawing.
    pub axes: Vec<AxisView>,
    /// Sum of the points.
    pub total: String,
    /// Predicted survival; empty when there is none.
    pub survival: String,
    /// What the whole is based on.
    pub provenance: String,
}

/// One term of a nomogram.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TermRow {
    /// Name of the variable.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its unit.
    pub unit: String,
    /// Measured, supplied or missing.
    pub source: String,
    /// Coefficient.
    pub coefficient: String,
    /// Points on the nomogram's scale.
    pub points: String,
    /// Published hazard ratio, own fit or placeholder.
    pub provenance: String,
}

/// One package in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelRow {
    /// What it does.
    pub role: String,
    /// Name and version.
    pub id: String,
    /// Digest, shortened or not.
    pub digest: String,
    /// Demonstration or released for clinical use.
    pub intended_use: String,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimingRow {
    /// Name of the stage.
    pub stage: String,
    /// Such as "1.24 s".
    pub time: String,
}

/// A named fact.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FactRow {
    /// What.
    pub name: String,
    /// Its value, set in a fixed-width face.
    pub value: String,
}
