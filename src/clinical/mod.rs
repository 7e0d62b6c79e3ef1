//! The clinical layer: eligibility, liver function, nomograms, recommendation. Pure.

/// What the clinical layer concluded.
#[derive(Debug, Clone, PartialEq)]
pub struct ClinicalFindings {}

/// Why the clinical layer gives no score.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {}
