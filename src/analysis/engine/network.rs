//! A package's network, ready to run on one input shape.
//!
//! What executes it is behind the trait `Backend`: the int8 program where the whole model can be lowered
//! to one, tract otherwise. Both describe themselves through [`EngineInfo`], so that a result always
//! names what computed it.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use ndarray::{ArrayD, ArrayViewD, Zip};
use thiserror::Error;

use super::int8::compute::Compute;
use super::integer::IntegerProgram;
use super::package::{Package, PackageError};
use super::tract::TractProgram;
use crate::units::Bytes;

/// The most elements one tensor of a network may have, inputs and intermediate ones included: 1 GiB
/// of f32. What a damaged model asks for beyond that is refused before memory is.
pub const MAX_TENSOR_ELEMENTS: usize = 1 << 28;
/// True for a tensor of at most [`MAX_TENSOR_ELEMENTS`].
pub(super) fn is_small(shape: &[usize]) -> bool {
    let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    elements.is_some_and(|count| count <= MAX_TENSOR_ELEMENTS)
}

/// A network on one input shape.
pub struct Network {
    backend: Box<dyn Backend>,
    package: String,
    arithmetic: Arithmetic,
    input_shape: Vec<usize>,
    threads: usize,
}

/// What executes a network.
pub(super) trait Backend: Send + Sync {
    /// Its name and version.
    fn identity(&self) -> (&'static str, &'static str);

    /// What it makes of a quantised package and of a float one.
    fn arithmetic(&self, quantised: bool) -> Arithmetic;

    /// The instructions it chose, if it chooses.
    fn path(&self) -> Option<&'static str>;

    /// Memory that it holds for a run, if it works on one input at a time with all threads; `None` if
    /// inputs are computed side by side, a thread each.
    fn memory(&self) -> Option<Bytes>;

    /// Shapes of the outputs, in the manifest's order.
    fn output_shapes(&self) -> &[Vec<usize>];

    /// Runs one input of the shape it was built for; may panic on a damaged model.
    fn run(&self, input: ArrayViewD<'_, f32>) -> Result<Vec<ArrayD<f32>>, BackendError>;
}

/// What a backend has to say about its failure.
pub(super) type BackendError = Box<dyn Error + Send + Sync>;

/// What computed a result (the `engine` field of the result).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Library that executed the network.
    pub backend: &'static str,
    /// Version of that library.
    pub version: &'static str,
    /// Arithmetic really used.
    pub arithmetic: Arithmetic,
    /// Hardware really used.
    pub device: &'static str,
    /// Instructions chosen, where there is a choice.
    pub path: Option<&'static str>,
    /// Compute threads.
    pub threads: usize,
}

/// How a network was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// An int8 graph in integers.
    Int8,
    /// The same, with the parts in f32 that the graph keeps in f32.
    Mixed,
    /// An int8 graph in single precision.
    Int8InFloat,
    /// A float graph.
    Float,
}

impl Arithmetic {
    /// As it is told to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Mixed => "int8 and f32",
            Self::Int8InFloat => "int8-qdq (executed in f32)",
            Self::Float => "f32",
        }
    }
}

