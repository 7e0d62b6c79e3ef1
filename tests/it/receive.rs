//! `hcc-edge receive` as scanners meet it: whatever is acknowledged is in exactly one study, no study
//! is taken before it is whole, and nothing that comes through the port takes the receiver down.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dicom_dictionary_std::{tags, uids};
use serde_json::Value;

use crate::broker::{Mosquitto, free_port};
use crate::dicom_files::Ct;
use crate::dicom_sender::{Sender, dcmtk, dcmtk_is_there, storescu};
use crate::edge::{Edge, PATIENCE, codes, command, run, view};
use crate::programs::have;

/// CT1 may send.
const OPEN_FOR_CT1: &str =
    "[receive]\ncalling_ae = [\"CT1\"]\naddress = \"127.0.0.1\"\nport = 0\nquiet_s = 1\n";

/// No study is closed while a test runs, however slow the machine is.
const CLOSES_LATE: (&str, &str) = ("HCC_EDGE_RECEIVE__QUIET_S", "600");

/// A study is closed one second after its last association: where each comes in one, or all have come.
const CLOSES_SOON: (&str, &str) = ("HCC_EDGE_RECEIVE__QUIET_S", "1");

/// No test waits for it: the daemon does not claim a study as overdue.
const LATE: (&str, &str) = ("HCC_EDGE_INBOX__DEADLINE_S", "3600");

