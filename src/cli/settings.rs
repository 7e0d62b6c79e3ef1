//! Where a command's configuration comes from: a file, `HCC_EDGE_*` variables, `--set`, in this
//! order of strength.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::exit::{self, exit};
use crate::config::{self, Effective, Sources};

/// Flags of every command that needs the device's configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file.
    #[arg(
        long,
        env = "HCC_EDGE_CONFIG",
        value_name = "FILE",
        default_value = "/etc/hcc-edge/config.toml"
    )]
    pub config: PathBuf,
    /// Set one key, such as `--set inbox.settle_s=2`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Reads and checks everything; all faults come in one error (exit code 78).
    pub fn load(&self) -> anyhow::Result<Effective> {
        let reading = || exit(exit::CONFIG, format!("reading {}", self.config.display()));
        let text = fs::read_to_string(&self.config).with_context(reading)?;
        let environment = std::env::vars().collect();
        config::load(&Sources { text: &text, environment, flags: self.set.clone() })
            .with_context(|| exit(exit::CONFIG, format!("configuration {}", self.config.display())))
    }
}

/// Site of every demonstration device.
pub const SITE: &str = "demo";

/// A configuration for one run without a configuration file: a demonstration device of this name
/// whose state is in `state_dir`. It is used without the environment, where a real device's folder,
/// names and broker may stand.
pub fn demonstration(
    state_dir: &Path,
    device: &str,
    broker: &str,
    models: Option<&Path>,
) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let models = models.map(quoted).unwrap_or_default();
    format!(
        "site = \"{SITE}\"\ndevice = \"{device}\"\nstate_dir = {}\nmodels = [{models}]\n\
         mode = \"demonstration\"\n\n[mqtt]\nurl = \"{broker}\"\n\n\
         [inbox]\nsettle_s = 2\nrescan_s = 1\n\n[limits]\nmin_free_mib = 64\n\n\
         [sandbox]\nrule = \"best_effort\"\n",
        quoted(state_dir),
    )
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