/// Why a network cannot be loaded or run.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The package holds no network.
    #[error("package {package} has no network to run")]
    NoNetwork {
        /// Package name.
        package: String,
    },
    /// A file of the package is missing.
    #[error("the package is not complete")]
    Package(#[from] PackageError),
    /// The ONNX file cannot be read, or does not fit its manifest or the input shape.
    #[error("{step} the network of package {package} for input {shape:?} failed: install it again")]
    Load {
        /// Package name.
        package: String,
        /// What was being done.
        step: &'static str,
        /// Input shape asked for.
        shape: Vec<usize>,
        /// What the backend said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The network wants more memory than allowed.
    #[error(
        "a tensor of package {package} has shape {shape:?}, the limit is {MAX_TENSOR_ELEMENTS} elements"
    )]
    TooLarge {
        /// Package name.
        package: String,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// The engine would hold more memory than the process may use.
    #[error(
        "package {package}: an input of {size:?} voxels needs about {needed}, the limit is {limit}: \
         raise `limits.worker_memory_mib` or install a package with a smaller patch"
    )]
    Memory {
        /// Package name.
        package: String,
        /// `[z, y, x]` of the input.
        size: [usize; 3],
        /// Needed, at most.
        needed: Bytes,
        /// Allowed.
        limit: Bytes,
    },
    /// The backend panicked: the model is damaged, or the backend has a fault.
    #[error("{step} the network of package {package} stopped in the backend: {message}")]
    Panicked {
        /// Package name.
        package: String,
        /// What was being done.
        step: &'static str,
        /// What the panic said.
        message: String,
    },
    /// The input does not have the shape the network was loaded for.
    #[error("package {package} was loaded for input {expected:?}, it was given {found:?}")]
    InputShape {
        /// Package name.
        package: String,
        /// Shape at loading.
        expected: Vec<usize>,
        /// Shape given.
        found: Vec<usize>,
    },
    /// An output does not have the shape its task needs.
    #[error("output {output} of package {package} has shape {found:?}, expected {expected:?}")]
    OutputShape {
        /// Package name.
        package: String,
        /// Name of the tensor.
        output: String,
        /// What the task needs.
        expected: Vec<usize>,
        /// What the network gives.
        found: Vec<usize>,
    },
    /// The backend failed while running.
    #[error("running the network of package {package} failed")]
    Run {
        /// Package name.
        package: String,
        /// What the backend said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The input or an output is NaN or infinite.
    #[error(
        "package {package} was given or computed values that are not finite: nothing can be concluded"
    )]
    NotFinite {
        /// Package name.
        package: String,
    },
    /// The golden pair does not come out.
    #[error(
        "golden output {output} of package {package} is off by {max_abs_error}, tolerance \
         {tolerance}: this machine must not use it"
    )]
    GoldenMismatch {
        /// Package name.
        package: String,
        /// Name of the tensor.
        output: String,
        /// Largest difference of an element.
        max_abs_error: f32,
        /// What the manifest allows.
        tolerance: f32,
    },
}

impl Network {
    /// Reads the package's network and prepares it for inputs of `shape` (batch and channel first).
    pub fn load(package: &Package, shape: &[usize], compute: Compute) -> Result<Self, EngineError> {
        let name = package.manifest.name.clone();
        let Some(spec) = package.network() else {
            return Err(EngineError::NoNetwork { package: name });
        };
        if shape.contains(&0) || !is_small(shape) {
            return Err(EngineError::TooLarge { package: name, shape: shape.to_vec() });
        }
        let backend = unwinding(&name, "loading", || -> Result<Box<dyn Backend>, EngineError> {
            if let Some(program) = IntegerProgram::load(package, spec, shape, compute)? {
                return Ok(Box::new(program));
            }
            Ok(Box::new(TractProgram::load(package, spec, shape)?))
        })??;
        Ok(Self::of(backend, package, shape, compute.threads))
    }

    /// The same in tract, whatever could be computed in integers.
    #[cfg(test)]
    pub(super) fn load_in_tract(package: &Package, shape: &[usize]) -> Result<Self, EngineError> {
        let spec = package.network().expect("a package with a network");
        let program = TractProgram::load(package, spec, shape)?;
        Ok(Self::of(Box::new(program), package, shape, 1))
    }

    fn of(backend: Box<dyn Backend>, package: &Package, shape: &[usize], threads: usize) -> Self {
        let quantised = package.network().is_some_and(|spec| spec.quantisation.is_some());
        let (package, arithmetic) = (package.manifest.name.clone(), backend.arithmetic(quantised));
        Self { backend, package, arithmetic, input_shape: shape.to_vec(), threads }
    }

    /// What computes here.
    pub fn engine(&self) -> EngineInfo {
        let (backend, version) = self.backend.identity();
        let (arithmetic, threads) = (self.arithmetic, self.threads);
        EngineInfo {
            backend,
            version,
            arithmetic,
            device: "cpu",
            path: self.backend.path(),
            threads,
        }
    }

    /// Inputs that [`Self::run_each`] computes at the same time; each costs the memory of one inference.
    pub fn inputs_at_once(&self) -> usize {
        if self.backend.memory().is_some() { 1 } else { self.threads }
    }

    /// Memory of one inference, where it is known.
    pub fn memory(&self) -> Option<Bytes> {
        self.backend.memory()
    }

