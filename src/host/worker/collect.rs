//! Collects what a worker sends, under limits of time and size, and writes its artefacts.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::failure;
use super::frame::{Frame, FrameError, Kind, parse_begin, read_frame};
use super::job::{Artefact, Setup, WorkerError};
use super::sandbox::Posture;
use crate::clinical::data::Subject;
use crate::config::SandboxRule;
use crate::host::files;

/// Owner and group may read an artefact: DICOM objects carry the patient's identity.
const ARTEFACT_MODE: u32 = 0o640;

/// Frames as they come, from a thread of their own so that waiting can be bounded. The queue is
/// short: a worker that sends faster than the disk takes is held back.
pub(super) fn frames_of(from: impl Read + Send + 'static) -> Receiver<Result<Frame, FrameError>> {
    let (send, receive) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let next = match read_frame(&mut from) {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            let failed = next.is_err();
            if send.send(next).is_err() || failed {
                return;
            }
        }
    });
    receive
}

/// The worker's last word.
pub(super) enum Answer {
    /// An encoded draft.
    Draft(Vec<u8>),
    /// The report of a self-test that was passed.
    Passed(Vec<u8>),
}

/// Everything a worker sent.
pub(super) struct Collected {
    pub(super) answer: Answer,
    pub(super) artefacts: Vec<Artefact>,
    pub(super) posture: Posture,
    pub(super) subject: Option<Subject>,
}

/// What has come from the worker so far.
pub(super) struct Collector<'a> {
    /// Where artefacts go; `None` where none is expected.
    out: Option<&'a Path>,
    setup: Setup<'a>,
    left: u64,
    posture: Option<Posture>,
    open: Option<OpenArtefact>,
    artefacts: Vec<Artefact>,
    subject: Option<Subject>,
}

struct OpenArtefact {
    artefact: Artefact,
    file: File,
    left: u64,
}

impl<'a> Collector<'a> {
    pub(super) fn new(out: Option<&'a Path>, setup: Setup<'a>) -> Self {
        let left = setup.limits.artefact_bytes.0;
        let (artefacts, subject) = (Vec::new(), None);
        Self { out, setup, left, posture: None, open: None, artefacts, subject }
    }

    /// Collects to the end. `cleared` gets a message when the worker may be fed.
    pub(super) fn collect(
        mut self,
        frames: &Receiver<Result<Frame, FrameError>>,
        cancel: &AtomicBool,
        cleared: &Sender<()>,
        progress: &mut dyn FnMut(u8, u8),
    ) -> Result<Collected, WorkerError> {
        let tick = Duration::from_millis(100);
        let (start, most) = (Instant::now(), self.setup.limits.time);
        loop {
            if start.elapsed() > most {
                return Err(WorkerError::TimedOut(most));
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(WorkerError::Cancelled);
            }
            let frame = match frames.recv_timeout(tick) {
                Ok(frame) => frame?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(protocol("it gave no answer")),
            };
            let answer = match frame.kind {
                Kind::Failed => return Err(failed(&frame.body)),
                Kind::Sandbox => {
                    self.sandbox(&frame.body)?;
                    // A feeder that is gone has said why itself.
                    let _ = cleared.send(());
                    continue;
                }
                _ if self.posture.is_none() => return Err(protocol("no posture came first")),
                Kind::Draft => Answer::Draft(frame.body),
                Kind::Passed => Answer::Passed(frame.body),
                Kind::Begin => {
                    self.begin(&frame.body)?;
                    continue;
                }
                Kind::Chunk => {
                    self.chunk(&frame.body)?;
                    continue;
                }
                Kind::Subject => {
                    self.subject(&frame.body)?;
                    continue;
                }
                Kind::Progress => match frame.body[..] {
                    [stage, percent] => {
                        progress(stage, percent.min(100));
                        continue;
                    }
                    _ => return Err(protocol("a progress that is not two bytes")),
                },
                Kind::Go => return Err(protocol("a go frame")),
            };
            return self.finish(answer);
        }
    }

