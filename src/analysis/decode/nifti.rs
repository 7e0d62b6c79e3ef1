//! NIfTI-1 bytes → [`HuVolume`] in RAS order.
//!
//! The header is checked by [`header`] and the byte stream by `source`; the `nifti`
//! crate then reads voxels slice by slice under a header made of checked values only, so that no
//! more than one slice is held beside the result.

use ndarray::{Array3, ArrayViewMut2, ArrayViewMut3, Axis, Ix2, Zip};
use nifti::{
    DataElement, Endianness, InMemNiftiVolume, IntoNdArray, NiftiError, NiftiHeader,
    StreamedNiftiVolume,
};

use super::header::{self, CheckedHeader, Datatype, HEADER_BYTES, Rescale};
use super::intake::{Intake, NotCt, Tally};
use super::limits::{AIR_HU, Limits, MOST_DEFLATE_RATIO, SOFT_TISSUE_HU};
use super::source::Source;
use super::{DecodeError, ImageName};
use crate::analysis::volume::HuVolume;
use crate::units::Bytes;

/// A decoded image and what decoding it showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The image in HU, RAS order.
    pub volume: HuVolume,
    /// What was clipped, and how the file was read.
    pub intake: Intake,
}

/// Decodes one image of a study from the bytes of its file, packed or not.
///
/// The result is `[z, y, x]`, RAS, −1024..=3071 HU. Nothing is interpolated; the file's own grid
/// is kept in the geometry.
pub fn decode(image: ImageName, bytes: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    check_file_size(image, bytes, limits)?;
    let mut source = Source::new(image, bytes);
    let header = read_header(image, &mut source, limits)?;
    check_room(image, bytes, &source, &header)?;
    let mut hu = empty_volume(image, header.geometry.shape)?;
    source.skip(header.vox_offset - HEADER_BYTES as u64, header.file_bytes())?;
    let tally = read_voxels(&header, &mut source, &mut hu)?;
    source.finish()?;
    let intake = judge(image, tally, header.rescale)?;
    Ok(Decoded { volume: HuVolume { hu, geometry: header.geometry }, intake })
}

fn check_file_size(image: ImageName, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    let Bytes(limit) = limits.file;
    let found = bytes.len() as u64;
    if found > limit {
        return Err(DecodeError::TooLarge { image, quantity: "file size in bytes", found, limit });
    }
    Ok(())
}

fn read_header(
    image: ImageName,
    source: &mut Source<'_>,
    limits: &Limits,
) -> Result<CheckedHeader, DecodeError> {
    let mut bytes = [0; HEADER_BYTES];
    // The first word tells a short file of another kind from a NIfTI that was cut off.
    source.fill(&mut bytes[..4], HEADER_BYTES as u64)?;
    let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let sizes = [i32::from_le_bytes(word), i32::from_be_bytes(word)];
    match source.fill(&mut bytes[4..], HEADER_BYTES as u64) {
        Err(DecodeError::Truncated { .. }) if !sizes.contains(&348) && !sizes.contains(&540) => {
            Err(DecodeError::NotNifti { image, found: "something else" })
        }
        Err(error) => Err(error),
        Ok(()) => header::check(image, &bytes, limits),
    }
}

/// Refuses a file that cannot hold the voxels its header claims, before room is made for them.
fn check_room(
    image: ImageName,
    bytes: &[u8],
    source: &Source<'_>,
    header: &CheckedHeader,
) -> Result<(), DecodeError> {
    let expected = header.file_bytes();
    let ratio = if source.is_packed() { MOST_DEFLATE_RATIO } else { 1 };
    let found = bytes.len() as u64 * ratio;
    if found < expected {
        return Err(DecodeError::Truncated { image, found, expected });
    }
    Ok(())
}

