//! What networks may compute with.

use super::int8::isa::Isa;

/// The widest compute pool.
pub const MAX_THREADS: usize = 64;

/// Threads and instructions. Neither changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// 1..=[`MAX_THREADS`].
    pub threads: usize,
    /// The path of the int8 engine.
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
