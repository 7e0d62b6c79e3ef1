//! Everything the worker sends, as frames; and the observer that tells how far it is.

use std::io::{self, Write};
use std::time::Instant;

use crate::analysis::Observer;
use crate::analysis::findings::Stage;
use crate::clinical::data::Subject;
use crate::daemon::draft::stage_code;
use crate::host::worker::failure::{self, FailureClass};
use crate::host::worker::frame::{Kind, write_content, write_frame};
use crate::host::worker::{Artefact, Posture};
use crate::units::Millis;

/// The worker's side of the pipe; every frame is flushed.
pub(super) struct Outlet<W: Write> {
    to: W,
}

impl<W: Write> Outlet<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to }
    }

    pub(super) fn posture(&mut self, posture: &Posture) -> io::Result<()> {
        self.frame(Kind::Sandbox, &posture.encode())
    }

    /// A file for the study's folder.
    pub(super) fn artefact(&mut self, artefact: Artefact, bytes: &[u8]) -> io::Result<()> {
        let name = artefact.file_name();
        write_content(&mut self.to, name, bytes.len() as u64, &mut &*bytes)?;
        self.to.flush()
    }

    /// Whose images they are.
    pub(super) fn subject(&mut self, subject: &Subject) -> io::Result<()> {
        self.frame(Kind::Subject, subject.reveal().as_bytes())
    }

    /// The encoded draft, the last word.
    pub(super) fn draft(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(Kind::Draft, bytes)
    }

    /// The report of a self-test that was passed, the last word.
    pub(super) fn passed(&mut self, report: &[u8]) -> io::Result<()> {
        self.frame(Kind::Passed, report)
    }

    /// Why there is no answer, the last word.
    pub(super) fn failed(&mut self, class: FailureClass, message: &str) -> io::Result<()> {
        self.frame(Kind::Failed, &failure::encode(class, message))
    }

    fn frame(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        write_frame(&mut self.to, kind, body)?;
        self.to.flush()
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.to
    }
}

/// Tells the daemon of every change, and the analysis what time it is.
pub(super) struct Watch<'a, W: Write> {
    outlet: &'a mut Outlet<W>,
    started: Instant,
    last: Option<[u8; 2]>,
}

impl<'a, W: Write> Watch<'a, W> {
    pub(super) fn new(outlet: &'a mut Outlet<W>, started: Instant) -> Self {
        Self { outlet, started, last: None }
    }

    /// The pipe again.
    pub(super) fn outlet(&mut self) -> &mut Outlet<W> {
        self.outlet
    }
}

impl<W: Write> Observer for Watch<'_, W> {
    fn now(&mut self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }

    fn stage(&mut self, stage: Stage, percent: u8) {
        let now = [stage_code(stage).code() as u8, percent.min(100)];
        if self.last.replace(now) != Some(now) {
            // A pipe that is gone shows itself where something must arrive.
            let _ = self.outlet.frame(Kind::Progress, &now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::worker::frame::read_frame;

    #[test]
    fn only_changes_are_told() {
        let mut outlet = Outlet::new(Vec::new());
        let mut watch = Watch::new(&mut outlet, Instant::now());
        for percent in [0, 0, 50, 50, 100, 255] {
            watch.stage(Stage::Segment, percent);
        }
        watch.stage(Stage::Measure, 100);
        let wire = outlet.into_inner();
        let mut wire = wire.as_slice();
        let mut told = Vec::new();
        while let Some(frame) = read_frame(&mut wire).unwrap() {
            assert_eq!(frame.kind, Kind::Progress);
            told.push([frame.body[0], frame.body[1]]);
        }
        assert_eq!(told, [[3, 0], [3, 50], [3, 100], [4, 100]]);
    }
}
