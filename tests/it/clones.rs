//! A series made of one DICOM file: the same slice at many places, its pixels untouched.

use std::io::copy;

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// Tag of ImagePositionPatient in both byte orders.
const LITTLE_ENDIAN: [u8; 4] = [0x20, 0, 0x32, 0];
const BIG_ENDIAN: [u8; 4] = [0, 0x20, 0, 0x32];
/// Millimetres from slice to slice.
const SPACING_MM: f64 = 2.5;

/// `count` files, each the given one at another place.
pub fn series_of(file: &[u8], count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|place| moved(file, place)).collect()
}

/// The last number of ImagePositionPatient is overwritten, for which a deflated data set is inflated
/// and deflated again.
fn moved(file: &[u8], place: usize) -> Vec<u8> {
    // The group length of the file meta information counts from behind itself.
    let meta = 144 + u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    let (meta, data) = file.split_at(meta);
    let mut changed = meta.to_vec();
    let has = |uid: &[u8]| meta.windows(uid.len()).any(|part| part == uid);
    let tag = if has(b"1.2.840.10008.1.2.2") { BIG_ENDIAN } else { LITTLE_ENDIAN };
    if !has(b"1.2.840.10008.1.2.1.99") {
        changed.extend(data);
        overwrite_position(&mut changed[meta.len()..], tag, place);
        return changed;
    }
    let mut inflated = Vec::new();
    copy(&mut DeflateDecoder::new(data), &mut inflated).unwrap();
    overwrite_position(&mut inflated, tag, place);
    let mut encoder = DeflateEncoder::new(changed, Compression::fast());
    copy(&mut &inflated[..], &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn overwrite_position(data: &mut [u8], tag: [u8; 4], place: usize) {
    let at = data.windows(4).position(|four| four == tag).unwrap();
    // With a stated representation the length is a short word behind it, else a long one.
    let short = [data[at + 6], data[at + 7]];
    let length = match &data[at + 4..at + 6] {
        b"DS" if tag == BIG_ENDIAN => u16::from_be_bytes(short),
        b"DS" => u16::from_le_bytes(short),
        length => u16::from_le_bytes([length[0], length[1]]),
    };
    let value = &mut data[at + 8..at + 8 + usize::from(length)];
    let last = value.iter().rposition(|byte| *byte == b'\\').unwrap() + 1;
    let z = format!("{:<1$.2}", SPACING_MM * place as f64, value.len() - last);
    value[last..].copy_from_slice(z.as_bytes());
}
