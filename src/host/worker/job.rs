//! What goes into a worker and what comes out: the order, its limits, the report, the errors.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use super::failure::FailureClass;
use super::frame::FrameError;
use super::sandbox::Posture;
use super::self_test::SelfTestReport;
use crate::clinical::data::Subject;
use crate::config::SandboxRule;
use crate::units::Bytes;

/// One study's work order.
pub struct Job<'a> {
    /// How the worker is started and bounded.
    pub setup: Setup<'a>,
    /// What the worker gets, in the order sent.
    pub inputs: Vec<Input>,
    /// Where its artefacts go; the folder exists and is empty.
    pub out: &'a Path,
}

/// How a worker is started and bounded, whatever it is to do.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The program to start, normally this very binary.
    pub program: &'a Path,
    /// What it may use.
    pub limits: Limits,
    /// Whether it gets anything before its whole sandbox stands.
    pub sandbox: SandboxRule,
}

/// A named content for the worker.
#[derive(Debug)]
pub enum Input {
    /// A file of the claimed study, whose bytes must still have the digest they were claimed with.
    File {
        /// Name the worker knows it by.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// SHA-256 at the time of the claim.
        sha256: [u8; 32],
        /// Length at the time of the claim.
        length: u64,
    },
    /// Bytes the daemon holds (settings, verified package files).
    Bytes {
        /// Name the worker knows it by.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
}

/// Bounds of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Address space (`RLIMIT_AS`).
    pub memory: Bytes,
    /// Wall time; the processor time limit is the same times the number of threads.
    pub time: Duration,
    /// Compute threads.
    pub threads: u32,
    /// Name of the int8 engine's instructions; `None` is the best there are.
    pub isa: Option<&'static str>,
    /// All artefacts together.
    pub artefact_bytes: Bytes,
}

/// What a worker may hand back, and the file it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artefact {
    /// Labels on the scan's own grid.
    Mask,
    /// The PMN's explanation on the scan's own grid.
    HeatMap,
    /// The overview picture.
    Overview,
    /// The report page.
    Report,
    /// The labels as a DICOM segmentation; it names the patient.
    Segmentation,
    /// The overview picture as a DICOM secondary capture; it names the patient.
    Capture,
    /// The measurements as a DICOM structured report; it names the patient.
    Measurements,
}

impl Artefact {
    /// Every artefact.
    pub const ALL: [Self; 7] = [
        Self::Mask,
        Self::HeatMap,
        Self::Overview,
        Self::Report,
        Self::Segmentation,
        Self::Capture,
        Self::Measurements,
    ];

    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mask => "mask.nii.gz",
            Self::HeatMap => "heatmap.nii.gz",
            Self::Overview => "overview.png",
            Self::Report => "report.html",
            Self::Segmentation => "segmentation.dcm",
            Self::Capture => "overview.dcm",
            Self::Measurements => "measurements.dcm",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.file_name() == name)
    }
}

/// What a worker that ended well left behind.
#[derive(Debug)]
pub struct WorkerReport {
    /// The encoded draft of the result.
    pub draft: Vec<u8>,
    /// The artefacts written below `out`.
    pub artefacts: Vec<Artefact>,
    /// Highest resident memory (`VmHWM`), where /proc tells.
    pub peak_rss: Option<Bytes>,
    /// The sandbox it worked in.
    pub posture: Posture,
    /// Whose images they are, as DICOM files say.
    pub subject: Option<Subject>,
}

/// Every network package answered as it did where it was made.
#[derive(Debug)]
pub struct SelfTest {
    /// What was run and how close it came.
    pub report: SelfTestReport,
    /// Highest resident memory (`VmHWM`), where /proc tells.
    pub peak_rss: Option<Bytes>,
    /// The sandbox it worked in.
    pub posture: Posture,
}

/// Why a worker gave no answer. The variant decides what becomes of the study.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// It could not be started or fed: the box's fault, worth another attempt.
    #[error("running the worker")]
    Io(#[from] io::Error),
    /// A file of the study is not what was claimed.
    #[error("`{name}` changed after the study was claimed")]
    InputChanged {
        /// The content's name.
        name: String,
    },
    /// The sandbox is required and this kernel gives only a part of it; nothing was sent.
    #[error(
        "the worker's sandbox is not complete ({}) and `sandbox.rule` requires it: use a kernel \
         with Landlock ABI 4 (Linux 6.7), or set `sandbox.rule = \"best_effort\"`", .0.summary()
    )]
    SandboxIncomplete(Posture),
    /// It ran longer than `worker_seconds`.
    #[error("the worker was stopped after {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It asked for more memory than `worker_memory_mib`.
    #[error("the worker ran out of its memory limit of {0}")]
    OutOfMemory(Bytes),
    /// It died: a signal or an exit status without an answer.
    #[error("the worker died with {status}: {stderr}")]
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// It reported that it cannot go on.
    #[error("the worker gave up ({class}): {message}")]
    Failed {
        /// Whose fault it is.
        class: FailureClass,
        /// The chain of causes in one line.
        message: String,
    },
    /// The daemon is being stopped.
    #[error("the worker was stopped together with the daemon")]
    Cancelled,
    /// It sent something that no worker of ours sends.
    #[error("the worker broke the protocol: {0}")]
    Protocol(String),
}

impl From<FrameError> for WorkerError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            other => Self::Protocol(other.to_string()),
        }
    }
}
