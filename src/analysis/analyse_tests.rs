//! The rules of the analysis on a small two-phase phantom with known truth. The networks here read
//! the truth off the phantom's densities, so that what is tested is everything around them.

use std::cell::Cell;

use super::*;
use crate::analysis::decode::DecodeError;
use crate::analysis::decode::fixture::{FileSpec, gzip};
use crate::analysis::gate::{GateReason, Quantity};
use crate::analysis::volume::{LIVER, TUMOUR};
use crate::clinical::burden::Burden;
use crate::clinical::data::ClinicalData;
use crate::units::Probability;

/// Densities in HU, in the portal and in the arterial phase.
const LIVER_HU: [i16; 2] = [110, 70];
const TUMOUR_HU: [i16; 2] = [85, 120];
const SPINE_HU: i16 = 400;
const BODY_HU: [i16; 2] = [40, 35];
const AORTA_HU: [i16; 2] = [155, 310];

/// Where things are, in RAS+ millimetres; the fixture's grid starts at (-30, -20, -10).
#[derive(Clone, Copy)]
struct Phantom {
    liver: Option<[f64; 3]>,
    tumour_radius: f64,
    aorta_hu: [i16; 2],
}

const PHANTOM: Phantom =
    Phantom { liver: Some([110.0, 90.0, 90.0]), tumour_radius: 30.0, aorta_hu: AORTA_HU };

impl Phantom {
    /// HU in a phase: 0 portal, 1 arterial.
    fn hu(&self, phase: usize, world: [f64; 3]) -> i16 {
        let distance = |centre: [f64; 3], radii: [f64; 3]| -> f64 {
            (0..3).map(|n| ((world[n] - centre[n]) / radii[n]).powi(2)).sum::<f64>().sqrt()
        };
        if distance([82.0, 78.0, 0.0], [105.0, 90.0, 1e6]) > 1.0 {
            return -1000;
        }
        if distance([82.0, 12.0, 0.0], [15.0, 15.0, 1e6]) <= 1.0 {
            return SPINE_HU;
        }
        if distance([58.0, 45.0, 0.0], [11.0, 11.0, 1e6]) <= 1.0 {
            return self.aorta_hu[phase];
        }
        match self.liver {
            Some(liver) if distance(liver, [self.tumour_radius.max(0.1); 3]) <= 1.0 => {
                TUMOUR_HU[phase]
            }
            Some(liver) if distance(liver, [60.0, 50.0, 50.0]) <= 1.0 => LIVER_HU[phase],
            _ => BODY_HU[phase],
        }
    }

    fn file(&self, phase: usize, spec: &FileSpec) -> Vec<u8> {
        gzip(&spec.file(|ijk| self.hu(phase, spec.world(ijk))))
    }
}

fn grid() -> FileSpec {
    FileSpec::ras([64, 56, 40], [3.5, 3.5, 5.0])
}

fn study(phantom: Phantom) -> StudyInput {
    let [portal, arterial] = [0, 1].map(|phase| phantom.file(phase, &grid()));
    both(arterial, portal)
}

fn both(arterial: Vec<u8>, portal: Vec<u8>) -> StudyInput {
    StudyInput::Nifti { arterial: Some(arterial), portal: Some(portal) }
}

/// The reason for a phase that is not there.
fn missing(image: ImageName) -> Reason {
    Reason::Phases(PhaseProblem::Missing { image, seen: String::new() })
}

#[derive(Debug, PartialEq, Error)]
#[error("out of order")]
struct OutOfOrder;

/// Reads the labels off the portal densities.
#[derive(Default)]
struct Densities {
    classified: Cell<usize>,
    broken: bool,
    most_distance: Option<f64>,
}

fn label(hu: i16) -> u8 {
    if hu == LIVER_HU[0] {
        LIVER
    } else if hu == TUMOUR_HU[0] {
        TUMOUR
    } else {
        BACKGROUND
    }
}

