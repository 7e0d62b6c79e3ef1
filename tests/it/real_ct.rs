//! Real CT, where it lies beside the repository: one phase without contrast gives a mask, lesions and
//! pictures, and neither a score nor a recommendation.

use std::fs;
use std::path::PathBuf;

use crate::broker::Mosquitto;
use crate::edge::{Edge, Files, codes, view};

/// Folder with the real CT, unless `HCC_EDGE_DATA` names another.
const DATA: &str = "../shared/data";

/// A file or folder of the real data; where it is not, that is said.
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HCC_EDGE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(DATA), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("NOT TESTED: there is nothing at {}", path.display());
    None
}

#[test]
fn real_ct_of_one_phase_abstains_with_mask_and_pictures() {
    let Some(file) = data("ct-totalsegmentator/example_ct.nii.gz") else { return };
    let portal = fs::read(file).unwrap();
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), "");
    edge.start();
    edge.drop_study("real", &Files::from([("portal.nii.gz".to_owned(), portal)]));
    let place = edge.wait_for("real");
    let view = view(&place);
    assert_eq!(view["result"]["status"], "abstained");
    assert!(codes(&view).contains(&"arterial_missing".to_owned()));
    assert!(view["result"]["pmn"].is_null());
    assert!(view["result"]["nomograms"].as_array().unwrap().is_empty());
    assert_eq!(view["result"]["recommendation"]["code"], "none");
    let liver_ml = view["result"]["lesions"]["liver_mm3"].as_f64().unwrap() / 1e3;
    // The reference has 1126 ml; the demonstration network is far from exact on real CT.
    assert!((500.0..2_000.0).contains(&liver_ml), "{liver_ml} ml");
    for name in ["mask.nii.gz", "overview.png", "report.html"] {
        assert!(fs::metadata(place.join(name)).unwrap().len() > 0, "{name}");
    }
}
