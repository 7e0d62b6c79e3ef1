//! The resampler against slow references.

use ndarray::{Array3, s};
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

fn whole(shape: [usize; 3]) -> VoxelBox {
    VoxelBox { start: [0; 3], end: shape }
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
        let shape = [size.0, size.1, size.2];
        let scan = volume(shape, [mm.0, mm.1, mm.2], noise);
        let target = Spacing::new([target.0, target.1, target.2]).unwrap();
        let fast = to_model(&scan, whole(shape), target, &Intensity::HU, threads);
        let new_shape = resampled_shape(shape, scan.geometry.spacing, target);
        prop_assert_eq!(fast.values.dim(), new_shape.into());
        let orders = orders(scan.geometry.spacing, target, Order::Cubic);
        let slow = reference(&scan.hu.mapv(f64::from), new_shape, orders);
        for (fast, slow) in fast.values.iter().zip(&slow) {
            prop_assert!((f64::from(*fast) - slow).abs() < 0.2, "{fast} {slow}");
        }
    }

    #[test]
    fn logits_slabs_agree_with_the_whole(
        size in (1usize..9, 1usize..9, 1usize..9),
        shape in (1usize..20, 1usize..20, 1usize..20),
        start in 0usize..20,
    ) {
        let logits = Array3::from_shape_fn(size, |(z, y, x)| f32::from(noise([z, y, x])));
        let shape = [shape.0, shape.1, shape.2];
        let rows = start.min(shape[0] - 1)..shape[0];
        let orders = [Order::Nearest, Order::Linear, Order::Linear];
        let slab = logits_slab(logits.view(), shape, orders, rows.clone());
        let slow = reference(&logits.mapv(f64::from), shape, orders);
        let slow = slow.slice(s![rows, .., ..]);
        prop_assert_eq!(slab.dim(), slow.dim());
        for (fast, slow) in slab.iter().zip(&slow) {
            prop_assert!((f64::from(*fast) - slow).abs() < 1e-3);
        }
    }
}

#[test]
fn a_region_knows_where_it_came_from() {
    // HU grow by 10 a voxel along x: the value of a sample tells its place.
    let scan = volume([20, 20, 40], [1.0, 1.0, 1.0], |[_, _, x]| x as i16 * 10);
    let region = VoxelBox { start: [2, 3, 5], end: [18, 17, 35] };
    let target = Spacing::new([2.0, 1.0, 1.5]).unwrap();
    let model = to_model(&scan, region, target, &Intensity::HU, 2);
    assert_eq!(model.values.dim(), (8, 14, 20));
    assert_eq!(model.step, [2.0, 1.0, 1.5]);
    assert_eq!(model.origin, [2.5, 3.0, 5.25]);
    for x in 5..15 {
        let place = model.origin[2] + x as f64 * model.step[2];
        assert!((f64::from(model.values[[4, 7, x]]) - place * 10.0).abs() < 0.05);
    }
}

#[test]
fn normalisation_comes_before_interpolation() {
    let scan = volume([8, 8, 8], [1.0; 3], |[_, _, x]| if x < 4 { -1024 } else { 3071 });
    let lits = Intensity { low: -17.0, high: 201.0, mean: 99.40, sd: 39.39 };
    let model = to_model(&scan, whole([8; 3]), Spacing::new([0.7; 3]).unwrap(), &lits, 1);
    // An overshoot of the spline at the step is at most an eighth of it.
    let (low, high) = (lits.normalise(-17), lits.normalise(201));
    let step = high - low;
    assert!(model.values.iter().all(|v| (low - step / 8.0..=high + step / 8.0).contains(v)));
}

#[test]
fn sizes_round_like_numpy() {
    let mm = |v: f64| Spacing::new([v; 3]).unwrap();
    assert_eq!(resampled_shape([5, 7, 3], mm(1.0), mm(2.0)), [2, 4, 2]);
    assert_eq!(resampled_shape([1, 1, 1], mm(1.0), mm(4.0)), [1, 1, 1]);
}

#[test]
fn thick_slices_are_taken_nearest() {
    let mm = |zyx| Spacing::new(zyx).unwrap();
    let cubic = [Order::Cubic; 3];
    let stack = [Order::Nearest, Order::Cubic, Order::Cubic];
    let fine = mm([1.0; 3]);
    assert_eq!(orders(mm([3.0, 1.0, 1.0]), fine, Order::Cubic), cubic);
    assert_eq!(orders(mm([3.1, 1.0, 1.0]), fine, Order::Cubic), stack);
    // The target's slices count when the source has none; two long axes count as none.
    assert_eq!(orders(fine, mm([5.0, 1.0, 1.0]), Order::Cubic), stack);
    assert_eq!(orders(mm([5.0, 5.0, 1.0]), fine, Order::Cubic), cubic);
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
