//! What a path of the processor must be able to do. The loops around it are the same for all paths.

#[cfg(target_arch = "x86_64")]
use super::super::layout::BLOCK;
use super::super::memory::Plain;
use super::super::program::Quant;

/// Voxels beyond a row whose inputs may be read where they were widened.
pub(crate) const BEYOND: usize = 12;
/// Blocks of a row that a path may compute together.
pub(crate) const TOGETHER: usize = 2;

/// Widens `count` activations, and up to 15 more that are there to be read, and to be written.
pub(crate) type Widen<I> = unsafe fn(from: *const u8, to: *mut I, count: usize);

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

/// Where the values of a row go.
#[derive(Clone, Copy)]
pub(crate) enum To {
    /// u8, sixteen channels of a voxel side by side, `stride` bytes from voxel to voxel.
    U8 { first: *mut u8, stride: usize, zero: u8 },
    /// Staged, sixteen channels of a voxel side by side, `stride` values from voxel to voxel.
    I16 { first: *mut i16, stride: usize },
    /// f32, `step` numbers from voxel to voxel, `plane` from channel to channel, `count` channels.
    F32 { first: *mut f32, step: usize, plane: usize, count: usize },
}

impl To {
    /// True where the sixteen channels of a voxel lie side by side, as they are computed.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_side_by_side(&self) -> bool {
        match *self {
            Self::U8 { .. } | Self::I16 { .. } => true,
            Self::F32 { plane, count, .. } => plane == 1 && count == BLOCK,
        }
    }
}

/// Sixteen channels of a row: what finishes them, and where they go.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) channels: Channels,
    pub(crate) to: To,
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
    /// What widening takes away from every activation.
    const SHIFT: i32;
    /// Makes activations what they are multiplied as; without it, bytes are multiplied where they lie.
    const WIDEN: Option<Widen<Self::Input>>;

    /// A weight as it is multiplied.
    fn weight(weight: i8) -> Self::Weight;

    /// The sums of `width` voxels and sixteen channels, finished. Inputs of up to [`BEYOND`] voxels
    /// more may be read where they were widened, and else no more than 15 bytes behind the last.
    unsafe fn row(segments: &[Segment<Self>], width: usize, at: Channels, to: To);

    /// [`Self::row`] for up to [`TOGETHER`] blocks, each of whose weights lie `apart` behind those of the
    /// one before.
    unsafe fn rows(segments: &mut [Segment<Self>], apart: usize, width: usize, blocks: &[Block]) {
        // SAFETY: by the caller's word.
        unsafe { one_by_one(segments, apart, width, blocks) }
    }

    /// `count` numbers to u8.
    unsafe fn quantise(from: *const f32, count: usize, quant: Quant, to: *mut u8);

    /// Sixteen channels of a sum of one or two scaled values, requantised: `count` voxels, stored so many
    /// bytes apart.
    unsafe fn combine(terms: &[Operand], slope: *const f32, zero: u8, row: (*mut u8, usize, usize));
}

/// A row of [`Path::combine`] voxel by voxel: `one` is given a voxel's terms and its place.
///
/// # Safety
/// As for [`Path::combine`].
pub(crate) unsafe fn voxel_by_voxel(
    terms: &[Operand],
    (to, stride, count): (*mut u8, usize, usize),
    one: impl Fn(&[Operand], *mut u8),
) {
    for voxel in 0..count {
        // A sum has no more than two terms.
        let terms: heapless::Vec<Operand, 2> =
            terms.iter().take(2).map(|term| term.after(voxel)).collect();
        // SAFETY: by the caller's word.
        one(&terms, unsafe { to.add(voxel * stride) });
    }
}

/// See [`Path::rows`].
pub(crate) unsafe fn one_by_one<P: Path>(
    segments: &mut [Segment<P>],
    apart: usize,
    width: usize,
    blocks: &[Block],
) {
    for block in blocks {
        // SAFETY: by the caller's word.
        unsafe { P::row(segments, width, block.channels, block.to) };
        for segment in &mut *segments {
            segment.weights = segment.weights.wrapping_add(apart);
        }
    }
}

/// Sixteen channels of a value that is added.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    /// Where they are.
    pub(crate) values: Stored,
    /// Elements from voxel to voxel.
    pub(crate) stride: usize,
    /// Multiplies.
    pub(crate) scale: *const f32,
    /// Is added.
    pub(crate) bias: *const f32,
}

impl Operand {
    /// That of the voxel so many further on.
    #[inline]
    pub(crate) fn after(&self, voxels: usize) -> Self {
        let elements = voxels * self.stride;
        let values = match self.values {
            Stored::U8(from, zero) => Stored::U8(from.wrapping_add(elements), zero),
            Stored::I16(from) => Stored::I16(from.wrapping_add(elements)),
        };
        Self { values, ..*self }
    }
}

/// Sixteen stored channels.
#[derive(Clone, Copy)]
pub(crate) enum Stored {
    /// u8 with their zero point.
    U8(*const u8, u8),
    /// Staged.
    I16(*const i16),
}
