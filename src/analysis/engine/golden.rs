//! The package's stored question and answer, asked on this machine: a mismatch means that this engine
//! must not serve with this package.

use ndarray::{ArrayD, IxDyn};

use super::int8::compute::Compute;
use super::network::{EngineError, EngineInfo, Network};
use super::package::Package;

/// What the self-test saw.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenReport {
    /// What computed the answer.
    pub engine: EngineInfo,
    /// Largest absolute difference of any element of any output.
    pub max_abs_error: f32,
    /// What the manifest allows.
    pub tolerance: f32,
}

/// Runs the golden input and compares every output with the stored one.
pub fn self_test(package: &Package, compute: Compute) -> Result<GoldenReport, EngineError> {
    let Some(spec) = package.network() else {
        return Err(EngineError::NoNetwork { package: package.manifest.name.clone() });
    };
    let golden = &spec.golden;
    let network = Network::load(package, &golden.input_shape, compute)?;
    for (index, expected) in golden.outputs.iter().enumerate() {
        network.expect_output(index, &expected.name, &expected.shape)?;
    }
    let input = tensor(package.file(&golden.input)?, &golden.input_shape);
    let outputs = network.run(input.view())?;
    let engine = network.engine();
    let mut report = GoldenReport { engine, max_abs_error: 0.0, tolerance: golden.tolerance };
    for (found, expected) in outputs.iter().zip(&golden.outputs) {
        let stored = tensor(package.file(&expected.file)?, &expected.shape);
        let max_abs_error = max_abs_error(found, &stored);
        if max_abs_error.is_nan() || max_abs_error > golden.tolerance {
            return Err(EngineError::GoldenMismatch {
                package: package.manifest.name.clone(),
                output: expected.name.clone(),
                max_abs_error,
                tolerance: golden.tolerance,
            });
        }
        report.max_abs_error = report.max_abs_error.max(max_abs_error);
    }
    Ok(report)
}

/// Little-endian f32 in C order; `Package::new` has checked that sizes agree.
fn tensor(bytes: &[u8], shape: &[usize]) -> ArrayD<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    let mut values = words.iter().map(|&word| f32::from_le_bytes(word));
    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().unwrap_or(f32::NAN))
}

