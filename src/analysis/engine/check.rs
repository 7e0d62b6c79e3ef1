//! Raw manifest → checked manifest: every range and every rule between keys. Goes on after a fault so
//! that all of them can be reported together.

use super::manifest::{
    Golden, GoldenOutput, InputSpec, IntendedUse, MAX_GOLDEN_ELEMENTS, MAX_NAMES, Manifest,
    NetworkSpec, NnUnet, Orientation, PATCH_VOXELS, Phase, Problem, Prototypes, Quantisation, Task,
};
use super::raw::{
    RawGolden, RawGoldenOutput, RawInput, RawManifest, RawNnUnet, RawOutput, RawPrototypes,
    RawQuantisation,
};
use crate::units::{Bytes, Probability, Spacing};

/// The version that `engine_floor` is compared with.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// HU that a clipping range or a mean may name: what a 12-bit CT can hold.
const HU_RANGE: (f64, f64) = (-1024.0, 3071.0);

/// Checks everything; all problems or the manifest.
pub(super) fn manifest(raw: &RawManifest) -> Result<Manifest, Vec<Problem>> {
    let mut check = Check::default();
    match (check.manifest(raw), check.problems.is_empty()) {
        (Some(manifest), true) => Ok(manifest),
        (_, _) => Err(check.problems),
    }
}

/// The words of `task`.
#[derive(Debug, Clone, Copy)]
enum TaskWord {
    Localisation,
    Segmentation,
    Classification,
    Nomogram,
}

/// What the pipeline feeds to a task's network and reads back from it.
struct Form {
    phases: &'static [Phase],
    classes: &'static [&'static str],
    tensors: &'static [&'static str],
}

const LOCALISATION: Form =
    Form { phases: &[Phase::Portal], classes: &["background", "liver"], tensors: &["logits"] };
const SEGMENTATION: Form = Form {
    phases: &[Phase::Portal],
    classes: &["background", "liver", "tumour"],
    tensors: &["logits"],
};
const CLASSIFICATION: Form = Form {
    phases: &[Phase::Arterial, Phase::Portal],
    classes: &["non_proliferative", "proliferative"],
    tensors: &["distances", "token_distances"],
};

