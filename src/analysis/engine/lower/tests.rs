//! Each pattern, lowered and run by the reference, against tract on the same model.

use ndarray::{ArrayD, IxDyn};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework as _;

use super::{Lowering, lower};
use crate::analysis::engine::fixture::qdq::{Qdq, Zero};
use crate::analysis::engine::fixture::{Message, float, int, ints, text, unet_package};
use crate::analysis::engine::int8::program::{Finish, Op, Program};
use crate::analysis::engine::int8::reference::{self, Data};
use crate::analysis::engine::network::Network;
use crate::analysis::engine::package::MODEL_FILE;

const SIZE: [usize; 3] = [6, 4, 8];
/// What most patterns here round to: room for ±7.6.
const STEP: f32 = 0.06;

pub(super) fn proto(onnx: &[u8]) -> ModelProto {
    tract_onnx::onnx().proto_model_for_read(&mut &*onnx).unwrap()
}

pub(super) fn lowered(onnx: &[u8]) -> Lowering {
    lower(&proto(onnx), "image", &["logits".into()])
}

/// −1..1, the same every time.
fn image(channels: usize) -> Vec<f32> {
    let mut seed = 7u32;
    let next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..channels * SIZE.iter().product::<usize>()).map(next).collect()
}

fn tract(onnx: Vec<u8>, channels: usize) -> Vec<f32> {
    let mut package = unet_package(&[(0.0, 0.0), (1.0, 0.0)], 2.0);
    package.files.insert(MODEL_FILE.into(), onnx);
    let shape = [1, channels, SIZE[0], SIZE[1], SIZE[2]];
    let input = ArrayD::from_shape_vec(IxDyn(&shape), image(channels)).unwrap();
    let outputs = Network::load_in_tract(&package, &shape).unwrap().run(input.view()).unwrap();
    outputs[0].iter().copied().collect()
}

pub(super) fn ours(program: &Program, input: &[f32], size: [usize; 3]) -> Vec<f32> {
    let mut values = reference::run(program, input, size).unwrap();
    match values.swap_remove(program.outputs[0]) {
        Data::Real(values) => values,
        other => panic!("{other:?}"),
    }
}

/// One letter per layer; a small one where a sum is staged, `R` where it is handed out.
fn letters(program: &Program) -> String {
    let letter = |op: &Op| match op {
        Op::Quantise => 'Q',
        Op::Conv(conv) => match conv.finish {
            Finish::Requantise(_) => 'C',
            Finish::Stage => 'c',
            Finish::Real(_) => 'R',
        },
        Op::Upsample(up) if up.finish == Finish::Stage => 'u',
        Op::Upsample(_) => 'U',
        Op::Combine(_) => '+',
        Op::Pool(_) => 'P',
        Op::Double(_) => 'D',
        Op::Token(_) => 'F',
    };
    program.layers.iter().map(|layer| letter(&layer.op)).collect()
}

/// Lowers to these layers, and agrees with tract within one step of the rounding before the end: most
/// elements far better, and the output is no constant.
fn agrees(qdq: &Qdq, (channels, classes): (u64, u64), layers: &str, step: f32) -> Program {
    let onnx = qdq.onnx(channels, &[("logits", classes)]);
    let lowering = lowered(&onnx);
    assert_eq!(lowering.refused, []);
    let program = lowering.program.unwrap();
    assert_eq!(letters(&program), layers);
    let (ours, theirs) =
        (ours(&program, &image(channels as usize), SIZE), tract(onnx, channels as usize));
    assert_eq!(ours.len(), theirs.len());
    let off = |share: f32| {
        let apart = ours.iter().zip(&theirs).filter(|(a, b)| (*a - *b).abs() > share * step);
        apart.count() as f64 / ours.len() as f64
    };
    assert_eq!(off(1.001), 0.0, "more than a step apart");
    assert!(off(0.01) < 0.05, "{} of the elements are not the same", off(0.01));
    let mean = ours.iter().sum::<f32>() / ours.len() as f32;
    let spread = ours.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / ours.len() as f32;
    assert!(spread.sqrt() > 5.0 * step, "{spread}");
    program
}

/// An image in 8 bits.
fn start(qdq: &mut Qdq) -> String {
    qdq.rounded("image", (1.0 / 127.0, 128))
}

/// Ends with the values that were rounded to [`STEP`].
fn end(qdq: &mut Qdq, x: &str, channels: u64) {
    let x = qdq.rounded(x, (STEP, 128));
    qdq.handed_out(&x, channels, "logits");
}

fn padded() -> [Message; 1] {
    [ints("pads", &[1; 6])]
}

