//! The float layers of a program, between quantised ones: normalisation over channels, the selective state space,
//! prototypes. What they mean, number by number.
//!
//! A float value is f32, `[z, y, x, channel]`; a voxel of it is a token. As in [`program`](super::program), everything
//! that rounds is defined here: the order of every sum, and `exp` and `ln` in additions and multiplications only, because a
//! library's own may differ from machine to machine. No operation is fused, so every path gives the same bits.
//!
//! Sums over channels go through sixteen lanes, lane `l` adding channels `l, l + 16, …` in order; the lanes are added as
//! halves ([`across`]). That is why float layers take channels in blocks of sixteen.

use super::program::{MAX_CHANNELS, ValueId};

/// Channels that go side by side.
pub const LANES: usize = 16;
/// The most states per head of a scan.
pub const MAX_STATES: usize = 64;
/// Axis orders of a scan: the axes `[z, y, x]` by which it visits the tokens, the slowest first.
pub const AXIS_ORDERS: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
/// The most prototypes.
pub const MAX_PROTOTYPES: usize = 64;

/// Some channels of a float value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// A value of kind `Float`.
    pub value: ValueId,
    /// The first channel.
    pub first: usize,
    /// How many.
    pub channels: usize,
}

/// LayerNorm over the channels of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// One per channel.
    pub weight: Vec<f32>,
    /// One per channel.
    pub bias: Vec<f32>,
    /// Added to the variance, positive.
    pub epsilon: f32,
}

/// A float layer. All but the last two make a float value, or u8 of the f32 number as `QuantizeLinear` does.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenOp {
    /// `scale · x + bias`, per channel.
    Affine {
        /// x.
        input: View,
        /// One per channel.
        scale: Vec<f32>,
        /// One per channel.
        bias: Vec<f32>,
    },
    /// [`normalise`].
    Normalise {
        /// What is normalised.
        input: View,
        /// How.
        norm: Norm,
    },
    /// [`normalise`], times [`silu`] of the gate.
    Gated {
        /// What is normalised.
        input: View,
        /// Of as many channels.
        gate: View,
        /// How.
        norm: Norm,
    },
    /// Eight tokens, `[2, 2, 2]` of them with x fastest, become one of eight times the channels; [`normalise`].
    Merge {
        /// Even sides.
        input: View,
        /// Of eight times the channels.
        norm: Norm,
    },
    /// A depthwise 3×3×3 convolution, [`silu`] after it: from the bias, the taps z, y, x are added in order; those
    /// outside are left out.
    Local {
        /// Convolved.
        input: View,
        /// `[tap, channel]`.
        weights: Vec<f32>,
        /// One per channel.
        bias: Vec<f32>,
    },
    /// See [`Scan`].
    Scan(Scan),
    /// `base`, plus near and far halves in turn: channel `2k` gets `near[k]`, `2k + 1` gets `far[k]`.
    Shuffle {
        /// Of twice the channels.
        base: View,
        /// Added to even channels.
        near: View,
        /// Added to odd channels.
        far: View,
    },
    /// `[1, prototypes]`: squared distances from the tokens' mean, weighted by [`Prototypes::attend`].
    Distances(Prototypes),
    /// `[1, tokens, prototypes]`: squared distances of each token.
    TokenDistances(Prototypes),
}

/// A selective state space with one decay per head (Mamba-2), over three axis orders, forwards and backwards.
///
/// Per order `o`, head `h` and visited token, with `B`, `C` and `d` from `selected` (channels `o · (2N + H)` on: N of B,
/// N of C, H of d): `step = softplus(d)`, `decay = exp(−(step · rate))`; the state `[N, P]` becomes `decay · state + B ·
/// (step · x)` and the token's output is the sum of `C · state` over N: every fourth state in turn, `(s₀ + s₁) + (s₂ +
/// s₃)`. The value is `skip · signal`, plus per order the forward and the backward output together.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// x: heads one behind the other.
    pub signal: View,
    /// `3 · (2N + H)` channels.
    pub selected: View,
    /// `exp(log_rate)` of Mamba's A, `[order, head]`.
    pub rate: Vec<f32>,
    /// One per channel of `signal`.
    pub skip: Vec<f32>,
    /// H.
    pub heads: usize,
    /// N, a multiple of four.
    pub states: usize,
}

