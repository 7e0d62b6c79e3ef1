//! `hcc-edge models`: signs, verifies, lists, installs and selects model packages.

mod change;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{NO_INPUT, OK, VERIFICATION_FAILED};
use crate::analysis::engine::lower;
use crate::analysis::engine::manifest::Manifest;
use crate::analysis::engine::package::MODEL_FILE;
use crate::host::packages::list::{self, Listed, Standing};
use crate::host::packages::{Terms, VerifiedPackage};
use crate::host::{keys, packages};
use crate::seal::trust::TrustStore;
use crate::seal::verify::PackageMode;
use crate::seal::wire::{Digest, Slug};

/// Arguments of `models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// State directory of the device.
    #[arg(long, global = true, env = "HCC_EDGE_STATE_DIR", default_value = "/var/lib/hcc-edge")]
    state_dir: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the digests of a package's files into its manifest and sign it.
    Sign {
        /// Private key of a models signer, PKCS#8.
        #[arg(long)]
        key: PathBuf,
        /// Folder of the package, `NAME/VERSION`.
        folder: PathBuf,
    },
    /// Verify every package in use.
    Verify(Where),
    /// List every version that lies there, and which are in use, without verifying them.
    List(Where),
    /// Verify a package, ask it its stored question, and put it among the device's own.
    Install {
        #[command(flatten)]
        device: change::DeviceArgs,
        /// Also put it in use, as the first version of a package always is.
        #[arg(long = "use")]
        select: bool,
        /// Folder of the package, `NAME/VERSION`.
        folder: PathBuf,
    },
    /// Put an installed version in use; the next study is analysed with it.
    Use {
        #[command(flatten)]
        device: change::DeviceArgs,
        /// Name of the package.
        name: Slug,
        /// Its version.
        version: String,
    },
    /// Put the version in use again that was before.
    Rollback {
        #[command(flatten)]
        device: change::DeviceArgs,
        /// Name of the package.
        name: Slug,
    },
}

#[derive(Debug, clap::Args)]
struct Where {
    /// Folder of packages, searched first.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Trust store; the default is the device's, and the packages' own for demonstration keys.
    #[arg(long)]
    trust: Option<PathBuf>,
    /// Accept only packages that a clinical device accepts.
    #[arg(long)]
    clinical: bool,
}

impl Where {
    fn mode(&self) -> PackageMode {
        if self.clinical { PackageMode::Clinical } else { PackageMode::Demonstration }
    }

    fn roots(&self, state: &Path) -> Vec<PathBuf> {
        packages::search_order(self.models.as_deref(), Some(state), self.mode())
    }
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    match &args.action {
        Action::Sign { key, folder } => sign(key, folder, json),
        Action::Verify(place) => verify(place, &args.state_dir, json),
        Action::List(place) => list(place, &args.state_dir, json),
        Action::Install { device, select, folder } => {
            change::install(&device.target(&args.state_dir)?, folder, *select, json)
        }
        Action::Use { device, name, version } => {
            change::select(&device.target(&args.state_dir)?, name, version, json)
        }
        Action::Rollback { device, name } => {
            change::roll_back(&device.target(&args.state_dir)?, name, json)
        }
    }
}

fn sign(key: &Path, folder: &Path, json: bool) -> anyhow::Result<u8> {
    let signer = keys::load_public_signer(key)?;
    let files = packages::sign(folder, &signer)?;
    if json {
        println!("{}", json!({ "signed": folder, "files": files }));
    } else {
        println!("signed {} with {files} files", folder.display());
    }
    Ok(OK)
}

/// The keys that may vouch for packages: a store that is named; otherwise the device's, and in
/// demonstration mode the demonstration keys that lie beside the packages.
fn trust_for_packages(
    named: Option<&Path>,
    state: &Path,
    roots: &[PathBuf],
    mode: PackageMode,
) -> anyhow::Result<TrustStore> {
    if let Some(path) = named {
        return keys::load_trust(path)?.with_context(|| format!("no file {}", path.display()));
    }
    let own = keys::load_trust(&state.join("keys").join(keys::TRUST_STORE))?.unwrap_or_default();
    Ok(packages::trust_for(&own, roots, mode)?)
}

