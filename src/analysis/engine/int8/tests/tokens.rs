//! Float layers on every path and number of threads, bit for bit, and the scan against its definition in f64.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::bounds::LARGEST;
use super::super::compute::Compute;
use super::super::fixture::{Build, window};
use super::super::program::{Program, ProgramError, Quant, ValueId};
use super::super::ready::ReadyError;
use super::super::reference::{self, Data};
use super::super::run::Engine;
use super::super::tokens::{AXIS_ORDERS, Norm, Prototypes, Scan, TokenOp, View};
use super::{Inputs, check, input};

const FINE: Quant = Quant { scale: 0.01, zero_point: 128 };

/// Sizes around a block of a row.
fn sizes() -> impl Strategy<Value = [usize; 3]> {
    [1usize..6, 1usize..6, 1usize..20]
}

/// Hands the layer's value out in two ways: rounded, and as distances that every bit of it moves.
fn run(mut build: Build, op: TokenOp, size: [usize; 3]) -> Result<(), ProgramError> {
    let rounded = build.token(op.clone(), Some(FINE));
    let rounded = build.shown(rounded);
    let value = build.token(op, None);
    let view = build.view(value);
    let prototypes = build.prototypes(view, 3);
    let each = build.token(TokenOp::TokenDistances(prototypes.clone()), None);
    let together = build.token(TokenOp::Distances(prototypes), None);
    let len = 2 * size.iter().product::<usize>();
    let values = input(&mut build.random, Inputs::Any, len, 77);
    check(&build.try_finish(&[rounded, each, together])?, &values, size);
    Ok(())
}

