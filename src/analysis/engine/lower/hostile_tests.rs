//! What is refused, with the reason; and that damaged models are only ever refused.

use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{ModelProto, TensorProto};
use tract_onnx::prelude::Framework as _;

use super::tests::{lowered, proto};
use super::{Lowering, MAX_NODES, MAX_PARTS, lower};
use crate::analysis::engine::fixture::qdq::{Qdq, Zero};
use crate::analysis::engine::fixture::{Message, float, int, ints, text};
use crate::analysis::engine::int8::reference;

const QUANT: (f32, u8) = (0.02, 128);

/// Lowers `model` and expects the first refusal to be of `operator` with `why` in its reason.
fn refuses(model: &ModelProto, operator: &str, why: &str) {
    let Lowering { program, refused, .. } = lower(model, "image", &["logits".into()]);
    assert_eq!(program, None);
    let first = refused.first().unwrap();
    assert!(first.operator == operator && first.why.contains(why), "{first:?}, expected {why}");
}

/// A model whose part between `image` in 8 bits and the rounding at the end is `middle`.
fn around(middle: impl FnOnce(&mut Qdq, &str) -> String) -> ModelProto {
    let mut qdq = Qdq::new();
    let x = qdq.rounded("image", QUANT);
    let x = middle(&mut qdq, &x);
    let x = qdq.rounded(&x, QUANT);
    qdq.handed_out(&x, 2, "logits");
    proto(&qdq.onnx(2, &[("logits", 2)]))
}

/// A 3×3×3 convolution of 2 to 2 channels with these attributes.
fn convolution(attributes: &[Message]) -> ModelProto {
    around(|qdq, x| qdq.conv(x, [2, 2, 3, 3, 3], attributes))
}

/// A node that reads the image in 8 bits.
fn single(operator: &str, attributes: &[Message]) -> ModelProto {
    around(|qdq, x| qdq.node(operator, &[x], attributes))
}

#[test]
fn convolutions_of_other_kinds() {
    assert!(lower(&convolution(&[]), "image", &["logits".into()]).program.is_some());
    refuses(&convolution(&[int("group", 2)]), "Conv", "group is 2");
    refuses(&convolution(&[ints("dilations", &[1, 2, 1])]), "Conv", "dilations");
    refuses(&convolution(&[text("auto_pad", "SAME_UPPER")]), "Conv", "auto_pad is SAME_UPPER");
    refuses(&convolution(&[ints("pads", &[3, 0, 0, 0, 0, 0])]), "Conv", "padding");
    refuses(&convolution(&[ints("pads", &[1; 5])]), "Conv", "expected 6 numbers");
    refuses(&convolution(&[ints("pads", &[u64::MAX; 6])]), "Conv", "expected 6 numbers");
    refuses(&convolution(&[ints("strides", &[0, 1, 1])]), "Conv", "stride");
    refuses(&convolution(&[ints("strides", &[8, 1, 1])]), "Conv", "stride");
    refuses(&convolution(&[ints("kernel_shape", &[3, 3, 2])]), "Conv", "kernel_shape");
    refuses(&convolution(&[float("strides", 1.0)]), "Conv", "has type");
    refuses(&convolution(&[int("fuse", 1)]), "Conv", "attribute fuse is not supported");
    refuses(&convolution(&[int("group", 1), int("group", 1)]), "Conv", "twice");
    let large = around(|qdq, x| qdq.conv(x, [2, 2, 8, 1, 1], &[]));
    refuses(&large, "Conv", "only 1 to 7");
    let narrow = around(|qdq, x| qdq.conv(x, [2, 3, 1, 1, 1], &[]));
    refuses(&narrow, "Conv", "reads 2 channels with weights for 3");
    let unrounded = around(|qdq, x| {
        let x = qdq.conv(x, [2, 2, 1, 1, 1], &[]);
        qdq.conv(&x, [2, 2, 1, 1, 1], &[])
    });
    refuses(&unrounded, "Conv", "not rounded to 8 bits");
}

