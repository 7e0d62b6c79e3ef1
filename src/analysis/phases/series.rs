//! DICOM files → the two phases: survey, name, look, choose, decode.

use std::fmt;

use super::{NamedSeries, PhaseProblem, Phases, SeriesName, Unread};
use crate::analysis::analyse::{Networks, Settings};
use crate::analysis::decode::dicom::phase::{self, Choice, Clues, Evidence, Named, Phase, Pick};
use crate::analysis::decode::dicom::{DicomError, Finding, Series, Survey, survey};
use crate::analysis::decode::{Decoded, ImageName};
use crate::analysis::enhancement::{Aorta, Enhancement, Shown, liver_mean_hu};
use crate::analysis::findings::Reason;
use crate::analysis::volume::{HuVolume, Mask};
use crate::clinical::data::Subject;

/// Series that are looked at, at most: each costs a decoding and a segmentation.
const MOST_LOOKED_AT: usize = 6;
/// Refused series that are named, at most.
const MOST_REFUSED_NAMED: usize = 3;

/// What the DICOM files of a study were.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesReport {
    /// The series that can be used, those with the most slices first.
    pub series: Vec<SeriesSeen>,
    /// What was left out or refused.
    pub findings: Vec<Finding>,
}

/// One usable series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSeen {
    /// Slices.
    pub slices: usize,
    /// Their distance, millimetres.
    pub spacing_mm: f64,
    /// Its phase and what says so.
    pub named: Named,
    /// Its contrast, when it was looked at and a liver was found.
    pub seen: Option<Enhancement>,
    /// As which phase it was used.
    pub used: Option<ImageName>,
}

impl fmt::Display for SeriesSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series of {} slices, {:.2} mm apart: ", self.slices, self.spacing_mm)?;
        if self.named.evidence.is_empty() {
            f.write_str("nothing names its phase")?;
        }
        for (n, evidence) in self.named.evidence.iter().enumerate() {
            write!(f, "{}{evidence}", if n > 0 { ", " } else { "" })?;
        }
        if let Some(seen) = &self.seen {
            write!(f, "; {seen}")?;
        }
        match self.used {
            Some(image) => write!(f, "; used as the {image}"),
            None => f.write_str("; not used"),
        }
    }
}

impl SeriesReport {
    fn of(survey: &Survey, named: Vec<Named>, looked_at: &[Option<Looked>]) -> Self {
        let one = |((series, named), looked): ((&Series, Named), &Option<Looked>)| SeriesSeen {
            slices: series.slice_count(),
            spacing_mm: series.geometry().spacing.zyx()[0],
            named,
            seen: looked.as_ref().map(|looked| looked.seen),
            used: None,
        };
        let series = survey.series.iter().zip(named).zip(looked_at).map(one).collect();
        Self { series, findings: survey.findings.clone() }
    }

    /// All usable series in a few words: `2 arterial, 1 of no clear phase (aorta 180 HU, liver 95
    /// HU), 1 refused`.
    fn in_short(&self) -> String {
        let with = |phase: Option<Phase>| {
            self.series.iter().filter(|seen| seen.named.phase == phase).count()
        };
        let phases = [Phase::NonContrast, Phase::Arterial, Phase::Portal, Phase::Delayed];
        let named = phases.map(|phase| (with(Some(phase)), phase.to_string()));
        let unclear: Vec<String> = self
            .series
            .iter()
            .filter(|s| s.named.phase.is_none())
            .filter_map(|s| s.seen)
            .map(|s| s.to_string())
            .collect();
        let of_what =
            if unclear.is_empty() { String::new() } else { format!(" ({})", unclear.join("; ")) };
        let others = [
            (with(None), format!("of no clear phase{of_what}")),
            (self.refused().count(), "refused".to_owned()),
        ];
        let counted: Vec<String> = named
            .into_iter()
            .chain(others)
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if counted.is_empty() { "no CT series".to_owned() } else { counted.join(", ") }
    }

    fn refused(&self) -> impl Iterator<Item = (usize, &DicomError)> {
        self.findings.iter().filter_map(|finding| match finding {
            Finding::Refused { slices, error } => Some((*slices, error)),
            Finding::Lost { .. }
            | Finding::LeftOut { .. }
            | Finding::Copies { .. }
            | Finding::Split { .. } => None,
        })
    }

    /// Files that may be slices of a chosen series: at either end of it no gap would show.
    fn lost(&self) -> Option<PhaseProblem> {
        self.findings.iter().find_map(|finding| match finding {
            Finding::Lost { count, error } => {
                Some(PhaseProblem::Lost { count: *count, error: error.clone() })
            }
            Finding::Refused { .. }
            | Finding::LeftOut { .. }
            | Finding::Copies { .. }
            | Finding::Split { .. } => None,
        })
    }

