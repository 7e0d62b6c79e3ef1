//! The resampler against slow references.

use ndarray::Array3;
use proptest::prelude::*;

use super::super::kernel::{Order, cubic_b_spline, source_position};
use super::*;
use crate::analysis::decode::fixture::FileSpec;

fn volume(shape: [usize; 3], zyx_mm: [f64; 3], hu: impl Fn([usize; 3]) -> i16) -> HuVolume {
    let [nz, ny, nx] = shape;
    let spec = FileSpec::ras([nx, ny, nz], [zyx_mm[2], zyx_mm[1], zyx_mm[0]]);
    let geometry = Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap();
    HuVolume { hu: Array3::from_shape_fn(shape, |(z, y, x)| hu([z, y, x])), geometry }
}

fn noise([z, y, x]: [usize; 3]) -> i16 {
    ((z * 7919 + y * 104_729 + x * 1_299_709) % 2001) as i16 - 1000
}

/// One axis as scipy's documentation describes it: repeat the edge, find B-spline coefficients with
/// the recursive filter, evaluate. All in f64.
fn reference_line(line: &[f64], output: usize, order: Order) -> Vec<f64> {
    let n = line.len();
    let edge = |at: i64| line[at.clamp(0, n as i64 - 1) as usize];
    let sample = |n_out: usize| source_position(n_out, n, output);
    match order {
        Order::Nearest => (0..output).map(|o| edge((sample(o) + 0.5).floor() as i64)).collect(),
        Order::Linear => (0..output)
            .map(|o| {
                let at = sample(o);
                let part = at - at.floor();
                edge(at.floor() as i64) * (1.0 - part) + edge(at.floor() as i64 + 1) * part
            })
            .collect(),
        Order::Cubic => {
            const PAD: i64 = 30;
            let mut c: Vec<f64> = (-PAD..n as i64 + PAD).map(edge).collect();
            let pole = 3f64.sqrt() - 2.0;
            c.iter_mut().for_each(|v| *v *= 6.0);
            c[0] /= 1.0 - pole;
            for i in 1..c.len() {
                c[i] += pole * c[i - 1];
            }
            let last = c.len() - 1;
            c[last] *= -pole / (1.0 - pole);
            for i in (0..last).rev() {
                c[i] = pole * (c[i + 1] - c[i]);
            }
            let value = |at: f64| -> f64 {
                (0..c.len()).map(|k| c[k] * cubic_b_spline(at + PAD as f64 - k as f64)).sum()
            };
            (0..output).map(|o| value(sample(o))).collect()
        }
    }
}

fn reference(hu: &Array3<f64>, shape: [usize; 3], orders: [Order; 3]) -> Array3<f64> {
    let mut current = hu.clone();
    for axis in [2, 1, 0] {
        let mut next_shape: [usize; 3] = current.dim().into();
        next_shape[axis] = shape[axis];
        let mut next = Array3::zeros(next_shape);
        for (line, mut out) in current.lanes(Axis(axis)).into_iter().zip(next.lanes_mut(Axis(axis)))
        {
            for (out, value) in
                out.iter_mut().zip(reference_line(&line.to_vec(), shape[axis], orders[axis]))
            {
                *out = value;
            }
        }
        current = next;
    }
    current
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// 0.2 HU on noise of ±1000 HU: three axes, each leaving out weights below 1e-5.
    #[test]
    fn cubic_agrees_with_the_recursive_filter(
        size in (1usize..14, 1usize..14, 1usize..14),
        mm in (0.6f64..4.0, 0.6f64..2.0, 0.6f64..2.0),
        target in (0.6f64..4.0, 0.6f64..2.0, 0.6f64..2.0),
        threads in 1usize..4,
    ) {
        let (mm, target) = ([mm.0, mm.1, mm.2], [target.0, target.1, target.2]);
        let hu = Array3::from_shape_fn(size, |(z, y, x)| noise([z, y, x]));
        let fast = to_spacing(hu.view(), (mm, target), f32::from, threads);
        let new_shape = resampled_shape(hu.dim().into(), mm, target);
        prop_assert_eq!(fast.dim(), new_shape.into());
        let orders = orders(mm, target, Order::Cubic);
        let slow = clipped(&hu, reference(&hu.mapv(f64::from), new_shape, orders), orders);
        for (fast, slow) in fast.iter().zip(&slow) {
            prop_assert!((f64::from(*fast) - slow).abs() < 0.2, "{fast} {slow}");
        }
    }
}

