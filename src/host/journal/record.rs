//! What is written down, and its bytes.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

/// The longest body of a record, in bytes: a result of 16 KiB and its ids.
pub const MAX_BODY: usize = 32 * 1024;

/// A claimed study's name everywhere: 16 lower-case hexadecimal digits, random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId([u8; 8]);

impl JobId {
    /// From 8 random bytes.
    pub fn new(random: [u8; 8]) -> Self {
        Self(random)
    }

    /// Reads 16 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() != 16 || !text.bytes().all(hexadecimal) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(|n| Self(n.to_be_bytes()))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A study was taken from the inbox; from here on it will get a result.
    Claim {
        /// Its name from now on.
        job: JobId,
        /// When it was first seen, Unix milliseconds.
        arrived_ms: u64,
    },
    /// An attempt is about to start.
    Try {
        /// Which study.
        job: JobId,
        /// From 1.
        attempt: u32,
    },
    /// The daemon was stopped in an orderly way during the last attempt, which does not count.
    Interrupted {
        /// Which study.
        job: JobId,
    },
    /// The signed result. `seq` is contiguous from 1 within the epoch.
    Result {
        /// Which study.
        job: JobId,
        /// Its place in the epoch.
        seq: u64,
        /// The idempotency key.
        result_id: [u8; 16],
        /// True when the study goes to `failed/` instead of `done/`.
        failed: bool,
        /// COSE_Sign1, exactly as it will be sent.
        cose: Vec<u8>,
    },
    /// The study was seen before: the earlier result is sent again instead of a new one.
    Duplicate {
        /// The study claimed again.
        job: JobId,
        /// The result it already has.
        seq: u64,
    },
    /// The input was moved out of `work/`; nothing is left to do but delivery.
    Released {
        /// Which study.
        job: JobId,
    },
    /// The result was delivered.
    Confirm {
        /// Which result.
        seq: u64,
    },
    /// The device's signature under everything before it; begins every segment but the first.
    Checkpoint {
        /// COSE_Sign1 of a `CheckpointMessage`.
        cose: Vec<u8>,
    },
    /// A signed result of an earlier epoch whose journal was damaged before it was delivered.
    Carried {
        /// Its number in the outbox, from [`super::ledger::CARRIED`].
        number: u64,
        /// COSE_Sign1, exactly as it will be sent.
        cose: Vec<u8>,
    },
}

/// A body that is not what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub &'static str);

impl Record {
    /// The kinds' names, by type number from 1.
    pub const KINDS: [&'static str; 9] = [
        "claim",
        "try",
        "result",
        "duplicate",
        "released",
        "confirm",
        "interrupted",
        "checkpoint",
        "carried",
    ];

