//! Memory that kernels share: aligned, allocated once, zeroed.

#![allow(unsafe_code, reason = "threads write disjoint parts of one arena through pointers")]

use std::cell::UnsafeCell;

/// Alignment of a buffer.
pub(super) const ALIGNMENT: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; ALIGNMENT]);

/// At least `bytes` zeroed bytes, from pages that the system zeroes when they are first touched.
fn zeros(bytes: usize) -> Box<[Line]> {
    // SAFETY: a line may hold any bytes.
    unsafe { Box::new_zeroed_slice(bytes.div_ceil(ALIGNMENT)).assume_init() }
}

/// Zeroed bytes, aligned to [`ALIGNMENT`], that several threads may write parts of.
pub(super) struct Buffer {
    lines: Box<[UnsafeCell<Line>]>,
}

// SAFETY: the bytes are only reached through `pointer`, whose users say which part they touch.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// At least `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Self {
        // SAFETY: UnsafeCell<T> has the layout of T.
        let lines =
            unsafe { Box::from_raw(Box::into_raw(zeros(bytes)) as *mut [UnsafeCell<Line>]) };
        Self { lines }
    }

    /// The first byte.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.lines.as_ptr().cast_mut().cast()
    }
}

/// Aligned numbers, written once: packed weights.
pub(super) struct Packed<T> {
    lines: Box<[Line]>,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

/// Numbers that are any bytes.
pub(super) trait Plain: Copy + Send + Sync + 'static {}

impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for i16 {}
impl Plain for i32 {}
impl Plain for f32 {}

impl<T: Plain> Packed<T> {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        Self { lines: zeros(len * size_of::<T>()), len, kind: std::marker::PhantomData }
    }

    /// All of them.
    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: the lines hold `len` numbers, any bytes are a number, and the alignment is larger.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// All of them, to write.
    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// The first of them.
    pub(super) fn pointer(&self) -> *const T {
        self.lines.as_ptr().cast()
    }

    /// Bytes they take.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * ALIGNMENT
    }
}
