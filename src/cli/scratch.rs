//! A folder of a command's own below the system's temporary one, removed at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::host::files::create_private_folder;
use crate::host::keys;
use crate::seal::wire::atoms::Octets;

/// Removed when dropped, unless told to stay.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes `<temporary>/hcc-edge-<purpose>-<random>`, mode 0700.
    pub fn new(purpose: &str) -> anyhow::Result<Self> {
        let mut name = [0; 6];
        keys::random(&mut name)?;
        let path = std::env::temp_dir().join(format!("hcc-edge-{purpose}-{}", Octets(name)));
        create_private_folder(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder where it is.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}
