//! `hcc-edge process`: one study on the command line, through the same worker, journal and signature
//! as in the daemon, without inbox and broker.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::{self, exit};
use super::progress::Progress;
use super::run::device_code;
use super::scratch::Scratch;
use super::settings::{self, ConfigArgs};
use super::show::Readable;
use crate::config::{self, Effective, Sources};
use crate::daemon::device::Device;
use crate::daemon::lane::{Ended, Lane, Tested};
use crate::daemon::notice::{Notice, Tell};
use crate::daemon::pulse::Pulse;
use crate::daemon::release;
use crate::daemon::sealing::open_journal;
use crate::host::clock;
use crate::host::files::create_private_folder;
use crate::host::inbox::{self, Claim};
use crate::host::journal::{JobId, Record};
use crate::host::keys;
use crate::host::mqtt::messages::{JobPhase, JobUpdate};
use crate::seal::verify::{Verified, verify};
use crate::seal::wire::{CompletionRule, ResultMessage, Slug};

/// Owner and group may read a copy: it may carry the patient's identity.
const COPY_MODE: u32 = 0o640;

/// What `hcc-edge process` takes.
#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// Folder of the study: arterial and portal images, clinical.json. It is left as it is.
    study: PathBuf,
    /// Folder for the result and the study's files; must not hold a result yet. It is made for this
    /// user alone, and its files cannot be read by others: they carry the patient's identity.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Use this device's configuration, keys and journal instead of throw-away ones; not while its
    /// daemon runs.
    #[arg(long)]
    device: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder of model packages, searched first.
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// Of a DICOM study, also write segmentation, overview and measurements as DICOM objects; they
    /// carry the patient's identity.
    #[arg(long)]
    dicom_objects: bool,
}

/// Runs the command; the exit code follows the result's status.
pub fn run(args: &ProcessArgs, json: bool) -> anyhow::Result<u8> {
    if !args.study.is_dir() {
        return Err(anyhow::anyhow!("{} is not a folder", args.study.display())
            .context(exit(exit::NO_INPUT, "reading the study")));
    }
    if args.out.join(release::RESULT).exists() {
        bail!("{} holds a result already: name another folder", args.out.display());
    }
    let mut config = args.config.clone();
    if args.dicom_objects {
        config.set.push(("dicom.objects".to_owned(), "true".to_owned()));
    }
    let (effective, _scratch) = if args.device {
        (config.load()?, None)
    } else {
        let (effective, scratch) = throw_away(args.models.as_deref(), &config.set)?;
        (effective, Some(scratch))
    };
    let verified = process(&effective, &args.study, &args.out)?;
    if json {
        println!("{}", object(&verified, &args.out));
    } else {
        println!("{}", Readable(&verified.message));
        for file in files(&args.out) {
            println!("File    {}", file.display());
        }
    }
    Ok(exit::of_result(&verified.message))
}

/// Processes a copy of the study on this device; the result's files and the trust store that
/// believes them go to `out`.
pub fn process(
    effective: &Effective,
    study: &Path,
    out: &Path,
) -> anyhow::Result<Verified<ResultMessage>> {
    let device = Device::open(effective).map_err(|error| {
        let code = device_code(&error);
        anyhow::Error::from(error).context(exit(code, "opening the device"))
    })?;
    let device = Arc::new(device);
    let place = carry(&device, study)?;
    copy_files(&place, out)?;
    let (keys_folder, address) = (device.state.keys(), &device.address);
    let trust_text = keys::export(&keys_folder, &address.site, &address.device)?;
    fs::write(out.join(keys::TRUST_STORE), trust_text)
        .with_context(|| format!("writing into {}", out.display()))?;
    let cose = fs::read(out.join(release::RESULT))?;
    Ok(verify(&cose, &device.trust, Some(address))?)
}

/// A device with a new key whose state goes away with the folder.
pub fn throw_away(
    models: Option<&Path>,
    set: &[(String, String)],
) -> anyhow::Result<(Effective, Scratch)> {
    let scratch = Scratch::new("process")?;
    let state = scratch.path().join("state");
    let text = settings::demonstration(&state, "workstation", "mqtt://localhost", models);
    let sources = Sources { text: &text, environment: Vec::new(), flags: set.to_vec() };
    let effective = config::load(&sources).with_context(|| exit(exit::CONFIG, "--set"))?;
    let (site, device) = (&effective.config.site, &effective.config.device);
    keys::init(&state.join("keys"), &Slug::new(site.as_str())?, &Slug::new(device.as_str())?)?;
    Ok((effective, scratch))
}

