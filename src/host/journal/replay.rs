//! Reading a journal from its first record to its last: every checksum, the chain, the numbers and
//! the checkpoints. Changes nothing on disk.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::base;
use super::ledger::{CARRIED, Ledger, sha256};
use super::record::Record;
use super::segment::{self, Chain, HEADER_BYTES, Header, Stop, Stored};
use super::store::{Entry, Head, JournalError, Place, list_segments, segment_path};
use crate::seal::trust::TrustStore;
use crate::seal::verify::verify_checkpoint;
use crate::seal::wire::CheckpointMessage;

/// Records after which a checkpoint must have come: one is due after 256, and a write of many records
/// is not cut for it.
const MAX_UNWITNESSED: u64 = 4_096;

/// What a closed segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub(super) number: u64,
    /// Length of its sound part, in bytes.
    pub(super) length: u64,
    /// Times of its first and its last record, Unix milliseconds.
    pub(super) times_ms: Option<(u64, u64)>,
}

/// What the segments hold together.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) ledger: Ledger,
    /// Where it ends; `None` for a journal that was never written.
    pub(super) head: Option<Head>,
    /// The segments, oldest first.
    pub(super) ends: VecDeque<SegmentEnd>,
    /// Segments before the base, which an interrupted pruning has left.
    pub(super) stale: Vec<u64>,
    /// Records after the last checkpoint.
    pub(super) since_checkpoint: u64,
}

/// Reads a journal without opening it for writing. `see` gets every record.
///
/// # Errors
/// Damage, named with its place.
pub fn inspect(
    folder: &Path,
    trust: &TrustStore,
    see: &mut dyn FnMut(&Entry),
) -> Result<Ledger, JournalError> {
    replay(folder, trust, see).map(|replay| replay.ledger)
}

/// Reads and checks the segments in their order.
pub(super) fn replay(
    folder: &Path,
    trust: &TrustStore,
    see: &mut dyn FnMut(&Entry),
) -> Result<Replay, JournalError> {
    let base = base::read(folder, trust)?;
    let segments = list_segments(folder)?;
    let mut replay = Replay::after(base.as_ref());
    for number in &segments {
        let is_last = Some(number) == segments.last();
        let segment = Segment::read(folder, *number)?;
        if base.as_ref().is_some_and(|base| segment.is_before(base)) && replay.head.is_none() {
            replay.stale.push(*number);
            continue;
        }
        replay.take(&segment, base.as_ref(), (trust, is_last), see)?;
    }
    if base.is_some() && replay.head.is_none() {
        let why = "the segments that it begins with are missing".to_owned();
        return Err(JournalError::Damaged { path: base::path(folder), offset: 0, why });
    }
    Ok(replay)
}

/// One segment's bytes.
struct Segment {
    number: u64,
    path: PathBuf,
    bytes: Vec<u8>,
    header: Header,
}

impl Segment {
    fn read(folder: &Path, number: u64) -> Result<Self, JournalError> {
        let path = segment_path(folder, number);
        let bytes = fs::read(&path).map_err(|source| JournalError::Io {
            doing: "reading a segment",
            path: path.clone(),
            source,
        })?;
        match Header::decode(&bytes) {
            Some(header) => Ok(Self { number, path, bytes, header }),
            None => {
                let why = "the segment's header is wrong".to_owned();
                Err(JournalError::Damaged { path, offset: 0, why })
            }
        }
    }

    fn damaged(&self, offset: u64, why: &str) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), offset, why: why.to_owned() }
    }

    fn is_before(&self, base: &CheckpointMessage) -> bool {
        self.header.epoch == base.epoch.0 && self.header.first_lsn < base.lsn
    }
}

impl Replay {
    fn after(base: Option<&CheckpointMessage>) -> Self {
        let ledger =
            base.map_or_else(Ledger::default, |b| Ledger::after(b.last_seq, b.last_digest.0));
        Self { ledger, head: None, ends: VecDeque::new(), stale: Vec::new(), since_checkpoint: 0 }
    }

