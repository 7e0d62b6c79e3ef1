//! Everything that touches the machine.

pub mod worker;
