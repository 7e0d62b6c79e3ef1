//! The segments on disk: opening, appending with fsync, pruning, setting damage aside.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::base;
use super::ledger::Ledger;
use super::record::{BadRecord, Record};
use super::replay::{Replay, SegmentEnd, replay, salvage};
use super::segment::{self, Chain, HEADER_BYTES, Header, Stamp};
use crate::host::clock::EARLIEST_MS;
use crate::host::errors::one_line;
use crate::host::fail_point::{reach, reach_journal, segment_bytes};
use crate::host::files::{is_sync_failure, sync_folder, write_durably};
use crate::seal::trust::TrustStore;

/// A segment is closed when it has reached this size, in bytes.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// The most segments that are opened: 8 GiB of records.
pub const MAX_SEGMENTS: usize = 1024;
/// Segments that are kept free for what is under way when intake stops.
const RESERVED_SEGMENTS: usize = 24;
/// What the name of a file set aside ends with.
const DAMAGED: &str = "damaged";
/// Records after which a checkpoint is due.
const CHECKPOINT_EVERY: u64 = 256;

/// Why the journal cannot be used. After any of these nothing more is written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Reading, writing or syncing failed.
    #[error("{doing} of the journal at {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A record before the end does not hold.
    #[error(
        "the journal is damaged at {} byte {offset}: {why}; look at it with `hcc-edge journal \
         check`, then accept the loss with `hcc-edge journal accept-damage`", path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the sound part ends.
        offset: u64,
        /// What does not hold.
        why: String,
    },
    /// Another process has this journal open.
    #[error("another hcc-edge uses {}; stop it first", .0.display())]
    Locked(PathBuf),
    /// The record cannot be written.
    #[error("a record that cannot be written: {0}")]
    BadRecord(#[from] BadRecord),
    /// Everything that may be kept is kept.
    #[error("the journal at {} has {MAX_SEGMENTS} segments, none of which may be pruned", .0.display())]
    Full(PathBuf),
    /// The device does not sign what its journal holds.
    #[error("a checkpoint cannot be signed: {0}")]
    Checkpoint(String),
}

impl JournalError {
    /// Whether the disk did not confirm what was written: nothing may be tried again then.
    pub fn is_sync_failure(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_sync_failure(source),
            Self::Damaged { .. }
            | Self::Locked(_)
            | Self::BadRecord(_)
            | Self::Full(_)
            | Self::Checkpoint(_) => false,
        }
    }
}

/// One record of the replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, contiguous from 0.
    pub lsn: u64,
    /// When it was written, Unix milliseconds.
    pub time_ms: u64,
    /// What it says.
    pub record: Record,
    /// Where it lies, to be read again.
    pub place: Place,
}

/// Where a record lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Place {
    pub(super) fn segment(self) -> u64 {
        self.segment
    }
}

/// Where the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: [u8; 8],
    /// Number of records.
    pub(super) lsn: u64,
    /// Hash chain over them.
    pub(super) chain: Chain,
}

/// The open journal: one writer, held by a lock.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    head: Head,
    segment: u64,
    file: File,
    written: u64,
    segment_bytes: u64,
    /// Records since the last checkpoint.
    unwitnessed: u64,
    /// Segments before the one that is written, oldest first.
    closed: VecDeque<SegmentEnd>,
    /// Times of the first and the last record of the segment that is written, Unix milliseconds.
    times_ms: Option<(u64, u64)>,
    _lock: File,
}

/// How a journal is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Damage before the tail is an error.
    Refuse,
    /// Damaged segments are renamed to `*.damaged` and a new epoch begins; what they hold of
    /// unconfirmed results is carried over and sent as it was signed.
    Accept,
}

