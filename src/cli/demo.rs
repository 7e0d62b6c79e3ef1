//! `hcc-edge demo`: the whole path on one machine. An embedded broker, the real daemon as a process
//! of its own, a phantom study dropped in its inbox, and a subscriber that believes nothing but
//! verified results.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::daemon_process::DaemonProcess;
use super::exit::{self, exit};
use super::phantom::write_study;
use super::process::{copy_files, files, peak_rss_mib, stage_timings};
use super::progress::Progress;
use super::scratch::Scratch;
use super::show::Readable;
use super::truth::{Comparison, compare};
use super::watch::Watch;
use crate::config::BrokerUrl;
use crate::daemon::release;
use crate::host::broker::EmbeddedBroker;
use crate::host::keys;
use crate::phantom::{Preset, study};
use crate::seal::verify::Verified;
use crate::seal::wire::ResultMessage;

/// Name of the demonstration device.
const DEVICE: &str = "box-1";

/// How long the daemon may take to appear on the broker.
const START: Duration = Duration::from_secs(120);

/// How long the study may take.
const STUDY: Duration = Duration::from_secs(1_800);

/// How long a signed result may take to lie in `done/`.
const RELEASE: Duration = Duration::from_secs(60);

/// What `hcc-edge demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Drop this study folder instead of a phantom.
    #[arg(long, value_name = "FOLDER")]
    study: Option<PathBuf>,
    /// Seed of the phantom.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use this broker instead of the embedded one.
    #[arg(long, value_name = "URL")]
    broker: Option<BrokerUrl>,
    /// Keep the daemon's state directory: inbox, journal, keys, input.
    #[arg(long)]
    keep: bool,
    /// Folder of model packages, searched first.
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
}

/// Runs the demonstration; the exit code follows the result's status.
pub fn run(args: &DemoArgs, json: bool) -> anyhow::Result<u8> {
    let started = Instant::now();
    let mut scratch = Scratch::new("demo")?;
    scratch.keep();
    let stage = Stage { root: scratch.path().to_owned() };
    let truth = stage.prepare_study(args)?;
    let broker = match &args.broker {
        Some(url) => url.clone(),
        None => BrokerUrl::loopback(EmbeddedBroker::start()?.port()),
    };
    step(&format!("broker     {broker}"));
    let outcome = stage.play(args, &broker)?;
    let out = stage.root.join("result");
    let daemon_files = stage.keep_result(&outcome.cose, &out)?;
    if !args.keep {
        fs::remove_dir_all(stage.state()).context("removing the demonstration's state")?;
    }
    let comparison = truth.as_ref().map(|truth| compare(truth, &outcome.verified.message));
    let run = Run { outcome, comparison, truth, files: daemon_files, out, took: started.elapsed() };
    if json {
        println!("{}", run.json())
    } else {
        run.print(&stage, args.keep)
    }
    Ok(exit::of_result(&run.outcome.verified.message))
}

fn step(text: &str) {
    eprintln!("{text}");
}

/// The folders of one demonstration.
struct Stage {
    root: PathBuf,
}

/// What the subscriber saw.
struct Outcome {
    verified: Verified<ResultMessage>,
    cose: Vec<u8>,
}

impl Stage {
    fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    fn dropped(&self) -> PathBuf {
        self.root.join("study")
    }

    /// Writes the phantom, or copies the study named; returns the phantom's truth.
    fn prepare_study(&self, args: &DemoArgs) -> anyhow::Result<Option<Value>> {
        let folder = self.dropped();
        if let Some(named) = &args.study {
            copy_files(named, &folder)
                .with_context(|| exit(exit::NO_INPUT, format!("copying {}", named.display())))?;
            if files(&folder).is_empty() {
                return Err(anyhow!("{} holds no file", named.display())
                    .context(exit(exit::INPUT_REJECTED, "looking at the study")));
            }
            return Ok(None);
        }
        let files = study(&Preset::Demo.spec(args.seed))?;
        write_study(&files, &folder)?;
        step(&format!("phantom    two-phase liver CT, seed {}", args.seed));
        Ok(Some(serde_json::from_slice(&files.sheets.truth_json)?))
    }

