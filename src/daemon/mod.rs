//! The daemon: everything below put together, as tasks, channels and a shutdown.
//!
//! ```text
//!   inbox ─▶ intake thread ──claimed──▶ lane thread ──▶ worker process
//!              │                          │
//!              └───── journal thread ◀────┘          (journal first, always)
//!                         │
//!                      outbox ──▶ uplink task ──▶ broker
//! ```
//!
//! The threads block on files and processes; tokio runs the broker's connection, timers and
//! signals. They tell the service what happened with a [`notice::Notice`].

pub mod device;

pub mod packages;

pub mod notice;

pub mod pulse;

pub mod lane;

pub mod sealing;

pub mod draft;

pub mod release;

pub mod recover;

pub mod intake;

pub mod outbox;

pub mod presence;

pub mod telemetry;

pub mod retention;

pub mod control;

pub mod service;

pub mod inside;
