//! Carries one claimed study from the claim to the release: asks [`Study`] what to do, does it, and
//! reports back. One study at a time; the journal first, always.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::device::{Device, SOFTWARE};
use super::inside::order::{self, ImageFile, ImageKind, WorkOrder};
use super::notice::{Notice, Tell, ThreadError, job};
use super::packages::PackageSet;
use super::pulse::{self, Pulse, Task};
use super::release::{self, Run};
use super::sealing::{self, Identity};
use super::service::{ServiceError, self_test};
use crate::analysis::ANALYSIS_VERSION;
use crate::clinical::data::{ClinicalData, Subject};
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::fail_point::reach;
use crate::host::files::is_sync_failure;
use crate::host::inbox::{self, Claim, StudyFile};
use crate::host::journal::{JobId, Journal, Record, SealError};
use crate::host::mqtt::messages::JobPhase;
use crate::host::mqtt::topic::AlarmCode;
use crate::host::worker::{self, Artefact, FailureClass, Input, Job, WorkerError, WorkerReport};
use crate::seal::digest::{ResultIdentity, result_id};
use crate::seal::verify::decode_unverified;
use crate::seal::wire::{
    CompletionRule, Digest, Draft, InputRole, ModelUse, Reason, ReasonCode, ResultMessage,
    StageCode, Status,
};
use crate::study::files::NamedSeries;
use crate::study::life::{Command, Event, Failure, Study, Verdict};
use crate::units::Millis;

/// How often a wait looks whether the daemon is being stopped.
const TICK: Duration = Duration::from_millis(100);

/// How long after its worker was told to end the daemon may take to hear of its own stop.
const STOP_MOMENT: Duration = Duration::from_secs(1);

/// Pause before a folder that could not be moved out of `work/` is tried again.
const RELEASE_PAUSE: Duration = Duration::from_secs(10);

/// How a study's way through the lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has a result and has left `work/`.
    Released {
        /// Number of the result.
        seq: u64,
    },
    /// The daemon is being stopped; the study goes on at the next start.
    Stopped,
}

/// Which packages may compute without a self-test.
#[derive(Debug)]
pub enum Tested {
    /// Those with these manifests, in the order of use.
    Set(Mutex<Vec<Digest>>),
    /// All that are verified: one study on the command line.
    Any,
}

/// What every study needs to get through.
pub struct Lane {
    /// The box.
    pub device: Arc<Device>,
    /// The truth.
    pub journal: Arc<Journal>,
    /// Who hears of progress.
    pub tell: Tell,
    /// True when the daemon is being stopped.
    pub stop: Arc<AtomicBool>,
    /// Where the thread promises to come round.
    pub pulse: Arc<Pulse>,
    /// The packages that passed their self-test.
    pub tested: Tested,
}

impl Lane {
    /// Carries one study as far as it gets.
    pub fn carry(&self, job: JobId) -> Result<Ended, ThreadError> {
        let known = self.journal.ledger().open().get(&job).copied();
        let Some(known) = known else {
            log::warn!("job {job} is not open in the journal and is left alone");
            return Ok(Ended::Stopped);
        };
        let most = self.device.config.limits.attempts;
        let mut study = Study::new(known.attempts, known.seq, most);
        let mut case = Case::open(self, job, known.arrived_ms);
        let clock = Monotonic::start();
        let mut next = study.step(Event::Begin, clock.now());
        let mut seq = known.seq.unwrap_or_default();
        while let Some(command) = next {
            self.pulse.promise(Task::Lane, pulse::STEP);
            let Some(event) = case.carry_out(command, clock)? else { return Ok(Ended::Stopped) };
            if let Event::Sealed { seq: sealed } = event {
                seq = sealed;
            }
            next = study.step(event, clock.now());
        }
        Ok(Ended::Released { seq })
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The packages in use now; what is not what passed the self-test has to pass it first.
    fn packages(&self) -> Result<PackageSet, ServiceError> {
        let packages = PackageSet::load(&self.device)?;
        if let Tested::Set(tested) = &self.tested {
            let mut tested = tested.lock().unwrap_or_else(PoisonError::into_inner);
            if *tested != packages.digests() {
                log::info!("other packages are in use than before");
                self_test(&self.device, packages.clone(), &self.stop)?;
                *tested = packages.digests();
            }
        }
        Ok(packages)
    }

    /// Sleeps; false when the daemon is being stopped.
    fn pause(&self, how_long: Duration) -> bool {
        let mut left = how_long;
        while !self.stopping() && !left.is_zero() {
            self.pulse.promise(Task::Lane, pulse::WAIT);
            let step = left.min(TICK);
            thread::sleep(step);
            left -= step;
        }
        !self.stopping()
    }
}

/// Milliseconds since a study came to the lane: pauses must not depend on a clock that may be set.
#[derive(Debug, Clone, Copy)]
struct Monotonic(Instant);

impl Monotonic {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> Millis {
        Millis(self.0.elapsed().as_millis() as u64)
    }
}

/// One study on its way.
struct Case<'a> {
    lane: &'a Lane,
    job: JobId,
    claim: Claim,
    folder: PathBuf,
    files: Vec<StudyFile>,
    series: NamedSeries,
    clinical: Option<Vec<u8>>,
    identity: Identity,
    refusal: Option<Reason>,
    packages: Option<PackageSet>,
    digests: Vec<Digest>,
    draft: Option<Draft>,
    run: Run,
}

