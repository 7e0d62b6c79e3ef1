//! What a package says about itself: `manifest.toml` → checked [`Manifest`]. All that is wrong is
//! reported at once. Digests and signatures are the host's business and are not looked at.

use thiserror::Error;

use super::check;
use super::raw::RawManifest;
use crate::units::{Bytes, Probability, Spacing};

/// The longest `manifest.toml` that is read.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// Shortest and longest side of a patch, voxels.
pub const PATCH_VOXELS: (i64, i64) = (8, 256);
/// The most elements a golden tensor may have.
pub const MAX_GOLDEN_ELEMENTS: usize = 1 << 24;
/// The most output tensors, classes and listed operators of a package.
pub const MAX_NAMES: usize = 64;

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `[a-z0-9-]{1,32}`.
    pub name: String,
    /// `major.minor.patch`.
    pub version: String,
    /// What the package is released for.
    pub intended_use: IntendedUse,
    /// SPDX expression.
    pub licence: String,
    /// Peak memory its maker measured for one inference.
    pub peak_ram: Bytes,
    /// What it does, with all that doing it needs.
    pub task: Task,
}

/// What the package is released for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntendedUse {
    /// Not for patient care.
    Demonstration,
    /// Released for clinical use by its maker.
    Clinical,
}

/// What a package does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Finds the liver on the whole scan; classes `background, liver`.
    Localisation(NetworkSpec, Spacing),
    /// Labels voxels; classes `background, liver, tumour`.
    Segmentation(NetworkSpec, Spacing),
    /// Prototype distances of a liver box.
    Classification(NetworkSpec, Prototypes),
    /// Coefficients; no network.
    Nomogram,
}

/// What every network needs.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// What goes in.
    pub input: InputSpec,
    /// Names of the output tensors, in the order the engine returns them.
    pub outputs: Vec<String>,
    /// Names of the classes in channel order.
    pub classes: Vec<String>,
    /// `None`: a float model.
    pub quantisation: Option<Quantisation>,
    /// The stored question and answer.
    pub golden: Golden,
}

/// How a network wants its input. Axes `[z, y, x]` as in [`crate::analysis::volume`].
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Name of the input tensor.
    pub tensor: String,
    /// One input channel each.
    pub phases: Vec<Phase>,
    /// Lowest and highest HU; values outside are clipped to them.
    pub hu_clip: [f32; 2],
    /// Subtracted after clipping, HU.
    pub mean: f32,
    /// Divisor, HU.
    pub sd: f32,
    /// Voxels of one patch.
    pub patch: [usize; 3],
}

impl InputSpec {
    /// HU → network input: (clip(HU) − mean) / sd.
    pub fn normalise(&self, hu: f32) -> f32 {
        (hu.clamp(self.hu_clip[0], self.hu_clip[1]) - self.mean) / self.sd
    }
}

/// Contrast phase of an input channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Late arterial.
    Arterial,
    /// Portal venous.
    Portal,
}

/// How a PMN's distances become a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Prototypes {
    /// p(y|x) ∝ exp(−gamma · squared distance).
    pub gamma: f64,
    /// Weight of the pull term in training; kept for the record.
    pub pull: f64,
    /// Tokens of the explanation along `[z, y, x]`.
    pub token_grid: [usize; 3],
    /// Scores from here on are called proliferative.
    pub threshold: Probability,
}

/// How the network was quantised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantisation {
    /// `qdq-int8`.
    pub scheme: String,
    /// How weights are stored.
    pub weights: String,
    /// How activations are stored.
    pub activations: String,
    /// Operators left in float.
    pub float_ops: Vec<String>,
}

/// The stored question and answer of a package; little-endian f32, C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// File of the input.
    pub input: String,
    /// Its shape, batch and channel first.
    pub input_shape: Vec<usize>,
    /// Largest absolute difference of an output element that passes.
    pub tolerance: f32,
    /// Why that much.
    pub reason: String,
    /// The expected outputs.
    pub outputs: Vec<GoldenOutput>,
}

/// One expected output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenOutput {
    /// Name of the tensor.
    pub name: String,
    /// File of the values.
    pub file: String,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
}

/// A manifest that cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Longer than any real one.
    #[error("manifest.toml has {found} bytes, the limit is {MAX_MANIFEST_BYTES}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not TOML, a key of the wrong type, or a key nobody knows.
    #[error("manifest.toml cannot be read as a package manifest")]
    Syntax(#[source] Box<toml::de::Error>),
    /// Readable, but not a manifest this engine accepts.
    #[error("manifest.toml is not acceptable: {}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One thing wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted key.
    pub key: String,
    /// Expected and found.
    pub message: String,
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
    lines.join("; ")
}

impl Manifest {
    /// Reads and checks `text`.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { found: text.len() });
        }
        let raw: RawManifest =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(Box::new(error)))?;
        check::manifest(&raw).map_err(ManifestError::Invalid)
    }

    /// What the package's network needs; `None` for a nomogram.
    pub fn network(&self) -> Option<&NetworkSpec> {
        match &self.task {
            Task::Localisation(spec, _) | Task::Segmentation(spec, _) => Some(spec),
            Task::Classification(spec, _) => Some(spec),
            Task::Nomogram => None,
        }
    }
}