impl Networks for Densities {
    type Error = OutOfOrder;

    fn locate_liver(&self, portal: &HuVolume) -> Result<Option<VoxelBox>, OutOfOrder> {
        let seen = portal.hu.iter().any(|&hu| label(hu) != BACKGROUND);
        Ok(seen.then_some(VoxelBox { start: [0; 3], end: portal.geometry.shape }))
    }

    fn segment(
        &self,
        portal: &HuVolume,
        _: VoxelBox,
        _: Bytes,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Mask, OutOfOrder> {
        progress(50);
        if self.broken { Err(OutOfOrder) } else { Ok(Mask { labels: portal.hu.mapv(label) }) }
    }

    fn classify(
        &self,
        arterial: &HuVolume,
        portal: &HuVolume,
        mask: &Mask,
    ) -> Result<(Risk, HeatMap), OutOfOrder> {
        assert_eq!(arterial.geometry, portal.geometry);
        assert_eq!(arterial.hu.dim(), mask.labels.dim());
        self.classified.set(self.classified.get() + 1);
        let p = |value| Probability::new(value).unwrap();
        let risk = Risk {
            score: p(0.75),
            proliferative: true,
            threshold: p(0.5),
            distances: [5.0, 4.0, 9.0, 9.0, 9.0, 9.0],
            haic_good: p(0.5),
            tace_good: p(0.5),
            most_distance: self.most_distance,
        };
        Ok((risk, HeatMap { similarity: mask.labels.mapv(|label| label * 100) }))
    }
}

/// A clinic that has nothing to say but, perhaps, that its file is damaged.
struct Ward {
    objection: Option<&'static str>,
}

const ELIGIBLE: Ward = Ward { objection: None };

impl Clinic for Ward {
    fn assess(&self, measured: &Measured) -> (ClinicalFindings, Vec<Reason>) {
        let reasons = self.objection.iter().map(|why| Reason::ClinicalFile((*why).to_owned()));
        let burden = Burden::of(&ClinicalData::absent(), measured);
        (ClinicalFindings { burden, ..ClinicalFindings::of_nobody() }, reasons.collect())
    }
}

/// A clock that ticks 7 ms a look.
#[derive(Default)]
struct Watch {
    now: u64,
    seen: Vec<(Stage, u8)>,
}

impl Observer for Watch {
    fn now(&mut self) -> Millis {
        self.now += 7;
        Millis(self.now)
    }

