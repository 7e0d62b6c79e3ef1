//! Prototype Mamba Net: two phases and a mask → prototype distances, risk score, heat map.
//!
//! The paper (Cao 2025, NPJ Digit Med 8:692) does not say how the input is cut out. Our choice: the
//! smallest cube around liver and tumour with 1 mm to spare on each side, sampled on the package's
//! S³ grid. Sampling averages over the new voxel where that is the coarser one
//! (`segment::sampling`); HU are normalised after it, and what lies outside liver and tumour, by the
//! nearest voxel of the mask, is zero.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Ix5, Zip, s};
use thiserror::Error;

use super::engine::int8::compute::Compute;
use super::engine::manifest::{InputSpec, Prototypes, Task};
use super::engine::network::{EngineError, EngineInfo, Network};
use super::engine::package::Package;
use super::segment::restore::Between;
use super::segment::sampling::{Line, sample};
use super::threads::slabs;
use super::volume::{BACKGROUND, HuVolume, Mask, VoxelBox};
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
    /// The package's limit on the smallest of them; `None` where it states none.
    pub most_distance: Option<f64>,
    /// p(good response) under HAIC and under TACE from their banks.
    pub haic_good: Probability,
    /// See `haic_good`.
    pub tace_good: Probability,
}

impl Risk {
    /// Distance from the nearest prototype.
    pub fn nearest(&self) -> f32 {
        self.distances.into_iter().fold(f32::INFINITY, f32::min)
    }
}

/// Similarity to the proliferative prototype, 0..=1, on the grid of the portal `HuVolume`,
/// `[z, y, x]`, stored as 0..=255; zero outside liver and tumour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatMap {
    /// 0..=255.
    pub similarity: Array3<u8>,
}

/// Room left around liver and tumour on each side of the cube, millimetres.
pub const CUBE_MARGIN_MM: f64 = 1.0;

/// Why there is no score.
#[derive(Debug, Error)]
pub enum PmnError {
    /// The network could not be loaded or run.
    #[error("the network that scores the tumour could not be used")]
    Engine(#[from] EngineError),
    /// The package is for something else.
    #[error("package {package} cannot score a tumour: its task is another one")]
    WrongTask {
        /// Package name.
        package: String,
    },
    /// Phases and mask must lie on one grid.
    #[error("the {what} has shape {found:?}, the portal phase {expected:?}: resample it first")]
    Grid {
        /// Which array.
        what: &'static str,
        /// Its shape `[z, y, x]`.
        found: Vec<usize>,
        /// The portal phase's shape.
        expected: Vec<usize>,
    },
    /// There is nothing to score.
    #[error("the mask holds neither liver nor tumour")]
    EmptyMask,
    /// A distance is negative or so large that no probability comes out.
    #[error("the prototype distances {distances:?} are no squared distances")]
    Distances {
        /// What the network gave.
        distances: Vec<f32>,
    },
}

/// The two phases, on the portal grid.
#[derive(Debug, Clone, Copy)]
pub struct Phases<'a> {
    /// HU of the arterial phase resampled to the portal grid, `[z, y, x]`.
    pub arterial: &'a HuVolume,
    /// The portal venous phase.
    pub portal: &'a HuVolume,
}

/// A PMN, loaded.
pub struct Classifier {
    network: Network,
    input: InputSpec,
    prototypes: Prototypes,
    threads: usize,
}

impl Classifier {
    /// Loads a classification package; its threads also sample its input and draw its heat map.
    pub fn load(package: &Package, compute: Compute) -> Result<Self, PmnError> {
        let Task::Classification(spec, prototypes) = &package.manifest.task else {
            return Err(PmnError::WrongTask { package: package.manifest.name.clone() });
        };
        let [z, y, x] = spec.input.patch;
        let network = Network::load(package, &[1, 2, z, y, x], compute)?;
        let tokens = prototypes.token_grid.iter().product();
        network.expect_output(0, &spec.outputs[0], &[1, 6])?;
        network.expect_output(1, &spec.outputs[1], &[1, tokens, 2])?;
        let threads = compute.threads;
        Ok(Self { network, input: spec.input.clone(), prototypes: prototypes.clone(), threads })
    }

