//! One slice's pixels → stored cells, row by row.
//!
//! Each decoder gets the number of cells the header promises and fills exactly those, or names what
//! is wrong; what a compressed stream claims of its own size is compared before room is made for it.

mod bits;
mod jpeg2000;
mod jpeg_lossless;
mod jpeg_ls;
mod markers;
mod rle;

use std::borrow::Cow;
use std::ops::Range;

use super::error::DicomError;
use super::slice::Pixels;
use super::syntax::Codec;

/// Rows and columns of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Rows.
    pub(super) rows: usize,
    /// Columns.
    pub(super) columns: usize,
}

/// Fills `cells`, `[row, column]`, from the data set that the slice lies in.
pub(super) fn decode(
    data: &[u8],
    pixels: &Pixels,
    size: Size,
    cells: &mut Vec<u16>,
) -> Result<(), DicomError> {
    cells.clear();
    cells.resize(size.rows * size.columns, 0);
    let bytes = gather(data, &pixels.pieces)?;
    let codec = match pixels.codec {
        Codec::Native => return native(&bytes, pixels.big_endian, cells),
        Codec::Rle => ("RLE", rle::decode(&bytes, cells)),
        Codec::JpegLossless => ("JPEG lossless", jpeg_lossless::decode(&bytes, size, cells)),
        Codec::JpegLs => ("JPEG-LS", jpeg_ls::decode(&bytes, size, cells)),
        Codec::Jpeg2000 => ("JPEG 2000", jpeg2000::decode(&bytes, size, cells)),
    };
    let (codec, decoded) = codec;
    decoded.map_err(|found| DicomError::BadPixels { codec, found })
}

/// The pieces of one slice, copied only when there are several.
fn gather<'a>(data: &'a [u8], pieces: &[Range<usize>]) -> Result<Cow<'a, [u8]>, DicomError> {
    let piece = |range: &Range<usize>| {
        data.get(range.clone()).ok_or(DicomError::Corrupt { found: "a file that has changed" })
    };
    if let [only] = pieces {
        return piece(only).map(Cow::Borrowed);
    }
    let mut bytes = Vec::new();
    for range in pieces {
        bytes.extend_from_slice(piece(range)?);
    }
    Ok(Cow::Owned(bytes))
}

fn native(bytes: &[u8], big_endian: bool, cells: &mut [u16]) -> Result<(), DicomError> {
    let (found, expected) = (bytes.len() as u64, cells.len() as u64 * 2);
    if found != expected {
        return Err(DicomError::Truncated { what: "PixelData", found, expected });
    }
    for (cell, pair) in cells.iter_mut().zip(bytes.chunks_exact(2)) {
        let pair = [pair[0], pair[1]];
        *cell = if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
    }
    Ok(())
}
