//! One study in the worker: files to findings, findings to pictures, page and draft. The order of
//! steps is the order in which big buffers can go.

use std::io::Write;
use std::time::Instant;

use super::Bounds;
use super::contents::Contents;
use super::failure::Failure;
use super::order::{ARTERIAL, CLINICAL, PORTAL, WorkOrder};
use super::outlet::{Outlet, Watch};
use super::packages::Loaded;
use super::page::{self, PageFacts, Scan};
use crate::analysis::decode::Limits;
use crate::analysis::engine::network::EngineInfo;
use crate::analysis::findings::{Findings, Images, Reason, Stage, StageTiming};
use crate::analysis::models::{Packages, Patient};
use crate::analysis::volume::restore::to_nifti_gz;
use crate::analysis::{ANALYSIS_VERSION, Analysis, Observer, Settings, StudyInput, analyse};
use crate::clinical::ClinicalData;
use crate::daemon::draft::{RunFacts, draft};
use crate::host::worker::Artefact;
use crate::render::{self, OverviewLabels};
use crate::seal::wire::result::intended_use;
use crate::seal::wire::{Engine, IntendedUse, ModelUse, Precision, Status, Text};
use crate::units::{Bytes, Millis};

/// Analyses the study and sends everything about it, the draft last.
pub(super) fn run<W: Write>(
    order: &WorkOrder,
    loaded: Loaded,
    mut contents: Contents,
    (bounds, started): (Bounds, Instant),
    outlet: &mut Outlet<W>,
) -> Result<(), Failure> {
    let Loaded { models, networks, nomograms } = loaded;
    let (data, unusable) = clinical_data(contents.take(CLINICAL).as_deref());
    let patient = Patient { data, unusable, nomograms };
    let study = StudyInput { arterial: contents.take(ARTERIAL), portal: contents.take(PORTAL) };
    drop(contents);
    let mut watch = Watch::new(outlet, started);
    let settings = Settings { limits: limits(order), threads: bounds.threads };
    let Analysis { mut findings, images } =
        analyse(study, &networks, &patient, &settings, &mut watch)?;
    let engine = engine_of(networks);

    let (scan, elapsed) = pictures(order, &models, (&findings, images), &mut watch)?;
    findings.timings.push(StageTiming { stage: Stage::Render, elapsed });

    let total = watch.now();
    let facts = RunFacts { models, engine, supplied: patient.data, total };
    let draft = draft(&findings, facts)?;
    let encoded = draft.encode()?;
    let facts = PageFacts { order, scan, notes: notes(&findings), slices: slices(&findings) };
    let report = render::report(&page::view(&draft, &facts));
    watch.outlet().artefact(Artefact::Report, report.as_bytes())?;
    watch.stage(Stage::Render, 100);
    Ok(watch.outlet().draft(&encoded)?)
}

/// A file that cannot be used is told, and nothing of it is used; no file is no data.
fn clinical_data(json: Option<&[u8]>) -> (ClinicalData, Option<String>) {
    match json.map(ClinicalData::parse) {
        None => (ClinicalData::absent(), None),
        Some(Ok(data)) => (data, None),
        Some(Err(error)) => (ClinicalData::absent(), Some(error.to_string())),
    }
}

fn limits(order: &WorkOrder) -> Limits {
    Limits { file: Bytes(order.max_file_bytes), voxels: order.max_voxels }
}

/// Masks and overview, one at a time; the volumes are freed on return.
fn pictures<W: Write>(
    order: &WorkOrder,
    models: &[ModelUse],
    (findings, images): (&Findings, Option<Images>),
    watch: &mut Watch<'_, W>,
) -> Result<(Option<Scan>, Millis), Failure> {
    let start = watch.now();
    watch.stage(Stage::Render, 0);
    let Some(images) = images else { return Ok((None, Millis(0))) };
    let geometry = &images.portal.geometry;
    let mask = to_nifti_gz(images.mask.labels.view(), geometry)?;
    watch.outlet().artefact(Artefact::Mask, &mask)?;
    drop(mask);
    watch.stage(Stage::Render, 30);
    if let Some(heat_map) = &images.heat_map {
        let packed = to_nifti_gz(heat_map.similarity.view(), geometry)?;
        watch.outlet().artefact(Artefact::HeatMap, &packed)?;
    }
    watch.stage(Stage::Render, 60);
    let scan = Scan::of(&images);
    let labels = OverviewLabels {
        title: format!("{} · {}", order.study, page::headline(status(findings))),
        subtitle: scan.to_string(),
        demonstration: intended_use(models) == IntendedUse::Demonstration,
    };
    let picture = render::overview(&images, findings, &labels)?;
    drop(images);
    watch.outlet().artefact(Artefact::Overview, &picture.png()?)?;
    watch.stage(Stage::Render, 90);
    Ok((Some(scan), Millis(watch.now().0.saturating_sub(start.0))))
}

fn status(findings: &Findings) -> Status {
    crate::daemon::draft::status(findings.outcome)
}

/// What the page says that no message may: contradictions, and what is wrong with `clinical.json`.
fn notes(findings: &Findings) -> Vec<String> {
    let file = findings.reasons.iter().filter_map(|reason| match reason {
        Reason::ClinicalFile(problem) => Some(problem.clone()),
        Reason::Image(_) | Reason::Gate(_) | Reason::Clinical(_) => None,
    });
    file.chain(findings.clinical.findings.iter().map(ToString::to_string)).collect()
}

fn slices(findings: &Findings) -> Vec<usize> {
    let lesions = findings.lesions.iter().flat_map(|lesions| &lesions.lesions);
    lesions.map(|lesion| lesion.slice).collect()
}

fn engine_of(networks: Packages) -> Option<Engine> {
    networks.ran_on.into_inner().map(|info| engine(&info))
}

/// tract computes what the int8 graph says in single precision: both are said.
fn engine(info: &EngineInfo) -> Engine {
    let quantised = if info.precision.starts_with("int8") { ", int8 graph" } else { "" };
    let threads = if info.threads == 1 { "thread" } else { "threads" };
    let device = format!("{} {}, {} {threads}", info.device, std::env::consts::ARCH, info.threads);
    Engine {
        backend: Text::shortened(&format!("{} {}{quantised}", info.backend, info.version)),
        precision: Precision::Float32,
        device: Text::shortened(&device),
        analysis_version: ANALYSIS_VERSION,
    }
}
