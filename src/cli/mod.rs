//! One file per command.

pub mod subscribe;
