//! The units under `board/`: how far they are closed, and that the daemon can live in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::Mosquitto;
use crate::edge::Edge;
use crate::programs::have;
use crate::real_data::not_checked;

fn common(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("board/common").join(name)
}

/// The unit with its drop-in exposes no more than `tenths` says, in systemd's own measure.
fn assert_closed(unit: &str, drop_in: Option<&str>, tenths: u8) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(unit);
    let read = |name: &str| fs::read_to_string(common(name)).unwrap();
    fs::write(&file, read(unit) + &drop_in.map_or_else(String::new, read)).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(format!("--threshold={tenths}"))
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Overall exposure level"), "{said}");
    assert!(output.status.success(), "{unit} is above {tenths} tenths:\n{said}");
}

#[test]
fn the_units_expose_little() {
    if !have("systemd-analyze", "systemd", "exposure of the units") {
        return;
    }
    assert_closed("hcc-edge.service", None, 10);
    assert_closed("hcc-edge.service", Some("gpu/gpu.conf"), 12);
    assert_closed("hcc-edge-receive.service", None, 10);
}

/// The system calls that a unit allows: the last `SystemCallFilter` that names one decides.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in fs::read_to_string(common(unit)).unwrap().lines() {
        let Some(filter) = line.strip_prefix("SystemCallFilter=") else { continue };
        let (denies, names) = filter.strip_prefix('~').map_or((false, filter), |rest| (true, rest));
        let named: BTreeSet<String> = names.split_whitespace().flat_map(members).collect();
        if denies {
            allowed.retain(|call| !named.contains(call));
        } else {
            allowed.extend(named);
        }
    }
    allowed
}

/// The calls of a group, and of the groups in it; a call's own name otherwise.
fn members(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let output =
        Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let inside = text.lines().skip(1).map(str::trim);
    inside.filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(members).collect()
}

#[test]
fn the_daemon_asks_for_no_system_call_that_its_unit_forbids() {
    let what = "system calls of the daemon against its unit";
    if !have("systemd-analyze", "systemd", what) || !have("strace", "strace", what) {
        return;
    }
    let allowed = allowed("hcc-edge.service");
    assert!(allowed.contains("read") && !allowed.contains("mount") && !allowed.contains("setuid"));
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("calls");
    // Daemon, workers, broker and subscriber of one whole study.
    let demo = Command::new("strace")
        .args(["-f", "-qq", "-c", "-U", "name", "-o"])
        .arg(&table)
        .args([env!("CARGO_BIN_EXE_hcc-edge"), "demo", "--json"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&demo.stderr);
    if said.contains("PTRACE_TRACEME") || said.contains("Operation not permitted") {
        return not_checked(what, "strace may not trace here");
    }
    assert!(demo.status.success(), "{said}");
    let text = fs::read_to_string(&table).unwrap();
    let is_call = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
    let calls: BTreeSet<String> = text
        .lines()
        .filter(is_call)
        .filter(|line| !["syscall", "total"].contains(line))
        .map(|line| line.trim().to_owned())
        .collect();
    assert!(calls.contains("landlock_restrict_self") && calls.len() > 40, "{calls:?}");
    let forbidden: Vec<_> = calls.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "the unit forbids {forbidden:?}");
}

/// `mosquitto_sub`'s or `mosquitto_pub`'s exit status, as this user of the broker.
fn client(program: &str, broker: &Mosquitto, user: Option<&str>, arguments: &[&str]) -> i32 {
    let mut command = Command::new(program);
    command.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &broker.port().to_string()]);
    command.args(user.map_or_else(Vec::new, |user| vec!["-u", user]));
    command.args(arguments).output().unwrap().status.code().unwrap()
}

/// What `mosquitto_sub` ends with when nothing came in time.
const NOTHING_CAME: i32 = 27;

#[test]
fn the_example_access_list_gives_each_box_its_own_topics_and_no_others() {
    let acl = fs::read_to_string(common("mosquitto/hcc-edge.acl")).unwrap();
    let broker = Mosquitto::start_with_acl(&acl.replace("north-hospital", "ward"));
    let mut edge = Edge::new(broker.port(), "");
    let password = edge.state().join("password");
    fs::write(&password, "any\n").unwrap();
    edge.start_with(&[
        ("HCC_EDGE_MQTT__USERNAME", "box-1"),
        ("HCC_EDGE_MQTT__PASSWORD_FILE", password.to_str().unwrap()),
    ]);
    let hears = |user, topic: &str, seconds| {
        client("mosquitto_sub", &broker, user, &["-t", topic, "-C", "1", "-W", seconds])
    };
    let (room, box_1) = (Some("control-room"), Some("box-1"));
    for topic in ["status", "info"] {
        let topic = format!("hcc/v1/ward/box-1/{topic}");
        assert_eq!(hears(room, &topic, "120"), 0, "{topic}\n{}", edge.log());
    }
    let says = |user, topic: &str| {
        let arguments = ["-q", "1", "-r", "-m", "forged", "-t", topic];
        client("mosquitto_pub", &broker, user, &arguments);
        hears(room, topic, "2")
    };
    assert_eq!(says(box_1, "hcc/v1/ward/box-1/job"), 0, "its own topics are a box's");
    for (user, topic) in [
        (box_1, "hcc/v1/ward/box-2/result"),
        (box_1, "hcc/v1/elsewhere/box-1/result"),
        (box_1, "hcc/v1/ward/box-1/ack"),
        (box_1, "hcc/v1/ward/box-1/cmd/ping"),
        (room, "hcc/v1/ward/box-2/result"),
        (Some("dashboard"), "hcc/v1/ward/box-1/cmd/ping"),
        (None, "hcc/v1/ward/box-2/status"),
    ] {
        assert_eq!(says(user, topic), NOTHING_CAME, "{user:?} on {topic}");
    }
    assert_eq!(hears(box_1, "hcc/v1/ward/box-2/#", "1"), NOTHING_CAME);
    assert_eq!(hears(None, "hcc/v1/ward/box-1/status", "1"), NOTHING_CAME);
    assert_eq!(edge.terminate(), Some(0));
    assert!(!edge.log().contains("NotAuthorized"), "{}", edge.log());
}