/// What lies outside the voxels' own range is cut: slice by slice of a stack, else over the whole.
fn clipped(hu: &Array3<i16>, mut values: Array3<f64>, orders: [Order; 3]) -> Array3<f64> {
    let stacked = orders.iter().position(|&order| order == Order::Nearest);
    let (count, slices) = stacked.map_or((1, 1), |axis| (values.shape()[axis], hu.shape()[axis]));
    for n in 0..count {
        let axis = Axis(stacked.unwrap_or(0));
        let source = ((n as f64 + 0.5) * slices as f64 / count as f64).floor() as usize;
        let voxels =
            stacked.map_or(hu.view().into_dyn(), |_| hu.index_axis(axis, source).into_dyn());
        let low = f64::from(*voxels.iter().min().unwrap());
        let high = f64::from(*voxels.iter().max().unwrap());
        let clip = |value: &mut f64| *value = value.clamp(low, high);
        match stacked {
            Some(_) => values.index_axis_mut(axis, n).iter_mut().for_each(clip),
            None => values.iter_mut().for_each(clip),
        }
    }
    values
}

/// What `resample_data_or_seg_to_shape` of nnunetv2 2.8.1 makes of noise, order 3, rounded to 0.01.
#[test]
fn volumes_come_out_as_in_nnunet() {
    let isotropic: [f32; 48] = [
        -898.47, -124.24, -67.42, -569.20, 222.27, 167.14, 241.54, 428.38, -784.22, -230.74,
        -173.91, -454.96, 184.74, -403.00, -185.18, -614.22, -87.21, 169.96, 207.44, 377.60,
        298.99, -509.49, -291.67, -499.98, 812.99, -217.37, 105.13, -719.67, -327.67, 30.98, 44.46,
        305.37, 927.23, -323.87, -1.36, -605.43, 526.08, 296.66, 590.87, -808.30, -322.99, -147.99,
        -128.02, 264.59, 640.32, 190.16, 484.38, -694.06,
    ];
    let thick_slices: [f32; 48] = [
        -801.46, -152.93, -81.80, -572.38, 195.21, 168.90, 240.02, 424.29, -687.22, -259.42,
        -188.30, -458.14, 700.70, -426.97, -128.93, -660.52, -253.72, 127.25, 146.34, 340.01,
        814.94, -533.46, -235.42, -546.28, 700.70, -426.97, -128.93, -660.52, -253.72, 127.25,
        146.34, 340.01, 814.94, -533.46, -235.42, -546.28, 560.28, 249.42, 547.46, -800.94,
        -326.01, -132.34, -113.25, 267.72, 674.52, 142.93, 440.97, -686.70,
    ];
    let thick_columns: [f32; 48] = [
        -729.08, 151.46, 151.46, -915.54, 45.73, 292.78, 292.78, 234.96, -337.95, -352.83, -352.83,
        -478.38, -371.38, 720.48, 720.48, -291.87, 921.44, 33.11, 33.11, -57.18, -479.26, 174.43,
        174.43, -107.93, 946.00, -471.18, -471.18, 232.80, -261.02, 602.13, 602.13, -283.94,
        602.60, -85.24, -85.24, 801.18, -551.52, 56.08, 56.08, -450.81, 757.40, -589.53, -589.53,
        943.99, -405.30, 483.78, 483.78, -276.01,
    ];
    let cases = [
        ([3, 4, 5], [2.5, 1.0, 1.0], [2.0, 1.3, 1.4], [4, 3, 4], isotropic),
        ([3, 4, 5], [5.0, 1.0, 1.0], [4.0, 1.3, 1.4], [4, 3, 4], thick_slices),
        ([4, 5, 3], [1.0, 1.0, 5.0], [1.3, 1.4, 3.4], [3, 4, 4], thick_columns),
    ];
    for (size, source, target, shape, expected) in cases {
        let hu = Array3::from_shape_fn(size, |(z, y, x)| noise([z, y, x]));
        let found = to_spacing(hu.view(), (source, target), f32::from, 2);
        assert_eq!(found.shape(), shape);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.1, "{found} {expected}");
        }
    }
}

#[test]
fn sizes_round_like_numpy() {
    let mm = |v: f64| [v; 3];
    assert_eq!(resampled_shape([5, 7, 3], mm(1.0), mm(2.0)), [2, 4, 2]);
    assert_eq!(resampled_shape([1, 1, 1], mm(1.0), mm(4.0)), [1, 1, 1]);
}