/// A receiver under test, for the inbox of a box.
struct Receiver {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Receiver {
    /// Starts with these variables, which win over its file and over [`CLOSES_LATE`].
    fn start(edge: &Edge, environment: &[(&str, &str)]) -> Self {
        let log = edge.config().with_file_name("receiver.log");
        let stderr = fs::File::options().append(true).create(true).open(&log).unwrap();
        let mut child = command(&["receive", "--json", "--config"])
            .arg(edge.config())
            .envs([LATE, CLOSES_LATE].iter().chain(environment).copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let read = || fs::read_to_string(&log).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", read()));
        assert_eq!(started["ae_title"], "HCCEDGE");
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        Self { child, port, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn kill(&mut self) {
        // Succeeds for one that has ended by itself and was not waited for.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    fn terminate(&mut self) -> Option<i32> {
        signal(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "no end after SIGTERM\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops, and starts again so that it closes the studies that have come: this many.
    fn close_studies(&mut self, edge: &Edge, count: usize) -> Vec<PathBuf> {
        assert_eq!(self.terminate(), Some(0));
        *self = Self::start(edge, &[CLOSES_SOON]);
        wait_until_closed(edge, self, count)
    }

    /// Whether CT1 gets an association now.
    fn answers(&self) -> bool {
        let mut sender = Sender::connect(self.port);
        let accepted = matches!(sender.ask("CT1"), Some(dicom_ul::Pdu::AssociationAC(_)));
        if accepted {
            sender.release();
        }
        accepted
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Largest resident memory so far, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // One that has ended is waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(unsafe_code)]
fn signal(pid: u32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: `kill` touches no memory; the process is a child of ours that was not waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
}

/// The received studies in the inbox.
fn folders(edge: &Edge) -> Vec<PathBuf> {
    let entries = fs::read_dir(edge.state().join("inbox")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.filter(|path| name_of(path).starts_with("dicom-")).collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn marker(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(".done")).unwrap()).unwrap()
}

/// Waits until this many studies are there and all of them are closed.
fn wait_until_closed(edge: &Edge, receiver: &Receiver, count: usize) -> Vec<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = folders(edge);
        let is_open = |folder: &PathBuf| marker(folder)["open"] == true;
        if found.len() == count && !found.iter().any(is_open) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}\n{}", receiver.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// The objects in a folder, read by dicom-object; every one has the pixels that were sent.
fn objects(folder: &Path, sent: &[Ct]) -> BTreeSet<Ct> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if name_of(&entry.path()).starts_with('.') {
            continue;
        }
        let object = dicom_object::open_file(entry.path()).unwrap();
        let uid =
            |tag| object.element(tag).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned();
        let (study, instance) = (uid(tags::STUDY_INSTANCE_UID), uid(tags::SOP_INSTANCE_UID));
        let original = sent.iter().find(|ct| ct.instance == instance).unwrap();
        assert_eq!(original.study, study);
        let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
        assert_eq!(pixels, original.pixels(), "the pixels of an object are its own");
        let named = object.meta().media_storage_sop_instance_uid.trim_end_matches('\0');
        assert_eq!(named, instance);
        found.insert(original.clone());
    }
    found
}

fn set(objects: &[Ct]) -> BTreeSet<Ct> {
    objects.iter().cloned().collect()
}

/// Writes files into a new folder.
fn write_files(folder: &Path, objects: &[Ct]) {
    fs::create_dir_all(folder).unwrap();
    for object in objects {
        fs::write(folder.join(&object.instance), object.file()).unwrap();
    }
}

#[test]
fn echo_is_answered_and_strangers_are_refused() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&edge, &[]);
    let rejection = Sender::request(receiver.port, "STRANGER").1.unwrap_err();
    assert_eq!(rejection.source.to_string(), "calling AE title not recognized");
    let mut sender = Sender::associate(receiver.port);
    sender.command(0x0020, uids::CT_IMAGE_STORAGE, None);
    assert_eq!(sender.status(), 0x0211, "C-FIND");
    sender.command(0x0030, uids::CT_IMAGE_STORAGE, None);
    assert_eq!(sender.status(), 0x0122, "C-ECHO in a context for images");
    sender.release();
    if dcmtk_is_there() {
        let echo = |titles| dcmtk("echoscu", receiver.port, titles).output().unwrap().status;
        assert!(echo(("CT1", "HCCEDGE")).success());
        assert!(!echo(("CT2", "HCCEDGE")).success(), "not on the list");
        assert!(!echo(("CT1", "OTHER")).success(), "called by another name");
    }
}

#[test]
fn a_receiver_without_senders_or_beside_another_does_not_start() {
    let nobody = Edge::new(free_port(), "");
    let receive = |edge: &Edge| {
        let output = run(&["receive", "--config", edge.config().to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = receive(&nobody);
    assert!(code == Some(78) && said.contains("receive.calling_ae"), "{code:?} {said}");
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut first = Receiver::start(&edge, &[]);
    let (code, said) = receive(&edge);
    assert!(code == Some(75) && said.contains("another receiver"), "{code:?} {said}");
    assert_eq!(first.terminate(), Some(0));
    assert!(first.log().contains("stopping"));
}

/// 20 whole studies from two senders at once, one that sends ten of them mixed in one association and
/// one that opens an association for each, and a study of a third one that drops its connection within a
/// fragment; a daemon claims them beside it.
#[test]
fn whole_studies_are_claimed_whole_and_a_cut_off_one_fails() {
    if !dcmtk_is_there() {
        return;
    }
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&edge, &[CLOSES_SOON]);
    edge.start_with(&[LATE]);
    let files = tempfile::tempdir().unwrap();
    let studies: Vec<Vec<Ct>> = (0..20).map(|number| Ct::study(number, 3)).collect();
    let at_once = files.path().join("at-once");
    studies[..10].iter().for_each(|study| write_files(&at_once, study));
    for (number, study) in studies.iter().enumerate().skip(10) {
        write_files(&files.path().join(number.to_string()), study);
    }
    let cut_off = Ct::study(20, 4);
    thread::scope(|scope| {
        scope.spawn(|| assert!(storescu(receiver.port, &at_once).status.success()));
        scope.spawn(|| {
            for number in 10..20 {
                let folder = files.path().join(number.to_string());
                assert!(storescu(receiver.port, &folder).status.success());
            }
        });
        scope.spawn(|| {
            let mut sender = Sender::associate(receiver.port);
            assert_eq!([sender.store(&cut_off[0]), sender.store(&cut_off[1])], [0, 0]);
            sender.stop_within(&cut_off[2]);
        });
    });
    let deadline = Instant::now() + PATIENCE;
    while edge.finished().len() < 21 {
        assert!(Instant::now() < deadline, "{}\n{}", receiver.log(), edge.log());
        assert!(edge.is_alive(), "{}", edge.log());
        thread::sleep(Duration::from_millis(50));
    }
    let sent: Vec<Ct> = studies.concat().into_iter().chain(cut_off.clone()).collect();
    let mut expected: BTreeSet<BTreeSet<Ct>> = studies.iter().map(|study| set(study)).collect();
    for (name, place) in edge.finished() {
        let found = objects(&place.join("input"), &sent);
        let incomplete = codes(&view(&place)).contains(&"incomplete".to_owned());
        if incomplete {
            assert_eq!(found, set(&cut_off[..2]), "{name}");
        } else {
            assert!(expected.remove(&found), "{name}: {found:?}");
        }
    }
    assert!(expected.is_empty(), "not there, or not whole: {expected:?}");
    assert_eq!(folders(&edge), Vec::<PathBuf>::new());
    says_nothing_of_a_patient(&edge, &receiver);
}

/// No name, id or UID of what was sent is in the log or in the name of a folder.
fn says_nothing_of_a_patient(edge: &Edge, receiver: &Receiver) {
    let names: Vec<String> = folders(edge).iter().map(|folder| name_of(folder)).collect();
    let all = format!("{}{}{names:?}", receiver.log(), edge.log());
    for secret in ["Doe", "4711", "1.2.826"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn objects_arrive_byte_for_byte_however_they_are_cut() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&edge, &[CLOSES_SOON]);
    let study = Ct::study(1, 4);
    let mut sender = Sender::associate(receiver.port);
    for (object, size) in study.iter().zip([1, 2, 333, 60_000]) {
        sender.begin_store(&object.instance);
        sender.data(&object.data_set(), size, true);
        assert_eq!(sender.status(), 0);
    }
    assert_eq!(sender.store(&study[0]), 0, "sent again, it replaces itself");
    sender.release();
    let closed = wait_until_closed(&edge, &receiver, 1);
    assert_eq!(objects(&closed[0], &study), set(&study));
    for entry in fs::read_dir(&closed[0]).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = fs::read(&entry).unwrap();
        let is_sent = |object: &Ct| bytes.ends_with(&object.data_set());
        assert!(name_of(&entry) == ".done" || study.iter().any(is_sent), "{entry:?}");
    }
    assert_eq!(marker(&closed[0])["files"], 4);
    assert_eq!(marker(&closed[0])["sha256"].as_object().unwrap().len(), 4);
    says_nothing_of_a_patient(&edge, &receiver);
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_status_and_the_study_is_not_whole() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let limits = [("HCC_EDGE_LIMITS__MAX_FILES", "2"), ("HCC_EDGE_LIMITS__MAX_IMAGE_MIB", "1")];
    let receiver = Receiver::start(&edge, &[&limits[..], &[CLOSES_SOON]].concat());
    let study = Ct::study(1, 3);
    let mut sender = Sender::associate(receiver.port);
    let statuses: Vec<u16> = study.iter().map(|object| sender.store(object)).collect();
    assert_eq!(statuses, [0, 0, 0xA700], "limits.max_files");

    let other = Ct::new(2, 0);
    sender.begin_store("1.2.3");
    sender.data(&other.data_set(), 5_000, true);
    assert_eq!(sender.status(), 0xA900, "another object than the command says");
    let large = Ct::new(3, 0);
    sender.begin_store(&large.instance);
    sender.data(&large.data_set(), 5_000, false);
    sender.data(&vec![0; 1 << 20], 60_000, true);
    assert_eq!(sender.status(), 0xA700, "limits.max_image_mib");
    assert_eq!(sender.store(&Ct::new(4, 0)), 0, "the association goes on");
    sender.release();
    let mut sender = Sender::associate(receiver.port);
    assert_eq!(sender.store(&Ct::new(5, 0)), 0);
    sender.begin_store("1.2.3");
    sender.data(b"no data set at all", 5, true);
    assert_eq!(sender.status(), 0xC000);
    sender.release();

    let sent = [&study[..], &[Ct::new(4, 0), Ct::new(5, 0)]].concat();
    for folder in wait_until_closed(&edge, &receiver, 3) {
        let whole = objects(&folder, &sent) == set(&[Ct::new(4, 0)]);
        assert_eq!(marker(&folder)["files"] == 1, whole, "{}", receiver.log());
        assert_eq!(marker(&folder)["aborted"] == true, !whole, "{}", receiver.log());
    }
    let full = Edge::new(free_port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&full, &[("HCC_EDGE_LIMITS__MIN_FREE_MIB", "1048576")]);
    assert_eq!(Sender::associate(receiver.port).store(&study[0]), 0xA700, "limits.min_free_mib");
}

#[test]
fn a_killed_receiver_loses_nothing_it_acknowledged() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut receiver = Receiver::start(&edge, &[]);
    let (lost, resent) = (Ct::study(1, 3), Ct::study(2, 3));
    let mut senders = [&lost, &resent].map(|study| {
        let mut sender = Sender::associate(receiver.port);
        assert_eq!([sender.store(&study[0]), sender.store(&study[1])], [0, 0]);
        sender.stop_within(&study[2]);
        sender
    });
    receiver.kill();
    assert_eq!(senders.each_mut().map(Sender::receive), [None, None]);
    let open = folders(&edge);
    assert!(open.len() == 2 && open.iter().all(|folder| marker(folder)["open"] == true));

    let mut receiver = Receiver::start(&edge, &[]);
    let mut sender = Sender::associate(receiver.port);
    assert!(resent.iter().all(|object| sender.store(object) == 0));
    sender.release();
    let mut cut = Sender::associate(receiver.port);
    assert_eq!(cut.store(&Ct::new(3, 0)), 0);
    assert_eq!(receiver.terminate(), Some(0));
    assert!(matches!(cut.receive(), Some(dicom_ul::Pdu::AbortRQ { .. })), "it is told");
    let open = folders(&edge);
    assert!(open.len() == 3 && open.iter().all(|folder| marker(folder)["open"] == true));
    let receiver = Receiver::start(&edge, &[CLOSES_SOON]);
    let closed = wait_until_closed(&edge, &receiver, 3);
    let sent = [lost.clone(), resent.clone(), vec![Ct::new(3, 0)]].concat();
    for folder in closed {
        let found = objects(&folder, &sent);
        if found == set(&resent) {
            assert_eq!(marker(&folder)["files"], 3);
        } else {
            assert!(found == set(&lost[..2]) || found == set(&[Ct::new(3, 0)]), "{found:?}");
            assert_eq!(marker(&folder)["aborted"], true);
        }
    }
    let staging = edge.state().join("inbox/.dicom-receiving");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 1, "the lock alone");
}

#[test]
fn a_series_that_was_cut_off_is_missed_whatever_series_follow() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut receiver = Receiver::start(&edge, &[]);
    let port = receiver.port;
    let send = |objects: &[Ct]| {
        let mut sender = Sender::associate(port);
        assert!(objects.iter().all(|object| sender.store(object) == 0));
        sender
    };
    let (lost, resent) = (Ct::study(1, 6), Ct::study(2, 6));
    for study in [&lost, &resent] {
        send(&study[..2]).stop_within(&study[2]);
    }
    send(&lost[3..]).release();
    send(&resent).release();
    let sent = [lost, resent.clone()].concat();
    for folder in receiver.close_studies(&edge, 2) {
        let whole = objects(&folder, &sent) == set(&resent);
        assert_eq!(marker(&folder)["files"] == 6, whole, "{}", receiver.log());
        assert_eq!(marker(&folder)["aborted"] == true, !whole, "{}", receiver.log());
    }
}

#[test]
fn a_restart_between_two_associations_of_a_study_does_not_split_it() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut receiver = Receiver::start(&edge, &[]);
    let study = Ct::study(1, 4);
    let send = |port: u16, objects: &[Ct]| {
        let mut sender = Sender::associate(port);
        assert!(objects.iter().all(|object| sender.store(object) == 0));
        sender.release();
    };
    send(receiver.port, &study[..2]);
    assert_eq!(receiver.terminate(), Some(0));
    let mut receiver = Receiver::start(&edge, &[]);
    send(receiver.port, &study[2..]);
    let closed = receiver.close_studies(&edge, 1);
    assert_eq!(objects(&closed[0], &study), set(&study));
    assert_eq!(marker(&closed[0])["files"], 4);
}

