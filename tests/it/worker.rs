//! The worker as the daemon runs it: the real binary, its real sandbox, the packages that ship.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flate2::read::GzDecoder;
use hcc_edge::config::SandboxRule;
use hcc_edge::daemon::inside::order::{ImageFile, Phase, WorkOrder, inputs, self_test_inputs};
use hcc_edge::host::packages::VerifiedPackage;
use hcc_edge::host::worker::{
    Artefact, FailureClass, Input, Job, Limits, Setup, WorkerError, WorkerReport, run,
    run_self_test,
};
use hcc_edge::phantom::spec::Preset;
use hcc_edge::phantom::study::{StudyFiles, study};
use hcc_edge::seal::cose::sha256;
use hcc_edge::seal::wire::{
    Draft, IntendedUse, ReasonCode, Slug, StageCode, Status, Task, Text,
};
use hcc_edge::units::Bytes;

/// In the order of use.
const PACKAGES: [(&str, &str, Task); 5] = [
    ("liver-localiser", "0.1.0", Task::Localisation),
    ("liver-tumour", "0.2.0", Task::Segmentation),
    ("pmn", "0.1.0", Task::Classification),
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
    }
}

fn setup() -> Setup<'static> {
    Setup {
        program: Path::new(env!("CARGO_BIN_EXE_hcc-edge")),
        limits: Limits {
            memory: Bytes::mib(3072),
            time: Duration::from_secs(300),
            threads: 2,
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
            clinical: Some(files.clinical_json.clone()),
        };
        fs::create_dir(case.out()).unwrap();
        if let Some(arterial) = &files.arterial_nii_gz {
            case.add(Phase::Arterial, arterial);
        }
        case.add(Phase::Portal, &files.portal_nii_gz);
        case
    }

    fn add(&mut self, phase: Phase, bytes: &[u8]) {
        let path = self.folder.path().join(format!("{phase:?}.nii.gz"));
        fs::write(&path, bytes).unwrap();
        let (sha256, length) = (sha256(bytes).0, bytes.len() as u64);
        self.images.push(ImageFile { phase, path, sha256, length });
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

#[test]
fn a_two_phase_study_gives_a_draft_and_every_artefact() {
    let files = small(1);
    let case = Case::new(&files);
    let mut seen = Vec::new();
    let job = Job { setup: setup(), inputs: case.inputs(), out: &case.out() };
    let report = run(job, &AtomicBool::new(false), &mut |stage, percent| {
        seen.push((stage, percent));
    });
    let report = report.unwrap();
    let draft = Draft::decode(&report.draft).unwrap();
    let times: Vec<_> = draft.timings_ms.iter().map(|t| (t.stage, t.elapsed_ms)).collect();
    println!("{:?}\n{:?}\n{times:?}\npeak {:?}", report.posture, draft.status, report.peak_rss);
    println!("{:?}\n{:?}", draft.lesions, files.truth);

    let mask = unpacked(&case.made(Artefact::Mask));
    let truth = unpacked(&files.truth_labels_nii_gz);
    let portal = unpacked(&files.portal_nii_gz);
    for (start, end) in [(40, 56), (76, 108), (252, 328)] {
        assert_eq!(mask[start..end], portal[start..end], "header bytes {start}..{end}");
    }
    let liver = dice(&mask[352..], &truth[352..], |label| label > 0);
    let tumour = dice(&mask[352..], &truth[352..], |label| label == 2);
    println!("Dice: liver with tumour {liver:.3}, tumour {tumour:.3}");
    fs::create_dir_all("/tmp/inside-out").unwrap();
    for artefact in &report.artefacts {
        fs::write(Path::new("/tmp/inside-out").join(artefact.file_name()), case.made(*artefact)).unwrap();
    }
    println!("{seen:?}");
}
