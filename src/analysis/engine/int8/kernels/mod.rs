//! Layers made ready to run: packed weights, places in the arena, units of work.
//!
//! | file | makes |
//! |---|---|
//! | `path` | what the loops below are made of, one implementation per instruction set |
//! | `finish` | the constants that turn sums into values |
//! | `direct` | convolutions, any window |
//! | `winograd` | 3×3×3 convolutions with a sixth of the products, exact in integers |
//! | `transformed` | its packed weights |
//! | `upsample` | transposed convolutions |
//! | `combine` | sums of two values, InstanceNorm, changes of scale |
//! | `window` | pools and doubling |
//! | `tokens` | float layers between quantised ones |
//! | `input` | f32 to u8 |
//! | `halo` | zero points around a value |
//! | `portable` | the path of every machine |
//! | `avx2` | the path of x86-64 with AVX2 |
//! | `avx512` | the path of x86-64 with AVX-512 and VNNI |
//! | `neon` | the paths of AArch64, with and without dot products |
//!
//! A kernel is cut into units that write disjoint bytes, so threads share a layer by a counter and
//! the result does not depend on how many there are.

#![allow(unsafe_code, reason = "kernels write disjoint parts of one arena through pointers")]

pub(super) mod path;

pub(super) mod finish;

pub(super) mod direct;

#[cfg(target_arch = "x86_64")]
pub(super) mod winograd;

#[cfg(target_arch = "x86_64")]
mod transformed;

pub(super) mod upsample;

pub(super) mod combine;

pub(super) mod window;

pub(super) mod tokens;

pub(super) mod input;

pub(super) mod halo;

pub(super) mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;

#[cfg(target_arch = "aarch64")]
pub(super) mod neon;

use std::marker::PhantomData;

/// A layer, or a part of one, ready to run.
pub(super) trait Kernel: Send + Sync {
    /// Units of work, any of which may run at the same time.
    fn units(&self) -> usize;

    /// Bytes of scratch memory that one thread needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Bytes of packed weights, and of constants that it shares with its program.
    fn weights(&self) -> usize {
        0
    }

    /// Does one unit.
    ///
    /// # Safety
    /// `unit < units()`; `place` holds the arena of the plan this kernel was made for, the input and the
    /// outputs of the program; `scratch` holds [`Self::scratch`] bytes aligned to 64 that nobody else
    /// uses; no other thread runs this unit, or a kernel of another layer.
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8);
}

/// An input, row by row.
pub trait Rows: Sync {
    /// The voxels of a row along x, by channel, z and y.
    fn row(&self, at: [usize; 3]) -> &[f32];
}

/// The memory of one run.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    arena: *mut u8,
    input: &'a dyn Rows,
    outputs: *const *mut f32,
    run: PhantomData<&'a mut [f32]>,
}

// SAFETY: units write disjoint bytes, and a barrier stands between layers.
unsafe impl Send for Place<'_> {}
// SAFETY: as above.
unsafe impl Sync for Place<'_> {}

impl<'a> Place<'a> {
    /// `outputs` are the program's outputs in order, each of its full size.
    pub(super) fn new(arena: *mut u8, input: &'a dyn Rows, outputs: &'a [*mut f32]) -> Self {
        Self { arena, input, outputs: outputs.as_ptr(), run: PhantomData }
    }

    pub(super) fn input(&self) -> &'a dyn Rows {
        self.input
    }

    /// # Safety
    /// `offset` lies in the arena.
    pub(super) unsafe fn at<T>(&self, offset: usize) -> *mut T {
        // SAFETY: by the caller's word.
        unsafe { self.arena.add(offset).cast() }
    }

    /// # Safety
    /// The program has more than `index` outputs.
    pub(super) unsafe fn output(&self, index: usize) -> *mut f32 {
        // SAFETY: by the caller's word.
        unsafe { *self.outputs.add(index) }
    }
}
