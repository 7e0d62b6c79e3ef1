//! Everything that touches the machine.

pub mod errors;

pub mod files;

pub mod fail_point;

pub mod clock;

pub mod supervisor;

pub mod keys;

pub mod certificates;

pub mod packages;

pub mod journal;

pub mod inbox;

pub mod worker;

pub mod mqtt;

#[cfg(feature = "dicom-net")]
pub mod receiver;

#[cfg(feature = "demo")]
pub mod broker;
