//! The phantom's files as a reader meets them.

use std::collections::BTreeSet;
use std::io::Read;

use super::super::orientation::Orientation;
use super::super::spec::Preset;
use super::*;
use crate::clinical::ClinicalData;
use crate::clinical::data::Field;
use crate::units::Spacing;

/// A decoder for these tests alone, written from the NIfTI-1 standard.
struct Decoded {
    shape: [usize; 3],
    affine: [[f64; 4]; 3],
    qform: [[f64; 4]; 3],
    data: Vec<u8>,
}

fn decode(gz: &[u8]) -> Decoded {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gz).read_to_end(&mut bytes).unwrap();
    let i16_at = |at: usize| i16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let f32_at = |at: usize| f64::from(f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    assert_eq!(i32::from_le_bytes(bytes[..4].try_into().unwrap()), 348);
    assert_eq!(&bytes[344..352], b"n+1\0\0\0\0\0");
    let shape = [42, 44, 46].map(|at| i16_at(at) as usize);
    let width = i16_at(72) as usize / 8;
    assert_eq!(bytes.len(), 352 + shape.iter().product::<usize>() * width);
    let affine = [0, 1, 2].map(|row| [0, 1, 2, 3].map(|c| f32_at(280 + 16 * row + 4 * c)));
    let [b, c, d] = [256, 260, 264].map(f32_at);
    let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
    let r = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let (qfac, pixdim) = (f32_at(76), [80, 84, 88].map(f32_at));
    let qform = [0, 1, 2].map(|row| {
        let [x, y, z] = [0, 1, 2].map(|col| r[row][col] * pixdim[col]);
        [x, y, z * qfac, f32_at(268 + 4 * row)]
    });
    Decoded { shape, affine, qform, data: bytes[352..].to_vec() }
}

/// World positions of the voxels with this label, rounded to tenths of a millimetre.
fn world_positions(decoded: &Decoded, label: u8) -> BTreeSet<[i64; 3]> {
    let [ni, nj, _] = decoded.shape;
    let labelled = decoded.data.iter().enumerate().filter(|(_, v)| **v == label);
    labelled
        .map(|(n, _)| {
            let ijk = [n % ni, n / ni % nj, n / ni / nj].map(|v| v as f64);
            decoded.affine.map(|row| {
                let mm = row[3] + (0..3).map(|axis| row[axis] * ijk[axis]).sum::<f64>();
                (mm * 10.0).round() as i64
            })
        })
        .collect()
}

fn tiny() -> PhantomSpec {
    PhantomSpec {
        shape: [20, 34, 36],
        spacing: Spacing::new([10.0, 8.5, 9.0]).unwrap(),
        origin_mm: [4.03, -12.02, -180.04],
        noise_sd: 5.0,
        arterial_shift_mm: [0.0; 3],
        ..Preset::Small.spec(21)
    }
}

#[test]
fn all_48_orientations_hold_the_same_world() {
    let phantom = generate(&tiny()).unwrap();
    let mut files = BTreeSet::new();
    let expected =
        world_positions(&decode(&encode_sheets(&phantom).unwrap().truth_labels_nii_gz), 2);
    assert!(expected.len() > 50);
    for orientation in Orientation::all() {
        let spec = PhantomSpec { orientation, ..phantom.spec.clone() };
        let turned = Phantom { spec, ..phantom.clone() };
        let decoded = decode(&encode_sheets(&turned).unwrap().truth_labels_nii_gz);
        assert_eq!(world_positions(&decoded, 2), expected, "{}", orientation.letters());
        assert_sform_is_qform(&decoded);
        files.insert(encode_images(&turned).unwrap().portal_nii_gz);
    }
    assert_eq!(files.len(), 48);
}

fn assert_sform_is_qform(decoded: &Decoded) {
    for row in 0..3 {
        for column in 0..4 {
            let (s, q) = (decoded.affine[row][column], decoded.qform[row][column]);
            // Both are float32: a quaternion near 180 degrees loses half the digits.
            assert!((s - q).abs() < 0.02, "row {row} column {column}: {s} {q}");
        }
    }
}

