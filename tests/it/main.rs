//! Black-box tests.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read files and the clock, and stop at the first thing that fails"
)]

mod board;

mod broker;

mod edge;

mod nifti;

mod daemon;

mod bad_input;

mod chaos;

mod check;

mod clinical;

mod clones;

mod consumer;

mod control;

mod demo;

mod dicom;

mod dicom_pixels;

mod dicom_study;

mod dicom_output;

mod real_data;

mod programs;

mod real_ct;

mod models;

mod mqtt;

mod python;

#[cfg(feature = "dicom-net")]
mod receive;

#[cfg(feature = "dicom-net")]
mod dicom_files;

#[cfg(feature = "dicom-net")]
mod dicom_sender;

mod scripts;

mod segment;

mod subscribe;
mod supervisor;

mod worker;