#[test]
fn weights_of_other_kinds() {
    let with = |weights: fn(&mut Qdq) -> String| {
        around(|qdq, x| {
            let weights = weights(qdq);
            qdq.node("Conv", &[x, &weights], &[])
        })
    };
    refuses(&with(|qdq| qdq.floats(&[2, 2, 1, 1, 1], &[1.0; 4])), "Conv", "not quantised");
    let asymmetric = |qdq: &mut Qdq| {
        let (numbers, scale) = (qdq.raw(&[2, 2, 1, 1, 1], 3, &[1; 4]), qdq.floats(&[], &[0.1]));
        let zero = qdq.raw(&[], 3, &[4]);
        qdq.node("DequantizeLinear", &[&numbers, &scale, &zero], &[])
    };
    refuses(&with(asymmetric), "DequantizeLinear", "only symmetric");
    refuses(&with(|qdq| qdq.weights(&[2, 2, 1, 1, 1], 1)), "Conv", "along axis 1");
    refuses(&with(|qdq| qdq.weights(&[2, 2, 1, 1], 0)), "Conv", "only three axes");
    let far = |qdq: &mut Qdq| {
        let (numbers, scales) =
            (qdq.raw(&[2, 2, 1, 1, 1], 3, &[1; 4]), qdq.floats(&[2], &[0.1; 2]));
        qdq.node("DequantizeLinear", &[&numbers, &scales], &[int("axis", i64::MIN)])
    };
    refuses(&with(far), "DequantizeLinear", "attribute axis");
    let three = |qdq: &mut Qdq| {
        let (numbers, scales) =
            (qdq.raw(&[2, 2, 1, 1, 1], 3, &[1; 4]), qdq.floats(&[3], &[0.1; 3]));
        qdq.node("DequantizeLinear", &[&numbers, &scales], &[int("axis", 0)])
    };
    refuses(&with(three), "DequantizeLinear", "3 scales along axis 0");
}

#[test]
fn transposed_convolutions_that_overlap() {
    let with = |attributes: &[Message]| {
        around(|qdq, x| {
            let weights = qdq.weights(&[2, 2, 2, 2, 2], 1);
            qdq.node("ConvTranspose", &[x, &weights], attributes)
        })
    };
    let strides = || ints("strides", &[2; 3]);
    assert!(lower(&with(&[strides()]), "image", &["logits".into()]).program.is_some());
    refuses(&with(&[]), "ConvTranspose", "only a stride that is the kernel");
    refuses(&with(&[strides(), ints("pads", &[1; 6])]), "ConvTranspose", "padding");
    refuses(&with(&[strides(), ints("output_padding", &[1; 3])]), "ConvTranspose", "padding");
    refuses(&with(&[strides(), ints("output_shape", &[1; 3])]), "ConvTranspose", "output_shape");
}

#[test]
fn rounding_of_other_kinds() {
    let per_channel = around(|qdq, x| {
        let (scales, zeros) = (qdq.floats(&[2], &[0.1; 2]), qdq.raw(&[2], 2, &[0; 2]));
        qdq.node("QuantizeLinear", &[x, &scales, &zeros], &[])
    });
    refuses(&per_channel, "QuantizeLinear", "2 scales");
    for scale in [0.0, -0.1, f32::NAN, f32::INFINITY] {
        let model = around(|qdq, x| qdq.rounded(x, (scale, 0)));
        refuses(&model, "QuantizeLinear", if scale.is_finite() { "positive" } else { "contains" });
    }
    let other = around(|qdq, x| {
        let x = qdq.linear("QuantizeLinear", x, (0.1, Zero::Unsigned(3)));
        qdq.linear("DequantizeLinear", &x, (0.2, Zero::Unsigned(3)))
    });
    refuses(&other, "DequantizeLinear", "what was quantised with");
    let sign = around(|qdq, x| {
        let x = qdq.linear("QuantizeLinear", x, (0.1, Zero::Unsigned(128)));
        qdq.linear("DequantizeLinear", &x, (0.1, Zero::Signed(0)))
    });
    refuses(&sign, "DequantizeLinear", "what was quantised with");
    let bare = around(|qdq, x| {
        let x = qdq.linear("QuantizeLinear", x, (0.1, Zero::Unsigned(3)));
        qdq.conv(&x, [2, 2, 1, 1, 1], &[])
    });
    refuses(&bare, "Conv", "without DequantizeLinear");
}

