//! The decoder against files made field by field and against damage.

use ndarray::Array3;
use proptest::prelude::*;

use super::fixture::{FileSpec, all_orientations, gzip, with_header};
use super::{DecodeError, Decoded, ImageName, Limits, decode};
use crate::analysis::volume::geometry::distance_mm;
use crate::analysis::volume::restore::{to_nifti_gz, write_nifti};
use crate::units::Bytes;

const IMAGE: ImageName = ImageName::Portal;
const SHAPE: [usize; 3] = [17, 19, 23];

/// A value that says where it is: air below, and no two voxels of a line alike.
fn phantom([x, y, z]: [usize; 3]) -> i16 {
    if x == 0 { -1000 } else { (x * 31 + y * 7 + z * 3) as i16 }
}

fn small() -> Vec<u8> {
    FileSpec::ras(SHAPE, [0.8, 0.9, 2.5]).file(phantom)
}

fn read(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode(IMAGE, bytes, &Limits::STANDARD)
}

/// The reason's name, as a code would be.
fn name(error: &DecodeError) -> String {
    let text = format!("{error:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).expect_err("this file must be refused");
    assert_eq!(name(&error), expected, "{error}");
    assert!(error.to_string().starts_with("portal venous image: "), "{error}");
}

#[track_caller]
fn refused_field(change: impl FnOnce(&mut super::fixture::Header), expected: &str) {
    refused(&with_header(small(), change), expected);
}

#[test]
fn all_48_orientations_give_one_array_and_go_back() {
    let (shape, spacing) = ([17, 19, 23], [0.8, 0.9, 2.5]);
    let truth = Array3::from_shape_fn((23, 19, 17), |(z, y, x)| phantom([x, y, z]));
    for (spec, to_ras) in all_orientations(shape, spacing) {
        let file = spec.file(|ijk| phantom(to_ras(ijk)));
        let Decoded { volume, .. } = read(&file).unwrap();
        assert_eq!(volume.hu, truth, "{:?}", spec.affine);
        let mm = volume.geometry.spacing.zyx();
        assert!(mm.iter().zip([2.5, 0.9, 0.8]).all(|(a, b)| (a - b).abs() < 1e-6));
        // A mask of one octant, written back: every file voxel says what its world position says.
        let mask =
            Array3::from_shape_fn((23, 19, 17), |(z, y, x)| u8::from(z < 9 && y < 5 && x < 3));
        let bytes = write_nifti(mask.view(), &volume.geometry, Vec::new()).unwrap();
        assert_eq!(&bytes[252..328], &file[252..328], "the affine changed");
        assert_eq!(&bytes[40..56], &file[40..56]);
        let [ni, nj, nk] = spec.shape;
        for (n, &label) in bytes[352..].iter().enumerate() {
            let ijk = [n % ni, n / ni % nj, n / ni / nj];
            let [x, y, z] = spec.world(ijk);
            let inside = z < -10.0 + 8.5 * 2.5 && y < -20.0 + 4.5 * 0.9 && x < -30.0 + 2.5 * 0.8;
            assert_eq!(label == 1, inside, "{ijk:?}");
        }
        assert_eq!(bytes.len(), 352 + ni * nj * nk);
    }
}

#[test]
fn an_oblique_grid_stays_oblique_and_keeps_every_position() {
    // 20° about z, 12° about x, k stored downwards.
    let (sin_a, cos_a) = 20f64.to_radians().sin_cos();
    let (sin_b, cos_b) = 12f64.to_radians().sin_cos();
    let rotation = [
        [cos_a, -sin_a * cos_b, sin_a * sin_b],
        [sin_a, cos_a * cos_b, -cos_a * sin_b],
        [0.0, sin_b, cos_b],
    ];
    let mut spec = FileSpec::ras(SHAPE, [0.8, 0.9, 2.5]);
    for (row, rotated) in rotation.iter().enumerate() {
        spec.affine[row][..3].copy_from_slice(&[
            rotated[0] * 0.8,
            rotated[1] * 0.9,
            -rotated[2] * 2.5,
        ]);
    }
    let Decoded { volume, .. } = read(&spec.file(phantom)).unwrap();
    let geometry = &volume.geometry;
    // The y axis leans most: the angle of both turns together.
    let leaning = (cos_a * cos_b).acos().to_degrees();
    assert!((geometry.obliquity_degrees() - leaning).abs() < 1e-3);
    assert!(geometry.stored.axes[0].reversed);
    for ijk in [[1, 0, 0], [16, 18, 22], [3, 11, 7]] {
        let zyx = [22 - ijk[2], ijk[1], ijk[0]];
        assert_eq!(volume.hu[zyx], phantom(ijk));
        let at = zyx.map(|n| n as f64);
        assert!(distance_mm(geometry.to_world(at), spec.world(ijk)) < 1e-4);
        let back = geometry.to_voxel(spec.world(ijk));
        assert!(distance_mm(back, at) < 1e-4);
    }
}

#[test]
fn qform_and_sform_say_the_same() {
    // Half a turn about z: x and y reversed; pixdim[0] = -1 reverses z as well.
    let file = with_header(small(), |h| {
        h.i16(254, 0);
        h.i16(252, 1);
        h.f32(76, -1.0);
        h.f32(264, 1.0);
        h.f32(268, 5.0);
        h.f32(272, 6.0);
        h.f32(276, 7.0);
    });
    let by_qform = read(&file).unwrap();
    let mut spec = FileSpec::ras(SHAPE, [0.8, 0.9, 2.5]);
    spec.affine = [[-0.8, 0.0, 0.0, 5.0], [0.0, -0.9, 0.0, 6.0], [0.0, 0.0, -2.5, 7.0]];
    let by_sform = read(&spec.file(phantom)).unwrap();
    assert_eq!(by_qform.volume.hu, by_sform.volume.hu);
    assert!(by_qform.volume.geometry.same_grid(&by_sform.volume.geometry, 1e-5));
    // With both, the sform counts.
    let both = with_header(file, |h| h.i16(254, 1));
    assert!(!read(&both).unwrap().volume.geometry.same_grid(&by_sform.volume.geometry, 1.0));
}

#[test]
fn byte_order_packing_and_type_do_not_matter() {
    let plain = read(&small()).unwrap();
    let mut spec = FileSpec::ras(SHAPE, [0.8, 0.9, 2.5]);
    spec.big_endian = true;
    let swapped = read(&spec.file(phantom)).unwrap();
    assert_eq!(swapped.volume.hu, plain.volume.hu);
    assert_eq!(read(&gzip(&small())).unwrap(), plain);
    // The mask of a big-endian scan is read back, and is no CT.
    let mask = Array3::from_elem((23, 19, 17), 1u8);
    let written = to_nifti_gz(mask.view(), &swapped.volume.geometry).unwrap();
    refused(&written, "ImplausibleHu");
    let Err(DecodeError::ImplausibleHu { low: 1, high: 1, .. }) = read(&written) else {
        panic!("the mask's values were not read back");
    };
}

/// The same phantom in every accepted datatype.
#[test]
fn five_datatypes_give_the_same_hu() {
    let plain = read(&small()).unwrap().volume.hu;
    let values: Vec<i16> =
        small()[352..].chunks(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    type Encode = fn(i16) -> Vec<u8>;
    let cases: [(i16, i16, f32, Encode); 3] = [
        (8, 32, 0.0, |v| i32::from(v).to_le_bytes().to_vec()),
        (16, 32, 0.0, |v| f32::from(v).to_le_bytes().to_vec()),
        (512, 16, -1000.0, |v| ((v + 1000) as u16).to_le_bytes().to_vec()),
    ];
    for (code, bits, inter, encode) in cases {
        let mut file = small()[..352].to_vec();
        file.extend(values.iter().flat_map(|&v| encode(v)));
        let file = with_header(file, |h| {
            h.i16(70, code);
            h.i16(72, bits);
            h.f32(116, inter);
        });
        assert_eq!(read(&file).unwrap().volume.hu, plain, "datatype {code}");
    }
    // Bytes hold a CT at a coarse slope.
    let mut file = small()[..352].to_vec();
    file.extend(values.iter().map(|&v| ((v + 1000) / 10) as u8));
    let file = with_header(file, |h| {
        h.i16(70, 2);
        h.i16(72, 8);
        h.f32(112, 10.0);
        h.f32(116, -1000.0);
    });
    let coarse = read(&file).unwrap().volume.hu;
    assert!(coarse.iter().zip(&plain).all(|(a, b)| a.abs_diff(*b) < 10));
}

#[test]
fn slope_zero_means_unscaled_and_clipping_is_counted() {
    let file = with_header(small(), |h| {
        h.f32(112, 0.0);
        h.f32(116, 500.0);
    });
    let unscaled = read(&file).unwrap();
    assert!(unscaled.intake.slope_was_zero);
    assert_eq!(unscaled.volume.hu, read(&small()).unwrap().volume.hu);
    let steep = read(&with_header(small(), |h| h.f32(112, 5.0))).unwrap();
    let values =
        || (0..23).flat_map(|z| (0..19).flat_map(move |y| (0..17).map(move |x| [x, y, z])));
    let high = values().filter(|&at| i32::from(phantom(at)) * 5 > 3071).count() as u64;
    let low = values().filter(|&at| i32::from(phantom(at)) * 5 < -1024).count() as u64;
    assert!(high > 0 && low > 0);
    assert_eq!((steep.intake.clipped_low, steep.intake.clipped_high), (low, high));
    assert_eq!(steep.intake.lowest_hu, -5000.0);
    assert!(steep.volume.hu.iter().all(|hu| (-1024..=3071).contains(hu)));
}

#[test]
fn neighbouring_formats_are_refused_by_name() {
    refused(b"", "Truncated");
    refused(b"not an image at all", "NotNifti");
    refused(&small()[..200], "Truncated");
    refused_field(|h| h.i32(0, 540), "NotNifti");
    refused_field(|h| h.bytes[344..348].copy_from_slice(b"ni1\0"), "NotNifti");
    refused_field(|h| h.bytes[344..348].fill(0), "NotNifti");
    refused_field(
        |h| {
            h.i32(0, 0);
            h.bytes[128..132].copy_from_slice(b"DICM");
        },
        "NotNifti",
    );
}

#[test]
fn dimensions_are_bounded_on_both_sides() {
    assert!(read(&FileSpec::ras([16, 16, 16], [1.0; 3]).file(phantom)).is_ok());
    refused(&FileSpec::ras([16, 16, 15], [1.0; 3]).file(phantom), "TooFewSlices");
    assert!(
        read(&FileSpec::ras([1024, 16, 16], [1.0; 3]).file(|[x, ..]| x as i16 * 2 - 900)).is_ok()
    );
    refused(&FileSpec::ras([1025, 16, 16], [1.0; 3]).file(|_| 0), "TooLarge");
    refused_field(|h| h.i16(40, 2), "NotThreeDimensional");
    refused_field(|h| h.i16(40, 0), "BadHeader");
    refused_field(|h| h.i16(44, -19), "BadHeader");
    assert!(read(&with_header(small(), |h| h.i16(40, 4))).is_ok());
    refused_field(
        |h| {
            h.i16(40, 4);
            h.i16(48, 2);
        },
        "NotThreeDimensional",
    );
    let voxels = Limits { voxels: 17 * 19 * 23, ..Limits::STANDARD };
    assert!(decode(IMAGE, &small(), &voxels).is_ok());
    let fewer = Limits { voxels: 17 * 19 * 23 - 1, ..Limits::STANDARD };
    assert_eq!(decode(IMAGE, &small(), &fewer).map_err(|e| name(&e)), Err("TooLarge".to_owned()));
    let length = small().len() as u64;
    assert!(decode(IMAGE, &small(), &Limits { file: Bytes(length), ..Limits::STANDARD }).is_ok());
    let shorter = Limits { file: Bytes(length - 1), ..Limits::STANDARD };
    assert!(decode(IMAGE, &small(), &shorter).is_err());
}

#[test]
fn voxel_types_and_layout_are_checked() {
    for (code, expected) in
        [(128, "Colour"), (2304, "Colour"), (32, "WrongDatatype"), (64, "WrongDatatype")]
    {
        refused_field(|h| h.i16(70, code), expected);
    }
    refused_field(|h| h.i16(72, 8), "BadHeader");
    for offset in [351.0, 352.5, 65_537.0, -352.0, f32::NAN, f32::INFINITY] {
        refused_field(|h| h.f32(108, offset), "BadHeader");
    }
    refused_field(|h| h.f32(112, f32::NAN), "BadHeader");
    refused_field(|h| h.f32(116, f32::INFINITY), "BadHeader");
    // 65,536 is accepted, when the bytes are there.
    let mut far = with_header(small(), |h| h.f32(108, 65_536.0));
    far.splice(352..352, vec![0; 65_536 - 352]);
    assert_eq!(read(&far).unwrap().volume.hu, read(&small()).unwrap().volume.hu);
}

#[test]
fn orientation_and_spacing_are_checked() {
    refused_field(|h| h.i16(254, 0), "NoOrientation");
    refused_field(|h| h.i16(252, -1), "BadHeader");
    refused_field(|h| h.f32(280, f32::NAN), "BadHeader");
    refused_field(|h| h.f32(292, 1e9), "BadHeader");
    // A shear of one degree, and one within f32 rounding.
    refused_field(|h| h.f32(284, 0.9 * 0.0175), "BadHeader");
    assert!(read(&with_header(small(), |h| h.f32(284, 1e-5))).is_ok());
    refused_field(|h| h.f32(80, 1.6), "BadSpacing");
    refused_field(|h| h.f32(80, f32::NAN), "BadSpacing");
    refused_field(|h| h.bytes[123] = 1, "BadSpacing");
    for (mm, accepted) in [(0.19, false), (0.2001, true), (10.0, true), (10.1, false)] {
        let file = FileSpec::ras(SHAPE, [0.8, 0.9, mm]).file(phantom);
        assert_eq!(read(&file).is_ok(), accepted, "{mm} mm");
    }
    // A determinant of zero.
    refused_field(
        |h| {
            for at in (280..328).step_by(4) {
                h.f32(at, 0.0);
            }
        },
        "BadSpacing",
    );
    // A quaternion longer than one.
    refused_field(
        |h| {
            h.i16(254, 0);
            h.i16(252, 1);
            h.f32(256, 0.9);
            h.f32(260, 0.9);
        },
        "BadHeader",
    );
}

#[test]
fn values_that_are_no_ct_are_refused() {
    let spec = FileSpec::ras(SHAPE, [1.0; 3]);
    // An MR: no negative values. A scaled image: nothing above 100.
    refused(&spec.file(|[x, ..]| x as i16 * 50), "ImplausibleHu");
    refused(&spec.file(|[x, ..]| x as i16 - 1000), "ImplausibleHu");
    for (low, high, accepted) in [(-201, 101, true), (-200, 101, false), (-201, 100, false)] {
        let file = spec.file(|[x, ..]| if x == 0 { low } else { high });
        assert_eq!(read(&file).is_ok(), accepted, "{low}..{high}");
    }
    // Metal fills no more than a twentieth of a scan: one column of 17 is more.
    let metal = |columns: usize, rows: usize| {
        spec.file(|[x, y, _]| match x {
            0 => -1000,
            _ if x <= columns && y < rows => 3072,
            _ => 40,
        })
    };
    assert!(read(&metal(1, 16)).is_ok());
    refused(&metal(1, 19), "ImplausibleHu");
    let mut file = small()[..352].to_vec();
    file.extend((0..17 * 19 * 23).flat_map(|n| {
        let value = if n == 99 { f32::NAN } else { n as f32 - 1000.0 };
        value.to_le_bytes()
    }));
    let file = with_header(file, |h| {
        h.i16(70, 16);
        h.i16(72, 32);
    });
    assert_eq!(read(&file), Err(DecodeError::NotFinite { image: IMAGE, count: 1 }));
}

#[test]
fn damaged_and_overlong_files_are_refused() {
    refused(&small()[..small().len() - 1], "Truncated");
    let mut long = small();
    long.push(0);
    refused(&long, "Corrupt");
    let packed = gzip(&small());
    refused(&gzip(&long), "Corrupt");
    refused(&gzip(&small()[..small().len() - 1]), "Truncated");
    refused(&packed[..packed.len() - 1], "Truncated");
    refused(&packed[..packed.len() / 2], "Truncated");
    refused(&[&packed[..], b"x"].concat(), "Corrupt");
    refused(&[&packed[..], &packed].concat(), "Corrupt");
    let mut checksum = packed.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    refused(&checksum, "Corrupt");
    let mut length = packed;
    let at = length.len() - 4;
    length[at] ^= 1;
    refused(&length, "Corrupt");
}

/// A stored (uncompressed) gzip block lets one voxel byte flip without the stream noticing: only
/// the checksum can.
#[test]
fn a_flipped_voxel_byte_in_a_gz_is_caught() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&small()).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(read(&packed).is_ok());
    for at in (1000..packed.len() - 8).step_by(997) {
        let mut flipped = packed.clone();
        flipped[at] ^= 0x04;
        refused(&flipped, "Corrupt");
    }
}

