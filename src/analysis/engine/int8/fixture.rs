//! Random programs for tests and benches: sizes, weights and scales from a seed.

use std::sync::Arc;

use super::program::{
    Affine, Combine, Conv, Double, Finish, Kind, Layer, Op, Pool, PoolKind, Program, ProgramError,
    Quant, Scaling, Term, Upsample, Value, ValueId, Window, largest_sum,
};
use super::tokens::{Norm, Prototypes, Scan, TokenOp, View};

/// SplitMix64 (Steele 2014, OOPSLA).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.number() % (high - low + 1) as u64) as usize
    }

    /// 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.number() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() - 1)]
    }
}

/// What weights look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// −127..=127.
    Any,
    /// All the same.
    All(i8),
    /// The largest and the smallest in turn.
    Alternating,
}

/// Builds a program layer by layer.
#[derive(Debug)]
pub struct Build {
    /// Source of everything not given.
    pub random: Random,
    /// What weights look like.
    pub weights: Weights,
    input_channels: usize,
    values: Vec<Value>,
    layers: Vec<Layer>,
}

impl Build {
    /// An input of `channels` channels, scale 1 and this zero point: value 0.
    pub fn new(seed: u64, channels: usize, zero_point: u8) -> Self {
        let mut build = Self {
            random: Random(seed),
            weights: Weights::Any,
            input_channels: channels,
            values: Vec::new(),
            layers: Vec::new(),
        };
        build.push(channels, Kind::Quantised(Quant { scale: 1.0, zero_point }), Op::Quantise);
        build
    }

    fn push(&mut self, channels: usize, kind: Kind, op: Op) -> ValueId {
        self.values.push(Value { channels, kind });
        self.layers.push(Layer { name: format!("layer{}", self.layers.len()), op });
        self.layers.len() - 1
    }

    /// True for a value in f32.
    pub fn is_real(&self, id: ValueId) -> bool {
        self.values[id].kind == Kind::Real
    }

    fn quant(&self, id: ValueId) -> Quant {
        match self.values[id].kind {
            Kind::Quantised(quant) => quant,
            Kind::Staged(_) | Kind::Float | Kind::Real => panic!("value {id} is not u8"),
        }
    }

    fn drawn(&mut self, count: usize) -> Vec<i8> {
        (0..count)
            .map(|index| match self.weights {
                Weights::Any => (self.random.between(0, 254) as i32 - 127) as i8,
                Weights::All(weight) => weight,
                Weights::Alternating => {
                    if index % 2 == 0 {
                        127
                    } else {
                        -127
                    }
                }
            })
            .collect()
    }

    /// Scales that spread the sums of random inputs over the range of u8.
    fn affine(&mut self, channels: usize, products: usize, slope: f32) -> Affine {
        let spread = 73.0 * 74.0 * (products as f32).sqrt();
        let scale = (0..channels).map(|_| (0.3 + self.random.unit()) * 60.0 / spread).collect();
        let bias = (0..channels).map(|_| (self.random.unit() - 0.4) * 60.0).collect();
        Affine { scale, bias, slope: vec![slope; channels] }
    }

    /// A convolution to u8.
    pub fn conv(&mut self, inputs: &[ValueId], channels: usize, window: Window) -> ValueId {
        let products = self.channels(inputs) * window.taps();
        let weights = self.drawn(channels * products);
        let affine = self.affine(channels, products, 0.01);
        let zero_point = self.quant(inputs[0]).zero_point;
        let finish = Finish::Requantise(affine);
        let op = Op::Conv(Conv { inputs: inputs.to_vec(), window, weights, finish });
        self.push(channels, Kind::Quantised(Quant { scale: 1.0, zero_point }), op)
    }

    /// A convolution whose sums are staged, and a [`Combine`] that normalises them and adds `residual`.
    pub fn normalised(
        &mut self,
        inputs: &[ValueId],
        channels: usize,
        (window, residual): (Window, Option<ValueId>),
    ) -> ValueId {
        let products = self.channels(inputs) * window.taps();
        let weights = self.drawn(channels * products);
        let zero_point = self.quant(inputs[0]).zero_point;
        let step =
            |weights: &[i8]| (largest_sum(weights, zero_point).max(1) as f32 / 32760.0).max(1e-3);
        let steps = weights.chunks_exact(products).map(step).collect();
        let op = Op::Conv(Conv { inputs: inputs.to_vec(), window, weights, finish: Finish::Stage });
        let staged = self.push(channels, Kind::Staged(steps), op);
        let scaling = Scaling::Normalised {
            gamma: (0..channels).map(|_| 20.0 + 20.0 * self.random.unit()).collect(),
            beta: (0..channels).map(|_| 40.0 * self.random.unit()).collect(),
            epsilon: 1e-5,
            unit: vec![0.01; channels],
        };
        let mut terms = vec![Term { input: staged, scaling }];
        terms.extend(residual.map(|input| {
            let scaling = Scaling::Fixed { scale: vec![0.75; channels], bias: vec![0.5; channels] };
            Term { input, scaling }
        }));
        self.combine(terms, channels)
    }

