//! The daemon's side of a worker: start it, feed it, bound it, and tell how it ended.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::collect::{Answer, Collected, Collector, frames_of};
use super::failure::FailureClass;
use super::feed::feed;
use super::job::{Input, Job, Limits, SelfTest, Setup, WorkerError, WorkerReport};
use super::self_test::SelfTestReport;
use crate::units::Bytes;

/// The longest end of stderr that is kept for the log, in bytes.
const STDERR_KEPT: u64 = 4096;

/// Blocks from this size on are given back to the system when they are freed, where glibc allocates.
/// By itself it keeps ever larger ones, in a heap per thread, which adds up to the worker's peak.
const MAPPED_FROM_BYTES: &str = "8388608";

/// Analyses one study. `progress` gets a stage number and a percentage; `cancel` set to true stops
/// the worker.
pub fn run(
    job: Job<'_>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(u8, u8),
) -> Result<WorkerReport, WorkerError> {
    let Job { setup, inputs, out } = job;
    let (collected, peak_rss) = supervise(setup, inputs, Some(out), cancel, progress)?;
    let Collected { answer, artefacts, posture, subject } = collected;
    match answer {
        Answer::Draft(draft) => Ok(WorkerReport { draft, artefacts, peak_rss, posture, subject }),
        Answer::Passed(_) => Err(WorkerError::Protocol("a self-test for a study".to_owned())),
    }
}

/// Runs every network package on its golden input. A package that answers otherwise than where it
/// was made is [`WorkerError::Failed`] of the class `ModelRefused`.
pub fn run_self_test(
    setup: Setup<'_>,
    inputs: Vec<Input>,
    cancel: &AtomicBool,
) -> Result<SelfTest, WorkerError> {
    let (collected, peak_rss) = supervise(setup, inputs, None, cancel, &mut |_, _| ())?;
    let report = match &collected.answer {
        Answer::Passed(body) => SelfTestReport::decode(body),
        Answer::Draft(_) => None,
    };
    let report = report.ok_or_else(|| WorkerError::Protocol("no report of a test".to_owned()))?;
    Ok(SelfTest { report, peak_rss, posture: collected.posture })
}

/// Runs one worker to its end, whatever it does.
fn supervise(
    setup: Setup<'_>,
    inputs: Vec<Input>,
    out: Option<&Path>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(u8, u8),
) -> Result<(Collected, Option<Bytes>), WorkerError> {
    let mut child = spawn(setup.program, &setup.limits)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("the worker's pipes are missing").into());
    };
    let pid = child.id();
    let (signal, feeder_waits) = mpsc::channel::<()>();
    let feeder = thread::spawn(move || feed(stdin, inputs, &feeder_waits));
    let errors = thread::spawn(move || read_tail(stderr));
    let frames = frames_of(stdout);
    let collected = Collector::new(out, setup).collect(&frames, cancel, &signal, progress);
    let peak_rss = peak_rss(pid);
    drop(signal);
    let ended = end(&mut child, collected.is_ok());
    // Unblocks the thread that reads frames, should it hold one that nobody wants any more.
    drop(frames);
    let fed = feeder.join().unwrap_or_else(|_| Err(io::Error::other("feeding panicked").into()));
    let stderr = errors.join().unwrap_or_default();
    match collected {
        Ok(collected) => Ok((collected, peak_rss)),
        Err(error) => Err(explain(error, fed, (ended?, stderr), &setup.limits)),
    }
}

fn spawn(program: &Path, limits: &Limits) -> io::Result<Child> {
    Command::new(program)
        .arg("worker")
        .args(["--memory-mib", &(limits.memory.0 >> 20).to_string()])
        .args(["--cpu-seconds", &cpu_seconds(limits).to_string()])
        .args(["--threads", &limits.threads.max(1).to_string()])
        .args(limits.isa.iter().flat_map(|isa| ["--isa", isa]))
        // A Ctrl-C or a stop of the service is for the daemon, which then ends the worker itself.
        .process_group(0)
        .env_clear()
        .env("MALLOC_MMAP_THRESHOLD_", MAPPED_FROM_BYTES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn cpu_seconds(limits: &Limits) -> u64 {
    (limits.time.as_secs() + 1) * u64::from(limits.threads.max(1))
}

/// `VmHWM` of a process that still runs.
fn peak_rss(pid: u32) -> Option<Bytes> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(Bytes(kib << 10))
}

/// Waits for a worker that ended by itself; kills one that did not do its job, or does not go.
fn end(child: &mut Child, finished: bool) -> io::Result<ExitStatus> {
    // A worker that died writes its last words before its pipe closes: it gets a moment, too.
    let most = Duration::from_millis(if finished { 2500 } else { 50 });
    let asked = Instant::now();
    // Most are gone at once, and a study waits for it: looks grow rarer.
    let mut pause = Duration::from_millis(1);
    while asked.elapsed() < most {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(10));
    }
    let _ = child.kill();
    child.wait()
}

fn read_tail(from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut from = from;
    let mut chunk = [0u8; 4096];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..n]);
        let excess = kept.len().saturating_sub(STDERR_KEPT as usize);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// The most telling of the failures seen at once.
fn explain(
    collected: WorkerError,
    fed: Result<(), WorkerError>,
    (status, stderr): (ExitStatus, String),
    limits: &Limits,
) -> WorkerError {
    match fed {
        Err(changed @ WorkerError::InputChanged { .. }) => return changed,
        // A pipe that broke is the worker's end, which is told below.
        Err(WorkerError::Io(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return error.into();
        }
        Ok(()) | Err(_) => {}
    }
    match collected {
        // It could not even say so: the allocator stopped it.
        WorkerError::Protocol(_) | WorkerError::Io(_)
            if stderr.contains("memory allocation of") =>
        {
            WorkerError::OutOfMemory(limits.memory)
        }
        WorkerError::Failed { class: FailureClass::Memory, message } => {
            log::warn!("worker: {message}");
            WorkerError::OutOfMemory(limits.memory)
        }
        WorkerError::Protocol(_) | WorkerError::Io(_) if status.signal() == Some(libc::SIGXCPU) => {
            WorkerError::TimedOut(limits.time)
        }
        WorkerError::Protocol(_) | WorkerError::Io(_) if !status.success() => {
            WorkerError::Crashed { status, stderr }
        }
        other => other,
    }
}
