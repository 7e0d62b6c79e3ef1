//! The messages as they travel. Field order is the wire format (`../result.cddl`): never reorder,
//! insert or drop a field; a new format is a new `v` and a new content type.
//!
//! The same types serialise twice: to packed CBOR with numbers for codes and byte strings for
//! digests (what is signed), and to JSON with names for codes and hexadecimal text for digests
//! (the view). They are read back from CBOR only.

pub mod atoms;
pub mod clinical_codes;
pub mod codes;
pub mod consistency;
pub mod decimal;
pub mod gate_codes;
pub mod messages;
pub mod parts;
pub mod reason;
pub mod result;

#[cfg(test)]
pub(crate) mod samples;

pub use atoms::{BoundError, Digest, Id8, Id16, List, Slug, Text};
pub use clinical_codes::{
    ClinicalField, ClinicalFinding, Contraindication, DoseItem, HepaticVein, Lobes, PortalFlow,
    Side, Stage, StagingSystem,
};
pub use codes::{
    AlbiGrade, Ascites, ChildPughClass, ClockQuality, CompletionRule, Criterion, DeviceState,
    Encephalopathy, InputRole, IntendedUse, Met, Precision, Provenance, Pvtt, RecommendationCode,
    RiskGroup, Sex, Source, StageCode, Status, Task, Treatment, Wording,
};
pub use gate_codes::GateCode;
pub use messages::{AckMessage, CheckpointMessage, ResendMessage, Sandbox, StatusMessage};
pub use parts::{
    Burden, Clinical, ContraindicationCheck, CriterionCheck, Dose, Engine, GateValue, InputSeries,
    Inputs, Lesion, Lesions, ModelUse, Nomogram, Pmn, Recommendation, Staging, Supplied, Survival,
    Term, Timing,
};
pub use reason::{Reason, ReasonCode};
pub use result::{Draft, ResultMessage, Stamp};

/// The version every message carries in its first field.
pub const WIRE_VERSION: u64 = 1;

/// The largest signed message, envelope included, in bytes (DESIGN section 5).
pub const MAX_MESSAGE: usize = 16 * 1024;

/// The largest [`Draft`] a worker may hand back, in bytes: what fits into a message beside the
/// envelope and the daemon's own fields.
pub const MAX_DRAFT: usize = 15 * 1024;
