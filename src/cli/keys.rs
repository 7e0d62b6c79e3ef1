//! `hcc-edge keys`: makes, shows and exports the device's key.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::exit;
use crate::host::keys;
use crate::seal::cose::{Signer, key_id};
use crate::seal::wire::Slug;

/// Arguments of `keys`.
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
    /// Make the device's key; never overwrites one.
    Init(Owner),
    /// Show the key's id and public half.
    Show,
    /// Print the entry that other machines add to their trust.toml.
    Export(Owner),
}

#[derive(Debug, clap::Args)]
struct Owner {
    /// Site of the device: 1 to 32 characters of a-z, 0-9 and -.
    #[arg(long, env = "HCC_EDGE_SITE")]
    site: Slug,
    /// The device: 1 to 32 characters of a-z, 0-9 and -.
    #[arg(long, env = "HCC_EDGE_DEVICE")]
    device: Slug,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    let folder = args.state_dir.join("keys");
    let (signer, entry) = match &args.action {
        Action::Init(owner) => {
            let signer = keys::init(&folder, &owner.site, &owner.device)?;
            (signer, Some(keys::export(&folder, &owner.site, &owner.device)?))
        }
        Action::Show => (keys::load(&folder)?, None),
        Action::Export(owner) => {
            (keys::load(&folder)?, Some(keys::export(&folder, &owner.site, &owner.device)?))
        }
    };
    let public = signer.public_key();
    if json {
        let public_key = crate::seal::wire::Digest::from(public).to_string();
        let kid = key_id(&public).to_string();
        println!("{}", json!({ "kid": kid, "public_key": public_key, "trust_entry": entry }));
    } else if let Some(entry) = entry {
        print!("{entry}");
    } else {
        println!("kid {}\npublic key {}", key_id(&public), crate::seal::wire::Digest::from(public));
    }
    Ok(exit::OK)
}