    /// What computes.
    pub fn engine(&self) -> EngineInfo {
        self.network.engine()
    }

    /// Scores the study and explains the score.
    pub fn classify(&self, phases: Phases<'_>, mask: &Mask) -> Result<(Risk, HeatMap), PmnError> {
        check_grids(phases, mask)?;
        let labelled = VoxelBox::of_voxels(mask.labels.view(), |label| label != BACKGROUND);
        let bounds = labelled.ok_or(PmnError::EmptyMask)?;
        let cube = self.cube(phases.portal, bounds);
        let input = self.input(phases, mask, cube);
        let outputs = self.network.run(input.view().into_dyn())?;
        let distances: Vec<f32> = outputs[0].iter().copied().collect();
        let risk = self.risk(&distances)?;
        let [z, y, x] = self.prototypes.token_grid;
        let tokens: Vec<f32> = outputs[1]
            .iter()
            .copied()
            .collect::<Vec<f32>>()
            .chunks_exact(2)
            .map(|pair| second_of_two(self.prototypes.gamma, pair[0], pair[1]) as f32)
            .collect();
        let tokens = Array3::from_shape_vec([z, y, x], tokens)
            .expect("loading checked that there is one pair per token");
        let heat_map = self.heat_map(&tokens, cube, (mask, bounds));
        Ok((risk, heat_map))
    }

    /// The S³ grid on the portal grid: a cube in millimetres, centred on the box.
    fn cube(&self, portal: &HuVolume, bounds: VoxelBox) -> [Line; 3] {
        let spacing = portal.geometry.spacing.zyx();
        let extent_mm =
            |axis: usize| (bounds.end[axis] - bounds.start[axis]) as f64 * spacing[axis];
        let side_mm = (0..3).map(extent_mm).fold(0.0, f64::max) + 2.0 * CUBE_MARGIN_MM;
        [0, 1, 2].map(|axis| {
            let len = self.input.patch[axis];
            let step = side_mm / len as f64 / spacing[axis];
            let centre = (bounds.start[axis] + bounds.end[axis]) as f64 / 2.0 - 0.5;
            Line { origin: centre - step * (len as f64 - 1.0) / 2.0, step, len }
        })
    }

    /// `[1, 2, S, S, S]`: arterial, portal; normalised, zero outside liver and tumour.
    fn input(&self, phases: Phases<'_>, mask: &Mask, cube: [Line; 3]) -> ndarray::Array<f32, Ix5> {
        let [z, y, x] = self.input.patch;
        let mut input = ndarray::Array::zeros([1, 2, z, y, x]);
        let inside = nearest_inside(mask.labels.view(), cube);
        let threads = self.threads;
        for (channel, volume) in [phases.arterial, phases.portal].into_iter().enumerate() {
            let hu = sample(volume.hu.view(), cube, f32::from, threads);
            let target: ArrayViewMut3<'_, f32> = input.slice_mut(s![0, channel, .., .., ..]);
            Zip::from(target).and(&hu).and(&inside).for_each(|out, &hu, &inside| {
                *out = if inside { self.input.normalise(hu) } else { 0.0 };
            });
        }
        input
    }

    fn risk(&self, distances: &[f32]) -> Result<Risk, PmnError> {
        let unusable = || PmnError::Distances { distances: distances.to_vec() };
        let all: [f32; 6] = distances.try_into().map_err(|_| unusable())?;
        if all.iter().any(|&distance| distance < 0.0) {
            return Err(unusable());
        }
        let gamma = self.prototypes.gamma;
        let second = |first: usize| {
            Probability::new(second_of_two(gamma, all[first], all[first + 1]))
                .map_err(|_| unusable())
        };
        let (score, threshold) = (second(0)?, self.prototypes.threshold);
        Ok(Risk {
            score,
            proliferative: score >= threshold,
            threshold,
            distances: all,
            most_distance: self.prototypes.most_distance,
            haic_good: second(2)?,
            tace_good: second(4)?,
        })
    }

