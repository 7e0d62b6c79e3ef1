//! The int8 program: what a quantised network computes, as a list of layers with exact semantics.
//!
//! Pure data. Whatever executes it ([`reference`](super::reference), a kernel path of a CPU, another
//! device) must give the same bits, so everything that rounds is defined here, and for float layers in one other file:
//!
//! * An activation is u8; it stands for `scale · (q − zero point)` ([`Quant`]).
//! * A convolution sums `(q − zero point) · w` in i32, without overflow ([`Program::new`] checks the
//!   largest sum there can be); a padded voxel is worth 0.
//! * [`Affine`] takes a sum to f32 (rounding half to even), multiplies by the channel's scale, adds its
//!   bias, and applies the activation: four separate f32 operations, never fused.
//! * [`requantised`] rounds half to even, adds the zero point and clamps to 0..=255.
//! * A network with InstanceNorm cannot requantise at once, because the statistics need the whole
//!   channel: the sum is [`staged`] as i16 first, the statistics are exact integers, and a
//!   [`Combine`] finishes.
//!
//! * What stays in f32 (a state space, norms over channels, prototypes) is defined in [`tokens`](super::tokens), and how
//!   it is rounded in [`arithmetic`](super::arithmetic).
//!
//! Tensors are `[channel, z, y, x]` of one image; shapes are fixed only when a program is made ready
//! for an input.

use thiserror::Error;

use super::tokens::TokenOp;

/// The most channels a value may have, and a convolution may sum over.
pub const MAX_CHANNELS: usize = 2048;
/// The most layers of a program.
pub const MAX_LAYERS: usize = 1024;
/// The longest side of a kernel, and the largest stride.
pub const MAX_KERNEL: usize = 7;
/// The most inputs of a convolution, concatenated along the channels.
pub const MAX_INPUTS: usize = 4;
/// The most outputs of a program.
pub const MAX_OUTPUTS: usize = 8;
/// The largest staged value.
pub const STAGED_MAX: f32 = 32767.0;

/// What a u8 stands for: `scale · (q − zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    /// Positive and finite.
    pub scale: f32,
    /// The q that stands for 0.
    pub zero_point: u8,
}

/// Place of a value in [`Program::values`].
pub type ValueId = usize;

/// What a layer makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Channels.
    pub channels: usize,
    /// How it is stored.
    pub kind: Kind,
}

/// How a value is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// u8 activations.
    Quantised(Quant),
    /// i16 sums, one step per channel: `t · step[c]` is the sum in units of the convolution.
    Staged(Vec<f32>),
    /// f32, read by float layers ([`tokens`](super::tokens)).
    Float,
    /// f32, an output of the program.
    Real,
}

/// A quantised network.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Channels of the f32 input.
    pub input_channels: usize,
    /// What the layers make, in order: layer `i` makes value `i`.
    pub values: Vec<Value>,
    /// In order of execution.
    pub layers: Vec<Layer>,
    /// The values handed out, all [`Kind::Real`].
    pub outputs: Vec<ValueId>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name of the ONNX node it comes from, for messages and tables.
    pub name: String,
    /// What is computed.
    pub op: Op,
}

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The f32 input to u8: `clamp(rne(x / scale) + zero point)`.
    Quantise,
    /// A convolution.
    Conv(Conv),
    /// A transposed convolution whose stride is its kernel: no two inputs reach the same output.
    Upsample(Upsample),
    /// Sum of up to two values with an activation, requantised: residual addition, InstanceNorm,
    /// change of scale.
    Combine(Combine),
    /// Largest or mean value of a window.
    Pool(Pool),
    /// Each side doubled, trilinear, voxel edges aligned (PyTorch's `align_corners=False`).
    Double(Double),
    /// A float layer.
    Token(TokenOp),
}

/// `[out, in, kz, ky, kx]` convolution over inputs concatenated along the channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// u8 values of equal [`Quant`] and shape.
    pub inputs: Vec<ValueId>,
    /// Sides, strides and padding.
    pub window: Window,
    /// The weights, row by row.
    pub weights: Vec<i8>,
    /// From a sum to a value.
    pub finish: Finish,
}