/// Collects what is wrong: whatever returns `None` leaves a problem behind.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn manifest(&mut self, raw: &RawManifest) -> Option<Manifest> {
        if let Some(&schema) = self.need("schema", &raw.schema) {
            self.that("schema", schema == 1, format!("expected 1, found {schema}"));
        }
        let name = self.name(&raw.name);
        let version = self.version("version", &raw.version);
        let intended_use = self.word(
            "intended_use",
            &raw.intended_use,
            &[("demonstration", IntendedUse::Demonstration), ("clinical", IntendedUse::Clinical)],
        );
        let licence = self.text("licence", &raw.licence);
        self.engine_floor(&raw.engine_floor);
        let peak_ram_mib = self.need("peak_ram_mib", &raw.peak_ram_mib).copied();
        let peak_ram_mib =
            peak_ram_mib.and_then(|value| self.whole("peak_ram_mib", value, (1, 65_536)));
        let task = self.task(raw);
        Some(Manifest {
            name: name?,
            version: version?,
            intended_use: intended_use?,
            licence: licence?,
            peak_ram: Bytes::mib(peak_ram_mib? as u64),
            task: task?,
        })
    }

    fn task(&mut self, raw: &RawManifest) -> Option<Task> {
        let words = [
            ("localisation", TaskWord::Localisation),
            ("segmentation", TaskWord::Segmentation),
            ("classification", TaskWord::Classification),
            ("nomogram", TaskWord::Nomogram),
        ];
        match self.word("task", &raw.task, &words)? {
            TaskWord::Localisation => {
                self.absent("prototypes", raw.prototypes.is_some());
                self.absent("nnunet", raw.nnunet.is_some());
                let spec = self.network(raw, &LOCALISATION);
                let spacing = self.spacing(raw);
                Some(Task::Localisation(spec?, spacing?))
            }
            TaskWord::Segmentation => {
                self.absent("prototypes", raw.prototypes.is_some());
                let spec = self.network(raw, &SEGMENTATION);
                let spacing = self.spacing(raw);
                let recipe = match &raw.nnunet {
                    Some(recipe) => Some(self.nnunet(recipe)?),
                    None => None,
                };
                Some(Task::Segmentation(spec?, spacing?, recipe))
            }
            TaskWord::Classification => {
                let spacing = raw.input.as_ref().is_some_and(|input| input.spacing_mm.is_some());
                self.absent("input.spacing_mm", spacing);
                self.absent("nnunet", raw.nnunet.is_some());
                let spec = self.network(raw, &CLASSIFICATION);
                let prototypes = self.need("prototypes", &raw.prototypes);
                let patch = spec.as_ref().map(|spec| spec.input.patch);
                let prototypes = prototypes.and_then(|raw| self.prototypes(raw, patch));
                Some(Task::Classification(spec?, prototypes?))
            }
            TaskWord::Nomogram => {
                self.absent("input", raw.input.is_some());
                self.absent("output", raw.output.is_some());
                self.absent("prototypes", raw.prototypes.is_some());
                self.absent("golden", raw.golden.is_some());
                self.absent("nnunet", raw.nnunet.is_some());
                Some(Task::Nomogram)
            }
        }
    }

    fn network(&mut self, raw: &RawManifest, form: &Form) -> Option<NetworkSpec> {
        let input = self.need("input", &raw.input).and_then(|input| self.input(input, form));
        if let Some(output) = self.need("output", &raw.output) {
            self.output(output, form);
        }
        let quantisation = match &raw.quantisation {
            Some(quantisation) => Some(self.quantisation(quantisation)?),
            None => None,
        };
        let golden = self.need("golden", &raw.golden).and_then(|golden| self.golden(golden));
        if let Some(golden) = &golden {
            let names: Vec<&str> = golden.outputs.iter().map(|o| o.name.as_str()).collect();
            let message = format!("expected tables named {:?}, found {names:?}", form.tensors);
            self.that("golden.output", names == form.tensors, message);
        }
        Some(NetworkSpec {
            input: input?,
            outputs: owned(form.tensors),
            classes: owned(form.classes),
            quantisation,
            golden: golden?,
        })
    }

    fn input(&mut self, raw: &RawInput, form: &Form) -> Option<InputSpec> {
        let tensor = self.text("input.tensor", &raw.tensor);
        let names: Vec<&str> = form.phases.iter().map(|&phase| phase_name(phase)).collect();
        self.exactly("input.phases", &raw.phases, &names);
        if let Some(order) = self.need("input.axis_order", &raw.axis_order) {
            let message = format!("expected \"zyx\", found {order:?}");
            self.that("input.axis_order", order == "zyx", message);
        }
        let clip = self.numbers("input.hu_clip", &raw.hu_clip, HU_RANGE);
        if let Some([low, high]) = clip {
            let message = format!("expected low < high, found {low} and {high}");
            self.that("input.hu_clip", low < high, message);
        }
        let mean = self.number("input.mean", raw.mean, HU_RANGE);
        let sd = self.number("input.sd", raw.sd, (1e-3, 1e4));
        let patch = self.sizes("input.patch", &raw.patch, PATCH_VOXELS);
        let [low, high] = clip?;
        Some(InputSpec {
            tensor: tensor?,
            phases: form.phases.to_vec(),
            hu_clip: [low as f32, high as f32],
            mean: mean? as f32,
            sd: sd? as f32,
            patch: patch?,
        })
    }

    fn spacing(&mut self, raw: &RawManifest) -> Option<Spacing> {
        let spacing = raw.input.as_ref().map(|input| &input.spacing_mm)?;
        let zyx = self.numbers("input.spacing_mm", spacing, (0.2, 10.0))?;
        Spacing::new(zyx).ok()
    }

    fn nnunet(&mut self, raw: &RawNnUnet) -> Option<NnUnet> {
        let words =
            [("file", Orientation::File), ("ras", Orientation::Ras), ("lps", Orientation::Lps)];
        let orientation = self.word("nnunet.orientation", &raw.orientation, &words);
        let transpose = self.sizes("nnunet.transpose", &raw.transpose, (0, 2));
        if let Some(axes) = transpose {
            let each_once = (0..3).all(|axis| axes.contains(&axis));
            self.that("nnunet.transpose", each_once, format!("expected each axis once: {axes:?}"));
        }
        let mut mirror_axes = [false; 3];
        for &axis in self.need("nnunet.mirror_axes", &raw.mirror_axes)? {
            if let Some(axis) = self.whole("nnunet.mirror_axes", axis, (0, 2)) {
                mirror_axes[axis] = true;
            }
        }
        Some(NnUnet { orientation: orientation?, transpose: transpose?, mirror_axes })
    }

    fn output(&mut self, raw: &RawOutput, form: &Form) {
        self.exactly("output.tensors", &raw.tensors, form.tensors);
        self.exactly("output.classes", &raw.classes, form.classes);
    }

    fn prototypes(&mut self, raw: &RawPrototypes, patch: Option<[usize; 3]>) -> Option<Prototypes> {
        self.exactly("prototypes.bank_a", &raw.bank_a, &["non_proliferative", "proliferative"]);
        self.exactly("prototypes.bank_haic", &raw.bank_haic, &["poor", "good"]);
        self.exactly("prototypes.bank_tace", &raw.bank_tace, &["poor", "good"]);
        let gamma = self.number("prototypes.gamma", raw.gamma, (1e-6, 1e3));
        let pull = self.number("prototypes.pull", raw.pull, (0.0, 1.0));
        let key = "prototypes.proliferative_threshold";
        let threshold = self.number(key, raw.proliferative_threshold, (0.0, 1.0));
        let most_distance = match raw.max_distance {
            Some(value) => {
                Some(self.number("prototypes.max_distance", Some(value), (1e-6, 1e9))?)
            }
            None => None,
        };
        let grid = self.sizes("prototypes.token_grid", &raw.token_grid, (1, 64));
        if let (Some(patch), Some(grid)) = (patch, grid) {
            let cube = patch[1] == patch[0] && patch[2] == patch[0];
            self.that("input.patch", cube, format!("expected a cube, found {patch:?}"));
            let fits = (0..3).all(|axis| patch[axis].is_multiple_of(grid[axis]));
            let message = format!("expected divisors of the patch {patch:?}, found {grid:?}");
            self.that("prototypes.token_grid", fits, message);
        }
        Some(Prototypes {
            gamma: gamma?,
            pull: pull?,
            token_grid: grid?,
            threshold: Probability::new(threshold?).ok()?,
            most_distance,
        })
    }

    fn quantisation(&mut self, raw: &RawQuantisation) -> Option<Quantisation> {
        let scheme = self.word("quantisation.scheme", &raw.scheme, &[("qdq-int8", "qdq-int8")]);
        let weights = self.text("quantisation.weights", &raw.weights);
        let activations = self.text("quantisation.activations", &raw.activations);
        let float_ops = self.need("quantisation.float_ops", &raw.float_ops)?;
        let message = format!("expected at most {MAX_NAMES} names, found {}", float_ops.len());
        self.that("quantisation.float_ops", float_ops.len() <= MAX_NAMES, message);
        Some(Quantisation {
            scheme: scheme?.to_string(),
            weights: weights?,
            activations: activations?,
            float_ops: float_ops.clone(),
        })
    }

    fn golden(&mut self, raw: &RawGolden) -> Option<Golden> {
        let input = self.text("golden.input", &raw.input);
        let input_shape = self.shape("golden.input_shape", &raw.input_shape);
        let tolerance = self.number("golden.tolerance", raw.tolerance, (1e-9, 10.0));
        let reason = self.text("golden.reason", &raw.reason);
        let count = raw.output.len();
        let message = format!("expected 1..={MAX_NAMES} tables, found {count}");
        self.that("golden.output", (1..=MAX_NAMES).contains(&count), message);
        let outputs: Vec<Option<GoldenOutput>> =
            raw.output.iter().take(MAX_NAMES).map(|output| self.golden_output(output)).collect();
        Some(Golden {
            input: input?,
            input_shape: input_shape?,
            tolerance: tolerance? as f32,
            reason: reason?,
            outputs: outputs.into_iter().collect::<Option<_>>()?,
        })
    }

    fn golden_output(&mut self, raw: &RawGoldenOutput) -> Option<GoldenOutput> {
        let name = self.text("golden.output.name", &raw.name);
        let file = self.text("golden.output.file", &raw.file);
        let shape = self.shape("golden.output.shape", &raw.shape);
        Some(GoldenOutput { name: name?, file: file?, shape: shape? })
    }
}

