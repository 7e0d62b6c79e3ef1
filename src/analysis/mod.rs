//! The data path: checked bytes in, findings out. Pure: no file, no clock, no environment.

pub mod decode;

pub mod volume;

pub mod gate;

pub mod engine;

pub mod segment;

pub mod lesions;

pub mod pmn;

pub mod findings;

pub mod models;

mod analyse;

pub use analyse::{
    Analysis, AnalysisError, Clinic, Networks, Observer, Settings, StudyInput, analyse,
};