    /// Token values, interpolated linearly between token centres, at every labelled voxel.
    fn heat_map(
        &self,
        tokens: &Array3<f32>,
        cube: [Line; 3],
        (mask, bounds): (&Mask, VoxelBox),
    ) -> HeatMap {
        let grid = self.prototypes.token_grid;
        let [in_z, in_y, in_x] = [0, 1, 2].map(|axis| {
            let per_token = (self.input.patch[axis] / grid[axis]) as f64;
            let token = |voxel: usize| {
                let sample = (voxel as f64 - cube[axis].origin) / cube[axis].step;
                Between::new((sample + 0.5) / per_token - 0.5, grid[axis])
            };
            (bounds.start[axis]..bounds.end[axis]).map(token).collect::<Vec<Between>>()
        });
        let mut similarity = Array3::zeros(mask.labels.dim());
        let [z, y, x] = [0, 1, 2].map(|axis| bounds.start[axis]..bounds.end[axis]);
        let labels = mask.labels.slice(s![z.clone(), y.clone(), x.clone()]);
        slabs(self.threads, similarity.slice_mut(s![z, y, x]), |first, mut slab| {
            for ((z, y, x), out) in slab.indexed_iter_mut() {
                if labels[[first + z, y, x]] != BACKGROUND {
                    let value = trilinear(tokens, [&in_z[first + z], &in_y[y], &in_x[x]]);
                    *out = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
                }
            }
        });
        HeatMap { similarity }
    }
}

/// exp(−γ d₂) / (exp(−γ d₁) + exp(−γ d₂)), written so that no exponential overflows.
fn second_of_two(gamma: f64, first: f32, second: f32) -> f64 {
    1.0 / (1.0 + (gamma * (f64::from(second) - f64::from(first))).exp())
}

fn check_grids(phases: Phases<'_>, mask: &Mask) -> Result<(), PmnError> {
    let expected = phases.portal.hu.shape();
    let arrays = [("arterial phase", phases.arterial.hu.shape()), ("mask", mask.labels.shape())];
    for (what, found) in arrays {
        if found != expected {
            let (found, expected) = (found.to_vec(), expected.to_vec());
            return Err(PmnError::Grid { what, found, expected });
        }
    }
    Ok(())
}

/// Whether the voxel nearest to each sample is labelled; false outside the volume.
fn nearest_inside(labels: ArrayView3<'_, u8>, cube: [Line; 3]) -> Array3<bool> {
    let shape = [labels.dim().0, labels.dim().1, labels.dim().2];
    let nearest = [0, 1, 2].map(|axis| {
        let line = cube[axis];
        let voxel = |index: usize| {
            let position = (line.origin + index as f64 * line.step).round();
            ((0.0..shape[axis] as f64).contains(&position)).then_some(position as usize)
        };
        (0..line.len).map(voxel).collect::<Vec<Option<usize>>>()
    });
    Array3::from_shape_fn(cube.map(|line| line.len), |(z, y, x)| {
        match (nearest[0][z], nearest[1][y], nearest[2][x]) {
            (Some(z), Some(y), Some(x)) => labels[[z, y, x]] != BACKGROUND,
            (_, _, _) => false,
        }
    })
}

