//! One study in the worker: files to findings, findings to pictures, page and draft. The order of
//! steps is the order in which big buffers can go.

use std::io::Write;
use std::time::Instant;

use super::contents::Contents;
use super::failure::Failure;
use super::objects;
use super::order::{ARTERIAL, CLINICAL, DICOM_FOLDER, PORTAL, WorkOrder};
use super::outlet::{Outlet, Watch};
use super::packages::Loaded;
use super::page::{self, PageFacts, Scan};
use crate::analysis::decode::Limits;
use crate::analysis::decode::dicom::{DicomError, Source};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::network::{Arithmetic, EngineInfo};
use crate::analysis::findings::{Findings, Images, Reason, Stage, StageTiming};
use crate::analysis::models::{Packages, Patient};
use crate::analysis::phases::NamedSeries;
use crate::analysis::threads::both;
use crate::analysis::volume::restore::{RestoreError, to_nifti_gz};
use crate::analysis::{ANALYSIS_VERSION, Analysis, Observer, Settings, StudyInput, analyse};
use crate::clinical::ClinicalData;
use crate::daemon::draft::{RunFacts, draft, reason_codes};
use crate::host::worker::Artefact;
use crate::render::dicom::Found;
use crate::render::report::Language;
use crate::render::{self, OverviewLabels, RenderError};
use crate::seal::wire::result::intended_use;
use crate::seal::wire::{Engine, IntendedUse, ModelUse, Precision, Status, Text};
use crate::units::{Bytes, Millis};

/// Notes on the DICOM files that the page has room for.
const MOST_SERIES_NOTES: usize = 24;

/// Analyses the study and sends everything about it, the draft last.
pub(super) fn run<W: Write>(
    order: &WorkOrder,
    loaded: Loaded,
    mut contents: Contents,
    (compute, started): (Compute, Instant),
    outlet: &mut Outlet<W>,
) -> Result<(), Failure> {
    let Loaded { models, networks, nomograms } = loaded;
    let (data, unusable) = clinical_data(contents.take(CLINICAL).as_deref());
    let patient = Patient { data, unusable, nomograms };
    let study = study_input(order, &mut contents);
    drop(contents);
    let mut watch = Watch::new(outlet, started);
    let (limits, keep_source) = (limits(order), order.dicom_objects);
    let settings = Settings { limits, threads: compute.threads, keep_source };
    let Analysis { mut findings, images, subject, source } =
        analyse(study, &networks, &patient, &settings, &mut watch)?;
    if let Some(subject) = subject {
        watch.outlet().subject(&subject)?;
    }
    let engine = engine_of(networks);

    let drawn =
        pictures((order, &models, compute.threads), &findings, (images, source), &mut watch)?;
    let Drawn { scan, elapsed, note } = drawn;
    findings.timings.push(StageTiming { stage: Stage::Render, elapsed });

    let total = watch.now();
    let facts = RunFacts { models, engine, supplied: patient.data, total };
    let draft = draft(&findings, facts)?;
    let encoded = draft.encode()?;
    let notes = notes(&findings).into_iter().chain(note).collect();
    let facts = PageFacts { order, scan, notes, slices: slices(&findings) };
    let pages = Language::ALL.map(|language| page::view(&draft, &facts, language));
    let report = render::report(&pages);
    watch.outlet().artefact(Artefact::Report, report.as_bytes())?;
    watch.stage(Stage::Render, 100);
    Ok(watch.outlet().draft(&encoded)?)
}