#[test]
fn thick_slices_are_taken_nearest() {
    let cubic = [Order::Cubic; 3];
    let stack = [Order::Nearest, Order::Cubic, Order::Cubic];
    let fine = [1.0; 3];
    assert_eq!(orders([3.0, 1.0, 1.0], fine, Order::Cubic), cubic);
    assert_eq!(orders([3.1, 1.0, 1.0], fine, Order::Cubic), stack);
    // The target's slices count when the source has none; two long axes count as none.
    assert_eq!(orders(fine, [5.0, 1.0, 1.0], Order::Cubic), stack);
    assert_eq!(orders([5.0, 5.0, 1.0], fine, Order::Cubic), cubic);
}

/// Every voxel by itself, straight from the definition.
fn reference_onto(moving: &HuVolume, target: &Geometry) -> Array3<f64> {
    Array3::from_shape_fn(target.shape, |(z, y, x)| {
        let at = moving.geometry.to_voxel(target.to_world([z as f64, y as f64, x as f64]));
        if !inside(moving.geometry.shape, at) {
            return f64::from(LOWEST_HU);
        }
        let mut sum = 0.0;
        for ((z, y, x), &hu) in moving.hu.indexed_iter() {
            let weight: f64 = [z, y, x]
                .into_iter()
                .zip(at.iter().zip(moving.geometry.shape))
                .map(|(n, (at, len))| {
                    (1.0 - (at.clamp(0.0, len as f64 - 1.0) - n as f64).abs()).max(0.0)
                })
                .product();
            sum += weight * f64::from(hu);
        }
        sum
    })
}

fn rotated(degrees: f64, shift: f64) -> Geometry {
    let mut spec = FileSpec::ras([12, 11, 10], [1.1, 0.9, 1.7]);
    let (sin, cos) = degrees.to_radians().sin_cos();
    for (row, values) in [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]].iter().enumerate() {
        for (column, mm) in [1.1, 0.9, 1.7].into_iter().enumerate() {
            spec.affine[row][column] = values[column] * mm;
        }
        spec.affine[row][3] += shift;
    }
    Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_phase_on_the_other_agrees_with_the_definition(
        degrees in -30.0f64..30.0, shift in -4.0f64..4.0, threads in 1usize..4,
    ) {
        let moving = volume([9, 10, 11], [1.5, 1.0, 1.2], noise);
        let target = rotated(degrees, shift);
        let slow = reference_onto(&moving, &target);
        let fast = onto_grid(moving, &target, threads);
        prop_assert!(!fast.same_grid);
        for (fast, slow) in fast.volume.hu.iter().zip(&slow) {
            prop_assert!((f64::from(*fast) - slow).abs() < 0.51, "{fast} {slow}");
        }
    }
}

#[test]
fn equal_grids_hand_the_voxels_through() {
    let moving = volume([9, 10, 11], [1.5, 1.0, 1.2], noise);
    let (hu, place) = (moving.hu.clone(), moving.hu.as_ptr());
    let mut target = moving.geometry.clone();
    target.voxel_to_world[0][3] += SAME_GRID_TOLERANCE_MM / 2.0;
    let same = onto_grid(moving.clone(), &moving.geometry, 2);
    assert!(same.same_grid);
    assert_eq!(same.volume, moving);
    let near = onto_grid(moving, &target, 2);
    assert!(near.same_grid && near.volume.geometry == target);
    assert_eq!((near.volume.hu.as_ptr(), near.volume.hu), (place, hu.clone()));
    // What the short cut skips would have given the same voxels.
    let slow = reference_onto(&same.volume, &same.volume.geometry);
    assert_eq!(slow.mapv(|v| v.round() as i16), hu);
    target.voxel_to_world[0][3] += SAME_GRID_TOLERANCE_MM;
    assert!(!onto_grid(same.volume, &target, 2).same_grid);
}

#[test]
fn coverage_is_the_common_part() {
    let scan = |nz| volume([nz, 16, 16], [1.0; 3], |_| 0).geometry;
    assert_eq!(coverage(&scan(20), &scan(20)), 1.0);
    assert_eq!(coverage(&scan(20), &scan(40)), 1.0);
    assert!((coverage(&scan(41), &scan(21)) - 0.5).abs() < 0.06);
    let mut away = scan(20);
    away.voxel_to_world[2][3] += 100.0;
    assert_eq!(coverage(&away, &scan(20)), 0.0);
}
