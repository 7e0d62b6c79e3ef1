//! The bytes of a segment: header, records, and the scan that tells a torn end from damage.

use ring::digest::{Context, SHA256};

use super::record::{BadRecord, MAX_BODY, Record};

/// First bytes of every segment.
pub(super) const MAGIC: &[u8; 8] = b"HCCJRNL1";
/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 8 + 8 + 8 + 32 + 4;
/// Bytes of a record before its body.
const HEAD_BYTES: usize = 24;
/// Bytes of a record after its body.
const TAIL_BYTES: usize = 4 + 32;
/// Version of the record layout.
const VERSION: u8 = 1;
/// A device writes sectors whole.
const SECTOR: usize = 512;
/// A file system allocates blocks, and what was not written of a new one reads as zeros.
const BLOCK: usize = 4096;
/// Fewer zeros than this at a record's start may be the record itself.
const HOLE_BYTES: usize = 16;

/// The running hash over everything written.
pub(super) type Chain = [u8; 32];

/// The fixed start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) epoch: [u8; 8],
    pub(super) first_lsn: u64,
    pub(super) chain: Chain,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.epoch);
        bytes.extend_from_slice(&self.first_lsn.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let (content, crc) = bytes.split_at(HEADER_BYTES - 4);
        let sound = content.starts_with(MAGIC) && crc == crc32c::crc32c(content).to_le_bytes();
        sound.then(|| Self {
            epoch: array(&content[8..16]),
            first_lsn: u64::from_le_bytes(array(&content[16..24])),
            chain: array(&content[24..56]),
        })
    }
}

/// A record as it lies in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) lsn: u64,
    pub(super) time_ms: u64,
    pub(super) record: Record,
    /// Where the record starts and how long it is, header of the segment included.
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A record's place among all and within the write that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) lsn: u64,
    pub(super) time_ms: u64,
    /// From 0: whatever follows a record with number 0 was written after everything before it was
    /// synced.
    pub(super) in_write: usize,
}

/// Appends a record's bytes to `out` and returns the chain after it.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    record: &Record,
    stamp: Stamp,
    chain: &Chain,
) -> Result<Chain, BadRecord> {
    let Stamp { lsn, time_ms, in_write } = stamp;
    let in_write = u16::try_from(in_write).unwrap_or(u16::MAX);
    let (number, body) = record.encode()?;
    let start = out.len();
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&[number, VERSION]);
    out.extend_from_slice(&in_write.to_le_bytes());
    out.extend_from_slice(&lsn.to_le_bytes());
    out.extend_from_slice(&time_ms.to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32c::crc32c(&out[start..]).to_le_bytes());
    let chain = next_chain(chain, &out[start..]);
    out.extend_from_slice(&chain);
    Ok(chain)
}

fn next_chain(previous: &Chain, record: &[u8]) -> Chain {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(record);
    array(context.finish().as_ref())
}

/// Why a scan stopped before the end of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes end inside a record.
    CutOff,
    /// A record is there and does not hold.
    Wrong(&'static str),
}

/// How far a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// Chain and lsn after the last sound record.
    pub(super) chain: Chain,
    pub(super) next_lsn: u64,
    /// Length of the sound part.
    pub(super) sound: usize,
    /// What follows the sound part, if anything.
    pub(super) stop: Option<Stop>,
}

/// Reads the records of a segment whose header is `header`. `see` gets each of them with the chain
/// before it, and says what is wrong with it beyond its bytes.
pub(super) fn scan(
    bytes: &[u8],
    header: &Header,
    see: &mut dyn FnMut(Stored, &Chain) -> Result<(), &'static str>,
) -> Scan {
    let mut scan =
        Scan { chain: header.chain, next_lsn: header.first_lsn, sound: HEADER_BYTES, stop: None };
    while scan.sound < bytes.len() {
        let read = read_record(&bytes[scan.sound..], &scan);
        let seen = read.and_then(|(stored, chain)| {
            let length = stored.length as usize;
            see(stored, &scan.chain).map_err(Stop::Wrong)?;
            Ok((length, chain))
        });
        match seen {
            Ok((length, chain)) => {
                scan.chain = chain;
                scan.next_lsn += 1;
                scan.sound += length;
            }
            Err(stop) => {
                scan.stop = Some(judge(stop, &bytes[scan.sound..], scan.sound));
                break;
            }
        }
    }
    scan
}

/// Tells a torn write from damage. A write that a power cut tore was never acknowledged: it ends
/// early, or blocks of it read as zeros, and no later write follows. `at` is where in the file `rest`
/// begins.
fn judge(stop: Stop, rest: &[u8], at: usize) -> Stop {
    match stop {
        Stop::CutOff if is_whole_under_another_length(rest) || next_record(rest).is_some() => {
            Stop::Wrong("a record's length is wrong")
        }
        Stop::Wrong(_) if begins_with_hole(rest, at) && !holds_a_later_write(rest) => Stop::CutOff,
        other => other,
    }
}

/// Whether the record at the start of `rest` reaches into a block that was never written: zeros
/// from the record's start or from a sector's to the block's end.
fn begins_with_hole(rest: &[u8], at: usize) -> bool {
    let longest = rest.len().min(HEAD_BYTES + MAX_BODY + TAIL_BYTES);
    let first_sector = at.next_multiple_of(SECTOR) - at;
    let starts = std::iter::once(0).chain((first_sector..longest).step_by(SECTOR));
    starts.into_iter().any(|start| {
        let block_end = (at + start + 1).next_multiple_of(BLOCK) - at;
        let hole = &rest[start..block_end.min(rest.len())];
        let to_the_end = start + hole.len() == rest.len();
        (hole.len() >= HOLE_BYTES || to_the_end) && hole.iter().all(|byte| *byte == 0)
    })
}

