//! The worker process: one study, one process, no key, no network, no files.
//!
//! ```text
//! daemon                                   worker (same binary, `hcc-edge worker`)
//!   spawn ──────────────────────────────▶  rlimits, no_new_privs, Landlock, seccomp
//!   good enough? ◀──────────────────────   posture
//!   files and packages as frames ───────▶  analyse
//!   progress, masks, pictures, draft ◀───
//!   checks sizes, writes out/, reads VmHWM
//! ```
//!
//! Everything travels as length-prefixed frames over stdin and stdout, so the worker opens nothing
//! after it has locked itself in: the daemon hashes the very bytes it hands over and writes the
//! very bytes it receives, both under limits.

pub mod frame;

pub mod sandbox;

pub mod failure;

pub mod self_test;

pub mod job;

mod feed;

mod collect;

pub mod process;

pub use failure::FailureClass;
pub use job::{Artefact, Input, Job, Limits, SelfTest, Setup, WorkerError, WorkerReport};
pub use process::{run, run_self_test};
pub use sandbox::Posture;
