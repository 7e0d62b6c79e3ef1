//! A series' slices → one volume in HU, decoded by several threads, one slice at a time each: beside
//! the volume itself only one slice per thread is held.

use std::borrow::Cow;
use std::thread;

use ndarray::{Array3, ArrayViewMut2, Axis};

use super::error::DicomError;
use super::file;
use super::pixels::{self, Size};
use super::slice::Slice;
use crate::analysis::decode::Limits;
use crate::analysis::decode::intake::{Intake, NotCt, Tally};
use crate::analysis::decode::limits::{AIR_HU, SOFT_TISSUE_HU};
use crate::analysis::volume::{Geometry, HuVolume};

/// Threads, at most.
const MOST_THREADS: usize = 16;

/// A decoded series and what decoding it showed.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesVolume {
    /// The series in HU, RAS order; its masks are written as NIfTI-1 on the series' own grid.
    pub volume: HuVolume,
    /// What was clipped; padding is no part of it.
    pub intake: Intake,
    /// Voxels that the files mark as padding, set to −1024 HU.
    pub padding: u64,
}

/// Decodes `slices`, in order along the normal, of the given grid.
pub(super) fn decode<B: AsRef<[u8]> + Sync>(
    files: &[B],
    slices: &[Slice],
    geometry: Geometry,
    limits: &Limits,
    threads: usize,
) -> Result<SeriesVolume, DicomError> {
    let mut hu = room(geometry.shape, limits)?;
    // File order is (column, row, slice).
    let mut stored = geometry.stored.file_order_mut(&mut hu);
    let mut planes: Vec<Plane<'_>> = stored.axis_iter_mut(Axis(2)).zip(slices).collect();
    let threads = threads.clamp(1, MOST_THREADS);
    let share = planes.len().div_ceil(threads);
    let slice_count = slices.len();
    let work = &|first: usize, chunk: &mut [Plane<'_>]| {
        decode_planes(files, chunk, limits).map_err(|(at, source)| DicomError::Slice {
            slice: first + at + 1,
            slices: slice_count,
            source: Box::new(source),
        })
    };
    let tallies: Vec<Result<Tally, DicomError>> = thread::scope(|scope| {
        let shares = planes.chunks_mut(share).enumerate();
        let running: Vec<_> =
            shares.map(|(n, chunk)| scope.spawn(move || work(n * share, chunk))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(Err(PANICKED))).collect()
    });
    let tally =
        tallies.into_iter().try_fold(Tally::default(), |all, one| one.map(|t| all.and(t)))?;
    let intake = tally.judge().map_err(not_ct)?;
    Ok(SeriesVolume { volume: HuVolume { hu, geometry }, intake, padding: tally.padding() })
}

const PANICKED: DicomError = DicomError::Corrupt { found: "pixels that a decoder fails on" };

/// Where a slice goes, `[column, row]`, and the slice.
type Plane<'a> = (ArrayViewMut2<'a, i16>, &'a Slice);

/// Decodes one thread's share; an error says at which slice of it.
fn decode_planes<B: AsRef<[u8]>>(
    files: &[B],
    planes: &mut [Plane<'_>],
    limits: &Limits,
) -> Result<Tally, (usize, DicomError)> {
    let mut tally = Tally::default();
    let mut cells = Vec::new();
    let mut opened: Option<(usize, Cow<'_, [u8]>)> = None;
    for (at, (out, slice)) in planes.iter_mut().enumerate() {
        let file = slice.pixels.file;
        // The frames of one file share its data set, which may have to be inflated.
        let data = match &opened {
            Some((number, data)) if *number == file => data,
            _ => {
                let open = file::open_one(files, file, limits).map_err(|error| (at, error))?;
                &opened.insert((file, open.bytes)).1
            }
        };
        let size = Size { rows: slice.rows, columns: slice.columns };
        pixels::decode(data, &slice.pixels, size, &mut cells).map_err(|error| (at, error))?;
        for (row, mut out) in cells.chunks_exact(slice.columns).zip(out.axis_iter_mut(Axis(1))) {
            for (out, &cell) in out.iter_mut().zip(row) {
                *out = slice.stored.hu(cell, &mut tally);
            }
        }
    }
    Ok(tally)
}

/// Room for the volume, which is the only large allocation.
fn room(shape: [usize; 3], limits: &Limits) -> Result<Array3<i16>, DicomError> {
    let voxels = shape.iter().product::<usize>();
    let (found, limit) = (voxels as u64, limits.voxels);
    if found > limit {
        return Err(DicomError::TooLarge { quantity: "voxels", found, limit });
    }
    let no_room =
        || DicomError::TooLarge { quantity: "voxels for the memory left", found, limit: 0 };
    let mut hu = Vec::new();
    hu.try_reserve_exact(voxels).map_err(|_| no_room())?;
    hu.resize(voxels, 0);
    Array3::from_shape_vec(shape, hu).map_err(|_| no_room())
}

fn not_ct(unusable: NotCt) -> DicomError {
    match unusable {
        NotCt::NotFinite(_) => DicomError::BadValue {
            attribute: "RescaleSlope",
            found: "a number that makes values infinite".to_owned(),
            expected: "Hounsfield units",
        },
        NotCt::ImplausibleHu(low, high) => {
            DicomError::ImplausibleHu { low, high, air: AIR_HU, soft: SOFT_TISSUE_HU }
        }
    }
}
