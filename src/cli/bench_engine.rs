//! `hcc-edge bench engine`: one network in the int8 engine, layer by layer. Figures, no verdicts.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::{exit, worker};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::int8::isa::Isa;
use crate::analysis::engine::int8::program::{Op, Program};
use crate::analysis::engine::int8::run::{Engine, Whole};
use crate::analysis::engine::lower;

/// What `hcc-edge bench engine` takes.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// ONNX file, quantised from its input to its outputs.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Voxels of the input along z, y and x.
    #[arg(long, value_name = "D,H,W", value_delimiter = ',', required = true)]
    size: Vec<usize>,
    /// Compute threads; one per core if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Timed runs, after one that is not.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Instructions instead of the best there are.
    #[arg(long, value_parser = worker::available)]
    isa: Option<Isa>,
    /// Input, f32 little-endian, `[channel, z, y, x]`; made from a seed if not given.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Writes the outputs one behind the other, in the same form.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// After loading, one run and one line of JSON for each line on standard input.
    #[arg(long, conflicts_with_all = ["output", "rounds"])]
    serve: bool,
}

/// Runs the command.
pub fn run(args: &EngineArgs, json: bool) -> anyhow::Result<u8> {
    let mut bench = Bench::new(args)?;
    bench.round();
    if args.serve {
        let mut out = io::stdout().lock();
        let mut about = bench.about();
        about["seconds"] = json!([]);
        writeln!(out, "{about}")?;
        out.flush()?;
        for line in io::stdin().lock().lines() {
            line?;
            bench.layers.iter_mut().for_each(Vec::clear);
            let seconds = bench.round().as_secs_f64();
            writeln!(out, "{}", json!({ "seconds": [seconds] }))?;
            out.flush()?;
        }
        return Ok(exit::OK);
    }
    bench.layers.iter_mut().for_each(Vec::clear);
    let seconds: Vec<f64> = (0..args.rounds).map(|_| bench.round().as_secs_f64()).collect();
    if let Some(file) = &args.output {
        let bytes: Vec<u8> =
            bench.outputs.concat().into_iter().flat_map(f32::to_le_bytes).collect();
        fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))?;
    }
    let mut figures = bench.about();
    figures["seconds"] = json!(seconds);
    figures["layers"] = bench.table();
    if json {
        println!("{figures}");
    } else {
        bench.print(&seconds);
    }
    Ok(exit::OK)
}

/// A network, an input, and what was measured.
struct Bench {
    program: Program,
    engine: Engine,
    size: [usize; 3],
    compute: Compute,
    load: Duration,
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
    /// Time of each layer in each round.
    layers: Vec<Vec<Duration>>,
}

impl Bench {
    fn new(args: &EngineArgs) -> anyhow::Result<Self> {
        let size = <[usize; 3]>::try_from(&args.size[..]).context("--size takes three numbers")?;
        let cores = std::thread::available_parallelism()?.get();
        let mut compute = Compute::with_threads(args.threads.unwrap_or(cores));
        compute.isa = args.isa.unwrap_or(compute.isa);
        let bytes =
            fs::read(&args.model).with_context(|| format!("reading {}", args.model.display()))?;
        let started = Instant::now();
        let lowering = lower::read_whole(&bytes)?;
        let Some(program) = lowering.program else {
            for refused in lowering.refused.iter().take(20) {
                eprintln!("{} ({}): {}", refused.node, refused.operator, refused.why);
            }
            bail!("{} is not quantised from end to end", args.model.display());
        };
        let engine = Engine::new(&program, size, compute)?;
        let load = started.elapsed();
        let input = input(args, program.input_channels * size.iter().product::<usize>())?;
        let outputs = engine.outputs().iter();
        let outputs = outputs.map(|(c, size)| vec![0.0; c * size.iter().product::<usize>()]);
        Ok(Self {
            outputs: outputs.collect(),
            layers: vec![Vec::new(); program.layers.len()],
            program,
            engine,
            size,
            compute,
            load,
            input,
        })
    }

