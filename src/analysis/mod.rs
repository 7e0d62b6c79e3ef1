//! The data path: checked bytes in, findings out. Pure: no file, no clock, no environment.

pub mod decode;

pub mod volume;

pub mod threads;

pub mod gate;

pub mod enhancement;

pub mod phases;

pub mod engine;

pub mod segment;

pub mod lesions;

pub mod registration;

pub mod pmn;

pub mod findings;

pub mod models;

mod analyse;

/// Number of this analysis: part of every result id, so that a study is analysed again when what is
/// computed from it has changed. Raise it with every change of the numbers that come out.
pub const ANALYSIS_VERSION: u64 = 4;

pub use analyse::{Analysis, AnalysisError, Clinic, Networks, Observer, Settings, analyse};
pub use phases::StudyInput;
