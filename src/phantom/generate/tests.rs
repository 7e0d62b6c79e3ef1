//! The phantom's volumes: the same for the same seed, true to their labels, organs as documented.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::anatomy::{ALL_TISSUES, Tissue};
use super::super::spec::{Phenotype, Preset, TumourSpec};
use super::super::study::encode_images;
use super::*;
use crate::analysis::decode::{ImageName, Limits, decode};
use crate::analysis::registration::register;
use crate::analysis::volume::{BACKGROUND, LIVER, Mask, TUMOUR};
use crate::units::Spacing;

/// One phantom for the tests that only look.
static SMALL: LazyLock<Phantom> =
    LazyLock::new(|| generate(&Preset::Small.spec(11)).expect("the preset draws"));

fn digest(phantom: &Phantom) -> u64 {
    let arterial = phantom.arterial.iter().flatten().map(|v| *v as u64);
    let portal = phantom.portal.iter().map(|v| *v as u64);
    let labels = phantom.labels.iter().map(|v| u64::from(*v));
    arterial.chain(portal).chain(labels).fold(1, |sum, value| mix(sum ^ value))
}

#[test]
fn the_same_seed_gives_the_same_voxels_and_another_seed_others() {
    let again = generate(&Preset::Small.spec(11)).unwrap();
    assert_eq!(digest(&SMALL), digest(&again));
    assert_eq!(SMALL.truth, again.truth);
    let other = generate(&Preset::Small.spec(12)).unwrap();
    assert_ne!(digest(&SMALL), digest(&other));
    assert_ne!(SMALL.labels, other.labels);
}

#[test]
fn the_truth_agrees_with_the_labels() {
    let voxel_mm3 = SMALL.spec.spacing.voxel_mm3();
    let organ = SMALL.labels.iter().filter(|v| **v != BACKGROUND).count() as f64;
    assert!((SMALL.truth.liver_ml - organ * voxel_mm3 / 1000.0).abs() < 1e-6);
    let mut components = components(&SMALL.labels, TUMOUR);
    let mut tumours = SMALL.truth.tumours.clone();
    components.sort_by_key(|c| std::cmp::Reverse(c.len()));
    tumours.sort_by(|a, b| b.volume_mm3.total_cmp(&a.volume_mm3));
    assert_eq!(components.len(), tumours.len());
    for (voxels, tumour) in components.iter().zip(&tumours) {
        assert!((voxels.len() as f64 * voxel_mm3 - tumour.volume_mm3).abs() < 1e-6);
        let longest = brute_force_diameter(voxels, SMALL.spec.spacing);
        assert!((longest - tumour.diameter_mm).abs() < 1e-9, "{longest} {tumour:?}");
        let mut mean = [0.0; 3];
        for voxel in voxels {
            let point = SMALL.spec.patient_mm(*voxel);
            for axis in 0..3 {
                mean[axis] += (point[axis] + SMALL.spec.origin_mm[axis]) / voxels.len() as f64;
            }
        }
        for (mean, truth) in mean.into_iter().zip(tumour.centre_mm) {
            assert!((mean - truth).abs() < 1e-6);
        }
    }
}

/// Every pair of voxels of every slice.
fn brute_force_diameter(voxels: &[[usize; 3]], spacing: Spacing) -> f64 {
    let [_, dy, dx] = spacing.zyx();
    let mut longest: f64 = 0.0;
    for a in voxels {
        for b in voxels.iter().filter(|b| b[0] == a[0]) {
            let (y, x) = (a[1].abs_diff(b[1]) as f64 * dy, a[2].abs_diff(b[2]) as f64 * dx);
            longest = longest.max((x * x + y * y).sqrt());
        }
    }
    longest
}

/// 26-connected components by flood fill.
fn components(labels: &Array3<u8>, wanted: u8) -> Vec<Vec<[usize; 3]>> {
    let mut left: std::collections::BTreeSet<[usize; 3]> = labels
        .indexed_iter()
        .filter(|(_, v)| **v == wanted)
        .map(|((z, y, x), _)| [z, y, x])
        .collect();
    let mut found = Vec::new();
    while let Some(start) = left.pop_first() {
        let mut component = vec![start];
        let mut next = 0;
        while next < component.len() {
            let [z, y, x] = component[next];
            next += 1;
            for step in 0..27 {
                let near = [z + step / 9, y + step / 3 % 3, x + step % 3];
                let near = near.map(|v| v.wrapping_sub(1));
                if left.remove(&near) {
                    component.push(near);
                }
            }
        }
        found.push(component);
    }
    found
}

