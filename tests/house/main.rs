//! The house's own rules, held by reading the source: layers, file headers, promises.

#![allow(clippy::disallowed_methods, reason = "tests read files and the clock")]

mod layering;
mod source;
mod tidy;
