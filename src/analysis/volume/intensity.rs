//! HU to network input: clip, subtract, divide, as a package's manifest says.

/// nnU-Net's CT normalisation: clip to `low..=high` HU, subtract `mean`, divide by `sd`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intensity {
    /// Lowest HU the network sees.
    pub low: f32,
    /// Highest HU the network sees.
    pub high: f32,
    /// HU that becomes 0.
    pub mean: f32,
    /// HU above the mean that become 1.
    pub sd: f32,
}

impl Intensity {
    /// HU unchanged.
    pub const HU: Self = Self { low: f32::MIN, high: f32::MAX, mean: 0.0, sd: 1.0 };

    /// Network input of one voxel.
    pub fn normalise(&self, hu: i16) -> f32 {
        (f32::from(hu).clamp(self.low, self.high) - self.mean) / self.sd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clip values, mean and sd of the Liver Tumour Segmentation data as nnU-Net fingerprints it.
    const LITS: Intensity = Intensity { low: -17.0, high: 201.0, mean: 99.40, sd: 39.39 };

    #[test]
    fn clips_then_scales() {
        assert_eq!(LITS.normalise(-1024), LITS.normalise(-17));
        assert_eq!(LITS.normalise(3071), LITS.normalise(201));
        assert!(LITS.normalise(99).abs() < 0.011);
        assert!((LITS.normalise(139) - (139.0 - 99.40) / 39.39).abs() < 1e-6);
    }

    #[test]
    fn the_identity_leaves_hu_alone() {
        for hu in [-1024, -1, 0, 60, 3071] {
            assert_eq!(Intensity::HU.normalise(hu), f32::from(hu));
        }
    }
}