#[test]
fn an_oblique_study_turns_round_the_grids_centre() {
    let straight = generate(&tiny()).unwrap();
    let spec = PhantomSpec { oblique: [0.08, -0.05, 0.12], ..tiny() };
    for orientation in [Orientation::RAS, Orientation::LPS, Orientation::parse("SLA").unwrap()] {
        let spec = PhantomSpec { orientation, ..spec.clone() };
        let turned = generate(&spec).unwrap();
        assert_eq!(turned.portal, straight.portal);
        let decoded = decode(&encode_sheets(&turned).unwrap().truth_labels_nii_gz);
        assert_sform_is_qform(&decoded);
        let tumours: usize =
            turned.labels.iter().filter(|v| **v == crate::analysis::volume::TUMOUR).count();
        let positions = world_positions(&decoded, 2);
        assert_eq!(positions.len(), tumours);
        // The mean over all tumours, weighted by volume, is where the truth says.
        let volume: f64 = turned.truth.tumours.iter().map(|t| t.volume_mm3).sum();
        for axis in 0..3 {
            let mean =
                positions.iter().map(|p| p[axis] as f64 / 10.0).sum::<f64>() / tumours as f64;
            let truth: f64 =
                turned.truth.tumours.iter().map(|t| t.centre_mm[axis] * t.volume_mm3).sum();
            assert!((mean - truth / volume).abs() < 0.1, "axis {axis}");
        }
    }
}

#[test]
fn the_files_hold_the_volumes_bit_for_bit() {
    let spec = PhantomSpec { orientation: Orientation::RAS, ..tiny() };
    let phantom = generate(&spec).unwrap();
    let decoded = decode(&encode_images(&phantom).unwrap().portal_nii_gz);
    let values: Vec<i16> =
        decoded.data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    assert!(phantom.portal.iter().eq(values.iter()));
    assert_eq!(decoded.shape, [36, 34, 20]);
}

#[test]
fn a_single_phase_study_has_no_arterial_file_and_the_same_portal_phase() {
    let both = study(&tiny()).unwrap();
    let single = study(&PhantomSpec { with_arterial: false, ..tiny() }).unwrap();
    let (both, single) = (both.images, single.images);
    assert!(both.arterial_nii_gz.is_some() && single.arterial_nii_gz.is_none());
    assert_eq!(both.portal_nii_gz, single.portal_nii_gz);
}

#[test]
fn the_clinical_sheet_is_complete_and_inside_the_validity_box() {
    for seed in 0..40 {
        let sheet = ClinicalSheet::new(&PhantomSpec { seed, ..tiny() });
        let value = serde_json::to_value(&sheet).unwrap();
        let keys: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        // The diameter is left to the image: the truth has it beside the study.
        let asked = Field::ALL.iter().filter(|field| **field != Field::LargestDiameterMm);
        assert_eq!(keys, asked.map(|field| field.name()).chain(["schema"]).collect());
        let json = serde_json::to_vec(&sheet).unwrap();
        assert!(ClinicalData::parse(&json).is_ok());
        let number = |key: &str| value[key].as_f64().unwrap();
        assert!((18.0..=75.0).contains(&number("age_years")));
        assert!(number("ecog") <= 1.0 && number("days_ct_to_treatment") <= 14.0);
        // One Child-Pugh point each (Pugh 1973): bilirubin < 34 µmol/l, albumin > 35 g/l, INR < 1.7.
        assert!(number("bilirubin_umol_l") < 34.0 && number("albumin_g_l") > 35.0);
        assert!(number("inr") < 1.7);
    }
}

#[test]
fn the_truth_file_says_what_the_truth_says() {
    let files = study(&tiny()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&files.sheets.truth_json).unwrap();
    assert_eq!(value["liver_ml"].as_f64(), Some(files.sheets.truth.liver_ml));
    let tumours = value["tumours"].as_array().unwrap();
    assert_eq!(tumours.len(), files.sheets.truth.tumours.len());
    assert_eq!(tumours[0]["phenotype"], "proliferative");
    assert_eq!(tumours[0]["diameter_mm"].as_f64(), Some(files.sheets.truth.tumours[0].diameter_mm));
}
