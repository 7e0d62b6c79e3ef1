//! What the threads tell the service. Nothing that must survive travels here: that is in the
//! journal before a notice is sent.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::release::ReleaseError;
use crate::host::inbox::{ClaimError, InboxError};
use crate::host::journal::{JobId, SealError};
use crate::host::keys::KeyError;
use crate::host::mqtt::messages::{JobPhase, JobUpdate};
use crate::host::mqtt::topic::AlarmCode;
use crate::seal::cbor::CborError;
use crate::seal::wire::BoundError;

/// Something to publish or to act on.
#[derive(Debug)]
pub enum Notice {
    /// Progress of a study.
    Job(JobUpdate),
    /// The outbox has something new.
    Outbox,
    /// This result is to be published once more: its study came again.
    Again(u64),
    /// An alarm stands, with its detail, or is over.
    Alarm(AlarmCode, Option<Value>),
    /// A thread cannot go on: the daemon ends.
    Fatal(ThreadError),
}

/// Why a thread of the daemon cannot go on, and the daemon with it.
#[derive(Debug, Error)]
pub enum ThreadError {
    /// The journal can no longer be written: nothing may be promised any more.
    #[error("the journal cannot go on")]
    Journal(#[from] SealError),
    /// The inbox cannot be read.
    #[error("the inbox cannot be watched")]
    Inbox(#[from] InboxError),
    /// The claims of the last run cannot be listed.
    #[error("work/ cannot be looked through")]
    Claim(#[from] ClaimError),
    /// The disk did not confirm a study's files; the next start goes on from what is there.
    #[error("a study cannot be put in its place")]
    Release(#[from] ReleaseError),
    /// The disk did not confirm a mask or a picture.
    #[error("a worker's artefact cannot be kept")]
    Artefact(#[source] io::Error),
    /// The journal does not have a result that a study waits for.
    #[error("result {0} is not in the journal")]
    Missing(u64),
    /// A thread stopped working in the middle of something.
    #[error("a thread of the daemon panicked")]
    Panicked,
    /// A thread that never ends has ended.
    #[error("the {0} ended by itself")]
    Ended(&'static str),
    /// No random numbers for a job's name.
    #[error("the system gave no random numbers")]
    Random(#[from] KeyError),
    /// A digest of the study could not be formed; its limits rule that out.
    #[error("a study cannot be named")]
    Name(#[from] CborError),
    /// A draft of our own does not fit the wire; its limits rule that out.
    #[error("a result cannot be put into words")]
    Draft(#[from] BoundError),
}

/// Whoever listens. Called from several threads; must not wait long.
pub type Tell = Arc<dyn Fn(Notice) + Send + Sync>;

/// Progress of a study as a notice.
pub fn job(job: JobId, phase: JobPhase) -> Notice {
    let mut name = heapless::String::new();
    // A job id has exactly the sixteen digits that fit.
    let _ = name.push_str(&job.to_string());
    Notice::Job(JobUpdate { job: name, phase })
}