/// `[out, in, kz, ky, kx]` transposed convolution with stride = kernel and no padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsample {
    /// A u8 value.
    pub input: ValueId,
    /// Sides of the kernel, which are its strides.
    pub kernel: [usize; 3],
    /// The weights, row by row.
    pub weights: Vec<i8>,
    /// From a sum to a value.
    pub finish: Finish,
}

/// Sides, strides and padding of a window, `[z, y, x]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// 1..=[`MAX_KERNEL`].
    pub kernel: [usize; 3],
    /// 1..=[`MAX_KERNEL`].
    pub stride: [usize; 3],
    /// Voxels of padding before, less than the kernel.
    pub before: [usize; 3],
    /// Voxels of padding after, less than the kernel.
    pub after: [usize; 3],
}

/// What becomes of a sum.
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// u8: [`requantised`] of the affine value, which is in units of the output's scale.
    Requantise(Affine),
    /// i16: [`staged`] with the steps of the output's kind.
    Stage,
    /// f32: the affine value.
    Real(Affine),
}

/// Per channel: `v = scale · sum + bias`, then `v < 0 ? slope · v : v`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// Finite, one per channel.
    pub scale: Vec<f32>,
    /// Finite, one per channel.
    pub bias: Vec<f32>,
    /// Finite, one per channel: 1 for no activation, 0 for ReLU.
    pub slope: Vec<f32>,
}

/// Up to two values of one shape, added, with an activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Combine {
    /// One or two.
    pub terms: Vec<Term>,
    /// Per channel, as in [`Affine`].
    pub slope: Vec<f32>,
}

/// One summand, in units of the output's scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// A u8 value (what is scaled is `q − zero point`) or a staged one.
    pub input: ValueId,
    /// How it is scaled.
    pub scaling: Scaling,
}

/// How a summand is scaled.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// By fixed numbers, one per channel.
    Fixed {
        /// Multiplies.
        scale: Vec<f32>,
        /// Is added.
        bias: Vec<f32>,
    },
    /// A staged value by its own mean and variance over the image (InstanceNorm): exact integer sums,
    /// then f64, rounded to f32 once.
    Normalised {
        /// Multiplies the normalised value, one per channel, in units of the output's scale.
        gamma: Vec<f32>,
        /// Is added, one per channel, in units of the output's scale.
        beta: Vec<f32>,
        /// Is added to the variance, in the square of the staged value's real units.
        epsilon: f32,
        /// Real units per unit of the staged value's sums, one per channel.
        unit: Vec<f32>,
    },
}

/// Largest or mean value of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// A u8 value.
    pub input: ValueId,
    /// Padded voxels do not count.
    pub window: Window,
    /// Which.
    pub kind: PoolKind,
}

/// What a pool takes of its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PoolKind {
    /// The largest q; input and output have one [`Quant`].
    Max,
    /// The sum of `q − zero point`, times this and divided by the number of voxels, requantised.
    Mean {
        /// Input scale over output scale.
        scale: f32,
    },
}

/// Each side doubled.
#[derive(Debug, Clone, PartialEq)]
pub struct Double {
    /// A u8 value.
    pub input: ValueId,
    /// Input scale over output scale.
    pub scale: f32,
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("layer {layer} ({name}): {what}")]
pub struct ProgramError {
    /// Counted from 0.
    pub layer: usize,
    /// Name of the layer.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
}

impl Program {
    /// Checks everything a kernel relies on: sizes, references backwards only, finite numbers, that no sum
    /// can leave i32, and that no value of a float layer can become infinite or not a number.
    pub fn new(
        input_channels: usize,
        (values, layers): (Vec<Value>, Vec<Layer>),
        outputs: Vec<ValueId>,
    ) -> Result<Self, ProgramError> {
        let program = Self { input_channels, values, layers, outputs };
        check::program(&program)?;
        Ok(program)
    }

