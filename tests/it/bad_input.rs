//! What a scanner side can do wrong: every bad study ends in a result with a code a technician can
//! act on, and the daemon goes on.

use std::os::unix::fs::symlink;

use hcc_edge::phantom::Preset;

use crate::broker::Mosquitto;
use crate::edge::{Edge, Files, codes, phantom, view};
use crate::nifti;

/// Status and first reason expected of a study.
struct Case {
    name: &'static str,
    files: Files,
    status: &'static str,
    code: &'static str,
}

fn with_portal(good: &Files, portal: Vec<u8>) -> Files {
    let mut files = good.clone();
    files.insert("portal.nii.gz".to_owned(), portal);
    files
}

fn portal_changed(good: &Files, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    with_portal(good, nifti::changed(&good["portal.nii.gz"], change))
}

fn cases() -> Vec<Case> {
    let (good, _) = phantom(Preset::Small, 31);
    let portal = good["portal.nii.gz"].clone();
    let case = |name, files, status, code| Case { name, files, status, code };
    let mut flipped = portal.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let truncated = portal[..portal.len() / 2].to_vec();
    let without = |name: &str| {
        let mut files = good.clone();
        files.remove(name).unwrap();
        files
    };
    let with = |name: &str, bytes: &[u8]| {
        let mut files = good.clone();
        files.insert(name.to_owned(), bytes.to_vec());
        files
    };
    let mut far = good.clone();
    let moved = |bytes: &mut Vec<u8>| nifti::move_along_body(bytes, 300.0);
    far.insert("arterial.nii.gz".to_owned(), nifti::changed(&good["arterial.nii.gz"], moved));
    let bomb = |bytes: &mut Vec<u8>| bytes.resize(256 << 20, 0);
    vec![
        case("truncated", with_portal(&good, truncated), "unreadable", "truncated"),
        case("flipped", with_portal(&good, flipped), "unreadable", "corrupt"),
        case("text", with_portal(&good, b"see attachment".to_vec()), "unreadable", "not_nifti"),
        case(
            "four",
            portal_changed(&good, nifti::four_dimensional),
            "unreadable",
            "not_three_dimensional",
        ),
        case("colour", portal_changed(&good, nifti::colour), "unreadable", "colour"),
        case("nan", portal_changed(&good, nifti::not_a_number), "unreadable", "not_finite"),
        case(
            "mr",
            portal_changed(&good, |b| nifti::each_voxel(b, |hu| hu + 1024)),
            "unreadable",
            "implausible_hu",
        ),
        case("bomb", portal_changed(&good, bomb), "unreadable", "corrupt"),
        case("no-portal", without("portal.nii.gz"), "abstained", "portal_missing"),
        case("no-arterial", without("arterial.nii.gz"), "abstained", "arterial_missing"),
        case("far-apart", far, "abstained", "phases_do_not_match"),
        case(
            "no-liver",
            portal_changed(&good, |b| {
                nifti::each_voxel(b, |hu| if (-200..250).contains(&hu) { -90 } else { hu })
            }),
            "abstained",
            "no_liver",
        ),
        case(
            "clinical",
            with("clinical.json", b"{\"schema\": 1, \"age\": 50}"),
            "abstained",
            "clinical_invalid",
        ),
        case("two-portals", with("pv.nii.gz", &portal), "failed", "ambiguous_role"),
        case(
            "marker",
            with(".done", b"{\"sha256\": {\"portal.nii.gz\": \"00\"}}"),
            "failed",
            "marker_mismatch",
        ),
        case("nothing", Files::new(), "failed", "empty_study"),
        case(
            "words",
            Files::from([("readme.txt".to_owned(), b"later".to_vec())]),
            "failed",
            "empty_study",
        ),
    ]
}

#[test]
fn every_bad_study_gets_its_code_and_the_daemon_goes_on() {
    let broker = Mosquitto::start();
    let mut edge = Edge::new(broker.port(), "");
    edge.start();
    let cases = cases();
    for case in &cases {
        edge.drop_study(case.name, &case.files);
    }
    let inbox = edge.state().join("inbox");
    let linked = inbox.join("linked");
    std::fs::create_dir_all(&linked).unwrap();
    symlink("/etc/hostname", linked.join("portal.nii.gz")).unwrap();
    let mut wrong = Vec::new();
    let links = ("linked", "failed", "symlink_refused");
    let expected = cases.iter().map(|case| (case.name, case.status, case.code)).chain([links]);
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
