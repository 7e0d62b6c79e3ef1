//! JPEG 2000 (ITU-T T.800), reversible, by way of `hayro-jpeg2000`, which has no unsafe code. What
//! the stream says of itself is checked first: the crate makes room for whatever it claims.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::Size;
use super::markers::{Segments, code};

/// Fills all cells. Signed samples become two's complement, as uncompressed cells have it.
pub(super) fn decode(bytes: &[u8], size: Size, cells: &mut [u16]) -> Result<(), &'static str> {
    let stream = codestream(bytes)?;
    let component = check_size(stream, size)?;
    check_reversible(stream)?;
    // The crate is young: a panic in it costs the series, not the worker.
    catch_unwind(AssertUnwindSafe(|| decode_checked(stream, component, cells)))
        .unwrap_or(Err("a stream that the decoder fails on"))
}

/// What the SIZ segment says of the only component.
#[derive(Clone, Copy)]
struct Component {
    precision: u32,
    signed: bool,
}

/// Some writers wrap the codestream in a JP2 file: it begins at SOC and SIZ.
fn codestream(bytes: &[u8]) -> Result<&[u8], &'static str> {
    const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    /// The boxes before it are short.
    const MOST_BOX_BYTES: usize = 1024;
    let near = &bytes[..bytes.len().min(MOST_BOX_BYTES)];
    let start = near.windows(4).position(|four| four == START);
    start.map(|at| &bytes[at..]).ok_or("no codestream")
}

/// T.800 A.5.1: image and tile sizes and the component's samples.
fn check_size(stream: &[u8], size: Size) -> Result<Component, &'static str> {
    let siz: &[u8; 43] = stream.first_chunk().ok_or("a header that is cut off")?;
    let word = |at: usize| u32::from_be_bytes([siz[at], siz[at + 1], siz[at + 2], siz[at + 3]]);
    let [columns, rows, left, top, tile_columns, tile_rows, tile_left, tile_top] =
        std::array::from_fn(|n| word(8 + 4 * n));
    if (columns as usize, rows as usize, left, top) != (size.columns, size.rows, 0, 0) {
        return Err("another size than Rows and Columns say");
    }
    if u16::from_be_bytes([siz[40], siz[41]]) != 1 {
        return Err("an image that is not of one component");
    }
    let tiles = |image: u32, tile: u32| image.checked_div(tile).unwrap_or(u32::MAX);
    let count = u64::from(tiles(columns, tile_columns)) * u64::from(tiles(rows, tile_rows));
    if count > MOST_TILES || tile_left != 0 || tile_top != 0 {
        return Err("tiles that no CT is cut into");
    }
    let precision = u32::from(siz[42] & 0x7F) + 1;
    if precision > 16 {
        return Err("samples of more than 16 bits");
    }
    Ok(Component { precision, signed: siz[42] & 0x80 != 0 })
}

/// T.800 A.6.1: the last byte before the precincts names the wavelet; 1 is the reversible one.
fn check_reversible(stream: &[u8]) -> Result<(), &'static str> {
    let mut segments = Segments::of_codestream(stream)?;
    let mut reversible = false;
    loop {
        match segments.next()? {
            (code::SOT, _) if reversible => return Ok(()),
            (code::SOT, _) => return Err("a lossy wavelet, or none named"),
            (code::COD, parameters) => reversible = parameters.get(9) == Some(&1),
            (code::COC, _) => return Err("a component coded in a way of its own"),
            _ => {}
        }
    }
}

/// Tiles of 32 × 32 in the largest slice.
const MOST_TILES: u64 = 1024;

fn decode_checked(
    stream: &[u8],
    component: Component,
    cells: &mut [u16],
) -> Result<(), &'static str> {
    let settings =
        DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let image = Image::new(stream, &settings).map_err(|_| "a damaged header")?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|_| "a damaged codestream")?;
    let samples = decoded.components().first().ok_or("no component")?.samples();
    if samples.len() != cells.len() {
        return Err("another number of samples than pixels");
    }
    // The crate adds half the range to signed samples too.
    let offset = if component.signed { 1 << (component.precision - 1) } else { 0 };
    for (cell, &sample) in cells.iter_mut().zip(samples) {
        *cell = (sample.round() as i32 - offset) as u16;
    }
    Ok(())
}