    fn take(
        &mut self,
        segment: &Segment,
        base: Option<&CheckpointMessage>,
        (trust, is_last): (&TrustStore, bool),
        see: &mut dyn FnMut(&Entry),
    ) -> Result<(), JournalError> {
        if !self.continues_with(segment, base) {
            return Err(segment.damaged(0, "the segment does not continue the one before it"));
        }
        let mut times_ms: Option<(u64, u64)> = None;
        let epoch = segment.header.epoch;
        let scan = segment::scan(&segment.bytes, &segment.header, &mut |stored, chain| {
            self.check(&stored, &Head { epoch, lsn: stored.lsn, chain: *chain }, trust)?;
            times_ms = Some((times_ms.map_or(stored.time_ms, |times| times.0), stored.time_ms));
            let entry = entry(segment.number, stored);
            see(&entry);
            self.ledger.apply(entry);
            Ok(())
        });
        match scan.stop {
            None => {}
            Some(Stop::CutOff) if is_last => {}
            Some(Stop::CutOff) => {
                return Err(segment.damaged(scan.sound as u64, "a record is cut off"));
            }
            Some(Stop::Wrong(why)) => return Err(segment.damaged(scan.sound as u64, why)),
        }
        self.head = Some(Head { epoch, lsn: scan.next_lsn, chain: scan.chain });
        let (number, length) = (segment.number, scan.sound as u64);
        self.ends.push_back(SegmentEnd { number, length, times_ms });
        Ok(())
    }

    /// Whether a segment goes on where the replay is. The first one begins an epoch or is where the
    /// base says, so that a lost first segment is noticed.
    fn continues_with(&self, segment: &Segment, base: Option<&CheckpointMessage>) -> bool {
        let header = &segment.header;
        match (self.head, self.ends.back(), base) {
            (Some(Head { epoch, lsn: first_lsn, chain }), Some(end), _) => {
                end.number + 1 == segment.number && *header == Header { epoch, first_lsn, chain }
            }
            (_, _, Some(base)) => {
                let (epoch, first_lsn, chain) = (base.epoch.0, base.lsn, base.chain.0);
                *header == Header { epoch, first_lsn, chain }
            }
            _ => header.first_lsn == 0 && header.chain == [0; 32],
        }
    }

    /// What must hold of a record beyond its own bytes.
    fn check(
        &mut self,
        stored: &Stored,
        before: &Head,
        trust: &TrustStore,
    ) -> Result<(), &'static str> {
        let begins_segment = stored.offset == HEADER_BYTES as u64;
        self.since_checkpoint += 1;
        if self.since_checkpoint > MAX_UNWITNESSED {
            return Err("too many records without a checkpoint");
        }
        match &stored.record {
            // Signed themselves; nothing witnesses their order, which does not matter.
            Record::Carried { .. } => {
                self.since_checkpoint -= 1;
                Ok(())
            }
            Record::Checkpoint { cose } => {
                self.since_checkpoint = 0;
                self.check_checkpoint(cose, before, trust)
            }
            _ if begins_segment && stored.lsn > 0 => {
                Err("the segment does not begin with a checkpoint")
            }
            Record::Result { seq, .. } if *seq != self.ledger.last_seq() + 1 => {
                Err("a result's number does not follow the last one")
            }
            _ => Ok(()),
        }
    }

    fn check_checkpoint(
        &self,
        cose: &[u8],
        before: &Head,
        trust: &TrustStore,
    ) -> Result<(), &'static str> {
        let message = verify_checkpoint(cose, trust)
            .map_err(|_| "a checkpoint is not signed by a device key of the trust store")?;
        let head = Head { epoch: message.epoch.0, lsn: message.lsn, chain: message.chain.0 };
        let last = (message.last_seq, message.last_digest.0);
        if head == *before && last == (self.ledger.last_seq(), self.ledger.last_hash()) {
            Ok(())
        } else {
            Err("a checkpoint says something else than the records before it")
        }
    }
}

fn entry(segment: u64, stored: Stored) -> Entry {
    let Stored { lsn, time_ms, record, offset, length } = stored;
    Entry { lsn, time_ms, record, place: Place { segment, offset, length } }
}

