//! The worker process: one study, one process, no key, no network, no files.
//!
//! ```text
//! daemon                                   worker (same binary, `hcc-edge worker`)
//!   spawn ──────────────────────────────▶  rlimits, no_new_privs, Landlock, seccomp
//!   files and packages as frames ───────▶  analyse
//!   progress, masks, pictures, draft ◀───
//!   checks sizes, writes out/, reads VmHWM
//! ```
//!
//! Everything travels as length-prefixed frames over stdin and stdout, so the worker opens nothing
//! after it has locked itself in: the daemon hashes the very bytes it hands over and writes the
//! very bytes it receives, both under limits.

pub mod frame;
pub mod process;
pub mod sandbox;

pub use process::{Artefact, Input, Job, Limits, WorkerError, WorkerReport, run};
