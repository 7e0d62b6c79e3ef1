//! A folder's files → its series, each a checked grid of slices, and what was left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use super::error::DicomError;
use super::file;
use super::grid;
use super::kind::Kind;
use super::phase::Clues;
use super::slice::{self, FileContent, Key, Slice};
use super::source::{self, Source};
use super::stacks;
use super::volume::{self, SeriesVolume};
use crate::analysis::decode::Limits;
use crate::analysis::volume::Geometry;

/// One series that can be decoded.
#[derive(Clone)]
pub struct Series {
    slices: Vec<Slice>,
    geometry: Geometry,
    clues: Clues,
}

impl Series {
    /// The grid that the decoded volume has.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What names the phase.
    pub fn clues(&self) -> &Clues {
        &self.clues
    }

    /// How many slices it has.
    pub fn slice_count(&self) -> usize {
        self.slices.len()
    }

    /// True when the file is part of it.
    pub fn has_file(&self, file: usize) -> bool {
        self.slices.iter().any(|slice| slice.pixels.file == file)
    }

    /// True when the name is that of this series.
    pub fn is(&self, name: &SeriesName) -> bool {
        match name {
            SeriesName::File(file) => self.has_file(*file),
            SeriesName::Uid(uid) => self.slices[0].series.is(uid),
        }
    }

    /// Decodes the volume. `files` are those that were surveyed.
    pub fn decode<B: AsRef<[u8]> + Sync>(
        &self,
        files: &[B],
        limits: &Limits,
        threads: usize,
    ) -> Result<SeriesVolume, DicomError> {
        volume::decode(files, &self.slices, self.geometry.clone(), limits, threads)
    }

    /// What objects made from this series repeat of it, the patient's identity included. `files` are
    /// those that were surveyed.
    pub fn source<B: AsRef<[u8]>>(
        &self,
        files: &[B],
        limits: &Limits,
    ) -> Result<Source, DicomError> {
        source::read(files, &self.slices, limits)
    }
}

/// How a series is named from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesName {
    /// By one of its files, as the index of the file.
    File(usize),
    /// By its SeriesInstanceUID.
    Uid(String),
}

/// What was left out, refused, or noticed. Series are counted, never named.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Objects that are no CT series to measure on.
    LeftOut {
        /// What they are.
        kind: Kind,
        /// How many.
        count: usize,
    },
    /// Slices that repeat another one's place and pixels; one of each was kept.
    Copies {
        /// How many were left out.
        count: usize,
    },
    /// One series was split into several acquisitions of the same places.
    Split {
        /// Into how many.
        acquisitions: usize,
    },
    /// A series that cannot be used.
    Refused {
        /// Slices or files of it.
        slices: usize,
        /// Why.
        error: DicomError,
    },
    /// Files that cannot be read far enough to know what they belong to. A series may lack its first
    /// or last slice because of them.
    Lost {
        /// How many.
        count: usize,
        /// Why the first of them.
        error: DicomError,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { kind, count } => write!(f, "Left out, {}: {count}", kind.name()),
            Self::Copies { count } => write!(f, "Left out, copies of slices: {count}"),
            Self::Split { acquisitions } => {
                write!(f, "One series holds {acquisitions} acquisitions of the same places")
            }
            Self::Refused { slices, error } => {
                write!(f, "A series of {slices} slices is refused: {}", in_full(error))
            }
            Self::Lost { count, error } => {
                write!(f, "Files that cannot be read: {count}; {}", in_full(error))
            }
        }
    }
}

