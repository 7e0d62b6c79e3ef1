//! The selective state space, in three steps: [`Steps`] makes step sizes and decays in the order in which tokens are
//! visited, [`Lines`] scans sixteen channels at a time along each axis order, there and back, and [`Mix`] adds up.

use std::sync::Arc;

use super::super::super::arithmetic::{LANES, Lanes, advance, exp, softplus};
use super::super::super::tokens::{AXIS_ORDERS, MAX_STATES, Scan};
use super::super::Place;
use super::{Read, Target, Wide, floats, lanes};

/// Orders.
const ORDERS: usize = AXIS_ORDERS.len();

/// A scan's shape, and where its own numbers lie in the arena: `[order, head, visited]` steps, as many decays,
/// `[order, visited, channel]` outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visited {
    size: [usize; 3],
    heads: usize,
    states: usize,
    channels: usize,
    offset: usize,
}

impl Visited {
    pub(super) fn new(scan: &Scan, size: [usize; 3], offset: usize) -> Self {
        let (heads, states, channels) = (scan.heads, scan.states, scan.signal.channels);
        Self { size, heads, states, channels, offset }
    }

    pub(super) fn bytes(scan: &Scan, tokens: usize) -> usize {
        ORDERS * tokens * (2 * scan.heads + scan.signal.channels) * size_of::<f32>()
    }

    fn tokens(&self) -> usize {
        self.size.iter().product()
    }

    /// Tokens from one place to the next along an axis.
    fn stride(&self, axis: usize) -> usize {
        self.size[axis + 1..].iter().product()
    }

    /// When the token at `[z, y, x]` is visited.
    #[inline(always)]
    fn place(&self, axes: [usize; 3], at: [usize; 3]) -> usize {
        let [_, middle, fast] = axes;
        (at[axes[0]] * self.size[middle] + at[middle]) * self.size[fast] + at[fast]
    }

    /// Steps, decays and outputs of all orders.
    unsafe fn numbers(&self, place: Place<'_>) -> (*mut f32, *mut f32, *mut f32) {
        let count = ORDERS * self.heads * self.tokens();
        // SAFETY: the plan gave this layer as many bytes from here on.
        unsafe {
            let steps = place.at::<f32>(self.offset);
            (steps, steps.add(count), steps.add(2 * count))
        }
    }
}

/// Step sizes and decays. A unit is one place along the slowest axis of one order.
pub(super) struct Steps {
    pub(super) selected: Read,
    pub(super) visited: Visited,
    /// `[order, head]`.
    pub(super) rate: Arc<[f32]>,
}

impl Steps {
    /// A row along the fastest axis: `first` is its first token, `to` its first place in the order.
    #[inline(always)]
    unsafe fn row(
        &self,
        place: Place<'_>,
        order: usize,
        (first, to): (usize, usize),
        row: &mut [f32],
    ) {
        let visited = &self.visited;
        let (axes, states) = (AXIS_ORDERS[order], visited.states);
        let (length, stride) = (visited.size[axes[2]], visited.stride(axes[2]));
        let from = order * (2 * states + visited.heads) + 2 * states;
        for head in 0..visited.heads {
            for (index, value) in row[..length].iter_mut().enumerate() {
                // SAFETY: a token of a value that an earlier layer made.
                *value = unsafe { self.selected.token(place, first + index * stride) }[from + head];
            }
            let rate = self.rate[order * visited.heads + head];
            let line = (order * visited.heads + head) * visited.tokens() + to;
            // SAFETY: this unit alone writes these places of the layer's own numbers.
            let (steps, decays) = unsafe {
                let (steps, decays, _) = visited.numbers(place);
                let steps = std::slice::from_raw_parts_mut(steps.add(line), length);
                (steps, std::slice::from_raw_parts_mut(decays.add(line), length))
            };
            for ((step, decay), &value) in steps.iter_mut().zip(decays).zip(&row[..length]) {
                *step = softplus(value);
                *decay = exp(-(*step * rate));
            }
        }
    }
}

impl Wide for Steps {
    fn units(&self) -> usize {
        AXIS_ORDERS.iter().map(|axes| self.visited.size[axes[0]]).sum()
    }

    fn scratch(&self) -> usize {
        self.visited.size.iter().max().unwrap_or(&0) * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        size_of_val(&*self.rate)
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let (visited, mut slowest) = (&self.visited, unit);
        let order = AXIS_ORDERS.iter().position(|axes| {
            let here = slowest < visited.size[axes[0]];
            slowest -= if here { 0 } else { visited.size[axes[0]] };
            here
        });
        let order = order.expect("a unit there is");
        let axes = AXIS_ORDERS[order];
        let [_, rows, length] = axes.map(|axis| visited.size[axis]);
        // SAFETY: the engine gave as much scratch memory as asked.
        unsafe {
            let row = floats(scratch, length);
            for middle in 0..rows {
                let first = slowest * visited.stride(axes[0]) + middle * visited.stride(axes[1]);
                let to = (slowest * rows + middle) * length;
                self.row(place, order, (first, to), row);
            }
        }
    }
}