/// What can be read of the unconfirmed results in damaged segments, in their order, to be carried
/// over into a new epoch.
pub(super) fn salvage(folder: &Path, segments: &[u64]) -> Vec<Record> {
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    let mut seen: HashSet<Chain> = HashSet::new();
    let mut by_number: HashMap<([u8; 8], u64), Vec<u8>> = HashMap::new();
    let mut open: BTreeMap<usize, ([u8; 8], u64)> = BTreeMap::new();
    let mut place: HashMap<([u8; 8], u64), usize> = HashMap::new();
    for number in segments {
        let bytes = read_blocks(&segment_path(folder, *number));
        // Numbers count within an epoch; a header that cannot be read is of the one before it.
        let epoch = Header::decode(&bytes).map_or([0; 8], |header| header.epoch);
        segment::salvage(&bytes, &mut |record| match record {
            Record::Result { seq: number, cose, .. } | Record::Carried { number, cose } => {
                let key = (epoch, number);
                let at = place.len();
                place.entry(key).or_insert(at);
                open.insert(place[&key], key);
                by_number.insert(key, cose);
            }
            // Put up for delivery once more.
            Record::Duplicate { seq, .. } => {
                if let Some(at) = place.get(&(epoch, seq)) {
                    open.insert(*at, (epoch, seq));
                }
            }
            Record::Confirm { seq } => {
                if let Some(at) = place.get(&(epoch, seq)) {
                    open.remove(at);
                }
            }
            _ => {}
        });
    }
    for key in open.into_values() {
        let cose = by_number.remove(&key).unwrap_or_default();
        if seen.insert(sha256(&cose)) {
            waiting.push(cose);
        }
    }
    (CARRIED..).zip(waiting).map(|(number, cose)| Record::Carried { number, cose }).collect()
}

