//! The units under `board/`: how far they are closed, and that the daemon can live in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::real_data::not_checked;

fn common(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("board/common").join(name)
}

/// Whether the program is there; where it is not, that is announced.
fn have(program: &str, what: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        not_checked(what, &format!("{program} is not installed"));
    }
    there
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
    if !have("systemd-analyze", "exposure of the units") {
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
    if !have("systemd-analyze", what) || !have("strace", what) {
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
