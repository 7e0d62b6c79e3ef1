//! Which phase each series of a study is, from its metadata, with the evidence; and which two series
//! are the arterial and the portal venous one.
//!
//! Words of the description come first, then the delay after the bolus, then the order of the
//! acquisitions. What the image itself shows comes later, in [`phases`](crate::analysis::phases): it
//! settles what it can of the [`Named`] list and calls [`choose`] again.

use std::fmt;

use super::grid;
use super::slice::{Key, Slice};
use super::words::Words;
use crate::analysis::volume::Geometry;

/// Phase of contrast enhancement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before contrast medium, or without.
    NonContrast,
    /// Arterial, early or late.
    Arterial,
    /// Portal venous.
    Portal,
    /// Delayed or equilibrium.
    Delayed,
}

/// Why a series is thought to be of a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Evidence {
    /// A word of our own list that the series description holds.
    Word(Phase, &'static str),
    /// A delay that the description states, seconds.
    StatedDelay(Phase, f64),
    /// Acquisition time minus start of the bolus, seconds.
    BolusDelay(Phase, f64),
    /// The contrast attributes say that none was given.
    NoAgent,
    /// The series' place in the order of acquisitions with contrast medium, from 1.
    Order(Phase, usize),
    /// What the image shows.
    Image(Phase),
    /// `study.json` says so.
    StudyFile(Phase),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonContrast => "non-contrast",
            Self::Arterial => "arterial",
            Self::Portal => "portal venous",
            Self::Delayed => "delayed",
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(phase, word) => write!(f, "{phase} by the word \"{word}\""),
            Self::StatedDelay(phase, seconds) => {
                write!(f, "{phase} by a stated delay of {seconds:.0} s")
            }
            Self::BolusDelay(phase, seconds) => {
                write!(f, "{phase} by {seconds:.0} s after the bolus")
            }
            Self::NoAgent => write!(f, "{} by its contrast attributes", Phase::NonContrast),
            Self::Order(phase, place) => write!(f, "{phase} as acquisition number {place}"),
            Self::Image(phase) => write!(f, "{phase} by its contrast"),
            Self::StudyFile(phase) => write!(f, "{phase} by study.json"),
        }
    }
}

impl Evidence {
    /// The phase it speaks for.
    pub fn phase(self) -> Phase {
        match self {
            Self::Word(phase, _)
            | Self::StatedDelay(phase, _)
            | Self::BolusDelay(phase, _)
            | Self::Order(phase, _)
            | Self::Image(phase)
            | Self::StudyFile(phase) => phase,
            Self::NoAgent => Phase::NonContrast,
        }
    }
}

/// What is known of one series' phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The phase; `None` when nothing names it, or when what does disagrees.
    pub phase: Option<Phase>,
    /// Everything that speaks for a phase.
    pub evidence: Vec<Evidence>,
}

/// A series of a wanted phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// This one, by its index.
    One(usize),
    /// None is of this phase.
    Missing,
    /// Several acquisitions are of this phase, or a series may be of this one or another.
    Ambiguous(Vec<usize>),
}

impl Pick {
    /// The one series, when there is one.
    pub fn series(&self) -> Option<usize> {
        match self {
            Self::One(n) => Some(*n),
            Self::Missing | Self::Ambiguous(_) => None,
        }
    }
}

/// The two series that the analysis needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The (late) arterial series.
    pub arterial: Pick,
    /// The portal venous series.
    pub portal: Pick,
}

/// What a series says about its phase. The description is kept to be searched, never to be shown.
#[derive(Clone)]
pub struct Clues {
    pub(super) description: String,
    pub(super) agent: Option<String>,
    pub(super) bolus_start_s: Option<f64>,
    pub(super) acquired_s: Option<f64>,
    pub(super) study: Option<Key>,
    pub(super) frame_of_reference: Option<Key>,
    pub(super) patient_id: String,
    pub(super) sharp: bool,
    pub(super) axial: bool,
    pub(super) spacing_mm: f64,
}

