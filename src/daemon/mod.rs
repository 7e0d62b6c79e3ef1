//! Wiring: tasks, channels, shutdown.
