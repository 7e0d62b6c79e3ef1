//! Localise → sliding window → blend → labels on the scan's own grid.
//!
//! The localiser looks at the whole scan at a few millimetres and finds the liver's box; the fine
//! network then slides over that box alone. Class evidence exists only on the fine network's grid
//! and inside the box: the scan's grid sees labels, never logits.

pub mod localise;

pub mod segmenter;

mod window;

mod nnunet;

pub(in crate::analysis) mod restore;

pub(in crate::analysis) mod sampling;

#[cfg(test)]
pub(in crate::analysis) mod phantom_scan;

pub use localise::Localiser;
pub use segmenter::Segmenter;

use thiserror::Error;

use super::engine::network::EngineError;
use super::volume::VoxelBox;

/// How far a stage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Patches done.
    pub done: usize,
    /// Patches in all.
    pub total: usize,
}

/// The axes of the network along which a patch is also shown mirrored, in every combination, and the answers averaged:
/// twice the work for each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mirroring(pub [bool; 3]);

impl Mirroring {
    /// Each patch once.
    pub const OFF: Self = Self([false; 3]);
}

/// Why there are no labels.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The network could not be loaded or run.
    #[error("the network that {stage} could not be used")]
    Engine {
        /// What it was needed for.
        stage: &'static str,
        /// What happened.
        #[source]
        source: EngineError,
    },
    /// The package is for something else.
    #[error("package {package} cannot {stage}: its task is another one")]
    WrongTask {
        /// Package name.
        package: String,
        /// What was wanted of it.
        stage: &'static str,
    },
    /// The box does not lie in the volume.
    #[error("region {region:?} is empty or leaves the volume of shape {shape:?}")]
    Region {
        /// Box asked for.
        region: VoxelBox,
        /// Shape of the volume `[z, y, x]`.
        shape: [usize; 3],
    },
}