    /// A sum to u8.
    pub fn combine(&mut self, terms: Vec<Term>, channels: usize) -> ValueId {
        let zero_point = self.random.between(0, 255) as u8;
        let op = Op::Combine(Combine { terms, slope: vec![0.01; channels] });
        self.push(channels, Kind::Quantised(Quant { scale: 1.0, zero_point }), op)
    }

    /// A transposed convolution to u8.
    pub fn upsample(&mut self, input: ValueId, channels: usize, kernel: [usize; 3]) -> ValueId {
        let inputs = self.values[input].channels;
        let weights = self.drawn(channels * inputs * kernel.iter().product::<usize>());
        let affine = self.affine(channels, inputs, 1.0);
        let zero_point = self.quant(input).zero_point;
        let op =
            Op::Upsample(Upsample { input, kernel, weights, finish: Finish::Requantise(affine) });
        self.push(channels, Kind::Quantised(Quant { scale: 1.0, zero_point }), op)
    }

    /// A transposed convolution whose sums are staged and then taken to u8.
    pub fn staged_upsample(
        &mut self,
        input: ValueId,
        channels: usize,
        kernel: [usize; 3],
    ) -> ValueId {
        let (inputs, taps) = (self.values[input].channels, kernel.iter().product::<usize>());
        let weights = self.drawn(channels * inputs * taps);
        let zero_point = self.quant(input).zero_point;
        let step = |weights: &[i8]| largest_sum(weights, zero_point).max(1) as f32 / 32760.0;
        let steps = weights.chunks_exact(inputs * taps).map(step).collect();
        let op = Op::Upsample(Upsample { input, kernel, weights, finish: Finish::Stage });
        let staged = self.push(channels, Kind::Staged(steps), op);
        let scaling = Scaling::Fixed { scale: vec![0.02; channels], bias: vec![3.0; channels] };
        self.combine(vec![Term { input: staged, scaling }], channels)
    }

    /// A transposed convolution to f32.
    pub fn upsampling_head(
        &mut self,
        input: ValueId,
        channels: usize,
        kernel: [usize; 3],
    ) -> ValueId {
        let inputs = self.values[input].channels;
        let weights = self.drawn(channels * inputs * kernel.iter().product::<usize>());
        let affine = self.affine(channels, inputs, 0.5);
        let op = Op::Upsample(Upsample { input, kernel, weights, finish: Finish::Real(affine) });
        self.push(channels, Kind::Real, op)
    }

    /// A pool.
    pub fn pool(&mut self, input: ValueId, window: Window, kind: PoolKind) -> ValueId {
        let value = self.values[input].clone();
        self.push(value.channels, value.kind, Op::Pool(Pool { input, window, kind }))
    }

    /// Twice the size.
    pub fn double(&mut self, input: ValueId) -> ValueId {
        let value = self.values[input].clone();
        self.push(value.channels, value.kind, Op::Double(Double { input, scale: 1.0 }))
    }

    /// A head: f32 by a 1×1×1 convolution.
    pub fn head(&mut self, input: ValueId, channels: usize) -> ValueId {
        let inputs = self.values[input].channels;
        let weights = self.drawn(channels * inputs);
        let affine = self.affine(channels, inputs, 1.0);
        let op = Conv {
            inputs: vec![input],
            window: Window { kernel: [1; 3], stride: [1; 3], before: [0; 3], after: [0; 3] },
            weights,
            finish: Finish::Real(affine),
        };
        self.push(channels, Kind::Real, Op::Conv(op))
    }

    /// A 1×1×1 convolution to a float value of numbers about 1.
    pub fn float(&mut self, input: ValueId, channels: usize) -> ValueId {
        self.float_conv(input, channels, (window([1; 3], [1; 3]), 1.0))
    }