#[test]
fn a_silent_association_is_aborted_and_its_study_is_cut_off() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&edge, &[CLOSES_SOON, ("HCC_EDGE_RECEIVE__IDLE_S", "5")]);
    let object = Ct::new(1, 0);
    let mut sender = Sender::associate(receiver.port);
    assert_eq!(sender.store(&object), 0);
    assert!(matches!(sender.receive(), Some(dicom_ul::Pdu::AbortRQ { .. })));
    let closed = wait_until_closed(&edge, &receiver, 1);
    assert_eq!(marker(&closed[0])["aborted"], true);
}

#[test]
fn what_an_earlier_receiver_left_open_is_closed_as_cut_off() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut receiver = Receiver::start(&edge, &[]);
    let object = Ct::new(1, 0);
    let mut sender = Sender::associate(receiver.port);
    assert_eq!(sender.store(&object), 0);
    receiver.kill();
    assert_eq!(marker(&folders(&edge)[0])["open"], true);
    let receiver = Receiver::start(&edge, &[CLOSES_SOON]);
    let closed = wait_until_closed(&edge, &receiver, 1);
    assert_eq!(marker(&closed[0])["aborted"], true);
    let sent = [object];
    assert_eq!(objects(&closed[0], &sent), set(&sent));
}

#[test]
fn nothing_that_comes_through_the_port_takes_it_down() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let mut receiver = Receiver::start(&edge, &[("HCC_EDGE_RECEIVE__ASSOCIATIONS", "4")]);
    let mut noise: u32 = 1;
    for length in [1usize, 6, 74, 5_000, 200_000] {
        let bytes = (0..length).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        let mut sender = Sender::connect(receiver.port);
        sender.raw(&bytes.collect::<Vec<u8>>());
        sender.finish();
    }
    for kind in 0..=8 {
        for length in [0, 1, 68, 131_072, 131_073, u32::MAX] {
            let mut sender = Sender::connect(receiver.port);
            sender.raw(&[&[kind, 0][..], &length.to_be_bytes(), &[0; 200]].concat());
            sender.finish();
        }
    }
    receiver.wait_until_it_answers();
    let mut within = Sender::associate(receiver.port);
    within.raw(&[4, 0, 255, 255, 255, 255]);
    assert!(matches!(within.receive(), Some(dicom_ul::Pdu::AbortRQ { .. })));
    let seats: Vec<_> = (0..4).map(|_| Sender::associate(receiver.port)).collect();
    let rejection = Sender::request(receiver.port, "CT1").1.unwrap_err();
    assert!(rejection.source.to_string().contains("congestion"), "{}", rejection.source);
    drop((seats, within));
    receiver.wait_until_it_answers();
    assert!(receiver.child.try_wait().unwrap().is_none(), "{}", receiver.log());
    assert!(receiver.peak_kib() < 64 * 1024, "{} KiB", receiver.peak_kib());
    assert!(!receiver.log().contains("panicked"), "{}", receiver.log());
    assert_eq!(folders(&edge), Vec::<PathBuf>::new());
}

