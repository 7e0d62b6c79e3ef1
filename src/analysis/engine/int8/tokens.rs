//! The float layers of a program, between quantised ones: normalisation over channels, the selective state space,
//! prototypes. What each of them computes, and what is refused; how its numbers are rounded is defined in
//! [`arithmetic`](super::arithmetic).
//!
//! A float value is f32, `[z, y, x, channel]`; a voxel of it is a token. Kernels share the constants with their program.

use std::sync::Arc;

use super::arithmetic::LANES;
use super::program::{MAX_CHANNELS, ValueId};

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
    pub weight: Arc<[f32]>,
    /// One per channel.
    pub bias: Arc<[f32]>,
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
        scale: Arc<[f32]>,
        /// One per channel.
        bias: Arc<[f32]>,
    },
    /// [`normalise`](super::arithmetic::normalise).
    Normalise {
        /// What is normalised.
        input: View,
        /// How.
        norm: Norm,
    },
    /// As [`Self::Normalise`], times [`silu`](super::arithmetic::silu) of the gate.
    Gated {
        /// What is normalised.
        input: View,
        /// Of as many channels.
        gate: View,
        /// How.
        norm: Norm,
    },
    /// Eight tokens, `[2, 2, 2]` of them with x fastest, become one of eight times the channels; then as
    /// [`Self::Normalise`].
    Merge {
        /// Even sides.
        input: View,
        /// Of eight times the channels.
        norm: Norm,
    },
    /// A depthwise 3×3×3 convolution, [`silu`](super::arithmetic::silu) after it: from the bias, the taps z, y, x are
    /// added in order; those outside are left out.
    Local {
        /// Convolved.
        input: View,
        /// `[tap, channel]`.
        weights: Arc<[f32]>,
        /// One per channel.
        bias: Arc<[f32]>,
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
    pub rate: Arc<[f32]>,
    /// One per channel of `signal`.
    pub skip: Arc<[f32]>,
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
    pub attend: Arc<[f32]>,
    /// See `attend`.
    pub level: f32,
    /// `[prototype, channel]`.
    pub prototypes: Arc<[f32]>,
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

    /// Bytes of its constants.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Affine { scale, bias, .. } => size_of_val(&**scale) + size_of_val(&**bias),
            Self::Normalise { norm, .. } | Self::Gated { norm, .. } | Self::Merge { norm, .. } => {
                norm.bytes()
            }
            Self::Local { weights, bias, .. } => size_of_val(&**weights) + size_of_val(&**bias),
            Self::Scan(scan) => size_of_val(&*scan.rate) + size_of_val(&*scan.skip),
            Self::Shuffle { .. } => 0,
            Self::Distances(op) | Self::TokenDistances(op) => op.bytes(),
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
    /// Bytes of its constants.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weight) + size_of_val(&*self.bias)
    }

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

    /// Bytes of its constants.
    pub fn bytes(&self) -> usize {
        self.norm.bytes() + size_of_val(&*self.attend) + size_of_val(&*self.prototypes)
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
