//! Lesions against shapes whose size is known, and against slow references.

use ndarray::Array3;
use proptest::prelude::*;

use super::*;
use crate::analysis::decode::fixture::FileSpec;
use crate::analysis::volume::LIVER;
use crate::analysis::volume::geometry::Affine;

fn grid(shape: [usize; 3], zyx_mm: [f64; 3]) -> Geometry {
    let [nz, ny, nx] = shape;
    let spec = FileSpec::ras([nx, ny, nz], [zyx_mm[2], zyx_mm[1], zyx_mm[0]]);
    Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap()
}

fn mask(shape: [usize; 3], label: impl Fn([usize; 3]) -> u8) -> Mask {
    Mask { labels: Array3::from_shape_fn(shape, |(z, y, x)| label([z, y, x])) }
}

/// A tumour ball of `radius` mm around a world position.
fn ball(geometry: &Geometry, centre: [f64; 3], radius: f64) -> Mask {
    mask(geometry.shape, |at| {
        let world = geometry.to_world(at.map(|n| n as f64));
        let inside = crate::analysis::volume::geometry::distance_mm(world, centre) <= radius;
        if inside { TUMOUR } else { LIVER }
    })
}

/// Every pair of outline points of every slice, measured in patient space.
fn reference_diameter(mask: &Mask, geometry: &Geometry) -> f64 {
    let mut longest: f64 = 0.0;
    for (z, slice) in mask.labels.axis_iter(Axis(0)).enumerate() {
        let mut points = Vec::new();
        for ((y, x), _) in slice.indexed_iter().filter(|(_, label)| **label == TUMOUR) {
            for (dy, dx) in [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)] {
                points.push(geometry.to_world([z as f64, y as f64 + dy, x as f64 + dx]));
            }
        }
        for a in &points {
            for b in &points {
                longest = longest.max(crate::analysis::volume::geometry::distance_mm(*a, *b));
            }
        }
    }
    longest
}

#[test]
fn a_ball_has_its_diameter_volume_and_centre() {
    for (mm, radius) in [([1.0, 1.0, 1.0], 12.0), ([2.5, 0.7, 0.7], 15.0), ([1.5, 0.8, 1.2], 10.0)]
    {
        let shape = [mm[0], mm[1], mm[2]].map(|mm: f64| (45.0 / mm) as usize);
        let geometry = grid(shape, mm);
        let centre = geometry.to_world(shape.map(|n| n as f64 / 2.0 + 0.2));
        let found = measure(&ball(&geometry, centre, radius), &geometry).unwrap();
        assert_eq!(found.count, 1);
        let lesion = &found.lesions[0];
        // The widest slice may miss the equator by half a slice, and a pixel belongs or not.
        let pixel = mm[1].max(mm[2]);
        assert!((lesion.diameter.get() - 2.0 * radius).abs() < pixel, "{}", lesion.diameter);
        let volume = 4.0 / 3.0 * std::f64::consts::PI * radius.powi(3);
        assert!((lesion.volume_mm3 / volume - 1.0).abs() < 0.03);
        assert_eq!(lesion.volume_mm3, found.tumour_mm3);
        let off = crate::analysis::volume::geometry::distance_mm(lesion.centre_mm, centre);
        assert!(off < 0.3, "{off}");
        let whole = geometry.shape.iter().product::<usize>() as f64 * mm[0] * mm[1] * mm[2];
        assert!((found.liver_mm3 / whole - 1.0).abs() < 1e-9);
    }
}

