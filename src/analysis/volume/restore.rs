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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::analysis::decode::fixture::FileSpec;

    fn grid(big_endian: bool) -> Geometry {
        let spec = FileSpec { big_endian, ..FileSpec::ras([18, 17, 16], [0.7, 0.8, 2.0]) };
        let mut header = spec.header();
        // Every byte of every free text field filled with somebody's name.
        for (start, end) in [(4, 38), (148, 252), (328, 344)] {
            header[start..end].fill(b'N');
        }
        Geometry::from_affine(spec.shape, &spec.affine, header).unwrap()
    }

    #[test]
    fn position_is_kept_and_text_is_not() {
        for big_endian in [false, true] {
            let geometry = grid(big_endian);
            let mask = Array3::from_elem(geometry.shape, 2u8);
            let file = write_nifti(mask.view(), &geometry, Vec::new()).unwrap();
            let input = &geometry.stored.header;
            for (start, end) in KEPT {
                assert_eq!(file[start..end], input[start..end], "bytes {start}..{end}");
            }
            assert!(!file[..352].contains(&b'N'));
            assert_eq!(&file[148..160], b"hcc-edge\0\0\0\0");
            assert_eq!((file.len(), file[352]), (352 + 18 * 17 * 16, 2));
        }
    }

    #[test]
    fn the_same_mask_gives_the_same_bytes() {
        let geometry = grid(false);
        let mask = Array3::from_shape_fn(geometry.shape, |(z, y, x)| ((z + y + x) % 3) as u8);
        let packed = to_nifti_gz(mask.view(), &geometry).unwrap();
        assert_eq!(packed, to_nifti_gz(mask.view(), &geometry).unwrap());
        // RFC 1952: flags and time are zero, so neither a name nor a moment is stored.
        assert_eq!(packed[3..8], [0; 5]);
    }

    #[test]
    fn other_shapes_and_headers_are_refused() {
        let mut geometry = grid(false);
        let other = Array3::zeros([16, 17, 17]);
        let error = to_nifti_gz(other.view(), &geometry).unwrap_err();
        assert!(matches!(error, RestoreError::Shape { .. }));
        geometry.stored.header.pop();
        let mask = Array3::zeros(geometry.shape);
        let error = to_nifti_gz(mask.view(), &geometry).unwrap_err();
        assert!(matches!(error, RestoreError::Header { found: 347 }));
    }
}