/// An error with its causes, in one line.
fn in_full(error: &DicomError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The headers of a folder.
#[derive(Clone, Default)]
pub struct Survey {
    /// Usable series, those with the most slices first. The order of the files has no influence.
    pub series: Vec<Series>,
    /// What else there was, in a fixed order.
    pub findings: Vec<Finding>,
}

/// Reads the headers of `files`.
pub fn survey<B: AsRef<[u8]>>(files: &[B], limits: &Limits) -> Survey {
    let mut sorted = Sorted::default();
    for (number, bytes) in files.iter().enumerate() {
        sorted.add(slice::read(number, bytes.as_ref(), limits));
    }
    let mut survey = Survey { series: Vec::new(), findings: sorted.findings() };
    for group in sorted.groups.into_values() {
        survey.add_group(group, files, limits);
    }
    survey.series.sort_by(|a, b| b.slices.len().cmp(&a.slices.len()).then(order(a, b)));
    survey.findings.sort_by_key(|finding| format!("{finding:?}"));
    survey
}

/// Series of equal size: by place in the patient, then by time.
fn order(a: &Series, b: &Series) -> std::cmp::Ordering {
    let numbers = |series: &Series| {
        let world = series.geometry.voxel_to_world.into_iter().flatten();
        let time = series.clues.acquired_s.unwrap_or(f64::MIN);
        world.chain([time]).collect::<Vec<_>>()
    };
    let (a, b) = (numbers(a), numbers(b));
    let first = a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    first.unwrap_or(std::cmp::Ordering::Equal)
}

/// The files by what they are.
#[derive(Default)]
struct Sorted {
    groups: BTreeMap<Key, Group>,
    left_out: BTreeMap<Kind, usize>,
    lost: Vec<DicomError>,
}

/// The slices of one series, and what of it cannot be used.
#[derive(Default)]
struct Group {
    slices: Vec<Slice>,
    broken: Vec<DicomError>,
}

impl Sorted {
    fn add(&mut self, content: FileContent) {
        match content {
            FileContent::LeftOut(kind) => *self.left_out.entry(kind).or_default() += 1,
            FileContent::Lost(error) => self.lost.push(error),
            FileContent::Broken(series, error) => {
                self.groups.entry(series).or_default().broken.push(error);
            }
            FileContent::Slices(slices) => {
                for slice in slices {
                    self.groups.entry(slice.series.clone()).or_default().slices.push(slice);
                }
            }
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let left_out = self.left_out.iter();
        let mut findings: Vec<_> =
            left_out.map(|(&kind, &count)| Finding::LeftOut { kind, count }).collect();
        if let Some(error) = first(&self.lost) {
            findings.push(Finding::Lost { count: self.lost.len(), error });
        }
        findings
    }
}

/// The same one whatever the order of the files.
fn first(errors: &[DicomError]) -> Option<DicomError> {
    errors.iter().min_by_key(|error| format!("{error:?}")).cloned()
}

impl Survey {
    fn add_group<B: AsRef<[u8]>>(&mut self, group: Group, files: &[B], limits: &Limits) {
        if let Some(source) = first(&group.broken) {
            let (count, of) = (group.broken.len(), group.broken.len() + group.slices.len());
            let error = DicomError::BrokenFiles { count, of, source: Box::new(source) };
            self.findings.push(Finding::Refused { slices: of, error });
            return;
        }
        let mut pixels = StoredPixels { files, limits, opened: None, known: BTreeMap::new() };
        for stack in stacks::by_geometry(group.slices) {
            let (stack, count) = stacks::without_copies(stack, |a, b| pixels.same(a, b));
            if count > 0 {
                self.findings.push(Finding::Copies { count });
            }
            let parts = stacks::by_acquisition(stack);
            if parts.len() > 1 {
                self.findings.push(Finding::Split { acquisitions: parts.len() });
            }
            parts.into_iter().for_each(|slices| self.add_stack(slices));
        }
    }

    fn add_stack(&mut self, slices: Vec<Slice>) {
        match grid::build(&slices).and_then(|grid| finished(&slices).map(|()| grid)) {
            Ok(geometry) => {
                let clues = Clues::of(&slices, &geometry);
                self.series.push(Series { slices, geometry, clues });
            }
            Err(error) => self.findings.push(Finding::Refused { slices: slices.len(), error }),
        }
    }
}

/// Refuses a series that lacks some slices of an acquisition: at either end no gap would show. Scanners
/// also state the slices of all acquisitions, or of a thinner reconstruction: a number of which less
/// than half is there counts something else.
fn finished(slices: &[Slice]) -> Result<(), DicomError> {
    for slice in slices {
        let Some(expected) = slice.acquisition.images else { continue };
        let number = slice.acquisition.number;
        let found = slices.iter().filter(|other| other.acquisition.number == number).count();
        if expected > found && found * 2 > expected {
            return Err(DicomError::Unfinished { found, expected });
        }
    }
    Ok(())
}

/// The stored bytes of slices, to be compared. In a scan of many passes each slice meets all others
/// of its place, so that bytes are compared only where their hashes are equal.
struct StoredPixels<'a, B> {
    files: &'a [B],
    limits: &'a Limits,
    /// The data set looked at last; the frames of one file share it.
    opened: Option<(usize, Cow<'a, [u8]>)>,
    /// Hashes by file and place in it.
    known: BTreeMap<(usize, usize), u64>,
}

impl<B: AsRef<[u8]>> StoredPixels<'_, B> {
    /// True when both slices have the same stored bytes and are rescaled alike.
    fn same(&mut self, a: &Slice, b: &Slice) -> bool {
        if a.stored != b.stored || a.pixels.codec != b.pixels.codec {
            return false;
        }
        let alike = self.hash(a).is_some_and(|hash| Some(hash) == self.hash(b));
        alike && self.bytes(a).is_some_and(|bytes| Some(bytes) == self.bytes(b))
    }

    fn hash(&mut self, slice: &Slice) -> Option<u64> {
        let place = (slice.pixels.file, slice.pixels.pieces.first()?.start);
        if let Some(known) = self.known.get(&place) {
            return Some(*known);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.bytes(slice)?);
        let hash = hasher.finish();
        self.known.insert(place, hash);
        Some(hash)
    }

    fn bytes(&mut self, slice: &Slice) -> Option<Vec<u8>> {
        let number = slice.pixels.file;
        if self.opened.as_ref().is_none_or(|(opened, _)| *opened != number) {
            let data = file::open_one(self.files, number, self.limits).ok()?;
            self.opened = Some((number, data.bytes));
        }
        let (_, data) = self.opened.as_ref()?;
        let pieces = slice.pixels.pieces.iter().map(|piece| data.get(piece.clone()));
        Some(pieces.collect::<Option<Vec<_>>>()?.concat())
    }
}

/// The volumes of a folder.
pub struct Assembled {
    /// Each usable series with its volume.
    pub volumes: Vec<(Series, SeriesVolume)>,
    /// What was left out or refused, at the survey or at decoding.
    pub findings: Vec<Finding>,
}

/// Surveys `files` and decodes every series. All volumes are in memory at once; a caller who knows
/// which series it wants uses [`survey`] and [`Series::decode`].
pub fn assemble<B: AsRef<[u8]> + Sync>(files: &[B], limits: &Limits, threads: usize) -> Assembled {
    let Survey { series, findings } = survey(files, limits);
    let mut assembled = Assembled { volumes: Vec::new(), findings };
    for series in series {
        match series.decode(files, limits, threads) {
            Ok(volume) => assembled.volumes.push((series, volume)),
            Err(error) => {
                let slices = series.slices.len();
                assembled.findings.push(Finding::Refused { slices, error });
            }
        }
    }
    assembled
}