    /// Why nothing can be used: refused series, the largest first, or files that are lost.
    fn why_nothing(&self) -> Vec<Reason> {
        let mut refused: Vec<_> = self.refused().collect();
        refused.sort_by_key(|(slices, _)| std::cmp::Reverse(*slices));
        let mut reasons: Vec<Reason> = refused
            .into_iter()
            .take(MOST_REFUSED_NAMED)
            .map(|(_, error)| Reason::Series(error.clone()))
            .collect();
        if reasons.is_empty() {
            reasons.extend(self.findings.iter().find_map(|finding| match finding {
                Finding::Lost { error, .. } => Some(Reason::Series(error.clone())),
                _ => None,
            }));
        }
        if reasons.is_empty() {
            reasons.push(Reason::Series(DicomError::NoSeries));
        }
        reasons
    }
}

/// Reads the series of `files`.
pub(super) fn read<N: Networks>(
    files: Vec<Vec<u8>>,
    wanted: &NamedSeries,
    networks: &N,
    settings: &Settings,
) -> Result<Phases, Unread<N::Error>> {
    let survey = survey(&files, &settings.limits);
    let clues: Vec<&Clues> = survey.series.iter().map(Series::clues).collect();
    let mut named = phase::name(&clues);
    let overridden = by_study_file(&survey, wanted, &mut named);
    let mut choice = overridden.apply(phase::choose(&clues, &named));
    let unsettled = |pick: &Pick| !matches!(pick, Pick::One(_));
    let mut looked_at: Vec<Option<Looked>> = named.iter().map(|_| None).collect();
    if unsettled(&choice.arterial) || unsettled(&choice.portal) {
        look(&files, &survey, (&mut named, &mut looked_at), networks, settings)
            .map_err(Unread::Network)?;
        choice = overridden.apply(phase::choose(&clues, &named));
    }
    let mut report = SeriesReport::of(&survey, named, &looked_at);
    if report.series.is_empty() {
        return Err(Unread::Files(report.why_nothing()));
    }
    let chosen = [&choice.arterial, &choice.portal].map(Pick::series);
    let mut problems = problems(&choice, &overridden, &report);
    for (image, n) in [ImageName::Arterial, ImageName::Portal].into_iter().zip(chosen) {
        n.into_iter().for_each(|n| report.series[n].used = Some(image));
    }
    problems.extend(against_pair(&clues, chosen));
    problems.extend(report.lost());
    let mask = chosen[1].and_then(|n| looked_at[n].take()).and_then(|looked| looked.mask);
    let patient = chosen[1].or(chosen[0]).map_or("", |n| clues[n].patient_id());
    let subject = Subject::new(patient);
    let portal_series = chosen[1].filter(|_| settings.keep_source);
    let source = portal_series.map(|n| survey.series[n].source(&files, &settings.limits));
    let decoded = decode_chosen(files, &survey, chosen, settings);
    let [arterial, portal] = decoded.map_err(|error| Unread::Files(vec![Reason::Series(error)]))?;
    let series = Some(report);
    Ok(Phases { arterial, portal, problems, mask, subject, series, source })
}

/// Why the two chosen series do not belong together.
fn against_pair(clues: &[&Clues], chosen: [Option<usize>; 2]) -> Option<PhaseProblem> {
    let (arterial, portal) = chosen[0].zip(chosen[1])?;
    let (arterial, portal) = (clues[arterial], clues[portal]);
    if !phase::same_patient(arterial, portal) {
        Some(PhaseProblem::Patients)
    } else if !phase::same_examination(arterial, portal) {
        Some(PhaseProblem::Examinations)
    } else {
        let same = phase::same_frame_of_reference(arterial, portal);
        (!same).then_some(PhaseProblem::FramesOfReference)
    }
}

/// What `study.json` settles: the index of a series, or that it is none of them.
#[derive(Default)]
struct Overridden {
    arterial: Option<Option<usize>>,
    portal: Option<Option<usize>>,
}

impl Overridden {
    fn apply(&self, choice: Choice) -> Choice {
        let settled = |own: Pick, named: Option<Option<usize>>| match named {
            None => own,
            Some(None) => Pick::Missing,
            Some(Some(n)) => Pick::One(n),
        };
        Choice {
            arterial: settled(choice.arterial, self.arterial),
            portal: settled(choice.portal, self.portal),
        }
    }
}

/// A series that `study.json` names is of that phase, and no other series is.
fn by_study_file(survey: &Survey, wanted: &NamedSeries, named: &mut [Named]) -> Overridden {
    let mut find = |name: &Option<SeriesName>, phase: Phase| {
        let name = name.as_ref()?;
        let mut of_name = (0..survey.series.len()).filter(|n| survey.series[*n].is(name));
        // A UID that several acquisitions share says which is meant no better than nothing.
        let only = of_name.next().filter(|_| of_name.next().is_none());
        if let Some(n) = only {
            named[n] = Named { phase: Some(phase), evidence: vec![Evidence::StudyFile(phase)] };
        }
        Some(only)
    };
    let arterial = find(&wanted.arterial, Phase::Arterial);
    let portal = find(&wanted.portal, Phase::Portal);
    Overridden { arterial, portal }
}

