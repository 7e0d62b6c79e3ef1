//! Every kernel, path and number of threads against the reference, bit for bit.

use proptest::prelude::*;

use super::compute::Compute;
use super::fixture::{Build, Random, Weights, hash, pmn, unet, window};
use super::isa::Isa;
use super::program::{PoolKind, Program, Scaling, Term, Window};
use super::ready::{ReadyError, least_winograd};
use super::reference::{self, Data};
use super::run::Engine;

mod tokens;

/// What inputs look like.
#[derive(Debug, Clone, Copy)]
enum Inputs {
    Any,
    Lowest,
    Highest,
    Alternating,
}

fn input(random: &mut Random, inputs: Inputs, len: usize, zero: u8) -> Vec<f32> {
    let (low, high) = (-f32::from(zero), 255.0 - f32::from(zero));
    (0..len)
        .map(|index| match inputs {
            Inputs::Any => low + random.unit() * 255.0,
            Inputs::Lowest => low,
            Inputs::Highest => high,
            Inputs::Alternating => {
                if index % 2 == 0 {
                    low
                } else {
                    high
                }
            }
        })
        .collect()
}

/// Sides from which on Winograd's kernel is tried: as small as it can be, and where it is used.
fn winograd_from(isa: Isa) -> Vec<Option<usize>> {
    let used = least_winograd(isa);
    let mut tried = vec![used, used.map(|_| 1)];
    tried.dedup();
    tried
}

/// Runs on every path there is, with every choice of kernels, with one to three threads, twice each.
fn check(program: &Program, input: &[f32], size: [usize; 3]) {
    let values = reference::run(program, input, size).expect("the input fits");
    let expected: Vec<&Vec<f32>> = program
        .outputs
        .iter()
        .map(|&id| match &values[id] {
            Data::Real(values) => values,
            other => panic!("output {id} is {other:?}"),
        })
        .collect();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        let choices = winograd_from(isa).into_iter().flat_map(|w| (1..=3).map(move |t| (w, t)));
        for (winograd, threads) in choices {
            let compute = Compute { isa, ..Compute::with_threads(threads) };
            let mut engine = Engine::with_winograd(program, size, compute, winograd).unwrap();
            for _ in 0..2 {
                let mut found: Vec<Vec<f32>> =
                    expected.iter().map(|values| vec![f32::NAN; values.len()]).collect();
                let mut outputs: Vec<&mut [f32]> =
                    found.iter_mut().map(Vec::as_mut_slice).collect();
                engine.run(input, &mut outputs);
                for (found, expected) in found.iter().zip(&expected) {
                    let differing =
                        found.iter().zip(*expected).filter(|(a, b)| a.to_bits() != b.to_bits());
                    let count = differing.count();
                    let first =
                        found.iter().zip(*expected).position(|(a, b)| a.to_bits() != b.to_bits());
                    assert_eq!(
                        count,
                        0,
                        "{isa:?}, {threads} threads: {count} of {} differ, first at {first:?}: {:?} for {:?}",
                        found.len(),
                        first.map(|at| found[at]),
                        first.map(|at| expected[at]),
                    );
                }
            }
        }
    }
}

fn inputs() -> impl Strategy<Value = Inputs> {
    prop_oneof![
        4 => Just(Inputs::Any),
        1 => Just(Inputs::Lowest),
        1 => Just(Inputs::Highest),
        1 => Just(Inputs::Alternating),
    ]
}

fn weights() -> impl Strategy<Value = Weights> {
    prop_oneof![
        4 => Just(Weights::Any),
        1 => Just(Weights::All(127)),
        1 => Just(Weights::All(-128)),
        1 => Just(Weights::All(0)),
        1 => Just(Weights::Alternating),
    ]
}

