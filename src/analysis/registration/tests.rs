//! Shifts that are known, on a body whose liver moves while its spine stays.

use proptest::prelude::*;

use super::*;
use crate::analysis::decode::fixture::FileSpec;
use crate::analysis::volume::{Geometry, LIVER};

/// Densities in HU, in the portal venous and in the arterial phase.
const LIVER_HU: [f64; 2] = [110.0, 70.0];
const VESSEL_HU: [f64; 2] = [170.0, 90.0];
const SPLEEN_HU: [f64; 2] = [120.0, 180.0];
const KIDNEY_HU: [f64; 2] = [160.0, 210.0];

const CENTRE: [f64; 3] = [60.0, 5.0, 10.0];

/// How deep a point lies within an ellipsoid, roughly in millimetres.
fn depth(point: [f64; 3], centre: [f64; 3], radii: [f64; 3]) -> f64 {
    let u = [0, 1, 2].map(|n| (point[n] - centre[n]) / radii[n]);
    let distance = u.iter().map(|u| u * u).sum::<f64>().sqrt();
    (1.0 - distance) * radii[0].min(radii[1]).min(radii[2])
}

/// From `outside` to `inside` over 2 mm, as a scanner blurs an edge.
fn edge(outside: f64, inside: f64, depth: f64) -> f64 {
    outside + (inside - outside) * (depth / 2.0 + 0.5).clamp(0.0, 1.0)
}

/// HU at a patient position, RAS+ millimetres. `breath` says where what moves lies when it does not.
fn hu(phase: usize, world: [f64; 3], breath: impl Fn([f64; 3]) -> [f64; 3]) -> f64 {
    let rest = breath(world);
    let body = depth(world, [0.0; 3], [165.0, 115.0, 1e4]);
    let mut hu = edge(-1000.0, -95.0, body);
    // Lung above a dome that moves with the liver.
    let dome = 75.0 - (rest[0] - 60.0).powi(2) / 150.0 - (rest[1] - 5.0).powi(2) / 110.0;
    hu = edge(hu, -850.0, (rest[2] - dome).min(body - 20.0));
    hu = edge(hu, KIDNEY_HU[phase], depth(rest, [65.0, -55.0, -75.0], [28.0, 26.0, 50.0]));
    hu = edge(hu, SPLEEN_HU[phase], depth(rest, [-85.0, -35.0, 20.0], [30.0, 25.0, 50.0]));
    hu = edge(hu, LIVER_HU[phase], depth(rest, CENTRE, [78.0, 68.0, 62.0]));
    hu = edge(hu, LIVER_HU[phase], depth(rest, [-10.0, 35.0, 25.0], [55.0, 30.0, 28.0]));
    for (y, z) in [(-20.0, 0.0), (15.0, 25.0), (25.0, -20.0)] {
        hu = edge(hu, VESSEL_HU[phase], depth(rest, [50.0, y, z], [60.0, 5.0, 5.0]));
    }
    // Ribs and spine stay.
    let rib = (world[2] / 14.0 - (world[2] / 14.0).floor() - 0.5).abs() * 14.0;
    hu = edge(hu, 450.0, (3.5 - (body - 12.0).abs()).min(5.0 - rib));
    edge(hu, 350.0, depth(world, [0.0, -60.0, 0.0], [20.0, 20.0, 1e4]))
}

/// Every voxel's noise follows from its place alone.
fn noise(n: usize) -> f64 {
    let mut bits = n as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    // The sum of four uniform numbers: a standard deviation of 12 HU.
    let part = |shift: u32| (bits >> shift & 0xffff) as f64 / 65536.0 - 0.5;
    20.8 * (part(0) + part(16) + part(32) + part(48))
}

fn image(phase: usize, spec: &FileSpec, breath: impl Fn([f64; 3]) -> [f64; 3]) -> HuVolume {
    let geometry = Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap();
    let mut volume = HuVolume { hu: Array3::zeros(geometry.shape), geometry };
    let geometry = &volume.geometry;
    for (n, ((z, y, x), value)) in volume.hu.indexed_iter_mut().enumerate() {
        let world = geometry.to_world([z as f64, y as f64, x as f64]);
        *value = (hu(phase, world, &breath) + noise(2 * n + phase)).round() as i16;
    }
    volume
}

fn still(world: [f64; 3]) -> [f64; 3] {
    world
}

/// What lies at `p` is found at `p + by`.
fn moved(by: [f64; 3]) -> impl Fn([f64; 3]) -> [f64; 3] {
    move |world| [0, 1, 2].map(|n| world[n] - by[n])
}

fn centred(shape: [usize; 3], mm: [f64; 3]) -> FileSpec {
    let mut spec = FileSpec::ras(shape, mm);
    for n in 0..3 {
        spec.affine[n][3] = -(shape[n] as f64 - 1.0) * mm[n] / 2.0;
    }
    spec
}

fn grid() -> FileSpec {
    centred([100, 72, 66], [3.6, 3.6, 3.6])
}

struct Scene {
    portal: HuVolume,
    mask: Mask,
}

fn scene() -> Scene {
    let portal = image(0, &grid(), still);
    let labels = Array3::from_shape_fn(portal.geometry.shape, |(z, y, x)| {
        let world = portal.geometry.to_world([z as f64, y as f64, x as f64]);
        let right = depth(world, CENTRE, [78.0, 68.0, 62.0]);
        let left = depth(world, [-10.0, 35.0, 25.0], [55.0, 30.0, 28.0]);
        if right.max(left) > 0.0 { LIVER } else { BACKGROUND }
    });
    Scene { portal, mask: Mask { labels } }
}

