//! The clinical layer: supplied data, eligibility, liver function, nomograms, recommendation. Pure:
//! bytes and measurements in, values out. It never fills in a missing value and never scores a
//! patient outside the validity box.

pub mod data;

pub mod eligibility;

pub mod liver_function;

pub mod nomogram;

pub mod policy;

mod assessment;

pub use assessment::{ClinicalFindings, Finding, Measured, Reason, assess};
pub use data::{ClinicalData, ClinicalDataError};
pub use nomogram::{Nomogram, NomogramError, NomogramPair, PackageId};
