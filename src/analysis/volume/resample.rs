//! Resampling as nnU-Net does it, and of one phase onto the other's grid.
//!
//! nnU-Net's rules: new size = round(size · old spacing / new spacing), cubic for images and linear
//! for logits, sample centres as in [`kernel`](super::kernel), what a spline overshoots is cut; when voxels are more
//! than three times longer than wide, the long axis is taken nearest and the others first (Isensee 2021, Nat
//! Methods 18:203, supplement). Work goes slice by slice, so that the scan is never held in f32.

use ndarray::{Array3, ArrayView, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Dimension};

use super::HuVolume;
use super::geometry::Geometry;
use super::kernel::{AxisKernel, Order};
use crate::analysis::decode::limits::LOWEST_HU;
use crate::analysis::threads::planes;

/// Voxels this many times longer than wide make the long axis a stack of slices (nnU-Net's
/// anisotropy threshold).
pub const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// Two grids count as the same when no voxel is further from its namesake than this.
pub const SAME_GRID_TOLERANCE_MM: f64 = 0.01;

/// Resamples `voxels`, taken through `load`, which never falls, from one spacing to another, cubic; both in mm along
/// the axes of the array.
pub fn to_spacing(
    voxels: ArrayView3<'_, i16>,
    (source_mm, target_mm): ([f64; 3], [f64; 3]),
    load: impl Fn(i16) -> f32 + Sync,
    threads: usize,
) -> Array3<f32> {
    let size: [usize; 3] = voxels.dim().into();
    let shape = resampled_shape(size, source_mm, target_mm);
    let orders = orders(source_mm, target_mm, Order::Cubic);
    let kernels = std::array::from_fn(|a| AxisKernel::new(size[a], shape[a], orders[a]));
    let mut values = apply(voxels, &kernels, threads, &load);
    match orders.iter().position(|&order| order == Order::Nearest) {
        None => {
            let (low, high) = bounds(voxels, &load);
            values.mapv_inplace(|value| value.clamp(low, high));
        }
        Some(stacked) => {
            for (n, mut slice) in values.axis_iter_mut(Axis(stacked)).enumerate() {
                let source = voxels.index_axis(Axis(stacked), kernels[stacked].taps(n).0);
                let (low, high) = bounds(source, &load);
                slice.mapv_inplace(|value| value.clamp(low, high));
            }
        }
    }
    values
}

/// Lowest and highest of the loaded voxels.
fn bounds<D: Dimension>(voxels: ArrayView<'_, i16, D>, load: impl Fn(i16) -> f32) -> (f32, f32) {
    let (low, high) =
        voxels.iter().fold((i16::MAX, i16::MIN), |(low, high), &hu| (low.min(hu), high.max(hu)));
    (load(low), load(high))
}

/// Voxels along each axis after resampling, at least one.
pub fn resampled_shape(shape: [usize; 3], source_mm: [f64; 3], target_mm: [f64; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| {
        let size = source_mm[axis] / target_mm[axis] * shape[axis] as f64;
        // Halves to even, as numpy rounds.
        (size.round_ties_even() as usize).max(1)
    })
}

/// The order along each axis: `in_plane` everywhere, or nearest along the one long axis of the
/// source grid, or else of the target grid. Two equally long axes are no stack of slices.
pub fn orders(source_mm: [f64; 3], target_mm: [f64; 3], in_plane: Order) -> [Order; 3] {
    let mut orders = [in_plane; 3];
    if let Some(axis) = stacked_axis(source_mm).or_else(|| stacked_axis(target_mm)).flatten() {
        orders[axis] = Order::Nearest;
    }
    orders
}

/// `None`: nearly isotropic. `Some(None)`: anisotropic without a single longest axis.
fn stacked_axis(mm: [f64; 3]) -> Option<Option<usize>> {
    let longest = mm.into_iter().fold(f64::MIN, f64::max);
    let shortest = mm.into_iter().fold(f64::MAX, f64::min);
    if longest / shortest <= ANISOTROPY_THRESHOLD {
        return None;
    }
    let mut axes = (0..3).filter(|&axis| mm[axis] == longest);
    Some(axes.next().filter(|_| axes.next().is_none()))
}

/// Applies the kernels along the second and third axis slice by slice, then along the first, on `threads` threads.
/// What one slice gives does not depend on how the slices were shared out.
fn apply<T: Copy + Sync>(
    input: ArrayView3<'_, T>,
    kernels: &[AxisKernel; 3],
    threads: usize,
    load: impl Fn(T) -> f32 + Sync,
) -> Array3<f32> {
    let depth = input.dim().0;
    let mut sampled = Array3::<f32>::zeros([depth, kernels[1].len(), kernels[2].len()]);
    planes(threads, &mut sampled, |z, mut plane| {
        in_plane(input.index_axis(Axis(0), z), kernels, &mut plane, &load);
    });
    if (0..kernels[0].len()).all(|z| kernels[0].taps(z) == (z, &[1.0][..]))
        && depth == kernels[0].len()
    {
        return sampled;
    }
    let mut out = Array3::<f32>::zeros([kernels[0].len(), kernels[1].len(), kernels[2].len()]);
    planes(threads, &mut out, |z, mut plane| {
        let (first, weights) = kernels[0].taps(z);
        for (k, &weight) in weights.iter().enumerate() {
            plane.scaled_add(weight, &sampled.index_axis(Axis(0), first + k));
        }
    });
    out
}

