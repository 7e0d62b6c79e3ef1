//! The product's reader gets back from the files what the NIfTI form holds.

use std::collections::BTreeSet;

use super::*;
use crate::analysis::decode::dicom::{Assembled, assemble, phase, survey};
use crate::analysis::decode::{ImageName, Limits, decode};
use crate::analysis::volume::HuVolume;
use crate::phantom::study::encode_images;
use crate::phantom::{Orientation, Preset, generate};
use crate::units::Spacing;

const LIMITS: Limits = Limits::STANDARD;

fn tiny() -> PhantomSpec {
    PhantomSpec {
        shape: [20, 34, 36],
        spacing: Spacing::new([10.0, 8.5, 9.1]).unwrap(),
        origin_mm: [4.03, -12.02, -180.04],
        ..Preset::Small.spec(21)
    }
}

/// `tiny`, written and read in both forms: `[arterial, portal]` from NIfTI, then from DICOM.
fn both_forms(spec: &PhantomSpec, phantom: &Phantom) -> [[HuVolume; 2]; 2] {
    let phantom = Phantom { spec: spec.clone(), ..phantom.clone() };
    let nifti = encode_images(&phantom).unwrap();
    let from_nifti = |name, bytes: &[u8]| decode(name, bytes, &LIMITS).unwrap().volume;
    let nifti = [
        from_nifti(ImageName::Arterial, nifti.arterial_nii_gz.as_ref().unwrap()),
        from_nifti(ImageName::Portal, &nifti.portal_nii_gz),
    ];
    let files: Vec<_> = dicom_files(&phantom).map(|file| file.unwrap().bytes).collect();
    let Assembled { volumes, findings } = assemble(&files, &LIMITS, 2);
    assert_eq!(findings, []);
    let [(_, first), (_, second)] = <[_; 2]>::try_from(volumes).ok().expect("two series");
    // Of two series on one grid the one that was acquired first comes first.
    [nifti, [first.volume, second.volume]]
}

#[test]
fn the_reader_gets_the_nifti_volumes_to_the_last_bit() {
    for preset in [tiny(), Preset::Small.spec(5)] {
        let phantom = generate(&preset).unwrap();
        let [nifti, dicom] = both_forms(&preset, &phantom);
        for (nifti, dicom) in nifti.iter().zip(&dicom) {
            assert_eq!(dicom.hu, nifti.hu);
            assert_eq!(dicom.geometry.voxel_to_world, nifti.geometry.voxel_to_world);
            assert_eq!(dicom.geometry.spacing, nifti.geometry.spacing);
        }
        assert_ne!(dicom[0].hu, dicom[1].hu);
    }
}

#[test]
fn every_orientation_and_an_oblique_one_are_read_at_their_place() {
    let phantom = generate(&tiny()).unwrap();
    for orientation in Orientation::all() {
        for oblique in [[0.0; 3], [0.08, -0.05, 0.12]] {
            let spec = PhantomSpec { orientation, oblique, ..tiny() };
            let [nifti, dicom] = both_forms(&spec, &phantom);
            for (nifti, dicom) in nifti.iter().zip(&dicom) {
                assert_eq!(dicom.hu, nifti.hu, "{}", orientation.letters());
                // A stack against its normal starts at its other end, whose place is a sum of
                // single precision numbers.
                assert!(dicom.geometry.same_grid(&nifti.geometry, 1e-3));
            }
        }
    }
}

#[test]
fn the_series_are_told_apart_by_their_phase() {
    let phantom = generate(&tiny()).unwrap();
    let files: Vec<_> = dicom_files(&phantom).map(|file| file.unwrap().bytes).collect();
    let survey = survey(&files, &LIMITS);
    let clues: Vec<_> = survey.series.iter().map(|series| series.clues()).collect();
    let named = phase::name(&clues);
    let phases: Vec<_> = named.iter().map(|named| named.phase).collect();
    assert_eq!(phases, [Some(phase::Phase::Arterial), Some(phase::Phase::Portal)]);
    for (named, evidence) in named.iter().zip([
        phase::Evidence::BolusDelay(phase::Phase::Arterial, 35.0),
        phase::Evidence::BolusDelay(phase::Phase::Portal, 70.0),
    ]) {
        assert!(named.evidence.contains(&evidence), "{named:?}");
    }
}

#[test]
fn the_same_description_gives_the_same_bytes_and_another_seed_other_uids() {
    let files = |spec: &PhantomSpec| -> Vec<DicomFile> {
        dicom_files(&generate(spec).unwrap()).map(Result::unwrap).collect()
    };
    let first = files(&tiny());
    assert_eq!(first, files(&tiny()));
    let names: BTreeSet<_> = first.iter().map(|file| file.name.clone()).collect();
    assert_eq!((names.len(), first.len()), (40, 40));
    let uids = |files: &[DicomFile]| -> BTreeSet<String> {
        files
            .iter()
            .flat_map(|file| {
                let object = dicom_object::from_reader(&file.bytes[..]).unwrap();
                [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::STUDY_INSTANCE_UID]
                    .map(|tag| object.element(tag).unwrap().to_str().unwrap().into_owned())
            })
            .collect()
    };
    let first = uids(&first);
    assert_eq!(first.len(), 40 + 2 + 1);
    let other = uids(&files(&PhantomSpec { seed: 22, ..tiny() }));
    assert!(first.is_disjoint(&other));
}
