//! The tract backend: ONNX bytes → optimised plan on one input shape → outputs.
//!
//! tract folds the int8 weights of a QDQ graph to float and rounds activations to their 8 bits, so
//! it computes what the quantised graph says, in f32.

use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::prelude::{
    Datum, DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTensor, Tensor, TractError,
    TractResult, TypedModel, TypedRunnableModel, tvec,
};

use super::manifest::NetworkSpec;
use super::network::{Arithmetic, Backend, BackendError, EngineError, is_small};
use super::package::{MODEL_FILE, Package};
use crate::units::Bytes;

/// Version of tract in the lock file; a test compares.
const VERSION: &str = "0.23.9";

/// A plan on one input shape.
pub(super) struct TractProgram {
    plan: Arc<TypedRunnableModel>,
    output_shapes: Vec<Vec<usize>>,
}

impl TractProgram {
    /// Parses, fixes the input shape, checks every tensor's size, optimises.
    pub(super) fn load(
        package: &Package,
        spec: &NetworkSpec,
        shape: &[usize],
    ) -> Result<Self, EngineError> {
        let failed = |step| {
            let (package, shape) = (package.manifest.name.clone(), shape.to_vec());
            move |source: BackendError| EngineError::Load { package, step, shape, source }
        };
        let bytes = package.file(MODEL_FILE)?;
        let typed = typed(bytes, spec, shape).map_err(|e| failed("reading")(e.into()))?;
        if let Some(shape) = too_large(&typed) {
            return Err(EngineError::TooLarge { package: package.manifest.name.clone(), shape });
        }
        let plan = typed
            .into_optimized()
            .and_then(IntoRunnable::into_runnable)
            .map_err(|e| failed("optimising")(e.into()))?;
        let output_shapes =
            output_shapes(plan.model()).map_err(|e| failed("reading the outputs of")(e.into()))?;
        Ok(Self { plan, output_shapes })
    }
}

impl Backend for TractProgram {
    fn identity(&self) -> (&'static str, &'static str) {
        ("tract", VERSION)
    }

    fn arithmetic(&self, quantised: bool) -> Arithmetic {
        if quantised { Arithmetic::Int8InFloat } else { Arithmetic::Float }
    }

    fn path(&self) -> Option<&'static str> {
        None
    }

    fn memory(&self) -> Option<Bytes> {
        None
    }

    fn output_shapes(&self) -> &[Vec<usize>] {
        &self.output_shapes
    }

    fn run(&self, input: ArrayViewD<'_, f32>) -> Result<Vec<ArrayD<f32>>, BackendError> {
        let values: Vec<f32> = input.iter().copied().collect();
        let tensor = Tensor::from_shape(input.shape(), &values)?;
        let outputs = self.plan.run(tvec!(tensor.into()))?;
        outputs
            .into_iter()
            .map(|output| Ok(output.into_tensor().into_plain_array::<f32>()?))
            .collect()
    }
}

/// The model with its one input fixed to `shape` and its outputs in the manifest's order.
fn typed(bytes: &[u8], spec: &NetworkSpec, shape: &[usize]) -> TractResult<TypedModel> {
    let mut onnx = tract_onnx::onnx();
    onnx.provider = Arc::new(NoFiles);
    let mut model = onnx.model_for_read(&mut &*bytes)?;
    let inputs: Vec<&str> =
        model.inputs.iter().map(|outlet| model.node(outlet.node).name.as_str()).collect();
    if inputs != [spec.input.tensor.as_str()] {
        return Err(TractError::msg(format!(
            "expected one input {:?}, found {inputs:?}",
            spec.input.tensor
        )));
    }
    model.set_input_fact(0, f32::fact(shape).into())?;
    model.select_outputs_by_name(&spec.outputs)?;
    model.into_typed()
}

/// The first tensor that is not small, or of a size that is not known by now.
fn too_large(model: &TypedModel) -> Option<Vec<usize>> {
    model.nodes.iter().flat_map(|node| &node.outputs).find_map(|outlet| {
        let Some(shape) = outlet.fact.shape.as_concrete() else { return Some(Vec::new()) };
        if is_small(shape) { None } else { Some(shape.to_vec()) }
    })
}

fn output_shapes(model: &TypedModel) -> TractResult<Vec<Vec<usize>>> {
    (0..model.outputs.len())
        .map(|index| {
            let fact = model.output_fact(index)?;
            if fact.datum_type != f32::datum_type() {
                return Err(TractError::msg(format!(
                    "expected output {index} to be f32, found {:?}",
                    fact.datum_type
                )));
            }
            let shape = fact.shape.as_concrete();
            shape
                .map(<[usize]>::to_vec)
                .ok_or_else(|| TractError::msg(format!("output {index} has no fixed shape")))
        })
        .collect()
}

/// A model is one verified file: tensors that point to others are refused.
struct NoFiles;

impl ModelDataResolver for NoFiles {
    fn read_bytes_from_path(
        &self,
        _: &mut Vec<u8>,
        path: &Path,
        _: usize,
        _: Option<usize>,
    ) -> TractResult<()> {
        Err(TractError::msg(format!("the model points to another file, {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_is_the_version_locked() {
        let lock = include_str!("../../../Cargo.lock").replace("\r\n", "\n");
        assert!(lock.contains(&format!("name = \"tract-onnx\"\nversion = \"{VERSION}\"\n")));
    }
}
