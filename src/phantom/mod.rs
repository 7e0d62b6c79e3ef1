//! Synthetic two-phase studies with known truth.
