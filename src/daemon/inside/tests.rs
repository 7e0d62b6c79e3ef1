//! The worker's inside without its process: frames in, frames out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::order::{ImageFile, ImageKind, WorkOrder, inputs, self_test_inputs};
use super::*;
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::int8::isa::Isa;
use crate::host::packages::VerifiedPackage;
use crate::host::worker::Input;
use crate::host::worker::failure;
use crate::host::worker::frame::{Kind, read_frame, write_content, write_frame};
use crate::seal::wire::{Digest, IntendedUse, Slug, Text};

const COMPUTE: Compute = Compute { threads: 1, isa: Isa::Portable, memory: 1 << 20 };

/// Kind and body of every frame that answers these bytes, and the exit status.
fn answers(bytes: &[u8]) -> (Vec<(Kind, Vec<u8>)>, u8) {
    let mut outlet = Outlet::new(Vec::new());
    let status = serve(&mut &*bytes, &mut outlet, COMPUTE, Instant::now());
    let wire = outlet.into_inner();
    let mut wire = wire.as_slice();
    let mut frames = Vec::new();
    while let Some(frame) = read_frame(&mut wire).unwrap() {
        frames.push((frame.kind, frame.body));
    }
    (frames, status)
}

fn failure_of(bytes: &[u8]) -> (FailureClass, String) {
    let (frames, status) = answers(bytes);
    assert_eq!(status, GAVE_UP);
    let (kind, body) = frames.last().unwrap();
    assert_eq!((*kind, frames.len()), (Kind::Failed, 1));
    failure::decode(body).unwrap()
}

fn wire(inputs: &[Input]) -> Vec<u8> {
    let mut wire = Vec::new();
    for input in inputs {
        let Input::Bytes { name, bytes } = input else { panic!("no files here") };
        write_content(&mut wire, name, bytes.len() as u64, &mut bytes.as_slice()).unwrap();
    }
    write_frame(&mut wire, Kind::Go, &[]).unwrap();
    wire
}

fn order() -> WorkOrder {
    WorkOrder {
        job: "0011223344556677".to_owned(),
        study: "study".to_owned(),
        site: "ward-3".to_owned(),
        device: "box-1".to_owned(),
        result_id: "00".repeat(16),
        software: "hcc-edge".to_owned(),
        started_ms: 0,
        max_file_bytes: 1 << 20,
        max_voxels: 1 << 20,
        dicom_objects: false,
        arterial_series: None,
        portal_series: None,
    }
}

fn package(name: &str, manifest: &str) -> VerifiedPackage {
    VerifiedPackage {
        name: Slug::new(name).unwrap(),
        version: Text::new("1.2.3").unwrap(),
        task: crate::seal::wire::Task::Segmentation,
        intended_use: IntendedUse::Demonstration,
        licence: "Apache-2.0".to_owned(),
        revokes_below: None,
        manifest_cose: Vec::new(),
        manifest_toml: manifest.to_owned(),
        manifest_digest: [9; 32],
        files: BTreeMap::from([("golden/a".to_owned(), vec![1, 2])]),
    }
}

#[test]
fn both_sides_share_the_order_and_the_names() {
    let sent = inputs(&order(), vec![package("one", "x")], Vec::new(), Some(b"{}".to_vec()));
    let mut contents =
        Contents::read(&mut wire(&sent).as_slice(), Bytes(COMPUTE.memory as u64)).unwrap();
    let envelope = Envelope::decode(&contents.take(ORDER).unwrap()).unwrap();
    assert_eq!(envelope.task, Task::Analyse(Box::new(order())));
    let [model] = &envelope.packages[..] else { panic!("{:?}", envelope.packages) };
    assert_eq!((&*model.name, &*model.version), ("one", "1.2.3"));
    assert_eq!(model.manifest_digest, Digest::from([9; 32]));
    assert_eq!(contents.take(order::CLINICAL).as_deref(), Some(&b"{}"[..]));
    let files = contents.take_below(&order::package_folder("one"));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["golden/a", "manifest.toml"]);
}

#[test]
fn dicom_files_arrive_in_the_order_sent() {
    let image = |name: &str| ImageFile {
        kind: ImageKind::Dicom,
        path: name.into(),
        sha256: [0; 32],
        length: 0,
    };
    let names = ["b", "a", "c"];
    let sent = inputs(&order(), Vec::new(), names.map(image).into(), None);
    let sent: Vec<(&str, &str)> = sent
        .iter()
        .filter_map(|input| match input {
            Input::File { name, path, .. } => Some((name.as_str(), path.to_str().unwrap())),
            Input::Bytes { .. } => None,
        })
        .collect();
    assert!(sent.is_sorted(), "the worker sorts by name: {sent:?}");
    assert_eq!(sent.iter().map(|(_, path)| *path).collect::<Vec<_>>(), names);
    assert!(sent.iter().all(|(name, _)| name.starts_with(order::DICOM_FOLDER)));
}

#[test]
fn an_order_says_nothing_that_is_not_known() {
    let good = r#"{"schema":1,"task":"self_test","packages":[]}"#;
    assert!(Envelope::decode(good.as_bytes()).is_ok());
    for bad in [
        good.replace('1', "2"),
        good.replace("self_test", "format_the_disk"),
        good.replace("\"packages\"", "\"more\":1,\"packages\""),
        String::new(),
    ] {
        assert!(Envelope::decode(bad.as_bytes()).is_err(), "accepted: {bad}");
    }
    let many = (0..7).map(|n| package(&format!("p{n}"), "")).collect();
    let Input::Bytes { bytes, .. } = &self_test_inputs(many)[0] else { panic!("the order") };
    assert!(Envelope::decode(bytes).is_err(), "more packages than a result names");
}

#[test]
fn every_failure_is_told_with_its_class() {
    assert_eq!(failure_of(&[]).0, FailureClass::Internal, "no start");
    assert_eq!(failure_of(&wire(&[])).0, FailureClass::Internal, "no order");
    let (class, text) = failure_of(&wire(&self_test_inputs(vec![package("one", "x")])));
    assert_eq!(class, FailureClass::ModelRefused);
    assert!(text.contains("package one cannot be used: "), "{text}");
    let (class, text) = failure_of(&wire(&self_test_inputs(Vec::new())));
    assert_eq!(class, FailureClass::ModelRefused);
    assert!(text.contains("0 packages for the task localisation"), "{text}");
    let large = Input::Bytes { name: "portal".to_owned(), bytes: vec![0; (1 << 20) + 1] };
    assert_eq!(failure_of(&wire(&[large])).0, FailureClass::Memory);
}

proptest! {
    #[test]
    fn hostile_bytes_end_in_one_failure(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
        failure_of(&bytes);
    }
}
