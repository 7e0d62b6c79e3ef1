//! The functions of a PMN: against ONNX Runtime's answer, and what is refused.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::graph::Graph;
use super::tests::proto;
use super::walk::Walk;
use super::{Lowering, lower};
use crate::analysis::engine::fixture::PMN_EXAMPLE;
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::int8::fixture::hash;
use crate::analysis::engine::int8::isa::Isa;
use crate::analysis::engine::int8::program::{Layer, Op, Program};
use crate::analysis::engine::int8::reference::{self, Data};
use crate::analysis::engine::int8::run::Engine;
use crate::analysis::engine::int8::tokens::TokenOp;

/// Rounding to 8 bits once more or less; distances here are about 90.
const TOLERANCE: f32 = 0.5;

fn lowered(model: &ModelProto) -> Lowering {
    lower(model, "box", &["distances".into(), "token_distances".into()])
}

/// The example, changed.
fn changed(change: impl FnOnce(&mut ModelProto)) -> ModelProto {
    let mut model = proto(PMN_EXAMPLE.model);
    change(&mut model);
    model
}

fn in_graph(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    changed(|model| change(model.graph.as_mut().unwrap()))
}

/// The first call of a function, changed.
fn in_call(name: &str, change: impl FnOnce(&mut NodeProto)) -> ModelProto {
    in_graph(|graph| change(graph.node.iter_mut().find(|node| node.op_type == name).unwrap()))
}

/// A constant, changed.
fn in_constant(name: &str, change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    in_graph(|graph| change(graph.initializer.iter_mut().find(|held| held.name == name).unwrap()))
}

fn refuses(model: &ModelProto, operator: &str, why: &str) {
    let Lowering { program, refused, .. } = lowered(model);
    assert_eq!(program, None, "{operator}: {why}");
    let first = refused.first().unwrap();
    assert!(first.operator == operator && first.why.contains(why), "{first:?}, expected {why}");
}

/// Every node has its place; the reference and the engine answer as ONNX Runtime does with the functions' bodies.
#[test]
fn the_example_answers_as_in_onnx_runtime() {
    let lowering = lowered(&proto(PMN_EXAMPLE.model));
    assert_eq!(lowering.refused, []);
    let float: Vec<&str> = lowering
        .lowered
        .iter()
        .filter(|node| node.float)
        .map(|node| node.operator.as_str())
        .collect();
    let block = [
        "BatchNormalization",
        "ChannelNorm",
        "LocalSilu",
        "SelectiveScan",
        "GatedNorm",
        "ShuffleAdd",
    ];
    for operator in block {
        assert_eq!(float.iter().filter(|found| **found == operator).count(), 2, "{operator}");
    }
    assert_eq!(float.len(), 2 * block.len() + 2, "{float:?}");
    let program = lowering.program.unwrap();
    assert!(program.is_mixed());
    let input = PMN_EXAMPLE.input();
    let values = reference::run(&program, &input, [12; 3]).unwrap();
    let expected = [PMN_EXAMPLE.distances(), PMN_EXAMPLE.token_distances()];
    let mut engine = Engine::new(&program, [12; 3], Compute::with_threads(2)).unwrap();
    let mut found = expected.clone().map(|values| vec![0.0; values.len()]);
    let [a, b] = &mut found;
    engine.run(&input, &mut [a, b]);
    for ((&id, expected), found) in program.outputs.iter().zip(&expected).zip(&found) {
        let Data::Real(by_reference) = &values[id] else { panic!("{:?}", values[id]) };
        assert_eq!(by_reference, found);
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= TOLERANCE, "{found:?} for {expected:?}");
        }
    }
}

fn float_layers(program: &Program) -> Vec<&TokenOp> {
    let ops = program.layers.iter().map(|layer| &layer.op);
    ops.filter_map(|op| if let Op::Token(op) = op { Some(op) } else { None }).collect()
}

/// Two blocks; what LocalSilu makes is read in f32 and in 8 bits, and computed once.
#[test]
fn a_float_layer_of_two_readers_is_computed_once() {
    let program = lowered(&proto(PMN_EXAMPLE.model)).program.unwrap();
    let mut names: Vec<&str> = float_layers(&program).iter().map(|op| op.name()).collect();
    names.sort_unstable();
    let expected = [
        ("affine", 4),
        ("depthwise 3×3×3", 2),
        ("distances", 1),
        ("gated norm", 2),
        ("merging norm", 1),
        ("norm", 2),
        ("scan", 2),
        ("shuffle", 2),
        ("token distances", 1),
    ];
    let expected: Vec<&str> =
        expected.into_iter().flat_map(|(name, count)| std::iter::repeat_n(name, count)).collect();
    assert_eq!(names, expected);
}

