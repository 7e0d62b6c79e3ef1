//! The DICOM reader on real files, where they lie beside the repository: against a converter that
//! shares no code with it, in every transfer syntax, and among files that are odd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hcc_edge::analysis::decode::dicom::{
    Assembled, DicomError, Finding, Kind, SeriesVolume, assemble,
};
use hcc_edge::analysis::decode::{ImageName, Limits, decode};
use tempfile::TempDir;

use crate::clones::series_of;
use crate::python::{interpreter, repository};
use crate::real_data::data;

const LIMITS: Limits = Limits::STANDARD;
const THREADS: usize = 2;

/// Slices of a series made of one: the fewest that make a volume.
pub const CLONES: usize = 16;

/// Runs one of the scripts that know DICOM.
pub fn script(name: &str, arguments: &[&str]) {
    let script = repository().join("scripts").join(name);
    let output = Command::new(interpreter()).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An archive, unpacked.
fn unpacked(archive: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("xf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(tar.unwrap().success(), "{}", archive.display());
    folder
}

/// Every file below a folder, by its path.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(paths(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    paths(folder).iter().map(|path| fs::read(path).unwrap()).collect()
}

fn assembled(files: &[Vec<u8>]) -> Assembled {
    assemble(files, &LIMITS, THREADS)
}

/// The only volume of files that give nothing else.
pub fn only_volume(files: &[Vec<u8>]) -> SeriesVolume {
    let Assembled { mut volumes, findings } = assembled(files);
    assert_eq!(findings, []);
    assert_eq!(volumes.len(), 1);
    volumes.remove(0).1
}

#[test]
fn a_real_series_equals_what_an_independent_converter_makes_of_it() {
    let Some(archive) = data("ct-tcga-bc-a10w/TCGA-BC-A10W_dicom.tar.xz") else { return };
    let folder = unpacked(&archive);
    let nifti = folder.path().join("converted.nii.gz");
    let arguments = [folder.path(), &nifti].map(|path| path.to_str().unwrap());
    script("dicom_to_nifti.py", &arguments);
    let converted = fs::read(&nifti).unwrap();
    fs::remove_file(&nifti).unwrap();
    let converted = decode(ImageName::Portal, &converted, &LIMITS).unwrap();
    let mut files = contents(folder.path());
    assert_eq!(files.len(), 60);
    let read = only_volume(&files);
    assert_eq!(read.volume.hu, converted.volume.hu);
    assert_eq!(read.volume.geometry.voxel_to_world, converted.volume.geometry.voxel_to_world);
    assert_eq!(read.volume.geometry.stored.shape, converted.volume.geometry.stored.shape);
    assert_eq!(read.intake, converted.intake);
    // The order of the files has no influence.
    files.reverse();
    assert_eq!(only_volume(&files), read);
    files.rotate_left(23);
    files.swap(0, 41);
    assert_eq!(only_volume(&files), read);
}

/// The one slice of the archive in every transfer syntax: (UID, file).
fn slices_by_syntax() -> Option<Vec<(String, Vec<u8>)>> {
    let archive = data("dicom-transfer-syntaxes/cornerstone_CTImage.tar.xz")?;
    let folder = unpacked(&archive);
    let named = paths(folder.path()).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".dcm")?;
        let (_, uid) = name.rsplit_once('_')?;
        Some((uid.to_owned(), fs::read(&path).unwrap()))
    });
    Some(named.collect())
}

const NATIVE_EXPLICIT: &str = "1.2.840.10008.1.2.1";
const LOSSLESS: [&str; 9] = [
    NATIVE_EXPLICIT,
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
];

