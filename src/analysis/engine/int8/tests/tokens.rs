//! Float layers on every path and number of threads, bit for bit, and the scan against its definition in f64.

use proptest::prelude::*;

use super::super::fixture::Build;
use super::super::program::{Program, ProgramError, Quant, ValueId};
use super::super::reference::{self, Data};
use super::super::tokens::{AXIS_ORDERS, Scan, TokenOp, View};
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
    let rate = build.numbers(3 * heads).into_iter().map(f32::abs).collect();
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
    refused(change(&|scan| scan.rate[0] = -1.0), "negative");
    refused(change(&|scan| scan.rate[0] = f32::NAN), "rates");
    refused(change(&|scan| scan.skip.truncate(31)), "skips");
    refused(change(&|scan| scan.signal.first = 16), "reads View");
    refused(change(&|scan| scan.signal.first = usize::MAX), "reads View");
    refused(change(&|scan| scan.signal.channels = 24), "multiples of 16");
    refused(change(&|scan| scan.signal.value = 0), "not f32");
}