    /// `[z, y, x]` of every value for an input of `size`; `None` where a side would be empty or the
    /// inputs of a layer do not fit together.
    pub fn shapes(&self, size: [usize; 3]) -> Option<Vec<[usize; 3]>> {
        let mut shapes: Vec<[usize; 3]> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let input = layer.op.inputs().first().map_or(size, |&id| shapes[id]);
            if layer.op.inputs().iter().any(|&id| shapes[id] != input) {
                return None;
            }
            let shape = layer.op.shape(input)?;
            if shape.contains(&0) {
                return None;
            }
            shapes.push(shape);
        }
        Some(shapes)
    }

    /// Multiplications and additions of the convolutions for an input of `size`, layer by layer.
    pub fn macs(&self, size: [usize; 3]) -> Option<Vec<u64>> {
        let shapes = self.shapes(size)?;
        let voxels = |shape: [usize; 3]| shape.iter().map(|&n| n as u64).product::<u64>();
        let macs = |(layer, &shape): (&Layer, &[usize; 3])| match &layer.op {
            Op::Conv(conv) => voxels(shape) * conv.weights.len() as u64,
            Op::Upsample(up) => {
                voxels(shape) * (up.weights.len() / up.kernel.iter().product::<usize>()) as u64
            }
            Op::Quantise | Op::Combine(_) | Op::Pool(_) | Op::Double(_) | Op::Token(_) => 0,
        };
        Some(self.layers.iter().zip(&shapes).map(macs).collect())
    }

    /// What value `id` stands for; only for [`Kind::Quantised`].
    pub fn quant(&self, id: ValueId) -> Option<Quant> {
        match self.values[id].kind {
            Kind::Quantised(quant) => Some(quant),
            Kind::Staged(_) | Kind::Float | Kind::Real => None,
        }
    }

    /// Sides of output value `id`, whose `[z, y, x]` are `shape`: an image, or rows of distances.
    pub fn output_shape(&self, id: ValueId, shape: [usize; 3]) -> Vec<usize> {
        let (channels, [z, y, x]) = (self.values[id].channels, shape);
        match &self.layers[id].op {
            Op::Token(TokenOp::Distances(_)) => vec![1, channels],
            Op::Token(TokenOp::TokenDistances(_)) => vec![1, z * y * x, channels],
            _ => vec![1, channels, z, y, x],
        }
    }

    /// True where a part of it is computed in f32.
    pub fn is_mixed(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.op, Op::Token(_)))
    }
}

impl Op {
    /// The values it reads; none for [`Op::Quantise`], which reads the input.
    pub fn inputs(&self) -> Vec<ValueId> {
        match self {
            Self::Quantise => Vec::new(),
            Self::Conv(conv) => conv.inputs.clone(),
            Self::Upsample(up) => vec![up.input],
            Self::Combine(combine) => combine.terms.iter().map(|term| term.input).collect(),
            Self::Pool(pool) => vec![pool.input],
            Self::Double(double) => vec![double.input],
            Self::Token(op) => op.views().iter().map(|view| view.value).collect(),
        }
    }

    /// `[z, y, x]` of what it makes of `[z, y, x]`; `None` where a window is larger than what it
    /// slides over.
    fn shape(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        match self {
            Self::Quantise | Self::Combine(_) => Some(input),
            Self::Conv(conv) => conv.window.shape(input),
            Self::Pool(pool) => pool.window.shape(input),
            Self::Upsample(up) => times(input, up.kernel),
            Self::Double(_) => times(input, [2; 3]),
            Self::Token(op) => op.shape(input),
        }
    }
}

/// Sides multiplied; `None` where one cannot be counted.
fn times([z, y, x]: [usize; 3], [by_z, by_y, by_x]: [usize; 3]) -> Option<[usize; 3]> {
    Some([z.checked_mul(by_z)?, y.checked_mul(by_y)?, x.checked_mul(by_x)?])
}

impl Window {
    /// `[z, y, x]` of the places where the window fits into `input` with its padding.
    pub fn shape(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        let mut shape = [0; 3];
        for axis in 0..3 {
            let padded = input[axis] + self.before[axis] + self.after[axis];
            shape[axis] = padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1;
        }
        Some(shape)
    }

    /// Voxels of the window.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }
}

impl Affine {
    /// The value of channel `c` for a sum.
    pub fn value(&self, sum: i32, c: usize) -> f32 {
        activated(sum as f32 * self.scale[c] + self.bias[c], self.slope[c])
    }
}

/// `slope · v` where v has a minus sign, else v.
pub fn activated(v: f32, slope: f32) -> f32 {
    if v.is_sign_negative() { v * slope } else { v }
}