/// The rules that the tables above are made of.
impl Check {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), message: message.into() });
    }

    fn that(&mut self, key: &str, holds: bool, message: String) {
        if !holds {
            self.problem(key, message);
        }
    }

    fn need<'a, T>(&mut self, key: &str, value: &'a Option<T>) -> Option<&'a T> {
        if value.is_none() {
            self.problem(key, "missing");
        }
        value.as_ref()
    }

    fn absent(&mut self, key: &str, present: bool) {
        self.that(key, !present, "not allowed for this task".into());
    }

    fn text(&mut self, key: &str, value: &Option<String>) -> Option<String> {
        let text = self.need(key, value)?;
        self.that(key, !text.trim().is_empty(), "empty".into());
        Some(text.clone())
    }

    fn name(&mut self, value: &Option<String>) -> Option<String> {
        let name = self.need("name", value)?;
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good = (1..=32).contains(&name.len()) && name.bytes().all(allowed);
        self.that("name", good, format!("expected [a-z0-9-]{{1,32}}, found {name:?}"));
        Some(name.clone())
    }

    fn word<T: Copy>(
        &mut self,
        key: &str,
        value: &Option<String>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let found = self.need(key, value)?;
        let known = words.iter().find(|(word, _)| word == found).map(|&(_, meaning)| meaning);
        if known.is_none() {
            let names: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            self.problem(key, format!("expected one of {}, found {found:?}", names.join(", ")));
        }
        known
    }

    fn exactly(&mut self, key: &str, value: &Option<Vec<String>>, expected: &[&str]) {
        if let Some(found) = self.need(key, value) {
            self.that(key, found == expected, format!("expected {expected:?}, found {found:?}"));
        }
    }

    fn version(&mut self, key: &str, value: &Option<String>) -> Option<String> {
        let text = self.need(key, value)?;
        let good = version_parts(text).is_some();
        self.that(key, good, format!("expected major.minor.patch, found {text:?}"));
        Some(text.clone())
    }

    fn engine_floor(&mut self, value: &Option<String>) {
        let Some(floor) = self.version("engine_floor", value) else { return };
        if let (Some(floor), Some(own)) = (version_parts(&floor), version_parts(ENGINE_VERSION)) {
            let message = format!("needs hcc-edge {floor:?}, this is {own:?}");
            self.that("engine_floor", floor <= own, message);
        }
    }

    fn number(&mut self, key: &str, value: Option<f64>, range: (f64, f64)) -> Option<f64> {
        let value = *self.need(key, &value)?;
        if value.is_finite() && (range.0..=range.1).contains(&value) {
            return Some(value);
        }
        self.problem(key, format!("expected {}..={}, found {value}", range.0, range.1));
        None
    }

    fn numbers<const N: usize>(
        &mut self,
        key: &str,
        value: &Option<Vec<f64>>,
        range: (f64, f64),
    ) -> Option<[f64; N]> {
        let values = self.need(key, value)?;
        if values.len() != N {
            self.problem(key, format!("expected {N} numbers, found {}", values.len()));
            return None;
        }
        let checked: Vec<f64> =
            values.iter().filter_map(|&value| self.number(key, Some(value), range)).collect();
        checked.try_into().ok()
    }

    fn whole(&mut self, key: &str, value: i64, range: (i64, i64)) -> Option<usize> {
        if (range.0..=range.1).contains(&value) {
            return usize::try_from(value).ok();
        }
        self.problem(key, format!("expected {}..={}, found {value}", range.0, range.1));
        None
    }

    fn sizes(
        &mut self,
        key: &str,
        value: &Option<Vec<i64>>,
        range: (i64, i64),
    ) -> Option<[usize; 3]> {
        let values = self.need(key, value)?;
        if values.len() != 3 {
            self.problem(key, format!("expected 3 numbers [z, y, x], found {}", values.len()));
            return None;
        }
        let checked: Vec<usize> =
            values.iter().filter_map(|&value| self.whole(key, value, range)).collect();
        checked.try_into().ok()
    }

    fn shape(&mut self, key: &str, value: &Option<Vec<i64>>) -> Option<Vec<usize>> {
        let values = self.need(key, value)?;
        if !(1..=6).contains(&values.len()) {
            self.problem(key, format!("expected 1 to 6 axes, found {}", values.len()));
            return None;
        }
        let most = MAX_GOLDEN_ELEMENTS as i64;
        let sizes: Vec<usize> =
            values.iter().filter_map(|&value| self.whole(key, value, (1, most))).collect();
        if sizes.len() != values.len() {
            return None;
        }
        let elements = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let good = elements.is_some_and(|count| count <= MAX_GOLDEN_ELEMENTS);
        self.that(key, good, format!("expected at most {most} elements, found {sizes:?}"));
        Some(sizes)
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Arterial => "arterial",
        Phase::Portal => "portal",
    }
}

/// `major.minor.patch` as numbers.
fn version_parts(text: &str) -> Option<[u32; 3]> {
    let parts: Option<Vec<u32>> = text
        .split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().ok() } else { None }
        })
        .collect();
    parts?.try_into().ok()
}
