//! The segments on disk: opening with replay, appending with fsync, setting damage aside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::record::{BadRecord, Record};
use super::segment::{self, Chain, HEADER_BYTES, Header, Stop, Stored};
use crate::host::files::{sync_folder, write_durably};

/// A segment is closed when it has reached this size, in bytes.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// The most segments that are opened: 8 GiB of records.
pub const MAX_SEGMENTS: usize = 1024;

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
    segment: u64,
    offset: u64,
    length: u64,
}

/// The open journal: one writer, held by a lock.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    epoch: [u8; 8],
    chain: Chain,
    next_lsn: u64,
    segment: u64,
    file: File,
    written: u64,
    _lock: File,
}

/// How a journal is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Damage before the tail is an error.
    Refuse,
    /// Damaged segments are renamed to `*.damaged` and a new epoch begins.
    Accept,
}

impl Store {
    /// Opens or creates the journal in `folder` and replays it. `new_epoch` is used when there is no
    /// epoch yet, and for the epoch after accepted damage.
    pub fn open(
        folder: &Path,
        new_epoch: [u8; 8],
        damage: Damage,
    ) -> Result<(Self, Vec<Entry>), JournalError> {
        let lock = lock(folder)?;
        let segments = list_segments(folder)?;
        let replay = replay(folder, &segments).or_else(|error| match (damage, &error) {
            (Damage::Accept, JournalError::Damaged { .. }) => {
                set_aside(folder, &segments)?;
                Ok(Replay::empty())
            }
            _ => Err(error),
        })?;
        let number = segments.last().map_or(0, |last| last + 1);
        match replay.tail {
            Some(tail) => {
                let path = segment_path(folder, tail.segment);
                let io = |doing, source| JournalError::Io { doing, path: path.clone(), source };
                let mut file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(|e| io("opening the last segment", e))?;
                file.set_len(tail.length).map_err(|e| io("truncating a torn record", e))?;
                file.sync_all().map_err(|e| io("syncing the last segment", e))?;
                file.seek(SeekFrom::End(0)).map_err(|e| io("seeking to the end", e))?;
                let store = Self {
                    folder: folder.to_owned(),
                    epoch: tail.epoch,
                    chain: tail.chain,
                    next_lsn: tail.next_lsn,
                    segment: tail.segment,
                    file,
                    written: tail.length,
                    _lock: lock,
                };
                Ok((store, replay.entries))
            }
            None => {
                let header = Header { epoch: new_epoch, first_lsn: 0, chain: [0; 32] };
                let file = create_segment(folder, number, &header)?;
                let store = Self {
                    folder: folder.to_owned(),
                    epoch: new_epoch,
                    chain: [0; 32],
                    next_lsn: 0,
                    segment: number,
                    file,
                    written: HEADER_BYTES as u64,
                    _lock: lock,
                };
                Ok((store, Vec::new()))
            }
        }
    }

    /// The epoch of this journal.
    pub fn epoch(&self) -> [u8; 8] {
        self.epoch
    }

    /// The chain value after the last record.
    pub fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// Appends records and syncs once. When it returns, they are durable.
    pub fn append(&mut self, records: &[Record], time_ms: u64) -> Result<Vec<Entry>, JournalError> {
        if self.written >= SEGMENT_BYTES {
            self.roll()?;
        }
        let mut bytes = Vec::new();
        let mut chain = self.chain;
        let mut entries = Vec::with_capacity(records.len());
        for (lsn, record) in (self.next_lsn..).zip(records) {
            let start = bytes.len();
            chain = segment::encode_record(&mut bytes, record, (lsn, time_ms), &chain)?;
            let place = Place {
                segment: self.segment,
                offset: self.written + start as u64,
                length: (bytes.len() - start) as u64,
            };
            entries.push(Entry { lsn, time_ms, record: record.clone(), place });
        }
        let path = || segment_path(&self.folder, self.segment);
        let io = |doing, source| JournalError::Io { doing, path: path(), source };
        self.file.write_all(&bytes).map_err(|e| io("writing a record", e))?;
        self.file.sync_data().map_err(|e| io("syncing a record", e))?;
        self.chain = chain;
        self.next_lsn += records.len() as u64;
        self.written += bytes.len() as u64;
        Ok(entries)
    }