/// Prototypes, and what tokens are taken as.
#[derive(Debug, Clone, PartialEq)]
pub struct Prototypes {
    /// Tokens.
    pub input: View,
    /// They are normalised first.
    pub norm: Norm,
    /// A token's weight in the mean is softmax over tokens of `attend · token + level`.
    pub attend: Vec<f32>,
    /// See `attend`.
    pub level: f32,
    /// `[prototype, channel]`.
    pub prototypes: Vec<f32>,
}

impl TokenOp {
    /// What it reads.
    pub fn views(&self) -> Vec<View> {
        match self {
            Self::Affine { input, .. }
            | Self::Normalise { input, .. }
            | Self::Merge { input, .. }
            | Self::Local { input, .. } => vec![*input],
            Self::Gated { input, gate, .. } => vec![*input, *gate],
            Self::Scan(scan) => vec![scan.signal, scan.selected],
            Self::Shuffle { base, near, far } => vec![*base, *near, *far],
            Self::Distances(op) | Self::TokenDistances(op) => vec![op.input],
        }
    }

    /// For tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Affine { .. } => "affine",
            Self::Normalise { .. } => "norm",
            Self::Gated { .. } => "gated norm",
            Self::Merge { .. } => "merging norm",
            Self::Local { .. } => "depthwise 3×3×3",
            Self::Scan(_) => "scan",
            Self::Shuffle { .. } => "shuffle",
            Self::Distances(_) => "distances",
            Self::TokenDistances(_) => "token distances",
        }
    }

    /// Channels of what it makes.
    pub fn channels(&self) -> usize {
        match self {
            Self::Affine { input, .. }
            | Self::Normalise { input, .. }
            | Self::Gated { input, .. }
            | Self::Local { input, .. } => input.channels,
            Self::Merge { input, .. } => 8 * input.channels,
            Self::Scan(scan) => scan.signal.channels,
            Self::Shuffle { base, .. } => base.channels,
            Self::Distances(op) | Self::TokenDistances(op) => op.count(),
        }
    }

    /// `[z, y, x]` of what it makes; `None` where sides do not halve.
    pub fn shape(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        match self {
            Self::Merge { .. } => {
                let even = input.iter().all(|side| side.is_multiple_of(2));
                even.then(|| input.map(|side| side / 2))
            }
            Self::Distances(_) => Some([1; 3]),
            _ => Some(input),
        }
    }

    /// True for the two whose values are handed out as rows of prototypes.
    pub fn is_head(&self) -> bool {
        matches!(self, Self::Distances(_) | Self::TokenDistances(_))
    }

    /// What is wrong with its numbers; whether the views' values are there, the program checks.
    pub fn check(&self) -> Result<(), String> {
        for (index, view) in self.views().iter().enumerate() {
            // What a scan selects is read number by number.
            let loose = matches!(self, Self::Scan(_)) && index == 1;
            if !loose && (view.channels == 0 || !view.channels.is_multiple_of(LANES)) {
                return Err(format!(
                    "{} channels, float layers take multiples of {LANES}",
                    view.channels
                ));
            }
        }
        match self {
            Self::Affine { input, scale, bias } => {
                numbers("scales", scale, input.channels)?;
                numbers("biases", bias, input.channels)
            }
            Self::Normalise { input, norm } => norm.check(input.channels),
            Self::Merge { input, norm } => {
                if 8 * input.channels > MAX_CHANNELS {
                    return Err(format!("merges into more than {MAX_CHANNELS} channels"));
                }
                norm.check(8 * input.channels)
            }
            Self::Gated { input, gate, norm } => {
                same("gate", gate.channels, input.channels)?;
                norm.check(input.channels)
            }
            Self::Local { input, weights, bias } => {
                numbers("weights", weights, 27 * input.channels)?;
                numbers("biases", bias, input.channels)
            }
            Self::Scan(scan) => scan.check(),
            Self::Shuffle { base, near, far } => {
                same("even half", 2 * near.channels, base.channels)?;
                same("odd half", 2 * far.channels, base.channels)
            }
            Self::Distances(op) | Self::TokenDistances(op) => op.check(),
        }
    }
}