#[test]
fn every_preset_seed_gives_a_liver_of_normal_size_and_a_tumour_of_55_mm() {
    for seed in 0..6 {
        let phantom = generate(&PhantomSpec { with_arterial: false, ..Preset::Small.spec(seed) });
        let truth = phantom.unwrap().truth;
        assert!((1100.0..1700.0).contains(&truth.liver_ml), "seed {seed}: {truth:?}");
        assert!(truth.tumours[0].diameter_mm >= 55.0, "seed {seed}: {truth:?}");
        assert!(truth.tumours[1].diameter_mm < 35.0, "seed {seed}: {truth:?}");
    }
}

#[test]
fn the_liver_is_on_the_patients_right_and_the_spleen_on_the_left() {
    let anatomy = Anatomy::new(&SMALL.spec).unwrap();
    let mut sides: BTreeMap<Tissue, (f64, u32)> = BTreeMap::new();
    let [depth, height, width] = SMALL.spec.shape;
    for z in (0..depth).step_by(2) {
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let point = SMALL.spec.patient_mm([z, y, x]);
                let entry = sides.entry(anatomy.sample(point).tissue).or_default();
                *entry = (entry.0 + point[0], entry.1 + 1);
            }
        }
    }
    let mean_x = |tissue| sides[&tissue].0 / f64::from(sides[&tissue].1);
    assert!(mean_x(Tissue::Liver) > 30.0);
    assert!(mean_x(Tissue::Spleen) < -70.0);
    assert!(mean_x(Tissue::Aorta) < -5.0 && mean_x(Tissue::VenaCava) > 10.0);
}

/// Mean and standard deviation of both phases per tissue, away from the tissue's edges.
fn tissue_statistics(phantom: &Phantom) -> BTreeMap<Tissue, [(f64, f64); 2]> {
    let anatomy = Anatomy::new(&phantom.spec).unwrap();
    let mut values: BTreeMap<Tissue, [Vec<f64>; 2]> = BTreeMap::new();
    for ((z, y, x), portal) in phantom.portal.indexed_iter() {
        let point = phantom.spec.patient_mm([z, y, x]);
        let tissue = anatomy.sample(point).tissue;
        let pure = [-4.0, 4.0].iter().all(|step| {
            (0..3).all(|axis| {
                let mut near = point;
                near[axis] += step;
                anatomy.sample(near).tissue == tissue
            })
        });
        if pure {
            let entry = values.entry(tissue).or_default();
            entry[0].push(f64::from(phantom.arterial.as_ref().unwrap()[[z, y, x]]));
            entry[1].push(f64::from(*portal));
        }
    }
    values.into_iter().map(|(tissue, phases)| (tissue, phases.map(|v| mean_and_sd(&v)))).collect()
}

fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn every_organ_has_the_documented_hu_in_both_phases() {
    let spec = PhantomSpec {
        shape: [40, 64, 64],
        spacing: Spacing::new([5.0, 5.0, 5.0]).unwrap(),
        arterial_shift_mm: [0.0; 3],
        noise_sd: 10.0,
        ..Preset::Small.spec(5)
    };
    let statistics = tissue_statistics(&generate(&spec).unwrap());
    let checked = [
        Tissue::Fat,
        Tissue::Lung,
        Tissue::Liver,
        Tissue::Spleen,
        Tissue::Muscle,
        Tissue::Aorta,
        Tissue::VenaCava,
        Tissue::Heart,
    ];
    for tissue in checked {
        let (documented, spread) = tissue.enhancement();
        for phase in 0..2 {
            let (mean, sd) = statistics[&tissue][phase];
            // 12 HU beside the documented spread: soft edges and capsules at 5 mm voxels.
            let off = (mean - documented[phase]).abs();
            assert!(off <= spread + 12.0, "{tissue:?} phase {phase}: {mean}");
            assert!(sd >= 8.0, "{tissue:?} phase {phase}: sd {sd}");
        }
    }
    let (liver, sd) = statistics[&Tissue::Liver][1];
    assert!(sd < 14.0, "liver {liver} sd {sd}");
}

#[test]
fn air_noise_has_the_standard_deviation_asked_for() {
    let spec = PhantomSpec { noise_sd: 12.0, ..Preset::Small.spec(1) };
    let noise = SliceNoise::new(&spec, Phase::Portal, 3);
    let values: Vec<f64> = noise.values.iter().map(|v| f64::from(*v)).collect();
    let (mean, sd) = mean_and_sd(&values);
    assert!(mean.abs() < 0.6 && (sd - 12.0).abs() < 0.4, "mean {mean}, sd {sd}");
}