impl<'a> Case<'a> {
    fn open(lane: &'a Lane, job: JobId, arrived_ms: u64) -> Self {
        let state = &lane.device.state;
        let claim = Claim::load(state, job).unwrap_or_else(|error| {
            log::warn!("job {job}: {}", one_line(&error));
            let (study, rule) = (String::new(), CompletionRule::Deadline);
            Claim { job, study, rule, arrived_ms }
        });
        Self {
            lane,
            job,
            folder: state.work().join(job.to_string()),
            run: Run { study: claim.study.clone(), ..Run::default() },
            claim,
            files: Vec::new(),
            series: NamedSeries::default(),
            clinical: None,
            identity: Identity::unknown(arrived_ms),
            refusal: None,
            packages: None,
            digests: Vec::new(),
            draft: None,
        }
    }

    /// `None` when the daemon is being stopped.
    fn carry_out(
        &mut self,
        command: Command,
        clock: Monotonic,
    ) -> Result<Option<Event>, ThreadError> {
        match command {
            Command::Inspect => self.inspect().map(Some),
            Command::Analyse { attempt } => self.analyse(attempt),
            Command::Wait { until } => {
                let left = until.0.saturating_sub(clock.now().0);
                Ok(self.lane.pause(Duration::from_millis(left)).then_some(Event::Due))
            }
            Command::Seal(verdict) => self.seal(verdict).map(Some),
            Command::Repeat { seq } => {
                let record = Record::Duplicate { job: self.job, seq };
                self.lane.journal.append(vec![record])?;
                (self.lane.tell)(Notice::Again(seq));
                Ok(Some(Event::Sealed { seq }))
            }
            Command::Release { seq } => self.release(seq),
        }
    }

    fn inspect(&mut self) -> Result<Event, ThreadError> {
        let device = &self.lane.device;
        let input = self.folder.join(inbox::INPUT);
        let inspected = inbox::inspect(&input, &self.claim, &device.config.limits);
        let (inputs, study_digest) = match &inspected {
            Ok(found) => (found.inputs.clone(), found.study_digest),
            Err(refusal) => (refusal.inputs.clone(), refusal.study_digest),
        };
        let packages = match self.lane.packages() {
            Ok(packages) => {
                (self.lane.tell)(Notice::Alarm(AlarmCode::Model, None));
                Some(packages)
            }
            Err(error) => {
                self.model_alarm(&one_line(&error));
                None
            }
        };
        self.digests = packages.as_ref().map(PackageSet::digests).unwrap_or_default();
        let result_id = result_id(&ResultIdentity {
            device: &device.address.device,
            study_digest,
            packages: &self.digests,
            analysis_version: ANALYSIS_VERSION,
            settings_digest: device.settings_digest,
        })?;
        let clinical = inspected.as_ref().ok().and_then(|found| found.clinical.as_deref());
        let subject = clinical.and_then(|json| self.subject(json));
        let arrived_ms = self.claim.arrived_ms;
        self.identity = Identity { result_id, inputs, study_digest, subject, arrived_ms };
        self.packages = packages;
        let refusal = match inspected {
            Err(refusal) => refusal,
            Ok(found) => {
                self.files = found.files;
                self.series = found.series;
                self.clinical = found.clinical;
                let Some(seq) = self.known(&result_id.0) else { return Ok(Event::Inspected) };
                if let Some(said) = self.objects_not_made(seq) {
                    log::warn!("job {}: {said}", self.job);
                }
                return Ok(Event::Known { seq });
            }
        };
        log::warn!("job {}: {}", self.job, refusal.reason.sentence());
        self.refusal = Some(Reason::with_detail(refusal.reason, &refusal.detail));
        Ok(Event::Refused)
    }

