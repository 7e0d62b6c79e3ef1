//! The networks under `models/`.

use std::path::{Path, PathBuf};

use super::lower;
use super::tests::{ours, proto};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::int8::program::Op;
use crate::analysis::engine::int8::run::Engine;
use crate::analysis::engine::manifest::Manifest;
use crate::analysis::engine::package::MODEL_FILE;

/// Every node has its place, and the stored answer comes out.
#[test]
fn the_segmenters_that_ship_lower_completely() {
    for name in ["liver-localiser", "liver-tumour"] {
        let folder = shipped(name);
        let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
        let manifest = Manifest::from_toml(&text).unwrap();
        let spec = manifest.network().unwrap();
        let model = proto(&std::fs::read(folder.join(MODEL_FILE)).unwrap());
        let lowering = lower(&model, &spec.input.tensor, &spec.outputs);
        assert_eq!(lowering.refused, [], "{name}");
        assert_eq!(lowering.lowered.len(), model.graph.as_ref().unwrap().node.len());
        let program = lowering.program.unwrap();
        let golden = |file: &str| floats(&std::fs::read(folder.join(file)).unwrap());
        let size: [usize; 3] = spec.golden.input_shape[2..].try_into().unwrap();
        let found = ours(&program, &golden(&spec.golden.input), size);
        let expected = golden(&spec.golden.outputs[0].file);
        assert_eq!(found.len(), expected.len());
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: {apart} apart, {} allowed", spec.golden.tolerance);
        assert!(apart <= spec.golden.tolerance, "{name}: {apart}");
    }
}

/// Every node has its place, its products in integers, the rest in f32; the stored answer comes out.
#[test]
fn the_classifier_that_ships_lowers_completely() {
    let folder = shipped("pmn");
    let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let manifest = Manifest::from_toml(&text).unwrap();
    let spec = manifest.network().unwrap();
    let model = proto(&std::fs::read(folder.join(MODEL_FILE)).unwrap());
    let lowering = lower(&model, &spec.input.tensor, &spec.outputs);
    assert_eq!(lowering.refused, []);
    let program = lowering.program.unwrap();
    let products = program.layers.iter().filter(|layer| matches!(layer.op, Op::Conv(_)));
    let nodes = &model.graph.as_ref().unwrap().node;
    assert_eq!(products.count(), nodes.iter().filter(|node| node.op_type == "Conv").count());
    let named = &spec.quantisation.as_ref().unwrap().float_ops;
    for node in lowering.lowered.iter().filter(|node| node.float) {
        assert!(named.contains(&node.operator), "{node:?} is in f32, the manifest does not say so");
    }
    let golden = |file: &str| floats(&std::fs::read(folder.join(file)).unwrap());
    let size: [usize; 3] = spec.golden.input_shape[2..].try_into().unwrap();
    let mut engine = Engine::new(&program, size, Compute::with_threads(2)).unwrap();
    let expected: Vec<Vec<f32>> =
        spec.golden.outputs.iter().map(|output| golden(&output.file)).collect();
    let mut found: Vec<Vec<f32>> = expected.iter().map(|values| vec![0.0; values.len()]).collect();
    let mut outputs: Vec<&mut [f32]> = found.iter_mut().map(Vec::as_mut_slice).collect();
    engine.run(&golden(&spec.golden.input), &mut outputs);
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("pmn: {apart} apart, {} allowed", spec.golden.tolerance);
    assert!(apart <= spec.golden.tolerance, "{apart}");
}

/// The folder of the one version of a package.
fn shipped(name: &str) -> PathBuf {
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let entries = std::fs::read_dir(versions).expect("the package is part of the repository");
    let folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].clone()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}
