//! ONNX import and inference: the only code that names tract, and the int8 engine.
//!
//! A [`package::Package`] is made of bytes that the host has verified already; nothing here reads a
//! file. [`network::Network`] runs its model on one input shape, behind a backend seam, and
//! [`golden::self_test`] refuses a package whose answers on this machine are not the stored ones.
//! The threads started here are the engine's compute pool, the only ones in the pure folders.

pub mod manifest;

mod raw;

mod check;

pub mod package;

pub mod network;

mod integer;

pub mod lower;

pub mod int8;

mod tract;

pub mod golden;

#[cfg(test)]
pub(crate) mod fixture;