    /// The shape it was loaded for.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Shapes of the outputs, in the manifest's order.
    pub fn output_shapes(&self) -> &[Vec<usize>] {
        self.backend.output_shapes()
    }

    /// Refuses a network whose output `index`, called `output`, is not of shape `expected`.
    pub fn expect_output(
        &self,
        index: usize,
        output: &str,
        expected: &[usize],
    ) -> Result<(), EngineError> {
        let found = self.output_shapes().get(index).cloned().unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(EngineError::OutputShape {
            package: self.package.clone(),
            output: output.into(),
            expected: expected.to_vec(),
            found,
        })
    }

    /// Runs one input; the outputs come in the manifest's order and are finite.
    pub fn run(&self, input: ArrayViewD<'_, f32>) -> Result<Vec<ArrayD<f32>>, EngineError> {
        if input.shape() != self.input_shape {
            return Err(EngineError::InputShape {
                package: self.package.clone(),
                expected: self.input_shape.clone(),
                found: input.shape().to_vec(),
            });
        }
        // An int8 input layer would turn what is not a number into one.
        if !Zip::from(&input).all(|value| value.is_finite()) {
            return Err(EngineError::NotFinite { package: self.package.clone() });
        }
        let outputs = unwinding(&self.package, "running", || self.backend.run(input))?
            .map_err(|source| EngineError::Run { package: self.package.clone(), source })?;
        if outputs.iter().flatten().any(|value| !value.is_finite()) {
            return Err(EngineError::NotFinite { package: self.package.clone() });
        }
        Ok(outputs)
    }

    /// Runs inputs `0..count`, [`Self::inputs_at_once`] at a time, and hands the outputs over in
    /// order: the result does not depend on the number of threads.
    pub fn run_each<'a>(
        &self,
        count: usize,
        input: impl Fn(usize) -> ArrayViewD<'a, f32> + Sync,
        mut take: impl FnMut(usize, Vec<ArrayD<f32>>),
    ) -> Result<(), EngineError> {
        let at_once = self.inputs_at_once();
        for first in (0..count).step_by(at_once) {
            let last = count.min(first + at_once);
            let round = |index: usize| self.run(input(index));
            let outputs: Vec<Result<Vec<ArrayD<f32>>, EngineError>> = if last - first == 1 {
                vec![round(first)]
            } else {
                thread::scope(|scope| {
                    let workers: Vec<_> =
                        (first..last).map(|index| scope.spawn(move || round(index))).collect();
                    workers.into_iter().map(|worker| self.joined(worker.join())).collect()
                })
            };
            for (index, outputs) in (first..last).zip(outputs) {
                take(index, outputs?);
            }
        }
        Ok(())
    }

    fn joined<T>(&self, result: thread::Result<Result<T, EngineError>>) -> Result<T, EngineError> {
        result.unwrap_or_else(|panic| Err(panicked(&self.package, "feeding", panic.as_ref())))
    }
}

/// Runs `work`, turning a panic into an error: tract panics on damaged models.
fn unwinding<T>(
    package: &str,
    step: &'static str,
    work: impl FnOnce() -> T,
) -> Result<T, EngineError> {
    // Nothing that `work` touched is used again after a panic, so no broken invariant can be seen.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(package, step, panic.as_ref()))
}

