//! Where the aorta is found, and what two images show together.

use ndarray::s;

use super::*;
use crate::analysis::segment::phantom_scan::scan;

const SHAPE: [usize; 3] = [40, 200, 240];
const SPACING: [f64; 3] = [4.0, 1.5, 1.5];
const WHOLE: VoxelBox = VoxelBox { start: [0; 3], end: SHAPE };
/// The body's back lies at row 20, its middle at column 120.
const BODY: VoxelBox = VoxelBox { start: [0, 20, 20], end: [40, 180, 220] };

/// A body of muscle with round tubes of `(row, column, radius in pixels, HU)` along it.
fn body_with(tubes: &[(f64, f64, f64, i16)]) -> HuVolume {
    let mut volume = scan(SHAPE, SPACING, -1000, &[(BODY, 45)]);
    for ((z, y, x), hu) in volume.hu.indexed_iter_mut() {
        for &(row, column, radius, density) in tubes {
            // A bend of 12 mm over the height.
            let bend = 8.0 * (z as f64 / 40.0 - 0.5).abs();
            if (y as f64 - row - bend).hypot(x as f64 - column) <= radius {
                *hu = density;
            }
        }
    }
    volume
}

const AORTA: (f64, f64, f64) = (75.0, 110.0, 7.5);

fn with_aorta(hu: i16) -> HuVolume {
    body_with(&[(AORTA.0, AORTA.1, AORTA.2, hu)])
}

#[test]
fn the_aorta_is_found_as_bright_as_it_is() {
    for hu in [95, 130, 160, 240, 400] {
        let found = Aorta::find(&with_aorta(hu), WHOLE, 2).unwrap();
        assert!((found.hu - f64::from(hu)).abs() < 6.0, "{hu}: {}", found.hu);
    }
    assert_eq!(Aorta::find(&with_aorta(60), WHOLE, 2), None, "no contrast medium");
}

#[test]
fn what_is_no_tube_before_the_spine_is_no_aorta() {
    // Too thin, too thick, too far to the side, behind the spine.
    for tube in [(75.0, 110.0, 3.0), (90.0, 110.0, 17.0), (75.0, 165.0, 7.5), (35.0, 110.0, 7.5)] {
        let volume = body_with(&[(tube.0, tube.1, tube.2, 200)]);
        assert_eq!(Aorta::find(&volume, WHOLE, 2), None, "{tube:?}");
    }
    // In half of the slices only.
    let mut volume = with_aorta(200);
    volume.hu.slice_mut(s![..20, 20..180, 20..220]).fill(45);
    assert_eq!(Aorta::find(&volume, WHOLE, 2), None);
}

#[test]
fn a_table_behind_the_patient_is_not_the_back() {
    let mut volume = body_with(&[(AORTA.0 + 40.0, AORTA.1, AORTA.2, 300)]);
    // The body begins 60 mm before the table's plates.
    volume.hu.slice_mut(s![.., 20..60, ..]).fill(-1000);
    let alone = Aorta::find(&volume, WHOLE, 2).unwrap().hu;
    volume.hu.slice_mut(s![.., 4..7, 20..220]).fill(100);
    volume.hu.slice_mut(s![.., 14..17, 20..220]).fill(100);
    assert_eq!(Aorta::find(&volume, WHOLE, 2).unwrap().hu, alone);
    assert!((alone - 300.0).abs() < 6.0);
}

#[test]
fn branches_do_not_hide_the_aorta() {
    // The coeliac trunk and the renal arteries, in nearly every slice.
    let mut volume = with_aorta(300);
    volume.hu.slice_mut(s![4..36, 74..79, 60..150]).fill(300);
    let found = Aorta::find(&volume, WHOLE, 2).unwrap();
    assert!((found.hu - 300.0).abs() < 6.0, "{}", found.hu);
}

#[test]
fn of_two_vessels_the_brighter_one_is_the_aorta() {
    let volume = body_with(&[(75.0, 135.0, 7.5, 130), (AORTA.0, AORTA.1, AORTA.2, 180)]);
    let found = Aorta::find(&volume, WHOLE, 2).unwrap();
    assert!((found.hu - 180.0).abs() < 6.0, "{}", found.hu);
    let other = body_with(&[(75.0, 135.0, 7.5, 50), (AORTA.0, AORTA.1, AORTA.2, 300)]);
    assert!((found.hu_in(&other) - 300.0).abs() < 6.0);
    let both = aorta_in_both(&other, &volume, WHOLE, 2).unwrap();
    assert!((both[0] - 300.0).abs() < 6.0 && (both[1] - 180.0).abs() < 6.0, "{both:?}");
}

