//! What a scanner side can do wrong: every bad study ends in a result with a code a technician can
//! act on, and the daemon goes on.

use std::os::unix::fs::symlink;

use hcc_edge::phantom::Preset;

use crate::broker::Mosquitto;
use crate::edge::{Edge, Files, codes, phantom, view};
use crate::nifti;

/// A study, and a reason expected among those of its result.
type Case = (&'static str, Files, &'static str);

fn with(good: &Files, name: &str, bytes: &[u8]) -> Files {
    let mut files = good.clone();
    files.insert(name.to_owned(), bytes.to_vec());
    files
}

fn without(good: &Files, name: &str) -> Files {
    let mut files = good.clone();
    files.remove(name).unwrap();
    files
}

fn changed(good: &Files, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    with(good, name, &nifti::changed(&good[name], change))
}

const PORTAL: &str = "portal.nii.gz";
const ARTERIAL: &str = "arterial.nii.gz";

/// Portal images that cannot be used.
fn unreadable(good: &Files) -> Vec<Case> {
    let portal = &good[PORTAL];
    let mut flipped = portal.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let portal_with = |change: fn(&mut Vec<u8>)| changed(good, PORTAL, change);
    let as_mr = |bytes: &mut Vec<u8>| nifti::each_voxel(bytes, |hu| hu + 1024);
    let bomb = |bytes: &mut Vec<u8>| bytes.resize(256 << 20, 0);
    vec![
        ("truncated", with(good, PORTAL, &portal[..portal.len() / 2]), "truncated"),
        ("flipped", with(good, PORTAL, &flipped), "corrupt"),
        ("text", with(good, PORTAL, b"see attachment"), "not_nifti"),
        ("four", portal_with(nifti::four_dimensional), "not_three_dimensional"),
        ("colour", portal_with(nifti::colour), "colour"),
        ("nan", portal_with(nifti::not_a_number), "not_finite"),
        ("mr", portal_with(as_mr), "implausible_hu"),
        ("bomb", portal_with(bomb), "corrupt"),
    ]
}

/// Studies that can be read and must not be scored.
fn abstained(good: &Files) -> Vec<Case> {
    let moved = |bytes: &mut Vec<u8>| nifti::move_along_body(bytes, 300.0);
    let breathed = |bytes: &mut Vec<u8>| nifti::move_along_body(bytes, 28.0);
    let halved = |bytes: &mut Vec<u8>| nifti::each_voxel(bytes, |hu| hu / 2);
    let all_fat = |bytes: &mut Vec<u8>| {
        nifti::each_voxel(bytes, |hu| if (-200..250).contains(&hu) { -90 } else { hu });
    };
    let unknown_key = b"{\"schema\": 1, \"age\": 50}";
    vec![
        ("no-portal", without(good, PORTAL), "portal_missing"),
        ("no-arterial", without(good, ARTERIAL), "arterial_missing"),
        ("far-apart", changed(good, ARTERIAL, moved), "phases_do_not_match"),
        ("not-aligned", changed(good, ARTERIAL, breathed), "phases_not_aligned"),
        ("halved", changed(good, PORTAL, halved), "implausible_hu"),
        ("no-liver", changed(good, PORTAL, all_fat), "no_liver"),
        ("clinical", with(good, "clinical.json", unknown_key), "clinical_invalid"),
    ]
}

/// Folders that hold no study.
fn failed(good: &Files) -> Vec<Case> {
    let wrong_digest = format!("{{\"sha256\": {{\"{PORTAL}\": \"{}\"}}}}", "0".repeat(64));
    vec![
        ("two-portals", with(good, "pv.nii.gz", &good[PORTAL]), "ambiguous_role"),
        ("marker", with(good, ".done", wrong_digest.as_bytes()), "marker_mismatch"),
        ("nothing", Files::new(), "empty_study"),
        ("words", with(&Files::new(), "readme.txt", b"later"), "empty_study"),
    ]
}

#[test]
fn every_bad_study_gets_its_code_and_the_daemon_goes_on() {
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), "");
    edge.start();
    let (good, _) = phantom(Preset::Small, 31);
    let cases = [
        ("unreadable", unreadable(&good)),
        ("abstained", abstained(&good)),
        ("failed", failed(&good)),
    ];
    for (name, files, _) in cases.iter().flat_map(|(_, cases)| cases) {
        edge.drop_study(name, files);
    }
    let linked = edge.state().join("inbox/linked");
    std::fs::create_dir_all(&linked).unwrap();
    symlink("/etc/hostname", linked.join(PORTAL)).unwrap();
    let mut wrong = Vec::new();
    let of = |status: &'static str| move |(name, _, code): &Case| (*name, status, *code);
    let dropped = cases.iter().flat_map(|(status, cases)| cases.iter().map(of(status)));
    let expected = dropped.chain([("linked", "failed", "symlink_refused")]);
    for (name, status, code) in expected {
        let found = view(&edge.wait_for(name));
        let found_status = found["result"]["status"].as_str().unwrap().to_owned();
        let found_codes = codes(&found);
        if found_status != status || !found_codes.iter().any(|found| found == code) {
            wrong.push(format!("{name}: {found_status} {found_codes:?}, expected {status} {code}"));
        }
        assert_eq!(found["result"]["recommendation"]["code"], "none", "{name}");
        assert!(found["result"]["pmn"].is_null(), "{name}: a score");
        let sentences = found["sentences"].as_array().unwrap();
        assert!(!sentences.is_empty(), "{name}: nothing a technician can act on");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (good, _) = phantom(Preset::Small, 32);
    edge.drop_study("good", &good);
    assert!(edge.wait_for("good").join("mask.nii.gz").exists());
    assert!(edge.is_alive());
}
