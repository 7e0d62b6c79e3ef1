//! `hcc-edge keys`: makes, shows and exports a device's key, or a consumer's.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::exit::{self, exit};
use crate::host::keys;
use crate::seal::cose::{Ed25519Signer, Signer, key_id};
use crate::seal::trust::TrustedKey;
use crate::seal::wire::{Digest, Slug};

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// State directory of the device.
    #[arg(long, global = true, env = "HCC_EDGE_STATE_DIR", default_value = "/var/lib/hcc-edge")]
    state_dir: PathBuf,
    /// A consumer's key file, instead of the device's key in the state directory.
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; never overwrites one.
    Init(Owner),
    /// Show the key's id and public half.
    Show,
    /// Print the entry that other machines add to their trust.toml.
    Export(Owner),
}

#[derive(Debug, clap::Args)]
struct Owner {
    /// Whose key: a device signs results, a consumer (with --key) acknowledges them.
    #[arg(long, value_enum, default_value = "device")]
    role: KeyRole,
    /// Site of the device; for a consumer, the only one it may address: 1 to 32 characters of a-z,
    /// 0-9 and -.
    #[arg(long, env = "HCC_EDGE_SITE")]
    site: Option<Slug>,
    /// The device; for a consumer, the only one it may address: 1 to 32 characters of a-z, 0-9 and -.
    #[arg(long, env = "HCC_EDGE_DEVICE")]
    device: Option<Slug>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyRole {
    Device,
    Consumer,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    let folder = args.state_dir.join("keys");
    let (signer, entry) = match &args.action {
        Action::Show => (load(args, &folder)?, None),
        Action::Init(owner) if owner.role == KeyRole::Consumer => {
            let signer = keys::init_consumer(consumer_key(args)?)?;
            let entry = owner.consumer_entry(&signer);
            (signer, Some(entry))
        }
        Action::Export(owner) if owner.role == KeyRole::Consumer => {
            let signer = keys::load_signer(consumer_key(args)?)?;
            let entry = owner.consumer_entry(&signer);
            (signer, Some(entry))
        }
        Action::Init(owner) => {
            let (site, device) = owner.named(args)?;
            (keys::init(&folder, site, device)?, Some(keys::export(&folder, site, device)?))
        }
        Action::Export(owner) => {
            let (site, device) = owner.named(args)?;
            (keys::load(&folder)?, Some(keys::export(&folder, site, device)?))
        }
    };
    show(&signer, entry, json);
    Ok(exit::OK)
}

fn load(args: &Args, folder: &Path) -> Result<Ed25519Signer, keys::KeyError> {
    args.key.as_deref().map_or_else(|| keys::load(folder), keys::load_signer)
}

fn consumer_key(args: &Args) -> anyhow::Result<&Path> {
    args.key.as_deref().with_context(|| exit(exit::USAGE, "a consumer's key needs --key FILE"))
}

impl Owner {
    fn consumer_entry(&self, signer: &Ed25519Signer) -> String {
        let (site, device) = (self.site.clone(), self.device.clone());
        TrustedKey::of_consumer(site, device, signer.public_key()).to_toml()
    }

    fn named(&self, args: &Args) -> anyhow::Result<(&Slug, &Slug)> {
        if args.key.is_some() {
            anyhow::bail!(exit(exit::USAGE, "--key is for --role consumer"));
        }
        let named = self.site.as_ref().zip(self.device.as_ref());
        named.with_context(|| exit(exit::USAGE, "a device's key needs --site and --device"))
    }
}

fn show(signer: &Ed25519Signer, entry: Option<String>, json: bool) {
    let public = signer.public_key();
    let (kid, public_key) = (key_id(&public).to_string(), Digest::from(public).to_string());
    if json {
        println!("{}", json!({ "kid": kid, "public_key": public_key, "trust_entry": entry }));
    } else if let Some(entry) = entry {
        print!("{entry}");
    } else {
        println!("kid {kid}\npublic key {public_key}");
    }
}
