//! The clinical layer: supplied data, eligibility, liver function, stagings, contraindications,
//! nomograms, recommendation, published protocols. Pure: bytes and measurements in, values out. It
//! never fills in a missing value and never scores a patient outside the validity box.

pub mod data;

mod needs;

pub mod eligibility;

pub mod liver_function;

pub mod burden;

pub mod staging;

pub mod contraindications;

pub mod protocol;

pub mod nomogram;

pub mod policy;

mod assessment;

pub use assessment::{ClinicalFindings, Finding, Measured, Reason, assess};
pub use data::{ClinicalData, ClinicalDataError};
pub use needs::NeedsInputs;
pub use nomogram::{Nomogram, NomogramError, NomogramPair, PackageId};