/// f32 in units of the output's scale to u8: half to even, zero point added, clamped.
pub fn requantised(v: f32, zero_point: u8) -> u8 {
    let rounded = v.min(STAGED_MAX).round_ties_even().max(-STAGED_MAX) as i32;
    (rounded + i32::from(zero_point)).clamp(0, 255) as u8
}

/// A sum to i16; [`Program::new`] has checked that it fits.
pub fn staged(sum: i32, step: f32) -> i16 {
    (sum as f32 * (1.0 / step)).round_ties_even() as i16
}

/// f32 to u8 as the input layer does it.
pub fn quantised(x: f32, quant: Quant) -> u8 {
    requantised(x / quant.scale, quant.zero_point)
}

/// Scale and bias of a normalised staged channel: `count` values with sum `sum` and sum of squares
/// `squares`. In f64, each result rounded once.
pub fn normalisation(
    (count, sum, squares): (u64, i64, i64),
    (gamma, beta): (f32, f32),
    (real_per_step, epsilon): (f64, f32),
) -> (f32, f32) {
    let n = i128::from(count.max(1));
    let spread = n * i128::from(squares) - i128::from(sum) * i128::from(sum);
    let variance = spread as f64 / (n as f64 * n as f64) * real_per_step * real_per_step;
    let scale = f64::from(gamma) * real_per_step / (variance + f64::from(epsilon)).sqrt();
    let bias = f64::from(beta) - sum as f64 / n as f64 * scale;
    (scale as f32, bias as f32)
}

/// Sum of absolute products there can be: the largest |sum| of one output channel whose weights are
/// `weights`, over inputs with this zero point.
pub fn largest_sum(weights: &[i8], zero_point: u8) -> u64 {
    let (mut positive, mut negative) = (0u64, 0u64);
    for &weight in weights {
        let size = u64::from(weight.unsigned_abs());
        if weight > 0 { positive += size } else { negative += size }
    }
    let (below, above) = (u64::from(zero_point), u64::from(255 - zero_point));
    (above * positive + below * negative).max(below * positive + above * negative)
}

mod check {
    //! What [`Program::new`](super::Program::new) refuses.

    use super::super::bounds::{self, LARGEST};
    use super::{
        Affine, Combine, Conv, Finish, Kind, Layer, MAX_CHANNELS, MAX_INPUTS, MAX_KERNEL,
        MAX_LAYERS, MAX_OUTPUTS, Op, Pool, PoolKind, Program, ProgramError, Scaling, TokenOp,
        Upsample, Value, Window, largest_sum,
    };

    type Checked = Result<(), String>;

    pub(super) fn program(program: &Program) -> Result<(), ProgramError> {
        let refused = |layer: usize, what: String| {
            let name = program.layers.get(layer).map_or(String::new(), |layer| layer.name.clone());
            ProgramError { layer, name, what }
        };
        let counts = (program.layers.len(), program.values.len());
        that(counts.0 == counts.1 && (1..=MAX_LAYERS).contains(&counts.0), || {
            format!("expected 1 to {MAX_LAYERS} layers with a value each, found {counts:?}")
        })
        .map_err(|what| refused(0, what))?;
        let mut largest: Vec<f64> = Vec::with_capacity(program.layers.len());
        for (index, layer) in program.layers.iter().enumerate() {
            self::layer(program, index, layer).map_err(|what| refused(index, what))?;
            let bound = bounds::largest(program, index, &largest);
            that(bound <= LARGEST, || {
                format!("values may reach {bound:.1e}, the limit of float layers is {LARGEST:e}")
            })
            .map_err(|what| refused(index, what))?;
            largest.push(bound);
        }
        // The kernels write each value in f32 into the output that it is, and nowhere else.
        let real = |id: usize| program.values.get(id).is_some_and(|value| value.kind == Kind::Real);
        let mut outputs = program.outputs.clone();
        outputs.sort_unstable();
        let every = (0..program.values.len()).filter(|&id| real(id));
        that(outputs.iter().copied().eq(every), || {
            format!("outputs {outputs:?} are not the values in f32, each once")
        })
        .and(that((1..=MAX_OUTPUTS).contains(&outputs.len()), || {
            format!("{} outputs, expected 1 to {MAX_OUTPUTS}", outputs.len())
        }))
        .map_err(|what| refused(outputs.first().copied().unwrap_or(0), what))
    }

