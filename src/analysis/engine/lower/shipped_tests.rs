//! The networks under `models/`.

use std::path::{Path, PathBuf};

use super::lower;
use super::tests::{ours, proto};
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

#[test]
fn the_classifier_that_ships_says_what_stays_outside() {
    let folder = shipped("pmn");
    let model = proto(&std::fs::read(folder.join(MODEL_FILE)).unwrap());
    let lowering = lower(&model, "box", &["distances".into(), "token_distances".into()]);
    assert_eq!(lowering.program, None);
    let why = |operator: &str| {
        let found = lowering.refused.iter().find(|refused| refused.operator == operator);
        found.map(|refused| refused.why.as_str())
    };
    assert_eq!(why("Transpose"), Some("has no place in an int8 program"));
    assert!(why("Conv").unwrap().ends_with("which was not lowered"));
    let embed =
        lowering.lowered.iter().find(|lowered| lowered.node.contains("embed/Conv")).unwrap();
    assert_eq!(embed.became, "a convolution 3×3×3 with stride [3, 3, 3], 2 to 24 channels");
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
