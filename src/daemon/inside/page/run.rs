//! The run's side of the page: what the gate measured, packages, times, ids.

use super::short;
use crate::daemon::inside::order::WorkOrder;
use crate::render::report::{FactRow, Language, ModelRow, TimingRow};
use crate::seal::wire::result::intended_use;
use crate::seal::wire::{Draft, GateValue, IntendedUse, ModelUse, StageCode, Task, Timing};

pub(super) fn measurement(measured: &GateValue, l: Language) -> FactRow {
    let name = l.say(measured.code.sentence()).trim_end_matches(['.', '。']).to_owned();
    FactRow { name, value: short(measured.value_e3, 3) }
}

pub(super) fn model(model: &ModelUse, l: Language) -> ModelRow {
    let role = match model.task {
        Task::Localisation => "finds the liver",
        Task::Segmentation => "labels liver and tumour",
        Task::Classification => "scores the tumour",
        Task::Nomogram => "nomogram",
    };
    ModelRow {
        role: l.say(role).to_owned(),
        id: format!("{} {}", model.name, model.version),
        digest: model.manifest_digest.to_string(),
        intended_use: l.say(words(model.intended_use)).to_owned(),
    }
}

pub(super) fn timing(timing: &Timing, l: Language) -> TimingRow {
    let stage = match timing.stage {
        StageCode::Decode => "Decode",
        StageCode::Gate => "Gate",
        StageCode::Localise => "Localise",
        StageCode::Segment => "Segment",
        StageCode::Measure => "Measure",
        StageCode::Register => "Register",
        StageCode::Classify => "Classify",
        StageCode::Clinical => "Clinical",
        StageCode::Render => "Masks and pictures",
        StageCode::Total => "Total",
    };
    let seconds = timing.elapsed_ms as f64 / 1000.0;
    TimingRow { stage: l.say(stage).to_owned(), time: format!("{seconds:.2} s") }
}

pub(super) fn facts(draft: &Draft, order: &WorkOrder, l: Language) -> Vec<FactRow> {
    let mut rows = vec![
        ("Intended use", l.say(words(intended_use(&draft.models))).to_owned()),
        ("Job", order.job.clone()),
        ("Result id", order.result_id.clone()),
        ("Site", order.site.clone()),
        ("Device", order.device.clone()),
        ("Software", order.software.clone()),
    ];
    if let Some(engine) = &draft.engine {
        rows.push(("Engine", engine.backend.to_string()));
        rows.push(("Arithmetic", engine.precision.name().to_owned()));
        rows.push(("Computed on", engine.device.to_string()));
        rows.push(("Analysis version", engine.analysis_version.to_string()));
    }
    rows.into_iter().map(|(name, value)| FactRow { name: l.say(name).to_owned(), value }).collect()
}

fn words(used: IntendedUse) -> &'static str {
    match used {
        IntendedUse::Demonstration => "demonstration only",
        IntendedUse::Clinical => "clinical use",
    }
}
