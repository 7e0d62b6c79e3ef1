//! The worker as the daemon runs it: the real binary, its real sandbox, the packages that ship.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flate2::read::GzDecoder;
use hcc_edge::config::SandboxRule;
use hcc_edge::daemon::inside::order::{ImageFile, ImageKind, WorkOrder, inputs, self_test_inputs};
use hcc_edge::host::packages::VerifiedPackage;
use hcc_edge::host::worker::{
    Artefact, FailureClass, Input, Job, Limits, Setup, WorkerError, WorkerReport, run,
    run_self_test,
};
use hcc_edge::phantom::spec::{PhantomSpec, Preset};
use hcc_edge::phantom::study::{StudyFiles, study};
use hcc_edge::seal::cose::sha256;
use hcc_edge::seal::wire::{
    Draft, IntendedUse, Lesion, Precision, ReasonCode, Slug, StageCode, Status, Task, Text,
};
use hcc_edge::units::Bytes;
use rustix::process::{Pid, Signal, kill_process};

/// In the order of use.
const PACKAGES: [(&str, &str, Task); 5] = [
    ("liver-localiser", "0.1.0", Task::Localisation),
    ("liver-tumour", "0.3.0", Task::Segmentation),
    ("pmn", "0.2.0", Task::Classification),
    ("nomogram-tace", "0.1.0", Task::Nomogram),
    ("nomogram-haic", "0.1.0", Task::Nomogram),
];

/// The packages of the repository with their files as they are; who signed them is `host::packages`'
/// business.
fn packages() -> Vec<VerifiedPackage> {
    PACKAGES.iter().map(|(name, version, task)| package(name, version, *task)).collect()
}

fn package(name: &str, version: &str, task: Task) -> VerifiedPackage {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).join(version);
    let manifest_toml = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let mut files = BTreeMap::new();
    for below in [folder.clone(), folder.join("golden")].iter().filter(|below| below.is_dir()) {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("manifest.toml") {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files.remove("manifest.cose");
    VerifiedPackage {
        name: Slug::new(name).unwrap(),
        version: Text::new(version).unwrap(),
        task,
        intended_use: IntendedUse::Demonstration,
        licence: "Apache-2.0".to_owned(),
        revokes_below: None,
        manifest_cose: Vec::new(),
        manifest_digest: sha256(manifest_toml.as_bytes()).0,
        manifest_toml,
        files,
    }
}

fn order() -> WorkOrder {
    WorkOrder {
        job: "00112233445566aa".to_owned(),
        study: "phantom-<1>".to_owned(),
        site: "ward-3".to_owned(),
        device: "box-1".to_owned(),
        result_id: "0123456789abcdef0123456789abcdef".to_owned(),
        software: "hcc-edge test".to_owned(),
        started_ms: 1_767_225_600_000,
        max_file_bytes: 1 << 30,
        max_voxels: 512 * 512 * 640,
        dicom_objects: false,
        arterial_series: None,
        portal_series: None,
    }
}

fn setup() -> Setup<'static> {
    Setup {
        program: Path::new(env!("CARGO_BIN_EXE_hcc-edge")),
        limits: Limits {
            memory: Bytes::mib(3072),
            time: Duration::from_secs(300),
            threads: 2,
            isa: None,
            artefact_bytes: Bytes::mib(64),
        },
        sandbox: SandboxRule::BestEffort,
    }
}

/// One study on disk and the folder for what is made of it.
struct Case {
    folder: tempfile::TempDir,
    images: Vec<ImageFile>,
    clinical: Option<Vec<u8>>,
}

impl Case {
    fn new(files: &StudyFiles) -> Self {
        let mut case = Self {
            folder: tempfile::tempdir().unwrap(),
            images: Vec::new(),
            clinical: Some(files.sheets.clinical_json.clone()),
        };
        fs::create_dir(case.out()).unwrap();
        if let Some(arterial) = &files.images.arterial_nii_gz {
            case.add(ImageKind::Arterial, arterial);
        }
        case.add(ImageKind::Portal, &files.images.portal_nii_gz);
        case
    }

