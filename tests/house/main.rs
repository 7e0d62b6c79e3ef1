//! The house's own rules, held by reading the source: layers, file headers, promises.

mod layering;
mod source;
mod tidy;
