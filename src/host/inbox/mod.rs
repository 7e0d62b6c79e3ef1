//! The inbox: what the scanner side drops, until it is claimed and looked at (DESIGN section 4).
//!
//! [`Inbox`] finds folders that are complete, [`Claim`] takes one by renaming it into `work/`, and
//! [`inspect()`] reads it once, under limits, and says which file is which. The decisions are in
//! [`crate::study`]; what is here touches the disk.
//!
//! The scanner side is not trusted and may own the files: links are never followed, nothing waits
//! on a pipe, and no permission is changed. A study's folder may be named after a patient, so
//! neither the log nor an error nor a message names it or its files; `claim.json` does.

mod content;
pub use content::{hash, read_whole};
mod listing;
pub use listing::{MARKER_BYTES_PER_FILE, MOST_LEVELS};
mod watch;

mod scan;
pub use scan::{Inbox, InboxError, MAX_FOLDERS, Now, Ready};

mod claim;
pub use claim::{CLAIM_FILE, Claim, ClaimError, INPUT, claim, is_taken, recover, take};

mod inspect;
pub use inspect::{Inspection, Refusal, StudyFile, inspect};

#[cfg(test)]
pub(crate) mod fixtures;