#[test]
fn nine_lossless_transfer_syntaxes_are_one_volume() {
    let Some(slices) = slices_by_syntax() else { return };
    let of = |uid: &str| slices.iter().find(|(other, _)| other == uid).unwrap().1.as_slice();
    let explicit = only_volume(&series_of(of(NATIVE_EXPLICIT), CLONES));
    // The pixels are the last element of the file: signed, with an intercept of -1024.
    let file = of(NATIVE_EXPLICIT);
    let cells = file[file.len() - 512 * 512 * 2..].chunks_exact(2);
    let hu: Vec<i16> = cells
        .map(|pair| (i16::from_le_bytes([pair[0], pair[1]]) - 1024).clamp(-1024, 3071))
        .collect();
    for (row, column) in [(0, 0), (511, 3), (200, 300), (301, 77)] {
        // Both in-plane axes run against the file's order.
        let read = explicit.volume.hu[[7, 511 - row, 511 - column]];
        assert_eq!(read, hu[row * 512 + column], "{row} {column}");
    }
    for uid in LOSSLESS {
        assert_eq!(only_volume(&series_of(of(uid), CLONES)), explicit, "{uid}");
    }
}

#[test]
fn lossy_and_retired_transfer_syntaxes_are_refused_by_name() {
    let Some(slices) = slices_by_syntax() else { return };
    let names = [
        ("1.2.840.10008.1.2.4.50", "JPEG Baseline"),
        ("1.2.840.10008.1.2.4.51", "JPEG Extended"),
        ("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection (retired)"),
        ("1.2.840.10008.1.2.4.55", "JPEG Full Progression (retired)"),
        ("1.2.840.10008.1.2.4.81", "JPEG-LS Near-lossless"),
        ("1.2.840.10008.1.2.4.91", "JPEG 2000"),
    ];
    assert_eq!(slices.len(), LOSSLESS.len() + names.len());
    for (uid, name) in names {
        let (_, file) = slices.iter().find(|(other, _)| other == uid).unwrap();
        let Assembled { volumes, findings } = assembled(&series_of(file, CLONES));
        assert!(volumes.is_empty(), "{uid}");
        let source = Box::new(DicomError::LossySyntax { name });
        let error = DicomError::BrokenFiles { count: CLONES, of: CLONES, source };
        assert_eq!(findings, [Finding::Refused { slices: CLONES, error }], "{uid}");
    }
}

#[test]
fn three_slices_are_too_few_and_their_labels_are_no_slices() {
    let Some(folder) = data("ct-dcmqi-liver") else { return };
    let mut files = contents(&folder.join("ct-3slice"));
    let alone = assembled(&files);
    let error = DicomError::TooFew { what: "slices", found: 3, least: 16 };
    let refused = Finding::Refused { slices: 3, error };
    assert!(alone.volumes.is_empty());
    assert_eq!(alone.findings, std::slice::from_ref(&refused));
    for labels in ["liver.dcm", "partial_overlaps.dcm"] {
        files.push(fs::read(folder.join(labels)).unwrap());
    }
    let left_out = Finding::LeftOut { kind: Kind::Segmentation, count: 2 };
    assert_eq!(assembled(&files).findings, [left_out, refused]);
}

fn left_out(kind: Kind) -> Finding {
    Finding::LeftOut { kind, count: 1 }
}

fn lost(error: DicomError) -> Finding {
    Finding::Lost { count: 1, error }
}

fn refused(error: DicomError) -> Finding {
    Finding::Refused { slices: 1, error }
}

fn broken(source: DicomError) -> Finding {
    refused(DicomError::BrokenFiles { count: 1, of: 1, source: Box::new(source) })
}