#[test]
fn phenotypes_enhance_as_described() {
    let at = [70.0, 5.0, 0.0];
    for phenotype in [Phenotype::Proliferative, Phenotype::NonProliferative] {
        let tumour = TumourSpec { centre: Some(at), diameter_mm: 60.0, phenotype };
        let spec = PhantomSpec { tumours: vec![tumour], ..Preset::Small.spec(2) };
        let anatomy = Anatomy::new(&spec).unwrap();
        let liver = anatomy.mean_hu(Tissue::Liver);
        let toward_front = |mm: f64| anatomy.sample([at[0], at[1] + mm, at[2]]).hu;
        let brightest = |phase: usize| {
            let along = (40..72).map(|half| toward_front(f64::from(half) / 2.0)[phase]);
            along.fold(f64::MIN, f64::max)
        };
        let core = toward_front(19.0);
        match phenotype {
            Phenotype::Proliferative => {
                assert!(brightest(0) > liver[0] + 30.0, "rim {}", brightest(0));
                assert!(core[0] < liver[0] - 10.0, "core {core:?}");
                assert!(core[1] < liver[1] - 20.0);
                assert!(anatomy.sample(at).hu[0] < 45.0, "necrotic centre");
            }
            Phenotype::NonProliferative => {
                assert!((core[0] - liver[0] - 40.0).abs() < 8.0, "{core:?}");
                assert!((core[1] - liver[1] + 25.0).abs() < 8.0, "{core:?}");
                assert!(brightest(1) > liver[1] + 8.0, "capsule {}", brightest(1));
            }
        }
    }
}

#[test]
fn labels_are_only_the_three_and_tumours_lie_in_the_liver() {
    assert!(SMALL.labels.iter().all(|v| [BACKGROUND, LIVER, TUMOUR].contains(v)));
    let [depth, height, width] = SMALL.spec.shape;
    let margin = 1;
    for ((z, y, x), label) in SMALL.labels.indexed_iter() {
        if *label != BACKGROUND {
            assert!(
                (margin..height - margin).contains(&y) && (margin..width - margin).contains(&x)
            );
            assert!((margin..depth - margin).contains(&z), "liver cut off at slice {z}");
        }
    }
}

#[test]
fn tissues_are_listed_in_order() {
    for (index, tissue) in ALL_TISSUES.iter().enumerate() {
        assert_eq!(*tissue as usize, index);
    }
}

#[test]
fn a_tumour_too_large_for_the_liver_is_refused() {
    let mut spec = Preset::Small.spec(1);
    spec.tumours = vec![TumourSpec { diameter_mm: 140.0, ..spec.tumours[0] }; 3];
    assert!(matches!(generate(&spec), Err(PhantomError::NoRoom { .. })));
}

#[test]
fn a_shift_moves_the_arterial_phase_alone() {
    let still = PhantomSpec {
        arterial_shift_mm: [0.0; 3],
        noise_sd: 0.0,
        spacing: Spacing::new([5.0, 4.0, 4.0]).unwrap(),
        ..Preset::Small.spec(4)
    };
    let moved = PhantomSpec { arterial_shift_mm: [4.0, 0.0, 0.0], ..still.clone() };
    let (still, moved) = (generate(&still).unwrap(), generate(&moved).unwrap());
    assert_eq!((&still.portal, &still.labels), (&moved.portal, &moved.labels));
    let (a, b) = (still.arterial.unwrap(), moved.arterial.unwrap());
    // One voxel towards high x.
    assert_eq!(a[[24, 48, 60]], b[[24, 48, 61]]);
    assert_ne!(a, b);
}

/// What the analysis will find of the patient's breath, in millimetres: a third of a voxel.
#[test]
fn the_shift_a_phantom_was_drawn_with_is_found_again() {
    for (seed, shift_mm) in [(5, [3.0, -4.0, 9.0]), (6, [-2.0, 6.0, -15.0]), (7, [0.0; 3])] {
        let spec = PhantomSpec { arterial_shift_mm: shift_mm, ..Preset::Small.spec(seed) };
        let phantom = generate(&spec).unwrap();
        let files = encode_images(&phantom).unwrap();
        let read = |image, bytes: &[u8]| decode(image, bytes, &Limits::STANDARD).unwrap().volume;
        let portal = read(ImageName::Portal, &files.portal_nii_gz);
        let arterial = read(ImageName::Arterial, &files.arterial_nii_gz.unwrap());
        let mask = Mask { labels: phantom.labels };
        let found = register(&arterial, &portal, &mask, 2).unwrap();
        for axis in 0..3 {
            let error_mm = found.shift_mm[axis] - shift_mm[axis];
            assert!(error_mm.abs() < 1.1, "seed {seed}: {shift_mm:?}, found {found:?}");
        }
    }
}