/// One to three concatenated inputs of the same quantisation, by 1×1×1 convolutions of value 0.
fn split(build: &mut Build, channels: &[usize]) -> Vec<usize> {
    channels.iter().map(|&channels| build.conv(&[0], channels, window([1; 3], [1; 3]))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..14, 1usize..14, 1usize..14],
        (kernel, stride) in ([1usize..4, 1usize..4, 1usize..4], [1usize..3, 1usize..3, 1usize..3]),
        channels in prop::collection::vec(1usize..40, 1..5),
        outputs in 1usize..36,
        (zero, kinds) in (any::<u8>(), (inputs(), weights())),
    ) {
        let mut build = Build::new(seed, 2, zero);
        let parts = split(&mut build, &channels);
        build.weights = kinds.1;
        let window = window(kernel, stride);
        prop_assume!(window.shape(size).is_some_and(|shape| !shape.contains(&0)));
        let conv = build.conv(&parts, outputs, window);
        build.weights = Weights::Any;
        let shown = build.shown(conv);
        let input = input(&mut build.random, kinds.0, 2 * size.iter().product::<usize>(), zero);
        check(&build.finish(&[shown]), &input, size);
    }

    /// The Winograd kernel, to its bounds: all sides from 6 on, all groups of channels.
    #[test]
    fn winograd_equals_the_reference(
        seed in any::<u64>(),
        size in [6usize..13, 6usize..15, 6usize..19],
        channels in prop::collection::vec(1usize..50, 1..3),
        outputs in 1usize..34,
        (before, after) in ([0usize..3, 0usize..3, 0usize..3], [0usize..3, 0usize..3, 0usize..3]),
        (zero, kinds) in (any::<u8>(), (inputs(), weights())),
    ) {
        let mut build = Build::new(seed, 3, zero);
        let parts = split(&mut build, &channels);
        build.weights = kinds.1;
        let window = Window { kernel: [3; 3], stride: [1; 3], before, after };
        let conv = build.conv(&parts, outputs, window);
        build.weights = Weights::Any;
        let shown = build.shown(conv);
        let input = input(&mut build.random, kinds.0, 3 * size.iter().product::<usize>(), zero);
        check(&build.finish(&[shown]), &input, size);
    }

    #[test]
    fn first_layers_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..10, 1usize..10, 1usize..20],
        (inputs_count, outputs) in (1usize..6, 1usize..20),
        (kernel, stride) in ([1usize..6, 1usize..6, 1usize..6], [1usize..3, 1usize..3, 1usize..3]),
        (zero, kinds) in (any::<u8>(), (inputs(), weights())),
    ) {
        let mut build = Build::new(seed, inputs_count, zero);
        build.weights = kinds.1;
        let window = window(kernel, stride);
        prop_assume!(window.shape(size).is_some_and(|shape| !shape.contains(&0)));
        let conv = build.conv(&[0], outputs, window);
        build.weights = Weights::Any;
        let shown = build.shown(conv);
        let input = input(&mut build.random, kinds.0, inputs_count * size.iter().product::<usize>(), zero);
        check(&build.finish(&[shown]), &input, size);
    }

    #[test]
    fn transposed_convolutions_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..6, 1usize..6, 1usize..16],
        kernel in [1usize..4, 1usize..4, 1usize..4],
        (inputs_count, outputs) in (1usize..40, 1usize..36),
        (zero, kinds) in (any::<u8>(), (inputs(), weights())),
    ) {
        let mut build = Build::new(seed, 2, zero);
        let part = split(&mut build, &[inputs_count])[0];
        build.weights = kinds.1;
        let up = build.upsample(part, outputs, kernel);
        let staged = build.staged_upsample(part, outputs, kernel);
        let head = build.upsampling_head(part, outputs, kernel);
        build.weights = Weights::Any;
        let shown = [build.shown(up), build.shown(staged), head];
        let input = input(&mut build.random, kinds.0, 2 * size.iter().product::<usize>(), zero);
        check(&build.finish(&shown), &input, size);
    }

    #[test]
    fn normalised_sums_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..14, 1usize..9, 1usize..9],
        channels in 1usize..36,
        (residual, winograd) in any::<(bool, bool)>(),
        (zero, kinds) in (any::<u8>(), (inputs(), weights())),
    ) {
        let size = if winograd { size.map(|side| side.max(6)) } else { size };
        let mut build = Build::new(seed, 2, zero);
        let part = split(&mut build, &[channels])[0];
        build.weights = kinds.1;
        let window = window([3; 3], [1; 3]);
        let sum = build.normalised(&[part], channels, (window, residual.then_some(part)));
        build.weights = Weights::Any;
        let shown = build.shown(sum);
        let input = input(&mut build.random, kinds.0, 2 * size.iter().product::<usize>(), zero);
        check(&build.finish(&[shown]), &input, size);
    }

    #[test]
    fn sums_pools_and_doubling_equal_the_reference(
        seed in any::<u64>(),
        size in [1usize..8, 1usize..8, 1usize..8],
        channels in 1usize..36,
        (kernel, stride) in ([1usize..4, 1usize..4, 1usize..4], [1usize..3, 1usize..3, 1usize..3]),
        (zero, kind) in (any::<u8>(), inputs()),
    ) {
        let mut build = Build::new(seed, 2, zero);
        let parts = split(&mut build, &[channels, channels]);
        let mut scaling = |_| Scaling::Fixed {
            scale: (0..channels).map(|_| build.random.unit() * 3.0 - 1.0).collect(),
            bias: (0..channels).map(|_| build.random.unit() * 100.0 - 50.0).collect(),
        };
        let scalings = [scaling(0), scaling(1)];
        let terms = parts.iter().zip(scalings).map(|(&input, scaling)| Term { input, scaling });
        let sum = build.combine(terms.collect(), channels);
        let window = window(kernel, stride);
        prop_assume!(window.shape(size).is_some_and(|shape| !shape.contains(&0)));
        let largest = build.pool(sum, window, PoolKind::Max);
        let mean = build.pool(sum, window, PoolKind::Mean { scale: 0.9 });
        let doubled = build.double(sum);
        let shown = [sum, largest, mean, doubled].map(|value| build.shown(value));
        let input = input(&mut build.random, kind, 2 * size.iter().product::<usize>(), zero);
        check(&build.finish(&shown), &input, size);
    }
}

