//! `scripts/verify.py`, the verifier that shares no code with the program: it must come to the same
//! verdict on every shared vector, and on the JSON view.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hcc_edge::seal::cbor;
use hcc_edge::seal::cose::{Ed25519Signer, MessageType, seal};
use hcc_edge::seal::verify::decode_unverified;
use hcc_edge::seal::view::View;
use hcc_edge::seal::wire::{
    List, MAX_MESSAGE, Nomogram, RecommendationCode, ResultMessage, RiskGroup, Side, Wording,
};
use serde_json::{Value, json};

const VERIFICATION_FAILED: i32 = 5;

/// Where the sources are.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that has the verifier's requirements.
pub fn interpreter() -> PathBuf {
    let made_by_the_script = repository().join(".venv-test/bin/python");
    let python = std::env::var_os("HCC_EDGE_TEST_PYTHON").map_or(made_by_the_script, PathBuf::from);
    assert!(
        python.is_file(),
        "no Python at {}: run scripts/test, which makes it, or name one in HCC_EDGE_TEST_PYTHON",
        python.display()
    );
    python
}

/// Runs a copy of the verifier from an empty folder, without search paths for programs or modules,
/// so that it can use nothing of the repository but the files it is given.
pub fn verifier(arguments: &[&Path]) -> Output {
    let alone = tempfile::tempdir().unwrap();
    let script = alone.path().join("verify.py");
    fs::copy(repository().join("scripts/verify.py"), &script).unwrap();
    Command::new(interpreter())
        .arg("-I")
        .arg(script)
        .args(arguments)
        .current_dir(alone.path())
        .env("PATH", "")
        .output()
        .unwrap()
}

