//! A package in memory: its checked manifest and the bytes of its files, which the host has verified
//! against the signed manifest before they came here. No IO.

use std::collections::BTreeMap;

use thiserror::Error;

use super::manifest::{Golden, Manifest, ManifestError, NetworkSpec};

/// Name of the network inside a package.
pub const MODEL_FILE: &str = "model.onnx";
/// The largest network that is loaded.
pub const MAX_MODEL_BYTES: usize = 256 << 20;

/// A verified package.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// What it says about itself.
    pub manifest: Manifest,
    /// SHA-256 of the bytes of `manifest.toml`: the package's identity.
    pub manifest_digest: [u8; 32],
    /// Contents by path inside the package, `manifest.toml` and `manifest.cose` not among them.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why a verified package is still not usable.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The manifest is wrong.
    #[error("the package's manifest is refused")]
    Manifest(#[from] ManifestError),
    /// The manifest speaks of a file that is not there.
    #[error("package {package} has no file {file}: install it again")]
    MissingFile {
        /// Package name.
        package: String,
        /// Path inside the package.
        file: String,
    },
    /// The network is larger than any this engine runs.
    #[error("{file} of package {package} has {found} bytes, the limit is {MAX_MODEL_BYTES}")]
    ModelTooLarge {
        /// Package name.
        package: String,
        /// Path inside the package.
        file: String,
        /// Bytes found.
        found: usize,
    },
    /// A golden file does not have the size its shape asks for.
    #[error("{file} of package {package} has {found} bytes, its shape {shape:?} needs {expected}")]
    GoldenSize {
        /// Package name.
        package: String,
        /// Path inside the package.
        file: String,
        /// Bytes found.
        found: usize,
        /// Shape in the manifest.
        shape: Vec<usize>,
        /// Bytes of that many f32.
        expected: usize,
    },
}

impl Package {
    /// Checks the manifest, and that all files it names are there with the sizes it gives.
    pub fn new(
        manifest_toml: &str,
        manifest_digest: [u8; 32],
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, PackageError> {
        let manifest = Manifest::from_toml(manifest_toml)?;
        let package = Self { manifest, manifest_digest, files };
        if let Some(network) = package.manifest.network() {
            package.check_model()?;
            package.check_golden(&network.golden)?;
        }
        Ok(package)
    }

    /// What the package's network needs; `None` for a nomogram.
    pub fn network(&self) -> Option<&NetworkSpec> {
        self.manifest.network()
    }

    /// Bytes of a file.
    pub fn file(&self, path: &str) -> Result<&[u8], PackageError> {
        self.files.get(path).map(Vec::as_slice).ok_or_else(|| PackageError::MissingFile {
            package: self.manifest.name.clone(),
            file: path.into(),
        })
    }

    fn check_model(&self) -> Result<(), PackageError> {
        let found = self.file(MODEL_FILE)?.len();
        if found > MAX_MODEL_BYTES {
            return Err(PackageError::ModelTooLarge {
                package: self.manifest.name.clone(),
                file: MODEL_FILE.into(),
                found,
            });
        }
        Ok(())
    }

    fn check_golden(&self, golden: &Golden) -> Result<(), PackageError> {
        self.check_tensor(&golden.input, &golden.input_shape)?;
        golden.outputs.iter().try_for_each(|output| self.check_tensor(&output.file, &output.shape))
    }

    fn check_tensor(&self, file: &str, shape: &[usize]) -> Result<(), PackageError> {
        let found = self.file(file)?.len();
        let expected = shape.iter().product::<usize>() * size_of::<f32>();
        if found == expected {
            return Ok(());
        }
        Err(PackageError::GoldenSize {
            package: self.manifest.name.clone(),
            file: file.into(),
            found,
            shape: shape.to_vec(),
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::engine::fixture::{unet_manifest, unet_package};

    #[test]
    fn every_named_file_must_be_there_with_its_size() {
        let whole = unet_package(&[(0.0, 0.0), (1.0, 0.0)], 4.0);
        let text = unet_manifest(2, 4.0);
        for name in ["model.onnx", "golden/input.f32", "golden/output.f32"] {
            let mut files = whole.files.clone();
            files.remove(name);
            let error = Package::new(&text, [0; 32], files).unwrap_err();
            assert!(matches!(error, PackageError::MissingFile { file, .. } if file == name));
        }
        let mut files = whole.files.clone();
        files.insert("golden/input.f32".into(), vec![0; 31]);
        let error = Package::new(&text, [0; 32], files).unwrap_err();
        assert!(matches!(error, PackageError::GoldenSize { found: 31, expected: 32, .. }));
    }

    #[test]
    fn a_model_has_a_largest_size() {
        let whole = unet_package(&[(0.0, 0.0), (1.0, 0.0)], 4.0);
        let with_model = |bytes: usize| {
            let mut files = whole.files.clone();
            files.insert(MODEL_FILE.into(), vec![0; bytes]);
            Package::new(&unet_manifest(2, 4.0), [0; 32], files)
        };
        assert!(with_model(MAX_MODEL_BYTES).is_ok());
        assert!(matches!(
            with_model(MAX_MODEL_BYTES + 1),
            Err(PackageError::ModelTooLarge { found, .. }) if found == MAX_MODEL_BYTES + 1
        ));
    }
}
