//! `hcc-edge bench`: what a study and the idle daemon cost on this machine. Figures, no verdicts.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::bench_engine::{self, EngineArgs};
use super::daemon_process::DaemonProcess;
use super::exit;
use super::phantom::write_study;
use super::process::{mib, peak_rss_mib, process, stage_timings, throw_away};
use super::scratch::Scratch;
use super::watch::Watch;
use crate::config::BrokerUrl;
use crate::host::broker::EmbeddedBroker;
use crate::phantom::{Preset, study};

/// How long the daemon may take to appear.
const START: Duration = Duration::from_secs(120);

/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(3);

/// What `hcc-edge bench` takes.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Also a full-size study, 512 × 512 × 300 in two phases (a few minutes).
    #[arg(long)]
    full: bool,
    /// Folder of model packages, searched first.
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<What>,
}

/// One part alone.
#[derive(Debug, Subcommand)]
enum What {
    /// Measure one network in the int8 engine, layer by layer
    Engine(EngineArgs),
}

/// Runs the command; the figures go to standard output as one JSON object, or as lines.
pub fn run(args: &BenchArgs, json: bool) -> anyhow::Result<u8> {
    if let Some(What::Engine(engine)) = &args.what {
        return bench_engine::run(engine, json);
    }
    let mut figures = Map::new();
    figures.insert("threads".into(), json!(std::thread::available_parallelism()?.get()));
    let program = std::env::current_exe()?;
    figures.insert("binary_mib".into(), json!(mib(fs::metadata(program)?.len())));
    figures.insert("idle_rss_mib".into(), idle_rss(args)?);
    let mut presets = vec![("demo", Preset::Demo)];
    presets.extend(args.full.then_some(("full", Preset::Full)));
    for (name, preset) in presets {
        figures.insert(name.into(), one_study(args, preset)?);
    }
    if json {
        println!("{}", Value::from(figures));
    } else {
        figures.iter().for_each(|(name, value)| println!("{name:<14} {value}"));
    }
    Ok(exit::OK)
}

/// One phantom through worker, journal and signature.
fn one_study(args: &BenchArgs, preset: Preset) -> anyhow::Result<Value> {
    let (effective, scratch) = throw_away(args.models.as_deref(), &[])?;
    let (folder, out) = (scratch.path().join("study"), scratch.path().join("out"));
    write_study(&study(&preset.spec(1))?, &folder)?;
    let started = Instant::now();
    let verified = process(&effective, &folder, &out)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({
        "status": verified.message.status,
        "seconds": (seconds * 100.0).round() / 100.0,
        "stages_ms": stage_timings(&verified.message),
        "worker_peak_rss_mib": peak_rss_mib(&out),
    }))
}

/// Resident memory of a daemon that is connected and has nothing to do.
fn idle_rss(args: &BenchArgs) -> anyhow::Result<Value> {
    let scratch = Scratch::new("bench")?;
    let broker = BrokerUrl::loopback(EmbeddedBroker::start()?.port());
    let models = args.models.as_deref();
    let (mut daemon, trust) =
        DaemonProcess::demonstration(scratch.path(), "bench", &broker, models)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Watch::open(&broker, trust).await?.until_online(START, &mut daemon).await
    })?;
    std::thread::sleep(IDLE);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    daemon.stop()?;
    Ok(json!(mib(kib.context("/proc does not tell the daemon's memory")? << 10)))
}
