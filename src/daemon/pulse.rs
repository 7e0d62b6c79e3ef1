//! Whether the daemon's threads still come round. Before each step a thread promises by when it will
//! promise again; the service manager's watchdog is fed only while every promise holds, so a daemon
//! that answers the broker and takes no study is restarted like one that answers nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::fail_point;

/// A thread that promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Looks into the inbox.
    Intake,
    /// Carries studies.
    Lane,
}

impl Task {
    const ALL: [Task; 2] = [Task::Intake, Task::Lane];
}

/// The longest a wait that looks round every half second may take on a box that is busy elsewhere.
pub const WAIT: Duration = Duration::from_secs(60);

/// The longest a step may take that reads or writes a whole study: 4 GiB at 10 MiB/s.
pub const STEP: Duration = Duration::from_secs(420);

/// The promises of all threads.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds after `start`, one for each of [`Task::ALL`].
    due_ms: [AtomicU64; Task::ALL.len()],
}

impl Pulse {
    /// Everybody has [`STEP`] to come round first.
    pub fn start() -> Self {
        let pulse = Self { start: Instant::now(), due_ms: Default::default() };
        Task::ALL.into_iter().for_each(|task| pulse.promise(task, STEP));
        pulse
    }

    /// `task` will promise again before this long is over.
    pub fn promise(&self, task: Task, within: Duration) {
        let due = self.start.elapsed().saturating_add(fail_point::patience(within));
        self.due_ms[task as usize].store(due.as_millis() as u64, Ordering::Relaxed);
    }

    /// The first task that broke its promise.
    pub fn overdue(&self) -> Option<Task> {
        let now_ms = self.start.elapsed().as_millis() as u64;
        Task::ALL
            .into_iter()
            .find(|task| self.due_ms[*task as usize].load(Ordering::Relaxed) < now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_named_until_it_is_renewed() {
        let pulse = Pulse::start();
        assert_eq!(pulse.overdue(), None);
        for task in Task::ALL {
            pulse.promise(task, Duration::ZERO);
            std::thread::sleep(Duration::from_millis(3));
            assert_eq!(pulse.overdue(), Some(task));
            pulse.promise(task, WAIT);
            assert_eq!(pulse.overdue(), None);
        }
    }
}