#[test]
fn operators_of_other_kinds() {
    for operator in ["GlobalAveragePool", "Softmax", "Sigmoid", "Upsample", "Flatten"] {
        refuses(&single(operator, &[]), operator, "no place");
    }
    refuses(&single("MaxPool", &[]), "MaxPool", "kernel_shape is missing");
    let window = || ints("kernel_shape", &[2; 3]);
    refuses(&single("MaxPool", &[window(), int("ceil_mode", 1)]), "MaxPool", "ceil_mode is 1");
    let counted = [window(), ints("pads", &[1; 6]), int("count_include_pad", 1)];
    refuses(&single("AveragePool", &counted), "AveragePool", "counts padded");
    refuses(&single("Relu", &[int("x", 1)]), "Relu", "attribute x");
    let sum = around(|qdq, x| {
        let a = qdq.conv(x, [2, 2, 1, 1, 1], &[]);
        let b = qdq.node("Add", &[&a, x], &[]);
        qdq.node("Add", &[&b, x], &[])
    });
    refuses(&sum, "Add", "more than two values");
    let wide = around(|qdq, x| {
        let a = qdq.conv(x, [1, 2, 1, 1, 1], &[]);
        qdq.node("Add", &[&a, x], &[])
    });
    refuses(&wide, "Add", "channels");
    let normalised = around(|qdq, x| {
        let (gamma, beta) = (qdq.per_channel(2, 1.0), qdq.per_channel(2, 0.0));
        let sum = qdq.node("Add", &[x, x], &[]);
        qdq.node("InstanceNormalization", &[&sum, &gamma, &beta], &[])
    });
    refuses(&normalised, "InstanceNormalization", "a sum of two values");
    let depth = around(|qdq, x| qdq.node("Concat", &[x, x], &[int("axis", 2)]));
    refuses(&depth, "Concat", "along axis 2");
    let nearest = around(|qdq, x| {
        let scales = qdq.floats(&[5], &[1.0, 1.0, 2.0, 2.0, 2.0]);
        qdq.node("Resize", &[x, "", &scales], &[text("mode", "nearest")])
    });
    refuses(&nearest, "Resize", "mode nearest");
    let thrice = around(|qdq, x| {
        let scales = qdq.floats(&[5], &[1.0, 1.0, 3.0, 3.0, 3.0]);
        qdq.node("Resize", &[x, "", &scales], &[text("mode", "linear")])
    });
    refuses(&thrice, "Resize", "only doubling");
}

#[test]
fn outputs_that_no_layer_makes() {
    let ending = |operator: &str, attributes: &[Message], why: &str| {
        let mut qdq = Qdq::new();
        let x = qdq.rounded("image", QUANT);
        let inputs = if operator == "AveragePool" { vec![&*x] } else { vec![&*x, &*x] };
        qdq.named(operator, &inputs, "logits", attributes);
        refuses(&proto(&qdq.onnx(2, &[("logits", 2)])), "output", why);
    };
    ending("Add", &[], "is a sum");
    ending("Concat", &[int("axis", 1)], "is concatenated");
    ending("AveragePool", &[ints("kernel_shape", &[2; 3])], "before it is quantised");
}

#[test]
fn concatenation_has_a_limit() {
    let with = |times: usize| {
        let mut qdq = Qdq::new();
        let mut x = qdq.rounded("image", QUANT);
        for _ in 0..times {
            x = qdq.node("Concat", &[&x, &x], &[int("axis", 1)]);
        }
        qdq.handed_out(&x, 2 << times, "logits");
        qdq.onnx(2, &[("logits", 2)])
    };
    let why = |times| lowered(&with(times)).refused[0].why.clone();
    // Two parts are fine, 2^30 never come to be.
    assert!(lowered(&with(2)).program.is_some());
    assert!(why(4).contains("inputs"), "{}", why(4));
    assert!(why(5).contains(&format!("limits are {MAX_PARTS}")), "{}", why(5));
}