/// A bolus reaches the liver's arteries and veins so many seconds after the injection began: late
/// arterial 35 to 40 s, portal venous 60 to 75 s, delayed 2 to 5 min (LI-RADS v2018, technique).
/// Each range is widened to half the way to the next, but for a gap where nothing is claimed.
const ARTERIAL_S: std::ops::RangeInclusive<f64> = 15.0..=48.0;
const PORTAL_S: std::ops::RangeInclusive<f64> = 55.0..=110.0;
const DELAYED_S: std::ops::RangeInclusive<f64> = 120.0..=900.0;

/// Acquisitions nearer in time than this are one.
const SAME_ACQUISITION_S: f64 = 10.0;
/// From one phase to the next with contrast medium, in seconds, when nothing but the order tells.
const NEXT_PHASE_S: std::ops::RangeInclusive<f64> = 15.0..=90.0;
/// Angle to the patient's axis up to which a series counts as axial, degrees.
const MOST_AXIAL_DEGREES: f64 = 30.0;

impl Clues {
    /// What the slices of one series say together; the first along the normal speaks where they
    /// differ, but for the time, which is the earliest.
    pub(super) fn of(slices: &[Slice], geometry: &Geometry) -> Self {
        let first = &slices[0];
        let times = slices.iter().filter_map(|s| s.acquisition.acquired_s);
        let [_, _, cosine] = grid::normal(first);
        Self {
            description: first.clues.description.clone(),
            agent: first.clues.agent.clone(),
            bolus_start_s: first.clues.bolus_start_s,
            acquired_s: times.min_by(f64::total_cmp),
            study: first.study.clone(),
            frame_of_reference: first.frame_of_reference.clone(),
            patient_id: first.clues.patient_id.clone(),
            sharp: is_sharp(&first.clues.kernel),
            axial: cosine.abs() >= MOST_AXIAL_DEGREES.to_radians().cos(),
            spacing_mm: geometry.spacing.zyx()[0],
        }
    }

    /// The patient's ID, empty when there is none: to make a pseudonym of, and for nothing else.
    pub fn patient_id(&self) -> &str {
        &self.patient_id
    }

    /// True for slices across the body.
    pub fn is_axial(&self) -> bool {
        self.axial
    }

    /// Seconds from the start of the bolus to the scan, within half a day.
    fn bolus_delay_s(&self) -> Option<f64> {
        const DAY_S: f64 = 86_400.0;
        let delay = (self.acquired_s? - self.bolus_start_s?).rem_euclid(DAY_S);
        Some(if delay > DAY_S / 2.0 { delay - DAY_S } else { delay })
    }

    /// True, false, or not said.
    fn contrast(&self) -> Option<bool> {
        let Some(agent) = &self.agent else {
            return Words::new(&self.description).speaks_of_contrast().then_some(true);
        };
        let agent = agent.trim().to_lowercase();
        let none = ["no", "none", "n", "without", "ohne", "sans", "null", "0", "nein", "non"];
        Some(!none.contains(&agent.as_str()) && !agent.starts_with("no "))
    }
}

/// Names the phase of each series of a study.
pub fn name(clues: &[&Clues]) -> Vec<Named> {
    let words: Vec<Words> = clues.iter().map(|clues| Words::new(&clues.description)).collect();
    let contrasted = abbreviations_in_contrast(&words);
    let mut named: Vec<Named> = clues
        .iter()
        .zip(&words)
        .map(|(clues, words)| {
            let evidence = evidence(clues, words, contrasted);
            Named { phase: agreed(&evidence), evidence }
        })
        .collect();
    name_by_order(clues, &mut named);
    named
}

/// True when the study's series use abbreviations of two or more phases.
fn abbreviations_in_contrast(words: &[Words]) -> bool {
    let mut phases: Vec<Phase> =
        words.iter().flat_map(|words| words.abbreviations()).map(|(phase, _)| phase).collect();
    phases.sort();
    phases.dedup();
    phases.len() > 1
}