#[test]
fn convolutions_with_every_activation() {
    for activation in ["", "Relu", "LeakyRelu", "PRelu"] {
        let mut qdq = Qdq::new();
        let x = start(&mut qdq);
        let mut x = qdq.conv(&x, [5, 2, 3, 3, 3], &padded());
        if activation == "PRelu" {
            let slopes = qdq.floats(&[5, 1, 1, 1], &[0.0, 0.25, 0.5, 1.0, 1.5]);
            x = qdq.node("PRelu", &[&x, &slopes], &[]);
        } else if activation == "LeakyRelu" {
            x = qdq.node("LeakyRelu", &[&x], &[float("alpha", 0.2)]);
        } else if !activation.is_empty() {
            x = qdq.node(activation, &[&x], &[]);
        }
        end(&mut qdq, &x, 5);
        agrees(&qdq, (2, 5), "QCR", STEP);
    }
}

#[test]
fn batch_normalisation_is_folded() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let [scale, bias, mean, variance] =
        [0.6, 0.1, 0.2, 0.5].map(|middle| qdq.per_channel(4, middle));
    let inputs = [x.as_str(), &scale, &bias, &mean, &variance];
    let x = qdq.node("BatchNormalization", &inputs, &[float("epsilon", 0.01)]);
    let x = qdq.node("LeakyRelu", &[&x], &[]);
    end(&mut qdq, &x, 4);
    agrees(&qdq, (2, 4), "QCR", STEP);
}

#[test]
fn kernels_strides_and_pads_of_all_kinds() {
    let windows: [([u64; 3], [u64; 3], [u64; 6]); 6] = [
        ([1, 1, 1], [1, 1, 1], [0; 6]),
        ([3, 3, 3], [2, 2, 2], [1; 6]),
        ([1, 3, 3], [1, 2, 2], [0, 1, 1, 0, 1, 1]),
        ([2, 2, 2], [2, 2, 2], [0; 6]),
        ([5, 4, 3], [1, 1, 2], [2, 1, 0, 1, 3, 2]),
        ([3, 4, 7], [2, 3, 1], [0, 0, 3, 0, 0, 3]),
    ];
    for (kernel, stride, pads) in windows {
        let mut qdq = Qdq::new();
        let x = start(&mut qdq);
        let [z, y, x_side] = kernel;
        let attributes = [
            ints("kernel_shape", &kernel),
            ints("strides", &stride),
            ints("pads", &pads),
            ints("dilations", &[1; 3]),
            int("group", 1),
            text("auto_pad", "NOTSET"),
        ];
        let x = qdq.conv(&x, [3, 2, z, y, x_side], &attributes);
        end(&mut qdq, &x, 3);
        agrees(&qdq, (2, 3), "QCR", STEP);
    }
}

#[test]
fn i8_activations_are_the_u8_ones_less_128() {
    let mut qdq = Qdq::new();
    let quant = (1.0 / 127.0, Zero::Signed(-3));
    let x = qdq.linear("QuantizeLinear", "image", quant);
    let x = qdq.linear("DequantizeLinear", &x, quant);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let quant = (STEP, Zero::Signed(20));
    let x = qdq.linear("QuantizeLinear", &x, quant);
    let x = qdq.linear("DequantizeLinear", &x, quant);
    qdq.handed_out(&x, 4, "logits");
    let program = agrees(&qdq, (2, 4), "QCR", STEP);
    assert_eq!(program.quant(0).unwrap().zero_point, 125);
    assert_eq!(program.quant(1).unwrap().zero_point, 148);
}

#[test]
fn biases_may_be_quantised() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let weights = qdq.weights(&[2, 2, 3, 3, 3], 0);
    let words: Vec<u8> = [9000i32, -20000].iter().flat_map(|word| word.to_le_bytes()).collect();
    let (words, scales) = (qdq.raw(&[2], 6, &words), qdq.floats(&[2], &[1e-4, 6e-5]));
    let bias = qdq.node("DequantizeLinear", &[&words, &scales], &[int("axis", 0)]);
    let x = qdq.node("Conv", &[&x, &weights, &bias], &padded());
    end(&mut qdq, &x, 2);
    agrees(&qdq, (2, 2), "QCR", STEP);
}

#[test]
fn rounding_before_the_activation_is_honoured() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let x = qdq.rounded(&x, (0.1, 120));
    let x = qdq.node("LeakyRelu", &[&x], &[float("alpha", 0.3)]);
    // A step of the first rounding is up to two of the second.
    end(&mut qdq, &x, 4);
    agrees(&qdq, (2, 4), "QC+R", 2.0 * STEP);
}