    fn stage(&mut self, stage: Stage, percent: u8) {
        self.seen.push((stage, percent));
    }
}

const SETTINGS: Settings = Settings { limits: Limits::STANDARD, threads: 2, keep_source: false };

fn run(study: StudyInput) -> Analysis {
    let networks = Densities::default();
    let analysis = analyse(study, &networks, &ELIGIBLE, &SETTINGS, &mut Watch::default()).unwrap();
    let findings = &analysis.findings;
    // What holds of every analysis, however it ended.
    assert_eq!(findings.reasons.is_empty(), findings.outcome == Outcome::Ok);
    assert_eq!(findings.risk.is_some(), findings.outcome == Outcome::Ok);
    assert_eq!(networks.classified.get(), usize::from(findings.outcome == Outcome::Ok));
    analysis
}

#[track_caller]
fn abstains(study: StudyInput, expected: &[GateReason]) -> Analysis {
    abstains_because(study, expected.iter().map(|&reason| Reason::Gate(reason)).collect())
}

#[track_caller]
fn abstains_because(study: StudyInput, expected: Vec<Reason>) -> Analysis {
    let analysis = run(study);
    assert_eq!(analysis.findings.outcome, Outcome::Abstained);
    assert_eq!(analysis.findings.reasons, expected, "{:?}", analysis.findings.gate);
    analysis
}

#[track_caller]
fn assert_tumour_found(analysis: &Analysis) {
    let lesions = analysis.findings.lesions.as_ref().unwrap();
    assert_eq!(lesions.count, 1);
    let diameter = lesions.lesions[0].diameter.get();
    assert!((diameter - 60.0).abs() < 3.5, "{diameter} mm");
    let [x, y, z] = lesions.lesions[0].centre_mm;
    assert!((x - 110.0).abs() < 1.0 && (y - 90.0).abs() < 1.0 && (z - 90.0).abs() < 1.0);
    let mask = &analysis.images.as_ref().unwrap().mask;
    assert!(mask.labels.iter().any(|&label| label == TUMOUR));
}

#[test]
fn two_phases_give_a_score() {
    let mut watch = Watch::default();
    let networks = Densities::default();
    let analysis = analyse(study(PHANTOM), &networks, &ELIGIBLE, &SETTINGS, &mut watch).unwrap();
    assert_eq!(analysis.findings.outcome, Outcome::Ok, "{:?}", analysis.findings.reasons);
    assert_tumour_found(&analysis);
    assert!(analysis.images.unwrap().heat_map.is_some());
    let stages: Vec<Stage> = analysis.findings.timings.iter().map(|t| t.stage).collect();
    let all = [
        Stage::Decode,
        Stage::Gate,
        Stage::Localise,
        Stage::Segment,
        Stage::Measure,
        Stage::Register,
        Stage::Classify,
        Stage::Clinical,
    ];
    assert_eq!(stages, all);
    assert!(analysis.findings.timings.iter().all(|t| t.elapsed == Millis(7)));
    assert!(watch.seen.contains(&(Stage::Segment, 50)));
    let gate = analysis.findings.gate.unwrap();
    let liver_ml = gate.get(Quantity::LiverVolume).unwrap();
    let truth = 4.0 / 3.0 * std::f64::consts::PI * 60.0 * 50.0 * 50.0 / 1000.0;
    assert!((liver_ml / truth - 1.0).abs() < 0.03, "{liver_ml} ml");
    for (image, hu) in [(ImageName::Portal, 110.0), (ImageName::Arterial, 70.0)] {
        assert_eq!(gate.get(Quantity::LiverHu(image)), Some(hu));
    }
}

#[test]
fn without_an_arterial_phase_there_are_lesions_and_no_score() {
    let study = StudyInput::Nifti { arterial: None, portal: Some(PHANTOM.file(0, &grid())) };
    let analysis = abstains_because(study, vec![missing(ImageName::Arterial)]);
    assert_tumour_found(&analysis);
    assert_eq!(analysis.images.unwrap().arterial, None);
}

#[test]
fn without_a_portal_phase_there_is_nothing_to_segment() {
    let study = StudyInput::Nifti { arterial: Some(PHANTOM.file(1, &grid())), portal: None };
    let analysis = abstains_because(study, vec![missing(ImageName::Portal)]);
    assert!(analysis.images.is_none() && analysis.findings.lesions.is_none());
    let nothing = StudyInput::Nifti { arterial: None, portal: None };
    abstains_because(nothing, [ImageName::Portal, ImageName::Arterial].map(missing).into());
}

#[test]
fn every_unreadable_file_is_named() {
    let mut arterial = PHANTOM.file(1, &grid());
    arterial.truncate(arterial.len() / 2);
    let analysis = run(both(arterial, b"hello".to_vec()));
    assert_eq!(analysis.findings.outcome, Outcome::Unreadable);
    let [Reason::Image(first), Reason::Image(second)] = &analysis.findings.reasons[..] else {
        panic!("{:?}", analysis.findings.reasons);
    };
    assert!(matches!(first, DecodeError::Truncated { image: ImageName::Arterial, .. }));
    assert!(matches!(second, DecodeError::NotNifti { image: ImageName::Portal, .. }));
    assert!(analysis.images.is_none());
}

#[test]
fn no_liver_and_no_tumour_are_told_apart() {
    let empty = Phantom { liver: None, ..PHANTOM };
    let analysis = abstains(study(empty), &[GateReason::NoLiver]);
    let images = analysis.images.unwrap();
    assert!(images.mask.labels.iter().all(|&label| label == BACKGROUND));
    let healthy = Phantom { tumour_radius: 0.0, ..PHANTOM };
    let analysis = abstains(study(healthy), &[GateReason::NoTumour]);
    let count = analysis.findings.clinical.burden.count;
    assert_eq!(count, Some(0), "no lesion is a count, which the clinicians' can contradict");
}

#[test]
fn a_liver_that_goes_on_beyond_the_scan_is_cut_off() {
    for z in [0.0, 180.0] {
        let cut = Phantom { liver: Some([110.0, 90.0, z]), tumour_radius: 25.0, ..PHANTOM };
        abstains(study(cut), &[GateReason::LiverCutOff]);
    }
}

#[test]
fn phases_must_show_the_same_body_twice() {
    let mut elsewhere = grid();
    elsewhere.affine[2][3] += 300.0;
    let portal = PHANTOM.file(0, &grid());
    let far = both(PHANTOM.file(1, &elsewhere), portal.clone());
    abstains(far, &[GateReason::PhasesDoNotMatch]);
    // Enough overlap, but the liver's lower part is missing.
    elsewhere.affine[2][3] = -10.0 + 90.0;
    let partly = both(PHANTOM.file(1, &elsewhere), portal.clone());
    let analysis = abstains(partly, &[GateReason::PhasesDoNotMatch]);
    let gate = analysis.findings.gate.as_ref().unwrap();
    assert!(gate.get(Quantity::PhaseOverlap).unwrap() > 50.0);
    assert!(gate.get(Quantity::LiverCovered).unwrap() < 80.0);
    assert_tumour_found(&analysis);
    abstains(both(portal.clone(), portal), &[GateReason::PhaseUnclear]);
}

/// The arterial image of a patient whose liver lay elsewhere.
fn breathed(by_mm: f64) -> StudyInput {
    let liver = PHANTOM.liver.map(|[x, y, z]| [x, y, z + by_mm]);
    let arterial = Phantom { liver, ..PHANTOM };
    both(arterial.file(1, &grid()), PHANTOM.file(0, &grid()))
}

#[test]
fn a_liver_that_moved_is_brought_back() {
    let analysis = run(breathed(-12.0));
    assert_eq!(analysis.findings.outcome, Outcome::Ok, "{:?}", analysis.findings.reasons);
    let gate = analysis.findings.gate.as_ref().unwrap();
    let shift = gate.get(Quantity::ShiftSuperior).unwrap();
    assert!((shift + 12.0).abs() < 1.5, "{shift} mm");
    assert!(gate.get(Quantity::PhaseShift).unwrap() < 13.5);
    // What the networks and the pictures get: the tumour where the mask has it.
    let images = analysis.images.unwrap();
    let arterial = images.arterial.unwrap();
    let inside = images.mask.labels.iter().zip(&arterial.hu).filter(|(l, _)| **l == TUMOUR);
    let (count, sum) = inside.fold((0.0, 0.0), |(n, sum), (_, hu)| (n + 1.0, sum + f64::from(*hu)));
    assert!((sum / count - f64::from(TUMOUR_HU[1])).abs() < 4.0, "{}", sum / count);
}

#[test]
fn a_liver_too_far_off_is_refused() {
    let analysis = abstains(breathed(28.0), &[GateReason::PhasesNotAligned]);
    assert!(analysis.findings.gate.unwrap().get(Quantity::PhaseShift).unwrap() > 20.0);
}

#[test]
fn a_tumour_like_none_known_gets_no_score() {
    let with = |most_distance| {
        let networks = Densities { most_distance, ..Densities::default() };
        let mut watch = Watch::default();
        analyse(study(PHANTOM), &networks, &ELIGIBLE, &SETTINGS, &mut watch).unwrap()
    };
    assert_eq!(with(Some(4.0)).findings.outcome, Outcome::Ok);
    let analysis = with(Some(3.9));
    assert_eq!(analysis.findings.reasons, [Reason::Gate(GateReason::OutOfDistribution)]);
    assert!(analysis.findings.risk.is_none() && analysis.images.unwrap().heat_map.is_none());
}

#[test]
fn contrast_must_be_that_of_the_two_phases() {
    let with = |aorta_hu| study(Phantom { aorta_hu, ..PHANTOM });
    // Another moment of the same phase, no contrast medium in the arterial image, none in the portal.
    abstains(with([155, 165]), &[GateReason::PhaseUnclear]);
    abstains(with([155, 40]), &[GateReason::NotContrastEnhanced]);
    abstains(with([40, 310]), &[GateReason::NotContrastEnhanced]);
    // Nothing like an aorta in either.
    abstains(with([40, 40]), &[GateReason::PhaseUnclear]);
}

#[test]
fn an_arterial_phase_on_another_grid_is_brought_over() {
    // Coarser, sagittal, mirrored, and a little larger than the portal grid.
    let mut spec = FileSpec::ras([46, 50, 62], [5.0, 4.0, 4.0]);
    spec.affine = [[0.0, 0.0, -4.0, 206.0], [4.0, 0.0, 0.0, -22.0], [0.0, 5.0, 0.0, -22.0]];
    let arterial = PHANTOM.file(1, &FileSpec { shape: [50, 46, 62], ..spec });
    let analysis = run(both(arterial, PHANTOM.file(0, &grid())));
    assert_eq!(analysis.findings.outcome, Outcome::Ok, "{:?}", analysis.findings.reasons);
    let gate = analysis.findings.gate.unwrap();
    let liver_hu = gate.get(Quantity::LiverHu(ImageName::Arterial)).unwrap();
    // Edges mix with the body (35 HU) and the tumour (120 HU).
    assert!((liver_hu - 70.0).abs() < 5.0, "{liver_hu} HU");
}

#[test]
fn voxels_too_long_for_the_networks_stop_before_them() {
    let coarse = FileSpec::ras([50, 44, 40], [4.2, 4.2, 5.0]);
    let study = StudyInput::Nifti { arterial: None, portal: Some(PHANTOM.file(0, &coarse)) };
    let networks = Densities { broken: true, ..Densities::default() };
    let analysis = analyse(study, &networks, &ELIGIBLE, &SETTINGS, &mut Watch::default()).unwrap();
    let reasons = &analysis.findings.reasons;
    assert!(reasons.contains(&Reason::Gate(GateReason::SpacingNotSupported)), "{reasons:?}");
    assert!(!reasons.contains(&Reason::Gate(GateReason::NoLiver)), "nobody looked: {reasons:?}");
}

#[test]
fn what_the_clinic_objects_to_gets_no_score() {
    let networks = Densities::default();
    let ward = Ward { objection: Some("line 3: unknown key") };
    let analysis =
        analyse(study(PHANTOM), &networks, &ward, &SETTINGS, &mut Watch::default()).unwrap();
    assert_eq!(analysis.findings.outcome, Outcome::Abstained);
    assert_eq!(analysis.findings.reasons, [Reason::ClinicalFile("line 3: unknown key".to_owned())]);
    assert_eq!((analysis.findings.risk.as_ref(), networks.classified.get()), (None, 0));
    assert_tumour_found(&analysis);
}

#[test]
fn a_network_that_fails_is_an_error_and_no_finding() {
    let networks = Densities { broken: true, ..Densities::default() };
    let error = analyse(study(PHANTOM), &networks, &ELIGIBLE, &SETTINGS, &mut Watch::default())
        .expect_err("a broken network must not look like a finding");
    assert!(matches!(error, AnalysisError::Network { stage: Stage::Segment, source: OutOfOrder }));
}
