//! `hcc-edge segment`: one volume through one segmentation package, to try a network before it is installed. No
//! study, no gate, no journal and nothing signed: a picture of labels, and what it cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, exit};
use super::process::mib;
use super::progress::Progress;
use crate::analysis::decode::{ImageName, Limits, decode};
use crate::analysis::engine::golden;
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::manifest::IntendedUse;
use crate::analysis::engine::package::Package;
use crate::analysis::segment::{Localiser, Segmenter};
use crate::analysis::volume::restore::to_nifti_gz;
use crate::analysis::volume::{HuVolume, LIVER, Mask, TUMOUR, VoxelBox};
use crate::host::packages::Terms;
use crate::host::{files, keys, packages};
use crate::seal::trust::TrustStore;
use crate::seal::verify::PackageMode;

/// What `hcc-edge segment` takes.
#[derive(Debug, Args)]
pub struct SegmentArgs {
    /// Portal venous phase, NIfTI-1.
    #[arg(value_name = "VOLUME")]
    volume: PathBuf,
    /// Folder of a signed segmentation package, `NAME/VERSION`.
    #[arg(long, value_name = "FOLDER")]
    package: PathBuf,
    /// File to write, `.nii.gz`: 0 background, 1 liver, 2 tumour, on the volume's grid.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of a signed localisation package: only the liver's box is labelled then.
    #[arg(long, value_name = "FOLDER")]
    localiser: Option<PathBuf>,
    /// Average over mirrored patches, along the axes that an imported package names: up to eight times the work.
    #[arg(long)]
    mirror: bool,
    /// Trust store; the default are the demonstration keys beside the packages.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Compute threads; one per core if not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: &SegmentArgs, json: bool) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism()?.get();
    let compute = Compute::with_threads(args.threads.unwrap_or(cores));
    let started = Instant::now();
    let scan = read(&args.volume)?;
    let read_seconds = started.elapsed().as_secs_f64();
    let (mask, mut figures) = labels(args, &scan, compute)?;
    let picture = to_nifti_gz(mask.labels.view(), &scan.geometry)?;
    files::write_durably(&args.out, &picture, 0o640)
        .with_context(|| format!("writing {}", args.out.display()))?;
    let ml = |label| {
        let voxels = mask.labels.iter().filter(|&&found| found == label).count();
        voxels as f64 * scan.geometry.spacing.voxel_mm3() / 1000.0
    };
    figures["out"] = json!(args.out);
    figures["liver_ml"] = json!(ml(LIVER));
    figures["tumour_ml"] = json!(ml(TUMOUR));
    figures["read_seconds"] = json!(read_seconds);
    figures["seconds"] = json!(started.elapsed().as_secs_f64());
    figures["peak_rss_mib"] = json!(peak_rss_mib());
    if json {
        println!("{figures}");
    } else {
        print(&figures);
    }
    Ok(exit::OK)
}

fn read(volume: &Path) -> anyhow::Result<HuVolume> {
    let limits = Limits::STANDARD;
    let reading = || exit(exit::NO_INPUT, format!("reading {}", volume.display()));
    let found = fs::metadata(volume).with_context(reading)?.len();
    if found > limits.file.0 {
        bail!("{} has {found} bytes, the limit is {}", volume.display(), limits.file);
    }
    let bytes = fs::read(volume).with_context(reading)?;
    let rejected = || exit(exit::INPUT_REJECTED, format!("reading {}", volume.display()));
    Ok(decode(ImageName::Portal, &bytes, &limits).with_context(rejected)?.volume)
}

/// The labels, and what made them.
fn labels(args: &SegmentArgs, scan: &HuVolume, compute: Compute) -> anyhow::Result<(Mask, Value)> {
    let package = verified(&args.package, args.trust.as_deref())?;
    let test = golden::self_test(&package, compute).context("testing the package")?;
    let progress = Progress::new();
    let mut region = VoxelBox { start: [0; 3], end: scan.geometry.shape };
    if let Some(folder) = &args.localiser {
        let localiser = verified(folder, args.trust.as_deref())?;
        progress.show("localise", 0);
        let located = Localiser::new(&localiser, compute)?.locate(scan, &mut |_| ())?;
        let found = located.region;
        region = found.with_context(|| format!("no liver in {}", args.volume.display()))?;
    }
    let mut segmenter = Segmenter::load(&package, compute)?;
    if args.mirror {
        segmenter = segmenter.with_mirroring();
    }
    let needed = segmenter.predicted_peak(scan, region);
    if needed.0 > compute.memory as u64 {
        bail!("labelling {} needs about {needed}; name a --localiser", args.volume.display());
    }
    let mut patches = 0;
    let mask = segmenter.segment(scan, region, &mut |p| {
        patches = p.total;
        progress.show("segment", (100 * p.done / p.total.max(1)) as u8);
    })?;
    let engine = segmenter.engine();
    let figures = json!({
        "package": package.manifest.name,
        "version": package.manifest.version,
        "demonstration": package.manifest.intended_use == IntendedUse::Demonstration,
        "backend": engine.backend,
        "arithmetic": engine.arithmetic.name(),
        "threads": engine.threads,
        "golden_error": test.max_abs_error,
        "box": { "start": region.start, "end": region.end },
        "patches": patches,
    });
    Ok((mask, figures))
}

/// A package whose signature and files hold.
fn verified(folder: &Path, trust: Option<&Path>) -> anyhow::Result<Package> {
    let mode = PackageMode::Demonstration;
    let roots = packages::search_order(folder.parent().and_then(Path::parent), None, mode);
    let trust = match trust {
        Some(path) => {
            keys::load_trust(path)?.with_context(|| format!("no file {}", path.display()))?
        }
        None => packages::trust_for(&TrustStore::default(), &roots, mode)?,
    };
    let refused = || exit(exit::VERIFICATION_FAILED, format!("verifying {}", folder.display()));
    let terms = Terms::new(trust, mode, &roots).with_context(refused)?;
    let verified = packages::load(folder, &terms).with_context(refused)?;
    Ok(Package::new(&verified.manifest_toml, verified.manifest_digest, verified.files)?)
}

/// Highest resident memory of this process.
fn peak_rss_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(mib(kib << 10))
}

fn print(figures: &Value) {
    if figures["demonstration"] == true {
        println!("DEMONSTRATION, not for clinical use");
    }
    let number = |name: &str| figures[name].as_f64().unwrap_or_default();
    let word = |name: &str| figures[name].as_str().unwrap_or_default();
    println!("package  {} {}", word("package"), word("version"));
    println!(
        "engine   {}, {}, {} threads",
        word("backend"),
        word("arithmetic"),
        figures["threads"]
    );
    println!("liver    {:.0} ml", number("liver_ml"));
    println!("tumour   {:.1} ml", number("tumour_ml"));
    let (seconds, peak) = (number("seconds"), number("peak_rss_mib"));
    println!("cost     {seconds:.1} s, {} patches, {peak:.0} MiB at its peak", figures["patches"]);
    println!("labels   {}", word("out"));
}