impl Norm {
    fn check(&self, channels: usize) -> Result<(), String> {
        numbers("weights", &self.weight, channels)?;
        numbers("biases", &self.bias, channels)?;
        let good = self.epsilon > 0.0 && self.epsilon.is_finite();
        if good { Ok(()) } else { Err(format!("epsilon {}", self.epsilon)) }
    }
}

impl Scan {
    /// Channels of one order in `selected`.
    pub fn per_order(&self) -> usize {
        2 * self.states + self.heads
    }

    fn check(&self) -> Result<(), String> {
        let (heads, states) = (self.heads, self.states);
        let whole = heads > 0 && self.signal.channels.is_multiple_of(heads * LANES);
        if !whole {
            return Err(format!(
                "{} channels in {heads} heads, expected a multiple of {LANES} each",
                self.signal.channels
            ));
        }
        if !(4..=MAX_STATES).contains(&states) || !states.is_multiple_of(4) {
            return Err(format!("{states} states, expected a multiple of 4 up to {MAX_STATES}"));
        }
        same("selection", self.selected.channels, AXIS_ORDERS.len() * self.per_order())?;
        numbers("rates", &self.rate, AXIS_ORDERS.len() * heads)?;
        if self.rate.iter().any(|&rate| rate < 0.0) {
            return Err("a rate that is negative: a state would grow without bounds".into());
        }
        numbers("skips", &self.skip, self.signal.channels)
    }
}

impl Prototypes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.prototypes.len() / self.input.channels.max(1)
    }

    fn check(&self) -> Result<(), String> {
        let channels = self.input.channels;
        self.norm.check(channels)?;
        numbers("attention weights", &self.attend, channels)?;
        numbers("attention levels", &[self.level], 1)?;
        if !(1..=MAX_PROTOTYPES).contains(&self.count()) {
            return Err(format!("{} prototypes, expected 1 to {MAX_PROTOTYPES}", self.count()));
        }
        numbers("prototype coordinates", &self.prototypes, self.count() * channels)
    }
}

fn numbers(what: &str, values: &[f32], count: usize) -> Result<(), String> {
    if values.len() == count && values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(format!("expected {count} finite {what}, found {} of them", values.len()))
}

fn same(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("the {what} has {found} channels, expected {expected}"))
}

/// Sixteen numbers. Short sums over them are written with `array::from_fn`, which becomes vector instructions where a
/// loop becomes scalar ones; `array::map`, and `from_fn` of anything long, become a call.
pub type Lanes = [f32; LANES];

/// The sum of sixteen lanes: halves are added until one is left.
#[inline(always)]
pub fn across(mut lanes: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Blocks of sixteen channels; the length is a multiple.
#[inline(always)]
pub fn blocks(token: &[f32]) -> &[Lanes] {
    token.as_chunks().0
}

/// Mean 0 and variance 1 over the channels, `(((x − mean) · (1 / √(variance + ε))) · weight) + bias`.
#[inline(always)]
pub fn normalise(token: &mut [f32], norm: &Norm) {
    let count = token.len() as f32;
    let mut sums = [0.0; LANES];
    for block in blocks(token) {
        sums = std::array::from_fn(|lane| sums[lane] + block[lane]);
    }
    let mean = across(sums) / count;
    let mut squares = [0.0; LANES];
    for block in blocks(token) {
        let gap: Lanes = std::array::from_fn(|lane| block[lane] - mean);
        squares = std::array::from_fn(|lane| squares[lane] + gap[lane] * gap[lane]);
    }
    let inverse = 1.0 / (across(squares) / count + norm.epsilon).sqrt();
    let (chunks, _) = token.as_chunks_mut::<LANES>();
    for ((block, weight), bias) in
        chunks.iter_mut().zip(blocks(&norm.weight)).zip(blocks(&norm.bias))
    {
        let unit: Lanes = std::array::from_fn(|lane| (block[lane] - mean) * inverse);
        *block = std::array::from_fn(|lane| unit[lane] * weight[lane] + bias[lane]);
    }
}

/// The sum of products over channels.
#[inline(always)]
pub fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in blocks(a).iter().zip(blocks(b)) {
        sums = std::array::from_fn(|lane| sums[lane] + a[lane] * b[lane]);
    }
    across(sums)
}