    fn round(&mut self) -> Duration {
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut spent = vec![Duration::ZERO; self.layers.len()];
        let started = Instant::now();
        let mut last = started;
        let input = Whole { values: &self.input, size: self.size };
        self.engine.run_watched(&input, &mut outputs, &mut |layer| {
            let now = Instant::now();
            spent[layer] += now - last;
            last = now;
        });
        let all = started.elapsed();
        for (times, spent) in self.layers.iter_mut().zip(spent) {
            times.push(spent);
        }
        all
    }

    fn about(&self) -> Value {
        let memory = self.engine.memory();
        json!({
            "isa": self.compute.isa.name(),
            "threads": self.compute.threads,
            "size": self.size,
            "load_seconds": self.load.as_secs_f64(),
            "memory": {
                "arena": memory.arena,
                "weights": memory.weights,
                "scratch": memory.scratch,
            },
            "gmac": self.program.macs(self.size).iter().flatten().sum::<u64>() as f64 / 1e9,
        })
    }

    /// Name, kind, median milliseconds and GMAC/s of each layer.
    fn rows(&self) -> Vec<(&str, String, f64, f64)> {
        let macs = self.program.macs(self.size).unwrap_or_default();
        let rows = self.program.layers.iter().zip(&self.layers).zip(macs);
        rows.enumerate()
            .map(|(id, ((layer, times), macs))| {
                let ms = median(times).as_secs_f64() * 1e3;
                let kind = kind(&layer.op, self.program.values[id].channels);
                (layer.name.as_str(), kind, ms, macs as f64 / 1e6 / ms.max(1e-6))
            })
            .collect()
    }

    fn table(&self) -> Value {
        let row = |(name, kind, ms, gmacs)| json!({ "name": name, "kind": kind, "ms": ms, "gmacs": gmacs });
        self.rows().into_iter().map(row).collect()
    }

    fn print(&self, seconds: &[f64]) {
        for (name, kind, ms, gmacs) in self.rows() {
            println!("{ms:9.2} ms {gmacs:8.1} GMAC/s  {kind:<32} {name}");
        }
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (isa, threads) = (self.compute.isa.name(), self.compute.threads);
        let (median, least) = (sorted[sorted.len() / 2], sorted[0]);
        let load = self.load.as_secs_f64();
        println!(
            "{isa}, {threads} threads: median {median:.4} s, least {least:.4} s, loading {load:.3} s"
        );
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn kind(op: &Op, channels: usize) -> String {
    let by = |sides: [usize; 3]| sides.map(|side| side.to_string()).join("×");
    match op {
        Op::Quantise => "quantise".into(),
        Op::Conv(op) => {
            let (kernel, stride) = (by(op.window.kernel), by(op.window.stride));
            format!("conv {kernel} / {stride} → {channels}")
        }
        Op::Upsample(op) => format!("transposed {} → {channels}", by(op.kernel)),
        Op::Combine(op) => format!("sum of {} → {channels}", op.terms.len()),
        Op::Pool(op) => format!("pool {} → {channels}", by(op.window.kernel)),
        Op::Double(_) => format!("double → {channels}"),
        Op::Token(op) => format!("f32 {} → {channels}", op.name()),
    }
}

/// The file's numbers, or −2..2 from a seed.
fn input(args: &EngineArgs, len: usize) -> anyhow::Result<Vec<f32>> {
    let Some(file) = &args.input else {
        let mut state = 1u64;
        let mut next = || {
            // Knuth's MMIX generator; the high bits are the good ones.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        };
        return Ok((0..len).map(|_| next()).collect());
    };
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let (words, rest) = bytes.as_chunks::<4>();
    let found = words.len();
    ensure!(
        rest.is_empty() && found == len,
        "{} holds {found} numbers, the network needs {len}",
        file.display()
    );
    Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}