#[test]
fn one_address_has_four_connections_without_an_association_and_none_for_long() {
    let edge = Edge::new(free_port(), OPEN_FOR_CT1);
    let receiver = Receiver::start(&edge, &[("HCC_EDGE_RECEIVE__ASSOCIATIONS", "8")]);
    let associated: Vec<_> = (0..6).map(|_| Sender::associate(receiver.port)).collect();
    let mut silent: Vec<Sender> = (0..3).map(|_| Sender::connect(receiver.port)).collect();
    assert!(receiver.answers(), "the fourth, beside any number of associations");
    silent.push(Sender::connect(receiver.port));
    assert_eq!(Sender::connect(receiver.port).ask("CT1"), None, "the fifth is closed");
    let last = silent.remove(3);
    for mut sender in silent {
        assert!(matches!(sender.receive(), Some(dicom_ul::Pdu::AbortRQ { .. })), "out of time");
    }
    receiver.wait_until_it_answers();
    drop((associated, last));
}

/// Certificates made by openssl: an authority, the receiver's and a sender's.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let authority = ["-x509", "-subj", "/CN=authority", "-days", "2"];
        made.openssl(&["req", "-keyout", "ca.key", "-out", "ca.pem"], &authority);
        for name in ["receiver", "sender"] {
            let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
            let subject = format!("/CN={name}");
            let out = ["-keyout", &key, "-out", &request];
            made.openssl(&["req", out[0], out[1], out[2], out[3]], &["-subj", &subject]);
            let certificate = format!("{name}.pem");
            fs::write(made.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
            let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key"];
            let more = ["-CAcreateserial", "-days", "2", "-extfile", "names", "-out", &certificate];
            made.run(Command::new("openssl").args(sign).args(more));
        }
        made
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let key = ["-newkey", "rsa:2048", "-nodes"];
        self.run(Command::new("openssl").args(first).args(key).args(rest));
    }

    fn run(&self, command: &mut Command) {
        let output = command.current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> String {
        let (certificate, key) = (self.path("receiver.pem"), self.path("receiver.key"));
        let ca = self.path("ca.pem");
        format!(
            "{OPEN_FOR_CT1}tls_certificate = {certificate:?}\ntls_key = {key:?}\n\
             tls_client_ca = {ca:?}\n"
        )
    }
}

