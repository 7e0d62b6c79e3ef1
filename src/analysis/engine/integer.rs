//! The int8 backend: a model that is quantised from its input to its outputs, in integers.

use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayD, ArrayView4, ArrayViewD, CowArray, IxDyn, s};

use super::int8::compute::Compute;
use super::int8::isa::Isa;
use super::int8::program::{Program, Value};
use super::int8::ready::ReadyError;
use super::int8::run::{Engine, Rows};
use super::lower;
use super::manifest::NetworkSpec;
use super::network::{Arithmetic, Backend, BackendError, EngineError, is_small};
use super::package::{MODEL_FILE, Package};
use crate::units::Bytes;

/// A program on one input shape.
pub(super) struct IntegerProgram {
    // One run at a time: all threads work on it.
    engine: Mutex<Engine>,
    output_shapes: Vec<Vec<usize>>,
    isa: Isa,
    memory: Bytes,
    /// Parts of it are computed in f32.
    mixed: bool,
}

impl IntegerProgram {
    /// Lowers the package's model and makes it ready for `[1, channels, z, y, x]`; `None` where a part
    /// of it cannot be computed in integers, or the shape is another one.
    pub(super) fn load(
        package: &Package,
        spec: &NetworkSpec,
        shape: &[usize],
        compute: Compute,
    ) -> Result<Option<Self>, EngineError> {
        let &[1, channels, z, y, x] = shape else { return Ok(None) };
        let bytes = package.file(MODEL_FILE)?;
        // What cannot be read here is refused with its reason where it is read for tract.
        let lowering = lower::read(bytes, &spec.input.tensor, &spec.outputs).ok();
        let Some(program) = lowering.and_then(|lowering| lowering.program) else { return Ok(None) };
        if program.input_channels != channels {
            return Ok(None);
        }
        let name = &package.manifest.name;
        if let Some(shape) = too_large(&program, [z, y, x]) {
            return Err(EngineError::TooLarge { package: name.clone(), shape });
        }
        let failed = |source| EngineError::Load {
            package: name.clone(),
            step: "packing",
            shape: shape.to_vec(),
            source: Box::new(source),
        };
        let engine = match Engine::new(&program, [z, y, x], compute) {
            Ok(engine) => engine,
            // Another size, or sides that broadcast: tract may know what to do with it.
            Err(ReadyError::Size { .. }) => return Ok(None),
            Err(ReadyError::Memory { size, bytes, limit }) => {
                let [needed, limit] = [bytes, limit].map(|bytes| Bytes(bytes as u64));
                return Err(EngineError::Memory { package: name.clone(), size, needed, limit });
            }
            Err(error) => return Err(failed(error)),
        };
        let shapes = engine.outputs().iter();
        let ids = program.outputs.iter();
        let output_shapes =
            ids.zip(shapes).map(|(&id, &(_, size))| program.output_shape(id, size)).collect();
        let memory = Bytes(engine.memory().total() as u64);
        let (engine, isa, mixed) = (Mutex::new(engine), compute.isa, program.is_mixed());
        Ok(Some(Self { engine, output_shapes, isa, memory, mixed }))
    }
}

/// The first value beyond the limit on tensors.
fn too_large(program: &Program, size: [usize; 3]) -> Option<Vec<usize>> {
    let shapes = program.shapes(size)?;
    let of = |(value, [z, y, x]): (&Value, [usize; 3])| vec![1, value.channels, z, y, x];
    program.values.iter().zip(shapes).map(of).find(|shape| !is_small(shape))
}

impl Backend for IntegerProgram {
    fn identity(&self) -> (&'static str, &'static str) {
        ("hcc-edge", env!("CARGO_PKG_VERSION"))
    }

    fn arithmetic(&self, _: bool) -> Arithmetic {
        if self.mixed { Arithmetic::Mixed } else { Arithmetic::Int8 }
    }

    fn path(&self) -> Option<&'static str> {
        Some(self.isa.name())
    }

    fn memory(&self) -> Option<Bytes> {
        Some(self.memory)
    }

    fn output_shapes(&self) -> &[Vec<usize>] {
        &self.output_shapes
    }

    fn run(&self, input: ArrayViewD<'_, f32>) -> Result<Vec<ArrayD<f32>>, BackendError> {
        let mut outputs: Vec<ArrayD<f32>> =
            self.output_shapes.iter().map(|shape| ArrayD::zeros(IxDyn(shape))).collect();
        // A mirrored row does not lie in one piece.
        let in_rows: CowArray<'_, f32, IxDyn> =
            if input.strides()[4] == 1 { input.view().into() } else { input.as_standard_layout() };
        let patch = Patch(in_rows.slice(s![0, .., .., .., ..]));
        let mut slices: Vec<&mut [f32]> = outputs
            .iter_mut()
            .map(|output| output.as_slice_mut().expect("a new array is in standard layout"))
            .collect();
        // A run that panicked leaves nothing that the next one reads.
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.run_watched(&patch, &mut slices, &mut |_| {});
        Ok(outputs)
    }
}

/// `[channel, z, y, x]`, a part of a larger volume or not; its rows lie in one piece.
struct Patch<'a>(ArrayView4<'a, f32>);

impl Rows for Patch<'_> {
    fn row(&self, [channel, z, y]: [usize; 3]) -> &[f32] {
        let row = self.0.slice(s![channel, z, y, ..]);
        row.to_slice().expect("a row lies in one piece")
    }
}
