//! What the analysis concluded → what is sent: [`Findings`] → wire [`Draft`]. Scales numbers as the
//! wire format names them and decides nothing.

mod clinical;
mod reasons;
mod staged;
mod supplied;

use crate::analysis::findings::{Findings, Outcome, Stage, StageTiming};
use crate::analysis::lesions::{Lesion, Lesions};
use crate::analysis::pmn::Risk;
use crate::clinical::data::ClinicalData;
use crate::seal::wire::{self, BoundError, Draft, List};
use crate::units::Millis;

/// Facts about the run that the findings do not hold.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The packages in use, in the order of use.
    pub models: Vec<wire::ModelUse>,
    /// What computed the result; `None` when no network ran.
    pub engine: Option<wire::Engine>,
    /// `clinical.json` as understood.
    pub supplied: ClinicalData,
    /// From the worker's start to its last stage.
    pub total: Millis,
}

/// The draft of the findings. Fails only when a list or text is longer than the wire allows, which
/// the limits of the analysis rule out.
pub fn draft(findings: &Findings, facts: RunFacts) -> Result<Draft, BoundError> {
    let scored = findings.outcome == Outcome::Ok;
    let nomograms = findings.clinical.nomograms.as_ref().filter(|_| scored);
    let nomograms = nomograms.map(|pair| pair.iter().map(clinical::nomogram).collect());
    let nomograms = nomograms.unwrap_or_else(|| Ok(Vec::new()))?;
    let recommendation = findings.clinical.recommendation.as_ref().filter(|_| scored);
    Ok(Draft {
        status: status(findings.outcome),
        reasons: List::new(reasons::reasons(findings))?,
        models: List::new(facts.models)?,
        engine: facts.engine,
        pmn: findings.risk.as_ref().filter(|_| scored).map(pmn),
        lesions: findings.lesions.as_ref().map(lesions).transpose()?,
        clinical: Some(clinical::clinical(&findings.clinical, &facts.supplied)?),
        nomograms: List::new(nomograms)?,
        recommendation: recommendation.map_or(wire::Recommendation::NONE, clinical::recommendation),
        gate: List::new(reasons::gate_values(findings))?,
        timings_ms: timings(&findings.timings, facts.total)?,
    })
}

/// Why there is no score, as codes: what a message says without the details of the case.
pub(super) fn reason_codes(findings: &Findings) -> Vec<wire::ReasonCode> {
    reasons::reasons(findings).iter().map(|reason| reason.code).collect()
}

fn pmn(risk: &Risk) -> wire::Pmn {
    wire::Pmn {
        score_e4: risk.score.e4(),
        proliferative: risk.proliferative,
        threshold_e4: risk.threshold.e4(),
        distances_e6: risk.distances.map(|d| scaled(f64::from(d).max(0.0), 1e6) as u64),
        haic_good_e4: risk.haic_good.e4(),
        tace_good_e4: risk.tace_good.e4(),
    }
}

fn lesions(lesions: &Lesions) -> Result<wire::Lesions, BoundError> {
    Ok(wire::Lesions {
        count: lesions.count as u64,
        liver_mm3: scaled(lesions.liver_mm3, 1.0) as u64,
        tumour_mm3: scaled(lesions.tumour_mm3, 1.0) as u64,
        list: List::new(lesions.lesions.iter().map(lesion).collect())?,
    })
}

fn lesion(lesion: &Lesion) -> wire::Lesion {
    wire::Lesion {
        diameter_um: lesion.diameter.micrometres(),
        volume_mm3: scaled(lesion.volume_mm3, 1.0) as u64,
        centre_um: lesion.centre_mm.map(|mm| scaled(mm, 1e3)),
    }
}

fn timings(timings: &[StageTiming], total: Millis) -> Result<List<wire::Timing, 10>, BoundError> {
    let stages = timings
        .iter()
        .map(|t| wire::Timing { stage: stage_code(t.stage), elapsed_ms: t.elapsed.0 });
    let total = wire::Timing { stage: wire::StageCode::Total, elapsed_ms: total.0 };
    List::new(stages.chain([total]).collect())
}

/// The outcome as messages say it.
pub(super) fn status(outcome: Outcome) -> wire::Status {
    match outcome {
        Outcome::Ok => wire::Status::Ok,
        Outcome::Abstained => wire::Status::Abstained,
        Outcome::Unreadable => wire::Status::Unreadable,
    }
}

/// The stage as messages number it.
pub(super) fn stage_code(stage: Stage) -> wire::StageCode {
    match stage {
        Stage::Decode => wire::StageCode::Decode,
        Stage::Gate => wire::StageCode::Gate,
        Stage::Localise => wire::StageCode::Localise,
        Stage::Segment => wire::StageCode::Segment,
        Stage::Measure => wire::StageCode::Measure,
        Stage::Register => wire::StageCode::Register,
        Stage::Classify => wire::StageCode::Classify,
        Stage::Clinical => wire::StageCode::Clinical,
        Stage::Render => wire::StageCode::Render,
    }
}

/// A number in the wire's fixed-point scale, rounded to the nearest; what does not fit saturates.
fn scaled(value: f64, scale: f64) -> i64 {
    (value * scale).round() as i64
}
