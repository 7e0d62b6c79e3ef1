//! The package's stored question and answer, asked on this machine: a mismatch means that this engine
//! must not serve with this package.

use ndarray::{ArrayD, IxDyn};

use super::network::{EngineError, Network};
use super::package::Package;

/// What the self-test saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GoldenReport {
    /// Largest absolute difference of any element of any output.
    pub max_abs_error: f32,
    /// What the manifest allows.
    pub tolerance: f32,
}

/// Runs the golden input and compares every output with the stored one.
pub fn self_test(package: &Package) -> Result<GoldenReport, EngineError> {
    let Some(spec) = package.network() else {
        return Err(EngineError::NoNetwork { package: package.manifest.name.clone() });
    };
    let golden = &spec.golden;
    let network = Network::load(package, &golden.input_shape)?;
    for (index, expected) in golden.outputs.iter().enumerate() {
        network.expect_output(index, &expected.name, &expected.shape)?;
    }
    let input = tensor(package.file(&golden.input)?, &golden.input_shape);
    let outputs = network.run(input.view())?;
    let mut report = GoldenReport { max_abs_error: 0.0, tolerance: golden.tolerance };
    for (found, expected) in outputs.iter().zip(&golden.outputs) {
        let stored = tensor(package.file(&expected.file)?, &expected.shape);
        let max_abs_error = max_abs_error(found, &stored);
        if !(max_abs_error <= golden.tolerance) {
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
