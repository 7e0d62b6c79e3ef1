//! The data path: checked bytes in, findings out. Pure: no file, no clock, no environment.

pub mod decode;

pub mod volume;

pub mod gate;

pub mod engine;

pub mod segment;

pub mod lesions;

pub mod pmn;

pub mod findings;

mod analyse;

pub use analyse::{
    Analysis, AnalysisError, Clinic, Measured, Networks, Observer, Settings, StudyInput, analyse,
};