    /// The earlier result of the same study; a failure is none, because what made it fail (a limit,
    /// a full disk) may be mended by now.
    fn known(&self, result_id: &[u8; 16]) -> Option<u64> {
        let seq = self.lane.journal.ledger().seq_of(result_id)?;
        let failed = self.lane.journal.ledger().result(seq).is_none_or(|entry| entry.failed);
        (!failed).then_some(seq)
    }

    /// What to say where DICOM objects were asked for and the result is there already: nothing is
    /// analysed, so none are made now.
    fn objects_not_made(&self, seq: u64) -> Option<String> {
        let device = &self.lane.device;
        let dicom = self.files.iter().any(|file| file.role == InputRole::Dicom);
        if !device.config.dicom.objects || !dicom {
            return None;
        }
        let earlier = self.lane.journal.ledger().result(seq)?.job;
        let capture = Artefact::Capture.file_name();
        Some(if release::place(&device.state, earlier, false).join(capture).exists() {
            format!("no DICOM objects are made again; those of result {seq} lie in done/{earlier}")
        } else {
            format!(
                "no DICOM objects are made: result {seq} of the same study was made without them \
                 (job {earlier}), and it is not analysed again. `hcc-edge process` with \
                 --dicom-objects and --models makes some: of an analysis of its own, on a throw-away \
                 device named demo/workstation with the settings that come with the program"
            )
        })
    }

    fn subject(&self, json: &[u8]) -> Option<Digest> {
        let data = ClinicalData::parse(json).ok()?;
        data.subject.map(|subject| self.lane.device.pseudonym(subject.reveal()))
    }

    fn analyse(&mut self, attempt: u32) -> Result<Option<Event>, ThreadError> {
        let (lane, job_id) = (self.lane, self.job);
        lane.journal.append(vec![Record::Try { job: job_id, attempt }])?;
        self.run.attempts = attempt;
        let packages = match self.packages.take().map_or_else(|| lane.packages(), Ok) {
            Ok(packages) => packages,
            Err(error) => {
                self.model_alarm(&one_line(&error));
                return Ok(Some(Event::Failed(Failure::ModelRefused)));
            }
        };
        // An update since the inspection: another set of packages is another result.
        if packages.digests() != self.digests {
            return Ok(Some(Event::Failed(Failure::InputChanged)));
        }
        let in_use = packages.in_use();
        let started = Instant::now();
        let worker_time = lane.device.worker_setup().limits.time;
        lane.pulse.promise(Task::Lane, worker_time.saturating_add(pulse::STEP));
        let ended = release::fresh_out(&self.folder).map_err(WorkerError::Io).and_then(|out| {
            let (setup, inputs) = (lane.device.worker_setup(), self.inputs(packages));
            worker::run(Job { setup, inputs, out: &out }, &lane.stop, &mut |stage, percent| {
                (lane.tell)(job(job_id, running(stage, percent)));
            })
        });
        self.run.worker_ms = started.elapsed().as_millis() as u64;
        match ended {
            Ok(report) => {
                reach("lane.drafted");
                Ok(Some(self.drafted(&report, &in_use)))
            }
            Err(error) if self.ended_with_the_daemon(&error) => {
                lane.journal.append(vec![Record::Interrupted { job: job_id }])?;
                Ok(None)
            }
            Err(WorkerError::Io(error)) if is_sync_failure(&error) => {
                Err(ThreadError::Artefact(error))
            }
            Err(error) => {
                log::error!("job {job_id}, attempt {attempt}: {}", one_line(&error));
                Ok(Some(Event::Failed(failure(&error))))
            }
        }
    }