/// NaN when either side holds one, so that it never passes.
fn max_abs_error(found: &ArrayD<f32>, stored: &ArrayD<f32>) -> f32 {
    found.iter().zip(stored).fold(0.0, |worst: f32, (a, b)| {
        let error = (a - b).abs();
        if error.is_nan() || error > worst { error } else { worst }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::analysis::engine::fixture::{pmn_package, unet_package};
    use crate::analysis::engine::network::Arithmetic;

    #[test]
    fn a_true_pair_passes() {
        let package = unet_package(&[(0.0, 0.5), (2.0, -1.0), (1.0, 0.25)], 2.0);
        let report = self_test(&package, Compute::alone()).unwrap();
        assert!(report.max_abs_error <= 1e-6, "{report:?}");
        self_test(&pmn_package(12, 3, &[0.5; 12]), Compute::alone()).unwrap();
    }

    #[test]
    fn a_mismatch_refuses() {
        let mut package = unet_package(&[(0.0, 0.5), (2.0, -1.0)], 2.0);
        let output = package.files.get_mut("golden/output.f32").unwrap();
        output[4..8].copy_from_slice(&0.502f32.to_le_bytes());
        assert!(matches!(
            self_test(&package, Compute::alone()),
            Err(EngineError::GoldenMismatch { max_abs_error, .. }) if max_abs_error > 0.0015
        ));
        let output = package.files.get_mut("golden/output.f32").unwrap();
        output[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(matches!(
            self_test(&package, Compute::alone()),
            Err(EngineError::GoldenMismatch { .. })
        ));
    }

    #[test]
    fn an_output_of_another_shape_refuses() {
        let mut package = unet_package(&[(0.0, 0.5), (2.0, -1.0)], 2.0);
        let three = crate::analysis::engine::fixture::pointwise_onnx(&[(0.0, 0.0); 3]);
        package.files.insert("model.onnx".into(), three);
        let error = self_test(&package, Compute::alone()).unwrap_err();
        assert!(
            matches!(&error, EngineError::OutputShape { found, .. } if found == &[1, 3, 2, 2, 2])
        );
    }

    /// Every network that ships answers here as it did where it was made; the two that look for the
    /// liver do so in integers, the third with its float parts in f32.
    #[test]
    fn the_packages_that_ship_pass_on_this_machine() {
        let packages = shipped();
        for package in &packages {
            let report = self_test(package, Compute::with_threads(2)).unwrap();
            println!("{}: {report:?}", package.manifest.name);
            let mixed = package.manifest.name == "pmn";
            let expected = if mixed { Arithmetic::Mixed } else { Arithmetic::Int8 };
            assert_eq!(report.engine.arithmetic, expected, "{report:?}");
        }
        assert_eq!(packages.len(), 3);
    }

    /// tract rounds the same graph in f32: only where two classes are all but equal may the two differ.
    #[test]
    fn integers_give_the_labels_that_floats_give() {
        for package in shipped().iter().filter(|package| package.manifest.name != "pmn") {
            let golden = &package.network().unwrap().golden;
            let input = tensor(package.file(&golden.input).unwrap(), &golden.input_shape);
            let labels = |network: &Network| {
                let logits = network.run(input.view()).unwrap().swap_remove(0);
                logits.map_axis(ndarray::Axis(1), |classes| {
                    let largest = classes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                    largest.map(|(class, _)| class)
                })
            };
            let shape = &golden.input_shape;
            let found = labels(&Network::load(package, shape, Compute::with_threads(2)).unwrap());
            let expected = labels(&Network::load_in_tract(package, shape).unwrap());
            let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
            println!("{}: {same} of {} labels", package.manifest.name, found.len());
            assert!(same as f64 >= 0.999 * found.len() as f64, "{same} of {}", found.len());
        }
    }

    /// A part of a larger volume is read where it lies, a mirrored one too.
    #[test]
    fn views_give_what_their_copies_give() {
        let packages = shipped();
        let package = packages.iter().find(|p| p.manifest.name == "liver-localiser").unwrap();
        let network =
            Network::load(package, &[1, 1, 32, 16, 32], Compute::with_threads(2)).unwrap();
        assert_eq!(network.engine().arithmetic, Arithmetic::Int8);
        let volume = ndarray::Array3::from_shape_fn([40, 20, 50], |(z, y, x)| {
            ((z * 31 + y * 17 + x * 7) % 97) as f32 / 20.0 - 2.0
        });
        for mirrored in [[false; 3], [true, false, false], [false, true, false], [true; 3]] {
            let mut view = volume.slice(ndarray::s![5..37, 3..19, 9..41]);
            for axis in (0..3).filter(|&axis| mirrored[axis]) {
                view.invert_axis(ndarray::Axis(axis));
            }
            let view = view.insert_axis(ndarray::Axis(0)).insert_axis(ndarray::Axis(0)).into_dyn();
            let copy = view.as_standard_layout().into_owned();
            assert_eq!(network.run(view).unwrap(), network.run(copy.view()).unwrap());
        }
    }

    /// The packages with a network under `models/`.
    fn shipped() -> Vec<Package> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let packages = folders(&models).iter().flat_map(|name| folders(name)).collect::<Vec<_>>();
        let with_network = packages.iter().filter(|folder| folder.join("model.onnx").is_file());
        with_network
            .map(|folder| {
                let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
                Package::new(&text, [0; 32], files(folder)).unwrap()
            })
            .collect()
    }

    fn folders(path: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }

    fn files(package: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for folder in [package.to_path_buf(), package.join("golden")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(package).unwrap().to_str().unwrap().to_string();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}