/// Exit status and everything that was said.
fn told(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn vectors() -> Value {
    let text = fs::read_to_string(repository().join("tests/vectors/messages.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Judges a copy of the vectors in which `change` was made.
fn self_test(change: impl FnOnce(&mut Value)) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = vectors();
    change(&mut stored);
    fs::write(folder.path().join("messages.json"), stored.to_string()).unwrap();
    told(&verifier(&["--self-test".as_ref(), folder.path()]))
}

#[test]
fn the_python_verifier_agrees_on_every_vector() {
    let count = vectors()["vectors"].as_array().unwrap().len();
    assert!(count >= 80, "{count} vectors");
    assert_eq!(self_test(|_| ()), (0, format!("{count} vectors, 0 wrong\n")));
}

#[test]
fn the_python_verifier_reports_a_vector_it_disagrees_on() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 3] = [
        ("a verdict", |vectors| vectors[0]["verdict"] = json!("signature")),
        ("a message", |vectors| vectors[0]["message"]["seq"] = json!(4_711)),
        ("none at all", |vectors| *vectors = json!([])),
    ];
    for (what, change) in changes {
        let (status, text) = self_test(|stored| change(&mut stored["vectors"]));
        assert_eq!(status, VERIFICATION_FAILED, "{what}: {text}");
    }
}

#[test]
fn the_python_verifier_believes_a_view_only_as_far_as_it_is_signed() {
    let stored = vectors();
    let good = stored["vectors"].as_array().unwrap().iter();
    let good = good.filter(|v| v["kind"] == "result" && v["verdict"] == "ok");
    let folder = tempfile::tempdir().unwrap();
    let (trust, file) = (folder.path().join("trust.toml"), folder.path().join("view.json"));
    fs::write(&trust, stored["trust"].as_str().unwrap()).unwrap();
    let judge = |view: &Value| {
        fs::write(&file, view.to_string()).unwrap();
        told(&verifier(&["--trust".as_ref(), &trust, &file]))
    };
    let mut tried = 0;
    for vector in good {
        if vector["wrong_sums"] == true {
            continue;
        }
        let cose = unhex(vector["envelope"].as_str().unwrap());
        let mut view = serde_json::to_value(View::of(&cose).unwrap()).unwrap();
        let (status, text) = judge(&view);
        assert_eq!(status, 0, "{}: {text}", vector["name"]);
        view["result"]["seq"] = json!(4_711);
        let (status, text) = judge(&view);
        assert_eq!(status, VERIFICATION_FAILED, "{}: {text}", vector["name"]);
        assert!(text.contains("differs from the signed bytes"), "{text}");
        tried += 1;
    }
    assert!(tried >= 2, "{tried} views");
}

/// A signed message with one wrong number: it verifies, and the sum that does not hold is named.
#[test]
fn the_python_verifier_redoes_every_number_of_a_nomogram_and_a_dose() {
    type Change = fn(&mut ResultMessage);
    fn first(message: &mut ResultMessage, change: impl FnOnce(&mut Nomogram)) {
        let mut nomograms = message.nomograms.to_vec();
        change(&mut nomograms[0]);
        message.nomograms = List::new(nomograms).unwrap();
    }
    let changes: [(&str, Change); 17] = [
        ("the terms add up to", |m| first(m, |n| n.lp_e4 = n.lp_e4.map(|lp| lp + 100))),
        ("the score is", |m| first(m, |n| n.score_e4 = n.score_e4.map(|score| score + 10))),
        ("the score is", |m| first(m, |n| n.slope_e4 = 9_900)),
        ("the risk group is high", |m| {
            first(m, |n| n.risk_group = RiskGroup::Low);
            m.recommendation.code = RecommendationCode::Discuss;
            m.recommendation.wording = Wording::Discordant;
        }),
        ("survival at 12 months", |m| first(m, |n| n.lp_e4 = Some(i64::MAX))),
        ("ALBI is -2.7727", |m| m.clinical.as_mut().unwrap().albi_e4 = Some(-27_000)),
        ("Child-Pugh is 5", |m| m.clinical.as_mut().unwrap().child_pugh_points = Some(6)),
        ("to be used", |m| m.clinical.as_mut().unwrap().burden.count = Some(2)),
        ("the sum of six_and_twelve", |m| {
            let clinical = m.clinical.as_mut().unwrap();
            let mut stagings = clinical.stagings.to_vec();
            stagings[2].value_e4 = Some(102_502);
            clinical.stagings = List::new(stagings).unwrap();
        }),
        ("exactly when the counts do", |m| m.lesions.as_mut().unwrap().count = 4),
        ("exactly when bilirubin is below", |m| {
            m.clinical.as_mut().unwrap().supplied.bilirubin_umol_l_e3 = Some(5_999);
        }),
        ("the risk group is low", |m| first(m, |n| n.high_risk_side = Side::Low)),
        ("survival at 12 months", |m| first(m, |n| n.lp_mean_e4 += 500)),
        ("no baseline at 12 months", |m| first(m, |n| n.baseline = List::empty())),
        ("points, not", |m| {
            first(m, |n| {
                let mut terms = n.terms.to_vec();
                terms[1].points_e2 = Some(1_000);
                n.terms = List::new(terms).unwrap();
            });
        }),
        ("the body surface is", |m| m.clinical.as_mut().unwrap().body_surface_m2_e4 = Some(19_990)),
        ("leucovorin_400", |m| {
            let clinical = m.clinical.as_mut().unwrap();
            let mut doses = clinical.reference_doses.to_vec();
            doses[1].total_mg_e1 = Some(9_000);
            clinical.reference_doses = List::new(doses).unwrap();
        }),
    ];
    let stored = vectors();
    let good = &stored["vectors"].as_array().unwrap()[0];
    let message: ResultMessage =
        decode_unverified(&unhex(good["envelope"].as_str().unwrap())).unwrap();
    let signer =
        Ed25519Signer::from_seed(&unhex(good["seed"].as_str().unwrap()).try_into().unwrap());
    let signer = signer.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (trust, file) = (folder.path().join("trust.toml"), folder.path().join("result.cose"));
    fs::write(&trust, stored["trust"].as_str().unwrap()).unwrap();
    for (words, change) in changes {
        let mut changed = message.clone();
        change(&mut changed);
        let payload = cbor::encode(&changed, MAX_MESSAGE).unwrap();
        fs::write(&file, seal(MessageType::Result, &payload, &signer).unwrap()).unwrap();
        let (status, text) = told(&verifier(&["--trust".as_ref(), &trust, &file]));
        assert_eq!(status, VERIFICATION_FAILED, "{words}: {text}");
        assert!(text.contains("VERIFIED") && text.contains(words), "{words}: {text}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