    /// Whether the worker ended because the daemon is being stopped. A service manager may signal
    /// both at once, and the worker is quicker.
    fn ended_with_the_daemon(&self, error: &WorkerError) -> bool {
        let signalled = match error {
            WorkerError::Crashed { status, .. } => {
                matches!(status.signal(), Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP))
            }
            _ => false,
        };
        self.lane.stopping() || (signalled && !self.lane.pause(STOP_MOMENT))
    }

    /// A draft that speaks of other packages than the worker was given is not believed.
    fn drafted(&mut self, report: &WorkerReport, in_use: &[ModelUse]) -> Event {
        self.run.peak_rss = report.peak_rss;
        // What the site supplied comes before what the images say.
        let pseudonym = |subject: &Subject| self.lane.device.pseudonym(subject.reveal());
        self.identity.subject = self.identity.subject.or(report.subject.as_ref().map(pseudonym));
        match Draft::decode(&report.draft) {
            Ok(draft) if *draft.models != *in_use => {
                log::error!("job {}: the draft names packages it was not given", self.job);
                Event::Failed(Failure::Crashed)
            }
            Ok(draft) => {
                self.draft = Some(draft);
                Event::Drafted
            }
            Err(error) => {
                log::error!("job {}: {}", self.job, one_line(&error));
                Event::Failed(Failure::Crashed)
            }
        }
    }
}

impl Case<'_> {
    /// What the worker gets: its order, the packages, the study's files.
    fn inputs(&self, packages: PackageSet) -> Vec<Input> {
        let device = &self.lane.device;
        let order = WorkOrder {
            job: self.job.to_string(),
            study: self.run.study.clone(),
            site: device.address.site.to_string(),
            device: device.address.device.to_string(),
            result_id: self.identity.result_id.to_string(),
            software: SOFTWARE.to_owned(),
            started_ms: clock::now_ms(),
            max_file_bytes: device.config.limits.max_image.0,
            max_voxels: device.config.limits.max_voxels,
            dicom_objects: device.config.dicom.objects,
            arterial_series: self.series.arterial.clone().map(Into::into),
            portal_series: self.series.portal.clone().map(Into::into),
        };
        let images = self.files.iter().filter_map(image).collect();
        order::inputs(&order, packages.into_inner(), images, self.clinical.clone())
    }

    fn seal(&mut self, verdict: Verdict) -> Result<Event, ThreadError> {
        let draft = match verdict {
            Verdict::Draft => self.draft.take(),
            Verdict::Refused => {
                let reason = self.refusal.take();
                reason.map(|reason| Draft::refused(Status::Failed, vec![reason])).transpose()?
            }
            Verdict::Failed(failure) => Some(failed(code(failure))?),
            Verdict::Poison => Some(failed(ReasonCode::Poison)?),
        };
        let draft = draft.map_or_else(|| failed(ReasonCode::Internal), Ok)?;
        let lane = self.lane;
        let seq = sealing::seal(&lane.device, &lane.journal, self.job, &self.identity, draft)?;
        (lane.tell)(Notice::Outbox);
        Ok(Event::Sealed { seq })
    }

    /// Tried until it works: the result is safe already, only its folder is not where it belongs.
    fn release(&self, seq: u64) -> Result<Option<Event>, ThreadError> {
        let lane = self.lane;
        let cose = lane.journal.message(seq).map_err(|e| SealError::Journal(Arc::new(e)))?;
        let cose = cose.ok_or(ThreadError::Missing(seq))?;
        let mut stuck = false;
        while let Err(error) = release::release(&lane.device.state, self.job, &cose, &self.run) {
            if error.is_sync_failure() {
                return Err(error.into());
            }
            log::error!("job {}: {}", self.job, one_line(&error));
            let detail = json!({"reason": "cannot_write_results"});
            (lane.tell)(Notice::Alarm(AlarmCode::Disk, Some(detail)));
            stuck = true;
            if !lane.pause(RELEASE_PAUSE) {
                return Ok(None);
            }
        }
        if stuck {
            (lane.tell)(Notice::Alarm(AlarmCode::Disk, None));
        }
        lane.journal.append(vec![Record::Released { job: self.job }])?;
        log::info!("job {}: result {seq}, {}", self.job, in_words(&cose));
        (lane.tell)(job(self.job, ended(&cose, seq)));
        Ok(Some(Event::Moved))
    }

    fn model_alarm(&self, why: &str) {
        log::error!("job {}: {why}", self.job);
        (self.lane.tell)(Notice::Alarm(AlarmCode::Model, Some(json!({"reason": why}))));
    }
}