fn panicked(package: &str, step: &'static str, panic: &(dyn std::any::Any + Send)) -> EngineError {
    let message = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "no message".into());
    EngineError::Panicked { package: package.into(), step, message }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array5, IxDyn};
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::engine::fixture::{
        PMN_EXAMPLE, pmn_package, pointwise_onnx, unet_package,
    };
    use crate::analysis::engine::int8::compute::MAX_THREADS;
    use crate::analysis::engine::package::MODEL_FILE;

    const CLASSES: [(f32, f32); 3] = [(0.0, 0.5), (2.0, -1.0), (-1.0, 0.25)];

    fn image(side: usize) -> ArrayD<f32> {
        let values = |(_, _, z, y, x): (usize, usize, usize, usize, usize)| {
            (z * 100 + y * 10 + x) as f32 / 64.0 - 1.0
        };
        Array5::from_shape_fn([1, 1, side, side, side], values).into_dyn()
    }

    #[test]
    fn computes_what_the_model_says() {
        let package = unet_package(&CLASSES, 2.0);
        let network = Network::load(&package, &[1, 1, 5, 5, 5], Compute::alone()).unwrap();
        assert_eq!(network.output_shapes(), [vec![1, 3, 5, 5, 5]]);
        let outputs = network.run(image(5).view()).unwrap();
        for (at, &value) in outputs[0].indexed_iter() {
            let (slope, offset) = CLASSES[at[1]];
            let expected = slope * image(5)[[0, 0, at[2], at[3], at[4]]] + offset;
            assert!((value - expected).abs() < 1e-5, "{at:?}: {value} for {expected}");
        }
    }

    #[test]
    fn outputs_come_in_the_manifests_order() {
        let mut weights = [0.0; 12];
        weights[..6].copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let network =
            Network::load(&pmn_package(12, 3, &weights), &[1, 2, 12, 12, 12], Compute::alone())
                .unwrap();
        assert_eq!(network.output_shapes(), [vec![1, 6], vec![1, 27, 2]]);
        let outputs = network.run(ArrayD::ones(IxDyn(&[1, 2, 12, 12, 12])).view()).unwrap();
        let distances: Vec<f32> = outputs[0].iter().copied().collect();
        assert_eq!(distances, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let package = unet_package(&CLASSES, 2.0);
        let collect = |threads: usize| {
            let network =
                Network::load(&package, &[1, 1, 3, 3, 3], Compute::with_threads(threads)).unwrap();
            let mut taken = Vec::new();
            let images: Vec<_> = (0..7).map(|index| image(3) + index as f32).collect();
            let input = |index: usize| images[index].view();
            network.run_each(7, input, |index, outputs| taken.push((index, outputs))).unwrap();
            taken
        };
        let alone = collect(1);
        assert_eq!(alone.len(), 7);
        assert_eq!(alone, collect(2));
        assert_eq!(alone, collect(64));
    }

    /// Rows of distances have their own shapes; the float parts are named, and no tract is needed.
    #[test]
    fn a_pmn_runs_in_the_int8_engine() {
        let package = PMN_EXAMPLE.package();
        let shape = [1, 2, 12, 12, 12];
        let input = ArrayD::from_shape_vec(IxDyn(&shape), PMN_EXAMPLE.input()).unwrap();
        let run = |threads: usize| {
            let network = Network::load(&package, &shape, Compute::with_threads(threads)).unwrap();
            assert_eq!(network.output_shapes(), [vec![1, 6], vec![1, 8, 2]]);
            let engine = network.engine();
            assert_eq!((engine.backend, engine.arithmetic), ("hcc-edge", Arithmetic::Mixed));
            network.run(input.view()).unwrap()
        };
        let alone = run(1);
        assert_eq!(alone, run(3));
        for (found, expected) in alone[0].iter().zip(PMN_EXAMPLE.distances()) {
            assert!((found - expected).abs() <= 0.5, "{found} for {expected}");
        }
    }

    /// Sides that do not halve, and functions without a body that anything else could run.
    #[test]
    fn a_pmn_that_cannot_run_is_an_error() {
        let mut package = PMN_EXAMPLE.package();
        assert!(Network::load(&package, &[1, 2, 12, 12, 9], Compute::alone()).is_err());
        assert!(Network::load(&package, &[1, 1, 12, 12, 12], Compute::alone()).is_err());
        let large = Network::load(&package, &[1, 2, 2048, 2048, 48], Compute::alone());
        assert!(matches!(large, Err(EngineError::TooLarge { .. })));
        let model = package.files.get_mut(MODEL_FILE).unwrap();
        let place = model.windows(9).rposition(|bytes| bytes == b"LocalSilu").unwrap();
        model[place..place + 9].copy_from_slice(b"LocalTanh");
        let error = Network::load(&package, &[1, 2, 12, 12, 12], Compute::alone()).err().unwrap();
        assert!(matches!(error, EngineError::Load { .. }), "{error:?}");
    }

    #[test]
    fn says_what_really_computes() {
        let package = unet_package(&CLASSES, 2.0);
        let network = Network::load(&package, &[1, 1, 2, 2, 2], Compute::with_threads(2)).unwrap();
        let engine = network.engine();
        assert_eq!((engine.backend, engine.device, engine.threads), ("tract", "cpu", 2));
        assert_eq!(engine.arithmetic, Arithmetic::Int8InFloat);
        assert_eq!(Compute::with_threads(MAX_THREADS + 1).threads, MAX_THREADS);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        let package = unet_package(&CLASSES, 2.0);
        let network = Network::load(&package, &[1, 1, 4, 4, 4], Compute::alone()).unwrap();
        assert!(matches!(network.run(image(5).view()), Err(EngineError::InputShape { .. })));
        assert!(network.expect_output(0, "logits", &[1, 3, 4, 4, 4]).is_ok());
        assert!(network.expect_output(0, "logits", &[1, 2, 4, 4, 4]).is_err());
        assert!(network.expect_output(1, "logits", &[1, 3, 4, 4, 4]).is_err());
        assert!(Network::load(&package, &[1, 2, 4, 4, 4], Compute::alone()).is_err());
        assert!(Network::load(&package, &[1, 1, 4, 4], Compute::alone()).is_err());
    }

    #[test]
    fn a_tensor_has_a_largest_size() {
        let package = unet_package(&CLASSES, 2.0);
        // Three classes: the logits pass the limit, the image does not.
        let load = |z: usize| Network::load(&package, &[1, 1, z, 4096, 4096], Compute::alone());
        assert!(load(5).is_ok());
        assert!(matches!(
            load(6),
            Err(EngineError::TooLarge { shape, .. }) if shape == [1, 3, 6, 4096, 4096]
        ));
        assert!(matches!(load(17), Err(EngineError::TooLarge { .. })));
        assert!(matches!(load(0), Err(EngineError::TooLarge { .. })));
        assert!(matches!(load(usize::MAX), Err(EngineError::TooLarge { .. })));
    }

    #[test]
    fn outputs_that_are_not_finite_are_errors() {
        let package = unet_package(&CLASSES, 2.0);
        let network = Network::load(&package, &[1, 1, 2, 2, 2], Compute::alone()).unwrap();
        let mut input = image(2);
        input[[0, 0, 1, 1, 1]] = f32::NAN;
        assert!(matches!(network.run(input.view()), Err(EngineError::NotFinite { .. })));
    }

    #[test]
    fn a_panic_of_the_backend_is_an_error() {
        let result = unwinding("p", "loading", || -> u8 { panic!("number {}", 7) });
        let Err(EngineError::Panicked { message, .. }) = result else { panic!("{result:?}") };
        assert_eq!(message, "number 7");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

        /// Loads and runs damaged models: an error or an answer of the right shape, never a panic.
        #[test]
        fn damaged_models_never_panic(
            pooled in any::<bool>(),
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let (mut package, shape) = if pooled {
                (pmn_package(12, 3, &[0.5; 12]), vec![1, 2, 12, 12, 12])
            } else {
                (unet_package(&CLASSES, 2.0), vec![1, 1, 4, 4, 4])
            };
            let model = package.files.get_mut(MODEL_FILE).unwrap();
            for (place, byte) in hits {
                let place = place.index(model.len());
                model[place] = byte;
            }
            if let Some(cut) = cut {
                let len = cut.index(model.len());
                model.truncate(len);
            }
            if let Ok(network) = Network::load(&package, &shape, Compute::alone())
                && let Ok(outputs) = network.run(ArrayD::ones(IxDyn(&shape)).view())
            {
                let shapes: Vec<Vec<usize>> =
                    outputs.iter().map(|output| output.shape().to_vec()).collect();
                prop_assert_eq!(&shapes[..], network.output_shapes());
            }
        }
    }

    #[test]
    fn text_instead_of_a_model_is_an_error() {
        let mut package = unet_package(&CLASSES, 2.0);
        for bytes in [&b""[..], b"not a model at all", &pointwise_onnx(&CLASSES)[..20]] {
            package.files.insert(MODEL_FILE.into(), bytes.to_vec());
            assert!(Network::load(&package, &[1, 1, 4, 4, 4], Compute::alone()).is_err());
        }
    }
}