impl Store {
    /// Opens or creates the journal in `folder` and folds it into a ledger. `trust` knows the device
    /// keys that may have signed its checkpoints. `new_epoch` is used when there is no epoch yet, and
    /// for the epoch after accepted damage.
    pub fn open(
        folder: &Path,
        trust: &TrustStore,
        new_epoch: [u8; 8],
        damage: Damage,
    ) -> Result<(Self, Ledger), JournalError> {
        let lock = lock(folder)?;
        match replay(folder, trust, &mut |_| ()) {
            Ok(Replay { ends, head: Some(head), ledger, stale, since_checkpoint, .. }) => {
                remove(folder, &stale)?;
                let mut store = Self::resume(folder, lock, head, ends)?;
                store.unwitnessed = since_checkpoint;
                Ok((store, ledger))
            }
            Ok(Replay { head: None, .. }) => {
                Ok((Self::begin(folder, lock, new_epoch, 0)?, Ledger::default()))
            }
            // A segment that cannot be read is damaged like one that reads wrong.
            Err(JournalError::Damaged { .. } | JournalError::Io { .. })
                if damage == Damage::Accept =>
            {
                Self::begin_anew(folder, lock, new_epoch)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on at the end of the last segment, from which a torn write is cut off.
    fn resume(
        folder: &Path,
        lock: File,
        head: Head,
        mut ends: VecDeque<SegmentEnd>,
    ) -> Result<Self, JournalError> {
        let tail = ends.pop_back().expect("a journal with a head has a segment");
        let path = segment_path(folder, tail.number);
        let io = |doing, source| JournalError::Io { doing, path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| io("opening the last segment", e))?;
        file.set_len(tail.length).map_err(|e| io("truncating a torn record", e))?;
        // What was replayed may be in memory only: it counts from here on.
        file.sync_all().map_err(|e| io("syncing the last segment", e))?;
        file.seek(SeekFrom::End(0)).map_err(|e| io("seeking to the end", e))?;
        Ok(Self {
            folder: folder.to_owned(),
            head,
            segment: tail.number,
            file,
            written: tail.length,
            segment_bytes: segment_bytes(SEGMENT_BYTES),
            unwitnessed: 0,
            closed: ends,
            times_ms: tail.times_ms,
            _lock: lock,
        })
    }

    /// A new epoch in segment `number`.
    fn begin(folder: &Path, lock: File, epoch: [u8; 8], number: u64) -> Result<Self, JournalError> {
        let head = Head { epoch, lsn: 0, chain: [0; 32] };
        Ok(Self {
            folder: folder.to_owned(),
            head,
            segment: number,
            file: create_segment(folder, number, &head)?,
            written: HEADER_BYTES as u64,
            segment_bytes: segment_bytes(SEGMENT_BYTES),
            unwitnessed: 0,
            closed: VecDeque::new(),
            times_ms: None,
            _lock: lock,
        })
    }

    /// Carries over what can be read, then sets the damaged segments aside. A crash in between
    /// leaves a journal that is damaged still and holds everything, so that this can be repeated.
    fn begin_anew(
        folder: &Path,
        lock: File,
        epoch: [u8; 8],
    ) -> Result<(Self, Ledger), JournalError> {
        let old = list_segments(folder)?;
        let carried = salvage(folder, &old);
        let first = old.last().map_or(0, |last| last + 1);
        set_base_aside(folder)?;
        let mut store = Self::begin(folder, lock, epoch, first)?;
        let mut ledger = Ledger::default();
        for group in carried.chunks(64) {
            store.append(group, 0)?.into_iter().for_each(|entry| ledger.apply(entry));
        }
        set_aside(folder, &old)?;
        Ok((store, ledger))
    }

    /// Takes a journal back that was begun and in which nothing was written yet.
    pub fn discard(self) -> Result<(), JournalError> {
        remove(&self.folder, &[self.segment])
    }

    /// The epoch of this journal.
    pub fn epoch(&self) -> [u8; 8] {
        self.head.epoch
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it ends.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Whether the next group goes to a new segment.
    pub(super) fn is_segment_full(&self) -> bool {
        self.written >= self.segment_bytes
    }

    /// Whether the next group has to begin with a checkpoint.
    pub(super) fn wants_checkpoint(&self) -> bool {
        let begins_segment = self.written == HEADER_BYTES as u64 && self.head.lsn > 0;
        begins_segment || self.unwitnessed >= CHECKPOINT_EVERY
    }

    /// Whether so many segments are kept that no more work should be taken in.
    pub fn is_nearly_full(&self) -> bool {
        self.closed.len() + RESERVED_SEGMENTS >= MAX_SEGMENTS
    }

    /// Appends records and syncs once. When it returns, they are durable.
    pub(super) fn append(
        &mut self,
        records: &[Record],
        time_ms: u64,
    ) -> Result<Vec<Entry>, JournalError> {
        let mut bytes = Vec::new();
        let mut chain = self.head.chain;
        let mut entries = Vec::with_capacity(records.len());
        for (in_write, record) in records.iter().enumerate() {
            let (start, lsn) = (bytes.len(), self.head.lsn + in_write as u64);
            let stamp = Stamp { lsn, time_ms, in_write };
            chain = segment::encode_record(&mut bytes, record, stamp, &chain)?;
            let place = Place {
                segment: self.segment,
                offset: self.written + start as u64,
                length: (bytes.len() - start) as u64,
            };
            entries.push(Entry { lsn, time_ms, record: record.clone(), place });
        }
        self.write(records, &bytes)?;
        for record in records {
            let witnessed = matches!(record, Record::Checkpoint { .. });
            self.unwitnessed = if witnessed { 0 } else { self.unwitnessed + 1 };
        }
        self.head.chain = chain;
        self.head.lsn += records.len() as u64;
        self.written += bytes.len() as u64;
        self.times_ms = Some((self.times_ms.map_or(time_ms, |times| times.0), time_ms));
        Ok(entries)
    }

    fn write(&mut self, records: &[Record], bytes: &[u8]) -> Result<(), JournalError> {
        let path = segment_path(&self.folder, self.segment);
        let io = |doing| move |source| JournalError::Io { doing, path, source };
        let kinds = || records.iter().map(Record::kind);
        reach_journal(kinds(), "unwritten");
        // One write, but for the tests that end the process in the middle of it.
        let torn_at = if cfg!(feature = "fail-points") { bytes.len() / 2 } else { 0 };
        let (first, second) = bytes.split_at(torn_at);
        let written = self.file.write_all(first).and_then(|()| {
            reach_journal(kinds(), "torn");
            self.file.write_all(second)
        });
        written.map_err(io("writing a record"))?;
        reach_journal(kinds(), "unsynced");
        let path = segment_path(&self.folder, self.segment);
        let io = |doing| move |source| JournalError::Io { doing, path, source };
        self.file.sync_data().map_err(io("syncing a record"))?;
        reach_journal(kinds(), "synced");
        Ok(())
    }

    /// Reads a record again and checks its checksum.
    pub fn read(&self, place: Place) -> Result<Record, JournalError> {
        read_at(&self.folder, place)
    }

    /// Closes the segment and begins the next one.
    pub(super) fn roll(&mut self) -> Result<(), JournalError> {
        if self.closed.len() + 1 >= MAX_SEGMENTS {
            return Err(JournalError::Full(self.folder.clone()));
        }
        let number = self.segment + 1;
        self.file = create_segment(&self.folder, number, &self.head)?;
        let (length, times_ms) = (self.written, self.times_ms.take());
        self.closed.push_back(SegmentEnd { number: self.segment, length, times_ms });
        self.segment = number;
        self.written = HEADER_BYTES as u64;
        reach("journal.rolled");
        Ok(())
    }

    /// Deletes the oldest segments as long as they were closed before `before_ms`, and none of them is
    /// `needed` or later; `now_ms` is a time that somebody vouches for. Returns the first segment that
    /// is kept, if any was given up: what lies before it counts as gone, even if a file stayed.
    pub(super) fn prune(
        &mut self,
        (before_ms, now_ms): (u64, u64),
        needed: Option<u64>,
    ) -> Result<Option<u64>, JournalError> {
        let mut count = self.closed.len();
        let mut closed_ms = u64::MAX;
        let mut next_ms = self.times_ms.map(|times| times.0);
        for (index, end) in self.closed.iter().enumerate().rev() {
            // A segment is as old as the first word after it. What an unset clock has dated, or one
            // that was ahead, is as old as what follows.
            let known = |ms: &u64| (EARLIEST_MS..=now_ms).contains(ms);
            closed_ms = next_ms.filter(known).unwrap_or(closed_ms);
            next_ms = end.times_ms.map(|times| times.0);
            if closed_ms >= before_ms || needed.is_some_and(|needed| end.number >= needed) {
                count = index;
            }
        }
        let next = self.closed.get(count).map_or(self.segment, |end| end.number);
        let at_its_start = next == self.segment && self.written == HEADER_BYTES as u64;
        if count == 0 || at_its_start {
            return Ok(None);
        }
        base::write(&self.folder, &self.first_checkpoint(next)?)?;
        reach("journal.base_written");
        let doomed: Vec<u64> = self.closed.drain(..count).map(|end| end.number).collect();
        match remove(&self.folder, &doomed) {
            Err(error) if !error.is_sync_failure() => log::error!("{}", one_line(&error)),
            other => other?,
        }
        Ok(Some(next))
    }

    /// The checkpoint that a segment begins with.
    fn first_checkpoint(&self, segment: u64) -> Result<Vec<u8>, JournalError> {
        let path = segment_path(&self.folder, segment);
        let io =
            |source| JournalError::Io { doing: "reading a segment", path: path.clone(), source };
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(HEADER_BYTES as u64)).map_err(io)?;
        let mut length = [0; 4];
        file.read_exact(&mut length).map_err(io)?;
        let (offset, length) = (HEADER_BYTES as u64, segment::record_bytes(length));
        match read_at(&self.folder, Place { segment, offset, length })? {
            Record::Checkpoint { cose } => Ok(cose),
            _ => {
                let why = "the segment does not begin with a checkpoint".to_owned();
                Err(JournalError::Damaged { path, offset, why })
            }
        }
    }
}

pub(super) fn read_at(folder: &Path, place: Place) -> Result<Record, JournalError> {
    let path = segment_path(folder, place.segment);
    let io = |source| JournalError::Io { doing: "reading a record", path: path.clone(), source };
    let mut file = File::open(&path).map_err(io)?;
    file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
    let mut bytes = vec![0; place.length as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    segment::whole_record(&bytes).map_err(|why| JournalError::Damaged {
        path,
        offset: place.offset,
        why: why.to_owned(),
    })
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let io = |source| JournalError::Io { doing: "opening the lock", path: path.clone(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::Locked(folder.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Deletes segments, the oldest first, so that what a power cut leaves is still the end.
fn remove(folder: &Path, segments: &[u64]) -> Result<(), JournalError> {
    if segments.is_empty() {
        return Ok(());
    }
    for number in segments {
        let path = segment_path(folder, *number);
        fs::remove_file(&path).map_err(|source| JournalError::Io {
            doing: "deleting a segment",
            path,
            source,
        })?;
        reach("journal.segment_deleted");
    }
    sync_folder(folder).map_err(|source| {
        let path = folder.to_owned();
        JournalError::Io { doing: "syncing the folder", path, source }
    })
}

fn create_segment(folder: &Path, number: u64, head: &Head) -> Result<File, JournalError> {
    let header = Header { epoch: head.epoch, first_lsn: head.lsn, chain: head.chain };
    let path = segment_path(folder, number);
    let io = |source| JournalError::Io { doing: "creating a segment", path: path.clone(), source };
    write_durably(&path, &header.encode(), 0o600).map_err(io)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
    file.seek(SeekFrom::End(0)).map_err(io)?;
    Ok(file)
}

/// The numbers of the segments, ascending.
pub(super) fn list_segments(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let io = |source| JournalError::Io { doing: "listing", path: folder.to_owned(), source };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".seg")).map(str::parse::<u64>);
        if let Some(Ok(number)) = number {
            numbers.push(number);
        }
        if numbers.len() > MAX_SEGMENTS {
            let source = io::Error::other(format!("more than {MAX_SEGMENTS} segments"));
            return Err(io(source));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Renames every segment to `*.damaged`; nothing is deleted.
fn set_aside(folder: &Path, segments: &[u64]) -> Result<(), JournalError> {
    let paths = segments.iter().map(|number| segment_path(folder, *number));
    rename_damaged(folder, paths)
}

/// Before anything else of a damaged journal: a new epoch must not be measured by the old base.
fn set_base_aside(folder: &Path) -> Result<(), JournalError> {
    rename_damaged(folder, Some(base::path(folder)).into_iter().filter(|path| path.exists()))
}

/// How many files of accepted damage lie in a journal's folder.
pub fn damaged_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|end| end == DAMAGED)).count()
}

fn rename_damaged(folder: &Path, paths: impl Iterator<Item = PathBuf>) -> Result<(), JournalError> {
    let io = |source| JournalError::Io {
        doing: "setting damaged segments aside",
        path: folder.to_owned(),
        source,
    };
    for path in paths {
        // A second acceptance must not replace what the first one has set aside.
        let named = |n: u32| path.with_extension(format!("{n}.{DAMAGED}"));
        let free = (1..).map(named).find(|name| !name.exists());
        fs::rename(&path, free.expect("numbers do not end")).map_err(io)?;
    }
    sync_folder(folder).map_err(io)
}

#[cfg(test)]
mod tests;
