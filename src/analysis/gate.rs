//! Is this really a two-phase liver CT? Reasons, not guesses.

/// What the gate measured.
#[derive(Debug, Clone, PartialEq)]
pub struct GateReport {}

/// Why the gate refuses.
#[derive(Debug, Clone, PartialEq)]
pub enum GateReason {}
