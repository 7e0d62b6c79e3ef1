//! Everything that touches the machine.

pub mod mqtt;

#[cfg(feature = "demo")]
pub mod broker;
