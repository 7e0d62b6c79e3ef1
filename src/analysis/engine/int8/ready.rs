//! A program made ready for one input size: weights packed for a path, every value given its place.

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
use super::layout::{Extra, Halo, Layout, Plan, plan};
use super::program::{Combine, Conv, Finish, Kind, Op, Program, Scaling, Upsample, ValueId};
use super::tokens::{TokenOp, View};

/// The longest side of an input.
pub const MAX_SIDE: usize = 4096;
/// The most bytes of an arena.
pub const MAX_ARENA: usize = 8 << 30;

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
    #[error("an input of {size:?} voxels needs {bytes} bytes, the limit is {MAX_ARENA}")]
    Memory {
        /// Asked for.
        size: [usize; 3],
        /// Needed.
        bytes: usize,
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
    /// Bytes of packed weights.
    pub(super) weights: usize,
    /// `[z, y, x]` of the outputs.
    pub(super) outputs: Vec<[usize; 3]>,
}

/// Packs and plans.
pub(super) fn prepare(
    program: &Program,
    size: [usize; 3],
    compute: Compute,
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
        |reader, input| halo(program, &shapes, (reader, input), compute.isa),
        |layer| match &program.layers[layer].op {
            Op::Combine(op) => statistics_bytes(program, op),
            Op::Token(op) => tokens::extra_bytes(op, shapes[op.views()[0].value]),
            _ => 0,
        },
    );
    if plan.arena > MAX_ARENA {
        return Err(ReadyError::Memory { size, bytes: plan.arena });
    }
    let maker = Maker { program, shapes: &shapes, plan: &plan, extra: &extra, compute };
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
    Ok(Prepared {
        threads: compute.threads,
        arena: plan.arena,
        scratch: kernels().map(|kernel| kernel.scratch()).max().unwrap_or(0),
        weights: kernels().map(|kernel| kernel.weights()).sum(),
        outputs: program.outputs.iter().map(|&id| shapes[id]).collect(),
        stages,
    })
}

/// True where the Winograd kernel takes a convolution.
fn is_winograd(program: &Program, shapes: &[[usize; 3]], layer: ValueId, isa: Isa) -> bool {
    let Op::Conv(op) = &program.layers[layer].op else { return false };
    let padded = |&id: &ValueId| {
        let value = &program.values[id];
        program.layers[id].op != Op::Quantise || value.channels > super::layout::NARROW
    };
    matches!(isa, Isa::Avx2 | Isa::Avx512Vnni)
        && op.window.kernel == [3; 3]
        && op.window.stride == [1; 3]
        && matches!(program.values[layer].kind, Kind::Quantised(_) | Kind::Staged(_))
        && op.inputs.iter().all(padded)
        && shapes[layer].iter().all(|&side| side >= LEAST_WINOGRAD)
}

/// The shortest side for which Winograd's transforms are worth it.
const LEAST_WINOGRAD: usize = 6;

/// Room that a layer reads around its input.
fn halo(
    program: &Program,
    shapes: &[[usize; 3]],
    (reader, input): (usize, ValueId),
    isa: Isa,
) -> Halo {
    let Op::Conv(op) = &program.layers[reader].op else { return Halo::default() };
    let output = shapes[reader];
    let output = if is_winograd(program, shapes, reader, isa) {
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
}

impl Maker<'_> {
    fn stages<P: Path>(&self) -> Vec<Stage> {
        let stage = |(layer, kernels)| Stage { layer, kernels };
        let layers = 0..self.program.layers.len();
        layers
            .flat_map(|layer| self.layer::<P>(layer).into_iter().map(move |k| stage((layer, k))))
            .collect()
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
        if is_winograd(self.program, self.shapes, layer, self.compute.isa) {
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