fn failed(code: ReasonCode) -> Result<Draft, ThreadError> {
    Ok(Draft::refused(Status::Failed, vec![Reason::bare(code)])?)
}

fn code(failure: Failure) -> ReasonCode {
    match failure {
        Failure::Crashed => ReasonCode::WorkerCrashed,
        Failure::InputChanged => ReasonCode::MarkerMismatch,
        Failure::TimedOut => ReasonCode::WorkerTimeout,
        Failure::OutOfMemory => ReasonCode::WorkerMemory,
        Failure::ModelRefused => ReasonCode::ModelRefused,
    }
}

fn failure(error: &WorkerError) -> Failure {
    match error {
        WorkerError::InputChanged { .. } => Failure::InputChanged,
        WorkerError::TimedOut(_) => Failure::TimedOut,
        WorkerError::OutOfMemory(_) | WorkerError::Failed { class: FailureClass::Memory, .. } => {
            Failure::OutOfMemory
        }
        WorkerError::Failed { class: FailureClass::ModelRefused, .. } => Failure::ModelRefused,
        WorkerError::Io(_)
        | WorkerError::SandboxIncomplete(_)
        | WorkerError::Crashed { .. }
        | WorkerError::Failed { class: FailureClass::Internal | FailureClass::Sandbox, .. }
        | WorkerError::Cancelled
        | WorkerError::Protocol(_) => Failure::Crashed,
    }
}

/// The files the worker reads as images.
fn image(file: &StudyFile) -> Option<ImageFile> {
    let kind = match file.role {
        InputRole::Portal => ImageKind::Portal,
        InputRole::Arterial => ImageKind::Arterial,
        InputRole::Dicom => ImageKind::Dicom,
        InputRole::Clinical | InputRole::Phases | InputRole::Other => return None,
    };
    let (path, sha256, length) = (file.path.clone(), file.sha256.0, file.length);
    Some(ImageFile { kind, path, sha256, length })
}

fn running(stage: u8, percent: u8) -> JobPhase {
    let name = StageCode::from_code(u64::from(stage)).map_or("unknown", StageCode::name);
    let mut stage = heapless::String::new();
    // Every stage's name is shorter than what fits.
    let _ = stage.push_str(name);
    JobPhase::Running { stage, percent }
}

/// Status and reasons, for the log.
fn in_words(cose: &[u8]) -> String {
    let Ok(result) = decode_unverified::<ResultMessage>(cose) else { return "unreadable".into() };
    let codes: Vec<&str> = result.reasons.iter().map(|reason| reason.code.name()).collect();
    let reasons = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
    format!("{}{reasons}", result.status.name())
}

/// How the control room hears that a study is through.
fn ended(cose: &[u8], seq: u64) -> JobPhase {
    let reason = decode_unverified::<ResultMessage>(cose)
        .ok()
        .filter(|result| result.status == Status::Failed)
        .and_then(|result| result.reasons.first().map(|reason| reason.code));
    let Some(reason) = reason else { return JobPhase::Done { seq } };
    let mut code = heapless::String::new();
    // Every reason's name is shorter than what fits.
    let _ = code.push_str(reason.name());
    JobPhase::Failed { code }
}
