//! What each kind of layer costs in the int8 engine, on every path this machine has; one thread.
//! `cargo bench --bench engine [-- FILTER]`, where a filter is part of `kind/path`.
//!
//! A layer is timed inside a program that quantises its input before it and shows one channel after it.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

// The tests' own generator of programs, by the path it uses.
#[path = "../../src/analysis/engine/int8/fixture.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod fixture;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use fixture::{Build, Random, window};
use hcc_edge::analysis::engine::int8::compute::Compute;
use hcc_edge::analysis::engine::int8::isa::Isa;
use hcc_edge::analysis::engine::int8::program::{self, PoolKind, ValueId};
use hcc_edge::analysis::engine::int8::run::{Engine, Whole};
use hcc_edge::analysis::engine::int8::tokens;

/// A layer of so many output channels after an input of so many channels.
type Add = fn(&mut Build, usize) -> ValueId;

/// Name, input channels, side of the input, output channels, and how to add the layer.
const LAYERS: [(&str, usize, usize, usize, Add); 23] = [
    ("conv 3 first 2 to 16 at 96", 2, 96, 16, cube::<1>),
    ("conv 3 16 to 16 at 96", 16, 96, 16, cube::<1>),
    ("conv 3 32 to 16 at 96", 32, 96, 16, cube::<1>),
    ("conv 3 32 to 32 at 48", 32, 48, 32, cube::<1>),
    ("conv 3 64 to 32 at 48", 64, 48, 32, cube::<1>),
    ("conv 3 64 to 64 at 24", 64, 24, 64, cube::<1>),
    ("conv 3 128 to 64 at 24", 128, 24, 64, cube::<1>),
    ("conv 3 256 to 128 at 12", 256, 12, 128, cube::<1>),
    ("conv 3 320 to 320 at 8", 320, 8, 320, cube::<1>),
    ("conv 3 320 to 320 at 4", 320, 4, 320, cube::<1>),
    ("conv 3 stride 2 16 to 32 at 96", 16, 96, 32, cube::<2>),
    ("conv 3 stride 2 32 to 64 at 48", 32, 48, 64, cube::<2>),
    ("conv 3 stride 2 128 to 160 at 12", 128, 12, 160, cube::<2>),
    ("conv 1×3×3 32 to 32 at 48", 32, 48, 32, flat),
    ("conv 3×3×1 32 to 32 at 48", 32, 48, 32, tall),
    ("conv 1×3×3 stride 1×2×2 32 to 64 at 48", 32, 48, 64, flat_stride),
    ("conv 1 64 to 32 at 48", 64, 48, 32, |build, width| {
        build.conv(&[0], width, window([1; 3], [1; 3]))
    }),
    ("transposed 2 32 to 16 at 48", 32, 48, 16, |build, width| build.upsample(0, width, [2; 3])),
    ("transposed 1×2×2 32 to 16 at 48", 32, 48, 16, |build, width| {
        build.upsample(0, width, [1, 2, 2])
    }),
    ("max-pool 2 32 at 48", 32, 48, 32, |build, _| {
        let window = program::Window { before: [0; 3], after: [0; 3], ..window([2; 3], [2; 3]) };
        build.pool(0, window, PoolKind::Max)
    }),
    ("doubled 32 at 24", 32, 24, 32, |build, _| build.double(0)),
    ("conv 3 with InstanceNorm 16 to 16 at 96", 16, 96, 16, |build, width| {
        build.normalised(&[0], width, (window([3; 3], [1; 3]), None))
    }),
    ("head 16 to 3 at 96", 16, 96, 3, |build, width| build.head(0, width)),
];

fn cube<const STRIDE: usize>(build: &mut Build, width: usize) -> ValueId {
    build.conv(&[0], width, window([3; 3], [STRIDE; 3]))
}

fn flat(build: &mut Build, width: usize) -> ValueId {
    build.conv(&[0], width, window([1, 3, 3], [1; 3]))
}

fn tall(build: &mut Build, width: usize) -> ValueId {
    build.conv(&[0], width, window([3, 3, 1], [1; 3]))
}

fn flat_stride(build: &mut Build, width: usize) -> ValueId {
    build.conv(&[0], width, window([1, 3, 3], [1, 2, 2]))
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    for (name, channels, side, width, add) in LAYERS {
        let mut group = criterion.benchmark_group(name);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            let mut layer = Timed::new((channels, side), |build| add(build, width), isa);
            group.throughput(Throughput::Elements(layer.macs));
            group.bench_function(isa.name(), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| layer.once()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

/// A layer between an input and a channel that is shown.
struct Timed {
    engine: Engine,
    input: Vec<f32>,
    size: [usize; 3],
    output: Vec<f32>,
    /// Of the layer, with what it stages, but for the first and the last step of the program.
    macs: u64,
    layers: usize,
}

impl Timed {
    fn new(
        (channels, side): (usize, usize),
        add: impl FnOnce(&mut Build) -> ValueId,
        isa: Isa,
    ) -> Self {
        let mut build = Build::new(1, channels, 10);
        let made = add(&mut build);
        // A head is shown as it is.
        let shown = if build.is_real(made) { made } else { build.head(made, 1) };
        let layers = shown + usize::from(shown == made);
        let program = build.finish(&[shown]);
        let size = [side; 3];
        let macs = program.macs(size).expect("a size that fits");
        let engine =
            Engine::new(&program, size, Compute { isa, ..Compute::alone() }).expect("an engine");
        let mut random = Random(3);
        let (count, [z, y, x]) = engine.outputs()[0];
        Self {
            engine,
            input: (0..channels * side.pow(3)).map(|_| random.unit() * 200.0 - 10.0).collect(),
            size,
            output: vec![0.0; count * z * y * x],
            macs: macs[1..layers].iter().sum::<u64>().max(1),
            layers,
        }
    }

    /// Time of the layer in one run.
    fn once(&mut self) -> Duration {
        let (mut begun, mut done) = (Instant::now(), Instant::now());
        let last = self.layers - 1;
        let input = Whole { values: black_box(&self.input), size: self.size };
        self.engine.run_watched(&input, &mut [&mut self.output], &mut |layer| match layer {
            0 => begun = Instant::now(),
            layer if layer == last => done = Instant::now(),
            _ => {}
        });
        done - begun
    }
}