/// Whether a sound record somewhere in `rest` begins a write of its own: then everything before it
/// had been synced.
fn holds_a_later_write(rest: &[u8]) -> bool {
    let mut at = 0;
    while let Some(step) = next_record(&rest[at..]) {
        at += step;
        if rest[at + 6..at + 8] == [0, 0] {
            return true;
        }
    }
    false
}

/// Whether the rest of the file is one sound record but for the length it claims. A torn write ends
/// early; this one has all its bytes.
fn is_whole_under_another_length(rest: &[u8]) -> bool {
    let Some(body) = rest.len().checked_sub(HEAD_BYTES + TAIL_BYTES) else { return false };
    let (checked, tail) = rest.split_at(HEAD_BYTES + body);
    let length = (body as u32).to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &checked[4..]);
    tail[..4] == crc.to_le_bytes()
}

/// Where the next whole record with a matching checksum starts, after the first byte.
fn next_record(rest: &[u8]) -> Option<usize> {
    (1..rest.len()).find(|start| {
        let bytes = &rest[*start..];
        let plausible = bytes.len() >= HEAD_BYTES + TAIL_BYTES && bytes[5] == VERSION;
        let body_bytes =
            if plausible { u32::from_le_bytes(array(&bytes[..4])) as usize } else { 0 };
        let checked = HEAD_BYTES + body_bytes;
        plausible
            && body_bytes <= MAX_BODY
            && bytes.len() >= checked + TAIL_BYTES
            && bytes[checked..checked + 4] == crc32c::crc32c(&bytes[..checked]).to_le_bytes()
    })
}

/// Every record of a segment whose bytes hold, whatever lies between them: for what can be saved
/// from a damaged journal. The chain and the numbers are not looked at.
pub(super) fn salvage(bytes: &[u8], see: &mut dyn FnMut(Record)) {
    let mut at = HEADER_BYTES.min(bytes.len());
    while at < bytes.len() {
        let rest = &bytes[at..];
        match parse_record(rest) {
            Ok((head, record)) => {
                see(record);
                at += head.whole_bytes;
            }
            Err(_) => match next_record(rest) {
                Some(step) => at += step,
                None => return,
            },
        }
    }
}

/// The fixed part of a record whose checksum holds.
struct Head {
    lsn: u64,
    time_ms: u64,
    checked_bytes: usize,
    whole_bytes: usize,
}

/// The record at the start of `bytes`, by its own checksum alone.
fn parse_record(bytes: &[u8]) -> Result<(Head, Record), Stop> {
    let head = bytes.get(..HEAD_BYTES).ok_or(Stop::CutOff)?;
    let body_bytes = u32::from_le_bytes(array(&head[..4])) as usize;
    if body_bytes > MAX_BODY {
        return Err(Stop::Wrong("a record's length is out of range"));
    }
    let checked_bytes = HEAD_BYTES + body_bytes;
    let whole_bytes = checked_bytes + TAIL_BYTES;
    let whole = bytes.get(..whole_bytes).ok_or(Stop::CutOff)?;
    let crc = crc32c::crc32c(&whole[..checked_bytes]).to_le_bytes();
    if whole[checked_bytes..checked_bytes + 4] != crc {
        return Err(Stop::Wrong("a record's checksum is wrong"));
    }
    if head[5] != VERSION {
        return Err(Stop::Wrong("a record's version is wrong"));
    }
    let record =
        Record::decode(head[4], &whole[HEAD_BYTES..checked_bytes]).map_err(|e| Stop::Wrong(e.0))?;
    let lsn = u64::from_le_bytes(array(&head[8..16]));
    let time_ms = u64::from_le_bytes(array(&head[16..24]));
    Ok((Head { lsn, time_ms, checked_bytes, whole_bytes }, record))
}

fn read_record(bytes: &[u8], so_far: &Scan) -> Result<(Stored, Chain), Stop> {
    let (head, record) = parse_record(bytes)?;
    let chained = head.checked_bytes + 4;
    let chain = next_chain(&so_far.chain, &bytes[..chained]);
    if bytes[chained..head.whole_bytes] != chain {
        return Err(Stop::Wrong("a record does not continue the hash chain"));
    }
    if head.lsn != so_far.next_lsn {
        return Err(Stop::Wrong("a record's number is wrong"));
    }
    let (lsn, time_ms) = (head.lsn, head.time_ms);
    let (offset, length) = (so_far.sound as u64, head.whole_bytes as u64);
    Ok((Stored { lsn, time_ms, record, offset, length }, chain))
}

/// Length of a whole record whose first four bytes are these.
pub(super) fn record_bytes(length: [u8; 4]) -> u64 {
    (HEAD_BYTES + TAIL_BYTES) as u64 + u64::from(u32::from_le_bytes(length))
}

/// The record that these bytes are, no more and no less, by its own checksum.
pub(super) fn whole_record(bytes: &[u8]) -> Result<Record, &'static str> {
    match parse_record(bytes) {
        Ok((head, record)) if head.whole_bytes == bytes.len() => Ok(record),
        Ok(_) => Err("a record's length is wrong"),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::CutOff) => Err("a record is cut off"),
    }
}

/// The bytes of a slice whose length the caller knows.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller slices exactly N bytes")
}
