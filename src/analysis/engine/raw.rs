//! `manifest.toml` as it is written: every key optional, so that all that is missing can be reported
//! together; unknown keys are refused. No value is judged here, `manifest` does that.

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifest {
    pub(super) schema: Option<i64>,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) task: Option<String>,
    pub(super) intended_use: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) engine_floor: Option<String>,
    pub(super) peak_ram_mib: Option<i64>,
    pub(super) input: Option<RawInput>,
    pub(super) output: Option<RawOutput>,
    pub(super) nnunet: Option<RawNnUnet>,
    pub(super) prototypes: Option<RawPrototypes>,
    pub(super) quantisation: Option<RawQuantisation>,
    pub(super) golden: Option<RawGolden>,
    /// Evidence for people; free in form.
    #[serde(rename = "training")]
    _training: Option<toml::Table>,
    /// Versions that the package revokes; the host sees to it.
    #[serde(rename = "revokes_below")]
    _revokes_below: Option<String>,
    /// Digests; the host has checked them before these bytes came here.
    #[serde(rename = "files")]
    _files: Option<toml::Table>,
}

/// `[input]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInput {
    pub(super) phases: Option<Vec<String>>,
    pub(super) axis_order: Option<String>,
    pub(super) spacing_mm: Option<Vec<f64>>,
    pub(super) hu_clip: Option<Vec<f64>>,
    pub(super) mean: Option<f64>,
    pub(super) sd: Option<f64>,
    pub(super) patch: Option<Vec<i64>>,
    pub(super) tensor: Option<String>,
}

/// `[output]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutput {
    pub(super) tensors: Option<Vec<String>>,
    pub(super) classes: Option<Vec<String>>,
}

/// `[nnunet]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNnUnet {
    pub(super) orientation: Option<String>,
    pub(super) transpose: Option<Vec<i64>>,
    pub(super) mirror_axes: Option<Vec<i64>>,
}

/// `[prototypes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrototypes {
    pub(super) gamma: Option<f64>,
    pub(super) pull: Option<f64>,
    pub(super) bank_a: Option<Vec<String>>,
    pub(super) bank_haic: Option<Vec<String>>,
    pub(super) bank_tace: Option<Vec<String>>,
    pub(super) token_grid: Option<Vec<i64>>,
    pub(super) proliferative_threshold: Option<f64>,
    pub(super) max_distance: Option<f64>,
}

/// `[quantisation]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawQuantisation {
    pub(super) scheme: Option<String>,
    pub(super) weights: Option<String>,
    pub(super) activations: Option<String>,
    pub(super) float_ops: Option<Vec<String>>,
}

/// `[golden]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGolden {
    pub(super) input: Option<String>,
    pub(super) input_shape: Option<Vec<i64>>,
    pub(super) tolerance: Option<f64>,
    pub(super) reason: Option<String>,
    pub(super) output: Vec<RawGoldenOutput>,
}

/// One `[[golden.output]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGoldenOutput {
    pub(super) name: Option<String>,
    pub(super) file: Option<String>,
    pub(super) shape: Option<Vec<i64>>,
}