#[test]
fn studies_come_over_tls_from_senders_with_a_certificate_only() {
    if !dcmtk_is_there() || !have("openssl", "openssl", "receiving over TLS") {
        return;
    }
    let certificates = Certificates::new();
    let edge = Edge::new(free_port(), &certificates.settings());
    let receiver = Receiver::start(&edge, &[CLOSES_SOON]);
    let study = Ct::study(1, 2);
    let folder = certificates.path("files");
    write_files(&folder, &study);
    let send = |tls: &[&std::ffi::OsStr]| {
        let mut command = dcmtk("storescu", receiver.port, ("CT1", "HCCEDGE"));
        command.args(tls).arg("+sd").arg(&folder).output().unwrap()
    };
    let ca = certificates.path("ca.pem");
    let trust = ["+cf".as_ref(), ca.as_os_str()];
    let (key, own) = (certificates.path("sender.key"), certificates.path("sender.pem"));
    let known = send(&[&["+tls".as_ref(), key.as_os_str(), own.as_os_str()][..], &trust].concat());
    assert!(
        known.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&known.stderr),
        receiver.log()
    );
    let anonymous = send(&[&["+tla".as_ref()][..], &trust].concat());
    assert!(!anonymous.status.success(), "a sender without a certificate");
    assert!(!send(&[]).status.success(), "a sender without TLS");
    let closed = wait_until_closed(&edge, &receiver, 1);
    assert_eq!(objects(&closed[0], &study), set(&study));
    assert_eq!(marker(&closed[0])["files"], 2);
}

#[test]
fn certificates_that_cannot_be_used_are_named_before_anything_listens() {
    let settings =
        format!("{OPEN_FOR_CT1}tls_certificate = \"/nowhere/a.pem\"\ntls_key = \"/b\"\n");
    let edge = Edge::new(free_port(), &settings);
    let output = run(&["receive", "--config", edge.config().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains("/nowhere/a.pem"), "{said}");
}