fn evidence(clues: &Clues, words: &Words, abbreviations: bool) -> Vec<Evidence> {
    let mut named = words.phases();
    if named.is_empty() && abbreviations {
        named = words.abbreviations();
    }
    let mut evidence: Vec<Evidence> =
        named.into_iter().map(|(phase, word)| Evidence::Word(phase, word)).collect();
    if let Some(seconds) = words.delay_s()
        && let Some(phase) = phase_at(seconds)
    {
        evidence.push(Evidence::StatedDelay(phase, seconds));
    }
    if let Some(seconds) = clues.bolus_delay_s()
        && let Some(phase) = phase_at(seconds)
    {
        evidence.push(Evidence::BolusDelay(phase, seconds));
    }
    // Attributes that say "no contrast" weigh only where nothing says otherwise: technicians forget.
    if evidence.is_empty() && clues.contrast() == Some(false) {
        evidence.push(Evidence::NoAgent);
    }
    evidence
}

/// The phase of a scan so many seconds after the injection began; negative is before it.
fn phase_at(seconds: f64) -> Option<Phase> {
    match seconds {
        before if (-900.0..0.0).contains(&before) => Some(Phase::NonContrast),
        s if ARTERIAL_S.contains(&s) => Some(Phase::Arterial),
        s if PORTAL_S.contains(&s) => Some(Phase::Portal),
        s if DELAYED_S.contains(&s) => Some(Phase::Delayed),
        _ => None,
    }
}

/// The phase that all evidence speaks for.
fn agreed(evidence: &[Evidence]) -> Option<Phase> {
    let first = evidence.first()?.phase();
    evidence.iter().all(|one| one.phase() == first).then_some(first)
}

/// Two or three acquisitions with contrast medium, none of them named by anything else: the order
/// tells, when the steps between them are those of a multiphase scan.
fn name_by_order(clues: &[&Clues], named: &mut [Named]) {
    let open = |n: &usize| clues[*n].axial && clues[*n].contrast() == Some(true);
    let with_contrast: Vec<usize> = (0..clues.len()).filter(open).collect();
    let any_named = with_contrast.iter().any(|&n| !named[n].evidence.is_empty());
    let times: Option<Vec<f64>> = with_contrast.iter().map(|&n| clues[n].acquired_s).collect();
    let (false, Some(times)) = (any_named, times) else { return };
    let mut moments = times.clone();
    moments.sort_by(f64::total_cmp);
    moments.dedup_by(|later, earlier| *later - *earlier < SAME_ACQUISITION_S);
    let step = |n: usize| moments[n + 1] - moments[n];
    let multiphase = match moments.len() {
        2 => NEXT_PHASE_S.contains(&step(0)),
        3 => NEXT_PHASE_S.contains(&step(0)) && step(1) >= *NEXT_PHASE_S.start(),
        _ => false,
    };
    if !multiphase {
        return;
    }
    const ORDER: [Phase; 3] = [Phase::Arterial, Phase::Portal, Phase::Delayed];
    for (&n, time) in with_contrast.iter().zip(&times) {
        let place = moments.partition_point(|moment| moment <= time).clamp(1, moments.len());
        let phase = ORDER[place - 1];
        named[n] = Named { phase: Some(phase), evidence: vec![Evidence::Order(phase, place)] };
    }
}

/// Picks the arterial and the portal venous series: those of the one examination that has both, or
/// else of all series.
pub fn choose(clues: &[&Clues], named: &[Named]) -> Choice {
    let pair = |among: &dyn Fn(usize) -> bool| {
        let among: Vec<usize> = (0..clues.len()).filter(|n| among(*n)).collect();
        let [arterial, portal] =
            [Phase::Arterial, Phase::Portal].map(|phase| pick(phase, &among, clues, named));
        Choice { arterial, portal }
    };
    let mut studies: Vec<&Key> = clues.iter().filter_map(|clues| clues.study.as_ref()).collect();
    studies.sort();
    studies.dedup();
    let of_one = studies.iter().map(|study| pair(&|n| clues[n].study.as_ref() == Some(study)));
    let mut complete = of_one
        .filter(|choice| choice.arterial.series().is_some() && choice.portal.series().is_some());
    match (complete.next(), complete.next()) {
        (Some(only), None) => only,
        (None | Some(_), _) => pair(&|_| true),
    }
}

