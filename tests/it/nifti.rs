//! NIfTI files made wrong on purpose: a phantom's file unpacked, changed, packed again.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Length of the header and of the four bytes after it.
const DATA: usize = 352;

/// Unpacks, changes and packs a `.nii.gz`.
pub fn changed(gz: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(gz).read_to_end(&mut bytes).unwrap();
    change(&mut bytes);
    packed(&bytes)
}

/// Packs bytes as gzip.
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Sets a 16-bit header field.
pub fn set_i16(bytes: &mut [u8], offset: usize, value: i16) {
    bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

/// Adds to a 32-bit float header field.
pub fn add_f32(bytes: &mut [u8], offset: usize, value: f32) {
    let field: [u8; 4] = bytes[offset..offset + 4].try_into().unwrap();
    bytes[offset..offset + 4].copy_from_slice(&(f32::from_le_bytes(field) + value).to_le_bytes());
}

/// Moves the image along the body: third row of the sform, third offset of the qform.
pub fn move_along_body(bytes: &mut [u8], millimetres: f32) {
    add_f32(bytes, 312 + 12, millimetres);
    add_f32(bytes, 276, millimetres);
}

/// Two volumes in one file.
pub fn four_dimensional(bytes: &mut Vec<u8>) {
    set_i16(bytes, 40, 4);
    set_i16(bytes, 48, 2);
    let data = bytes[DATA..].to_vec();
    bytes.extend(data);
}

/// Three bytes of colour per voxel.
pub fn colour(bytes: &mut Vec<u8>) {
    set_i16(bytes, 70, 128);
    set_i16(bytes, 72, 24);
    let voxels = (bytes.len() - DATA) / 2;
    bytes.truncate(DATA);
    bytes.resize(DATA + 3 * voxels, 7);
}

/// Floating-point voxels, one of them not a number.
pub fn not_a_number(bytes: &mut Vec<u8>) {
    set_i16(bytes, 70, 16);
    set_i16(bytes, 72, 32);
    let hu = voxels(bytes);
    bytes.truncate(DATA);
    bytes.extend(hu.iter().flat_map(|hu| f32::from(*hu).to_le_bytes()));
    let middle = DATA + 4 * (hu.len() / 2);
    bytes[middle..middle + 4].copy_from_slice(&f32::NAN.to_le_bytes());
}

/// Every voxel through a function.
pub fn each_voxel(bytes: &mut Vec<u8>, map: impl Fn(i16) -> i16) {
    let values = voxels(bytes);
    bytes.truncate(DATA);
    bytes.extend(values.iter().flat_map(|hu| map(*hu).to_le_bytes()));
}

fn voxels(bytes: &[u8]) -> Vec<i16> {
    bytes[DATA..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}
