//! One file per command.

pub mod phantom;
