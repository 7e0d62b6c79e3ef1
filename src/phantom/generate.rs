//! Spec → volumes and truth. One slice at a time: the volumes themselves are the only large memory.

use ndarray::Array3;

use super::anatomy::{Anatomy, Sample};
use super::random::{mix, nearly_normal};
use super::shape::subtract;
use super::spec::{PhantomError, PhantomSpec};
use super::truth::{Counter, Truth, label_value};

/// A study with known truth. All arrays are `[z, y, x]` on one grid, axes growing to S, A, R.
#[derive(Debug, Clone, PartialEq)]
pub struct Phantom {
    /// What it was drawn from.
    pub spec: PhantomSpec,
    /// HU, −1024..=3071; absent when the spec leaves the phase out.
    pub arterial: Option<Array3<i16>>,
    /// HU, −1024..=3071.
    pub portal: Array3<i16>,
    /// Labels 0, 1, 2 as in [`crate::analysis::volume::Mask`], on the portal phase.
    pub labels: Array3<u8>,
    /// Measured on the labels.
    pub truth: Truth,
}

/// Draws a phantom. 512 × 512 × 300 voxels take about 400 MB for two phases.
pub fn generate(spec: &PhantomSpec) -> Result<Phantom, PhantomError> {
    let anatomy = Anatomy::new(spec)?;
    let shape = spec.shape;
    let mut arterial = spec.with_arterial.then(|| Array3::<i16>::zeros(shape));
    let mut portal = Array3::<i16>::zeros(shape);
    let mut labels = Array3::<u8>::zeros(shape);
    let mut counter = Counter::new(spec.tumours.len());
    for z in 0..shape[0] {
        let arterial_noise = arterial.as_ref().map(|_| SliceNoise::new(spec, Phase::Arterial, z));
        let portal_noise = SliceNoise::new(spec, Phase::Portal, z);
        for y in 0..shape[1] {
            for x in 0..shape[2] {
                let point = spec.patient_mm([z, y, x]);
                let sample = anatomy.sample(point);
                portal[[z, y, x]] = stored(sample.hu[1] + portal_noise.at(y, x));
                labels[[z, y, x]] = label_value(sample.label);
                counter.count([z, y, x], sample.label);
                if let (Some(volume), Some(noise)) = (&mut arterial, &arterial_noise) {
                    let sample = arterial_sample(&anatomy, spec, point, sample);
                    volume[[z, y, x]] = stored(sample.hu[0] + noise.at(y, x));
                }
            }
        }
    }
    Ok(Phantom { spec: spec.clone(), arterial, portal, labels, truth: counter.finish(spec) })
}

/// The patient breathed between the phases: the arterial phase is the same anatomy, moved.
fn arterial_sample(
    anatomy: &Anatomy,
    spec: &PhantomSpec,
    point: [f64; 3],
    portal: Sample,
) -> Sample {
    if spec.arterial_shift_mm == [0.0; 3] {
        return portal;
    }
    anatomy.sample(subtract(point, spec.arterial_shift_mm))
}

/// HU as a 12-bit scanner stores it.
fn stored(hu: f64) -> i16 {
    hu.round().clamp(-1024.0, 3071.0) as i16
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Arterial = 1,
    Portal = 2,
}

/// The noise of one slice: white, then smoothed a little in the plane, with the spec's standard
/// deviation afterwards.
struct SliceNoise {
    values: Vec<f32>,
    width: usize,
}

/// Smoothing along one axis: weights of the neighbour and of the voxel itself. Each axis leaves
/// `2 * side² + centre²` of the variance, here 1/2, so both leave half the standard deviation.
const SMOOTH_SIDE: f32 = 1.0 / 6.0;
const SMOOTH_CENTRE: f32 = 4.0 / 6.0;
const SMOOTH_SD: f32 = 0.5;

impl SliceNoise {
    fn new(spec: &PhantomSpec, phase: Phase, z: usize) -> Self {
        let [_, height, width] = spec.shape;
        let stream = mix(spec.seed ^ mix((phase as u64) << 32 | z as u64));
        let scale = spec.noise_sd as f32 / SMOOTH_SD;
        // One voxel of border on each side, so that edges are as noisy as the middle.
        let padded = width + 2;
        let white: Vec<f32> = (0..padded * (height + 2))
            .map(|index| nearly_normal(mix(stream.wrapping_add(index as u64))) * scale)
            .collect();
        let along_x: Vec<f32> =
            white.chunks_exact(padded).flat_map(|row| row.windows(3).map(smooth)).collect();
        let values = (0..height * width)
            .map(|i| smooth(&[along_x[i], along_x[i + width], along_x[i + 2 * width]]))
            .collect();
        Self { values, width }
    }

    fn at(&self, y: usize, x: usize) -> f64 {
        f64::from(self.values[y * self.width + x])
    }
}

fn smooth(three: &[f32]) -> f32 {
    SMOOTH_SIDE * (three[0] + three[2]) + SMOOTH_CENTRE * three[1]
}

#[cfg(test)]
mod tests;
