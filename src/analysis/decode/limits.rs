//! Every bound the decoder holds, named. Those a site may lower are in [`Limits`]; the others are
//! the format's or the design's (DESIGN section 6).

use crate::units::Bytes;

/// Bounds on one image file that a configuration may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest file, as stored.
    pub file: Bytes,
    /// Most voxels in one image.
    pub voxels: u64,
}

impl Limits {
    /// 1 GiB stored, and 640 slices of 512 × 512.
    pub const STANDARD: Self = Self { file: Bytes::mib(1024), voxels: 512 * 512 * 640 };
}

/// Voxels along an axis, at least.
pub const LEAST_VOXELS_ALONG_AXIS: usize = 16;
/// Voxels along an axis, at most.
pub const MOST_VOXELS_ALONG_AXIS: usize = 1024;
/// Lowest `vox_offset`: the header and the four extension bytes.
pub const LEAST_VOX_OFFSET: u64 = 352;
/// Highest `vox_offset`: extensions are skipped unread, and not for long.
pub const MOST_VOX_OFFSET: u64 = 65_536;
/// No deflate stream grows by more than this factor (RFC 1951: 258 bytes from two bits).
pub const MOST_DEFLATE_RATIO: u64 = 1032;
/// Lowest HU kept; lower ones (padding outside the field of view) are clipped to it.
pub const LOWEST_HU: i16 = -1024;
/// Highest HU kept; higher ones (metal) are clipped to it.
pub const HIGHEST_HU: i16 = 3071;
/// A CT of a body has air or fat below this HU.
pub const AIR_HU: i16 = -200;
/// A CT of a body has enhanced soft tissue or bone above this HU.
pub const SOFT_TISSUE_HU: i16 = 100;
/// Of a CT's voxels at most this part lies above [`HIGHEST_HU`], percent: metal is small. An MR with
/// some negative values is told by this.
pub const MOST_CLIPPED_HIGH_PERCENT: u64 = 5;
