//! Whole folders: files in, volumes and findings out.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use proptest::prelude::*;

use super::fixture::*;
use super::*;
use crate::analysis::decode::Limits;
use crate::analysis::volume::geometry::GeometryError;
use crate::units::Bytes;

const LIMITS: Limits = Limits::STANDARD;

fn assembled(files: &[Vec<u8>]) -> Assembled {
    assemble(files, &LIMITS, 2)
}

/// The only volume of files that give nothing else.
fn only_volume(files: &[Vec<u8>]) -> SeriesVolume {
    let Assembled { volumes, findings } = assembled(files);
    assert_eq!(findings, []);
    let [(_, volume)] = <[_; 1]>::try_from(volumes).ok().expect("one volume");
    volume
}

/// Why the only series of the files is refused.
fn refusal(files: &[Vec<u8>]) -> DicomError {
    let Assembled { volumes, findings } = assembled(files);
    assert!(volumes.is_empty());
    match &findings[..] {
        [Finding::Refused { error, .. }] => error.clone(),
        _ => panic!("{findings:?}"),
    }
}

/// Why a series is refused whose slice 3 is another.
fn slice_refusal(change: impl Fn(FileSpec) -> FileSpec) -> DicomError {
    match refusal(&series(16, |n, spec| if n == 3 { change(spec) } else { spec })) {
        DicomError::BrokenFiles { count: 1, of: 16, source } => *source,
        other => other,
    }
}

