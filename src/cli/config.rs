//! `hcc-edge config`: checks, shows and documents the configuration.

use clap::Subcommand;
use serde_json::json;

use super::exit;
use super::settings::ConfigArgs;
use crate::config;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the configuration; every fault at once, exit 78.
    Check(ConfigArgs),
    /// Show every value in use and where it comes from.
    Show(ConfigArgs),
    /// Print the reference of all keys as Markdown.
    Doc,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    match &args.action {
        Action::Check(config) => {
            let effective = config.load()?;
            let (site, device) = (&effective.config.site, &effective.config.device);
            if json {
                println!(
                    "{}",
                    json!({"ok": true, "site": site.as_str(), "device": device.as_str()})
                );
            } else {
                println!(
                    "{}: the configuration of {device} of {site} holds",
                    config.config.display()
                );
            }
        }
        Action::Show(config) => {
            let text = config.load()?.to_toml();
            if json { println!("{}", json!({ "toml": text })) } else { print!("{text}") }
        }
        Action::Doc => {
            let text = config::reference();
            if json { println!("{}", json!({ "markdown": text })) } else { print!("{text}") }
        }
    }
    Ok(exit::OK)
}
