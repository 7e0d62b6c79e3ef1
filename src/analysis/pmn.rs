//! Prototype Mamba Net: two phases and a mask → prototype distances, risk score, heat map.

use ndarray::Array3;

use crate::units::Probability;

/// What the PMN says of one study.
#[derive(Debug, Clone, PartialEq)]
pub struct Risk {
    /// p(proliferative | study) from the prototype distances of bank A.
    pub score: Probability,
    /// True when `score` reaches the package's threshold.
    pub proliferative: bool,
    /// The package's threshold on `score`.
    pub threshold: Probability,
    /// Squared Euclidean distances to the prototypes: bank A {non-proliferative, proliferative},
    /// HAIC {poor, good}, TACE {poor, good}.
    pub distances: [f32; 6],
    /// p(good response) under HAIC and under TACE from their banks.
    pub haic_good: Probability,
    /// See `haic_good`.
    pub tace_good: Probability,
}

/// Similarity to the proliferative prototype, 0..=1, on the grid of the portal `HuVolume`,
/// `[z, y, x]`, stored as 0..=255; zero outside liver and tumour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatMap {
    /// 0..=255.
    pub similarity: Array3<u8>,
}