#[test]
fn rounding_twice_alike_is_rounding_once() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.rounded(&x, (1.0 / 127.0, 128));
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let x = qdq.node("Identity", &[&x], &[]);
    let x = qdq.rounded(&x, (STEP, 128));
    let x = qdq.node("Dropout", &[&x], &[]);
    end(&mut qdq, &x, 4);
    agrees(&qdq, (2, 4), "QCR", STEP);
}

#[test]
fn a_convolution_may_end_in_f32_with_an_activation() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    qdq.named("LeakyRelu", &[&x], "logits", &[float("alpha", 0.3)]);
    agrees(&qdq, (2, 4), "QR", 1e-4);
}

/// As ONNX Runtime's quantiser ends a network.
#[test]
fn values_rounded_to_8_bits_may_be_handed_out() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let x = qdq.rounded(&x, (STEP, 120));
    qdq.named("Identity", &[&x], "logits", &[]);
    agrees(&qdq, (2, 4), "QCR", STEP);
}

#[test]
fn transposed_convolutions() {
    for kernel in [[2, 2, 2], [1, 2, 2], [3, 1, 2]] {
        let [z, y, x_side] = kernel;
        let mut qdq = Qdq::new();
        let x = start(&mut qdq);
        let x = qdq.transposed(&x, [2, 3, z, y, x_side]);
        let x = qdq.rounded(&x, (0.02, 128));
        qdq.handed_out(&x, 3, "logits");
        agrees(&qdq, (2, 3), "QUR", 0.02);
    }
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let (weights, bias) = (qdq.weights(&[2, 3, 2, 2, 2], 1), qdq.per_channel(3, 0.0));
    let strides = [ints("strides", &[2; 3])];
    qdq.named("ConvTranspose", &[&x, &weights, &bias], "logits", &strides);
    agrees(&qdq, (2, 3), "QU", 1e-4);
}

#[test]
fn concatenation_is_several_inputs_of_one_scale() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let a = qdq.conv(&x, [3, 2, 3, 3, 3], &[ints("pads", &[1; 6]), ints("strides", &[2; 3])]);
    let a = qdq.rounded(&a, (0.05, 128));
    let a = qdq.transposed(&a, [3, 4, 2, 2, 2]);
    let skip = qdq.conv(&x, [2, 2, 1, 1, 1], &[]);
    let skip = qdq.rounded(&skip, (0.01, 128));
    let same = qdq.conv(&x, [1, 2, 3, 3, 3], &padded());
    let same = qdq.rounded(&same, (0.05, 100));
    let x = qdq.node("Concat", &[&a, &skip, &same], &[int("axis", 1)]);
    let x = qdq.rounded(&x, (0.05, 100));
    // Straight out, so that a step of an input is seen through weights of about 1.
    qdq.handed_out(&x, 7, "logits");
    let program = agrees(&qdq, (2, 7), "QCCCU+R", 0.05);
    assert_eq!(program.layers[6].op.inputs(), [4, 5, 3]);
}

#[test]
fn values_of_one_scale_need_no_rounding_after_concatenation() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let a = qdq.conv(&x, [3, 2, 1, 1, 1], &[]);
    let (a, b) = (qdq.rounded(&a, (0.02, 128)), qdq.conv(&x, [2, 2, 1, 1, 1], &[]));
    let b = qdq.rounded(&b, (0.02, 128));
    let x = qdq.node("Concat", &[&a, &b], &[int("axis", -4)]);
    qdq.handed_out(&x, 5, "logits");
    agrees(&qdq, (2, 5), "QCCR", 0.02);
}

#[test]
fn residual_additions() {
    // Two sums that were not rounded, one of them, none.
    for (rounded, layers) in [([false; 2], "Qcc+R"), ([true, false], "QCc+R"), ([true; 2], "QCC+R")]
    {
        let mut qdq = Qdq::new();
        let x = start(&mut qdq);
        let mut sides = [[4, 2, 3, 3, 3], [4, 2, 1, 1, 1]].map(|sides: [u64; 5]| {
            let pads = [ints("pads", &[sides[2] / 2; 6])];
            qdq.conv(&x, sides, &pads)
        });
        for (side, _) in sides.iter_mut().zip(rounded).filter(|(_, rounded)| *rounded) {
            *side = qdq.rounded(side, (0.055, 117));
        }
        let x = qdq.node("Add", &[&sides[0], &sides[1]], &[]);
        let x = qdq.node("LeakyRelu", &[&x], &[float("alpha", 0.1)]);
        end(&mut qdq, &x, 4);
        agrees(&qdq, (2, 4), layers, 2.0 * STEP);
    }
}