    /// Starts the daemon, drops the study, waits for its verified result.
    fn play(&self, args: &DemoArgs, broker: &BrokerUrl) -> anyhow::Result<Outcome> {
        let models = args.models.as_deref();
        let (mut daemon, trust) = DaemonProcess::demonstration(&self.root, DEVICE, broker, models)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let mut watch = Watch::open(broker, trust).await?;
            watch.until_online(START, &mut daemon).await?;
            step("daemon     self-test passed, online");
            self.drop_into_inbox()?;
            step("study      dropped in the inbox");
            let progress = Progress::new();
            watch.until_result(STUDY, &mut daemon, &progress).await
        })?;
        self.wait_for_release(&outcome.1)?;
        daemon.stop()?;
        Ok(Outcome { verified: outcome.0, cose: outcome.1 })
    }

    /// As a scanner does it: the folder appears whole, by rename, with its marker inside.
    fn drop_into_inbox(&self) -> anyhow::Result<()> {
        let folder = self.dropped();
        fs::write(folder.join(".done"), b"")?;
        fs::rename(&folder, self.state().join("inbox").join("demo-study"))
            .context("dropping the study in the inbox")
    }

    /// The folder in `done/` or `failed/` that holds exactly this result.
    fn place_of(&self, cose: &[u8]) -> Option<PathBuf> {
        let parents = ["done", "failed"].map(|name| self.state().join(name));
        let folders = parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten();
        let mut paths = folders.flatten().map(|entry| entry.path());
        paths.find(|path| fs::read(path.join(release::RESULT)).is_ok_and(|found| found == cose))
    }

    fn wait_for_release(&self, cose: &[u8]) -> anyhow::Result<()> {
        let deadline = Instant::now() + RELEASE;
        while self.place_of(cose).is_none() {
            if Instant::now() > deadline {
                bail!(
                    "the signed result did not appear in {}",
                    self.state().join("done").display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Copies the result's files to `out`; returns them.
    fn keep_result(&self, cose: &[u8], out: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let place = self.place_of(cose).ok_or_else(|| anyhow!("the result's folder is gone"))?;
        copy_files(&place, out)?;
        let store = self.state().join("keys").join(keys::TRUST_STORE);
        fs::copy(store, out.join(keys::TRUST_STORE))?;
        Ok(files(out))
    }
}

/// Everything there is to say in the end.
struct Run {
    outcome: Outcome,
    comparison: Option<Vec<Comparison>>,
    truth: Option<Value>,
    files: Vec<PathBuf>,
    out: PathBuf,
    took: Duration,
}

impl Run {
    fn json(&self) -> Value {
        let result = &self.outcome.verified.message;
        json!({
            "verified": true,
            "kid": self.outcome.verified.kid,
            "status": result.status,
            "reasons": result.reasons,
            "intended_use": result.intended_use,
            "result_id": result.result_id,
            "pmn": result.pmn,
            "nomograms": result.nomograms,
            "clinical": result.clinical,
            "recommendation": result.recommendation,
            "lesions": result.lesions,
            "truth": self.truth,
            "timings_ms": stage_timings(result),
            "total_seconds": self.took.as_secs_f64(),
            "peak_rss_mib": peak_rss_mib(&self.out),
            "files": self.files,
        })
    }

    fn print(&self, stage: &Stage, kept: bool) {
        println!("\n{}", Readable(&self.outcome.verified.message));
        if let Some(peak) = peak_rss_mib(&self.out) {
            println!("Memory  worker peak {peak:.0} MiB");
        }
        for comparison in self.comparison.iter().flatten() {
            println!("Truth   {comparison}");
        }
        println!("\nSignature verified with key {}", self.outcome.verified.kid);
        for file in &self.files {
            println!("File    {}", file.display());
        }
        if kept {
            println!("State   {}", stage.state().display());
        }
        println!("\nThe whole demonstration took {:.1} s.", self.took.as_secs_f64());
    }
}
