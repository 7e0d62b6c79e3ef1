//! A program made ready for one input size: weights packed for a path, every value given its place.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use thiserror::Error;

use super::compute::{Compute, MAX_THREADS};
use super::isa::Isa;
use super::kernels::Kernel;
#[cfg(target_arch = "x86_64")]
use super::kernels::avx2;
#[cfg(target_arch = "x86_64")]
use super::kernels::avx512;
use super::kernels::combine::{Added, Combining, Normaliser, Numbers, Room, Statistics};
use super::kernels::direct::{self, Direct};
use super::kernels::finish::{Finishing, Numbers as In, Target};
use super::kernels::halo::Border;
use super::kernels::input::Quantising;
#[cfg(target_arch = "aarch64")]
use super::kernels::neon;
use super::kernels::path::Path;
use super::kernels::portable::Portable;
use super::kernels::tokens::{self, Read};
use super::kernels::upsample::Upsampling;
use super::kernels::window::{Doubling, Pooling};
#[cfg(target_arch = "x86_64")]
use super::kernels::winograd::{self, Winograd};
use super::layout::{Extra, Halo, Layout, Plan, is_padded, plan};
use super::program::{Combine, Conv, Finish, Kind, Op, Program, Scaling, Upsample, ValueId};
use super::tokens::{TokenOp, View};

/// The longest side of an input.
pub const MAX_SIDE: usize = 4096;
/// Bytes that a packed weight takes at most. Winograd makes 144 values of 27 weights, two bytes each;
/// elsewhere it is two bytes, in groups that the weights of a few channels do not fill.
const PACKED_WINOGRAD: usize = 11;
const PACKED: usize = 2;
const PACKED_NARROW: usize = 16;

/// Why a program cannot be made ready.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadyError {
    /// Sides that the network cannot take.
    #[error("the network cannot take an input of {size:?} voxels ([z, y, x]): choose other sides")]
    Size {
        /// Asked for.
        size: [usize; 3],
    },
    /// Too much memory.
    #[error("an input of {size:?} voxels needs {bytes} bytes, the limit is {limit}")]
    Memory {
        /// Asked for.
        size: [usize; 3],
        /// Needed, at most.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// The machine has not the instructions.
    #[error("this processor has no {}: leave the choice to the program", isa.name())]
    Isa {
        /// Asked for.
        isa: Isa,
    },
}

/// Kernels that run at the same time; a barrier follows.
pub(super) struct Stage {
    /// Place of the layer in the program.
    pub(super) layer: usize,
    /// What runs.
    pub(super) kernels: Vec<Box<dyn Kernel>>,
}

/// What a program becomes.
pub(super) struct Prepared {
    pub(super) stages: Vec<Stage>,
    /// Threads, within bounds.
    pub(super) threads: usize,
    /// Bytes of the arena.
    pub(super) arena: usize,
    /// Bytes of scratch memory per thread.
    pub(super) scratch: usize,
    /// Bytes of packed weights, and of constants of float layers.
    pub(super) weights: usize,
    /// `[z, y, x]` of the outputs.
    pub(super) outputs: Vec<[usize; 3]>,
}

/// The shortest side from which on Winograd's transforms are worth it, measured against the direct
/// kernel of the same path; `None` where a path has no such kernel.
pub(super) fn least_winograd(isa: Isa) -> Option<usize> {
    match isa {
        Isa::Avx2 => Some(6),
        Isa::Avx512Vnni => Some(17),
        Isa::Portable | Isa::Neon | Isa::NeonDot => None,
    }
}