    /// A convolution to a float value of numbers about 1, negative ones times `slope`.
    pub fn float_conv(
        &mut self,
        input: ValueId,
        channels: usize,
        (window, slope): (Window, f32),
    ) -> ValueId {
        let products = self.values[input].channels * window.taps();
        let weights = self.drawn(channels * products);
        let mut affine = self.affine(channels, products, slope);
        for number in affine.scale.iter_mut().chain(&mut affine.bias) {
            *number /= 60.0;
        }
        let finish = Finish::Real(affine);
        let op = Op::Conv(Conv { inputs: vec![input], window, weights, finish });
        self.push(channels, Kind::Float, op)
    }

    /// A float layer, to u8 with this quantisation, to f32 without.
    pub fn token(&mut self, op: TokenOp, quant: Option<Quant>) -> ValueId {
        let kind = match quant {
            Some(quant) => Kind::Quantised(quant),
            None if op.is_head() => Kind::Real,
            None => Kind::Float,
        };
        self.push(op.channels(), kind, Op::Token(op))
    }

    /// All channels of a float value.
    pub fn view(&self, value: ValueId) -> View {
        View { value, first: 0, channels: self.values[value].channels }
    }

    /// `count` numbers of −1..1.
    pub fn numbers(&mut self, count: usize) -> Arc<[f32]> {
        (0..count).map(|_| 2.0 * self.random.unit() - 1.0).collect()
    }

    /// A LayerNorm.
    pub fn norm(&mut self, channels: usize) -> Norm {
        Norm { weight: self.numbers(channels), bias: self.numbers(channels), epsilon: 1e-5 }
    }

    /// Distances to `count` prototypes.
    pub fn prototypes(&mut self, input: View, count: usize) -> Prototypes {
        let channels = input.channels;
        Prototypes {
            input,
            norm: self.norm(channels),
            attend: self.numbers(channels),
            level: 0.25,
            prototypes: self.numbers(count * channels),
        }
    }

    /// The value itself as f32, every channel of it: `q − zero point`.
    pub fn shown(&mut self, input: ValueId) -> ValueId {
        let channels = self.values[input].channels;
        let weights = (0..channels * channels)
            .map(|index| i8::from(index / channels == index % channels))
            .collect();
        let affine = Affine {
            scale: vec![1.0; channels],
            bias: vec![0.0; channels],
            slope: vec![1.0; channels],
        };
        let window = Window { kernel: [1; 3], stride: [1; 3], before: [0; 3], after: [0; 3] };
        let finish = Finish::Real(affine);
        let op = Op::Conv(Conv { inputs: vec![input], window, weights, finish });
        self.push(channels, Kind::Real, op)
    }

    fn channels(&self, inputs: &[ValueId]) -> usize {
        inputs.iter().map(|&id| self.values[id].channels).sum()
    }

    /// Multiplies a float value that a convolution makes.
    pub fn amplify(&mut self, id: ValueId, factor: f32) {
        if let Op::Conv(Conv { finish: Finish::Real(affine), .. }) = &mut self.layers[id].op {
            affine.scale.iter_mut().chain(&mut affine.bias).for_each(|number| *number *= factor);
        }
    }

    /// Gives all channels of a staged value this step.
    pub fn set_steps(&mut self, id: ValueId, step: f32) {
        let value = &mut self.values[id];
        value.kind = Kind::Staged(vec![step; value.channels]);
    }

    /// Gives all channels of a convolution to u8 this scale and slope.
    pub fn set_affine(&mut self, id: ValueId, scale: f32, slope: f32) {
        if let Op::Conv(Conv { finish: Finish::Requantise(affine), .. }) = &mut self.layers[id].op {
            affine.scale.fill(scale);
            affine.slope.fill(slope);
        }
    }

    /// The program whose outputs are these, if it holds.
    pub fn try_finish(self, outputs: &[ValueId]) -> Result<Program, ProgramError> {
        Program::new(self.input_channels, (self.values, self.layers), outputs.to_vec())
    }

    /// The program whose outputs are these.
    pub fn finish(self, outputs: &[ValueId]) -> Program {
        self.try_finish(outputs).expect("a program that holds")
    }
}

/// Kernel and stride with the padding that keeps the size at stride 1.
pub fn window(kernel: [usize; 3], stride: [usize; 3]) -> Window {
    let half = kernel.map(|side| side / 2);
    Window { kernel, stride, before: half, after: half }
}