/// Copies of the rounding of the first LocalSilu, each with another scale.
#[test]
fn a_float_layer_rounded_in_many_ways_is_computed_once() {
    let model = in_graph(|graph| {
        let local = graph.node.iter().find(|node| node.op_type == "LocalSilu").unwrap();
        let made = local.output[0].clone();
        let reads = |node: &NodeProto| node.op_type == "QuantizeLinear" && node.input[0] == made;
        let at = graph.node.iter().position(reads).unwrap();
        let rounding = graph.node[at].clone();
        let find = |held: &&TensorProto| held.name == rounding.input[1];
        let scale = graph.initializer.iter().find(find).unwrap().clone();
        let mut calls = Vec::new();
        for index in 0..20u8 {
            let mut other = scale.clone();
            other.name = format!("scale{index}");
            other.raw_data = (0.5 + f32::from(index)).to_le_bytes().to_vec();
            other.float_data = Vec::new();
            let mut copy = rounding.clone();
            (copy.name, copy.input[1]) = (format!("round{index}"), other.name.clone());
            copy.output = vec![format!("rounded{index}")];
            graph.initializer.push(other);
            graph.node.insert(at, copy);
            calls.push(format!("rounded{index}"));
        }
        // Something must need them: a node that cannot be lowered, so only the layers are looked at.
        graph.node.push(concat(calls, "sink".into()));
    });
    let graph = Graph::new(&model, "box", &["sink".into()]).unwrap();
    let first = Walk::new(&graph, BTreeSet::new());
    let shared = first.layers.to_share();
    assert_eq!(shared.len(), 1);
    let second = Walk::new(&graph, shared);
    for (walk, computed) in [(first, 20), (second, 1)] {
        let local = |layer: &&Layer| matches!(layer.op, Op::Token(TokenOp::Local { .. }));
        assert_eq!(walk.layers.layers.iter().filter(local).count(), computed);
    }
}

/// On every path that this machine has; scripts/test-arm, which has no reader of ONNX, compares a network of all the
/// same layers (`networks_give_the_same_bits_on_every_machine`).
#[test]
fn the_example_gives_the_same_bits_on_every_path() {
    let program = lowered(&proto(PMN_EXAMPLE.model)).program.unwrap();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        let compute = Compute { isa, ..Compute::with_threads(2) };
        let mut engine = Engine::new(&program, [12; 3], compute).unwrap();
        let (mut together, mut each) = ([f32::NAN; 6], [f32::NAN; 16]);
        engine.run(&PMN_EXAMPLE.input(), &mut [&mut together, &mut each]);
        let found = hash(&[&together[..], &each].concat());
        assert_eq!(found, 0xc81f_e212_86f7_7cf0, "{isa:?}: {found:#x}");
    }
}

/// What ShuffleAdd makes may be read by a BatchNormalization first.
#[test]
fn a_norm_of_a_float_layer_does_not_depend_on_the_order() {
    let model = in_graph(|graph| {
        let at = |graph: &GraphProto, name: &str| {
            graph.node.iter().position(|node| node.op_type == name).unwrap()
        };
        let norm = at(graph, "BatchNormalization");
        let mut copy = graph.node[norm].clone();
        let shuffle = at(graph, "ShuffleAdd");
        let channels = 32i64;
        for index in 1..=4 {
            let name = &copy.input[index];
            let mut held =
                graph.initializer.iter().find(|held| held.name == *name).unwrap().clone();
            held.name = format!("wide{index}");
            held.dims = vec![channels];
            held.raw_data = [held.raw_data.clone(), held.raw_data].concat();
            graph.initializer.push(held);
        }
        let made = graph.node[shuffle].output[0].clone();
        copy.name = "wide".into();
        copy.input =
            [made.clone()].into_iter().chain((1..=4).map(|i| format!("wide{i}"))).collect();
        copy.output = vec!["wide".into()];
        for later in &mut graph.node[shuffle + 1..] {
            for input in later.input.iter_mut().filter(|input| **input == made) {
                *input = "wide".into();
            }
        }
        graph.node.insert(shuffle + 1, copy);
    });
    let lowering = lowered(&model);
    assert_eq!(lowering.refused, []);
    let names: Vec<&str> =
        float_layers(&lowering.program.unwrap()).iter().map(|op| op.name()).collect();
    let shuffle = names.iter().position(|name| *name == "shuffle").unwrap();
    assert_eq!(names[shuffle + 1..][..2], ["affine", "merging norm"]);
}