/// Packs and plans; convolutions whose sides are all `least_winograd` or more go to that kernel.
pub(super) fn prepare(
    program: &Program,
    size: [usize; 3],
    compute: Compute,
    least_winograd: Option<usize>,
) -> Result<Prepared, ReadyError> {
    if !compute.isa.available() {
        return Err(ReadyError::Isa { isa: compute.isa });
    }
    let fits = size.iter().all(|side| (1..=MAX_SIDE).contains(side));
    let shapes = if fits { program.shapes(size) } else { None };
    let Some(shapes) = shapes else { return Err(ReadyError::Size { size }) };
    let too_long = shapes.iter().flatten().any(|&side| side > MAX_SIDE);
    if too_long {
        return Err(ReadyError::Size { size });
    }
    let compute = Compute { threads: compute.threads.clamp(1, MAX_THREADS), ..compute };
    let (plan, extra) = plan(
        program,
        &shapes,
        |reader, input| halo(program, &shapes, (reader, input), least_winograd),
        |layer| match &program.layers[layer].op {
            Op::Combine(op) => statistics_bytes(program, op),
            Op::Token(op) => tokens::extra_bytes(op, shapes[op.views()[0].value]),
            _ => 0,
        },
    );
    let allowed = |bytes: usize| {
        let limit = compute.memory;
        if bytes > limit { Err(ReadyError::Memory { size, bytes, limit }) } else { Ok(()) }
    };
    allowed(plan.arena.saturating_add(packed_at_most(program, &shapes, least_winograd)))?;
    let maker =
        Maker { program, shapes: &shapes, plan: &plan, extra: &extra, compute, least_winograd };
    let stages: Vec<Stage> = match compute.isa {
        Isa::Portable => maker.stages::<Portable>(),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => maker.stages::<avx2::Avx2>(),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => maker.stages::<avx512::Avx512>(),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => maker.stages::<neon::Neon>(),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => maker.stages::<neon::NeonDot>(),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512Vnni => return Err(ReadyError::Isa { isa: compute.isa }),
        #[cfg(not(target_arch = "aarch64"))]
        Isa::Neon | Isa::NeonDot => return Err(ReadyError::Isa { isa: compute.isa }),
    };
    let kernels = || stages.iter().flat_map(|stage| &stage.kernels);
    let scratch = kernels().map(|kernel| kernel.scratch()).max().unwrap_or(0);
    let weights = kernels().map(|kernel| kernel.weights()).sum();
    allowed(plan.arena.saturating_add(weights).saturating_add(scratch * compute.threads))?;
    Ok(Prepared {
        threads: compute.threads,
        arena: plan.arena,
        scratch,
        weights,
        outputs: program.outputs.iter().map(|&id| shapes[id]).collect(),
        stages,
    })
}

/// Bytes that no packing of the weights exceeds, with the constants of float layers.
fn packed_at_most(
    program: &Program,
    shapes: &[[usize; 3]],
    least_winograd: Option<usize>,
) -> usize {
    let channels = |&id: &ValueId| {
        let channels = program.values[id].channels;
        if is_padded(program, id) { stored(channels) } else { channels }
    };
    let bytes = |id: ValueId| {
        let op = &program.layers[id].op;
        let (inputs, taps): (usize, usize) = match op {
            Op::Conv(op) => (op.inputs.iter().map(channels).sum(), op.window.taps()),
            Op::Upsample(op) => (channels(&op.input), op.kernel.iter().product()),
            Op::Token(op) => return op.bytes(),
            Op::Quantise | Op::Combine(_) | Op::Pool(_) | Op::Double(_) => (0, 0),
        };
        let each = if is_winograd(program, shapes, id, least_winograd) {
            PACKED_WINOGRAD
        } else if op.inputs().iter().all(|&input| is_padded(program, input)) {
            PACKED
        } else {
            PACKED_NARROW
        };
        stored(program.values[id].channels) * inputs * taps * each
    };
    (0..program.layers.len()).map(bytes).fold(0, usize::saturating_add)
}

/// True where the Winograd kernel takes a convolution.
fn is_winograd(
    program: &Program,
    shapes: &[[usize; 3]],
    layer: ValueId,
    least: Option<usize>,
) -> bool {
    let Some(least) = least else { return false };
    let Op::Conv(op) = &program.layers[layer].op else { return false };
    op.window.kernel == [3; 3]
        && op.window.stride == [1; 3]
        && matches!(program.values[layer].kind, Kind::Quantised(_) | Kind::Staged(_))
        && op.inputs.iter().all(|&id| is_padded(program, id))
        && shapes[layer].iter().all(|&side| side >= least)
}

/// Room that a layer reads around its input.
fn halo(
    program: &Program,
    shapes: &[[usize; 3]],
    (reader, input): (usize, ValueId),
    least_winograd: Option<usize>,
) -> Halo {
    let Op::Conv(op) = &program.layers[reader].op else { return Halo::default() };
    let output = shapes[reader];
    let output = if is_winograd(program, shapes, reader, least_winograd) {
        [
            output[0].next_multiple_of(2),
            output[1].next_multiple_of(4),
            output[2].next_multiple_of(4),
        ]
    } else {
        output
    };
    direct::halo(&op.window, shapes[input], output)
}

/// Bytes that the statistics of a layer's normalised terms take.
fn statistics_bytes(program: &Program, op: &Combine) -> usize {
    let channels = |term: &super::program::Term| match term.scaling {
        Scaling::Normalised { .. } => stored(program.values[term.input].channels),
        Scaling::Fixed { .. } => 0,
    };
    op.terms.iter().map(|term| Room::bytes(channels(term))).sum()
}

fn stored(channels: usize) -> usize {
    channels.next_multiple_of(super::layout::BLOCK)
}

