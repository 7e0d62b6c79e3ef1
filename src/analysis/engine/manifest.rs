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
    /// Labels voxels; classes `background, liver, tumour`. With the last, as nnU-Net does it.
    Segmentation(NetworkSpec, Spacing, Option<NnUnet>),
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

/// How a network that nnU-Net v2 trained wants its volume, beside spacing, patch and intensities, which are then in
/// the order of the network's axes. Cropping and resampling are nnU-Net's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NnUnet {
    /// The axes that are transposed.
    pub orientation: Orientation,
    /// Axis of the network → axis of the oriented volume (`transpose_forward` of the plan).
    pub transpose: [usize; 3],
    /// Axes of the network along which it was trained on mirrored patches too.
    pub mirror_axes: [bool; 3],
}

/// How nnU-Net read the volumes that a network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// `[k, j, i]` as the file stores them, wherever they point (`SimpleITKIO`, `NibabelIO`).
    File,
    /// `[z, y, x]` towards Superior, Anterior and Right (`NibabelIOWithReorient`).
    Ras,
    /// `[z, y, x]` towards Superior, Posterior and Left, as the slices of a lying patient are stored.
    Lps,
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
    /// A tumour further than this from every prototype is like none of the training's: squared
    /// distance. `None`: no limit was measured.
    pub most_distance: Option<f64>,
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
            Task::Localisation(spec, _) | Task::Segmentation(spec, _, _) => Some(spec),
            Task::Classification(spec, _) => Some(spec),
            Task::Nomogram => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::engine::fixture::{pmn_manifest, unet_manifest};

    fn problems(text: &str) -> Vec<String> {
        match Manifest::from_toml(text) {
            Err(ManifestError::Invalid(problems)) => problems.into_iter().map(|p| p.key).collect(),
            other => panic!("expected problems, got {other:?}"),
        }
    }

    #[test]
    fn reads_every_task() {
        let unet = Manifest::from_toml(&unet_manifest(3, 2.0)).unwrap();
        let Task::Segmentation(spec, spacing, None) = &unet.task else { panic!("{:?}", unet.task) };
        assert_eq!(spacing.zyx(), [2.0; 3]);
        assert_eq!(spec.input.patch, [8; 3]);
        assert_eq!(spec.input.normalise(-2000.0), -5.0);
        assert_eq!(spec.classes, ["background", "liver", "tumour"]);
        assert!(matches!(
            Manifest::from_toml(&unet_manifest(2, 4.0)).unwrap().task,
            Task::Localisation(..)
        ));
        let pmn = Manifest::from_toml(&pmn_manifest(12, 3)).unwrap();
        let Task::Classification(_, prototypes) = &pmn.task else { panic!("{:?}", pmn.task) };
        assert_eq!((prototypes.gamma, prototypes.token_grid), (0.5, [3; 3]));
        let nomogram = "schema = 1\nname = \"haic\"\nversion = \"1.0.0\"\ntask = \"nomogram\"\n\
                        intended_use = \"clinical\"\nlicence = \"MIT\"\nengine_floor = \"0.0.1\"\n\
                        peak_ram_mib = 1\n[files]\nx = \"00\"\n";
        assert_eq!(Manifest::from_toml(nomogram).unwrap().network(), None);
    }

    #[test]
    fn tells_all_that_is_wrong_at_once() {
        let text = unet_manifest(3, 2.0)
            .replace("name = \"liver-tumour\"", "name = \"Liver Tumour\"")
            .replace("schema = 1", "schema = 2")
            .replace("engine_floor = \"0.1.0\"", "engine_floor = \"999.0.0\"")
            .replace("peak_ram_mib = 64\n", "")
            .replace("[-500.0, 500.0]", "[500.0, -500.0]")
            .replace("sd = 100.0", "sd = 0.0")
            .replace("patch = [8, 8, 8]", "patch = [8, 8, 7]")
            .replace("[2.0, 2.0, 2.0]", "[2.0, 2.0]")
            .replace("tolerance = 0.001", "tolerance = nan")
            .replace("\"zyx\"", "\"xyz\"");
        assert_eq!(
            problems(&text),
            [
                "schema",
                "name",
                "engine_floor",
                "peak_ram_mib",
                "input.axis_order",
                "input.hu_clip",
                "input.sd",
                "input.patch",
                "golden.tolerance",
                "input.spacing_mm",
            ]
        );
    }

    #[test]
    fn an_empty_manifest_lacks_every_head_key() {
        let keys = problems("");
        for key in ["schema", "name", "version", "task", "intended_use", "licence", "engine_floor"]
        {
            assert!(keys.iter().any(|found| found == key), "{key} in {keys:?}");
        }
    }

    #[test]
    fn an_imported_network_says_how_it_saw_its_volumes() {
        let with = |table: &str| {
            let text = unet_manifest(3, 2.0);
            text.replace("[golden]", &format!("[nnunet]\n{table}\n[golden]"))
        };
        let good = "orientation = \"ras\"\ntranspose = [1, 2, 0]\nmirror_axes = [2, 0]";
        let manifest = Manifest::from_toml(&with(good)).unwrap();
        let Task::Segmentation(_, _, Some(recipe)) = manifest.task else {
            panic!("{:?}", manifest.task)
        };
        let expected = NnUnet {
            orientation: Orientation::Ras,
            transpose: [1, 2, 0],
            mirror_axes: [true, false, true],
        };
        assert_eq!(recipe, expected);
        let bad = "orientation = \"lip\"\ntranspose = [0, 1, 1]\nmirror_axes = [3]";
        assert_eq!(
            problems(&with(bad)),
            ["nnunet.orientation", "nnunet.transpose", "nnunet.mirror_axes"]
        );
        let localiser =
            unet_manifest(2, 2.0).replace("[golden]", &format!("[nnunet]\n{good}\n[golden]"));
        assert_eq!(problems(&localiser), ["nnunet"]);
    }

    #[test]
    fn a_token_grid_divides_the_cube() {
        assert_eq!(problems(&pmn_manifest(16, 3)), ["prototypes.token_grid"]);
        let text = pmn_manifest(12, 3).replace("patch = [12, 12, 12]", "patch = [12, 12, 24]");
        assert_eq!(problems(&text), ["input.patch"]);
    }

    #[test]
    fn a_limit_on_the_distance_is_optional() {
        let limit = |line: &str| {
            let text = pmn_manifest(12, 3);
            let key = "proliferative_threshold = 0.5\n";
            Manifest::from_toml(&text.replace(key, &format!("{key}{line}"))).map(|manifest| {
                let Task::Classification(_, prototypes) = manifest.task else { panic!("no PMN") };
                prototypes.most_distance
            })
        };
        assert_eq!(limit("").unwrap(), None);
        assert_eq!(limit("max_distance = 250.5\n").unwrap(), Some(250.5));
        for bad in ["0.0", "-1.0", "nan", "2e9"] {
            assert!(limit(&format!("max_distance = {bad}\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_takes_only_its_own_keys_and_names() {
        let text = pmn_manifest(12, 3).replace("axis_order", "spacing_mm = [1.0]\naxis_order");
        assert_eq!(problems(&text), ["input.spacing_mm"]);
        let text = unet_manifest(3, 2.0).replace("\"liver\", \"tumour\"", "\"tumour\", \"liver\"");
        assert_eq!(problems(&text), ["output.classes"]);
        let text =
            pmn_manifest(12, 3).replace("\"arterial\", \"portal\"", "\"portal\", \"arterial\"");
        assert_eq!(problems(&text), ["input.phases"]);
    }

    #[test]
    fn unknown_keys_and_overlong_text_are_refused() {
        let text = unet_manifest(3, 2.0).replace("sd = 100.0", "sd = 100.0\nsdd = 1.0");
        let error = Manifest::from_toml(&text).unwrap_err();
        assert!(
            matches!(&error, ManifestError::Syntax(source) if source.to_string().contains("sdd"))
        );
        let comment = |len: usize| format!("#{}", "x".repeat(len - 1));
        let longest = Manifest::from_toml(&comment(MAX_MANIFEST_BYTES)).unwrap_err();
        assert!(matches!(longest, ManifestError::Invalid(_)));
        let too_long = Manifest::from_toml(&comment(MAX_MANIFEST_BYTES + 1)).unwrap_err();
        assert!(matches!(too_long, ManifestError::TooLong { found } if found == 65_537));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let with_patch = |side: i64| {
            let text = unet_manifest(2, 2.0);
            Manifest::from_toml(&text.replace("[8, 8, 8]", &format!("[{side}, {side}, {side}]")))
        };
        assert!(with_patch(8).is_ok() && with_patch(256).is_ok());
        assert!(with_patch(7).is_err() && with_patch(257).is_err());
        let with_shape = |z: i64| {
            let shape = format!("input_shape = [1, 1, {z}, 64, 64]");
            let text = unet_manifest(2, 2.0);
            Manifest::from_toml(&text.replace("input_shape = [1, 1, 2, 2, 2]", &shape))
        };
        assert!(with_shape(4096).is_ok());
        assert!(with_shape(4097).is_err());
    }
}
