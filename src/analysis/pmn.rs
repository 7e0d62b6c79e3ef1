//! Prototype Mamba Net: two phases and a mask → prototype distances, risk score, heat map.
//!
//! The paper (Cao 2025, NPJ Digit Med 8:692) does not say how the input is cut out. Our choice: the
//! smallest cube around liver and tumour with 1 mm to spare on each side, sampled on the package's
//! S³ grid. Sampling averages over the new voxel where that is the coarser one
//! (`segment::sampling`); HU are normalised after it, and what lies outside liver and tumour, by the
//! nearest voxel of the mask, is zero.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis, Ix5, Zip, s};
use thiserror::Error;

use super::engine::manifest::{InputSpec, Prototypes, Task};
use super::engine::network::{EngineError, EngineInfo, Network};
use super::engine::package::Package;
use super::segment::restore::Between;
use super::segment::sampling::{Line, sample};
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
}

impl Classifier {
    /// Loads a classification package.
    pub fn load(package: &Package) -> Result<Self, PmnError> {
        let Task::Classification(spec, prototypes) = &package.manifest.task else {
            return Err(PmnError::WrongTask { package: package.manifest.name.clone() });
        };
        let [z, y, x] = spec.input.patch;
        let network = Network::load(package, &[1, 2, z, y, x])?;
        let tokens = prototypes.token_grid.iter().product();
        network.expect_output(0, &spec.outputs[0], &[1, 6])?;
        network.expect_output(1, &spec.outputs[1], &[1, tokens, 2])?;
        Ok(Self { network, input: spec.input.clone(), prototypes: prototypes.clone() })
    }

    /// What computes.
    pub fn engine(&self) -> EngineInfo {
        self.network.engine()
    }

    /// Scores the study and explains the score.
    pub fn classify(&self, phases: Phases<'_>, mask: &Mask) -> Result<(Risk, HeatMap), PmnError> {
        check_grids(phases, mask)?;
        let bounds = bounds(mask.labels.view()).ok_or(PmnError::EmptyMask)?;
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
        for (channel, volume) in [phases.arterial, phases.portal].into_iter().enumerate() {
            let hu = sample(volume.hu.view(), cube, f32::from);
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
        for (z, at_z) in (bounds.start[0]..).zip(&in_z) {
            for (y, at_y) in (bounds.start[1]..).zip(&in_y) {
                for (x, at_x) in (bounds.start[2]..).zip(&in_x) {
                    if mask.labels[[z, y, x]] != BACKGROUND {
                        let value = trilinear(tokens, [at_z, at_y, at_x]);
                        similarity[[z, y, x]] = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
                    }
                }
            }
        }
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

/// The box of everything labelled.
fn bounds(labels: ArrayView3<'_, u8>) -> Option<VoxelBox> {
    let mut found = VoxelBox { start: [usize::MAX; 3], end: [0; 3] };
    for (z, plane) in labels.axis_iter(Axis(0)).enumerate() {
        for (y, row) in plane.axis_iter(Axis(0)).enumerate() {
            let Some(first) = row.iter().position(|&label| label != BACKGROUND) else { continue };
            let last = row.iter().rposition(|&label| label != BACKGROUND).unwrap_or(first);
            for (axis, (low, high)) in [(z, z), (y, y), (first, last)].into_iter().enumerate() {
                found.start[axis] = found.start[axis].min(low);
                found.end[axis] = found.end[axis].max(high + 1);
            }
        }
    }
    (found.end[0] > 0).then_some(found)
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
