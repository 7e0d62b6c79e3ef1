//! What a path of the processor must be able to do. The loops around it are the same for all paths.

use super::super::layout::BLOCK;
use super::super::memory::Plain;

/// Voxels of a row that one tile computes.
pub(crate) const TILE: usize = 6;

/// Sums of up to [`TILE`] voxels, [`BLOCK`] channels each.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Sums(pub(crate) [[i32; BLOCK]; TILE]);

impl Sums {
    pub(crate) const ZERO: Self = Self([[0; BLOCK]; TILE]);
}

/// A stretch of a sum: `groups` times [`Path::GROUP`] inputs that lie one behind the other, with their
/// weights.
pub(crate) struct Segment<P: Path> {
    /// Inputs of the first voxel.
    pub(crate) inputs: *const P::Input,
    /// Inputs from one voxel to the next.
    pub(crate) stride: usize,
    /// `[group][channel of the block][GROUP]`.
    pub(crate) weights: *const P::Weight,
    /// Groups.
    pub(crate) groups: usize,
}

/// Sixteen channels of [`Finishing`](super::finish::Finishing).
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) correction: *const i32,
    pub(crate) scale: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) slope: *const f32,
}

/// One way to compute.
///
/// # Safety
/// Every function may only be called on a machine that has the path's instructions, with pointers to as
/// many numbers as it says.
pub(crate) trait Path: Send + Sync + Sized + 'static {
    /// What activations are multiplied as.
    type Input: Plain;
    /// What weights are multiplied as.
    type Weight: Plain;
    /// Products that are added before a sum.
    const GROUP: usize;
    /// What [`Self::widen`] takes away from every activation.
    const SHIFT: i32;

    /// A weight as it is multiplied.
    fn weight(weight: i8) -> Self::Weight;

    /// `count` activations, and up to 15 more that are there to be read, and to be written.
    unsafe fn widen(from: *const u8, to: *mut Self::Input, count: usize);

    /// Sums of `voxels` voxels (1..=[`TILE`]); of up to [`TILE`] voxels inputs may be read.
    unsafe fn tile(segments: &[Segment<Self>], voxels: usize, sums: &mut Sums);

    /// The first `voxels` sums to u8: 16 bytes each, `stride` bytes apart.
    unsafe fn to_u8(sums: &Sums, voxels: usize, at: Channels, zero: u8, to: (*mut u8, usize));

    /// The first `voxels` sums to staged values: 16 each, `stride` values apart.
    unsafe fn to_i16(sums: &Sums, voxels: usize, at: Channels, to: (*mut i16, usize));

    /// All sums to f32.
    unsafe fn to_f32(sums: &Sums, at: Channels, to: &mut [[f32; BLOCK]; TILE]);

    /// Sixteen channels of a sum of scaled values, requantised.
    unsafe fn combine(terms: &[Operand], slope: *const f32, zero: u8, to: *mut u8);
}

/// Sixteen channels of a value that is added.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    /// Where they are.
    pub(crate) values: Stored,
    /// Multiplies.
    pub(crate) scale: *const f32,
    /// Is added.
    pub(crate) bias: *const f32,
}

/// Sixteen stored channels.
#[derive(Clone, Copy)]
pub(crate) enum Stored {
    /// u8 with their zero point.
    U8(*const u8, u8),
    /// Staged.
    I16(*const i16),
}
