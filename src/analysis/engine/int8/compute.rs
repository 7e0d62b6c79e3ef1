//! What networks may compute with.

use super::isa::Isa;

/// The most threads that share a layer.
pub const MAX_THREADS: usize = 64;

/// Threads and instructions. Neither changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// 1..=[`MAX_THREADS`]; what lies outside is taken to the nearest.
    pub threads: usize,
    /// The path of the int8 engine; must be available.
    pub isa: Isa,
}

impl Compute {
    /// `threads` threads, within bounds, and the best instructions of this machine.
    pub fn with_threads(threads: usize) -> Self {
        Self { threads: threads.clamp(1, MAX_THREADS), isa: Isa::detect() }
    }

    /// One thread.
    pub fn alone() -> Self {
        Self::with_threads(1)
    }
}
