//! Images of odd sizes, depths and signs, encoded by encoders that are not ours: each must decode to
//! the cells of the same image uncompressed. `scripts/dicom_pixel_vectors.py` made them.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::clones::series_of;
use crate::dicom::{CLONES, only_volume};
use crate::python::repository;

/// The encoding that the others are compared with.
const PLAIN: &str = "uncompressed";

#[derive(Deserialize)]
struct Image {
    name: String,
    files: BTreeMap<String, String>,
}

#[test]
fn what_other_encoders_made_decodes_to_the_same_cells() {
    let text = fs::read_to_string(repository().join("tests/vectors/dicom_pixels.json")).unwrap();
    let images: Vec<Image> = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for Image { name, files } in images {
        let volume = |encoding: &str| {
            let file = STANDARD.decode(&files[encoding]).unwrap();
            only_volume(&series_of(&file, CLONES))
        };
        let plain = volume(PLAIN);
        for encoding in files.keys().filter(|encoding| *encoding != PLAIN) {
            assert!(volume(encoding) == plain, "{name}: {encoding}");
            compared += 1;
        }
    }
    assert!(compared >= 40, "{compared}");
}
