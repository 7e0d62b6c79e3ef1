//! Wire format, COSE envelopes, trust store, verifier and chain check. Pure: bytes and keys come
//! in as arguments, bytes and verdicts go out; no file, clock or network is touched here.
//!
//! `result.cddl` beside this file is the contract; the tests of this module hold the code to it.

pub mod cbor;
pub mod chain;
pub mod cose;
pub mod digest;
pub mod sign;
pub mod trust;
pub mod verify;
pub mod view;
pub mod wire;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod vectors;