/// The images: DICOM files, or else one NIfTI file per phase.
fn study_input(order: &WorkOrder, contents: &mut Contents) -> StudyInput {
    let files: Vec<Vec<u8>> = contents.take_below(DICOM_FOLDER).into_values().collect();
    if files.is_empty() {
        return StudyInput::Nifti {
            arterial: contents.take(ARTERIAL),
            portal: contents.take(PORTAL),
        };
    }
    let named = NamedSeries {
        arterial: order.arterial_series.clone().map(Into::into),
        portal: order.portal_series.clone().map(Into::into),
    };
    StudyInput::Dicom { files, named }
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

/// What is left to tell when everything is drawn.
#[derive(Default)]
struct Drawn {
    /// What was drawn; `None` when no image was read.
    scan: Option<Scan>,
    elapsed: Millis,
    /// Why there are no DICOM objects although they were asked for.
    note: Option<String>,
}

/// Masks, overview and DICOM objects; the volumes are freed on return. The masks are packed while the
/// overview is drawn, where two threads are allowed.
fn pictures<W: Write>(
    (order, models, threads): (&WorkOrder, &[ModelUse], usize),
    findings: &Findings,
    (images, source): (Option<Images>, Option<Result<Source, DicomError>>),
    watch: &mut Watch<'_, W>,
) -> Result<Drawn, Failure> {
    let start = watch.now();
    watch.stage(Stage::Render, 0);
    let Some(images) = images else { return Ok(Drawn::default()) };
    let scan = Scan::of(&images);
    let labels = OverviewLabels {
        title: format!("{} · {}", order.study, page::headline(status(findings))),
        subtitle: scan.to_string(),
        demonstration: intended_use(models) == IntendedUse::Demonstration,
    };
    let draw = || {
        let picture = render::overview(&images, findings, &labels)?;
        let png = picture.png()?;
        Ok::<_, RenderError>((picture, png))
    };
    let (packed, drawn) = both(threads, || packed(&images), draw);
    let ((mask, heat_map), (picture, png)) = (packed?, drawn?);
    watch.outlet().artefact(Artefact::Mask, &mask)?;
    if let Some(heat_map) = heat_map {
        watch.outlet().artefact(Artefact::HeatMap, &heat_map)?;
    }
    watch.stage(Stage::Render, 60);
    watch.outlet().artefact(Artefact::Overview, &png)?;
    watch.stage(Stage::Render, 90);
    let mut note = None;
    if let Some(source) = &source {
        let Findings { outcome, lesions, .. } = findings;
        let (outcome, lesions, mask) = (*outcome, lesions.as_ref(), &images.mask);
        let reasons = reason_codes(findings);
        let reasons: Vec<&str> = reasons.iter().map(|code| code.sentence()).collect();
        let found =
            Found { outcome, reasons: &reasons, lesions, mask, geometry: &images.portal.geometry };
        let source = source.as_ref();
        note = objects::send((order, models), source, found, &picture, watch.outlet())?;
    }
    let elapsed = Millis(watch.now().0.saturating_sub(start.0));
    Ok(Drawn { scan: Some(scan), elapsed, note })
}

/// Mask and heat map as files.
fn packed(images: &Images) -> Result<(Vec<u8>, Option<Vec<u8>>), RestoreError> {
    let geometry = &images.portal.geometry;
    let mask = to_nifti_gz(images.mask.labels.view(), geometry)?;
    let heat_map = images.heat_map.as_ref();
    let heat_map = heat_map.map(|map| to_nifti_gz(map.similarity.view(), geometry)).transpose()?;
    Ok((mask, heat_map))
}

fn status(findings: &Findings) -> Status {
    crate::daemon::draft::status(findings.outcome)
}

/// What the page says that no message may: what is wrong with `clinical.json`, and what the DICOM
/// files were.
fn notes(findings: &Findings) -> Vec<String> {
    let file = findings.reasons.iter().filter_map(|reason| match reason {
        Reason::ClinicalFile(problem) => Some(problem.clone()),
        Reason::Image(_)
        | Reason::Series(_)
        | Reason::Phases(_)
        | Reason::Gate(_)
        | Reason::Clinical(_) => None,
    });
    let seen = findings.series.iter().flat_map(|report| {
        let series = report.series.iter().map(ToString::to_string);
        series.chain(report.findings.iter().map(ToString::to_string))
    });
    file.chain(seen.take(MOST_SERIES_NOTES)).collect()
}

fn slices(findings: &Findings) -> Vec<usize> {
    let lesions = findings.lesions.iter().flat_map(|lesions| &lesions.lesions);
    lesions.map(|lesion| lesion.slice).collect()
}

/// `None` where no network ran.
fn engine_of(networks: Packages) -> Option<Engine> {
    let ran_on = networks.ran_on.into_inner();
    let first = ran_on.first()?;
    let mut backends: Vec<String> = Vec::new();
    for info in &ran_on {
        let backend = format!("{} {}", info.backend, info.version);
        if !backends.contains(&backend) {
            backends.push(backend);
        }
    }
    if ran_on.iter().all(|info| info.arithmetic == Arithmetic::Int8InFloat) {
        backends.push("int8 graph".into());
    }
    let path = ran_on.iter().find_map(|info| info.path).map_or(String::new(), |p| format!(" {p}"));
    let threads = if first.threads == 1 { "thread" } else { "threads" };
    let device =
        format!("{} {}{path}, {} {threads}", first.device, std::env::consts::ARCH, first.threads);
    Some(Engine {
        backend: Text::shortened(&backends.join(" + ")),
        precision: precision(&ran_on),
        device: Text::shortened(&device),
        analysis_version: ANALYSIS_VERSION,
    })
}

/// What tract computes of an int8 graph, it computes in single precision.
fn precision(ran_on: &[EngineInfo]) -> Precision {
    let all = |wanted: fn(Arithmetic) -> bool| ran_on.iter().all(|info| wanted(info.arithmetic));
    if all(|found| found == Arithmetic::Int8) {
        Precision::Int8
    } else if all(|found| matches!(found, Arithmetic::Int8InFloat | Arithmetic::Float)) {
        Precision::Float32
    } else {
        Precision::Mixed
    }
}
