//! A mask or heat map → NIfTI-1 on the scan's own grid, axes and affine bit for bit the input's.
//!
//! Only what says where the voxels are is carried over. Free text of the input's header, where a
//! name or a number could hide, is not.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::{ArrayView3, Axis};
use thiserror::Error;

use super::geometry::Geometry;

/// Why a picture cannot be written on a grid.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The array is not on this grid.
    #[error("array of {found:?} voxels, expected the grid's {expected:?} ([z, y, x])")]
    Shape {
        /// Voxels of the array.
        found: [usize; 3],
        /// Voxels of the grid.
        expected: [usize; 3],
    },
    /// The grid has no NIfTI-1 header of 348 bytes.
    #[error("stored header of {found} bytes, expected 348")]
    Header {
        /// Bytes there are.
        found: usize,
    },
    /// Writing failed.
    #[error("packing the image failed")]
    Write(#[from] io::Error),
}

/// What the input's header keeps: ranges of bytes of `nifti1.h`.
const KEPT: [(usize, usize); 8] = [
    (0, 4),     // sizeof_hdr, and with it the byte order
    (38, 40),   // regular, dim_info
    (40, 56),   // dim
    (76, 108),  // pixdim
    (123, 124), // xyzt_units
    (252, 256), // qform_code, sform_code
    (256, 328), // quaternion, offsets, srow_x..z
    (344, 348), // magic
];

/// Packs `values` (`[z, y, x]`, on `geometry`) as `.nii.gz` of unsigned bytes. The same input gives
/// the same bytes: no time and no name is stored.
pub fn to_nifti_gz(
    values: ArrayView3<'_, u8>,
    geometry: &Geometry,
) -> Result<Vec<u8>, RestoreError> {
    write_nifti(values, geometry, GzEncoder::new(Vec::new(), Compression::fast()))?
        .finish()
        .map_err(RestoreError::Write)
}

/// Writes the unpacked file into `out`.
pub fn write_nifti<W: Write>(
    values: ArrayView3<'_, u8>,
    geometry: &Geometry,
    mut out: W,
) -> Result<W, RestoreError> {
    let (found, expected) = (values.dim().into(), geometry.shape);
    if found != expected {
        return Err(RestoreError::Shape { found, expected });
    }
    out.write_all(&mask_header(&geometry.stored.header)?)?;
    // Four bytes that say: no extension.
    out.write_all(&[0; 4])?;
    let file_order = geometry.stored.file_order(values);
    let mut row = Vec::with_capacity(geometry.stored.shape[0]);
    for slice in file_order.axis_iter(Axis(2)) {
        for line in slice.axis_iter(Axis(1)) {
            row.clear();
            row.extend(line.iter().copied());
            out.write_all(&row)?;
        }
    }
    Ok(out)
}

/// The input's header with the data type, the scaling and every free text replaced.
fn mask_header(input: &[u8]) -> Result<[u8; 348], RestoreError> {
    if input.len() != 348 {
        return Err(RestoreError::Header { found: input.len() });
    }
    let mut header = [0; 348];
    for (start, end) in KEPT {
        header[start..end].copy_from_slice(&input[start..end]);
    }
    let big_endian = input[0] == 0;
    let mut put = |at: usize, mut bytes: Vec<u8>| {
        if big_endian {
            bytes.reverse();
        }
        header[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    put(70, 2i16.to_le_bytes().to_vec()); // datatype: unsigned byte
    put(72, 8i16.to_le_bytes().to_vec()); // bitpix
    put(108, 352f32.to_le_bytes().to_vec()); // vox_offset
    put(112, 1f32.to_le_bytes().to_vec()); // scl_slope
    header[148..148 + WRITER.len()].copy_from_slice(WRITER); // descrip
    Ok(header)
}

/// Who wrote the file.
const WRITER: &[u8] = b"hcc-edge";