#[test]
fn an_aorta_that_stayed_when_the_liver_moved_is_measured_where_it_is() {
    // The arterial image was moved by 12 mm to anterior, with the aorta in it.
    let arterial = body_with(&[(AORTA.0 + 8.0, AORTA.1, AORTA.2, 300)]);
    let both = aorta_in_both(&arterial, &with_aorta(150), WHOLE, 2).unwrap();
    assert!((both[0] - 300.0).abs() < 6.0 && (both[1] - 150.0).abs() < 6.0, "{both:?}");
    // Another vessel, 30 mm beside it, is not the aorta of the other image.
    let cava = body_with(&[(AORTA.0, AORTA.1 + 20.0, AORTA.2, 130)]);
    let both = aorta_in_both(&arterial, &cava, WHOLE, 2).unwrap();
    assert!((both[0] - 300.0).abs() < 6.0 && (both[1] - 45.0).abs() < 6.0, "{both:?}");
}

#[test]
fn slices_are_spread_over_the_liver() {
    assert_eq!(spread(3, 8), [3, 4, 5, 6, 7]);
    let many = spread(10, 170);
    assert_eq!((many.len(), many[0], many[31]), (SLICES, 12, 167));
    assert!(spread(5, 5).is_empty());
}

fn seen(aorta_hu: Option<f64>, liver_hu: f64) -> Enhancement {
    Enhancement { aorta_hu, liver_hu }
}

#[test]
fn an_image_by_itself_shows_a_phase_or_none() {
    for (aorta, liver, shown) in [
        (Some(310.0), 70.0, Some(Shown::Arterial)),
        (Some(200.0), 90.0, Some(Shown::Arterial)),
        (Some(199.0), 89.0, None),
        (Some(150.0), 110.0, Some(Shown::Portal)),
        (Some(125.0), 75.0, Some(Shown::Portal)),
        (Some(124.0), 100.0, None),
        (Some(220.0), 120.0, Some(Shown::Portal)),
        (Some(221.0), 121.0, None),
        (Some(105.0), 95.0, Some(Shown::Delayed)),
        (Some(150.0), 60.0, None),
        (Some(50.0), 55.0, Some(Shown::NonContrast)),
        (None, 74.9, Some(Shown::NonContrast)),
        (None, 75.0, None),
    ] {
        assert_eq!(seen(aorta, liver).shows(), shown, "{aorta:?} {liver}");
    }
}

#[test]
fn two_images_must_fade_as_a_bolus_does() {
    let unclear = Some(GateReason::PhaseUnclear);
    let dark = Some(GateReason::NotContrastEnhanced);
    for (early, late, against) in [
        ((Some(310.0), 70.0), (Some(155.0), 110.0), None),
        ((Some(185.0), 80.0), (Some(155.0), 100.0), None),
        ((Some(184.0), 80.0), (Some(155.0), 100.0), unclear),
        // A portal venous and a delayed image; a late arterial and a delayed one; two arterial ones.
        ((Some(153.0), 100.0), (Some(117.0), 92.0), unclear),
        ((Some(310.0), 70.0), (Some(109.0), 95.0), unclear),
        ((Some(350.0), 60.0), (Some(230.0), 90.0), unclear),
        ((Some(310.0), 120.0), (Some(155.0), 110.0), None),
        ((Some(310.0), 121.0), (Some(155.0), 110.0), unclear),
        ((Some(155.0), 110.0), (Some(310.0), 70.0), Some(GateReason::PhasesSwapped)),
        ((Some(155.0), 110.0), (Some(185.0), 120.0), Some(GateReason::PhasesSwapped)),
        ((Some(155.0), 110.0), (Some(184.0), 110.0), unclear),
        ((Some(155.0), 70.0), (Some(310.0), 110.0), unclear),
        ((Some(89.0), 60.0), (Some(155.0), 110.0), dark),
        ((Some(310.0), 60.0), (Some(89.0), 60.0), dark),
        ((None, 60.0), (None, 60.0), dark),
        ((None, 60.0), (None, 110.0), unclear),
    ] {
        let result = against_phases(&seen(early.0, early.1), &seen(late.0, late.1));
        assert_eq!(result, against, "{early:?} {late:?}");
    }
    assert_eq!(against_portal(&seen(Some(155.0), 110.0)), None);
    assert_eq!(against_portal(&seen(None, 50.0)), dark);
    assert_eq!(against_portal(&seen(Some(300.0), 70.0)), unclear);
}
