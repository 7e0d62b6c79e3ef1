#![doc = include_str!("ARCHITECTURE.md")]

#[cfg(not(panic = "unwind"))]
compile_error!("hcc-edge isolates a worker's panics by unwinding: build with panic = \"unwind\"");

pub mod units;

pub mod config;

pub mod clinical;

pub mod analysis;

pub mod phantom;

pub mod render;

pub mod seal;

pub mod study;

pub mod host;

pub mod daemon;

pub mod control_room;

pub mod cli;
