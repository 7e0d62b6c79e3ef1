//! Wiring: tasks, channels, shutdown.

pub mod draft;