    fn layer(program: &Program, index: usize, layer: &Layer) -> Checked {
        let value = &program.values[index];
        channels("value", value.channels)?;
        match &value.kind {
            Kind::Quantised(quant) => that(quant.scale > 0.0 && quant.scale.is_finite(), || {
                format!("scale {} of the output is not positive and finite", quant.scale)
            })?,
            Kind::Staged(steps) => {
                numbers("steps", steps, value.channels)?;
                let usable = |step: f32| step > 0.0 && (1.0 / step).is_finite();
                that(steps.iter().all(|&step| usable(step)), || {
                    "a step is not positive, or too small to divide by".into()
                })?;
            }
            Kind::Float | Kind::Real => {}
        }
        for id in layer.op.inputs() {
            that(id < index, || format!("reads value {id}, which is not computed yet"))?;
        }
        match &layer.op {
            Op::Quantise => that(value.channels == program.input_channels, || {
                format!("{} channels of {} inputs", value.channels, program.input_channels)
            })
            .and(quantised(&value.kind)),
            Op::Conv(op) => conv(program, value, op),
            Op::Upsample(op) => upsample(program, value, op),
            Op::Combine(op) => combine(program, value, op),
            Op::Pool(op) => pool(program, value, op),
            Op::Double(op) => {
                quantised(&value.kind)?;
                quantised(&program.values[op.input].kind)?;
                same_channels(program, value, op.input)?;
                numbers("scale", &[op.scale], 1)
            }
            Op::Token(op) => token(program, value, op),
        }
    }

    fn token(program: &Program, value: &Value, op: &TokenOp) -> Checked {
        let kind = match value.kind {
            Kind::Real => op.is_head(),
            Kind::Float | Kind::Quantised(_) => !op.is_head(),
            Kind::Staged(_) => false,
        };
        that(kind, || "makes another kind of value than it is said to".into())?;
        for view in op.views() {
            let input = &program.values[view.value];
            that(input.kind == Kind::Float, || "reads or makes a value that is not f32".into())?;
            let inside =
                view.first.checked_add(view.channels).is_some_and(|end| end <= input.channels);
            that(inside, || format!("reads {view:?} of {} channels", input.channels))?;
        }
        op.check()?;
        let (found, made) = (value.channels, op.channels());
        that(found == made, || format!("{made} channels are made, {found} said"))
    }

    fn conv(program: &Program, value: &Value, op: &Conv) -> Checked {
        let count = op.inputs.len();
        that((1..=MAX_INPUTS).contains(&count), || format!("{count} inputs"))?;
        window(&op.window)?;
        let kinds: Vec<&Kind> = op.inputs.iter().map(|&id| &program.values[id].kind).collect();
        kinds.iter().try_for_each(|kind| quantised(kind))?;
        that(kinds.iter().all(|kind| *kind == kinds[0]), || "inputs differ in scale".into())?;
        let inputs = op.inputs.iter().map(|&id| program.values[id].channels).sum::<usize>();
        channels("inputs together", inputs)?;
        let shape = (inputs, op.window.taps(), &op.weights);
        sums(program.quant(op.inputs[0]).map_or(0, |quant| quant.zero_point), value, shape)?;
        finish(value, &op.finish)
    }

    fn upsample(program: &Program, value: &Value, op: &Upsample) -> Checked {
        that(op.kernel.iter().all(|side| (1..=MAX_KERNEL).contains(side)), || {
            format!("kernel {:?} outside 1 to {MAX_KERNEL}", op.kernel)
        })?;
        let input = &program.values[op.input];
        quantised(&input.kind)?;
        let shape = (input.channels, op.kernel.iter().product(), &op.weights);
        sums(program.quant(op.input).map_or(0, |quant| quant.zero_point), value, shape)?;
        finish(value, &op.finish)
    }

    /// No sum may leave i32, and no staged one i16.
    fn sums(
        zero_point: u8,
        value: &Value,
        (inputs, taps, weights): (usize, usize, &Vec<i8>),
    ) -> Checked {
        let expected = value.channels * inputs * taps;
        that(weights.len() == expected, || {
            format!("{} weights, expected {expected}", weights.len())
        })?;
        for (channel, weights) in weights.chunks_exact(inputs * taps).enumerate() {
            let largest = largest_sum(weights, zero_point);
            that(i32::try_from(largest).is_ok(), || {
                format!("sums of channel {channel} reach {largest}, more than 32 bits hold")
            })?;
            if let Kind::Staged(steps) = &value.kind {
                let fits =
                    largest as f64 <= f64::from(steps[channel]) * f64::from(super::STAGED_MAX);
                that(fits, || format!("the step of channel {channel} is too small for its sums"))?;
            }
        }
        Ok(())
    }

