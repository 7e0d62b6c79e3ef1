//! What networks may compute with.

use super::isa::Isa;

/// The most threads that share a layer.
pub const MAX_THREADS: usize = 64;

/// Bytes that a network may hold where nobody says otherwise.
pub const DEFAULT_MEMORY: usize = 8 << 30;

/// Threads, instructions and memory. None of them changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// 1..=[`MAX_THREADS`]; what lies outside is taken to the nearest.
    pub threads: usize,
    /// The path of the int8 engine; must be available.
    pub isa: Isa,
    /// Bytes that a network may hold, packed weights included.
    pub memory: usize,
}

impl Compute {
    /// `threads` threads, within bounds, the best instructions of this machine, and
    /// [`DEFAULT_MEMORY`].
    pub fn with_threads(threads: usize) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        Self { threads, isa: Isa::detect(), memory: DEFAULT_MEMORY }
    }

    /// One thread.
    pub fn alone() -> Self {
        Self::with_threads(1)
    }
}