#[test]
fn a_function_is_known_by_its_body() {
    let function = |change: fn(&mut tract_onnx::pb::FunctionProto)| {
        changed(|model| {
            change(model.functions.iter_mut().find(|f| f.name() == "LocalSilu").unwrap())
        })
    };
    let other = "another body";
    refuses(&function(|f| f.node[1].op_type = "Tanh".into()), "LocalSilu", other);
    refuses(&function(|f| f.node[0].attribute.clear()), "LocalSilu", other);
    refuses(&function(|f| f.input.swap(1, 2)), "LocalSilu", other);
    refuses(&function(|f| f.opset_import.clear()), "LocalSilu", other);
    refuses(&function(|f| f.name = Some("Local".into())), "LocalSilu", "has no body");
    refuses(&changed(|model| model.functions.clear()), "ChannelNorm", "has no body");
    refuses(
        &changed(|model| model.functions.extend(model.functions.clone())),
        "ChannelNorm",
        "several bodies",
    );
    refuses(&in_call("LocalSilu", |node| node.op_type = "Wash".into()), "Wash", "is not known");
    let crowd = changed(|model| {
        let one = model.functions[0].clone();
        let other = |index: usize| {
            let mut other = one.clone();
            (other.name, other.domain) = (Some(format!("f{index}")), Some("elsewhere".into()));
            other
        };
        model.functions.extend((0..58).map(other));
    });
    refuses(&crowd, "model", "65 functions, the limit is 64");
    let mut fewer = crowd;
    fewer.functions.pop();
    assert!(lowered(&fewer).refused.is_empty());
    let version = |change: fn(&mut i64)| {
        changed(|model| {
            let own = model.opset_import.iter_mut().find(|set| set.domain == "hcc_edge").unwrap();
            change(&mut own.version);
        })
    };
    refuses(&version(|version| *version = 2), "ChannelNorm", "only version 1");
    refuses(
        &changed(|model| model.opset_import.retain(|set| set.domain.is_empty())),
        "ChannelNorm",
        "only version 1",
    );
}

#[test]
fn attributes_and_inputs_that_do_not_fit() {
    let attribute = |operator: &str, change: fn(&mut tract_onnx::pb::AttributeProto)| {
        in_call(operator, |node| change(&mut node.attribute[0]))
    };
    refuses(&attribute("SelectiveScan", |a| a.i = 0), "SelectiveScan", "chunk is 0");
    refuses(&attribute("LocalSilu", |a| a.i = 16), "LocalSilu", "group is 16");
    refuses(&attribute("ChannelNorm", |a| a.f = f32::NAN), "ChannelNorm", "epsilon is NaN");
    refuses(&attribute("ChannelNorm", |a| a.name = "eps".into()), "ChannelNorm", "not supported");
    refuses(&attribute("ChannelNorm", |a| a.f = -1.0), "ChannelNorm", "epsilon -1");
    let swapped = in_call("ShuffleAdd", |node| node.input.swap(0, 1));
    refuses(&swapped, "ShuffleAdd", "half has 64 channels");
    refuses(&in_call("SelectiveScan", |node| node.input.swap(0, 1)), "SelectiveScan", "sides");
    refuses(
        &in_call("GatedNorm", |node| node.input.truncate(3)),
        "GatedNorm",
        "input 3 is missing",
    );
    for (operator, most) in
        [("ChannelNorm", 3), ("ShuffleAdd", 3), ("SelectiveScan", 4), ("Prototypes", 6)]
    {
        let more = in_call(operator, |node| node.input.push("box".into()));
        refuses(&more, operator, &format!("expected at most {most}"));
    }
    let weights = |node: &mut NodeProto| node.input[0] = node.input[1].clone();
    refuses(&in_call("LocalSilu", weights), "LocalSilu", "is a constant");
    let later = |node: &mut NodeProto| node.input[0] = "merge1".into();
    refuses(&in_call("LocalSilu", later), "LocalSilu", "nothing before it makes");
}

#[test]
fn constants_that_do_not_fit() {
    let scan = "stage1.block1.far.scan.log_rate";
    let sides = |sides: &'static [i64]| in_constant(scan, |held| held.dims = sides.to_vec());
    refuses(&sides(&[6]), "SelectiveScan", "expected 3 orders");
    refuses(&sides(&[2, 3]), "SelectiveScan", "expected [3, 3]");
    refuses(&sides(&[3, i64::MAX]), "SelectiveScan", "sides");
    refuses(&in_constant(scan, |held| held.raw_data.truncate(8)), "SelectiveScan", "elements");
    let nan = |held: &mut TensorProto| held.raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    refuses(&in_constant(scan, nan), "SelectiveScan", "contains NaN");
    let weight = "stage1.block1.far.local.weight";
    refuses(
        &in_constant(weight, |held| held.dims[1] = 3),
        "LocalSilu",
        "expected [32, 1, 3, 3, 3]",
    );
    let prototypes =
        |sides: [i64; 2]| in_constant("prototypes.prototypes", |held| held.dims = sides.to_vec());
    refuses(&prototypes([1, 384]), "Prototypes", "1 prototypes, expected 2 or more");
    refuses(&prototypes([64, 6]), "Prototypes", "expected [64, 64]");
}

