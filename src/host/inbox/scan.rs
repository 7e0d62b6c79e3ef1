//! Looks at every folder of the inbox and says which are ready to be claimed. A scan is the truth;
//! file events only make it come earlier.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::WatchDescriptor;
use thiserror::Error;

use super::listing::{self, kind};
use super::watch::Watch;
use crate::config;
use crate::host::files::StateDir;
use crate::seal::wire::CompletionRule;
use crate::study::arrival::{Arrival, Kind, Listing, Rule, Verdict};
use crate::study::files::is_ignored;
use crate::units::Millis;

/// The most folders that are followed at a time; others get their turn as these are claimed.
pub const MAX_FOLDERS: usize = 4_096;
/// The most names of the inbox that are read in one scan; those of stray files are read as well.
const MAX_NAMES: usize = 1 << 20;
/// The most complaints that are remembered, so that each is made once.
const MAX_TOLD: usize = 1_024;

/// The inbox cannot be looked at.
#[derive(Debug, Error)]
#[error("cannot list the inbox {folder}", folder = .folder.display())]
pub struct InboxError {
    /// The inbox.
    pub folder: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The moment of a scan on two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Decides: milliseconds on a clock that is never set.
    pub monotonic: Millis,
    /// Is written down: milliseconds since the Unix epoch.
    pub unix: Millis,
}

/// A folder that can be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its name in the inbox, which may be a patient's.
    pub name: OsString,
    /// Why it is taken.
    pub rule: CompletionRule,
    /// When it was first seen, Unix milliseconds.
    pub arrived_ms: u64,
}

impl Ready {
    /// Whether it was never complete and will fail.
    pub fn overdue(&self) -> bool {
        self.rule == CompletionRule::Deadline
    }
}

/// The inbox and what is remembered of its folders between two scans. Nothing of it outlives the
/// process: after a restart every folder is seen for the first time.
pub struct Inbox {
    folder: PathBuf,
    settings: config::Inbox,
    limits: config::Limits,
    started: Instant,
    followed: BTreeMap<OsString, Followed>,
    /// Inodes that were complained about.
    told: BTreeSet<u64>,
    watch: Watch,
    /// Inode of the inbox that is watched: it may be removed and made anew.
    watched: Option<u64>,
}

struct Followed {
    /// Tells a folder from a later one of the same name.
    inode: u64,
    arrival: Arrival,
    arrived_ms: u64,
    verdict: Verdict,
    watch: Option<WatchDescriptor>,
}

