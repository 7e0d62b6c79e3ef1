//! File events as a hint that a scan is worth while. A lost event costs at most one rescan period,
//! so whatever fails here (no inotify, no watches left) only makes the inbox slower.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};

use crate::study::files::is_ignored;
use crate::study::marker::MARKER;

/// Pause between two looks at the event queue.
const SLICE: Duration = Duration::from_millis(50);
/// The most reads of the queue in one look; what is left wakes the next look.
const MAX_READS: usize = 64;
/// Bytes of events per read: at least 15 events with the longest names.
const BUFFER: usize = 4096;

/// The inbox's watch, if the kernel gave one.
pub struct Watch {
    events: Option<(Inotify, WatchDescriptor)>,
    /// The watched inbox is no longer there.
    lost: bool,
}

impl Watch {
    /// Watches the inbox for new folders.
    pub fn new(inbox: &Path) -> Self {
        let events = open(inbox)
            .inspect_err(|error| log::info!("no file events, scanning periodically: {error}"))
            .ok();
        Self { events, lost: false }
    }

    /// Whether the inbox was removed; one made anew under its name is another one.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Also watches a study's folder for its marker.
    pub fn follow(&mut self, folder: &Path) -> Option<WatchDescriptor> {
        let (inotify, _) = self.events.as_ref()?;
        let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO;
        inotify.watches().add(folder, mask | WatchMask::ONLYDIR | WatchMask::DONT_FOLLOW).ok()
    }

    /// Ends [`Self::follow`]: a claimed folder would go on being watched where it is now.
    pub fn unfollow(&mut self, folder: WatchDescriptor) {
        if let Some((inotify, _)) = &self.events {
            // Fails when the folder was deleted, and its watch with it.
            let _ = inotify.watches().remove(folder);
        }
    }

    /// Returns true at the first event that matters, false after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let mut left = timeout;
        loop {
            if self.look() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            let pause = left.min(SLICE);
            thread::sleep(pause);
            left -= pause;
        }
    }

    /// Empties the queue; true when something in it matters.
    fn look(&mut self) -> bool {
        let mut matters = false;
        let mut buffer = [0; BUFFER];
        for _ in 0..MAX_READS {
            let Some((inotify, inbox)) = &mut self.events else { break };
            match inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        self.lost |= event.mask.contains(EventMask::IGNORED) && event.wd == *inbox;
                        matters |= is_hint(&event, inbox);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::warn!("file events ended, scanning periodically: {error}");
                    self.events = None;
                }
            }
        }
        matters
    }
}

fn open(inbox: &Path) -> io::Result<(Inotify, WatchDescriptor)> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
    let watched = inotify.watches().add(inbox, mask)?;
    Ok((inotify, watched))
}

/// In the inbox any new name that may be a study, in a study's folder only the marker: other files
/// only make the folder wait longer, and a scan for each of them would be work for nothing.
fn is_hint(event: &Event<&std::ffi::OsStr>, inbox: &WatchDescriptor) -> bool {
    if event.mask.contains(EventMask::Q_OVERFLOW) {
        return true;
    }
    event.name.is_some_and(|name| match event.wd == *inbox {
        true => !is_ignored(name),
        false => name == MARKER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_new_folder_and_its_marker_are_hints_and_other_files_are_not() {
        let inbox = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(inbox.path());
        assert!(!watch.wait(Duration::ZERO), "nothing happened yet");
        let study = inbox.path().join("a");
        fs::create_dir(&study).unwrap();
        assert!(watch.wait(LONG), "a new folder");
        let followed = watch.follow(&study).unwrap();
        fs::write(study.join("portal.nii"), "x").unwrap();
        fs::create_dir(inbox.path().join(".hidden")).unwrap();
        assert!(!watch.wait(Duration::from_millis(120)), "neither a file nor a hidden folder");
        fs::write(study.join(MARKER), "").unwrap();
        assert!(watch.wait(LONG), "the marker");
        watch.unfollow(followed);
        fs::write(study.join(MARKER), "again").unwrap();
        assert!(!watch.wait(Duration::from_millis(120)), "no longer followed");
    }

    #[test]
    fn without_events_it_only_sleeps() {
        let inbox = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(&inbox.path().join("absent"));
        assert!(watch.follow(inbox.path()).is_none());
        assert!(!watch.wait(Duration::from_millis(60)));
    }
}
