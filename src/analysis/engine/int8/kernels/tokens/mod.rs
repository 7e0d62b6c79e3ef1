//! Float layers: plain loops over sixteen lanes, compiled once per instruction set. What they compute is written in
//! [`tokens`](super::super::tokens) and [`arithmetic`](super::super::arithmetic); nothing is fused or reordered, so all copies give the same bits.

use super::super::arithmetic::{LANES, Lanes, blocks};
use super::super::isa::Isa;
use super::super::layout::Layout;
use super::super::program::{Quant, STAGED_MAX};
use super::super::tokens::{TokenOp, View};
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
                    copy(std::slice::from_raw_parts_mut(to, token.len()), token);
                }
                Self::Quantised(layout, quant) => {
                    let to = place.at::<u8>(layout.offset + layout.voxel(at));
                    let to = std::slice::from_raw_parts_mut(to, token.len());
                    for (to, block) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(blocks(token)) {
                        *to = quantised(block, *quant);
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
        vec![Box::new(On(isa, Pointwise { input: read(input), change, target }))]
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
        TokenOp::Local { input, weights, bias } => vec![Box::new(On(
            isa,
            Local { input: read(*input), weights: weights.clone(), bias: bias.clone(), target },
        ))],
        TokenOp::Scan(scan) => {
            let (signal, selected) = (read(scan.signal), read(scan.selected));
            let visited = Visited::new(scan, selected.layout.size, offset);
            vec![
                Box::new(On(isa, Steps { selected, visited, rate: scan.rate.clone() })),
                Box::new(On(isa, Lines { signal, selected, visited })),
                Box::new(On(isa, Mix { signal, skip: scan.skip.clone(), visited, target })),
            ]
        }
        TokenOp::Distances(op) => {
            let Target::Output(output) = target else { unreachable!("the program was checked") };
            vec![Box::new(On(
                isa,
                Distances { input: read(op.input), op: op.clone(), offset, output },
            ))]
        }
        TokenOp::TokenDistances(op) => {
            let Target::Output(output) = target else { unreachable!("the program was checked") };
            vec![Box::new(On(
                isa,
                TokenDistances { input: read(op.input), op: op.clone(), output },
            ))]
        }
    }
}

/// A float kernel: [`Kernel`], with `unit` inlined into copies for each instruction set.
trait Wide: Send + Sync {
    /// As in [`Kernel`].
    fn units(&self) -> usize;

    /// As in [`Kernel`].
    fn scratch(&self) -> usize {
        0
    }

    /// As in [`Kernel`].
    fn weights(&self) -> usize {
        0
    }

    /// As in [`Kernel`]; it and all it calls per number are `inline(always)`.
    ///
    /// # Safety
    /// As in [`Kernel`].
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8);
}

/// A kernel on a path that the machine has.
struct On<W: Wide>(Isa, W);

impl<W: Wide> Kernel for On<W> {
    fn units(&self) -> usize {
        self.1.units()
    }

    fn scratch(&self) -> usize {
        self.1.scratch()
    }

    fn weights(&self) -> usize {
        self.1.weights()
    }

    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        // SAFETY: by the caller's word; a program is made ready only for instructions that the machine has.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => x86::avx512(&self.1, unit, place, scratch),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::avx2(&self.1, unit, place, scratch),
                _ => self.1.unit(unit, place, scratch),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Copies of a unit. Nothing fuses a product and a sum by itself, so all copies give the same bits.

    use super::{Place, Wide};

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<W: Wide>(work: &W, unit: usize, place: Place<'_>, scratch: *mut u8) {
        // SAFETY: by the caller's word.
        unsafe { work.unit(unit, place, scratch) }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn avx512<W: Wide>(
        work: &W,
        unit: usize,
        place: Place<'_>,
        scratch: *mut u8,
    ) {
        // SAFETY: by the caller's word.
        unsafe { work.unit(unit, place, scratch) }
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

/// Blocks of sixteen, without a call for each token.
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.as_chunks_mut().0.iter_mut().zip(blocks(from)) {
        *to = *from;
    }
}

/// [`program::quantised`](super::super::program::quantised) of sixteen numbers, in operations that every instruction set
/// has for several at once: adding 1.5 · 2²³ rounds half to even and leaves the whole number in the low bits.
#[inline(always)]
fn quantised(block: &Lanes, quant: Quant) -> [u8; LANES] {
    const ROUND: f32 = 12_582_912.0;
    let zero = i32::from(quant.zero_point);
    std::array::from_fn(|lane| {
        let v = block[lane] / quant.scale;
        let v = if v < STAGED_MAX { v } else { STAGED_MAX };
        let v = if v > -STAGED_MAX { v } else { -STAGED_MAX };
        let whole = (v + ROUND).to_bits().cast_signed() - ROUND.to_bits().cast_signed();
        (whole + zero).clamp(0, 255) as u8
    })
}

/// The first sixteen.
#[inline(always)]
fn lanes(values: &[f32]) -> &[f32; LANES] {
    values.first_chunk().expect("channels come in blocks of sixteen")
}

#[cfg(test)]
mod tests {
    use super::super::super::program;
    use super::*;

    #[test]
    fn rounding_is_the_program_s() {
        let quant = Quant { scale: 0.25, zero_point: 3 };
        let ties = (-600..600).map(|k| k as f32 / 8.0);
        let odd = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            -0.0,
            8191.75,
            -8191.75,
        ];
        let numbers: Vec<f32> = odd.into_iter().chain(ties).chain(odd).collect();
        for chunk in numbers.as_chunks::<LANES>().0 {
            assert_eq!(quantised(chunk, quant), chunk.map(|x| program::quantised(x, quant)));
        }
        assert_eq!(numbers.len() % LANES, 0, "the last ones are compared too");
    }
}
