//! The fault tests of `scripts/faults` in their short form, on the program that was just built. Each
//! prints one line with its figures; its exit status says whether they are as promised.

use std::io::{self, Write};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::python::{interpreter, repository};
use crate::real_data::not_checked;

/// One after the other: each of them keeps the machine busy.
static TURN: Mutex<()> = Mutex::new(());

/// Whether a script of `scripts/faults` was content, what it found, and what it said meanwhile.
fn script(name: &str, arguments: &[&str]) -> (bool, String, String) {
    let path = repository().join("scripts/faults").join(name);
    let output = Command::new(interpreter()).arg(path).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn short_form(id: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let binary = env!("CARGO_BIN_EXE_hcc-edge");
    let (passed, line, said) = script("run.py", &["--binary", binary, "--only", id]);
    // Past the test runner's capture: the figures, and what could not be checked, are to be seen.
    io::stderr().write_all(line.as_bytes()).unwrap();
    let told = said.lines().chain(line.lines());
    for (part, why) in told.filter_map(|told| told.split_once("NOT CHECKED HERE: ")) {
        let part = part.trim_matches([' ', ':']);
        let what = if part == id { id.to_owned() } else { format!("{id}, {part}") };
        not_checked(&format!("chaos {what}"), why);
    }
    assert!(passed, "{said}");
}

#[test]
fn the_judge_sees_what_it_is_there_for() {
    let (content, _, said) = script("self_test.py", &[]);
    assert!(content, "{said}");
}

#[test]
fn t01_kills_at_random_moments_lose_nothing() {
    short_form("T1");
}

#[test]
fn t02_death_at_every_named_step_loses_nothing() {
    short_form("T2");
}

#[test]
fn t03_power_cuts_lose_nothing_that_was_synced() {
    short_form("T3");
}

#[test]
fn t05_full_and_failing_disks_lose_nothing() {
    short_form("T5");
}

#[test]
fn t06_broker_kills_lose_nothing() {
    short_form("T6");
}

#[test]
fn t07_broken_networks_lose_nothing() {
    short_form("T7");
}

#[test]
fn t08_lying_brokers_are_not_believed() {
    short_form("T8");
}

#[test]
fn t09_inbox_storms_are_taken_whole() {
    short_form("T9");
}

#[test]
fn t10_inbox_tricks_get_a_reason() {
    short_form("T10");
}

#[test]
fn t11_bombs_are_refused_in_bounds() {
    short_form("T11");
}

#[test]
fn t12_mutants_of_dicom_series_end_with_a_result() {
    short_form("T12");
}

#[test]
fn t13_silent_corruption_gets_no_score() {
    short_form("T13");
}

#[test]
fn t15_attacked_signatures_do_not_verify() {
    short_form("T15");
}

#[test]
fn t16_replays_and_clones_are_noticed() {
    short_form("T16");
}

#[test]
fn t17_forgeries_through_the_broker_change_nothing() {
    short_form("T17");
}

#[test]
fn t21_tampered_exchanged_and_old_packages_compute_nothing() {
    short_form("T21");
}

#[test]
fn t22_overload_and_poison_are_bounded() {
    short_form("T22");
}

#[test]
fn t24_wrong_clocks_are_marked_and_change_no_order() {
    short_form("T24");
}

#[test]
fn every_fault_test_of_the_short_list_has_its_turn_here() {
    let (listed, list, said) = script("run.py", &["--list"]);
    assert!(listed, "{said}");
    let short = list.lines().filter(|line| !line.contains("only with --long"));
    let ids: Vec<&str> = short.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(ids.len() >= 16, "{ids:?}");
    for id in ids {
        let call = format!("short_form(\"{id}\")");
        assert!(include_str!("chaos.rs").contains(&call), "{id} is never run");
    }
}
