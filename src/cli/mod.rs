//! One file per command.

pub mod keys;
pub mod models;
pub mod verify;
pub mod phantom;
pub mod subscribe;