    fn finish(self, answer: Answer) -> Result<Collected, WorkerError> {
        let Self { artefacts, subject, .. } = self;
        match (self.posture, self.open) {
            (Some(posture), None) => Ok(Collected { answer, artefacts, posture, subject }),
            (None, _) => Err(protocol("no posture came first")),
            (_, Some(_)) => Err(protocol("an answer inside an artefact")),
        }
    }

    fn sandbox(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let posture = Posture::decode(body).ok_or_else(|| protocol("an unknown posture"))?;
        if self.posture.replace(posture).is_some() {
            return Err(protocol("a second posture"));
        }
        match self.setup.sandbox {
            SandboxRule::Required if !posture.is_complete() => {
                Err(WorkerError::SandboxIncomplete(posture))
            }
            SandboxRule::Required | SandboxRule::BestEffort => Ok(()),
        }
    }

    fn subject(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let subject = std::str::from_utf8(body).ok().and_then(Subject::new);
        let subject = subject.ok_or_else(|| protocol("a subject that is none"))?;
        if self.subject.replace(subject).is_some() {
            return Err(protocol("a second subject"));
        }
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let (length, name) = parse_begin(body)?;
        let artefact = Artefact::from_name(name).filter(|a| !self.artefacts.contains(a));
        let (Some(artefact), Some(out), None) = (artefact, self.out, &self.open) else {
            return Err(protocol("an artefact out of order"));
        };
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| protocol("artefacts larger than the limit `artefact_bytes`"))?;
        let mut options = File::options();
        options.write(true).create_new(true).mode(ARTEFACT_MODE);
        let file = options.open(out.join(artefact.file_name()))?;
        self.open = Some(OpenArtefact { artefact, file, left: length });
        self.close_if_complete()
    }

    fn chunk(&mut self, body: &[u8]) -> Result<(), WorkerError> {
        let open = self.open.as_mut();
        let open = open.filter(|o| o.left >= body.len() as u64);
        let open = open.ok_or_else(|| protocol("bytes beyond an artefact's length"))?;
        open.file.write_all(body)?;
        open.left -= body.len() as u64;
        self.close_if_complete()
    }

    fn close_if_complete(&mut self) -> Result<(), WorkerError> {
        if let Some(open) = self.open.take_if(|o| o.left == 0) {
            files::sync(&open.file)?;
            self.artefacts.push(open.artefact);
        }
        Ok(())
    }
}

fn failed(body: &[u8]) -> WorkerError {
    match failure::decode(body) {
        Some((class, message)) => WorkerError::Failed { class, message },
        None => protocol("a failure that says nothing"),
    }
}