fn empty_volume(image: ImageName, shape: [usize; 3]) -> Result<Array3<i16>, DecodeError> {
    let voxels = shape.iter().product::<usize>();
    let found = voxels as u64;
    let no_room =
        DecodeError::TooLarge { image, quantity: "voxels for the memory left", found, limit: 0 };
    let mut hu = Vec::new();
    hu.try_reserve_exact(voxels).map_err(|_| no_room.clone())?;
    hu.resize(voxels, 0);
    Array3::from_shape_vec(shape, hu).map_err(|_| no_room)
}

/// Reads all voxels into the RAS-ordered array.
fn read_voxels(
    header: &CheckedHeader,
    source: &mut Source<'_>,
    hu: &mut Array3<i16>,
) -> Result<Tally, DecodeError> {
    let file_order = header.geometry.stored.file_order_mut(hu);
    copy_slices(header, source, file_order).map_err(|error| match error {
        NiftiError::Io(error) => source.failure(&error, header.file_bytes()),
        _ => DecodeError::Corrupt { image: source.image(), found: "voxels that cannot be read" },
    })
}

/// Reads slice after slice through the `nifti` crate; `out` has the file's axes `[i, j, k]`.
fn copy_slices(
    header: &CheckedHeader,
    source: &mut Source<'_>,
    mut out: ArrayViewMut3<'_, i16>,
) -> Result<Tally, NiftiError> {
    let mut tally = Tally::default();
    let mut slices = StreamedNiftiVolume::from_reader(source, &sanitised(header))?;
    for out in out.axis_iter_mut(Axis(2)) {
        let slice = slices.read_slice()?;
        match header.datatype {
            Datatype::U8 => convert::<u8>(slice, out, header.rescale, &mut tally)?,
            Datatype::I16 => convert::<i16>(slice, out, header.rescale, &mut tally)?,
            Datatype::I32 => convert::<i32>(slice, out, header.rescale, &mut tally)?,
            Datatype::F32 => convert::<f32>(slice, out, header.rescale, &mut tally)?,
            Datatype::U16 => convert::<u16>(slice, out, header.rescale, &mut tally)?,
        }
    }
    Ok(tally)
}

/// A header for the `nifti` crate that holds checked values only. Its slope of zero means "stored
/// values, please": the crate would scale integers in f32 and cut them off at the type's range.
fn sanitised(header: &CheckedHeader) -> NiftiHeader {
    let [ni, nj, nk] = header.geometry.stored.shape.map(|n| n as u16);
    NiftiHeader {
        dim: [3, ni, nj, nk, 1, 1, 1, 1],
        datatype: header.datatype.code(),
        bitpix: header.datatype.bits(),
        scl_slope: 0.0,
        scl_inter: 0.0,
        endianness: if header.big_endian { Endianness::Big } else { Endianness::Little },
        ..NiftiHeader::default()
    }
}

/// Converts one slice `[i, j]` to HU and counts what it sees.
fn convert<T>(
    slice: InMemNiftiVolume,
    out: ArrayViewMut2<'_, i16>,
    rescale: Rescale,
    tally: &mut Tally,
) -> Result<(), NiftiError>
where
    T: DataElement + Into<f64>,
{
    let stored = slice.into_ndarray::<T>()?;
    let stored = stored.into_dimensionality::<Ix2>().map_err(|_| NiftiError::BadVolumeSize)?;
    if stored.dim() != out.dim() {
        return Err(NiftiError::BadVolumeSize);
    }
    Zip::from(out).and(&stored).for_each(|out, &stored| {
        *out = tally.add(stored.into() * rescale.slope + rescale.inter);
    });
    Ok(())
}

/// Names values that are no CT; a slope of zero is part of the account.
fn judge(image: ImageName, tally: Tally, rescale: Rescale) -> Result<Intake, DecodeError> {
    let intake = tally.judge().map_err(|unusable| match unusable {
        NotCt::NotFinite(count) => DecodeError::NotFinite { image, count },
        NotCt::ImplausibleHu(low, high) => {
            DecodeError::ImplausibleHu { image, low, high, air: AIR_HU, soft: SOFT_TISSUE_HU }
        }
    })?;
    Ok(Intake { slope_was_zero: rescale.slope_was_zero, ..intake })
}
