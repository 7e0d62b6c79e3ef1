//! The journal: the one truth about what was claimed, tried, signed and delivered.
//!
//! Append-only segments of hash-chained records. A record counts once it is fsynced; everything
//! else (the outbox, `done/`, the next `seq`) is a view that is rebuilt from here.
//!
//! ```text
//! segment  = header  record*
//! header   = "HCCJRNL1"  epoch (8)  first lsn (8)  chain at start (32)  crc32c (4)
//! record   = length (4)  type (1)  version (1)  number in its write (2)  lsn (8)  time ms (8)
//!            body (length)  crc32c (4)  chain (32)
//! chain    = SHA-256(previous chain ‖ everything of this record before its chain)
//! ```
//!
//! All integers are little-endian; bodies are packed CBOR. At opening, a write that ends early at the
//! very end of the last segment, or of which blocks read as zeros, is torn: it was never acknowledged
//! and is truncated. A later write after it would show that it had been synced.
//! Anything else that does not hold is damage, and the journal refuses to open until an operator
//! accepts it; the damaged segments are then set aside, a new epoch begins, and what can be read of
//! undelivered results is carried over.
//!
//! A checkpoint is the device's signature under the chain. One begins every segment but the first,
//! and one follows every 256 records, so that nobody who has the disk and not the key can rewrite
//! what a checkpoint covers. Segments that nothing needs any more and that are older than the retention are
//! deleted; `base.cose`, the checkpoint that the oldest kept segment begins with, says where the
//! journal starts then.

pub mod record;

mod segment;

pub mod ledger;

mod base;

mod replay;

mod store;

mod thread;

#[cfg(test)]
mod testing;

pub use ledger::{JobState, Ledger, ResultEntry};
pub use record::{JobId, Record};
pub use replay::inspect;
pub use store::{Damage, Entry, JournalError, Store, damaged_files};
pub use thread::{Journal, JournalHead, SealContext, SealError, Witness};