fn protocol(what: &str) -> WorkerError {
    WorkerError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::frame::write_frame;
    use super::super::job::Limits;
    use super::super::sandbox::Landlock;
    use super::*;
    use crate::units::Bytes;

    const WHOLE: Posture = Posture {
        rlimits: true,
        no_new_privs: true,
        seccomp: true,
        landlock: Landlock::Full,
        landlock_abi: 4,
    };
    const PARTIAL: Posture = Posture { landlock: Landlock::Partial, landlock_abi: 1, ..WHOLE };

    fn setup(sandbox: SandboxRule) -> Setup<'static> {
        let limits = Limits {
            memory: Bytes::mib(64),
            time: Duration::from_secs(20),
            threads: 1,
            isa: None,
            artefact_bytes: Bytes(8),
        };
        Setup { program: Path::new("/nonexistent"), limits, sandbox }
    }

    fn begin(length: u64, name: &str) -> (Kind, Vec<u8>) {
        (Kind::Begin, [&length.to_le_bytes()[..], name.as_bytes()].concat())
    }

    /// What comes of these frames, and whether the feeder was let go.
    fn collect(
        out: Option<&Path>,
        rule: SandboxRule,
        frames: &[(Kind, Vec<u8>)],
    ) -> (Result<Collected, WorkerError>, bool) {
        let mut wire = Vec::new();
        for (kind, body) in frames {
            write_frame(&mut wire, *kind, body).unwrap();
        }
        let frames = frames_of(std::io::Cursor::new(wire));
        let (cleared, feeder) = mpsc::channel();
        let collector = Collector::new(out, setup(rule));
        let never = AtomicBool::new(false);
        let collected = collector.collect(&frames, &never, &cleared, &mut |_, _| ());
        (collected, feeder.try_recv().is_ok())
    }

    #[test]
    fn nothing_is_sent_into_a_sandbox_that_is_not_good_enough() {
        let draft = (Kind::Draft, vec![1]);
        for (rule, posture, good) in [
            (SandboxRule::Required, WHOLE, true),
            (SandboxRule::Required, PARTIAL, false),
            (SandboxRule::BestEffort, PARTIAL, true),
        ] {
            let frames = [(Kind::Sandbox, posture.encode().to_vec()), draft.clone()];
            let (collected, cleared) = collect(None, rule, &frames);
            assert_eq!((collected.is_ok(), cleared), (good, good), "{rule:?} {posture:?}");
            if let Err(error) = collected {
                assert!(matches!(error, WorkerError::SandboxIncomplete(found) if found == posture));
            }
        }
        let (collected, cleared) = collect(None, SandboxRule::BestEffort, &[draft]);
        assert!(collected.is_err() && !cleared, "a draft of a worker that said nothing of itself");
    }

    #[test]
    fn artefacts_are_limited_and_in_order() {
        let out = tempfile::tempdir().unwrap();
        let posture = || (Kind::Sandbox, WHOLE.encode().to_vec());
        let verdict = |more: &[(Kind, Vec<u8>)]| {
            let frames: Vec<_> = [posture()].into_iter().chain(more.to_vec()).collect();
            let _ = std::fs::remove_file(out.path().join("mask.nii.gz"));
            collect(Some(out.path()), SandboxRule::Required, &frames).0
        };
        let chunk = |bytes: usize| (Kind::Chunk, vec![7; bytes]);
        let draft = || (Kind::Draft, vec![1]);
        let subject = || (Kind::Subject, vec![b'a'; 64]);
        let whole =
            verdict(&[subject(), begin(8, "mask.nii.gz"), chunk(5), chunk(3), draft()]).unwrap();
        assert_eq!(whole.artefacts, [Artefact::Mask]);
        assert_eq!(whole.subject, Subject::new(&"a".repeat(64)));
        let path = out.path().join("mask.nii.gz");
        assert_eq!(std::fs::read(&path).unwrap(), [7; 8]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "nobody else reads it: {mode:o}");
        for (what, frames) in [
            ("a byte over the limit", vec![begin(9, "mask.nii.gz"), chunk(9), draft()]),
            ("a name of its own", vec![begin(1, "../mask.nii.gz"), chunk(1), draft()]),
            ("more than announced", vec![begin(1, "mask.nii.gz"), chunk(2), draft()]),
            ("less than announced", vec![begin(2, "mask.nii.gz"), chunk(1), draft()]),
            ("bytes of nothing", vec![chunk(1), draft()]),
            ("a second posture", vec![posture(), draft()]),
            ("a go", vec![(Kind::Go, vec![]), draft()]),
            ("nobody", vec![(Kind::Subject, vec![]), draft()]),
            ("bytes for a subject", vec![(Kind::Subject, vec![0xFF]), draft()]),
            ("a subject of 65 letters", vec![(Kind::Subject, vec![b'a'; 65]), draft()]),
            ("two subjects", vec![subject(), subject(), draft()]),
            ("a strange progress", vec![(Kind::Progress, vec![1]), draft()]),
            ("a strange failure", vec![(Kind::Failed, vec![99])]),
            ("no answer", vec![]),
        ] {
            let refused = verdict(&frames);
            assert!(matches!(refused, Err(WorkerError::Protocol(_))), "accepted: {what}");
        }
    }
}
