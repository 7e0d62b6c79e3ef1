//! The int8 engine: quantised 3-D networks in integer arithmetic, the same bits on every path.
//!
//! [`lower`](super::lower) reads the QDQ pattern of an ONNX model into a [`program`]; `ready` fixes the input's size,
//! packs the weights and plans the memory; [`run`] executes it on the path the machine can take. The
//! [`mod@reference`] is the truth: slow, obvious, and equal to every path bit for bit.

pub mod program;

pub mod tokens;

pub mod arithmetic;

mod bounds;

pub mod reference;

pub mod isa;

pub mod compute;

mod layout;

mod memory;

mod kernels;

pub mod ready;

pub mod run;

#[cfg(test)]
pub mod fixture;

#[cfg(test)]
mod tests;
