//! NIfTI-1 bytes of a phantom, in any axis order. A writer of its own: tests that read these files
//! with the product's decoder must not share code with it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::Array3;

use super::orientation::Placement;
use super::spec::PhantomError;

/// A value NIfTI can store.
pub(super) trait Stored: Copy {
    /// NIfTI data type code.
    const DATATYPE: i16;
    /// Bits per voxel.
    const BITPIX: i16;
    /// Appends the little-endian bytes.
    fn append(self, bytes: &mut Vec<u8>);
}

impl Stored for i16 {
    const DATATYPE: i16 = 4;
    const BITPIX: i16 = 16;
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Stored for u8 {
    const DATATYPE: i16 = 2;
    const BITPIX: i16 = 8;
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }
}

/// Header size, and where the voxels start: after four bytes that say "no extension".
const HEADER_BYTES: usize = 348;
const VOX_OFFSET: usize = 352;

/// A `[z, y, x]` RAS volume as a gzipped NIfTI-1 file with sform and qform.
pub(super) fn encode<T: Stored>(
    volume: &Array3<T>,
    placement: &Placement,
    axes: [(usize, bool); 3],
) -> Result<Vec<u8>, PhantomError> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    let header = header::<T>(placement);
    out.write_all(&header).map_err(encode_error)?;
    let mut row = Vec::new();
    for k in 0..placement.shape[2] {
        for j in 0..placement.shape[1] {
            row.clear();
            for i in 0..placement.shape[0] {
                volume[array_index(volume, axes, [i, j, k])].append(&mut row);
            }
            out.write_all(&row).map_err(encode_error)?;
        }
    }
    out.finish().map_err(encode_error)
}

fn encode_error(error: std::io::Error) -> PhantomError {
    PhantomError::Encode(error.to_string())
}

/// File voxel `(i, j, k)` → array index `[z, y, x]`.
pub(super) fn array_index<T>(
    volume: &Array3<T>,
    axes: [(usize, bool); 3],
    file: [usize; 3],
) -> [usize; 3] {
    let mut zyx = [0; 3];
    for (position, (axis, against)) in file.into_iter().zip(axes) {
        let array_axis = 2 - axis;
        let last = volume.shape()[array_axis] - 1;
        zyx[array_axis] = if against { last - position } else { position };
    }
    zyx
}

/// The header and the empty extension marker, 352 bytes, little-endian.
fn header<T: Stored>(placement: &Placement) -> [u8; VOX_OFFSET] {
    let mut header = [0u8; VOX_OFFSET];
    let mut put = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    let [ni, nj, nk] = placement.shape.map(|n| n as i16);
    for (index, dim) in [3, ni, nj, nk, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * index, &dim.to_le_bytes());
    }
    put(70, &T::DATATYPE.to_le_bytes());
    put(72, &T::BITPIX.to_le_bytes());
    let (quaternion, qfac) = quaternion(placement.directions);
    let [si, sj, sk] = placement.spacing.map(|v| v as f32);
    for (index, value) in [qfac as f32, si, sj, sk, 1.0, 1.0, 1.0, 1.0].into_iter().enumerate() {
        put(76 + 4 * index, &value.to_le_bytes());
    }
    put(108, &(VOX_OFFSET as f32).to_le_bytes());
    put(112, &1f32.to_le_bytes());
    // Millimetres and seconds.
    put(123, &[2 | 8]);
    put(148, b"hcc-edge phantom");
    // qform and sform both give scanner coordinates.
    put(252, &1i16.to_le_bytes());
    put(254, &1i16.to_le_bytes());
    let offsets = placement.origin.map(|v| v as f32);
    for (index, value) in quaternion.map(|v| v as f32).into_iter().chain(offsets).enumerate() {
        put(256 + 4 * index, &value.to_le_bytes());
    }
    for row in 0..3 {
        let columns = [0, 1, 2].map(|c| placement.directions[c][row] * placement.spacing[c]);
        let values = columns.into_iter().chain([placement.origin[row]]);
        for (column, value) in values.enumerate() {
            put(280 + 16 * row + 4 * column, &(value as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    header
}

/// Unit columns → quaternion `[b, c, d]` with a ≥ 0, and the sign of the third axis that makes them
/// a rotation (the NIfTI-1 standard's method 2).
fn quaternion(columns: [[f64; 3]; 3]) -> ([f64; 3], f64) {
    let [i, j, k] = columns;
    let cross = [i[1] * j[2] - i[2] * j[1], i[2] * j[0] - i[0] * j[2], i[0] * j[1] - i[1] * j[0]];
    let qfac = if cross.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
    let k = k.map(|v| v * qfac);
    // Entry (row, column) of the rotation.
    let r = |row: usize, column: usize| [i, j, k][column][row];
    let trace = r(0, 0) + r(1, 1) + r(2, 2) + 1.0;
    if trace > 0.5 {
        let a = 0.5 * trace.sqrt();
        let of = |p: f64, q: f64| 0.25 * (p - q) / a;
        return ([of(r(2, 1), r(1, 2)), of(r(0, 2), r(2, 0)), of(r(1, 0), r(0, 1))], qfac);
    }
    // The largest of b, c, d first: the others follow from sums and differences.
    let squares = [0, 1, 2].map(|axis: usize| {
        let others = [(axis + 1) % 3, (axis + 2) % 3];
        1.0 + r(axis, axis) - r(others[0], others[0]) - r(others[1], others[1])
    });
    let largest =
        (0..3).fold(0, |best, axis| if squares[axis] > squares[best] { axis } else { best });
    let main = 0.5 * squares[largest].sqrt();
    let mut q = [0.0; 3];
    q[largest] = main;
    for axis in (0..3).filter(|axis| *axis != largest) {
        q[axis] = 0.25 * (r(axis, largest) + r(largest, axis)) / main;
    }
    let (next, last) = ((largest + 1) % 3, (largest + 2) % 3);
    let a = 0.25 * (r(last, next) - r(next, last)) / main;
    if a < 0.0 { (q.map(|v| -v), qfac) } else { (q, qfac) }
}