    /// Reads a record again and checks its checksum.
    pub fn read(&self, place: Place) -> Result<Record, JournalError> {
        let path = segment_path(&self.folder, place.segment);
        let io =
            |source| JournalError::Io { doing: "reading a record", path: path.clone(), source };
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
        let mut bytes = vec![0; place.length as usize];
        file.read_exact(&mut bytes).map_err(io)?;
        let body = bytes.get(24..bytes.len().saturating_sub(36)).unwrap_or_default();
        let checked = &bytes[..bytes.len().saturating_sub(36)];
        let crc = bytes.get(checked.len()..checked.len() + 4).unwrap_or_default();
        if crc != crc32c::crc32c(checked).to_le_bytes() {
            let why = "a record's checksum is wrong".to_owned();
            return Err(JournalError::Damaged { path, offset: place.offset, why });
        }
        Ok(Record::decode(bytes[4], body)?)
    }

    fn roll(&mut self) -> Result<(), JournalError> {
        let number = self.segment + 1;
        let header = Header { epoch: self.epoch, first_lsn: self.next_lsn, chain: self.chain };
        self.file = create_segment(&self.folder, number, &header)?;
        self.segment = number;
        self.written = HEADER_BYTES as u64;
        Ok(())
    }
}

/// Reads a journal without opening it for writing, for `journal tail` and `journal check`.
pub fn inspect(folder: &Path) -> Result<Vec<Entry>, JournalError> {
    Ok(replay(folder, &list_segments(folder)?)?.entries)
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
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

fn create_segment(folder: &Path, number: u64, header: &Header) -> Result<File, JournalError> {
    let path = segment_path(folder, number);
    let io = |source| JournalError::Io { doing: "creating a segment", path: path.clone(), source };
    write_durably(&path, &header.encode(), 0o600).map_err(io)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
    file.seek(SeekFrom::End(0)).map_err(io)?;
    Ok(file)
}

/// The numbers of the segments, ascending.
fn list_segments(folder: &Path) -> Result<Vec<u64>, JournalError> {
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

/// What the segments hold together.
struct Replay {
    entries: Vec<Entry>,
    tail: Option<Tail>,
}

struct Tail {
    segment: u64,
    epoch: [u8; 8],
    chain: Chain,
    next_lsn: u64,
    length: u64,
}

impl Replay {
    fn empty() -> Self {
        Self { entries: Vec::new(), tail: None }
    }
}

fn replay(folder: &Path, segments: &[u64]) -> Result<Replay, JournalError> {
    let mut replay = Replay::empty();
    for (index, number) in segments.iter().enumerate() {
        let path = segment_path(folder, *number);
        let damaged = |offset: u64, why: &str| JournalError::Damaged {
            path: path.clone(),
            offset,
            why: why.to_owned(),
        };
        let bytes = fs::read(&path).map_err(|source| JournalError::Io {
            doing: "reading a segment",
            path: path.clone(),
            source,
        })?;
        let header =
            Header::decode(&bytes).ok_or_else(|| damaged(0, "the segment's header is wrong"))?;
        let continues = replay.tail.as_ref().is_none_or(|tail| {
            let follows = tail.segment + 1 == *number;
            follows
                && header
                    == Header { epoch: tail.epoch, first_lsn: tail.next_lsn, chain: tail.chain }
        });
        if !continues {
            return Err(damaged(0, "the segment does not continue the one before it"));
        }
        let scan = segment::scan(&bytes, &header);
        let last = index + 1 == segments.len();
        match scan.stop {
            None => {}
            Some(Stop::CutOff) if last => {}
            Some(Stop::CutOff) => return Err(damaged(scan.sound as u64, "a record is cut off")),
            Some(Stop::Wrong(why)) => return Err(damaged(scan.sound as u64, why)),
        }
        replay.tail = Some(Tail {
            segment: *number,
            epoch: header.epoch,
            chain: scan.chain,
            next_lsn: scan.next_lsn,
            length: scan.sound as u64,
        });
        replay.entries.extend(scan.records.into_iter().map(|stored| entry(*number, stored)));
    }
    Ok(replay)
}

fn entry(segment: u64, stored: Stored) -> Entry {
    let Stored { lsn, time_ms, record, offset, length } = stored;
    Entry { lsn, time_ms, record, place: Place { segment, offset, length } }
}

/// Renames every segment to `*.damaged`; nothing is deleted.
fn set_aside(folder: &Path, segments: &[u64]) -> Result<(), JournalError> {
    let io = |source| JournalError::Io {
        doing: "setting damaged segments aside",
        path: folder.to_owned(),
        source,
    };
    for number in segments {
        let path = segment_path(folder, *number);
        fs::rename(&path, path.with_extension("seg.damaged")).map_err(io)?;
    }
    sync_folder(folder).map_err(io)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::journal::record::JobId;
    use crate::host::journal::record::tests::any_record;

    fn open(folder: &Path) -> Result<(Store, Vec<Entry>), JournalError> {
        Store::open(folder, [7; 8], Damage::Refuse)
    }

    fn filled(folder: &Path, records: &[Record]) -> Vec<Entry> {
        let (mut store, _) = open(folder).unwrap();
        records.iter().flat_map(|r| store.append(std::slice::from_ref(r), 5).unwrap()).collect()
    }

    fn three() -> Vec<Record> {
        let job = JobId::new([1; 8]);
        vec![
            Record::Claim { job, arrived_ms: 1 },
            Record::Try { job, attempt: 1 },
            Record::Released { job },
        ]
    }

    fn only_segment(folder: &Path) -> PathBuf {
        segment_path(folder, 0)
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(JournalError::Locked(_))));
    }

    #[test]
    fn a_record_cut_off_at_any_byte_is_truncated_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let entries = filled(folder.path(), &three());
        let whole = fs::read(only_segment(folder.path())).unwrap();
        let last = entries[2].place.offset as usize;
        for cut in last..whole.len() {
            fs::write(only_segment(folder.path()), &whole[..cut]).unwrap();
            let (mut store, replayed) = open(folder.path()).unwrap();
            assert_eq!(replayed, entries[..2], "cut at {cut}");
            store.append(&[Record::Confirm { seq: 9 }], 6).unwrap();
            drop(store);
            assert_eq!(open(folder.path()).unwrap().1.len(), 3);
        }
    }

    #[test]
    fn every_flipped_bit_before_the_tail_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let entries = filled(folder.path(), &three());
        let whole = fs::read(only_segment(folder.path())).unwrap();
        let end_of_second = entries[2].place.offset as usize;
        for byte in 0..end_of_second {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << (byte % 8);
            fs::write(only_segment(folder.path()), &flipped).unwrap();
            match open(folder.path()) {
                Err(JournalError::Damaged { .. }) => {}
                other => panic!("byte {byte}: {other:?}"),
            }
        }
    }

    #[test]
    fn accepted_damage_is_set_aside_and_a_new_epoch_begins() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), &three());
        let mut bytes = fs::read(only_segment(folder.path())).unwrap();
        bytes[HEADER_BYTES + 30] ^= 1;
        fs::write(only_segment(folder.path()), &bytes).unwrap();
        assert!(open(folder.path()).is_err());
        let (store, entries) = Store::open(folder.path(), [9; 8], Damage::Accept).unwrap();
        assert_eq!((store.epoch(), entries.len()), ([9; 8], 0));
        drop(store);
        assert!(only_segment(folder.path()).with_extension("seg.damaged").exists());
        assert_eq!(open(folder.path()).unwrap().0.epoch(), [9; 8]);
    }

    #[test]
    fn segments_roll_and_replay_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let result = |seq| Record::Result {
            job: JobId::new([2; 8]),
            seq,
            result_id: [0; 16],
            failed: false,
            cose: vec![seq as u8; 16_000],
        };
        let (mut store, _) = open(folder.path()).unwrap();
        let records: Vec<_> = (1..=1900).map(result).collect();
        let mut written = Vec::new();
        for group in records.chunks(100) {
            written.extend(store.append(group, 1).unwrap());
        }
        assert!(written.last().unwrap().place.segment >= 2);
        assert_eq!(store.read(written[700].place).unwrap(), records[700]);
        drop(store);
        let (_, replayed) = open(folder.path()).unwrap();
        assert_eq!(replayed, written);
        fs::remove_file(segment_path(folder.path(), 1)).unwrap();
        assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn replay_is_what_was_written(records in proptest::collection::vec(any_record(), 1..20)) {
            let folder = tempfile::tempdir().unwrap();
            let written = filled(folder.path(), &records);
            let (_, replayed) = open(folder.path()).unwrap();
            prop_assert_eq!(replayed, written);
        }
    }
}