fn verify(place: &Where, state: &Path, json: bool) -> anyhow::Result<u8> {
    let roots = place.roots(state);
    let trust = trust_for_packages(place.trust.as_deref(), state, &roots, place.mode())?;
    let terms = Terms::new(trust, place.mode(), &roots)?;
    let folders = packages::installed(&roots)?;
    let mut refused = 0;
    let mut report = Vec::new();
    for folder in &folders {
        match packages::load(folder, &terms) {
            Ok(package) => report.push(json!({
                "folder": folder, "verified": true, "name": package.name, "version": package.version,
                "task": package.task, "intended_use": package.intended_use,
                "manifest_digest": Digest::from(package.manifest_digest),
                "engine": engine(&package),
            })),
            Err(error) => {
                refused += 1;
                let reason = format!("{:#}", anyhow::Error::from(error));
                report.push(json!({ "folder": folder, "verified": false, "reason": reason }));
            }
        }
    }
    print(&report, json);
    Ok(match (refused, folders.is_empty()) {
        (0, false) => OK,
        (0, true) => NO_INPUT,
        _ => VERIFICATION_FAILED,
    })
}

/// What computes a package's network, and the nodes of it that are not computed in integers.
fn engine(package: &VerifiedPackage) -> Value {
    let Some(model) = package.files.get(MODEL_FILE) else { return Value::Null };
    let manifest = Manifest::from_toml(&package.manifest_toml);
    let Some(spec) = manifest.as_ref().ok().and_then(Manifest::network) else { return Value::Null };
    match lower::read(model, &spec.input.tensor, &spec.outputs) {
        Ok(lowering) => json!({
            "int8": lowering.program.is_some(),
            "lowered": lowering.lowered.iter().map(|node| json!({
                "node": node.node, "operator": node.operator, "became": node.became,
                "arithmetic": if node.float { "f32" } else { "int8" },
            })).collect::<Vec<_>>(),
            "not_lowered": lowering.refused.iter().map(|node| json!({
                "node": node.node, "operator": node.operator, "why": node.why,
            })).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "int8": false, "why": format!("{:#}", anyhow::Error::from(error)) }),
    }
}

fn list(place: &Where, state: &Path, json: bool) -> anyhow::Result<u8> {
    let roots = place.roots(state);
    let terms = Terms::new(TrustStore::default(), place.mode(), &roots)?;
    let listed = list::list(&roots, &terms)?;
    if json {
        let entry = |package: &Listed| {
            json!({
                "folder": package.folder, "name": package.name,
                "version": package.version.to_string(),
                "in_use": package.standing.is_in_use(), "why": why(&package.standing),
            })
        };
        println!("{}", json!({ "packages": listed.iter().map(entry).collect::<Vec<_>>() }));
        return Ok(OK);
    }
    for Listed { name, version, folder, standing } in &listed {
        let used = if standing.is_in_use() { "in use" } else { "" };
        println!("{name:16} {version:8} {used:6}  {}: {}", folder.display(), why(standing));
    }
    Ok(OK)
}

/// How a version stands, in words.
fn why(standing: &Standing) -> String {
    match standing {
        Standing::Selected => "selected".to_owned(),
        Standing::Highest => "the highest version there, none is selected".to_owned(),
        Standing::Other => "another version there is in use".to_owned(),
        Standing::Behind(root) => {
            format!("{} has the package and is searched before", root.display())
        }
        Standing::Revoked(floor) => format!("revoked, every version below {floor} is"),
    }
}

fn print(report: &[Value], json: bool) {
    if json {
        println!("{}", json!({ "packages": report }));
        return;
    }
    for package in report {
        let folder = package["folder"].as_str().unwrap_or_default();
        match (package["verified"].as_bool(), package["reason"].as_str()) {
            (Some(true), _) => {
                println!("ok       {folder}");
                print_engine(&package["engine"]);
            }
            (_, Some(reason)) => println!("refused  {folder}: {reason}"),
            _ => {}
        }
    }
}

/// Nodes that are named for each package.
const NAMED_NODES: usize = 3;

fn print_engine(engine: &Value) {
    let list = |name: &str| engine[name].as_array().map_or(&[][..], Vec::as_slice);
    let (lowered, refused) = (list("lowered"), list("not_lowered"));
    match engine["int8"].as_bool() {
        Some(true) => {
            let float = lowered.iter().filter(|node| node["arithmetic"] == "f32").count();
            let parts =
                if float == 0 { String::new() } else { format!(", {float} of them in f32") };
            println!("         int8 engine, all {} nodes{parts}", lowered.len());
        }
        Some(false) if engine["why"].is_string() => {
            println!("         {}", engine["why"].as_str().unwrap_or_default());
        }
        Some(false) => {
            let (count, all) = (refused.len(), lowered.len() + refused.len());
            println!(
                "         tract, because {count} of {all} nodes are not computed in integers:"
            );
            for node in refused.iter().take(NAMED_NODES) {
                let word = |name: &str| node[name].as_str().unwrap_or_default();
                println!("           {} ({}): {}", word("node"), word("operator"), word("why"));
            }
            if count > NAMED_NODES {
                println!("           and {} more, see --json", count - NAMED_NODES);
            }
        }
        None => {}
    }
}