#[test]
fn many_channels_need_groups_and_stay_exact() {
    for weights in [Weights::All(127), Weights::All(-127), Weights::Alternating, Weights::Any] {
        let mut build = Build::new(7, 1, 3);
        let parts = split(&mut build, &[320, 320]);
        build.weights = weights;
        let conv = build.conv(&parts, 17, window([3; 3], [1; 3]));
        build.weights = Weights::Any;
        let shown = build.shown(conv);
        let input = input(&mut build.random, Inputs::Any, 6 * 6 * 6, 3);
        check(&build.finish(&[shown]), &input, [6; 3]);
    }
}

/// Values far beyond what is stored, and activations that are not the larger one of `v` and `slope · v`.
#[test]
fn any_scale_and_slope_equals_the_reference() {
    for (scale, slope) in
        [(0.01, 0.0), (0.01, 1.5), (0.01, -0.5), (1e3, 0.1), (-1e6, 1.0), (1e30, -2.0)]
    {
        for side in [3, 7] {
            let mut build = Build::new(11, 1, 100);
            let part = split(&mut build, &[20])[0];
            let conv = build.conv(&[part], 18, window([3; 3], [1; 3]));
            build.set_affine(conv, scale, slope);
            let shown = build.shown(conv);
            let input = input(&mut build.random, Inputs::Any, side * side * side, 100);
            check(&build.finish(&[shown]), &input, [side; 3]);
        }
    }
}

/// Every kind of float layer in one program.
#[test]
fn a_network_of_float_layers_equals_the_reference() {
    for size in [[8, 6, 10], [2, 2, 2], [4, 2, 18]] {
        let input = input(&mut Random(5), Inputs::Any, 2 * size.iter().product::<usize>(), 77);
        check(&pmn(3), &input, size);
    }
}

#[test]
fn whole_networks_equal_the_reference() {
    for normalise in [false, true] {
        let program = unet(3, (2, &[16, 24, 40]), normalise);
        for size in [[8, 8, 8], [12, 16, 20], [4, 4, 8]] {
            let voxels = size.iter().product::<usize>();
            let input = input(&mut Random(5), Inputs::Any, 2 * voxels, 10);
            check(&program, &input, size);
        }
    }
}

/// The bits of all outputs on every path, with every choice of kernels.
fn gives(program: &Program, (input, size): (&[f32], [usize; 3]), expected: u64, name: &str) {
    let paths = Isa::ALL.into_iter().filter(|isa| isa.available());
    for (isa, winograd) in
        paths.flat_map(|isa| winograd_from(isa).into_iter().map(move |w| (isa, w)))
    {
        let compute = Compute { isa, ..Compute::with_threads(2) };
        let mut engine = Engine::with_winograd(program, size, compute, winograd).unwrap();
        let lengths = engine.outputs().iter().map(|(c, size)| c * size.iter().product::<usize>());
        let mut found: Vec<Vec<f32>> = lengths.map(|length| vec![f32::NAN; length]).collect();
        let mut outputs: Vec<&mut [f32]> = found.iter_mut().map(Vec::as_mut_slice).collect();
        engine.run(input, &mut outputs);
        let found = hash(&found.concat());
        assert_eq!(found, expected, "{isa:?}, {name}: {found:#x}");
    }
}

/// Quantised layers, normalised sums, and float layers.
#[test]
fn networks_give_the_same_bits_on_every_machine() {
    let size = [12, 16, 20];
    let voxels = size.iter().product::<usize>();
    let input = input(&mut Random(5), Inputs::Any, 2 * voxels, 10);
    for (normalise, expected) in [(false, 0x826b_26bd_df03_f5e3), (true, 0x4412_4f41_d2a5_b6ac)] {
        let program = unet(3, (2, &[16, 24, 40]), normalise);
        gives(&program, (&input, size), expected, if normalise { "normalised" } else { "plain" });
    }
    gives(&pmn(3), (&input, size), 0xf9b7_6a37_ac73_eeac, "pmn");
}