    /// What kind of record it is.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[usize::from(self.number()) - 1]
    }

    fn number(&self) -> u8 {
        match self {
            Self::Claim { .. } => 1,
            Self::Try { .. } => 2,
            Self::Result { .. } => 3,
            Self::Duplicate { .. } => 4,
            Self::Released { .. } => 5,
            Self::Confirm { .. } => 6,
            Self::Interrupted { .. } => 7,
            Self::Checkpoint { .. } => 8,
            Self::Carried { .. } => 9,
        }
    }

    /// Type number and body.
    pub(super) fn encode(&self) -> Result<(u8, Vec<u8>), BadRecord> {
        let bytes = |id: &JobId| ByteArray::new(id.0);
        let body = match self {
            Self::Claim { job, arrived_ms } => pack(&(bytes(job), arrived_ms)),
            Self::Try { job, attempt } => pack(&(bytes(job), attempt)),
            Self::Result { job, seq, result_id, failed, cose } => {
                let body = ResultBody {
                    job: bytes(job),
                    seq: *seq,
                    result_id: ByteArray::new(*result_id),
                    failed: *failed,
                    cose: ByteBuf::from(cose.clone()),
                };
                pack(&body)
            }
            Self::Duplicate { job, seq } => pack(&(bytes(job), seq)),
            Self::Released { job } => pack(&(bytes(job),)),
            Self::Confirm { seq } => pack(&(seq,)),
            Self::Interrupted { job } => pack(&(bytes(job),)),
            Self::Checkpoint { cose } => pack(&(serde_bytes::Bytes::new(cose),)),
            Self::Carried { number, cose } => pack(&(number, serde_bytes::Bytes::new(cose))),
        };
        let body = body?;
        if body.len() > MAX_BODY {
            return Err(BadRecord("a record longer than the journal takes"));
        }
        Ok((self.number(), body))
    }

    /// The record with this type number and body.
    pub(super) fn decode(number: u8, body: &[u8]) -> Result<Self, BadRecord> {
        let id = |bytes: ByteArray<8>| JobId(bytes.into_array());
        Ok(match number {
            1 => {
                let (job, arrived_ms) = unpack(body)?;
                Self::Claim { job: id(job), arrived_ms }
            }
            2 => {
                let (job, attempt) = unpack(body)?;
                Self::Try { job: id(job), attempt }
            }
            3 => {
                let body: ResultBody = unpack(body)?;
                Self::Result {
                    job: id(body.job),
                    seq: body.seq,
                    result_id: body.result_id.into_array(),
                    failed: body.failed,
                    cose: body.cose.into_vec(),
                }
            }
            4 => {
                let (job, seq) = unpack(body)?;
                Self::Duplicate { job: id(job), seq }
            }
            5 => {
                let (job,) = unpack(body)?;
                Self::Released { job: id(job) }
            }
            6 => {
                let (seq,) = unpack(body)?;
                Self::Confirm { seq }
            }
            7 => {
                let (job,) = unpack(body)?;
                Self::Interrupted { job: id(job) }
            }
            8 => {
                let (cose,): (ByteBuf,) = unpack(body)?;
                Self::Checkpoint { cose: cose.into_vec() }
            }
            9 => {
                let (number, cose): (u64, ByteBuf) = unpack(body)?;
                Self::Carried { number, cose: cose.into_vec() }
            }
            _ => return Err(BadRecord("a record of an unknown type")),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultBody {
    job: ByteArray<8>,
    seq: u64,
    result_id: ByteArray<16>,
    failed: bool,
    cose: ByteBuf,
}

fn pack(body: &impl Serialize) -> Result<Vec<u8>, BadRecord> {
    serde_cbor::ser::to_vec_packed(body).map_err(|_| BadRecord("a body that cannot be encoded"))
}

fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadRecord> {
    serde_cbor::from_slice(body).map_err(|_| BadRecord("a body that does not decode"))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn any_record() -> impl Strategy<Value = Record> {
        let job = any::<[u8; 8]>().prop_map(JobId::new);
        prop_oneof![
            (job.clone(), any::<u64>())
                .prop_map(|(job, arrived_ms)| Record::Claim { job, arrived_ms }),
            (job.clone(), 1u32..9).prop_map(|(job, attempt)| Record::Try { job, attempt }),
            (job.clone(), any::<u64>(), any::<[u8; 16]>(), any::<bool>(), "[ -~]{0,200}").prop_map(
                |(job, seq, result_id, failed, cose)| Record::Result {
                    job,
                    seq,
                    result_id,
                    failed,
                    cose: cose.into_bytes(),
                }
            ),
            (job.clone(), any::<u64>()).prop_map(|(job, seq)| Record::Duplicate { job, seq }),
            job.clone().prop_map(|job| Record::Released { job }),
            job.prop_map(|job| Record::Interrupted { job }),
            any::<u64>().prop_map(|seq| Record::Confirm { seq }),
            (any::<u64>(), "[ -~]{0,200}")
                .prop_map(|(number, cose)| Record::Carried { number, cose: cose.into_bytes() }),
        ]
    }

    #[test]
    fn job_ids_are_sixteen_lower_case_digits() {
        let id = JobId::new([0, 1, 2, 0xab, 0xcd, 0xef, 0x10, 0xff]);
        assert_eq!(id.to_string(), "000102abcdef10ff");
        assert_eq!(JobId::parse("000102abcdef10ff"), Some(id));
        for bad in ["000102abcdef10f", "000102abcdef10ff0", "000102ABCDEF10FF", "../02abcdef10ff"] {
            assert_eq!(JobId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_result_larger_than_the_limit_is_refused() {
        let result = |len| Record::Result {
            job: JobId::new([0; 8]),
            seq: 1,
            result_id: [0; 16],
            failed: false,
            cose: vec![0; len],
        };
        assert!(result(16 * 1024).encode().is_ok());
        assert!(result(MAX_BODY).encode().is_err());
    }

    proptest! {
        #[test]
        fn records_round_trip(record in any_record()) {
            let (number, body) = record.encode().unwrap();
            prop_assert_eq!(Record::decode(number, &body).unwrap(), record);
        }

        #[test]
        fn hostile_bodies_never_panic(number in 0u8..11, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Record::decode(number, &body);
        }
    }
}
