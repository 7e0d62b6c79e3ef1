//! `hcc-edge check`: what is wrong, in one line each, and the exit code that goes with it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::broker::{Mosquitto, free_port};
use crate::edge::{Edge, json, run};

fn check(edge: &Edge) -> (Option<i32>, Value) {
    let config = edge.config();
    let output = run(&["check", "--json", "--config", config.to_str().unwrap()]);
    (output.status.code(), json(&output))
}

/// How an item stands.
fn standing<'a>(report: &'a Value, name: &str) -> &'a str {
    let items = report["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == name);
    item.map_or("absent", |item| item["standing"].as_str().unwrap())
}

#[test]
fn a_sound_box_passes_every_item() {
    let broker = Mosquitto::start();
    let (code, report) = check(&Edge::new(broker.port(), ""));
    // The clock of a test machine may be nobody's: that asks for attention alone.
    assert!(matches!(code, Some(0 | 10)), "{report}");
    assert_eq!(report["ok"], true);
    for name in
        ["config", "keys", "trust", "folders", "disk", "journal", "packages", "self-test", "broker"]
    {
        assert_eq!(standing(&report, name), "good", "{name}: {report}");
    }
}

#[test]
fn each_fault_is_named_with_its_exit_code() {
    let away = Edge::new(free_port(), "");
    let (code, report) = check(&away);
    assert_eq!((code, standing(&report, "broker")), (Some(69), "bad"));

    let broker = Mosquitto::start();
    let keyless = Edge::new(broker.port(), "");
    fs::remove_file(keyless.state().join("keys/device.pk8")).unwrap();
    let (code, report) = check(&keyless);
    assert_eq!((code, standing(&report, "keys")), (Some(78), "bad"));

    let wrong = Edge::new(broker.port(), "surprise = 1\n");
    let (code, report) = check(&wrong);
    assert_eq!((code, standing(&report, "config")), (Some(78), "bad"));

    let tampered = Edge::new(broker.port(), "");
    tamper_with_a_package(&tampered.state());
    let (code, report) = check(&tampered);
    assert_eq!((code, standing(&report, "packages")), (Some(5), "bad"), "{report}");
}

/// Installs the pmn package with one byte of its network changed.
fn tamper_with_a_package(state: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pmn");
    let version = fs::read_dir(&source).unwrap().next().unwrap().unwrap().file_name();
    let target = state.join("models/pmn").join(&version);
    for folder in ["", "golden"] {
        fs::create_dir_all(target.join(folder)).unwrap();
        for entry in fs::read_dir(source.join(&version).join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), target.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let network = target.join("model.onnx");
    let mut bytes = fs::read(&network).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&network, bytes).unwrap();
}