/// A program with float values of these channels.
fn begin(seed: u64, channels: &[usize]) -> (Build, Vec<ValueId>) {
    let mut build = Build::new(seed, 2, 77);
    let values = channels.iter().map(|&channels| build.float(0, channels)).collect();
    (build, values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn layers_of_single_tokens_equal_the_reference(
        seed in any::<u64>(),
        size in sizes(),
        (blocks, before) in (1usize..4, 0usize..3),
    ) {
        let channels = 16 * blocks;
        let part = |value: ValueId| View { value, first: 16 * before, channels };
        let wide = channels + 16 * before;
        for which in 0..4 {
            let (mut build, values) = begin(seed, &[wide, wide, wide, 2 * channels]);
            let (input, norm) = (part(values[0]), build.norm(channels));
            let op = match which {
                0 => {
                    let (scale, bias) = (build.numbers(channels), build.numbers(channels));
                    TokenOp::Affine { input, scale, bias }
                }
                1 => TokenOp::Normalise { input, norm },
                2 => TokenOp::Gated { input, gate: part(values[1]), norm },
                _ => {
                    let base = build.view(values[3]);
                    TokenOp::Shuffle { base, near: part(values[1]), far: part(values[2]) }
                }
            };
            run(build, op, size).unwrap();
        }
    }

    #[test]
    fn merging_equals_the_reference(
        seed in any::<u64>(),
        size in [1usize..4, 1usize..4, 1usize..6],
        blocks in 1usize..3,
    ) {
        let (mut build, values) = begin(seed, &[16 * blocks]);
        let (input, norm) = (build.view(values[0]), build.norm(128 * blocks));
        run(build, TokenOp::Merge { input, norm }, size.map(|side| 2 * side)).unwrap();
    }

    #[test]
    fn the_local_window_equals_the_reference(
        seed in any::<u64>(),
        size in sizes(),
        (blocks, before) in (1usize..4, 0usize..2),
    ) {
        let channels = 16 * blocks;
        let (mut build, values) = begin(seed, &[channels + 16 * before]);
        let input = View { value: values[0], first: 16 * before, channels };
        let (weights, bias) = (build.numbers(27 * channels), build.numbers(channels));
        run(build, TokenOp::Local { input, weights, bias }, size).unwrap();
    }

    #[test]
    fn the_scan_equals_the_reference(
        seed in any::<u64>(),
        size in [1usize..5, 1usize..5, 1usize..9],
        (heads, blocks, states) in (1usize..4, 1usize..3, 1usize..6),
    ) {
        let (build, scan) = scan(seed, (heads, 16 * blocks, 4 * states));
        run(build, TokenOp::Scan(scan), size).unwrap();
    }
}

fn scan(seed: u64, (heads, size, states): (usize, usize, usize)) -> (Build, Scan) {
    let channels = heads * size;
    let (mut build, values) = begin(seed, &[channels, 3 * (2 * states + heads)]);
    let (signal, selected) = (build.view(values[0]), build.view(values[1]));
    let rate = build.numbers(3 * heads).iter().map(|rate| rate.abs()).collect();
    let skip = build.numbers(channels);
    (build, Scan { signal, selected, rate, skip, heads, states })
}

/// The recurrence as it is written in papers, in f64, with the library's exponential and logarithm.
#[test]
fn the_scan_is_the_selective_state_space() {
    let (size, states, heads) = ([3, 4, 5], 8, 2);
    let (mut build, scan) = scan(5, (heads, 16, states));
    let value = build.token(TokenOp::Scan(scan.clone()), None);
    let view = build.view(value);
    let prototypes = build.prototypes(view, 1);
    let head = build.token(TokenOp::Distances(prototypes), None);
    let values = input(&mut build.random, Inputs::Any, 120, 77);
    let program = build.finish(&[head]);
    let made = reference::run(&program, &values, size).unwrap();
    let numbers = |id: ValueId, c: usize, token: usize| match &made[id] {
        Data::Real(values) => f64::from(values[c * 60 + token]),
        other => panic!("{other:?}"),
    };
    for channel in 0..32 {
        let mut expected: Vec<f64> = (0..60)
            .map(|token| f64::from(scan.skip[channel]) * numbers(scan.signal.value, channel, token))
            .collect();
        for (order, axes) in AXIS_ORDERS.into_iter().enumerate() {
            let places = |token: usize| [token / 20, token / 5 % 4, token % 5];
            let mut tokens: Vec<usize> = (0..60).collect();
            tokens.sort_by_key(|&token| axes.map(|axis| places(token)[axis]));
            for _ in 0..2 {
                let mut state = vec![0.0; states];
                for &token in &tokens {
                    let chosen = |c: usize| {
                        numbers(scan.selected.value, order * (2 * states + heads) + c, token)
                    };
                    let head = channel / 16;
                    let step = chosen(2 * states + head).exp().ln_1p();
                    let decay = (-step * f64::from(scan.rate[order * heads + head])).exp();
                    let x = step * numbers(scan.signal.value, channel, token);
                    for (n, state) in state.iter_mut().enumerate() {
                        *state = decay * *state + chosen(n) * x;
                        expected[token] += chosen(states + n) * *state;
                    }
                }
                tokens.reverse();
            }
        }
        for (token, expected) in expected.into_iter().enumerate() {
            let found = numbers(value, channel, token);
            let error = (found - expected).abs();
            assert!(
                error <= 1e-4 * expected.abs().max(1.0),
                "channel {channel}, token {token}: {found} for {expected}"
            );
        }
    }
}

/// What a float layer makes of one input, and the input: `[channel, z, y, x]`.
fn made(mut build: Build, op: TokenOp, size: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let from = op.views()[0].value;
    let value = build.token(op, None);
    let shown = build.head(0, 1);
    let values = input(&mut build.random, Inputs::Any, 2 * size.iter().product::<usize>(), 77);
    let made = reference::run(&build.finish(&[shown]), &values, size).unwrap();
    let wide = |id: ValueId| match &made[id] {
        Data::Real(values) => values.iter().map(|&value| f64::from(value)).collect(),
        other => panic!("{other:?}"),
    };
    (wide(from), wide(value))
}

/// The corner z, y, x of a token's eight gives channels from `(4z + 2y + x)` times the width on, as the model's body
/// concatenates them; normalised in f64.
#[test]
fn merging_takes_corners_with_x_fastest() {
    let (mut build, values) = begin(8, &[16]);
    let (input, norm) = (build.view(values[0]), build.norm(128));
    let op = TokenOp::Merge { input, norm: norm.clone() };
    let (from, found) = made(build, op, [2, 4, 6]);
    for (z, y, x) in (0..1).flat_map(|z| (0..2).flat_map(move |y| (0..3).map(move |x| (z, y, x)))) {
        let mut token = Vec::new();
        for dz in 0..2 {
            for dy in 0..2 {
                for dx in 0..2 {
                    let place = (2 * z + dz) * 24 + (2 * y + dy) * 6 + 2 * x + dx;
                    token.extend((0..16).map(|c| from[c * 48 + place]));
                }
            }
        }
        let mean = token.iter().sum::<f64>() / 128.0;
        let variance = token.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 128.0;
        for (c, value) in token.iter().enumerate() {
            let unit = (value - mean) / (variance + f64::from(norm.epsilon)).sqrt();
            let expected = unit * f64::from(norm.weight[c]) + f64::from(norm.bias[c]);
            let found = found[c * 6 + (2 * z + y) * 3 + x];
            assert!((found - expected).abs() <= 1e-5, "{z} {y} {x}, {c}: {found} for {expected}");
        }
    }
}

/// Tap `9z + 3y + x` reads one voxel before the own one at 0, one behind at 2, and 0 outside; in f64.
#[test]
fn the_local_window_takes_taps_with_x_fastest() {
    let (mut build, values) = begin(12, &[16]);
    let (weights, bias) = (build.numbers(27 * 16), build.numbers(16));
    let input = build.view(values[0]);
    let op = TokenOp::Local { input, weights: weights.clone(), bias: bias.clone() };
    let (from, found) = made(build, op, [3, 4, 5]);
    let at = |c: usize, [z, y, x]: [i32; 3]| {
        let inside = (0..3).contains(&z) && (0..4).contains(&y) && (0..5).contains(&x);
        if inside { from[c * 60 + (z * 20 + y * 5 + x) as usize] } else { 0.0 }
    };
    for place in 0..60 {
        let [z, y, x] = [place / 20, place / 5 % 4, place % 5];
        for c in 0..16 {
            let mut sum = f64::from(bias[c]);
            for dz in 0..3 {
                for dy in 0..3 {
                    for dx in 0..3 {
                        let weight = weights[(9 * dz + 3 * dy + dx) as usize * 16 + c];
                        sum += f64::from(weight) * at(c, [z + dz - 1, y + dy - 1, x + dx - 1]);
                    }
                }
            }
            let expected = sum / (1.0 + (-sum).exp());
            let found = found[c * 60 + place as usize];
            assert!((found - expected).abs() <= 2e-5, "{z} {y} {x}, {c}: {found} for {expected}");
        }
    }
}

#[test]
fn sides_that_do_not_halve_are_refused() {
    let (mut build, values) = begin(1, &[16]);
    let (input, norm) = (build.view(values[0]), build.norm(128));
    let merged = build.token(TokenOp::Merge { input, norm }, Some(FINE));
    let shown = build.shown(merged);
    let program: Program = build.finish(&[shown]);
    assert_eq!(program.shapes([4, 2, 6]).map(|shapes| shapes[merged]), Some([2, 1, 3]));
    assert_eq!(program.shapes([4, 3, 6]), None);
}

/// Everything that a kernel relies on without looking again.
#[test]
fn numbers_that_do_not_fit_are_refused() {
    let change = |change: &dyn Fn(&mut Scan)| {
        let (mut build, mut scan) = scan(3, (2, 16, 8));
        change(&mut scan);
        let value = build.token(TokenOp::Scan(scan), Some(FINE));
        let shown = build.shown(value);
        build.try_finish(&[shown]).map(|_| ()).map_err(|error| error.what)
    };
    assert_eq!(change(&|_| {}), Ok(()));
    let refused = |found: Result<(), String>, words: &str| {
        assert!(found.as_ref().is_err_and(|what| what.contains(words)), "{words}: {found:?}");
    };
    refused(change(&|scan| scan.heads = 0), "in 0 heads");
    refused(change(&|scan| scan.heads = 4), "in 4 heads");
    refused(change(&|scan| scan.states = 6), "6 states");
    refused(change(&|scan| scan.states = 68), "68 states");
    refused(change(&|scan| scan.states = 12), "expected 78");
    refused(change(&|scan| Arc::make_mut(&mut scan.rate)[0] = -1.0), "negative");
    refused(change(&|scan| Arc::make_mut(&mut scan.rate)[0] = f32::NAN), "rates");
    refused(change(&|scan| scan.skip = scan.skip[..31].into()), "skips");
    refused(change(&|scan| scan.signal.first = 16), "reads View");
    refused(change(&|scan| scan.signal.first = usize::MAX), "reads View");
    refused(change(&|scan| scan.signal.channels = 24), "multiples of 16");
    refused(change(&|scan| scan.signal.value = 0), "not f32");
}

/// Appends a layer that reads the first of the values.
type Make<'a> = &'a dyn Fn(&mut Build, &[ValueId]) -> TokenOp;

/// What an engine says that it holds, and the bound by which it is refused before, with this layer; and the layer's
/// constants.
fn counted(make: Option<Make>) -> (usize, usize, usize) {
    let (mut build, values) = begin(3, &[32, 32, 64, 54]);
    let mut outputs = vec![build.head(0, 1)];
    let op = make.map(|make| make(&mut build, &values));
    let bytes = op.as_ref().map_or(0, TokenOp::bytes);
    if let Some(op) = op {
        let head = op.is_head();
        let value = build.token(op, None);
        outputs.extend(head.then_some(value));
    }
    let program = build.finish(&outputs);
    let with = |memory| Engine::new(&program, [4; 3], Compute { memory, ..Compute::alone() });
    let needed = with(usize::MAX).unwrap().memory();
    match with(0).err() {
        Some(ReadyError::Memory { bytes: told, .. }) => {
            (needed.weights, told - needed.arena, bytes)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn constants_of_every_float_layer_are_counted() {
    let (held, bound, _) = counted(None);
    for make in EVERY {
        let (more, higher, bytes) = counted(Some(&make));
        assert_eq!((more - held, higher - bound), (bytes, bytes));
    }
}

/// One of every kind, for values of 32, 32, 64 and 54 channels.
const EVERY: [fn(&mut Build, &[ValueId]) -> TokenOp; 9] = [
    |build, values| {
        let (scale, bias) = (build.numbers(32), build.numbers(32));
        TokenOp::Affine { input: build.view(values[0]), scale, bias }
    },
    |build, values| TokenOp::Normalise { input: build.view(values[0]), norm: build.norm(32) },
    |build, values| {
        let (input, gate) = (build.view(values[0]), build.view(values[1]));
        TokenOp::Gated { input, gate, norm: build.norm(32) }
    },
    |build, values| TokenOp::Merge { input: build.view(values[0]), norm: build.norm(256) },
    |build, values| {
        let (weights, bias) = (build.numbers(27 * 32), build.numbers(32));
        TokenOp::Local { input: build.view(values[0]), weights, bias }
    },
    |build, values| {
        let (signal, selected) = (build.view(values[0]), build.view(values[3]));
        let rate = build.numbers(6).iter().map(|rate| rate.abs()).collect();
        TokenOp::Scan(Scan { signal, selected, rate, skip: build.numbers(32), heads: 2, states: 8 })
    },
    |build, values| {
        let [near, far, base] = [0, 1, 2].map(|index| build.view(values[index]));
        TokenOp::Shuffle { base, near, far }
    },
    |build, values| TokenOp::Distances(build.prototypes(build.view(values[0]), 3)),
    |build, values| TokenOp::TokenDistances(build.prototypes(build.view(values[0]), 3)),
];

/// Every constant of a layer, multiplied.
fn amplified(op: TokenOp, factor: f32) -> TokenOp {
    let more = |numbers: Arc<[f32]>| -> Arc<[f32]> { numbers.iter().map(|n| n * factor).collect() };
    let norm = |norm: Norm| Norm { weight: more(norm.weight), bias: more(norm.bias), ..norm };
    let prototypes = |op: Prototypes| Prototypes {
        norm: norm(op.norm),
        attend: more(op.attend),
        level: op.level * factor,
        prototypes: more(op.prototypes),
        ..op
    };
    match op {
        TokenOp::Affine { input, scale, bias } => {
            TokenOp::Affine { input, scale: more(scale), bias: more(bias) }
        }
        TokenOp::Normalise { input, norm: of } => TokenOp::Normalise { input, norm: norm(of) },
        TokenOp::Gated { input, gate, norm: of } => TokenOp::Gated { input, gate, norm: norm(of) },
        TokenOp::Merge { input, norm: of } => TokenOp::Merge { input, norm: norm(of) },
        TokenOp::Local { input, weights, bias } => {
            TokenOp::Local { input, weights: more(weights), bias: more(bias) }
        }
        TokenOp::Scan(scan) => {
            TokenOp::Scan(Scan { rate: more(scan.rate), skip: more(scan.skip), ..scan })
        }
        TokenOp::Shuffle { .. } => op,
        TokenOp::Distances(op) => TokenOp::Distances(prototypes(op)),
        TokenOp::TokenDistances(op) => TokenOp::TokenDistances(prototypes(op)),
    }
}

/// Inputs and constants of any size: either the program is refused, or every number it makes is one, and within the
/// bound that the program was checked by.
#[test]
fn what_could_become_infinite_is_refused_and_the_rest_stays_finite() {
    for (kind, make) in EVERY.into_iter().enumerate() {
        let mut counts = [0, 0];
        for (loud, factor) in (0..9).flat_map(|a| (0..9).map(move |b| (4 * a, 4 * b))) {
            let (mut build, values) = begin(9, &[32, 32, 64, 54]);
            values.iter().for_each(|&value| build.amplify(value, 10f32.powi(loud)));
            let op = amplified(make(&mut build, &values), 10f32.powi(factor));
            let head = op.is_head();
            let made = build.token(op, None);
            let shown = if head { made } else { build.head(0, 1) };
            let values = input(&mut build.random, Inputs::Any, 2 * 64, 77);
            let Ok(program) = build.try_finish(&[shown]) else {
                counts[0] += 1;
                continue;
            };
            counts[1] += 1;
            for (id, value) in reference::run(&program, &values, [4; 3]).unwrap().iter().enumerate()
            {
                let Data::Real(numbers) = value else { continue };
                let most = numbers.iter().map(|n| n.abs()).fold(0.0, f32::max);
                assert!(
                    numbers.iter().all(|n| n.is_finite()),
                    "kind {kind}, {loud}, {factor}, {id}"
                );
                assert!(f64::from(most) <= LARGEST, "kind {kind}, {loud}, {factor}, {id}: {most}");
            }
        }
        assert!(counts.iter().all(|&count| count > 0), "kind {kind}: {counts:?}");
    }
}

/// A bound is carried through: no layer alone is too much.
#[test]
fn float_layers_that_grow_step_by_step_are_refused() {
    let grown = |steps: usize| {
        let (mut build, values) = begin(2, &[16]);
        let mut value = values[0];
        for _ in 0..steps {
            let (scale, bias) = (vec![1000.0; 16].into(), vec![0.0; 16].into());
            value = build.token(TokenOp::Affine { input: build.view(value), scale, bias }, None);
        }
        let shown = build.head(0, 1);
        build.try_finish(&[shown]).map(|_| ()).map_err(|error| error.what)
    };
    assert_eq!(grown(8), Ok(()));
    assert!(grown(12).unwrap_err().contains("the limit of float layers is 1e30"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A block or several, rows shorter and longer than what a path computes together.
    #[test]
    fn convolutions_to_float_values_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..5, 1usize..5, 1usize..40],
        (blocks, inputs) in (1usize..5, 1usize..40),
        (side, slope) in (1usize..4, prop_oneof![Just(1.0f32), Just(0.0), Just(-0.5)]),
    ) {
        let mut build = Build::new(seed, 2, 77);
        let part = build.conv(&[0], inputs, window([1; 3], [1; 3]));
        let window = window([side; 3], [1; 3]);
        prop_assume!(window.shape(size).is_some_and(|shape| !shape.contains(&0)));
        let value = build.float_conv(part, 16 * blocks, (window, slope));
        shows_float(build, value, size);
    }
}

/// Every bit of a float value, by distances of each token; rounded too.
fn shows_float(mut build: Build, value: ValueId, size: [usize; 3]) {
    let view = build.view(value);
    let prototypes = build.prototypes(view, 2);
    let each = build.token(TokenOp::TokenDistances(prototypes), None);
    let (scale, bias) = (build.numbers(view.channels), build.numbers(view.channels));
    let rounded = build.token(TokenOp::Affine { input: view, scale, bias }, Some(FINE));
    let shown = build.shown(rounded);
    let values = input(&mut build.random, Inputs::Any, 2 * size.iter().product::<usize>(), 77);
    check(&build.finish(&[each, shown]), &values, size);
}

/// Sides from which on Winograd's kernel takes a convolution; not one to f32.
#[test]
fn a_large_convolution_to_a_float_value_equals_the_reference() {
    for (side, channels) in [(17, 16), (18, 48)] {
        let mut build = Build::new(4, 2, 77);
        let part = build.conv(&[0], 20, window([1; 3], [1; 3]));
        let value = build.float_conv(part, channels, (window([3; 3], [1; 3]), 0.0));
        shows_float(build, value, [side; 3]);
    }
}

/// One voxel: its channels lie side by side in an output, which ends before the block does.
#[test]
fn an_output_of_one_voxel_ends_with_its_channels() {
    for channels in [1, 5, 16, 21, 32] {
        let mut build = Build::new(6, 2, 77);
        let shown = build.head(0, channels);
        let values = input(&mut build.random, Inputs::Any, 2, 77);
        check(&build.finish(&[shown]), &values, [1; 3]);
    }
}