#[test]
fn models_that_are_no_single_clear_graph() {
    let good = convolution(&[]);
    let graph = |change: fn(&mut tract_onnx::pb::GraphProto)| {
        let mut model = good.clone();
        change(model.graph.as_mut().unwrap());
        model
    };
    let model = |change: fn(&mut ModelProto)| {
        let mut model = good.clone();
        change(&mut model);
        model
    };
    refuses(&model(|model| model.graph = None), "model", "no graph");
    refuses(&model(|model| model.opset_import.clear()), "model", "operator set");
    refuses(&model(|model| model.opset_import[0].version = 9), "model", "operator set");
    refuses(&graph(|graph| graph.input.clear()), "model", "the one input");
    refuses(&graph(|graph| graph.input.push(graph.output[0].clone())), "model", "the one input");
    refuses(&graph(|graph| graph.input[0].r#type = None), "model", "not a tensor");
    refuses(&graph(|graph| graph.node.truncate(3)), "model", "no node makes the output");
    refuses(&graph(|graph| graph.node.push(graph.node[0].clone())), "model", "made twice");
    refuses(&graph(|graph| graph.initializer.push(graph.initializer[0].clone())), "model", "twice");
    let elsewhere = |graph: &mut tract_onnx::pb::GraphProto| {
        graph.initializer[0].data_location = Some(DataLocation::External as i32);
    };
    refuses(&graph(elsewhere), "model", "another file");
    refuses(&graph(|graph| graph.node.reverse()), "Conv", "which nothing before it makes");
    refuses(&graph(|graph| graph.initializer.clear()), "QuantizeLinear", "nothing before it makes");
    refuses(
        &graph(|graph| graph.node[0].domain = "com.microsoft".into()),
        "QuantizeLinear",
        "com.",
    );
    let circle = |graph: &mut tract_onnx::pb::GraphProto| {
        graph.node[0].input[0] = graph.output[0].name.clone();
    };
    refuses(&graph(circle), "QuantizeLinear", "which nothing before it makes");
    let many = |graph: &mut tract_onnx::pb::GraphProto| {
        graph.node = vec![graph.node[0].clone(); MAX_NODES + 1];
    };
    refuses(&graph(many), "model", "nodes, the limit is");
    let absent = lower(&good, "image", &["other".into()]);
    assert_eq!(absent.refused[0].why, "no node makes the output other");
    assert!(lower(&good, "picture", &["logits".into()]).refused[0].why.contains("picture"));
    assert!(lower(&good, "image", &[]).refused[0].why.contains("no output"));
}

/// The convolution's model with its first constant of this many dimensions changed.
fn with_constant(rank: usize, change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    let mut model = convolution(&[]);
    let constants = &mut model.graph.as_mut().unwrap().initializer;
    change(constants.iter_mut().find(|tensor| tensor.dims.len() == rank).unwrap());
    model
}

#[test]
fn constants_that_contradict_themselves() {
    let weights = |change: fn(&mut TensorProto)| with_constant(5, change);
    refuses(&weights(|held| held.raw_data.truncate(5)), "Conv", "has 5 elements");
    refuses(&weights(|held| held.raw_data.clear()), "Conv", "has 0 elements");
    refuses(&weights(|held| held.dims[4] = -3), "DequantizeLinear", "has sides");
    refuses(&weights(|held| held.dims[4] = i64::MAX), "DequantizeLinear", "has sides");
    refuses(&weights(|held| held.dims[4] = 0), "DequantizeLinear", "has sides");
    refuses(&weights(|held| held.data_type = 77), "DequantizeLinear", "unknown type");
    refuses(&weights(|held| held.data_type = 2), "DequantizeLinear", "type Uint8");
    let scale = |change: fn(&mut TensorProto)| with_constant(0, change);
    refuses(&scale(|held| held.raw_data.truncate(3)), "QuantizeLinear", "elements");
    refuses(&scale(|held| held.raw_data.push(0)), "QuantizeLinear", "elements");
    refuses(&scale(|held| held.data_type = 11), "QuantizeLinear", "type Double");
    refuses(&scale(|held| held.dims = vec![1, 1]), "QuantizeLinear", "one axis");
}

/// Numbers in the fields for their type mean the same as raw bytes.
#[test]
fn constants_may_be_written_out() {
    let good = convolution(&[]);
    let mut model = good.clone();
    for held in &mut model.graph.as_mut().unwrap().initializer {
        let raw = std::mem::take(&mut held.raw_data);
        match held.data_type {
            1 => {
                held.float_data = raw.as_chunks().0.iter().map(|&w| f32::from_le_bytes(w)).collect()
            }
            2 => held.int32_data = raw.iter().map(|&byte| i32::from(byte)).collect(),
            3 => held.int32_data = raw.iter().map(|&b| i32::from(b.cast_signed())).collect(),
            kind => panic!("{kind}"),
        }
    }
    let lowered = |model: &ModelProto| lower(model, "image", &["logits".into()]);
    assert_eq!(lowered(&model), lowered(&good));
    let weights = model.graph.as_mut().unwrap().initializer.iter_mut();
    let weights = weights.filter(|held| held.dims.len() == 5).collect::<Vec<_>>();
    weights.into_iter().for_each(|held| held.int32_data[0] = 128);
    refuses(&model, "Conv", "contains 128");
}

#[test]
fn sums_beyond_32_bits_are_refused() {
    let mut qdq = Qdq::new();
    let x = qdq.rounded("image", QUANT);
    let numbers = qdq.raw(&[1, 2048, 7, 7, 1], 3, &vec![127; 2048 * 49]);
    let scale = qdq.floats(&[], &[1.0]);
    let weights = qdq.node("DequantizeLinear", &[&numbers, &scale], &[]);
    let wide = qdq.conv(&x, [2048, 2, 1, 1, 1], &[]);
    let wide = qdq.rounded(&wide, (1.0, 0));
    qdq.named("Conv", &[&wide, &weights], "logits", &[]);
    refuses(&proto(&qdq.onnx(2, &[("logits", 1)])), "layer", "more than 32 bits hold");
}

/// A model with most patterns in it.
fn much() -> Vec<u8> {
    let mut qdq = Qdq::new();
    let x = qdq.rounded("image", QUANT);
    let a = qdq.conv(&x, [3, 2, 3, 3, 3], &[ints("pads", &[1; 6]), ints("strides", &[2; 3])]);
    let (gamma, beta) = (qdq.per_channel(3, 1.0), qdq.per_channel(3, 0.0));
    let a = qdq.node("InstanceNormalization", &[&a, &gamma, &beta], &[float("epsilon", 0.1)]);
    let a = qdq.node("LeakyRelu", &[&a], &[float("alpha", 0.1)]);
    let a = qdq.rounded(&a, QUANT);
    let a = qdq.transposed(&a, [3, 2, 2, 2, 2]);
    let p = qdq.node("MaxPool", &[&x], &[ints("kernel_shape", &[2; 3]), ints("strides", &[2; 3])]);
    let scales = qdq.floats(&[5], &[1.0, 1.0, 2.0, 2.0, 2.0]);
    let p = qdq.node("Resize", &[&p, "", &scales], &[text("mode", "linear")]);
    let x = qdq.node("Concat", &[&a, &x, &p], &[int("axis", 1)]);
    let x = qdq.rounded(&x, QUANT);
    let b = qdq.conv(&x, [2, 6, 1, 1, 1], &[]);
    let c = qdq.conv(&x, [2, 6, 3, 3, 3], &[ints("pads", &[1; 6])]);
    let slope = qdq.floats(&[2, 1, 1, 1], &[0.1, 0.2]);
    let x = qdq.node("Add", &[&b, &c], &[]);
    let x = qdq.node("PRelu", &[&x, &slope], &[]);
    let x = qdq.rounded(&x, QUANT);
    qdq.handed_out(&x, 2, "logits");
    qdq.onnx(2, &[("logits", 2)])
}

#[test]
fn the_model_that_is_damaged_below_is_whole() {
    let lowering = lowered(&much());
    assert_eq!(lowering.refused, []);
    assert!(reference::run(&lowering.program.unwrap(), &[0.5; 16], [2; 3]).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Either there is a program, which runs, or there is a reason; never a panic.
    #[test]
    fn damaged_models_are_refused_or_run(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut onnx = much();
        for (place, byte) in hits {
            let place = place.index(onnx.len());
            onnx[place] = byte;
        }
        if let Some(cut) = cut {
            let len = cut.index(onnx.len());
            onnx.truncate(len);
        }
        if let Ok(model) = tract_onnx::onnx().proto_model_for_read(&mut &onnx[..]) {
            let lowering = lower(&model, "image", &["logits".into()]);
            prop_assert_eq!(lowering.program.is_none(), !lowering.refused.is_empty());
            if let Some(program) = lowering.program {
                let input = vec![0.25; program.input_channels * 8];
                reference::run(&program, &input, [2; 3]);
            }
        }
    }
}
