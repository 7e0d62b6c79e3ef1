//! Wiring: tasks, channels, shutdown.

pub mod draft;

pub mod inside;