/// The scans. A unit is sixteen channels of one order, there and back.
pub(super) struct Lines {
    pub(super) signal: Read,
    pub(super) selected: Read,
    pub(super) visited: Visited,
}

impl Lines {
    /// Visits the tokens of an order, forwards or backwards.
    #[inline(always)]
    unsafe fn line<const BACK: bool>(&self, place: Place<'_>, order: usize, block: usize) {
        let visited = &self.visited;
        let axes = AXIS_ORDERS[order];
        let [slow, middle, fast] = axes.map(|axis| visited.size[axis]);
        let strides = axes.map(|axis| visited.stride(axis));
        let tokens = visited.tokens();
        let head = block * LANES / (visited.channels / visited.heads);
        let (states, selection) = (visited.states, order * (2 * visited.states + visited.heads));
        let mut held = [[0.0; LANES]; MAX_STATES];
        let held: &mut [Lanes] = &mut held[..states];
        let turn = |index: usize, side: usize| if BACK { side - 1 - index } else { index };
        // SAFETY: places of the layer's own numbers; this unit alone writes these channels of this order's outputs.
        unsafe {
            let (steps, decays, outputs) = visited.numbers(place);
            let line = (order * visited.heads + head) * tokens;
            let steps = std::slice::from_raw_parts(steps.add(line), tokens);
            let decays = std::slice::from_raw_parts(decays.add(line), tokens);
            let outputs = outputs.add(order * tokens * visited.channels + block * LANES);
            for a in 0..slow {
                for b in 0..middle {
                    let (a, b) = (turn(a, slow), turn(b, middle));
                    let first = a * strides[0] + b * strides[1];
                    let visit = (a * middle + b) * fast;
                    for c in 0..fast {
                        let c = turn(c, fast);
                        let token = first + c * strides[2];
                        let signal = lanes(&self.signal.token(place, token)[block * LANES..]);
                        let chosen = &self.selected.token(place, token)[selection..][..2 * states];
                        let step = steps[visit + c];
                        let x = std::array::from_fn(|lane| signal[lane] * step);
                        let found = advance(held, chosen.split_at(states), decays[visit + c], &x);
                        let to = &mut *outputs.add((visit + c) * visited.channels).cast::<Lanes>();
                        let before = if BACK { *to } else { [0.0; LANES] };
                        let both = std::array::from_fn(|lane| before[lane] + found[lane]);
                        *to = if BACK { both } else { found };
                    }
                }
            }
        }
    }
}

impl Wide for Lines {
    fn units(&self) -> usize {
        ORDERS * self.visited.channels / LANES
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, _: *mut u8) {
        let (order, block) = (unit % ORDERS, unit / ORDERS);
        // SAFETY: by the caller's word.
        unsafe {
            self.line::<false>(place, order, block);
            self.line::<true>(place, order, block);
        }
    }
}

/// What is left of the signal, plus the orders. A unit is one row.
pub(super) struct Mix {
    pub(super) signal: Read,
    pub(super) skip: Arc<[f32]>,
    pub(super) visited: Visited,
    pub(super) target: Target,
}

impl Wide for Mix {
    fn units(&self) -> usize {
        let [depth, height, _] = self.target.size();
        depth * height
    }

    fn scratch(&self) -> usize {
        self.visited.channels * size_of::<f32>()
    }

    fn weights(&self) -> usize {
        size_of_val(&*self.skip)
    }

    #[inline(always)]
    unsafe fn unit(&self, unit: usize, place: Place<'_>, scratch: *mut u8) {
        let [_, height, width] = self.target.size();
        let (z, y) = (unit / height, unit % height);
        let (channels, tokens) = (self.visited.channels, self.visited.tokens());
        // SAFETY: the scans are done; this unit alone writes its row.
        unsafe {
            let mixed = floats(scratch, channels);
            let (_, _, outputs) = self.visited.numbers(place);
            let outputs =
                std::slice::from_raw_parts(outputs.cast_const(), ORDERS * tokens * channels);
            for x in 0..width {
                let token = unit * width + x;
                let signal = self.signal.token(place, token);
                for (to, (skip, signal)) in mixed.iter_mut().zip(self.skip.iter().zip(signal)) {
                    *to = skip * signal;
                }
                for (order, axes) in AXIS_ORDERS.into_iter().enumerate() {
                    let from = &outputs
                        [(order * tokens + self.visited.place(axes, [z, y, x])) * channels..]
                        [..channels];
                    for (to, from) in mixed.iter_mut().zip(from) {
                        *to += from;
                    }
                }
                self.target.store(place, [z, y, x], mixed);
            }
        }
    }
}