#[test]
fn instructions_that_the_machine_has_not_are_refused() {
    let missing: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| !isa.available()).collect();
    assert!(!missing.is_empty(), "no machine has the instructions of both x86-64 and AArch64");
    for isa in missing {
        let program = unet(3, (2, &[16]), false);
        let refused = Engine::new(&program, [8; 3], Compute { isa, ..Compute::alone() }).err();
        assert_eq!(refused, Some(ReadyError::Isa { isa }));
    }
}

#[test]
fn every_path_is_found_by_its_name() {
    for isa in Isa::ALL {
        assert_eq!(Isa::named(isa.name()), Some(isa));
    }
    assert_eq!(Isa::named("neon "), None);
}

/// A kernel writes a value in f32 into the output that it is: there must be one, and one only.
#[test]
fn outputs_are_the_values_in_f32_each_once() {
    let head = |outputs: fn(usize, usize) -> Vec<usize>| {
        let mut build = Build::new(1, 2, 0);
        let (first, second) = (build.head(0, 3), build.head(0, 1));
        build.try_finish(&outputs(first, second)).map_err(|error| error.what)
    };
    assert!(head(|a, b| vec![a, b]).is_ok());
    assert!(head(|a, b| vec![b, a]).is_ok());
    for outputs in [|_, _| vec![], |a, _| vec![a], |a, b| vec![a, b, b], |a, _| vec![0, a]] {
        assert!(head(outputs).unwrap_err().contains("each once"));
    }
    let mut build = Build::new(1, 2, 0);
    let many: Vec<usize> = (0..9).map(|_| build.head(0, 1)).collect();
    assert!(build.try_finish(&many).unwrap_err().what.contains("expected 1 to 8"));
}

/// What `1 / step` cannot be is refused: paths differ on what is not a number.
#[test]
fn a_step_that_has_no_inverse_is_refused() {
    let with = |step: f32| {
        let mut build = Build::new(1, 1, 0);
        build.weights = Weights::All(0);
        let sum = build.normalised(&[0], 1, (window([1; 3], [1; 3]), None));
        let shown = build.shown(sum);
        build.set_steps(sum - 1, step);
        build.try_finish(&[shown])
    };
    assert!(with(1e-38).is_ok());
    assert!(with(1e-40).unwrap_err().what.contains("too small to divide by"));
}

/// The sum fits in 32 bits; the products of the activations as they are stored do not on the way.
#[test]
fn sums_that_wrap_on_the_way_come_out() {
    let mut build = Build::new(1, 1, 128);
    let parts = split(&mut build, &[640, 640, 640, 128]);
    build.weights = Weights::All(127);
    let conv = build.conv(&parts, 1, window([4; 3], [1; 3]));
    build.weights = Weights::Any;
    let shown = build.shown(conv);
    let input = input(&mut build.random, Inputs::Highest, 5 * 4 * 4, 128);
    check(&build.finish(&[shown]), &input, [5, 4, 4]);
}

/// By a bound that no packing exceeds, before anything is packed; and with what the threads need, before
/// that is taken.
#[test]
fn a_network_that_needs_too_much_memory_is_refused() {
    let size = [20, 20, 32];
    for (channels, widths) in [(1, vec![3, 5]), (2, vec![16, 24, 40]), (4, vec![33, 7])] {
        let program = unet(3, (channels, &widths), channels == 2);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            for threads in [1, 64] {
                let with = |memory: usize| {
                    Engine::new(
                        &program,
                        size,
                        Compute { isa, memory, ..Compute::with_threads(threads) },
                    )
                };
                let needed = with(usize::MAX).unwrap().memory();
                let enough = needed.total() + 16 * needed.weights;
                assert!(with(enough).is_ok(), "{isa:?}: {needed:?}");
                let limits =
                    [0, needed.arena, needed.arena + needed.weights - 1, needed.total() - 1];
                for limit in limits {
                    match with(limit).err() {
                        Some(ReadyError::Memory { size: told, bytes, limit: allowed }) => {
                            assert_eq!((told, allowed), (size, limit));
                            assert!(
                                bytes > limit && bytes < enough,
                                "{isa:?}: {bytes}, {needed:?}"
                            );
                        }
                        other => panic!("{isa:?}, limit {limit}: {other:?}"),
                    }
                }
            }
        }
    }
}

/// 7³⁰ is beyond any count: refused, not wrapped.
#[test]
fn sides_that_cannot_be_counted_are_refused() {
    let mut build = Build::new(1, 1, 0);
    let last = (0..30).fold(0, |value, _| build.upsample(value, 1, [7; 3]));
    let head = build.head(last, 1);
    let refused = Engine::new(&build.finish(&[head]), [4096; 3], Compute::alone()).err();
    assert_eq!(refused, Some(ReadyError::Size { size: [4096; 3] }));
}