impl Scene {
    fn register(&self, arterial: &HuVolume) -> Alignment {
        register(arterial, &self.portal, &self.mask, 2).unwrap()
    }
}

fn error_mm(found: &Alignment, true_mm: [f64; 3]) -> f64 {
    let error = [0, 1, 2].map(|n| found.shift_mm[n] - true_mm[n]);
    Alignment { shift_mm: error, similarity: 0.0 }.distance_mm()
}

/// Shifts are found to within this, a quarter of the grid's 3.6 mm: what moves along the wall is held
/// back a little by the wall.
const TOLERANCE_MM: f64 = 0.9;

#[test]
fn a_shift_is_found_to_a_part_of_a_voxel() {
    let scene = scene();
    for by in [
        [0.0, 0.0, 0.0],
        [0.0, 0.0, -12.0],
        [0.5, 0.5, 0.5],
        [3.3, -4.1, 7.7],
        [-9.0, 8.0, 15.0],
        [0.0, 0.0, 19.5],
        // Beyond what is corrected, and seen to be.
        [0.0, 0.0, -26.0],
    ] {
        let found = scene.register(&image(1, &grid(), moved(by)));
        assert!(error_mm(&found, by) < TOLERANCE_MM, "{by:?}: {found:?}");
        assert!(found.similarity > 0.9, "{by:?}: {found:?}");
    }
}

#[test]
fn a_shift_beyond_all_that_is_tried_is_not_a_small_one() {
    for by in [[0.0, 0.0, 40.0], [0.0, 0.0, -40.0], [30.0, 0.0, 26.0]] {
        let found = scene().register(&image(1, &grid(), moved(by)));
        assert!(found.distance_mm() > 24.0, "{by:?}: {found:?}");
    }
}

#[test]
fn any_grid_gives_the_same_answer() {
    let scene = scene();
    let by = [2.0, -3.0, 9.0];
    let coarse = centred([80, 60, 52], [4.5, 4.5, 5.0]);
    // Sagittal and mirrored, finer, and with another field of view.
    let mut sagittal = centred([64, 70, 104], [4.0, 4.0, 3.4]);
    sagittal.affine = [[0.0, 0.0, -3.4, 178.0], [4.0, 0.0, 0.0, -128.0], [0.0, 4.0, 0.0, -136.0]];
    // Turned by 10 degrees about the body's axis.
    let mut oblique = grid();
    let (sin, cos) = (0.173_648, 0.984_808);
    oblique.affine[0] = [3.6 * cos, -3.6 * sin, 0.0, -178.2 * cos + 127.8 * sin];
    oblique.affine[1] = [3.6 * sin, 3.6 * cos, 0.0, -178.2 * sin - 127.8 * cos];
    for spec in [grid(), coarse, sagittal, oblique] {
        let found = scene.register(&image(1, &spec, moved(by)));
        assert!(error_mm(&found, by) < TOLERANCE_MM, "{:?}: {found:?}", spec.affine);
    }
}

#[test]
fn threads_change_no_bit() {
    let scene = scene();
    let arterial = image(1, &grid(), moved([1.0, 2.0, -7.0]));
    let alone = register(&arterial, &scene.portal, &scene.mask, 1);
    for threads in [2, 3, 5] {
        assert_eq!(register(&arterial, &scene.portal, &scene.mask, threads), alone);
    }
}

#[test]
fn where_nothing_can_be_compared_there_is_no_answer() {
    let scene = scene();
    let compared = |arterial: &HuVolume| register(arterial, &scene.portal, &scene.mask, 2);
    let arterial = image(1, &grid(), still);
    let none = Mask { labels: Array3::from_elem(scene.portal.geometry.shape, BACKGROUND) };
    assert_eq!(register(&arterial, &scene.portal, &none, 2), None);
    let flat = HuVolume { hu: arterial.hu.mapv(|_| 40), ..arterial.clone() };
    assert_eq!(compared(&flat), None);
    let mut elsewhere = arterial;
    elsewhere.geometry.move_by([0.0, 0.0, 170.0]);
    assert_eq!(compared(&elsewhere), None);
}

#[test]
fn memory_is_bounded_for_any_liver() {
    let huge = crate::analysis::volume::VoxelBox { start: [0; 3], end: [1024; 3] };
    let portal = image(0, &centred([16, 16, 16], [4.0; 3]), still);
    let step_mm = [0, 1, 2, 3, 4, 5].map(|n| STEP_MM * f64::from(1 << n));
    let fits =
        |mm: &f64| Lattice::round(&portal, huge, *mm).points_with(REACH * CELL) <= MOST_POINTS;
    // 4 m of liver on a side, which no scan holds: points 32 mm apart.
    assert_eq!(step_mm.iter().find(|mm| fits(mm)), Some(&32.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// A liver that also turned, by up to three degrees about its own middle: the shift of its middle
    /// is found, a little less well.
    #[test]
    fn a_shift_is_found_under_a_small_turn(
        by in [-10.0f64..10.0, -10.0f64..10.0, -12.0f64..12.0],
        degrees in -3.0f64..3.0,
        axis in 0usize..3,
    ) {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (first, second) = ((axis + 1) % 3, (axis + 2) % 3);
        let breath = move |world: [f64; 3]| {
            let from = [0, 1, 2].map(|n| world[n] - by[n] - CENTRE[n]);
            let mut rest = from;
            rest[first] = cos * from[first] + sin * from[second];
            rest[second] = cos * from[second] - sin * from[first];
            [0, 1, 2].map(|n| rest[n] + CENTRE[n])
        };
        let found = scene().register(&image(1, &grid(), breath));
        prop_assert!(error_mm(&found, by) < 3.0, "{by:?} {degrees}° about {axis}: {found:?}");
    }
}