/// Makes kernels of layers.
struct Maker<'a> {
    program: &'a Program,
    shapes: &'a [[usize; 3]],
    plan: &'a Plan,
    extra: &'a [Extra],
    compute: Compute,
    least_winograd: Option<usize>,
}

impl Maker<'_> {
    /// All threads pack, a layer each at a time.
    fn stages<P: Path>(&self) -> Vec<Stage> {
        let next = AtomicUsize::new(0);
        let pack = || {
            let mut made = Vec::new();
            loop {
                let layer = next.fetch_add(1, Ordering::Relaxed);
                if layer >= self.program.layers.len() {
                    return made;
                }
                let stages = self.layer::<P>(layer).into_iter();
                made.extend(stages.map(|kernels| Stage { layer, kernels }));
            }
        };
        let mut stages = thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.compute.threads).map(|_| scope.spawn(pack)).collect();
            let mut stages = pack();
            for helper in helpers {
                stages.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            stages
        });
        // Stable: the stages of a layer stay in their order.
        stages.sort_by_key(|stage| stage.layer);
        stages
    }

    /// The stages of a layer.
    fn layer<P: Path>(&self, layer: ValueId) -> Vec<Vec<Box<dyn Kernel>>> {
        let mut stages: Vec<Vec<Box<dyn Kernel>>> = Vec::new();
        let kernel: Box<dyn Kernel> = match &self.program.layers[layer].op {
            Op::Quantise => {
                let (layout, _) = self.quantised(layer);
                let quant = self.program.quant(layer).expect("the program was checked");
                Box::new(Quantising::<P>::new(layout, quant, self.program.input_channels))
            }
            Op::Conv(op) => self.conv::<P>(layer, op),
            Op::Upsample(op) => {
                let corrections = self.tap_corrections::<P>(op);
                let finishing = self.finishing(layer, &op.finish, &corrections);
                let input = (self.layout(op.input), self.program.values[op.input].channels);
                Box::new(Upsampling::<P>::new(op, input, finishing))
            }
            Op::Combine(op) => {
                let (terms, before) = self.terms(layer, op);
                stages.extend(before);
                Box::new(Combining::<P>::new(terms, &op.slope, self.quantised(layer)))
            }
            Op::Pool(op) => {
                Box::new(Pooling::new(op, self.quantised(op.input), self.quantised(layer)))
            }
            Op::Double(op) => {
                let (input, output) = (self.quantised(op.input), self.quantised(layer));
                Box::new(Doubling::new(input, output, op.scale))
            }
            Op::Token(op) => {
                let mut parts = self.token(layer, op);
                let last = parts.pop().expect("a float layer has a kernel");
                stages.extend(parts.into_iter().map(|kernel| vec![kernel]));
                last
            }
        };
        let mut together = vec![kernel];
        if let (Some(layout), Some(quant)) = (self.plan.layouts[layer], self.program.quant(layer))
            && layout.has_halo()
        {
            together.push(Box::new(Border::new(layout, quant.zero_point)));
        }
        stages.push(together);
        stages
    }

    /// The kernels of a float layer, one after the other.
    fn token(&self, layer: ValueId, op: &TokenOp) -> Vec<Box<dyn Kernel>> {
        let read = |view: View| Read {
            layout: self.layout(view.value),
            first: view.first,
            channels: view.channels,
        };
        let target = match (self.program.quant(layer), self.plan.layouts[layer]) {
            (Some(quant), Some(layout)) => tokens::Target::Quantised(layout, quant),
            (_, Some(layout)) => tokens::Target::Float(layout),
            (_, None) => tokens::Target::Output(self.output(layer)),
        };
        tokens::kernels(op, read, target, (self.extra[layer].offset, self.compute.isa))
    }

    /// Place among the program's outputs.
    fn output(&self, layer: ValueId) -> usize {
        let place = self.program.outputs.iter().position(|&id| id == layer);
        place.expect("every value in f32 is an output, or in the arena")
    }

    fn conv<P: Path>(&self, layer: ValueId, op: &Conv) -> Box<dyn Kernel> {
        let layouts: Vec<Layout> = op.inputs.iter().map(|&id| self.layout(id)).collect();
        let channels: Vec<usize> =
            op.inputs.iter().map(|&id| self.program.values[id].channels).collect();
        let (_, zero) = self.quantised(op.inputs[0]);
        let per_channel = channels.iter().sum::<usize>() * op.window.taps();
        let inputs = (&layouts[..], &channels[..]);
        #[cfg(target_arch = "x86_64")]
        if is_winograd(self.program, self.shapes, layer, self.least_winograd) {
            let shift = winograd::SHIFT - i32::from(zero);
            let corrections = corrections(&op.weights, per_channel, shift);
            let finishing = self.finishing(layer, &op.finish, &[corrections]);
            let threads = self.compute.threads;
            if self.compute.isa == Isa::Avx512Vnni {
                return Box::new(Winograd::<avx512::Avx512>::new(op, inputs, finishing, threads));
            }
            return Box::new(Winograd::<avx2::Avx2>::new(op, inputs, finishing, threads));
        }
        let corrections = corrections(&op.weights, per_channel, P::SHIFT - i32::from(zero));
        let finishing = self.finishing(layer, &op.finish, &[corrections]);
        Box::new(Direct::<P>::new(op, inputs, finishing, self.compute.threads))
    }

    /// `[tap][channel]`.
    fn tap_corrections<P: Path>(&self, op: &Upsample) -> Vec<Vec<i32>> {
        let (_, zero) = self.quantised(op.input);
        let taps = op.kernel.iter().product::<usize>();
        let per_channel = self.program.values[op.input].channels * taps;
        let shift = P::SHIFT - i32::from(zero);
        let of_tap = |tap: usize| {
            let sum = |weights: &[i8]| {
                weights.iter().skip(tap).step_by(taps).map(|&w| i32::from(w)).sum::<i32>() * shift
            };
            op.weights.chunks_exact(per_channel).map(sum).collect()
        };
        (0..taps).map(of_tap).collect()
    }

    fn finishing(&self, layer: ValueId, finish: &Finish, corrections: &[Vec<i32>]) -> Finishing {
        let value = &self.program.values[layer];
        let target = match (&value.kind, self.plan.layouts[layer]) {
            (Kind::Quantised(quant), Some(layout)) => {
                Target::Quantised { layout, zero: quant.zero_point }
            }
            (Kind::Staged(_), Some(layout)) => Target::Staged(layout),
            (_, layout) => Target::Real {
                numbers: layout.map_or_else(|| In::Output(self.output(layer)), In::Arena),
                size: self.shapes[layer],
                channels: value.channels,
            },
        };
        Finishing::new(target, value, finish, corrections)
    }

    /// The terms of a sum, and the stages that measure what they need.
    fn terms(&self, layer: ValueId, op: &Combine) -> (Vec<Added>, Vec<Vec<Box<dyn Kernel>>>) {
        let mut added = Vec::new();
        let mut statistics: Vec<Box<dyn Kernel>> = Vec::new();
        let mut normalisers: Vec<Box<dyn Kernel>> = Vec::new();
        let mut offset = self.extra[layer].offset;
        for term in &op.terms {
            let (layout, value) = (self.layout(term.input), &self.program.values[term.input]);
            let zero = self.program.quant(term.input).map(|quant| quant.zero_point);
            let (scale, bias) = match (&term.scaling, &value.kind) {
                (Scaling::Normalised { gamma, beta, epsilon, unit }, Kind::Staged(steps)) => {
                    let room = Room::at(offset, layout.channels);
                    offset += Room::bytes(layout.channels);
                    let measured = Statistics::new(layout, room);
                    let unit = unit.iter().zip(steps).map(|(&u, &s)| f64::from(u) * f64::from(s));
                    let pairs = gamma.iter().zip(beta);
                    normalisers.push(Box::new(Normaliser {
                        units: measured.units(),
                        room,
                        channels: layout.channels,
                        count: layout.size.iter().map(|&side| side as u64).product(),
                        constants: pairs.zip(unit).map(|((&g, &b), u)| (g, b, u)).collect(),
                        epsilon: *epsilon,
                    }));
                    statistics.push(Box::new(measured));
                    (Numbers::Measured(room.scale), Numbers::Measured(room.bias))
                }
                (Scaling::Fixed { scale, bias }, _) => {
                    (Numbers::fixed(scale), Numbers::fixed(bias))
                }
                (Scaling::Normalised { .. }, _) => unreachable!("the program was checked"),
            };
            added.push(Added { layout, zero, scale, bias });
        }
        let before = [statistics, normalisers];
        (added, before.into_iter().filter(|kernels| !kernels.is_empty()).collect())
    }

    fn layout(&self, id: ValueId) -> Layout {
        self.plan.layouts[id].expect("only values in the arena are read")
    }

    fn quantised(&self, id: ValueId) -> (Layout, u8) {
        (self.layout(id), self.program.quant(id).map_or(0, |quant| quant.zero_point))
    }
}

/// Sum of a channel's weights times `shift`: what the sums of activations less something else lack.
fn corrections(weights: &[i8], per_channel: usize, shift: i32) -> Vec<i32> {
    let sum = |weights: &[i8]| weights.iter().map(|&w| i32::from(w)).sum::<i32>() * shift;
    weights.chunks_exact(per_channel).map(sum).collect()
}
