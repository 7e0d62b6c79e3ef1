//! Hostile bytes → `HuVolume`, under limits.

/// Why a file is not a usable CT volume.
#[derive(Debug, Clone, PartialEq)]
pub enum DecodeError {}
