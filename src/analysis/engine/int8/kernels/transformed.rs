//! Weights of [`Winograd`](super::winograd::Winograd), transformed and packed.

use std::ops::Range;

use super::super::layout::BLOCK;
use super::super::memory::Packed;
use super::super::program::Conv;
use super::winograd::{DEPTH, SIDE, WEIGHTS_LEN};

/// Taps of the kernel.
const TAPS: usize = 27;
/// The largest sum of absolute weights of a group: 128 · this · 2⁷ fits in 31 bits.
const MOST_WEIGHT: u64 = (1 << 17) - 1;

/// Weights along y and x, six rows of three.
const G4: [[i16; 3]; SIDE] =
    [[6, 0, 0], [-2, -2, -2], [-2, 2, -2], [1, 2, 4], [1, -2, 4], [0, 0, 6]];
/// Weights along z. The inputs along z, `d` being the four planes, are d₁ + d₂, d₂ − d₁, d₀ − d₂ and
/// d₁ − d₃. The first two products are needed as their sum and their difference, to which the third and the
/// fourth are added: that is why the last sign is turned.
const G2: [[i16; 3]; DEPTH] = [[1, 1, 1], [1, -1, 1], [2, 0, 0], [0, 0, -2]];
/// Values of a pair of input channels.
const PAIR: usize = 2 * BLOCK;

/// One tap, or one transformed value, of sixteen input and sixteen output channels, in the order in
/// which they are packed: `[channel pair in][channel out][2]`.
type Lanes = [i16; BLOCK * BLOCK];

/// Transformed weights, `[block out][y][x][half of the z][block in][channel pair in][z][channel out][2]`,
/// and the groups of input blocks that may be added before the division. `channels` are those of the inputs of `op`, each
/// padded to whole blocks, `depth` in all; `blocks` are those of the output.
pub(super) fn pack(
    op: &Conv,
    channels: &[usize],
    (depth, blocks): (usize, usize),
) -> (Packed<i16>, Vec<Range<usize>>) {
    let total: usize = channels.iter().sum();
    let inputs = block_of_each(channels);
    let block_len = SIDE * SIDE * 2 * depth * WEIGHTS_LEN;
    let mut packed = Packed::zeros(blocks * block_len);
    let mut sizes = vec![vec![0u64; op.weights.len() / (total * TAPS)]; depth];
    for (number, target) in packed.as_mut_slice().chunks_exact_mut(block_len).enumerate() {
        let outputs = op.weights.chunks(total * TAPS).skip(number * BLOCK).take(BLOCK);
        for (block, (first, count)) in inputs.iter().enumerate() {
            let mut taps = [[0; BLOCK * BLOCK]; TAPS];
            for (out, weights) in outputs.clone().enumerate() {
                let weights = &weights[first * TAPS..][..count * TAPS];
                sizes[block][number * BLOCK + out] = size(weights);
                for (lane, weights) in weights.chunks_exact(TAPS).enumerate() {
                    let place = (lane / 2 * BLOCK + out) * 2 + lane % 2;
                    for (tap, &weight) in taps.iter_mut().zip(weights) {
                        tap[place] = i16::from(weight);
                    }
                }
            }
            transform(&taps, |value, z, lanes| {
                let at = ((value * 2 + z / 2) * depth + block) * WEIGHTS_LEN;
                let pairs = target[at..][..WEIGHTS_LEN].chunks_exact_mut(PAIR);
                for (to, from) in pairs.skip(z % 2).step_by(2).zip(lanes.chunks_exact(PAIR)) {
                    to.copy_from_slice(from);
                }
            });
        }
    }
    (packed, groups(&sizes))
}

/// First channel and number of channels of every block of inputs.
fn block_of_each(channels: &[usize]) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    let mut before = 0;
    for &count in channels {
        let firsts = (0..count).step_by(BLOCK);
        blocks.extend(firsts.map(|first| (before + first, BLOCK.min(count - first))));
        before += count;
    }
    blocks
}

/// Sum of the absolute values.
fn size(weights: &[i8]) -> u64 {
    weights.iter().map(|weight| u64::from(weight.unsigned_abs())).sum()
}

/// Hands over the transformed values of taps `[z · 9 + y · 3 + x]` with their `y · 6 + x` and z.
fn transform(taps: &[Lanes; TAPS], mut store: impl FnMut(usize, usize, &Lanes)) {
    for (z, of_z) in G2.iter().enumerate() {
        let plane: [Lanes; 9] =
            std::array::from_fn(|at| sum(of_z, [0, 1, 2].map(|z| &taps[z * 9 + at])));
        for (y, of_y) in G4.iter().enumerate() {
            let row: [Lanes; 3] =
                std::array::from_fn(|x| sum(of_y, [0, 1, 2].map(|y| &plane[y * 3 + x])));
            for (x, of_x) in G4.iter().enumerate() {
                // 128 · 7 · 7 · 3 = 18,816 at most.
                store(y * SIDE + x, z, &sum(of_x, [0, 1, 2].map(|x| &row[x])));
            }
        }
    }
}

fn sum(factors: &[i16; 3], [a, b, c]: [&Lanes; 3]) -> Lanes {
    std::array::from_fn(|lane| factors[0] * a[lane] + factors[1] * b[lane] + factors[2] * c[lane])
}

/// As few as possible: a block joins the group before it unless a channel's weights grow too large.
fn groups(sizes: &[Vec<u64>]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut so_far: Vec<u64> = Vec::new();
    for (block, size) in sizes.iter().enumerate() {
        let joined: Vec<u64> = so_far.iter().zip(size).map(|(a, b)| a + b).collect();
        match groups.last_mut() {
            Some(group) if joined.iter().all(|&sum| sum <= MOST_WEIGHT) => {
                group.end = block + 1;
                so_far = joined;
            }
            _ => {
                groups.push(block..block + 1);
                so_far.clone_from(size);
            }
        }
    }
    groups
}