impl Inbox {
    /// The inbox of a state directory.
    pub fn new(state: &StateDir, settings: config::Inbox, limits: config::Limits) -> Self {
        let folder = state.inbox();
        Self {
            watch: Watch::new(&folder),
            watched: inode(&folder).ok(),
            folder,
            settings,
            limits,
            started: Instant::now(),
            followed: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Looks at every folder; at most `room` that are ready, oldest first. A folder that is not
    /// claimed is ready again at the next scan, unless it changed. `unix_ms` is only written down.
    ///
    /// # Errors
    /// The inbox itself cannot be listed; a study that cannot be is followed to its deadline.
    pub fn scan(&mut self, unix_ms: u64, room: usize) -> Result<Vec<Ready>, InboxError> {
        let monotonic = Millis(self.started.elapsed().as_millis() as u64);
        self.scan_at(Now { monotonic, unix: Millis(unix_ms) }, room)
    }

    /// Looks only at folders that were complete at the last look: what a flood has left after `room`
    /// of it was claimed. Each is listed again, because it may have changed meanwhile.
    pub fn look_again(&mut self, unix_ms: u64, room: usize) -> Vec<Ready> {
        let monotonic = Millis(self.started.elapsed().as_millis() as u64);
        let now = Now { monotonic, unix: Millis(unix_ms) };
        let known = self.ready(room);
        for Ready { name, .. } in known {
            match inode(&self.folder.join(&name)) {
                Ok(inode) if self.followed.get(&name).is_some_and(|f| f.inode == inode) => {
                    self.look_at(name, inode, now);
                }
                Ok(_) | Err(_) => self.forget(&name),
            }
        }
        self.ready(room)
    }

    /// [`Self::scan`] at a moment of the caller's choice.
    pub fn scan_at(&mut self, now: Now, room: usize) -> Result<Vec<Ready>, InboxError> {
        let present = self
            .watch_this_inbox()
            .and_then(|()| self.study_folders())
            .map_err(|source| InboxError { folder: self.folder.clone(), source })?;
        self.forget_all_but(&present);
        for (name, inode) in present {
            self.look_at(name, inode, now);
        }
        Ok(self.ready(room))
    }

    /// Waits for a hint that a scan is worth while; true when there was one. It cannot be woken
    /// otherwise, so a caller that must stop in time keeps `timeout` short.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.watch.wait(timeout)
    }

    /// Watches the inbox that is there now, if it is another one than before.
    fn watch_this_inbox(&mut self) -> io::Result<()> {
        let watched = self.watched.take();
        let present = inode(&self.folder)?;
        self.watched = Some(present);
        // A folder made anew may have the inode of the one that was removed.
        if watched != self.watched || self.watch.is_lost() {
            self.watch = Watch::new(&self.folder);
            self.followed.values_mut().for_each(|followed| followed.watch = None);
        }
        Ok(())
    }

    /// Folders that can be studies, with their inodes: those followed already, then new ones.
    fn study_folders(&mut self) -> io::Result<BTreeMap<OsString, u64>> {
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for (at, entry) in fs::read_dir(&self.folder)?.enumerate() {
            if at == MAX_NAMES {
                log::warn!("{} holds more than {MAX_NAMES} names", self.folder.display());
                break;
            }
            let entry = entry?;
            let name = entry.file_name();
            if !is_ignored(&name) && self.is_folder(&entry) {
                let list = if self.followed.contains_key(&name) { &mut known } else { &mut new };
                if list.len() < MAX_FOLDERS {
                    list.push((name, entry.ino()));
                }
            }
        }
        Ok(known.into_iter().chain(new).take(MAX_FOLDERS).collect())
    }

    fn is_folder(&mut self, entry: &DirEntry) -> bool {
        let what = match entry.file_type().map(kind) {
            Ok(Kind::Folder) => return true,
            Ok(Kind::File) => "a file",
            Ok(Kind::Symlink) => "a symbolic link",
            Ok(Kind::Other) => "neither a file nor a folder",
            // It vanished between two system calls.
            Err(_) => return false,
        };
        self.tell_once(
            entry.ino(),
            &format!("is {what}; a study is a folder, so it is left alone"),
        );
        false
    }

    fn forget_all_but(&mut self, present: &BTreeMap<OsString, u64>) {
        let watch = &mut self.watch;
        self.followed.retain(|name, followed| {
            let stays = present.get(name) == Some(&followed.inode);
            if !stays {
                followed.watch.take().into_iter().for_each(|folder| watch.unfollow(folder));
            }
            stays
        });
    }

    fn forget(&mut self, name: &OsStr) {
        if let Some(folder) = self.followed.remove(name).and_then(|followed| followed.watch) {
            self.watch.unfollow(folder);
        }
    }

    fn look_at(&mut self, name: OsString, inode: u64, now: Now) {
        let path = self.folder.join(&name);
        // Watched before it is listed, so that no marker can come in between.
        let new = !self.followed.contains_key(&name);
        let watch = new.then(|| self.watch.follow(&path)).flatten();
        let listing = self.list(&path, inode);
        let followed = self.followed.entry(name).or_insert_with(|| Followed {
            inode,
            arrival: Arrival::new(&listing, now.monotonic),
            arrived_ms: now.unix.0,
            verdict: Verdict::Waiting,
            watch,
        });
        followed.verdict = followed.arrival.look(&listing, now.monotonic, &self.settings);
    }

    /// A folder that cannot be listed looks empty: it is not lost, but fails at its deadline.
    fn list(&mut self, path: &Path, inode: u64) -> Listing {
        match listing::list(path, &self.limits) {
            Ok(listed) => listed.listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Listing::default(),
            Err(error) => {
                self.tell_once(
                    inode,
                    &format!("cannot be listed ({error}): let this user read it"),
                );
                Listing::default()
            }
        }
    }

    fn ready(&self, room: usize) -> Vec<Ready> {
        let mut ready: Vec<_> =
            self.followed.iter().filter_map(|(name, f)| f.ready(name)).collect();
        ready.sort_by(|(a, _), (b, _)| b.cmp(a));
        ready.into_iter().take(room).map(|(_, ready)| ready).collect()
    }

    /// A line in the log, once per inode: the name may be a patient's and is not logged.
    fn tell_once(&mut self, inode: u64, what: &str) {
        if self.told.len() < MAX_TOLD && self.told.insert(inode) {
            log::warn!("inode {inode} in {} {what} (ls -i shows it)", self.folder.display());
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(path)?.ino())
}

impl Followed {
    /// Its age and what there is to claim.
    fn ready(&self, name: &OsStr) -> Option<(Millis, Ready)> {
        let rule = match self.verdict {
            Verdict::Waiting => return None,
            Verdict::Complete(Rule::DoneMarker) => CompletionRule::DoneMarker,
            Verdict::Complete(Rule::Quiescence) => CompletionRule::Quiescence,
            Verdict::Overdue => CompletionRule::Deadline,
        };
        let ready = Ready { name: name.to_owned(), rule, arrived_ms: self.arrived_ms };
        Some((self.arrival.age(), ready))
    }
}

#[cfg(test)]
mod tests;