/// A file's bytes; blocks that the disk does not give are zeros.
fn read_blocks(path: &Path) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let Ok(file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len()) as usize;
    let mut bytes = vec![0; length];
    for (n, block) in bytes.chunks_mut(BLOCK).enumerate() {
        if let Err(error) = file.read_exact_at(block, (n * BLOCK) as u64) {
            log::warn!("{} block {n} cannot be read: {error}", path.display());
            block.fill(0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    //! One journal of 200 records, broken in every way there is: cut and flipped at every byte, its
    //! sectors zeroed and swapped. The test knows what was written; the replay may say less only
    //! where nobody can tell a torn write from a complete one.

    use super::*;
    use crate::host::journal::record::JobId;
    use crate::host::journal::segment::{Stamp, encode_record};
    use crate::host::journal::testing::{trust, witness};
    use crate::host::journal::thread::JournalHead;

    const SECTOR: usize = 512;
    const EPOCH: [u8; 8] = [7; 8];

    struct Written {
        bytes: Vec<u8>,
        /// Where each record ends.
        ends: Vec<usize>,
    }

    fn record(n: u64) -> Record {
        let job = JobId::new((n / 5).to_be_bytes());
        let seq = n / 5 + 1;
        match n % 5 {
            0 => Record::Claim { job, arrived_ms: n },
            1 => Record::Try { job, attempt: 1 },
            2 => {
                let (result_id, cose) = ([n as u8; 16], vec![n as u8; 60]);
                Record::Result { job, seq, result_id, failed: false, cose }
            }
            3 => Record::Released { job },
            _ => Record::Confirm { seq },
        }
    }

    /// 200 records, the middle one a checkpoint.
    fn written() -> Written {
        let header = Header { epoch: EPOCH, first_lsn: 0, chain: [0; 32] };
        let (mut bytes, mut chain, mut ends) = (header.encode(), header.chain, Vec::new());
        let mut last = (0, [0; 32]);
        for lsn in 0..200 {
            let record = if lsn == 100 {
                let (last_seq, last_hash) = last;
                let head = JournalHead { epoch: EPOCH, lsn, chain, last_seq, last_hash };
                Record::Checkpoint { cose: witness(head).unwrap() }
            } else {
                record(lsn - u64::from(lsn > 100))
            };
            if let Record::Result { seq, cose, .. } = &record {
                last = (*seq, sha256(cose));
            }
            let stamp = Stamp { lsn, time_ms: 1, in_write: 0 };
            chain = encode_record(&mut bytes, &record, stamp, &chain).unwrap();
            ends.push(bytes.len());
        }
        Written { bytes, ends }
    }

    /// How many records a journal with this only segment holds; `None` when it is refused.
    fn records_in(bytes: &[u8], trust: &TrustStore) -> Option<usize> {
        let header = Header::decode(bytes)?;
        let (number, path, bytes) = (0, PathBuf::new(), bytes.to_vec());
        let segment = Segment { number, path, bytes, header };
        let mut count = 0;
        let mut replay = Replay::after(None);
        match replay.take(&segment, None, (trust, true), &mut |_| count += 1) {
            Ok(()) => Some(count),
            Err(JournalError::Damaged { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_journal_cut_at_any_byte_holds_every_record_before_the_cut() {
        let (Written { bytes, ends }, trust) = (written(), trust());
        assert_eq!(records_in(&bytes, &trust), Some(200));
        for cut in 0..bytes.len() {
            let whole = ends.iter().take_while(|end| **end <= cut).count();
            let expected = (cut >= HEADER_BYTES).then_some(whole);
            assert_eq!(records_in(&bytes[..cut], &trust), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_flip_of_any_byte_is_noticed() {
        let (Written { mut bytes, .. }, trust) = (written(), trust());
        for at in 0..bytes.len() {
            for flip in [1 << (at % 8), 0xff] {
                bytes[at] ^= flip;
                assert_eq!(records_in(&bytes, &trust), None, "byte {at} xor {flip:#x}");
                bytes[at] ^= flip;
            }
        }
    }

    /// What a power cut leaves of the last write: each of its blocks is there or reads as zeros.
    #[test]
    fn a_last_write_with_blocks_missing_is_torn_whatever_is_left_of_it() {
        const BLOCK: usize = 4096;
        let trust = trust();
        let header = Header { epoch: EPOCH, first_lsn: 0, chain: [0; 32] };
        for first_bytes in (3_900..4_100).chain([20, 2_000]) {
            let (mut bytes, mut chain) = (header.encode(), header.chain);
            let claim = Record::Claim { job: JobId::new([1; 8]), arrived_ms: 1 };
            let result = |seq, length| {
                let (job, result_id) = (JobId::new([1; 8]), [seq as u8; 16]);
                Record::Result { job, seq, result_id, failed: false, cose: vec![7; length] }
            };
            let writes =
                [vec![result(1, first_bytes)], vec![claim, result(2, 6_000), result(3, 50)]];
            let (mut lsn, mut synced) = (0, 0);
            for write in &writes {
                synced = bytes.len();
                for (in_write, record) in write.iter().enumerate() {
                    let stamp = Stamp { lsn, time_ms: 1, in_write };
                    chain = encode_record(&mut bytes, record, stamp, &chain).unwrap();
                    lsn += 1;
                }
            }
            assert_eq!(records_in(&bytes, &trust), Some(4));
            let blocks: Vec<usize> = (synced / BLOCK..bytes.len().div_ceil(BLOCK)).collect();
            for missing in 1..1_u32 << blocks.len() {
                let mut cut = bytes.clone();
                let gone = blocks.iter().enumerate().filter(|(n, _)| missing & (1 << n) != 0);
                for (_, block) in gone {
                    let end = bytes.len().min((block + 1) * BLOCK);
                    cut[synced.max(block * BLOCK)..end].fill(0);
                }
                let found = records_in(&cut, &trust);
                // A record that ends with the last bytes before a boundary may be gone by so few
                // zeros that they tell nothing; then a person has to look.
                let tells_little = BLOCK - synced % BLOCK < 16;
                assert!(found.is_some() || tells_little, "{first_bytes}, blocks {missing:#b}");
                assert!(found.is_none_or(|count| (1..4).contains(&count)), "{first_bytes}");
            }
        }
    }

    #[test]
    fn zeroed_and_swapped_sectors_are_noticed() {
        let (Written { bytes, ends }, trust) = (written(), trust());
        let sectors = bytes.len().div_ceil(SECTOR);
        let range = |n: usize| n * SECTOR..bytes.len().min((n + 1) * SECTOR);
        for n in 0..sectors {
            let mut zeroed = bytes.clone();
            zeroed[range(n)].fill(0);
            // Zeros to the end of the file are what a power cut leaves of the last write.
            let whole = ends.iter().take_while(|end| **end <= n * SECTOR).count();
            let expected = (n + 1 == sectors).then_some(whole);
            assert_eq!(records_in(&zeroed, &trust), expected, "sector {n} zeroed");
        }
        let whole = bytes.len() / SECTOR;
        for (a, b) in (0..whole).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let mut swapped = bytes.clone();
            let (low, high) = swapped.split_at_mut(a * SECTOR);
            low[b * SECTOR..(b + 1) * SECTOR].swap_with_slice(&mut high[..SECTOR]);
            assert_eq!(records_in(&swapped, &trust), None, "sectors {a} and {b} swapped");
        }
    }
}