#[test]
fn the_diameter_is_axial_and_not_the_longest_in_space() {
    // A rod along z, and a plate within one slice.
    let geometry = grid([40, 40, 40], [1.0; 3]);
    let rod = mask([40; 3], |[_, y, x]| if y / 4 == 5 && x / 4 == 5 { TUMOUR } else { LIVER });
    let lesion = &measure(&rod, &geometry).unwrap().lesions[0];
    assert!((lesion.diameter.get() - (16f64 + 9.0).sqrt()).abs() < 1e-9, "{}", lesion.diameter);
    assert_eq!(lesion.bounds, VoxelBox { start: [0, 20, 20], end: [40, 24, 24] });
    // A box of 30 × 4 voxels in slice 7 only, above a smaller part: slice 7 is named.
    let plate = mask([40; 3], |[z, y, x]| {
        let wide = z == 7 && (3..33).contains(&x) && (10..14).contains(&y);
        let narrow = (7..20).contains(&z) && (10..14).contains(&x) && (10..14).contains(&y);
        if wide || narrow { TUMOUR } else { LIVER }
    });
    let lesion = &measure(&plate, &geometry).unwrap().lesions[0];
    assert_eq!(lesion.slice, 7);
    let [a, b] = lesion.ends;
    assert_eq!((a[1] - b[1]).abs(), 30.0);
    assert!((lesion.diameter.get() - (900f64 + 9.0).sqrt()).abs() < 1e-9);
}

#[test]
fn a_single_voxel_measures_one_pixel() {
    let geometry = grid([20, 20, 20], [8.0, 3.0, 3.0]);
    let one = mask([20; 3], |at| if at == [9, 9, 9] { TUMOUR } else { BACKGROUND });
    let lesion = &measure(&one, &geometry).unwrap().lesions[0];
    assert!((lesion.diameter.get() - 3.0).abs() < 1e-9);
}

#[test]
fn small_components_count_as_volume_only() {
    // 50 mm³ and just below: 50 and 49 voxels of 1 mm³, and a speck.
    let geometry = grid([20, 20, 60], [1.0; 3]);
    let row = |length: usize| {
        mask([20, 20, 60], move |[z, y, x]| {
            if (z, y) == (5, 5) && x < length || (z, y, x) == (15, 15, 15) { TUMOUR } else { LIVER }
        })
    };
    let kept = measure(&row(50), &geometry).unwrap();
    assert_eq!((kept.count, kept.lesions.len(), kept.tumour_mm3.round()), (1, 1, 51.0));
    let dropped = measure(&row(49), &geometry).unwrap();
    assert_eq!((dropped.count, dropped.lesions.len(), dropped.tumour_mm3.round()), (0, 0, 50.0));
}

#[test]
fn the_list_is_cut_and_the_count_is_not() {
    // 5 × 8 blocks of 4 × 4 × (4 or 5) voxels, two apart.
    let shape = [20, 40, 60];
    let geometry = grid(shape, [1.0; 3]);
    let many = mask(shape, |[z, y, x]| {
        let within = |n: usize, pitch: usize, size: usize| n % pitch < size;
        let wide = if x < 8 { 6 } else { 4 };
        let block = z < 4 && within(y, 8, 4) && within(x, 8, wide) && x < 62;
        if block { TUMOUR } else { LIVER }
    });
    let found = measure(&many, &geometry).unwrap();
    assert_eq!((found.count, found.lesions.len()), (40, MAX_LESIONS));
    let diameters: Vec<f64> = found.lesions.iter().map(|l| l.diameter.get()).collect();
    assert!(diameters.windows(2).all(|pair| pair[0] >= pair[1]));
    assert!(diameters[4] > diameters[5], "the five wide ones come first");
}

#[test]
fn a_mask_of_another_grid_is_refused() {
    let geometry = grid([20, 20, 20], [1.0; 3]);
    let other = mask([20, 20, 19], |_| LIVER);
    assert!(matches!(measure(&other, &geometry), Err(LesionError::Shape { .. })));
}