#[test]
fn instance_normalisation() {
    for residual in [false, true] {
        let mut qdq = Qdq::new();
        let x = start(&mut qdq);
        let skip = qdq.conv(&x, [4, 2, 1, 1, 1], &[]);
        let skip = qdq.rounded(&skip, (0.02, 128));
        let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
        let (gamma, beta) = (qdq.per_channel(4, 1.0), qdq.per_channel(4, 0.1));
        let epsilon = [float("epsilon", 0.01)];
        let mut x = qdq.node("InstanceNormalization", &[&x, &gamma, &beta], &epsilon);
        if residual {
            x = qdq.node("Add", &[&skip, &x], &[]);
        }
        let x = qdq.node("LeakyRelu", &[&x], &[]);
        let x = qdq.rounded(&x, (0.02, 40));
        qdq.handed_out(&x, 4, "logits");
        let layers = if residual { "QCc+R" } else { "Qc+R" };
        agrees(&qdq, (2, 4), layers, if residual { 0.04 } else { 0.02 });
    }
}

#[test]
fn rounding_before_the_normalisation_is_honoured() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let x = qdq.rounded(&x, (STEP, 128));
    let (gamma, scale) = (qdq.raw(&[4], 3, &[127, 100, 80, 60]), qdq.floats(&[], &[0.01]));
    let gamma = qdq.node("DequantizeLinear", &[&gamma, &scale], &[]);
    let beta = qdq.per_channel(4, 0.1);
    let x = qdq.node("InstanceNormalization", &[&x, &gamma, &beta], &[]);
    let x = qdq.node("LeakyRelu", &[&x], &[]);
    let x = qdq.rounded(&x, (0.02, 40));
    qdq.handed_out(&x, 4, "logits");
    agrees(&qdq, (2, 4), "QCc+R", 0.04);
}

#[test]
fn pools_and_doubling() {
    let window = [ints("kernel_shape", &[2, 3, 2]), ints("strides", &[2, 1, 2])];
    let padded = [
        ints("kernel_shape", &[3, 3, 3]),
        ints("strides", &[1, 2, 1]),
        ints("pads", &[1; 6]),
        int("count_include_pad", 0),
    ];
    let doubled = [text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
    let patterns: [(&str, &[_], &str); 5] = [
        ("MaxPool", &window, "QPR"),
        ("MaxPool", &padded[..3], "QPR"),
        ("AveragePool", &window, "QPR"),
        ("AveragePool", &padded, "QPR"),
        ("Resize", &doubled, "QDR"),
    ];
    for (operator, attributes, layers) in patterns {
        let mut qdq = Qdq::new();
        // Means in the scale of their input would often be halves of a step, where tract rounds its own way.
        let scale = if operator == "MaxPool" { 1.0 / 127.0 } else { 0.0071 };
        let x = start(&mut qdq);
        let scales = qdq.floats(&[5], &[1.0, 1.0, 2.0, 2.0, 2.0]);
        let inputs = if operator == "Resize" { vec![x.as_str(), "", &scales] } else { vec![&*x] };
        let x = qdq.node(operator, &inputs, attributes);
        let x = qdq.rounded(&x, (scale, 128));
        qdq.handed_out(&x, 2, "logits");
        agrees(&qdq, (2, 2), layers, scale);
    }
}

#[test]
fn a_sum_with_two_readers_is_computed_once() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let x = qdq.conv(&x, [4, 2, 3, 3, 3], &padded());
    let a = qdq.node("Relu", &[&x], &[]);
    let (a, b) = (qdq.rounded(&a, (0.05, 0)), qdq.rounded(&x, (0.07, 128)));
    let x = qdq.node("Add", &[&a, &b], &[]);
    let x = qdq.rounded(&x, (0.12, 128));
    qdq.handed_out(&x, 4, "logits");
    agrees(&qdq, (2, 4), "Qc+++R", 0.12);
}

#[test]
fn several_outputs_in_the_order_asked_for() {
    let mut qdq = Qdq::new();
    let x = start(&mut qdq);
    let a = qdq.conv(&x, [3, 2, 3, 3, 3], &padded());
    let a = qdq.rounded(&a, (STEP, 128));
    qdq.handed_out(&a, 3, "deep");
    qdq.handed_out(&x, 2, "shallow");
    let model = proto(&qdq.onnx(2, &[("deep", 3), ("shallow", 2)]));
    let program = lower(&model, "image", &["shallow".into(), "deep".into()]).program.unwrap();
    let channels: Vec<usize> =
        program.outputs.iter().map(|&id| program.values[id].channels).collect();
    assert_eq!(channels, [2, 3]);
    // What no output asked for needs is not looked at.
    assert_eq!(letters(&lower(&model, "image", &["shallow".into()]).program.unwrap()), "QR");
}