/// Two phases are acquired within seconds; further apart they are of two examinations.
const MOST_APART_S: f64 = 1800.0;

/// False when the two state different studies, or times too far apart.
pub fn same_examination(a: &Clues, b: &Clues) -> bool {
    const DAY_S: f64 = 86_400.0;
    let studies = a.study.as_ref().zip(b.study.as_ref());
    let times = a.acquired_s.zip(b.acquired_s).map(|(a, b)| (a - b).abs());
    // Times without a date may lie on both sides of midnight.
    let near = |apart: f64| apart.min((DAY_S - apart).abs()) <= MOST_APART_S;
    studies.is_none_or(|(a, b)| a == b) && times.is_none_or(near)
}

/// False when both have a patient's ID and the two differ.
pub fn same_patient(a: &Clues, b: &Clues) -> bool {
    a.patient_id == b.patient_id || a.patient_id.is_empty() || b.patient_id.is_empty()
}

/// False when both state a frame of reference and they differ: where the two lie to each other is
/// then not known.
pub fn same_frame_of_reference(a: &Clues, b: &Clues) -> bool {
    let stated = a.frame_of_reference.as_ref().zip(b.frame_of_reference.as_ref());
    stated.is_none_or(|(a, b)| a == b)
}

/// Among the reconstructions of the one acquisition of a phase: axial, soft, with the thinnest
/// slices.
fn pick(phase: Phase, among: &[usize], clues: &[&Clues], named: &[Named]) -> Pick {
    let mut of_phase: Vec<usize> =
        among.iter().copied().filter(|&n| named[n].phase == Some(phase)).collect();
    keep_if_any(&mut of_phase, |n| clues[n].axial);
    keep_if_any(&mut of_phase, |n| !clues[n].sharp);
    if phase == Phase::Arterial && !one_acquisition(&of_phase, clues) {
        keep_if_any(&mut of_phase, |n| Words::new(&clues[n].description).is_late());
    }
    if of_phase.is_empty() {
        let disputed = |n: &usize| {
            named[*n].phase.is_none() && named[*n].evidence.iter().any(|e| e.phase() == phase)
        };
        let disputed: Vec<usize> = among.iter().copied().filter(disputed).collect();
        return if disputed.is_empty() { Pick::Missing } else { Pick::Ambiguous(disputed) };
    }
    if !one_acquisition(&of_phase, clues) {
        return Pick::Ambiguous(of_phase);
    }
    let thinnest =
        of_phase.iter().min_by(|a, b| clues[**a].spacing_mm.total_cmp(&clues[**b].spacing_mm));
    thinnest.map_or(Pick::Missing, |&n| Pick::One(n))
}

/// True when all were acquired at the same time, or when there is only one.
fn one_acquisition(series: &[usize], clues: &[&Clues]) -> bool {
    let Some((&first, others)) = series.split_first() else { return true };
    others.iter().all(|&n| {
        let times = clues[first].acquired_s.zip(clues[n].acquired_s);
        times.is_some_and(|(a, b)| (a - b).abs() < SAME_ACQUISITION_S)
    })
}

fn keep_if_any(series: &mut Vec<usize>, keep: impl Fn(usize) -> bool) {
    if series.iter().any(|&n| keep(n)) {
        series.retain(|&n| keep(n));
    }
}

/// Kernels for lung and bone, as the vendors name them: Siemens B60 and up, Br60 and up; Toshiba
/// FC30 and FC50 and up; GE and others by word.
fn is_sharp(kernel: &str) -> bool {
    let kernel = kernel.split('\\').next().unwrap_or("").trim().to_lowercase();
    if ["lung", "bone", "edge", "sharp"].iter().any(|word| kernel.contains(word)) {
        return true;
    }
    let letters = kernel.chars().take_while(|c| c.is_ascii_alphabetic()).count();
    let (family, rest) = kernel.split_at(letters);
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let Ok(number) = rest[..digits].parse::<u32>() else { return false };
    match family {
        "b" | "h" | "i" | "br" | "bl" | "bf" | "bv" | "hr" | "qr" => number >= 60,
        "fc" => (30..40).contains(&number) || (50..60).contains(&number) || number >= 80,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
