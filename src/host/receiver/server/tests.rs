//! A receiver without a sender: objects are stored through what its threads share.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::*;
use crate::config::AeTitle;
use crate::host::inbox::fixtures;
use crate::study::marker::{MARKER, Marker};
use crate::units::Bytes;

const KEY: StudyKey = StudyKey([5; 8]);

const LIMITS: Limits = Limits { max_image: Bytes(1_000), min_free: Bytes(0), ..fixtures::LIMITS };

fn settings(inbox: &Path) -> Settings {
    let title = |text| AeTitle::new(text).unwrap();
    let terms = Receive {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ae_title: title("HCCEDGE"),
        calling_ae: vec![title("CT1")],
        quiet: Millis(0),
        idle: Millis(1_000),
        associations: 2,
        tls: None,
    };
    Settings { terms, limits: LIMITS, inbox: inbox.to_owned() }
}

fn store(shared: &Shared, by: AssociationId, name: &str) -> Result<(), Status> {
    shared.begin(by, KEY, name).unwrap();
    let mut spool = shared.shelf.spool().unwrap();
    spool.write(&[7; 400]).unwrap();
    shared.store(by, KEY, name, &mut spool)
}

/// Markers of the studies in an inbox.
fn markers(inbox: &Path) -> Vec<Marker> {
    let folders = fs::read_dir(inbox).unwrap().map(|entry| entry.unwrap());
    let studies = folders.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    studies.map(|s| Marker::parse(&fs::read(s.path().join(MARKER)).unwrap())).collect()
}

#[test]
fn a_study_that_is_claimed_while_it_is_sent_goes_on_in_another_folder_as_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let inbox = root.path().join("inbox");
    let mut receiver = Receiver::start(settings(&inbox)).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "a.dcm").unwrap();
    assert_eq!(markers(&inbox), [Marker::Open]);
    let first = receiver.shared.reception().folder(KEY).unwrap().to_owned();
    fs::rename(inbox.join(&first), root.path().join("claimed")).unwrap();
    store(&receiver.shared, by, "b.dcm").unwrap();
    assert_eq!(markers(&inbox), [Marker::Open]);
    receiver.shared.end(by, Ending::Released);
    receiver.tick().unwrap();
    assert_eq!(markers(&inbox), [Marker::Aborted]);
    receiver.stop().unwrap();
}

#[test]
fn an_object_over_the_bytes_of_a_study_is_refused_and_the_study_is_not_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(settings(root.path())).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "a.dcm").unwrap();
    store(&receiver.shared, by, "b.dcm").unwrap();
    assert_eq!(store(&receiver.shared, by, "c.dcm"), Err(Status::OutOfResources));
    receiver.shared.end(by, Ending::Released);
    receiver.tick().unwrap();
    assert_eq!(markers(root.path()), [Marker::Aborted]);
    receiver.stop().unwrap();
}

#[test]
fn a_marker_that_cannot_be_written_is_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(settings(root.path())).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "a.dcm").unwrap();
    let folder = root.path().join(receiver.shared.reception().folder(KEY).unwrap());
    fs::remove_file(folder.join(MARKER)).unwrap();
    fs::create_dir_all(folder.join(MARKER).join("in the way")).unwrap();
    receiver.shared.end(by, Ending::Released);
    receiver.tick().unwrap();
    assert_eq!(receiver.unmarked.len(), 1);
    fs::remove_dir_all(folder.join(MARKER)).unwrap();
    receiver.tick().unwrap();
    assert!(matches!(&markers(root.path())[..], [Marker::Present(_)]));
    receiver.stop().unwrap();
}

#[test]
fn a_stop_leaves_a_study_at_rest_open_and_the_next_receiver_goes_on_with_it() {
    let root = tempfile::tempdir().unwrap();
    let quiet = |quiet| {
        let Settings { terms, limits, inbox } = settings(root.path());
        Settings { terms: Receive { quiet: Millis(quiet), ..terms }, limits, inbox }
    };
    let receiver = Receiver::start(quiet(3_600_000)).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "a.dcm").unwrap();
    receiver.shared.end(by, Ending::Released);
    receiver.stop().unwrap();
    assert_eq!(markers(root.path()), [Marker::Open]);
    let mut receiver = Receiver::start(quiet(0)).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "b.dcm").unwrap();
    receiver.shared.end(by, Ending::Released);
    receiver.tick().unwrap();
    let found = markers(root.path());
    assert!(matches!(&found[..], [Marker::Present(p)] if p.files == Some(2)), "{found:?}");
    receiver.stop().unwrap();
}

#[test]
fn a_study_cut_off_before_its_first_object_is_remembered_over_a_stop() {
    let root = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(settings(root.path())).unwrap();
    let by = receiver.shared.open();
    receiver.shared.begin(by, KEY, "a.dcm").unwrap();
    receiver.stop().unwrap();
    assert_eq!(markers(root.path()), [Marker::Open]);
    let mut receiver = Receiver::start(settings(root.path())).unwrap();
    let by = receiver.shared.open();
    store(&receiver.shared, by, "b.dcm").unwrap();
    receiver.shared.end(by, Ending::Released);
    receiver.tick().unwrap();
    assert_eq!(markers(root.path()), [Marker::Aborted]);
    receiver.stop().unwrap();
}

#[test]
fn seats_are_as_many_as_configured() {
    let root = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(settings(root.path())).unwrap();
    let seats: Vec<_> = (0..2).map(|_| Seat::of_association(&receiver.shared)).collect();
    assert!(seats.iter().all(Option::is_some));
    assert!(Seat::of_association(&receiver.shared).is_none());
    drop(seats);
    assert!(Seat::of_association(&receiver.shared).is_some());
    receiver.stop().unwrap();
}