    fn add(&mut self, kind: ImageKind, bytes: &[u8]) {
        let path = self.folder.path().join(format!("{kind:?}.nii.gz"));
        fs::write(&path, bytes).unwrap();
        let (sha256, length) = (sha256(bytes).0, bytes.len() as u64);
        self.images.push(ImageFile { kind, path, sha256, length });
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn inputs(&self) -> Vec<Input> {
        inputs(&order(), packages(), self.images.clone(), self.clinical.clone())
    }

    fn run_with(&self, setup: Setup<'_>, inputs: Vec<Input>) -> Result<WorkerReport, WorkerError> {
        let job = Job { setup, inputs, out: &self.out() };
        run(job, &AtomicBool::new(false), &mut |_, _| ())
    }

    fn run(&self) -> (WorkerReport, Draft) {
        let report = self.run_with(setup(), self.inputs()).unwrap();
        let draft = Draft::decode(&report.draft).unwrap();
        (report, draft)
    }

    fn made(&self, artefact: Artefact) -> Vec<u8> {
        fs::read(self.out().join(artefact.file_name())).unwrap()
    }
}

fn small(seed: u64) -> StudyFiles {
    study(&Preset::Small.spec(seed)).unwrap()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Twice the overlap over the sum, of the voxels that `counts` in both.
fn dice(found: &[u8], truth: &[u8], counts: impl Fn(u8) -> bool) -> f64 {
    assert_eq!(found.len(), truth.len());
    let both = found.iter().zip(truth).filter(|(a, b)| counts(**a) && counts(**b)).count();
    let sum = found.iter().chain(truth).filter(|label| counts(**label)).count();
    2.0 * both as f64 / sum as f64
}

/// Tolerances are the demonstration models' (their cards say how weak they are), not the software's.
#[test]
fn a_two_phase_study_gives_a_draft_and_every_artefact() {
    let files = small(1);
    let case = Case::new(&files);
    let mut seen = Vec::new();
    let job = Job { setup: setup(), inputs: case.inputs(), out: &case.out() };
    let told = &mut |stage, percent| seen.push((stage, percent));
    let report = run(job, &AtomicBool::new(false), told).unwrap();
    let draft = Draft::decode(&report.draft).unwrap();
    let drawn = [Artefact::Mask, Artefact::HeatMap, Artefact::Overview, Artefact::Report];
    assert_eq!(report.artefacts, drawn);
    assert!(report.posture.rlimits && report.posture.no_new_privs && report.posture.seccomp);
    assert!(report.peak_rss.unwrap() < Bytes::mib(1024), "{:?}", report.peak_rss);
    for stage in [StageCode::Decode, StageCode::Segment, StageCode::Render] {
        assert!(seen.contains(&(stage.code() as u8, 100)), "{seen:?}");
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "told twice: {seen:?}");

    assert_eq!((draft.status, draft.reasons.len()), (Status::Ok, 0));
    assert_eq!((draft.models.len(), draft.nomograms.len()), (5, 2));
    let stages: Vec<StageCode> = draft.timings_ms.iter().map(|t| t.stage).collect();
    let mut every = stages.clone();
    every.sort_by_key(|stage| stage.code());
    assert_eq!(every, StageCode::ALL);
    let place = |stage| stages.iter().position(|one| *one == stage).unwrap();
    assert!(place(StageCode::Measure) < place(StageCode::Register));
    assert!(place(StageCode::Register) < place(StageCode::Classify));
    let engine = draft.engine.as_ref().unwrap();
    // The PMN's recurrence, norms and distances are not quantised.
    assert!(engine.backend.starts_with("hcc-edge ") && !engine.backend.contains("tract"));
    assert!(engine.precision == Precision::Mixed && !engine.device.is_empty());
    let tumour = &files.sheets.truth.tumours[0];
    let apart_mm = |lesion: &&Lesion| {
        let squares = (0..3).map(|n| lesion.centre_um[n] as f64 / 1e3 - tumour.centre_mm[n]);
        squares.map(|mm| mm * mm).sum::<f64>().sqrt()
    };
    let lesions = draft.lesions.as_ref().unwrap().list.iter();
    let nearest = lesions.min_by(|a, b| apart_mm(a).total_cmp(&apart_mm(b))).unwrap();
    assert!(apart_mm(&nearest) < 15.0, "the tumour is {:.1} mm away", apart_mm(&nearest));
    let off_mm = nearest.diameter_um as f64 / 1e3 - tumour.diameter_mm;
    assert!(off_mm.abs() < 0.4 * tumour.diameter_mm, "its diameter is off by {off_mm:.1} mm");

    let page = String::from_utf8(case.made(Artefact::Report)).unwrap();
    let score = draft.pmn.as_ref().unwrap().score_e4;
    assert!(page.contains(&format!("0.{score:04}")), "the page shows the signed score");
    assert!(page.contains("phantom-&lt;1&gt;") && page.contains("PLACEHOLDER"));
    assert!(case.made(Artefact::Overview).starts_with(b"\x89PNG"));
}

#[test]
fn the_mask_lies_where_the_scan_lies_and_covers_the_liver() {
    let mut spec = Preset::Small.spec(1);
    spec.oblique = [0.03, -0.02, 0.04];
    let files = study(&PhantomSpec { with_arterial: false, ..spec }).unwrap();
    let case = Case::new(&files);
    let (report, draft) = case.run();
    assert_eq!(draft.status, Status::Abstained);
    assert_eq!(report.artefacts, [Artefact::Mask, Artefact::Overview, Artefact::Report]);
    let mask = unpacked(&case.made(Artefact::Mask));
    let truth = unpacked(&files.sheets.truth_labels_nii_gz);
    let portal = unpacked(&files.images.portal_nii_gz);
    // dim, pixdim, and everything from qform_code to srow_z.
    for (start, end) in [(40, 56), (76, 108), (252, 328)] {
        assert_eq!(mask[start..end], portal[start..end], "header bytes {start}..{end}");
    }
    let liver = dice(&mask[352..], &truth[352..], |label| label > 0);
    let tumour = dice(&mask[352..], &truth[352..], |label| label == 2);
    println!("Dice: liver with tumour {liver:.3}, tumour {tumour:.3}");
    assert!(liver > 0.8, "Dice of liver with tumour {liver:.3}");
    assert!(tumour > 0.3, "Dice of tumour {tumour:.3}");
}

#[test]
fn one_phase_and_a_bad_clinical_file_still_give_a_mask() {
    let files = study(&PhantomSpec { with_arterial: false, ..Preset::Small.spec(2) }).unwrap();
    let mut case = Case::new(&files);
    case.clinical = Some(br#"{"schema": 1, "age_yers": 60}"#.to_vec());
    let (report, draft) = case.run();
    assert_eq!(report.artefacts, [Artefact::Mask, Artefact::Overview, Artefact::Report]);
    assert_eq!((draft.status, draft.pmn.is_none()), (Status::Abstained, true));
    let codes: Vec<ReasonCode> = draft.reasons.iter().map(|reason| reason.code).collect();
    assert!(codes.starts_with(&[ReasonCode::ArterialMissing, ReasonCode::ClinicalInvalid]));
    let page = String::from_utf8(case.made(Artefact::Report)).unwrap();
    assert!(page.contains("age_yers"), "the local page names the field");
    assert!(page.contains(ReasonCode::ArterialMissing.sentence()));
}

#[test]
fn a_damaged_file_is_unreadable_and_still_reported() {
    let mut files = small(3);
    let middle = files.images.portal_nii_gz.len() / 2;
    files.images.portal_nii_gz[middle] ^= 0x10;
    let case = Case::new(&files);
    let (report, draft) = case.run();
    assert_eq!(report.artefacts, [Artefact::Report]);
    assert_eq!((draft.status, draft.engine), (Status::Unreadable, None));
    assert!(matches!(draft.reasons[0].code, ReasonCode::Corrupt | ReasonCode::Truncated));
}

#[test]
fn too_little_memory_is_told_whether_predicted_or_met() {
    let case = Case::new(&small(1));
    for mib in [80, 104] {
        let mut small = setup();
        small.limits.memory = Bytes::mib(mib);
        let error = case.run_with(small, case.inputs()).unwrap_err();
        assert!(matches!(error, WorkerError::OutOfMemory(Bytes(b)) if b == mib << 20), "{error}");
    }
}

#[test]
fn a_worker_that_is_killed_has_crashed() {
    let case = Case::new(&small(1));
    // No other test's worker has this limit, so it is found by it.
    let mut marked = setup();
    marked.limits.memory = Bytes::mib(3001);
    let job = Job { setup: marked, inputs: case.inputs(), out: &case.out() };
    let mut killed = false;
    let ended = run(job, &AtomicBool::new(false), &mut |_, _| {
        if !std::mem::replace(&mut killed, true) {
            kill_process(worker_with("--memory-mib\x003001"), Signal::KILL).unwrap();
        }
    });
    let Err(WorkerError::Crashed { status, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(status.signal(), Some(9));
}

/// The child of this process whose arguments hold `mark`.
fn worker_with(mark: &str) -> Pid {
    let holds = |path: &Path| {
        let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(mark)
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found = entries.into_iter().find(|path| holds(path)).unwrap();
    let number = found.file_name().unwrap().to_str().unwrap().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

#[test]
fn a_file_that_changed_after_the_claim_stops_the_study() {
    let mut case = Case::new(&small(1));
    case.images[1].sha256[0] ^= 1;
    let error = case.run_with(setup(), case.inputs()).unwrap_err();
    assert!(matches!(error, WorkerError::InputChanged { name } if name == "portal"));
    case.images[1].length += 1;
    let error = case.run_with(setup(), case.inputs()).unwrap_err();
    assert!(matches!(error, WorkerError::InputChanged { name } if name == "portal"));
}

#[test]
fn a_bad_order_is_our_own_fault_and_a_stop_is_nobodys() {
    let case = Case::new(&small(1));
    let order = || vec![Input::Bytes { name: "order".to_owned(), bytes: b"{}".to_vec() }];
    let error = case.run_with(setup(), order()).unwrap_err();
    assert!(matches!(error, WorkerError::Failed { class: FailureClass::Internal, .. }), "{error}");
    // Where the kernel gives all of the sandbox, requiring it changes nothing.
    let required = Setup { sandbox: SandboxRule::Required, ..setup() };
    match case.run_with(required, order()).unwrap_err() {
        WorkerError::SandboxIncomplete(posture) => assert!(!posture.is_complete()),
        WorkerError::Failed { class: FailureClass::Internal, .. } => {}
        other => panic!("{other}"),
    }
    let job = Job { setup: setup(), inputs: order(), out: &case.out() };
    let stopped = run(job, &AtomicBool::new(true), &mut |_, _| ());
    assert!(matches!(stopped, Err(WorkerError::Cancelled)));
}

#[test]
fn the_self_test_passes_here_and_names_a_package_that_does_not() {
    let never = AtomicBool::new(false);
    let tested = run_self_test(setup(), self_test_inputs(packages()), &never).unwrap();
    let names: Vec<&str> = tested.report.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["liver-localiser", "liver-tumour", "pmn"]);
    assert!(tested.report.backend.starts_with("hcc-edge "));
    let mut damaged = packages();
    damaged[1].files.get_mut("golden/output.f32").unwrap().fill(0);
    let error = run_self_test(setup(), self_test_inputs(damaged), &never).unwrap_err();
    let WorkerError::Failed { class: FailureClass::ModelRefused, message } = error else {
        panic!("{error}")
    };
    assert!(message.contains("self-test of package liver-tumour"), "{message}");
}