/// A PMN of two blocks: every kind of float layer, to f32 and rounded, between quantised ones. Two channels in, distances
/// to three prototypes and those of each token out; sides are even.
pub fn pmn(seed: u64) -> Program {
    let mut build = Build::new(seed, 2, 77);
    let embedded = build.float_conv(0, 32, (window([3; 3], [1; 3]), 1.0));
    let tokens = block(&mut build, embedded);
    let (input, norm) = (build.view(tokens), build.norm(8 * 32));
    let merged = build.token(TokenOp::Merge { input, norm }, Some(ROUNDED));
    let merged = build.float(merged, 64);
    let tokens = block(&mut build, merged);
    let input = build.view(tokens);
    let prototypes = build.prototypes(input, 3);
    let each = build.token(TokenOp::TokenDistances(prototypes.clone()), None);
    let together = build.token(TokenOp::Distances(prototypes), None);
    build.finish(&[together, each])
}

/// What float layers are rounded to: ±4.
const ROUNDED: Quant = Quant { scale: 1.0 / 32.0, zero_point: 128 };

/// Half the channels through convolutions, half through a scan; added in turn.
fn block(build: &mut Build, tokens: ValueId) -> ValueId {
    let base = build.view(tokens);
    let half = base.channels / 2;
    let part = |first: usize| View { value: tokens, first, channels: half };
    let (scale, bias) = (build.numbers(half), build.numbers(half));
    let near = build.token(TokenOp::Affine { input: part(0), scale, bias }, Some(ROUNDED));
    let near = build.conv(&[near], half, window([3; 3], [1; 3]));
    let near = build.float_conv(near, half, (window([1; 3], [1; 3]), 0.0));
    let norm = build.norm(half);
    let far = build.token(TokenOp::Normalise { input: part(half), norm }, Some(ROUNDED));
    let far = state_space(build, far, half);
    let (near, far) = (build.view(near), build.view(far));
    build.token(TokenOp::Shuffle { base, near, far }, None)
}

/// Of a u8 value of `width` channels, to f32 of as many.
fn state_space(build: &mut Build, entered: ValueId, width: usize) -> ValueId {
    let (inner, heads, states) = (2 * width, 2 * width / 16, 4);
    let entered = build.float(entered, 2 * inner);
    let part = |first: usize| View { value: entered, first, channels: inner };
    let (weights, bias) = (build.numbers(27 * inner), build.numbers(inner));
    let local = build.token(TokenOp::Local { input: part(0), weights, bias }, None);
    let signal = build.view(local);
    let [scale, bias] = [1.0, 0.0].map(|number| vec![number; inner].into());
    let rounded = build.token(TokenOp::Affine { input: signal, scale, bias }, Some(ROUNDED));
    let selected = build.float(rounded, 3 * (2 * states + heads));
    let selected = build.view(selected);
    let rate = build.numbers(3 * heads).iter().map(|rate| rate.abs()).collect();
    let skip = build.numbers(inner);
    let scan = TokenOp::Scan(Scan { signal, selected, rate, skip, heads, states });
    let scanned = build.token(scan, None);
    let (input, norm) = (build.view(scanned), build.norm(inner));
    let gated = build.token(TokenOp::Gated { input, gate: part(inner), norm }, Some(ROUNDED));
    build.float(gated, width)
}

/// FNV-1a over the bits, so that machines that cannot be asked at the same time can be compared.
pub fn hash(values: &[f32]) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    values.iter().flat_map(|value| value.to_bits().to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, add)
}

/// A U-Net: two convolutions per stage, transposed convolutions, concatenation, a head of three
/// classes. `normalise` puts InstanceNorm behind every convolution.
pub fn unet(seed: u64, (inputs, widths): (usize, &[usize]), normalise: bool) -> Program {
    let mut build = Build::new(seed, inputs, 10);
    let conv = |build: &mut Build, inputs: &[ValueId], width: usize, stride: usize| {
        let window = window([3; 3], [stride; 3]);
        if normalise {
            build.normalised(inputs, width, (window, None))
        } else {
            build.conv(inputs, width, window)
        }
    };
    let mut value = 0;
    let mut skips = Vec::new();
    for (stage, &width) in widths.iter().enumerate() {
        value = conv(&mut build, &[value], width, if stage == 0 { 1 } else { 2 });
        value = conv(&mut build, &[value], width, 1);
        skips.push(value);
    }
    skips.pop();
    for (&width, skip) in widths.iter().rev().skip(1).zip(skips.into_iter().rev()) {
        let zero_point = build.quant(skip).zero_point;
        let up = build.upsample(value, width, [2; 3]);
        build.values[up].kind = Kind::Quantised(Quant { scale: 1.0, zero_point });
        value = conv(&mut build, &[up, skip], width, 1);
        value = conv(&mut build, &[value], width, 1);
    }
    let head = build.head(value, 3);
    build.finish(&[head])
}
