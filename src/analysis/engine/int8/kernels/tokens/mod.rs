//! Float layers: plain loops over sixteen lanes, compiled once per instruction set. What they compute is written in
//! [`tokens`](super::super::tokens); nothing is fused or reordered, so all copies give the same bits.

use super::super::isa::Isa;
use super::super::layout::Layout;
use super::super::program::{Quant, quantised};
use super::super::tokens::{LANES, TokenOp, View};
use super::{Kernel, Place};

mod pointwise;

mod local;

mod scan;

mod distances;

use distances::{Distances, TokenDistances};
use local::Local;
use pointwise::{Change, Pointwise};
use scan::{Lines, Mix, Steps, Visited};

/// Channels of a float value, in the arena. Float values have no halo.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub(crate) layout: Layout,
    pub(crate) first: usize,
    pub(crate) channels: usize,
}

impl Read {
    /// The channels of token `token`, counted z, y, x.
    ///
    /// # Safety
    /// The value has that token, and nobody writes it.
    #[inline(always)]
    unsafe fn token<'a>(&self, place: Place<'a>, token: usize) -> &'a [f32] {
        // SAFETY: by the caller's word, inside the value.
        unsafe {
            let from = place.at::<f32>(self.layout.offset);
            std::slice::from_raw_parts(
                from.add(token * self.layout.channels + self.first),
                self.channels,
            )
        }
    }

    fn tokens(&self) -> usize {
        self.layout.size.iter().product()
    }
}

/// Where a layer's values go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// f32 in the arena.
    Float(Layout),
    /// u8 in the arena.
    Quantised(Layout, Quant),
    /// An output of the program.
    Output(usize),
}

impl Target {
    fn size(&self) -> [usize; 3] {
        match self {
            Self::Float(layout) | Self::Quantised(layout, _) => layout.size,
            Self::Output(_) => [1; 3],
        }
    }

    /// Stores the channels of voxel `at`.
    ///
    /// # Safety
    /// The value has that voxel and as many channels, and nobody else writes it.
    #[inline(always)]
    unsafe fn store(&self, place: Place<'_>, at: [usize; 3], token: &[f32]) {
        // SAFETY: by the caller's word.
        unsafe {
            match self {
                Self::Float(layout) => {
                    let to = place.at::<f32>(layout.offset).add(layout.voxel(at));
                    to.copy_from_nonoverlapping(token.as_ptr(), token.len());
                }
                Self::Quantised(layout, quant) => {
                    let to = place.at::<u8>(layout.offset + layout.voxel(at));
                    let to = std::slice::from_raw_parts_mut(to, token.len());
                    for (to, &value) in to.iter_mut().zip(token) {
                        *to = quantised(value, *quant);
                    }
                }
                Self::Output(_) => {
                    unreachable!("only heads are outputs, and they store themselves")
                }
            }
        }
    }
}

/// Bytes that a layer over `size` voxels needs for itself.
pub(crate) fn extra_bytes(op: &TokenOp, size: [usize; 3]) -> usize {
    let tokens = size.iter().product::<usize>();
    match op {
        TokenOp::Scan(scan) => Visited::bytes(scan, tokens),
        TokenOp::Distances(_) => tokens * size_of::<f32>(),
        _ => 0,
    }
}

/// The kernels of a layer, one after the other; `offset` is where its own bytes lie.
pub(crate) fn kernels(
    op: &TokenOp,
    read: impl Fn(View) -> Read,
    target: Target,
    (offset, isa): (usize, Isa),
) -> Vec<Box<dyn Kernel>> {
    let pointwise = |input: View, change: Change| -> Vec<Box<dyn Kernel>> {
        vec![Box::new(Pointwise { input: read(input), change, target, isa })]
    };
    match op {
        TokenOp::Affine { input, scale, bias } => {
            pointwise(*input, Change::Affine(scale.clone(), bias.clone()))
        }
        TokenOp::Normalise { input, norm } => pointwise(*input, Change::Normalise(norm.clone())),
        TokenOp::Merge { input, norm } => pointwise(*input, Change::Merge(norm.clone())),
        TokenOp::Gated { input, gate, norm } => {
            pointwise(*input, Change::Gated(read(*gate), norm.clone()))
        }
        TokenOp::Shuffle { base, near, far } => {
            pointwise(*base, Change::Shuffle(read(*near), read(*far)))
        }
        TokenOp::Local { input, weights, bias } => vec![Box::new(Local {
            input: read(*input),
            weights: weights.clone(),
            bias: bias.clone(),
            target,
            isa,
        })],
        TokenOp::Scan(scan) => {
            let (signal, selected) = (read(scan.signal), read(scan.selected));
            let visited = Visited::new(scan, selected.layout.size, offset);
            vec![
                Box::new(Steps { selected, visited, rate: scan.rate.clone(), isa }),
                Box::new(Lines { signal, selected, visited, isa }),
                Box::new(Mix { signal, skip: scan.skip.clone(), visited, target, isa }),
            ]
        }
        TokenOp::Distances(op) => {
            let Target::Output(output) = target else { unreachable!("the program was checked") };
            vec![Box::new(Distances { input: read(op.input), op: op.clone(), offset, output, isa })]
        }
        TokenOp::TokenDistances(op) => {
            let Target::Output(output) = target else { unreachable!("the program was checked") };
            vec![Box::new(TokenDistances { input: read(op.input), op: op.clone(), output, isa })]
        }
    }
}

/// Does `work`, compiled for `isa`.
///
/// # Safety
/// The machine has the instructions of `isa`.
#[inline(always)]
unsafe fn compiled_for<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: by the caller's word.
        Isa::Avx512Vnni => unsafe { x86::avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: by the caller's word.
        Isa::Avx2 => unsafe { x86::avx2(work) },
        _ => work(),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Everything inlined into these functions may use their instructions. None of them fuses a product and a sum by
    //! itself.

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn avx512<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// Scratch memory as `count` numbers.
///
/// # Safety
/// There are as many, aligned, and nobody else uses them.
unsafe fn floats<'a>(scratch: *mut u8, count: usize) -> &'a mut [f32] {
    // SAFETY: by the caller's word; scratch memory is written before it is lent, so any bytes are a number.
    unsafe { std::slice::from_raw_parts_mut(scratch.cast(), count) }
}

/// The first sixteen.
#[inline(always)]
fn lanes(values: &[f32]) -> &[f32; LANES] {
    values.first_chunk().expect("channels come in blocks of sixteen")
}