/// 80 MB of zeros behind a header of sixteen cubed voxels: stopped at the first byte too many. And
/// a header that claims more than the file can unpack to: refused before room is made.
#[test]
fn bombs_are_refused() {
    let mut bomb = FileSpec::ras([16, 16, 16], [1.0; 3]).file(phantom);
    bomb.resize(80 << 20, 0);
    refused(&gzip(&bomb), "Corrupt");
    let claim = FileSpec::ras([512, 512, 600], [1.0; 3]).header();
    refused(&claim, "Truncated");
    refused(&gzip(&claim), "Truncated");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn mutated_headers_never_panic(
        changes in prop::collection::vec((0usize..352, any::<u8>()), 1..6),
        packed: bool,
    ) {
        let mut file = small();
        for (at, byte) in changes {
            file[at] = byte;
        }
        let file = if packed { gzip(&file) } else { file };
        if let Ok(Decoded { volume, .. }) = read(&file) {
            prop_assert_eq!(volume.hu.len(), volume.geometry.stored.shape.iter().product::<usize>());
            let mask = volume.hu.mapv(|hu| u8::from(hu > 100));
            prop_assert!(to_nifti_gz(mask.view(), &volume.geometry).is_ok());
        }
    }

    #[test]
    fn mutated_gzip_is_refused_or_unchanged(at in 0usize..4000, flip in 1u8..=255) {
        let mut packed = gzip(&small());
        let at = at % packed.len();
        packed[at] ^= flip;
        // Header bytes such as the time are not covered by the checksum; voxels are.
        if let Ok(decoded) = read(&packed) {
            prop_assert_eq!(decoded, read(&small()).unwrap());
        }
    }
}
