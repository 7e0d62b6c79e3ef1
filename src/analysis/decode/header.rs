//! Our own check of the 348 header bytes, before anything is allocated and before the `nifti`
//! crate sees anything: it panics on several hostile headers (measured on version 0.18.0).

use super::limits::{
    LEAST_VOX_OFFSET, LEAST_VOXELS_ALONG_AXIS, Limits, MOST_VOX_OFFSET, MOST_VOXELS_ALONG_AXIS,
};
use super::{DecodeError, ImageName};
use crate::analysis::volume::geometry::{self, Affine, Geometry, GeometryError};

/// Length of a NIfTI-1 header.
pub const HEADER_BYTES: usize = 348;

/// Voxel types a CT may be stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datatype {
    /// Code 2.
    U8,
    /// Code 4.
    I16,
    /// Code 8.
    I32,
    /// Code 16.
    F32,
    /// Code 512.
    U16,
}

impl Datatype {
    /// NIfTI-1 code.
    pub fn code(self) -> i16 {
        match self {
            Self::U8 => 2,
            Self::I16 => 4,
            Self::I32 => 8,
            Self::F32 => 16,
            Self::U16 => 512,
        }
    }

    /// Bits of one voxel.
    pub fn bits(self) -> i16 {
        match self {
            Self::U8 => 8,
            Self::I16 | Self::U16 => 16,
            Self::I32 | Self::F32 => 32,
        }
    }
}

/// Stored value → HU: `stored * slope + inter`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescale {
    /// HU per stored unit, finite and not zero.
    pub slope: f64,
    /// HU of stored zero, finite.
    pub inter: f64,
    /// True when the header's slope is 0, which NIfTI-1 defines as "no scaling" (slope 1, inter 0).
    pub slope_was_zero: bool,
}

/// A header that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedHeader {
    /// The grid, with the header's bytes; 16..=1024 voxels along each axis.
    pub geometry: Geometry,
    /// Voxel type.
    pub datatype: Datatype,
    /// True when the file is big-endian.
    pub big_endian: bool,
    /// Where the voxels start, 352..=65,536 bytes.
    pub vox_offset: u64,
    /// Stored value → HU.
    pub rescale: Rescale,
}

impl CheckedHeader {
    /// Length of the unpacked file in bytes.
    pub fn file_bytes(&self) -> u64 {
        let voxels: u64 = self.geometry.shape.iter().map(|&n| n as u64).product();
        self.vox_offset + voxels * (self.datatype.bits() / 8) as u64
    }
}

/// Checks every field the pipeline relies on. The order is the order of the messages a technician
/// can act on: kind of file, kind of voxels, dimensions, layout, scaling, orientation.
pub fn check(
    image: ImageName,
    bytes: &[u8; HEADER_BYTES],
    limits: &Limits,
) -> Result<CheckedHeader, DecodeError> {
    let fields = Fields { image, bytes, big_endian: byte_order(image, bytes)? };
    let datatype = fields.datatype()?;
    let shape = fields.shape(limits)?;
    let vox_offset = fields.vox_offset()?;
    let rescale = fields.rescale()?;
    let geometry = fields.geometry(shape)?;
    let big_endian = fields.big_endian;
    Ok(CheckedHeader { geometry, datatype, big_endian, vox_offset, rescale })
}

/// Finds the byte order from `sizeof_hdr` and refuses the formats next door by name.
fn byte_order(image: ImageName, bytes: &[u8; HEADER_BYTES]) -> Result<bool, DecodeError> {
    let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let not_nifti = |found| Err(DecodeError::NotNifti { image, found });
    let big_endian = match (i32::from_le_bytes(word), i32::from_be_bytes(word)) {
        (348, _) => false,
        (_, 348) => true,
        (540, _) | (_, 540) => return not_nifti("NIfTI-2"),
        _ if &bytes[128..132] == b"DICM" => return not_nifti("a DICOM file"),
        _ => return not_nifti("something else"),
    };
    match &bytes[344..348] {
        b"n+1\0" => Ok(big_endian),
        b"ni1\0" => not_nifti("the header of a NIfTI hdr/img pair"),
        _ => not_nifti("an ANALYZE 7.5 header or a damaged NIfTI header"),
    }
}

