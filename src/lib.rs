#![doc = include_str!("ARCHITECTURE.md")]
// The lint also runs without the tests, which is where the rule counts.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "unit tests read fixtures"))]

#[cfg(not(panic = "unwind"))]
compile_error!("hcc-edge isolates a worker's panics by unwinding: build with panic = \"unwind\"");

pub mod units;

pub mod config;

pub mod clinical;

pub mod dicom;

pub mod analysis;

pub mod phantom;

pub mod render;

pub mod seal;

pub mod study;

#[allow(clippy::disallowed_methods, reason = "host touches the machine")]
pub mod host;

#[allow(clippy::disallowed_methods, reason = "the daemon runs threads and timers")]
pub mod daemon;

#[allow(clippy::disallowed_methods, reason = "the control room talks to a broker")]
pub mod control_room;

#[allow(clippy::disallowed_methods, reason = "commands read arguments, files and the clock")]
pub mod cli;