/// The sum of squared differences over channels.
#[inline(always)]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in blocks(a).iter().zip(blocks(b)) {
        let gap: Lanes = std::array::from_fn(|lane| a[lane] - b[lane]);
        sums = std::array::from_fn(|lane| sums[lane] + gap[lane] * gap[lane]);
    }
    across(sums)
}

/// e^x within two units in the last place; what lies outside −87..=88 is taken to the nearest. By Cody and Waite's
/// reduction and the polynomial of the Cephes library (Moshier 1989).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = 1.987_569_1e-4 * rest + 1.398_199_9e-3;
    let p = p * rest + 8.333_452e-3;
    let p = p * rest + 4.166_579_6e-2;
    let p = p * rest + 1.666_666_5e-1;
    let p = p * rest + 0.5;
    let mantissa = p * (rest * rest) + rest + 1.0;
    mantissa * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// x / (1 + e^−x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// ln(1 + e^x), as `max(x, 0) + ln(1 + e^−|x|)` with the series of the inverse hyperbolic tangent.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let small = exp(-x.abs());
    // ln(1 + t) = 2 atanh(t / (2 + t)), and here t <= 1.
    let s = small / (2.0 + small);
    let square = s * s;
    let p = square * (1.0 / 13.0) + (1.0 / 11.0);
    let p = p * square + (1.0 / 9.0);
    let p = p * square + (1.0 / 7.0);
    let p = p * square + (1.0 / 5.0);
    let p = p * square + (1.0 / 3.0);
    let p = p * square + 1.0;
    (if x > 0.0 { x } else { 0.0 }) + 2.0 * s * p
}

/// One token of one head's block of sixteen channels: advances the states and gives the output.
#[inline(always)]
pub fn advance(states: &mut [Lanes], (b, c): (&[f32], &[f32]), decay: f32, x: &Lanes) -> Lanes {
    let [mut first, mut second, mut third, mut fourth] = [[0.0; LANES]; 4];
    let (fours, _) = states.as_chunks_mut::<4>();
    let (b, c) = (b.as_chunks::<4>().0, c.as_chunks::<4>().0);
    for ((four, b), c) in fours.iter_mut().zip(b).zip(c) {
        first = advance_one(&mut four[0], (b[0], c[0]), (decay, x), first);
        second = advance_one(&mut four[1], (b[1], c[1]), (decay, x), second);
        third = advance_one(&mut four[2], (b[2], c[2]), (decay, x), third);
        fourth = advance_one(&mut four[3], (b[3], c[3]), (decay, x), fourth);
    }
    std::array::from_fn(|lane| (first[lane] + second[lane]) + (third[lane] + fourth[lane]))
}

/// Advances one state and adds its part of the output to `sum`.
#[inline(always)]
fn advance_one(
    state: &mut Lanes,
    (b, c): (f32, f32),
    (decay, x): (f32, &Lanes),
    sum: Lanes,
) -> Lanes {
    let next: Lanes = std::array::from_fn(|lane| state[lane] * decay + b * x[lane]);
    *state = next;
    std::array::from_fn(|lane| sum[lane] + c * next[lane])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against f64, over the whole range.
    #[test]
    fn exponentials_and_logarithms_are_exact_to_a_few_units() {
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let close = |found: f32, exact: f64, units: f64| {
                let error = (f64::from(found) - exact).abs();
                assert!(
                    error <= units * exact.abs() * f64::from(f32::EPSILON) + 1e-38,
                    "{x}: {found} for {exact}"
                );
            };
            let real = f64::from(x);
            close(exp(x), real.exp(), 2.0);
            close(softplus(x), real.exp().ln_1p(), 4.0);
            close(silu(x), real / (1.0 + (-real).exp()), 4.0);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_or_is_bounded() {
        assert!(exp(f32::NAN).is_nan());
        assert!(silu(f32::NAN).is_nan());
        assert_eq!(exp(f32::INFINITY), exp(88.0));
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert_eq!(softplus(f32::INFINITY), f32::INFINITY);
    }

    #[test]
    fn lanes_are_added_as_halves() {
        let mut lanes = [0.0; LANES];
        // 1 is lost beside 2²⁵ unless its own kind meets it first.
        lanes[0] = 33_554_432.0;
        lanes[1] = 1.0;
        lanes[9] = 1.0;
        lanes[3] = 1.0;
        lanes[11] = 1.0;
        assert_eq!(across(lanes), 33_554_436.0);
    }
}
