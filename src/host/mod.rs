//! Everything that touches the machine.

pub mod keys;
pub mod packages;