/// A call that is refused makes nothing, also not its second output.
#[test]
fn nothing_is_made_by_a_call_that_is_refused() {
    let model = in_call("Prototypes", |node| node.attribute[0].f = -1.0);
    let refused = lower(&model, "box", &["token_distances".into()]).refused;
    let why: Vec<&str> = refused.iter().map(|refused| refused.why.as_str()).collect();
    assert_eq!(why, ["epsilon -1", "was not lowered"]);
}

#[test]
fn cuts_that_do_not_fit() {
    let cut = |which: &str, number: i64| {
        in_constant(&format!("stage1.block1.near.{which}"), |held| {
            held.raw_data = number.to_le_bytes().to_vec();
        })
    };
    refuses(&cut("axis", 2), "Slice", "cuts axis 2");
    refuses(&cut("first", -1), "Slice", "counted from the end");
    refuses(&cut("first", 16), "Slice", "channels 16 to 16 of 32");
    refuses(&cut("end", 33), "Slice", "channels 0 to 33 of 32");
    refuses(&cut("end", i64::MAX), "Slice", "of 32");
    // A cut is where it is; what reads it says how many channels it takes.
    assert_eq!(lowered(&cut("end", 15)).program, None);
}

/// A node that needs all of `input`.
fn concat(input: Vec<String>, made: String) -> NodeProto {
    NodeProto { op_type: "Concat".into(), input, output: vec![made], ..NodeProto::default() }
}

#[test]
fn more_outputs_than_a_program_has_are_refused_before_the_walk() {
    let model = proto(PMN_EXAMPLE.model);
    let outputs: Vec<String> = (0..9).map(|_| "distances".into()).collect();
    assert!(lower(&model, "box", &outputs[..8]).refused.is_empty());
    let refused = lower(&model, "box", &outputs).refused;
    assert_eq!(refused[0].why, "9 outputs, the limit is 8");
}

/// A constant read by many calls is counted each time.
#[test]
fn what_is_held_has_a_limit() {
    let many = in_graph(|graph| {
        let at = graph.node.iter().position(|node| node.op_type == "Prototypes").unwrap();
        let held =
            graph.initializer.iter_mut().find(|held| held.name == "prototypes.prototypes").unwrap();
        // 64 prototypes of 64 channels in 4096 bytes each way would be nothing; 4,000 calls of 1 MiB are not.
        held.dims = vec![4096, 64];
        held.raw_data = vec![0; 4096 * 64 * 4];
        let call = graph.node[at].clone();
        for group in 0..50 {
            let names: Vec<String> = (0..60).map(|index| format!("d{group}_{index}")).collect();
            for name in &names {
                let mut copy = call.clone();
                copy.output = vec![name.clone(), format!("t{name}")];
                graph.node.push(copy);
            }
            graph.node.push(concat(names, format!("group{group}")));
        }
        let groups = (0..50).map(|group| format!("group{group}")).collect();
        graph.node.push(concat(groups, "all".into()));
    });
    let refused = lower(&many, "box", &["all".into()]).refused;
    assert!(
        refused.iter().any(|refused| refused.why.contains("are more than")),
        "{:?}",
        refused.first()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Either there is a program, which runs, or there is a reason; never a panic.
    #[test]
    fn damaged_models_are_refused_or_run(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        all_over in any::<bool>(),
    ) {
        let mut onnx = PMN_EXAMPLE.model.to_vec();
        // Most bytes are weights; structure comes first.
        let reach = if all_over { onnx.len() } else { 16_000 };
        for (place, byte) in hits {
            let place = place.index(reach);
            onnx[place] = byte;
        }
        if let Ok(model) = super::decoded(&onnx) {
            let lowering = lowered(&model);
            prop_assert_eq!(lowering.program.is_none(), !lowering.refused.is_empty());
            if let Some(program) = lowering.program
                && let Ok(mut engine) = Engine::new(&program, [12; 3], Compute::alone())
            {
                let mut outputs: Vec<Vec<f32>> = engine
                    .outputs()
                    .iter()
                    .map(|(channels, size)| vec![0.0; channels * size.iter().product::<usize>()])
                    .collect();
                let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                engine.run(&vec![0.5; program.input_channels * 1728], &mut slices);
            }
        }
    }
}