/// The header's fields by their offsets in `nifti1.h`.
struct Fields<'a> {
    image: ImageName,
    bytes: &'a [u8; HEADER_BYTES],
    big_endian: bool,
}

impl Fields<'_> {
    fn i16(&self, at: usize) -> i16 {
        let word = [self.bytes[at], self.bytes[at + 1]];
        if self.big_endian { i16::from_be_bytes(word) } else { i16::from_le_bytes(word) }
    }

    fn f32(&self, at: usize) -> f64 {
        let b = &self.bytes[at..at + 4];
        let word = [b[0], b[1], b[2], b[3]];
        f64::from(if self.big_endian { f32::from_be_bytes(word) } else { f32::from_le_bytes(word) })
    }

    fn bad<T>(
        &self,
        attribute: &'static str,
        found: impl ToString,
        expected: &'static str,
    ) -> Result<T, DecodeError> {
        let found = found.to_string();
        Err(DecodeError::BadHeader { image: self.image, attribute, found, expected })
    }

    fn bad_spacing<T>(&self, found: String, expected: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::BadSpacing { image: self.image, found, expected })
    }

    fn datatype(&self) -> Result<Datatype, DecodeError> {
        let image = self.image;
        let datatype = match self.i16(70) {
            2 => Datatype::U8,
            4 => Datatype::I16,
            8 => Datatype::I32,
            16 => Datatype::F32,
            512 => Datatype::U16,
            found @ (128 | 2304) => return Err(DecodeError::Colour { image, found }),
            found => return Err(DecodeError::WrongDatatype { image, found }),
        };
        if self.i16(72) == datatype.bits() {
            Ok(datatype)
        } else {
            self.bad("bitpix", self.i16(72), "the size of the datatype in bits")
        }
    }

    fn shape(&self, limits: &Limits) -> Result<[usize; 3], DecodeError> {
        let image = self.image;
        let dim: Vec<i16> = (0..8).map(|n| self.i16(40 + 2 * n)).collect();
        if !(1..=7).contains(&dim[0]) {
            return self.bad("dim[0]", dim[0], "3, or 4 with a single volume");
        }
        if dim[0] < 3 || dim[0] > 4 || (dim[0] == 4 && dim[4] != 1) {
            let found = format!("{:?}", &dim[1..=dim[0] as usize]);
            return Err(DecodeError::NotThreeDimensional { image, found });
        }
        let mut shape = [0; 3];
        for (n, &found) in shape.iter_mut().zip(&dim[1..4]) {
            *n = match usize::try_from(found) {
                Ok(n) if n > 0 => n,
                _ => return self.bad("dim[1..=3]", found, "positive numbers"),
            };
        }
        let longest = shape.into_iter().max().unwrap_or(0);
        if longest > MOST_VOXELS_ALONG_AXIS {
            return Err(DecodeError::TooLarge {
                image,
                quantity: "voxels along one axis",
                found: longest as u64,
                limit: MOST_VOXELS_ALONG_AXIS as u64,
            });
        }
        let found = shape.into_iter().min().unwrap_or(0);
        if found < LEAST_VOXELS_ALONG_AXIS {
            return Err(DecodeError::TooFewSlices { image, found, least: LEAST_VOXELS_ALONG_AXIS });
        }
        let found = shape.iter().map(|&n| n as u64).product();
        if found > limits.voxels {
            let limit = limits.voxels;
            return Err(DecodeError::TooLarge { image, quantity: "voxels", found, limit });
        }
        Ok(shape)
    }

    fn vox_offset(&self) -> Result<u64, DecodeError> {
        let found = self.f32(108);
        let range = LEAST_VOX_OFFSET as f64..=MOST_VOX_OFFSET as f64;
        if range.contains(&found) && found.fract() == 0.0 {
            Ok(found as u64)
        } else {
            self.bad("vox_offset", found, "a whole number, 352..=65536")
        }
    }

    fn rescale(&self) -> Result<Rescale, DecodeError> {
        let (slope, inter) = (self.f32(112), self.f32(116));
        if !slope.is_finite() {
            return self.bad("scl_slope", slope, "a finite number");
        }
        if slope == 0.0 {
            return Ok(Rescale { slope: 1.0, inter: 0.0, slope_was_zero: true });
        }
        if !inter.is_finite() {
            return self.bad("scl_inter", inter, "a finite number");
        }
        Ok(Rescale { slope, inter, slope_was_zero: false })
    }

    /// sform before qform; neither is refused, because then left and right are a guess.
    fn affine(&self) -> Result<Affine, DecodeError> {
        let (qform, sform) = (self.i16(252), self.i16(254));
        for (attribute, code) in [("qform_code", qform), ("sform_code", sform)] {
            if !(0..=5).contains(&code) {
                return self.bad(attribute, code, "0..=5");
            }
        }
        let unit = self.bytes[123] & 0x07;
        if unit != 0 && unit != 2 {
            return self.bad_spacing(format!("unit code {unit} (xyzt_units)"), "millimetres (2)");
        }
        if sform > 0 {
            let row = |n: usize| [0, 4, 8, 12].map(|at| self.f32(280 + 16 * n + at));
            Ok([row(0), row(1), row(2)])
        } else if qform > 0 {
            self.qform()
        } else {
            Err(DecodeError::NoOrientation { image: self.image })
        }
    }

    /// Method 2 of `nifti1.h`: a unit quaternion, the spacings, and the sign in `pixdim[0]`.
    fn qform(&self) -> Result<Affine, DecodeError> {
        let [b, c, d] = [256, 260, 264].map(|at| self.f32(at));
        let vector = b * b + c * c + d * d;
        // f32 rounding of a half turn may put the vector part just over one.
        if !vector.is_finite() || vector > 1.0 + 1e-5 {
            return self.bad("quatern_b..d", format!("{b}, {c}, {d}"), "a unit quaternion");
        }
        let a = (1.0 - vector).max(0.0).sqrt();
        let mirror = if self.f32(76) < 0.0 { -1.0 } else { 1.0 };
        let scale = [self.f32(80), self.f32(84), self.f32(88) * mirror];
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        let row = |n: usize| {
            let [x, y, z]: [f64; 3] = std::array::from_fn(|axis| rotation[n][axis] * scale[axis]);
            [x, y, z, self.f32(268 + 4 * n)]
        };
        Ok([row(0), row(1), row(2)])
    }

    /// The affine must be a rotation, possibly mirrored, times the spacings `pixdim` states too.
    fn geometry(&self, shape: [usize; 3]) -> Result<Geometry, DecodeError> {
        let affine = self.affine()?;
        let pixdim = [80, 84, 88].map(|at| self.f32(at));
        let columns = geometry::column_lengths(&affine);
        for (stated, found) in pixdim.iter().zip(columns) {
            // Written so that NaN passes on to the check below.
            if (stated.abs() - found).abs() > SPACING_TOLERANCE * found {
                let found = format!("{pixdim:?} mm in pixdim, {columns:?} mm in the affine");
                return self.bad_spacing(found, "the same in both");
            }
        }
        match Geometry::from_affine(shape, &affine, self.bytes.to_vec()) {
            Ok(geometry) if pixdim.iter().all(|mm| mm.is_finite()) => Ok(geometry),
            Ok(_) => self.bad_spacing(format!("{pixdim:?} mm"), "finite numbers"),
            Err(GeometryError::Spacing(error)) => {
                self.bad_spacing(format!("{} mm", error.value), "0.2..=10 mm along each axis")
            }
            Err(error) => {
                self.bad("sform or qform", error, "a rotation times the spacing, within 100 m")
            }
        }
    }
}

/// `pixdim` and the affine may differ by this fraction: far above f32 rounding, far below any real
/// disagreement.
const SPACING_TOLERANCE: f64 = 0.01;