/// Claims a copy of the study and carries it to its place, which is returned.
fn carry(device: &Arc<Device>, study: &Path) -> anyhow::Result<PathBuf> {
    let mut random = [0; 8];
    keys::random(&mut random)?;
    let job = JobId::new(random);
    let journal = open_journal(device)?;
    let arrived_ms = clock::steady_ms();
    let (rule, study_name) = (CompletionRule::DoneMarker, study_name(study));
    claim_copy(device, study, Claim { job, study: study_name, rule, arrived_ms })?;
    journal.append(vec![Record::Claim { job, arrived_ms }])?;
    let progress = Progress::new();
    let tell: Tell = Arc::new(move |notice| match notice {
        Notice::Job(JobUpdate { phase: JobPhase::Running { stage, percent }, .. }) => {
            progress.show(&stage, percent);
        }
        Notice::Alarm(code, Some(detail)) => log::warn!("{}: {detail}", code.as_str()),
        Notice::Job(_)
        | Notice::Alarm(_, None)
        | Notice::Outbox
        | Notice::Again(_)
        | Notice::Fatal(_) => {}
    });
    let stop = Arc::new(AtomicBool::new(false));
    let pulse = Arc::new(Pulse::start());
    let lane = Lane {
        device: device.clone(),
        journal: journal.clone(),
        tell,
        stop,
        pulse,
        tested: Tested::Any,
    };
    let Ended::Released { seq } = lane.carry(job)? else { bail!("the study was not finished") };
    let ledger = journal.ledger();
    let failed = ledger.result(seq).is_some_and(|entry| entry.failed);
    Ok(release::place(&device.state, job, failed))
}

/// Claims a copy, made where no scan of the inbox looks.
fn claim_copy(device: &Device, study: &Path, claim: Claim) -> anyhow::Result<()> {
    let copy = device.state.inbox().join(format!(".process-{}", claim.job));
    let claimed = copy_files(study, &copy)
        .and_then(|()| Ok(inbox::take(&device.state, &copy, claim)?))
        .and_then(|claimed| claimed.context("the copy of the study vanished"));
    if claimed.is_err() {
        // It is gone already when the claim failed after the move.
        let _ = fs::remove_dir_all(&copy);
    }
    claimed.map(|_| ())
}

fn study_name(study: &Path) -> String {
    let absolute = study.canonicalize().unwrap_or_else(|_| study.to_path_buf());
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Copies the plain files of a folder and of those within it, as deep as a study may be, and one level
/// more, so that what lies too deep is told. Folders that are made are this user's alone, and no copy can
/// be read by others than its owner and group.
pub fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_level(from, to, 0)
}

fn copy_level(from: &Path, to: &Path, level: usize) -> anyhow::Result<()> {
    create_private_folder(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_file() {
            copy_file(&entry.path(), &target)?;
        } else if kind.is_dir() && level <= inbox::MOST_LEVELS {
            copy_level(&entry.path(), &target, level + 1)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = File::open(from).with_context(|| format!("reading {}", from.display()))?;
    let writing = || format!("writing {}", to.display());
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(COPY_MODE);
    let mut target = options.open(to).with_context(writing)?;
    // One that was there already has a mode of its own.
    let mode = target.metadata().with_context(writing)?.permissions().mode() & COPY_MODE;
    target.set_permissions(Permissions::from_mode(mode)).with_context(writing)?;
    io::copy(&mut source, &mut target).with_context(writing)?;
    Ok(())
}

/// Files of a result, by name.
pub fn files(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// What the run cost, as the daemon wrote it beside the result.
fn run_facts(out: &Path) -> Value {
    let bytes = fs::read(out.join(release::RUN)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Highest resident memory of the worker, MiB, to one decimal.
pub fn peak_rss_mib(out: &Path) -> Option<f64> {
    run_facts(out)["peak_rss_bytes"].as_u64().map(mib)
}

/// Bytes as MiB, to one decimal.
pub fn mib(bytes: u64) -> f64 {
    (bytes as f64 / 104_857.6).round() / 10.0
}

/// Milliseconds by the name of the stage.
pub fn stage_timings(result: &ResultMessage) -> Map<String, Value> {
    let timings = result.timings_ms.iter();
    timings.map(|timing| (timing.stage.name().to_owned(), json!(timing.elapsed_ms))).collect()
}

fn object(verified: &Verified<ResultMessage>, out: &Path) -> Value {
    json!({
        "verified": true,
        "kid": verified.kid,
        "result": verified.message,
        "run": run_facts(out),
        "files": files(out),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn copies_and_the_folders_made_for_them_are_private() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("input")).unwrap();
        for name in ["measurements.dcm", "input/portal.dcm", "there.dcm"] {
            fs::write(from.join(name), name).unwrap();
            fs::set_permissions(from.join(name), Permissions::from_mode(0o666)).unwrap();
        }
        copy_files(&from, &to).unwrap();
        fs::set_permissions(to.join("there.dcm"), Permissions::from_mode(0o666)).unwrap();
        copy_files(&from, &to).unwrap();
        for name in ["measurements.dcm", "input/portal.dcm", "there.dcm"] {
            assert_eq!(fs::read(to.join(name)).unwrap(), name.as_bytes());
            assert_eq!(mode(&to.join(name)) & 0o137, 0, "{name}");
        }
        assert_eq!([mode(&to), mode(&to.join("input"))], [0o700; 2]);
        // A folder that was there is left as it is.
        fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
        copy_files(&from, &to).unwrap();
        assert_eq!(mode(&to), 0o755);
    }
}