    fn finish(value: &Value, finish: &Finish) -> Checked {
        let fits = match (finish, &value.kind) {
            (Finish::Requantise(affine), Kind::Quantised(_))
            | (Finish::Real(affine), Kind::Real | Kind::Float) => {
                self::affine(affine, value.channels)?;
                true
            }
            (Finish::Stage, Kind::Staged(_)) => true,
            (_, _) => false,
        };
        that(fits, || "makes another kind of value than it is said to".into())
    }

    fn affine(affine: &Affine, channels: usize) -> Checked {
        numbers("scales", &affine.scale, channels)?;
        numbers("biases", &affine.bias, channels)?;
        numbers("slopes", &affine.slope, channels)
    }

    fn combine(program: &Program, value: &Value, op: &Combine) -> Checked {
        quantised(&value.kind)?;
        let count = op.terms.len();
        that((1..=2).contains(&count), || format!("{count} terms, expected one or two"))?;
        numbers("slopes", &op.slope, value.channels)?;
        for term in &op.terms {
            same_channels(program, value, term.input)?;
            let kind = &program.values[term.input].kind;
            let whole = matches!(kind, Kind::Quantised(_) | Kind::Staged(_));
            that(whole, || "adds a value in f32".into())?;
            match &term.scaling {
                Scaling::Fixed { scale, bias } => {
                    numbers("scales", scale, value.channels)?;
                    numbers("biases", bias, value.channels)?;
                }
                Scaling::Normalised { gamma, beta, epsilon, unit } => {
                    that(matches!(kind, Kind::Staged(_)), || {
                        "normalises what is not staged".into()
                    })?;
                    numbers("gammas", gamma, value.channels)?;
                    numbers("betas", beta, value.channels)?;
                    numbers("units", unit, value.channels)?;
                    that(*epsilon > 0.0 && epsilon.is_finite(), || format!("epsilon {epsilon}"))?;
                }
            }
        }
        Ok(())
    }

    fn pool(program: &Program, value: &Value, op: &Pool) -> Checked {
        window(&op.window)?;
        quantised(&value.kind)?;
        let kind = &program.values[op.input].kind;
        quantised(kind)?;
        same_channels(program, value, op.input)?;
        match op.kind {
            PoolKind::Max => that(*kind == value.kind, || "changes the scale".into()),
            PoolKind::Mean { scale } => numbers("scale", &[scale], 1),
        }
    }

    fn window(window: &Window) -> Checked {
        for axis in 0..3 {
            let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
            let sides = (1..=MAX_KERNEL).contains(&kernel) && (1..=MAX_KERNEL).contains(&stride);
            let padding = window.before[axis] < kernel && window.after[axis] < kernel;
            that(sides && padding, || {
                format!("window {window:?} outside 1 to {MAX_KERNEL}, padding below the kernel")
            })?;
        }
        Ok(())
    }

    fn quantised(kind: &Kind) -> Checked {
        that(matches!(kind, Kind::Quantised(_)), || "reads or makes a value that is not u8".into())
    }

    fn same_channels(program: &Program, value: &Value, input: usize) -> Checked {
        let found = program.values[input].channels;
        that(found == value.channels, || format!("{found} channels in, {} out", value.channels))
    }

    fn channels(what: &str, count: usize) -> Checked {
        that((1..=MAX_CHANNELS).contains(&count), || {
            format!("{what}: {count} channels, the limit is {MAX_CHANNELS}")
        })
    }

    fn numbers(what: &str, values: &[f32], count: usize) -> Checked {
        that(values.len() == count && values.iter().all(|value| value.is_finite()), || {
            format!("expected {count} finite {what}, found {values:?}")
        })
    }

    fn that(holds: bool, what: impl FnOnce() -> String) -> Checked {
        if holds { Ok(()) } else { Err(what()) }
    }
}