#[test]
fn oblique_planes_are_measured_in_millimetres() {
    // Turned by 25° about x and by 10° about z; in-plane pixels 0.8 × 1.1 mm.
    let ((sx, cx), (sz, cz)) = (25f64.to_radians().sin_cos(), 10f64.to_radians().sin_cos());
    let rotation = [[cz, -sz * cx, sz * sx], [sz, cz * cx, -cz * sx], [0.0, sx, cx]];
    let affine: Affine = rotation.map(|row| [row[0] * 0.8, row[1] * 1.1, row[2] * 2.0, -20.0]);
    let geometry = Geometry::from_affine([50, 40, 24], &affine, vec![0; 348]).unwrap();
    let centre = geometry.to_world([12.0, 20.0, 25.0]);
    let balls = ball(&geometry, centre, 14.0);
    let lesion = &measure(&balls, &geometry).unwrap().lesions[0];
    assert!((lesion.diameter.get() - 28.0).abs() < 1.1, "{}", lesion.diameter);
    assert!((lesion.diameter.get() - reference_diameter(&balls, &geometry)).abs() < 1e-9);
}

#[test]
fn one_liver_is_kept_with_what_it_encloses() {
    let shape = [10, 30, 40];
    let ring = |y: usize, x: usize| (4..20).contains(&y) && (4..20).contains(&x);
    let hole = |y: usize, x: usize| (7..17).contains(&y) && (7..17).contains(&x);
    let island = |y: usize, x: usize| (10..14).contains(&y) && (10..14).contains(&x);
    let mut labels = mask(shape, |[z, y, x]| match z {
        0..8 if island(y, x) => TUMOUR,
        0..8 if hole(y, x) => BACKGROUND,
        0..8 if ring(y, x) => LIVER,
        // A stray organ with a stray tumour, beside the liver.
        0..5 if (30..36).contains(&x) && (8..12).contains(&y) => 1 + u8::from(x == 33),
        _ => BACKGROUND,
    });
    let outside = keep_largest_liver(&mut labels);
    assert_eq!(outside, 5 * 4, "the stray tumour");
    assert_eq!(labels.labels[[3, 11, 11]], TUMOUR, "enclosed by liver");
    assert_eq!(labels.labels[[3, 5, 5]], LIVER);
    assert!(labels.labels.slice(ndarray::s![.., .., 25..]).iter().all(|&l| l == BACKGROUND));
    // Again changes nothing, and an empty mask stays empty.
    let once = labels.clone();
    assert_eq!(keep_largest_liver(&mut labels), 0);
    assert_eq!(labels, once);
    let mut empty = mask(shape, |_| BACKGROUND);
    assert_eq!(keep_largest_liver(&mut empty), 0);
    assert!(empty.labels.iter().all(|&l| l == BACKGROUND));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Hull and runs against every pair of outline points.
    #[test]
    fn the_caliper_agrees_with_all_pairs(bits in prop::collection::vec(any::<bool>(), 2 * 6 * 7)) {
        let mut labels: Vec<u8> = bits.into_iter().map(|b| if b { TUMOUR } else { LIVER }).collect();
        labels[0] = TUMOUR;
        let mask = Mask { labels: Array3::from_shape_vec((2, 6, 7), labels).unwrap() };
        let geometry = grid([2, 6, 7], [8.0, 3.5, 3.0]);
        let found = measure(&mask, &geometry).unwrap();
        // Per component, the reference sees that component alone.
        let mut components = components(mask.labels.view(), |label| label == TUMOUR);
        components.sort_by_key(|runs| runs[0].z * 1000 + runs[0].y * 10 + runs[0].start);
        let mut slow: Vec<f64> = components
            .iter()
            .map(|runs| {
                let mut alone = Mask { labels: Array3::zeros((2, 6, 7)) };
                for run in runs {
                    for x in run.start..run.end {
                        alone.labels[[run.z, run.y, x]] = TUMOUR;
                    }
                }
                reference_diameter(&alone, &geometry)
            })
            .collect();
        slow.sort_by(|a, b| b.total_cmp(a));
        prop_assert_eq!(found.count, slow.len());
        for (lesion, slow) in found.lesions.iter().zip(slow) {
            prop_assert!((lesion.diameter.get() - slow).abs() < 1e-9);
        }
    }
}
