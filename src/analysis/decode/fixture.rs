//! NIfTI-1 files for tests, field by field.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::analysis::volume::geometry::Affine;

/// What goes into a file. `shape` and `affine` are in file order `(i, j, k)`.
#[derive(Debug, Clone)]
pub(crate) struct FileSpec {
    pub(crate) shape: [usize; 3],
    pub(crate) affine: Affine,
    pub(crate) big_endian: bool,
    pub(crate) slope: f32,
    pub(crate) inter: f32,
}

impl FileSpec {
    /// A RAS grid with the origin at `(-30, -20, -10)` mm.
    pub(crate) fn ras(shape: [usize; 3], spacing: [f64; 3]) -> Self {
        let [a, b, c] = spacing;
        let affine = [[a, 0.0, 0.0, -30.0], [0.0, b, 0.0, -20.0], [0.0, 0.0, c, -10.0]];
        Self { shape, affine, big_endian: false, slope: 1.0, inter: 0.0 }
    }

    /// The 348 header bytes with the affine as sform, int16 voxels.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut header = Header { bytes: vec![0; 348], big_endian: self.big_endian };
        header.i32(0, 348);
        header.i16(40, 3);
        for axis in 0..3 {
            header.i16(42 + 2 * axis, self.shape[axis] as i16);
            let length = self.affine.iter().map(|row| row[axis] * row[axis]).sum::<f64>().sqrt();
            header.f32(80 + 4 * axis, length as f32);
        }
        for at in [48, 50, 52, 54] {
            header.i16(at, 1);
        }
        header.i16(70, 4);
        header.i16(72, 16);
        header.f32(76, 1.0);
        header.f32(108, 352.0);
        header.f32(112, self.slope);
        header.f32(116, self.inter);
        header.bytes[123] = 2;
        header.bytes[148..160].copy_from_slice(b"free of text");
        header.i16(254, 1);
        for (row, values) in self.affine.iter().enumerate() {
            for (column, &value) in values.iter().enumerate() {
                header.f32(280 + 16 * row + 4 * column, value as f32);
            }
        }
        header.bytes[344..348].copy_from_slice(b"n+1\0");
        header.bytes
    }

    /// The whole file; `voxel(i, j, k)` is the stored value.
    pub(crate) fn file(&self, voxel: impl Fn([usize; 3]) -> i16) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend([0; 4]);
        for k in 0..self.shape[2] {
            for j in 0..self.shape[1] {
                for i in 0..self.shape[0] {
                    let value = voxel([i, j, k]);
                    bytes.extend(if self.big_endian {
                        value.to_be_bytes()
                    } else {
                        value.to_le_bytes()
                    });
                }
            }
        }
        bytes
    }

    /// RAS+ millimetres of a file voxel.
    pub(crate) fn world(&self, ijk: [usize; 3]) -> [f64; 3] {
        let [i, j, k] = ijk.map(|n| n as f64);
        // As the file stores it: f32.
        self.affine.map(|row| {
            let [a, b, c, d] = row.map(|v| f64::from(v as f32));
            a * i + b * j + c * k + d
        })
    }
}

/// A header being written.
pub(crate) struct Header {
    pub(crate) bytes: Vec<u8>,
    pub(crate) big_endian: bool,
}

impl Header {
    pub(crate) fn i32(&mut self, at: usize, value: i32) {
        self.put(at, value.to_le_bytes().to_vec());
    }

    pub(crate) fn i16(&mut self, at: usize, value: i16) {
        self.put(at, value.to_le_bytes().to_vec());
    }

    pub(crate) fn f32(&mut self, at: usize, value: f32) {
        self.put(at, value.to_le_bytes().to_vec());
    }

    fn put(&mut self, at: usize, mut bytes: Vec<u8>) {
        if self.big_endian {
            bytes.reverse();
        }
        self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}

/// A file with some header fields changed.
pub(crate) fn with_header(mut file: Vec<u8>, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header { bytes: file[..348].to_vec(), big_endian: file[0] == 0 };
    change(&mut header);
    file[..348].copy_from_slice(&header.bytes);
    file
}

/// Packs bytes as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All 48 grids that a right-handed or mirrored scanner may store a RAS volume of `shape_xyz` and
/// `spacing_xyz` in: permutations of the axes times flips. Each comes with the function from file
/// voxel to RAS voxel `[x, y, z]` that it was made with, independent of the code under test.
#[allow(clippy::type_complexity)] // A test helper's closure.
pub(crate) fn all_orientations(
    shape_xyz: [usize; 3],
    spacing_xyz: [f64; 3],
) -> Vec<(FileSpec, Box<dyn Fn([usize; 3]) -> [usize; 3]>)> {
    let permutations = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let origin = [-30.0, -20.0, -10.0];
    let mut all: Vec<(FileSpec, Box<dyn Fn([usize; 3]) -> [usize; 3]>)> = Vec::new();
    for permutation in permutations {
        for flips in 0..8u8 {
            let flipped = move |axis: usize| flips >> axis & 1 == 1;
            let mut affine: Affine = [[0.0; 4]; 3];
            // File axis n runs along patient axis permutation[n].
            for (n, &axis) in permutation.iter().enumerate() {
                let length = (shape_xyz[axis] - 1) as f64 * spacing_xyz[axis];
                let sign = if flipped(axis) { -1.0 } else { 1.0 };
                affine[axis][n] = sign * spacing_xyz[axis];
                affine[axis][3] = origin[axis] + if flipped(axis) { length } else { 0.0 };
            }
            let mut spec = FileSpec::ras(permutation.map(|axis| shape_xyz[axis]), [1.0; 3]);
            spec.affine = affine;
            let to_ras = move |ijk: [usize; 3]| {
                let mut xyz = [0; 3];
                for (n, &axis) in permutation.iter().enumerate() {
                    xyz[axis] = if flipped(axis) { shape_xyz[axis] - 1 - ijk[n] } else { ijk[n] };
                }
                xyz
            };
            all.push((spec, Box::new(to_ras)));
        }
    }
    all
}