#[test]
fn voxels_and_places_are_those_of_the_files() {
    let read = only_volume(&series(16, |_, spec| spec));
    let (hu, geometry) = (&read.volume.hu, &read.volume.geometry);
    assert_eq!(geometry.shape, [16, ROWS, COLUMNS]);
    for (slice, row, column) in [(0, 0, 0), (3, 5, 11), (15, 17, 19)] {
        // LPS to RAS: both in-plane axes run against the file's order.
        let at = [slice, ROWS - 1 - row, COLUMNS - 1 - column];
        assert_eq!(i32::from(hu[at]), i32::from(cell(slice, row, column)) - 1024);
        let [x, y, z] = geometry.to_world(at.map(|n| n as f64));
        let (column, row) = (column as f64, row as f64);
        let expected = [30.5 - 0.8 * column, 20.25 - 0.7 * row, -50.0 + 2.5 * slice as f64];
        for (found, expected) in [x, y, z].into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_files_and_threads_change_nothing(
        order in Just((0..17).collect::<Vec<usize>>()).prop_shuffle(),
        threads in 1usize..20,
    ) {
        let files = series(17, |_, spec| spec);
        let shuffled: Vec<_> = order.iter().map(|&n| files[n].clone()).collect();
        let Assembled { volumes, findings } = assemble(&shuffled, &LIMITS, threads);
        prop_assert_eq!(findings, []);
        prop_assert_eq!(&volumes[0].1, &only_volume(&files));
    }

    #[test]
    fn a_removed_slice_is_named(at in 1usize..20, run in 1usize..3) {
        let mut files = series(24, |_, spec| spec);
        files.drain(at..at + run);
        let slices = 24 - run;
        let distance_mm = 2.5 * (run + 1) as f64;
        let expected =
            DicomError::Gap { after: at, slices, distance_mm, spacing_mm: 2.5, missing: run };
        prop_assert_eq!(refusal(&files), expected);
    }

    #[test]
    fn a_doubled_slice_is_left_out_or_named(at in 0usize..20, other: bool) {
        let mut files = series(20, |_, spec| spec);
        let pixels = cells(if other { at + 1 } else { at });
        files.push(FileSpec::axial(-50.0 + 2.5 * at as f64).file(&pixels));
        if other {
            let expected = DicomError::Duplicate { slice: at + 1, slices: 21, count: 2 };
            prop_assert_eq!(refusal(&files), expected);
        } else {
            let Assembled { volumes, findings } = assembled(&files);
            prop_assert_eq!(findings, [Finding::Copies { count: 1 }]);
            prop_assert_eq!(&volumes[0].1, &only_volume(&files[..20]));
        }
    }

    #[test]
    fn a_moved_slice_is_named(at in 1usize..19, axis in 0usize..3, mm in 0.3f64..1.0) {
        let files = series(20, |n, spec| {
            let mut place = [-30.5, -20.25, -50.0 + 2.5 * n as f64];
            place[axis] += if n == at { mm } else { 0.0 };
            spec.at(place)
        });
        match refusal(&files) {
            DicomError::UnevenSpacing { after, .. } => {
                prop_assert!(axis == 2 && (after == at || after == at + 1), "{after}");
            }
            DicomError::Displaced { slice, off_mm, .. } => {
                prop_assert!(axis < 2 && slice == at + 1);
                prop_assert!((off_mm - mm).abs() < 1e-3);
            }
            error => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn unequal_spacing_is_accepted_within_the_tolerance() {
    let jitter = |mm: f64| {
        series(20, |n, spec| {
            let off = if n == 7 { mm } else { 0.0 };
            spec.at([-30.5, -20.25, -50.0 + 2.5 * n as f64 + off])
        })
    };
    only_volume(&jitter(PLACE_TOLERANCE_MM - 0.01));
    assert!(matches!(
        refusal(&jitter(PLACE_TOLERANCE_MM + 0.01)),
        DicomError::UnevenSpacing { after: 7 | 8, slices: 20, .. }
    ));
    // Each step is within the tolerance of the others, and yet there are two spacings.
    let two = series(40, |n, spec| {
        let z = if n < 20 { 2.5 * n as f64 } else { 50.0 + 2.6 * (n - 20) as f64 };
        spec.at([-30.5, -20.25, z])
    });
    assert!(matches!(refusal(&two), DicomError::UnevenSpacing { .. }));
}

#[test]
fn a_tilted_gantry_is_named_with_its_angle() {
    let tilted =
        series(20, |n, spec| spec.at([-30.5, -20.25 + 0.5 * n as f64, -50.0 + 2.5 * n as f64]));
    let DicomError::Tilted { degrees } = refusal(&tilted) else { panic!() };
    assert!((degrees - (0.5f64 / 2.5).atan().to_degrees()).abs() < 1e-6, "{degrees}");
}

#[test]
fn a_sagittal_series_ends_up_in_the_same_order() {
    let sagittal = series(16, |n, spec| {
        spec.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1").at([
            10.0 - 2.5 * n as f64,
            5.0,
            60.0,
        ])
    });
    let read = only_volume(&sagittal);
    assert_eq!(read.volume.geometry.shape, [ROWS, COLUMNS, 16]);
    assert_eq!(read.volume.geometry.obliquity_degrees(), 0.0);
    // Slice 2 lies 5 mm to the left of slice 0 in LPS x = 5, which is Right −5.
    let at = [ROWS - 1 - 4, COLUMNS - 1 - 9, 2];
    assert_eq!(i32::from(read.volume.hu[at]), i32::from(cell(2, 4, 9)) - 1024);
    assert!((read.volume.geometry.to_world(at.map(|n| n as f64))[0] + 5.0).abs() < 1e-4);
}

#[test]
fn uncompressed_encodings_are_one() {
    let explicit = only_volume(&series(16, |_, spec| spec));
    for syntax in [IMPLICIT, BIG_ENDIAN] {
        assert_eq!(only_volume(&series(16, |_, spec| spec.encoded(syntax))), explicit, "{syntax}");
    }
}

#[test]
fn padding_becomes_air_and_is_counted() {
    let padded = series(16, |_, spec| spec.number(tags::PIXEL_PADDING_VALUE, cell(0, 0, 0)));
    let read = only_volume(&padded);
    let air = read.volume.hu.iter().filter(|hu| **hu == -1024).count() as u64;
    assert!(air > 0 && air == read.padding);
    assert_eq!(read.intake.clipped_low, 0);
}

#[test]
fn missing_attributes_are_named() {
    for (tag, attribute) in [
        (tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient"),
        (tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient"),
        (tags::PIXEL_SPACING, "PixelSpacing"),
        (tags::ROWS, "Rows"),
        (tags::RESCALE_SLOPE, "RescaleSlope"),
        (tags::RESCALE_INTERCEPT, "RescaleIntercept"),
        (tags::BITS_STORED, "BitsStored"),
        (tags::PIXEL_REPRESENTATION, "PixelRepresentation"),
    ] {
        assert_eq!(slice_refusal(|spec| spec.without(tag)), DicomError::Missing { attribute });
    }
}

#[test]
fn values_out_of_range_are_named_on_both_sides() {
    let named = |change: fn(FileSpec) -> FileSpec| slice_refusal(change).to_string();
    let message = named(|spec| spec.number(tags::ROWS, 15));
    assert!(message.starts_with("15 rows, expected at least 16"), "{message}");
    let message = named(|spec| spec.number(tags::COLUMNS, 1025));
    assert!(message.starts_with("columns 1025, at most 1024"), "{message}");
    for (change, attribute) in [
        ((|s| s.number(tags::BITS_ALLOCATED, 8)) as fn(FileSpec) -> FileSpec, "BitsAllocated"),
        (|s| s.number(tags::BITS_STORED, 17), "BitsStored"),
        (|s| s.number(tags::HIGH_BIT, 11), "HighBit"),
        (|s| s.number(tags::SAMPLES_PER_PIXEL, 3), "SamplesPerPixel"),
        (|s| s.text(tags::RESCALE_SLOPE, VR::DS, "0"), "RescaleSlope"),
        (|s| s.text(tags::RESCALE_SLOPE, VR::DS, "1,5"), "RescaleSlope"),
        (|s| s.text(tags::PIXEL_SPACING, VR::DS, "0.7"), "PixelSpacing"),
        (|s| s.text(tags::PIXEL_SPACING, VR::DS, "-2\\-2"), "PixelSpacing"),
        (|s| s.text(tags::PIXEL_SPACING, VR::DS, "1\\0"), "PixelSpacing"),
        (|s| s.at([0.0, 0.0, 200_000.0]), "ImagePositionPatient"),
        (|s| s.text(tags::NUMBER_OF_FRAMES, VR::IS, "2"), "NumberOfFrames"),
        (|s| s.text(tags::NUMBER_OF_FRAMES, VR::IS, "1A"), "NumberOfFrames"),
    ] {
        let message = named(change);
        assert!(message.starts_with(attribute), "{message}");
    }
}

#[test]
fn fewer_pixels_than_promised_and_more_are_named() {
    let with = |count: usize| {
        let mut files = series(16, |_, spec| spec);
        files[4] = FileSpec::axial(-40.0).file(&vec![0; count]);
        let DicomError::BrokenFiles { source, .. } = refusal(&files) else { panic!() };
        *source
    };
    let whole = (ROWS * COLUMNS * 2) as u64;
    let expected = DicomError::Truncated { what: "PixelData", found: whole - 2, expected: whole };
    assert_eq!(with(ROWS * COLUMNS - 1), expected);
    assert!(matches!(with(ROWS * COLUMNS + 1), DicomError::Corrupt { .. }));
    let mut files = series(16, |_, spec| spec);
    files[4] = FileSpec::axial(-40.0).headless();
    let DicomError::BrokenFiles { source, .. } = refusal(&files) else { panic!() };
    assert_eq!(*source, DicomError::Missing { attribute: "PixelData" });
}

#[test]
fn a_series_that_is_no_hounsfield_image_is_refused() {
    let files = series(16, |_, spec| spec.text(tags::RESCALE_INTERCEPT, VR::DS, "0"));
    assert!(matches!(refusal(&files), DicomError::ImplausibleHu { .. }));
}

#[test]
fn loss_is_refused_by_name_now_and_before() {
    let lossy = slice_refusal(|spec| spec.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"));
    assert_eq!(lossy, DicomError::LossyHistory);
    let jpeg = slice_refusal(|spec| spec.encoded("1.2.840.10008.1.2.4.50"));
    assert_eq!(jpeg, DicomError::LossySyntax { name: "JPEG Baseline" });
    let htj2k = slice_refusal(|spec| spec.encoded("1.2.840.10008.1.2.4.201"));
    assert_eq!(htj2k, DicomError::SyntaxNotRead { name: "HTJ2K Lossless Only" });
}

#[test]
fn limits_hold_on_both_sides() {
    let files = series(16, |_, spec| spec);
    let limits = |file: usize, voxels: u64| Limits { file: Bytes(file as u64), voxels };
    let voxels = (16 * ROWS * COLUMNS) as u64;
    let fits = assemble(&files, &limits(files[0].len(), voxels), 1);
    assert_eq!((fits.volumes.len(), fits.findings.len()), (1, 0));
    for limits in [limits(files[0].len() - 1, voxels), limits(files[0].len(), voxels - 1)] {
        let over = assemble(&files, &limits, 1);
        assert!(over.volumes.is_empty());
        let (Finding::Refused { error, .. } | Finding::Lost { error, .. }) = &over.findings[0]
        else {
            panic!("{:?}", over.findings)
        };
        assert!(matches!(error, DicomError::TooLarge { .. }), "{error}");
    }
    let few = DicomError::TooFew { what: "slices", found: 15, least: 16 };
    assert_eq!(refusal(&files[..15]), few);
}

#[test]
fn what_is_no_ct_is_left_out_and_counted() {
    let mut files = series(16, |_, spec| spec);
    let storage = |class: &str| {
        let uid = format!("1.2.840.10008.5.1.4.1.1.{class}");
        FileSpec::axial(0.0).text(tags::SOP_CLASS_UID, VR::UI, &uid).headless()
    };
    files.extend([storage("66.4"), storage("88.33"), storage("88.67"), storage("481.2")]);
    files.extend([storage("7"), storage("7.2"), storage("4"), storage("128"), storage("999")]);
    let scout = "ORIGINAL\\PRIMARY\\LOCALIZER";
    files.push(FileSpec::axial(0.0).text(tags::IMAGE_TYPE, VR::CS, scout).file(&cells(0)));
    let iodine = FileSpec::axial(0.0).text(tags::RESCALE_TYPE, VR::LO, "MGML");
    files.push(iodine.file(&cells(0)));
    files.push(b"not a DICOM file".to_vec());
    let Assembled { volumes, findings } = assembled(&files);
    assert_eq!(volumes.len(), 1);
    let mut counts: Vec<(Kind, usize)> = findings
        .iter()
        .map(|finding| match finding {
            Finding::LeftOut { kind, count } => (*kind, *count),
            other => panic!("{other:?}"),
        })
        .collect();
    counts.sort();
    let expected = [
        (Kind::NotDicom, 1),
        (Kind::Localiser, 1),
        (Kind::SecondaryCapture, 2),
        (Kind::Segmentation, 1),
        (Kind::DoseReport, 1),
        (Kind::StructuredReport, 1),
        (Kind::Radiotherapy, 1),
        (Kind::NotHounsfield, 1),
        (Kind::OtherModality, 2),
        (Kind::Other, 1),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn mixed_series_orientations_and_sizes_are_separated() {
    let mut files = series(16, |_, spec| spec);
    files.extend(series(18, |_, spec| spec.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.4")));
    // In the same series as the first, and coronal.
    files.extend(series(20, |n, spec| {
        spec.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0\\-1").at([
            0.0,
            2.5 * n as f64,
            0.0,
        ])
    }));
    files.extend(series(22, |_, spec| spec.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.8")));
    let Assembled { volumes, findings } = assembled(&files);
    assert_eq!(findings, []);
    let slices: Vec<_> = volumes.iter().map(|(s, _)| s.geometry().stored.shape[2]).collect();
    assert_eq!(slices, [22, 20, 18, 16]);
}

#[test]
fn acquisitions_of_the_same_places_are_told_apart() {
    let second = |tag: Tag, vr: VR, early: &str, late: &str| {
        let of = |text: &str| series(16, |_, spec| spec.text(tag, vr, text));
        let mut files = of(early);
        // Other pixels at the same places.
        let later = FileSpec::axial(0.0).text(tag, vr, late);
        files.extend((0..16).map(|n| {
            later.clone().at([-30.5, -20.25, -50.0 + 2.5 * n as f64]).file(&cells(n + 5))
        }));
        assembled(&files)
    };
    for (tag, vr, early, late) in [
        (tags::ACQUISITION_NUMBER, VR::IS, "000002", "3"),
        (tags::TEMPORAL_POSITION_IDENTIFIER, VR::IS, "1", "2"),
        (tags::TRIGGER_TIME, VR::DS, "0", "30000"),
        (tags::ACQUISITION_TIME, VR::TM, "083848", "083918.5"),
        (tags::CONTENT_TIME, VR::TM, "083848", "083918.5"),
    ] {
        let Assembled { volumes, findings } = second(tag, vr, early, late);
        assert_eq!(findings, [Finding::Split { acquisitions: 2 }], "{tag}");
        assert_eq!(volumes.len(), 2);
        assert_ne!(volumes[0].1.volume.hu, volumes[1].1.volume.hu);
    }
    // The same time tells nothing: 16 places are taken twice.
    let Assembled { volumes, findings } = second(tags::CONTENT_TIME, VR::TM, "083848", "083848");
    assert!(volumes.is_empty());
    let duplicate = DicomError::Duplicate { slice: 1, slices: 32, count: 2 };
    assert_eq!(findings, [Finding::Refused { slices: 32, error: duplicate }]);
}

#[test]
fn acquisitions_that_interleave_do_not_become_one_of_half_the_spacing() {
    let mut files = series(16, |_, spec| spec.text(tags::ACQUISITION_NUMBER, VR::IS, "1"));
    files.extend(series(16, |n, spec| {
        spec.text(tags::ACQUISITION_NUMBER, VR::IS, "2").at([
            -30.5,
            -20.25,
            -48.75 + 2.5 * n as f64,
        ])
    }));
    let Assembled { volumes, findings } = assembled(&files);
    assert_eq!(findings, [Finding::Split { acquisitions: 2 }]);
    assert!(volumes.iter().all(|(series, _)| series.geometry().shape[0] == 16));
}

#[test]
fn slabs_side_by_side_stay_one_volume() {
    let number = |n: usize| if n < 10 { "1" } else { "2" };
    let files = series(20, |n, spec| spec.text(tags::ACQUISITION_NUMBER, VR::IS, number(n)));
    assert_eq!(only_volume(&files).volume.geometry.shape[0], 20);
}

#[test]
fn an_acquisition_says_how_many_slices_it_has() {
    let stating = |count: usize| {
        series(20, move |_, spec| {
            spec.text(tags::ACQUISITION_NUMBER, VR::IS, "1").text(
                tags::IMAGES_IN_ACQUISITION,
                VR::IS,
                &count.to_string(),
            )
        })
    };
    assert_eq!(only_volume(&stating(20)).volume.geometry.shape[0], 20);
    assert_eq!(refusal(&stating(21)), DicomError::Unfinished { found: 20, expected: 21 });
    assert_eq!(refusal(&stating(39)), DicomError::Unfinished { found: 20, expected: 39 });
    // The number of two acquisitions, and a derived series that kept its source's number.
    assert_eq!(only_volume(&stating(40)).volume.geometry.shape[0], 20);
    // Another series does not stand in for what is missing.
    let mut twice = stating(21);
    twice.extend(series(20, |_, spec| {
        spec.text(tags::ACQUISITION_NUMBER, VR::IS, "1").text(
            tags::SERIES_INSTANCE_UID,
            VR::UI,
            "1.2.4",
        )
    }));
    assert_eq!(assembled(&twice).findings.len(), 1);
    let derived = series(20, |_, spec| {
        spec.text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\REFORMATTED").text(
            tags::IMAGES_IN_ACQUISITION,
            VR::IS,
            "200",
        )
    });
    assert_eq!(only_volume(&derived).volume.geometry.shape[0], 20);
}

/// An enhanced CT of `places`, in that order of frames.
fn enhanced(places: &[usize], change: impl Fn(FileSpec) -> FileSpec) -> Vec<u8> {
    let frames = places.iter().map(|n| {
        let z = -50.0 + 2.5 * *n as f64;
        let place = format!("-30.5\\-20.25\\{z}");
        InMemDicomObject::from_element_iter([group(
            tags::PLANE_POSITION_SEQUENCE,
            item(tags::IMAGE_POSITION_PATIENT, VR::DS, &place),
        )])
    });
    let mut transformation = item(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    transformation.put(item(tags::RESCALE_SLOPE, VR::DS, "1").take(tags::RESCALE_SLOPE).unwrap());
    let shared = InMemDicomObject::from_element_iter([
        group(
            tags::PLANE_ORIENTATION_SEQUENCE,
            item(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
        ),
        group(tags::PIXEL_MEASURES_SEQUENCE, item(tags::PIXEL_SPACING, VR::DS, "0.7\\0.8")),
        group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, transformation),
    ]);
    let mut spec = FileSpec::axial(0.0)
        .text(tags::SOP_CLASS_UID, VR::UI, ENHANCED_CT)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &places.len().to_string())
        .sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared])
        .sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.collect());
    for tag in [
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::PIXEL_SPACING,
        tags::RESCALE_SLOPE,
        tags::RESCALE_INTERCEPT,
    ] {
        spec = spec.without(tag);
    }
    let pixels: Vec<u16> = places.iter().flat_map(|&n| cells(n)).collect();
    change(spec).file(&pixels)
}

#[test]
fn the_source_of_an_enhanced_ct_names_its_frames() {
    let places: Vec<usize> = (0..16).map(|n| n * 5 % 16).collect();
    let file = enhanced(&places, |spec| spec.text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.8"));
    let files = [file];
    let source = survey(&files, &LIMITS).series[0].source(&files, &LIMITS).unwrap();
    for (n, slice) in source.slices.iter().enumerate() {
        let frame = places.iter().position(|&place| place == n).unwrap() as u32 + 1;
        assert_eq!((slice.frame, &*slice.class), (Some(frame), ENHANCED_CT));
        assert_eq!(slice.position[2], -50.0 + 2.5 * n as f64);
    }
}

#[test]
fn an_enhanced_ct_equals_its_slices() {
    let places: Vec<usize> = (0..16).map(|n| n * 5 % 16).collect();
    let slices = only_volume(&series(16, |_, spec| spec));
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let file = enhanced(&places, |spec| spec.encoded(syntax));
        assert_eq!(only_volume(&[file]), slices, "{syntax}");
    }
    let wrong = enhanced(&places, |spec| spec.text(tags::NUMBER_OF_FRAMES, VR::IS, "15"));
    let DicomError::BrokenFiles { source, .. } = refusal(&[wrong]) else { panic!() };
    assert!(source.to_string().starts_with("NumberOfFrames is 15"), "{source}");
}

#[test]
fn more_slices_than_an_axis_may_have_are_refused() {
    let frames = |count: usize| [enhanced(&(0..count).collect::<Vec<_>>(), |spec| spec)];
    assert_eq!(only_volume(&frames(1024)).volume.geometry.shape[0], 1024);
    let expected = DicomError::TooLarge { quantity: "slices", found: 1025, limit: 1024 };
    assert_eq!(refusal(&frames(1025)), expected);
}

#[test]
fn more_frames_than_one_file_may_have_are_refused() {
    // All at sixteen places, so that frames and not slices are too many.
    let frames = |count: usize| [enhanced(&(0..count).map(|n| n % 16).collect::<Vec<_>>(), |s| s)];
    let Assembled { volumes, findings } = assembled(&frames(4096));
    assert_eq!((volumes.len(), findings), (1, vec![Finding::Copies { count: 4096 - 16 }]));
    let DicomError::BrokenFiles { source, .. } = refusal(&frames(4097)) else { panic!() };
    let expected =
        DicomError::TooLarge { quantity: "frames in one file", found: 4097, limit: 4096 };
    assert_eq!(*source, expected);
}

#[test]
fn positions_rounded_to_a_tenth_of_a_millimetre_make_a_grid() {
    let files = series(33, |n, spec| {
        let z = (0.625 * n as f64 * 10.0).round() / 10.0;
        spec.at([-30.5, -20.25, z])
    });
    let [z, ..] = only_volume(&files).volume.geometry.spacing.zyx();
    assert!((z - 0.625).abs() < 1e-6, "{z}");
}

#[test]
fn unreadable_files_are_lost_and_named() {
    let good = series(16, |_, spec| spec);
    let lost = |file: Vec<u8>| {
        let mut files = good.clone();
        files.push(file);
        let Assembled { volumes, findings } = assembled(&files);
        assert_eq!(volumes.len(), 1);
        match <[_; 1]>::try_from(findings) {
            Ok([Finding::Lost { count: 1, error }]) => error,
            other => panic!("{other:?}"),
        }
    };
    let file = &good[0];
    assert!(matches!(lost(file[..300].to_vec()), DicomError::Truncated { .. }));
    let data_set = file.windows(4).position(|four| four == [8, 0, 8, 0]).unwrap();
    assert_eq!(lost(file[data_set..].to_vec()), DicomError::NoFileMeta);
    let mut unknown = file.clone();
    let uid = file.windows(19).position(|text| text == EXPLICIT.as_bytes()).unwrap();
    unknown[uid..uid + 19].copy_from_slice(b"1.2.999.10008.1.2.1");
    assert_eq!(lost(unknown), DicomError::SyntaxNotRead { name: "(unknown or private)" });
    // Without a preamble, but with file meta information, the encoding is known.
    assert_eq!(
        only_volume(&good),
        only_volume(&good.iter().map(|f| f[132..].to_vec()).collect::<Vec<_>>())
    );
}

#[test]
fn a_file_cut_within_its_pixels_is_known_to_be_of_its_series() {
    let mut files = series(17, |_, spec| spec);
    let whole = files[16].len();
    files[16].truncate(whole - 100);
    let DicomError::BrokenFiles { count: 1, of: 17, source } = refusal(&files) else { panic!() };
    assert!(matches!(*source, DicomError::Truncated { what: "an element", .. }), "{source}");
    // And one of another modality is left out, whole or not.
    let mut files = series(16, |_, spec| spec);
    let mr = FileSpec::axial(0.0).text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.4");
    files.push(mr.file(&cells(0)));
    files[16].truncate(whole - 100);
    let left_out = Finding::LeftOut { kind: Kind::OtherModality, count: 1 };
    assert_eq!(assembled(&files).findings, [left_out]);
}

#[test]
fn the_padding_of_a_uid_is_no_part_of_it() {
    let padded = |n: usize| if n.is_multiple_of(2) { "1.2.3" } else { "1.2.3 " };
    let files = series(16, |n, spec| spec.text(tags::SERIES_INSTANCE_UID, VR::UI, padded(n)));
    assert_eq!(only_volume(&files), only_volume(&series(16, |_, spec| spec)));
}

#[test]
fn no_message_repeats_text_of_the_file() {
    let secret = "SECRET";
    let mut messages = String::new();
    for tag in [
        tags::IMAGE_POSITION_PATIENT,
        tags::PIXEL_SPACING,
        tags::RESCALE_SLOPE,
        tags::NUMBER_OF_FRAMES,
        tags::PHOTOMETRIC_INTERPRETATION,
        tags::IMAGE_ORIENTATION_PATIENT,
    ] {
        let error = slice_refusal(|spec| spec.text(tag, VR::LO, secret));
        messages.push_str(&format!("{error} {error:?}"));
    }
    assert!(!messages.contains(secret) && !messages.contains("1.2.3"), "{messages}");
}

#[test]
fn a_sheared_grid_is_refused_by_the_geometry() {
    let skewed = series(16, |_, spec| {
        spec.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0.0872\\0.9962\\0")
    });
    assert!(matches!(refusal(&skewed), DicomError::Grid(GeometryError::Sheared { .. })));
}

/// One change of a file's bytes, told by a number.
fn mutate(file: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut bytes = file.to_vec();
    // Most changes go to the header, which is where they do most.
    let header = bytes.len().saturating_sub(ROWS * COLUMNS * 2).max(1);
    for _ in 0..=random(4) {
        let within = if random(8) == 0 { bytes.len() } else { header.min(bytes.len()) };
        let at = random(within.max(1));
        match random(6) {
            0 => bytes[at] ^= 1 << random(8),
            1 => bytes[at] = random(256) as u8,
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xFF),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + random(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let copied = bytes[at..(at + 32).min(bytes.len())].to_vec();
                bytes.splice(at..at, copied);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[test]
fn three_thousand_mutants_end_in_a_volume_or_a_finding() {
    let files = series(16, |_, spec| spec);
    let frames = enhanced(&(0..16).collect::<Vec<_>>(), |spec| spec);
    let mut unchanged = 0;
    for seed in 0..3000 {
        let alone = seed % 3 == 0;
        let mutant = if alone { mutate(&frames, seed) } else { mutate(&files[5], seed) };
        let mut folder = if alone { Vec::new() } else { files.clone() };
        if !alone {
            folder[5] = mutant;
        } else {
            folder.push(mutant);
        }
        let Assembled { volumes, findings } = assemble(&folder, &LIMITS, 1);
        assert!(!volumes.is_empty() || !findings.is_empty(), "seed {seed}");
        let voxels: usize = volumes.iter().map(|(_, volume)| volume.volume.hu.len()).sum();
        assert!(voxels <= 16 * ROWS * COLUMNS, "seed {seed}");
        unchanged += usize::from(findings.is_empty());
    }
    // Neither do all mutants read as if nothing had happened, nor are all refused.
    assert!((100..2900).contains(&unchanged), "{unchanged}");
}