fn trilinear(values: &Array3<f32>, [z, y, x]: [&Between; 3]) -> f32 {
    let row = |z, y| x.mix(values[[z, y, x.low]], values[[z, y, x.high]]);
    let plane = |z| y.mix(row(z, y.low), row(z, y.high));
    z.mix(plane(z.low), plane(z.high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::engine::fixture::{pmn_package, unet_package};
    use crate::analysis::segment::phantom_scan::scan;
    use crate::analysis::volume::{LIVER, TUMOUR};

    const SHAPE: [usize; 3] = [16, 40, 44];
    const SPACING: [f64; 3] = [2.0, 1.0, 1.0];
    /// 22 × 22 × 22 mm: with the margin a cube of 24 mm, 2 mm a sample on a 12³ grid.
    const BODY: VoxelBox = VoxelBox { start: [2, 5, 7], end: [13, 27, 29] };

    fn mask() -> Mask {
        let labels = scan(SHAPE, SPACING, 0, &[(BODY, 1)]).hu.mapv(|value| value as u8);
        Mask { labels }
    }

    /// Distances are the means of the two channels, times `weights`.
    fn classifier(weights: &[f32; 12]) -> Classifier {
        Classifier::load(&pmn_package(12, 3, weights), Compute::with_threads(2)).unwrap()
    }

    #[test]
    fn the_cube_fits_the_labelled_box() {
        let portal = scan(SHAPE, SPACING, 0, &[]);
        let cube = classifier(&[0.0; 12]).cube(&portal, BODY);
        for (axis, line) in cube.iter().enumerate() {
            assert_eq!(line.len, 12);
            assert!((line.step * SPACING[axis] - 2.0).abs() < 1e-12);
            let low_edge = (line.origin - line.step / 2.0 + 0.5) * SPACING[axis];
            let expected = BODY.start[axis] as f64 * SPACING[axis] - CUBE_MARGIN_MM;
            assert!((low_edge - expected).abs() < 1e-9, "axis {axis}: {low_edge}");
        }
    }

    #[test]
    fn what_lies_outside_the_mask_is_zero() {
        let portal = scan(SHAPE, SPACING, 60, &[]);
        let arterial = scan(SHAPE, SPACING, 20, &[]);
        let classifier = classifier(&[0.0; 12]);
        let cube = classifier.cube(&portal, BODY);
        let phases = Phases { arterial: &arterial, portal: &portal };
        let input = classifier.input(phases, &mask(), cube);
        let mut inside = 0;
        for ((_, channel, ..), &value) in input.indexed_iter() {
            let normalised = [0.6, 0.8][channel];
            assert!(value == 0.0 || (value - normalised).abs() < 1e-6, "{value}");
            inside += usize::from(value != 0.0);
        }
        // 24 mm of cube, 22 mm of body: all but the outermost samples, whose nearest voxel decides.
        assert!((2 * 10 * 10 * 10..=2 * 12 * 12 * 12).contains(&inside), "{inside}");
    }

    #[test]
    fn scores_by_the_prototype_distances() {
        let portal = scan(SHAPE, SPACING, 100, &[]);
        let arterial = scan(SHAPE, SPACING, 0, &[]);
        let weights = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 1.0, 3.0, 3.0, 1.0, 9.0];
        let phases = Phases { arterial: &arterial, portal: &portal };
        let (risk, _) = classifier(&weights).classify(phases, &mask()).unwrap();
        let share = risk.distances[1];
        assert!((0.5..=1.0).contains(&share), "{:?}", risk.distances);
        let expected = |first: f32, second: f32| {
            let [first, second] = [first, second].map(|d| f64::from(-0.5 * d * share).exp());
            second / (first + second)
        };
        assert!((risk.score.get() - expected(4.0, 1.0)).abs() < 1e-6);
        assert_eq!(risk.haic_good.get(), 0.5);
        assert!((risk.tace_good.get() - expected(1.0, 9.0)).abs() < 1e-6);
        assert!(risk.proliferative);
    }

    #[test]
    fn the_heat_map_follows_the_tokens_and_stays_in_the_mask() {
        // Portal only: distance to the proliferative prototype falls towards +x, so that heat rises.
        let portal = HuVolume {
            hu: Array3::from_shape_fn(SHAPE, |(_, _, x)| 100 - 8 * (x as i16 - 7)),
            ..scan(SHAPE, SPACING, 0, &[])
        };
        let arterial = scan(SHAPE, SPACING, 0, &[]);
        let mut mask = mask();
        mask.labels[[6, 12, 20]] = TUMOUR;
        mask.labels[[6, 12, 21]] = BACKGROUND;
        let phases = Phases { arterial: &arterial, portal: &portal };
        let (_, heat) = classifier(&[1.0; 12]).classify(phases, &mask).unwrap();
        for (at, &label) in mask.labels.indexed_iter() {
            assert_eq!(label == BACKGROUND, heat.similarity[at] == 0, "{at:?}");
        }
        let row: Vec<u8> = (7..29).map(|x| heat.similarity[[7, 16, x]]).collect();
        assert!(row.is_sorted() && row[21] > row[0] + 10, "{row:?}");
    }

    proptest! {
        /// Corners of every voxel in f64, token centres at (i + ½) · S / t − ½ samples.
        #[test]
        fn upsampling_equals_the_definition(values in prop::collection::vec(0.0f32..1.0, 27)) {
            let tokens = Array3::from_shape_vec([3, 3, 3], values).unwrap();
            let classifier = classifier(&[0.0; 12]);
            let cube = classifier.cube(&scan(SHAPE, SPACING, 0, &[]), BODY);
            let heat = classifier.heat_map(&tokens, cube, (&mask(), BODY));
            for at in [[2, 5, 7], [12, 26, 28], [7, 16, 18], [5, 11, 24]] {
                let mut expected = 0.0;
                for ((z, y, x), &value) in tokens.indexed_iter() {
                    let mut weight = 1.0;
                    for (axis, token) in [z, y, x].into_iter().enumerate() {
                        let sample = (at[axis] as f64 - cube[axis].origin) / cube[axis].step;
                        let position = ((sample + 0.5) / 4.0 - 0.5).clamp(0.0, 2.0);
                        weight *= (1.0 - (position - token as f64).abs()).max(0.0);
                    }
                    expected += weight * f64::from(value);
                }
                let found = f64::from(heat.similarity[at]) / 255.0;
                prop_assert!((found - expected).abs() <= 0.5 / 255.0 + 1e-5);
            }
        }

        #[test]
        fn two_probabilities_sum_to_one(
            gamma in 1e-6f64..1e3,
            first in 0.0f32..1e30,
            second in 0.0f32..1e30,
        ) {
            let forth = second_of_two(gamma, first, second);
            let back = second_of_two(gamma, second, first);
            prop_assert!((forth + back - 1.0).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&forth));
            prop_assert_eq!(forth > 0.5, back < 0.5);
        }
    }

    #[test]
    fn the_softmax_is_the_plain_one_where_that_can_be_computed() {
        for (first, second) in [(0.0f32, 0.0f32), (3.0, 1.0), (0.25, 7.5), (100.0, 101.0)] {
            let [a, b] = [first, second].map(|distance| (-0.3 * f64::from(distance)).exp());
            assert!((second_of_two(0.3, first, second) - b / (a + b)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_threshold_is_reached_at_its_own_value() {
        let even = classifier(&[0.0; 12]).risk(&[2.0; 6]).unwrap();
        assert_eq!((even.score.get(), even.threshold.get(), even.proliferative), (0.5, 0.5, true));
        let below = classifier(&[0.0; 12]).risk(&[2.0, 2.01, 2.0, 2.0, 2.0, 2.0]).unwrap();
        assert!(!below.proliferative);
    }

    #[test]
    fn what_cannot_be_scored_is_an_error() {
        let portal = scan(SHAPE, SPACING, 60, &[]);
        let other = scan([16, 40, 43], SPACING, 60, &[]);
        let classifier = classifier(&[-1.0; 12]);
        let classify = |arterial: &HuVolume, mask: &Mask| {
            classifier.classify(Phases { arterial, portal: &portal }, mask)
        };
        assert!(matches!(
            classify(&other, &mask()),
            Err(PmnError::Grid { what: "arterial phase", .. })
        ));
        let empty = Mask { labels: Array3::zeros(SHAPE) };
        assert!(matches!(classify(&portal, &empty), Err(PmnError::EmptyMask)));
        let wrong = Mask { labels: Array3::from_elem([16, 40, 43], LIVER) };
        assert!(matches!(classify(&portal, &wrong), Err(PmnError::Grid { what: "mask", .. })));
        assert!(matches!(classify(&portal, &mask()), Err(PmnError::Distances { .. })));
        let unet = unet_package(&[(0.0, 0.0), (1.0, 0.0)], 4.0);
        assert!(matches!(
            Classifier::load(&unet, Compute::alone()),
            Err(PmnError::WrongTask { .. })
        ));
    }
}