/// One slice: rows are summed first, because whole rows add fast, then samples within a row.
fn in_plane<T: Copy>(
    input: ArrayView2<'_, T>,
    kernels: &[AxisKernel; 3],
    out: &mut ArrayViewMut2<'_, f32>,
    load: impl Fn(T) -> f32,
) {
    let loaded = input.mapv(load);
    let mut row = vec![0.0f32; loaded.dim().1];
    for (y, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
        let (first, weights) = kernels[1].taps(y);
        row.fill(0.0);
        for (k, &weight) in weights.iter().enumerate() {
            let source = loaded.row(first + k);
            for (sum, &value) in row.iter_mut().zip(source) {
                *sum += weight * value;
            }
        }
        for (x, out) in out.iter_mut().enumerate() {
            let (first, weights) = kernels[2].taps(x);
            *out = weights.iter().zip(&row[first..]).map(|(w, v)| w * v).sum();
        }
    }
}

/// One phase on the other phase's grid, and how much of it there is.
#[derive(Debug, Clone, PartialEq)]
pub struct OntoGrid {
    /// HU on the target's grid; −1024 where the moving image has no voxels.
    pub volume: HuVolume,
    /// The grid the voxels came from.
    pub from: Geometry,
    /// True when both grids were the same and nothing was interpolated.
    pub same_grid: bool,
}

/// Resamples `moving` to the grid of `target` by patient coordinates, linear. Equal grids hand the
/// volume through without a copy. How the patient breathed is [`registration`]'s business, which moves
/// the grid before.
///
/// [`registration`]: crate::analysis::registration
pub fn onto_grid(moving: HuVolume, target: &Geometry, threads: usize) -> OntoGrid {
    if moving.geometry.same_grid(target, SAME_GRID_TOLERANCE_MM) {
        let from = moving.geometry;
        let volume = HuVolume { hu: moving.hu, geometry: target.clone() };
        return OntoGrid { volume, from, same_grid: true };
    }
    let mut hu = Array3::from_elem(target.shape, LOWEST_HU);
    let source = &moving;
    planes(threads, &mut hu, |z, mut plane| {
        for (y, mut row) in plane.axis_iter_mut(Axis(0)).enumerate() {
            // Along a row the source position moves by the same step: two transforms a row.
            let position =
                |x: f64| source.geometry.to_voxel(target.to_world([z as f64, y as f64, x]));
            let (start, next) = (position(0.0), position(1.0));
            let step: [f64; 3] = std::array::from_fn(|axis| next[axis] - start[axis]);
            for (x, out) in row.iter_mut().enumerate() {
                let at = std::array::from_fn(|axis| start[axis] + step[axis] * x as f64);
                if let Some(value) = trilinear(&source.hu, at) {
                    *out = value;
                }
            }
        }
    });
    let volume = HuVolume { hu, geometry: target.clone() };
    OntoGrid { volume, from: moving.geometry, same_grid: false }
}

/// The value between eight voxels; `None` further than half a voxel outside, the edge repeated up
/// to there.
pub(in crate::analysis) fn trilinear(hu: &Array3<i16>, at: [f64; 3]) -> Option<i16> {
    let shape: [usize; 3] = hu.dim().into();
    if !inside(shape, at) {
        return None;
    }
    let mut low = [0; 3];
    let mut high = [0; 3];
    let mut part = [0.0f32; 3];
    for axis in 0..3 {
        let last = shape[axis] - 1;
        let clamped = at[axis].clamp(0.0, last as f64);
        low[axis] = clamped as usize;
        high[axis] = (low[axis] + 1).min(last);
        part[axis] = (clamped - low[axis] as f64) as f32;
    }
    let between = |a: f32, b: f32, part: f32| a + (b - a) * part;
    let row = |z: usize, y: usize| {
        let [a, b] = [low[2], high[2]].map(|x| f32::from(hu[[z, y, x]]));
        between(a, b, part[2])
    };
    let plane = |z| between(row(z, low[1]), row(z, high[1]), part[1]);
    let value = between(plane(low[0]), plane(high[0]), part[0]);
    // Half away from zero, without a call into libm for every voxel.
    Some((value + 0.5f32.copysign(value)) as i16)
}

/// True when an array position lies in the field of view: within half a voxel of its voxel centres.
pub fn inside(shape: [usize; 3], at: [f64; 3]) -> bool {
    at.iter().zip(shape).all(|(&at, n)| (-0.5..=n as f64 - 0.5).contains(&at))
}

/// The part of `target`'s field of view that `other` covers, 0..=1, sampled on a 17 × 17 × 17
/// lattice from corner to corner.
pub fn coverage(target: &Geometry, other: &Geometry) -> f64 {
    const LATTICE: usize = 17;
    let at =
        |axis: usize, n: usize| (target.shape[axis] - 1) as f64 * n as f64 / (LATTICE - 1) as f64;
    let mut covered = 0;
    for z in 0..LATTICE {
        for y in 0..LATTICE {
            for x in 0..LATTICE {
                let world = target.to_world([at(0, z), at(1, y), at(2, x)]);
                covered += usize::from(inside(other.shape, other.to_voxel(world)));
            }
        }
    }
    covered as f64 / LATTICE.pow(3) as f64
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