/// What becomes of each file of `dicom-odd`, alone and beside a good series.
fn odd_files() -> Vec<(&'static str, Finding)> {
    let one_slice = || refused(DicomError::TooFew { what: "slices", found: 1, least: 16 });
    vec![
        ("693_J2KI.dcm", broken(DicomError::LossySyntax { name: "JPEG 2000" })),
        ("CT_small.dcm", one_slice()),
        ("ExplVR_BigEnd.dcm", left_out(Kind::OtherModality)),
        ("ExplVR_BigEndNoMeta.dcm", lost(DicomError::NoFileMeta)),
        ("ExplVR_LitEndNoMeta.dcm", lost(DicomError::NoFileMeta)),
        ("J2K_pixelrep_mismatch.dcm", one_slice()),
        ("JPEG2000-embedded-sequence-delimiter.dcm", left_out(Kind::SecondaryCapture)),
        ("MR_small_RLE.dcm", left_out(Kind::OtherModality)),
        ("MR_small_bigendian.dcm", left_out(Kind::OtherModality)),
        ("MR_small_implicit.dcm", left_out(Kind::OtherModality)),
        ("MR_small_jp2klossless.dcm", left_out(Kind::OtherModality)),
        ("MR_small_jpeg_ls_lossless.dcm", left_out(Kind::OtherModality)),
        ("MR_small_padded.dcm", left_out(Kind::OtherModality)),
        ("MR_truncated.dcm", left_out(Kind::OtherModality)),
        ("UN_sequence.dcm", left_out(Kind::Other)),
        ("badVR.dcm", left_out(Kind::Radiotherapy)),
        ("empty_charset_LEI.dcm", left_out(Kind::Other)),
        ("image_dfl.dcm", left_out(Kind::SecondaryCapture)),
        ("liver_1frame.dcm", left_out(Kind::Segmentation)),
        ("meta_missing_tsyntax.dcm", lost(DicomError::NoTransferSyntax)),
        ("nested_priv_SQ.dcm", left_out(Kind::Other)),
        // The data set begins one byte late.
        ("no_meta.dcm", left_out(Kind::NotDicom)),
        ("no_meta_group_length.dcm", left_out(Kind::Other)),
        ("priv_SQ.dcm", left_out(Kind::Other)),
        ("reportsi.dcm", left_out(Kind::StructuredReport)),
        ("rtplan_truncated.dcm", left_out(Kind::Radiotherapy)),
        ("test-SR.dcm", left_out(Kind::StructuredReport)),
    ]
}

#[test]
fn each_odd_file_ends_by_name_and_spoils_no_series_beside_it() {
    let Some(folder) = data("dicom-odd/pydicom") else { return };
    let Some(slices) = slices_by_syntax() else { return };
    let (_, good) = slices.into_iter().find(|(uid, _)| uid == NATIVE_EXPLICIT).unwrap();
    let mut files = series_of(&good, CLONES);
    let undisturbed = only_volume(&files);
    let expected = odd_files();
    let mut seen = Vec::new();
    for path in paths(&folder) {
        if path.extension().is_none_or(|extension| extension != "dcm") {
            continue;
        }
        let odd = fs::read(&path).unwrap();
        let Assembled { volumes, findings } = assembled(std::slice::from_ref(&odd));
        assert!(volumes.is_empty());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.push(odd);
        let mixed = assembled(&files);
        files.pop();
        assert_eq!(mixed.volumes.len(), 1, "{name}");
        assert_eq!(mixed.volumes[0].1, undisturbed, "{name}");
        assert_eq!(mixed.findings, findings, "{name}");
        let [finding] = <[_; 1]>::try_from(findings).unwrap();
        seen.push((name, finding));
    }
    let expected: Vec<_> = expected.into_iter().map(|(name, f)| (name.to_owned(), f)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn directories_and_their_trees_end_by_name() {
    let Some(archive) = data("dicom-odd/pydicom/dicomdirtests.tar.xz") else { return };
    let folder = unpacked(&archive);
    let Assembled { volumes, findings } = assembled(&contents(folder.path()));
    assert!(volumes.is_empty());
    let few = |found: usize| Finding::Refused {
        slices: found,
        error: DicomError::TooFew { what: "slices", found, least: 16 },
    };
    let source = Box::new(DicomError::Missing { attribute: "Rows" });
    let without_pixels = DicomError::BrokenFiles { count: 50, of: 50, source };
    let expected = [
        Finding::LeftOut { kind: Kind::Directory, count: 8 },
        Finding::LeftOut { kind: Kind::Localiser, count: 2 },
        Finding::LeftOut { kind: Kind::NotDicom, count: 2 },
        Finding::LeftOut { kind: Kind::OtherModality, count: 20 },
        few(4),
        few(5),
        Finding::Refused { slices: 50, error: without_pixels },
    ];
    assert_eq!(findings, expected);
}