/// Looks at the series that nothing names, or that two things name differently.
fn look<N: Networks>(
    files: &[Vec<u8>],
    survey: &Survey,
    (named, looked_at): (&mut [Named], &mut [Option<Looked>]),
    networks: &N,
    settings: &Settings,
) -> Result<(), N::Error> {
    let unnamed = (0..named.len()).filter(|n| named[*n].phase.is_none());
    let axial: Vec<usize> = unnamed.filter(|n| survey.series[*n].clues().is_axial()).collect();
    for n in axial.into_iter().take(MOST_LOOKED_AT) {
        // A series that cannot be decoded says so when it is chosen.
        let Ok(decoded) = survey.series[n].decode(files, &settings.limits, settings.threads) else {
            continue;
        };
        let Some(looked) = looked(&decoded.volume, networks, settings.threads)? else { continue };
        let shown = looked.seen.shows().map(phase_of);
        looked_at[n] = Some(looked);
        let Some(shown) = shown else { continue };
        let disputed = &named[n].evidence;
        if disputed.is_empty() || disputed.iter().any(|evidence| evidence.phase() == shown) {
            named[n].phase = Some(shown);
        }
        named[n].evidence.push(Evidence::Image(shown));
    }
    Ok(())
}

/// What a look at an image gives.
struct Looked {
    /// Its contrast.
    seen: Enhancement,
    /// Its labels, where it may turn out to be the portal venous phase, which is segmented.
    mask: Option<Mask>,
}

/// Looks at one image; `None` where no liver is found.
fn looked<N: Networks>(
    volume: &HuVolume,
    networks: &N,
    threads: usize,
) -> Result<Option<Looked>, N::Error> {
    let Some(liver) = networks.locate_liver(volume)? else { return Ok(None) };
    let mask = networks.segment(volume, liver, volume.bytes(), &mut |_| ())?;
    let aorta_hu = Aorta::find(volume, liver, threads).map(|aorta| aorta.hu);
    let Some(liver_hu) = liver_mean_hu(volume, &mask) else { return Ok(None) };
    let seen = Enhancement { aorta_hu, liver_hu };
    let mask = Some(mask).filter(|_| seen.shows() == Some(Shown::Portal));
    Ok(Some(Looked { seen, mask }))
}

fn phase_of(shown: Shown) -> Phase {
    match shown {
        Shown::NonContrast => Phase::NonContrast,
        Shown::Arterial => Phase::Arterial,
        Shown::Portal => Phase::Portal,
        Shown::Delayed => Phase::Delayed,
    }
}

fn problems(choice: &Choice, overridden: &Overridden, report: &SeriesReport) -> Vec<PhaseProblem> {
    let picks = [
        (ImageName::Portal, &choice.portal, overridden.portal),
        (ImageName::Arterial, &choice.arterial, overridden.arterial),
    ];
    let mut problems = Vec::new();
    let mut missing = false;
    for (image, pick, named) in picks {
        let seen = report.in_short();
        match pick {
            Pick::One(_) => continue,
            Pick::Missing if named.is_some() => {
                problems.push(PhaseProblem::NotThere { image, seen })
            }
            Pick::Missing => problems.push(PhaseProblem::Missing { image, seen }),
            Pick::Ambiguous(which) => {
                problems.push(PhaseProblem::Unclear { image, count: which.len(), seen });
            }
        }
        missing = true;
    }
    if missing {
        // A handful of slices is a test bolus or a scout, never the phase that is missing.
        let whole = report.refused().filter(|(_, e)| !matches!(e, DicomError::TooFew { .. }));
        let refused = whole.take(MOST_REFUSED_NAMED);
        problems.extend(
            refused.map(|(slices, error)| PhaseProblem::Refused { slices, error: error.clone() }),
        );
    }
    problems
}

/// Decodes the chosen series; a file is freed as soon as no series needs it any more.
fn decode_chosen(
    mut files: Vec<Vec<u8>>,
    survey: &Survey,
    [arterial, portal]: [Option<usize>; 2],
    settings: &Settings,
) -> Result<[Option<Decoded>; 2], DicomError> {
    let mut decode = |n: Option<usize>, needed_later: Option<usize>| {
        keep_only(&mut files, survey, &[n, needed_later]);
        let series = n.map(|n| &survey.series[n]);
        let volume = series
            .map(|series| series.decode(&files, &settings.limits, settings.threads))
            .transpose()?;
        Ok::<_, DicomError>(volume.map(|v| Decoded { volume: v.volume, intake: v.intake }))
    };
    let first = decode(arterial, portal)?;
    Ok([first, decode(portal, None)?])
}

fn keep_only(files: &mut [Vec<u8>], survey: &Survey, series: &[Option<usize>]) {
    for (n, file) in files.iter_mut().enumerate() {
        if !series.iter().flatten().any(|of| survey.series[*of].has_file(n)) {
            *file = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests;
