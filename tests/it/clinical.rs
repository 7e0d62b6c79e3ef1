//! The clinical layer from outside: the clerk's commands, and the same 10,000 random patients through
//! the program and through `scripts/clinical_twin.py`, which was written from the reference notes:
//! it shares their readings and no code with it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use hcc_edge::clinical::data::{ClinicalDataError, Field, Kind};
use hcc_edge::clinical::eligibility::Met;
use hcc_edge::clinical::liver_function::ChildPugh;
use hcc_edge::clinical::nomogram::NomogramOutcome;
use hcc_edge::clinical::protocol::Dose;
use hcc_edge::clinical::staging::{NotComputable, Staging};
use hcc_edge::clinical::{
    ClinicalData, ClinicalFindings, Finding, Measured, Nomogram, NomogramPair, PackageId, assess,
};
use hcc_edge::units::{Millimetres, Probability};
use serde_json::{Map, Value, json};

use crate::edge::command;
use crate::python::{interpreter, repository};

const PATIENTS: usize = 10_000;
const INPUT_REJECTED: i32 = 3;
const NO_INPUT: i32 = 66;

/// SplitMix64 (Steele et al., OOPSLA 2014): one fixed sequence of patients.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    /// One of the values on and beside the published limits three times in four, else any in the
    /// range: with any value everywhere hardly a patient would get advice.
    fn number(&mut self, limits: &[f64], (low, high): (f64, f64)) -> f64 {
        match self.below(4) {
            0..=2 => limits[self.below(limits.len())],
            _ => low + (high - low) * self.below(1000) as f64 / 1000.0,
        }
    }

    /// A value of the key as a clerk may write it: valid, and near where the rules turn.
    fn value(&mut self, field: Field) -> Value {
        let limits: &[f64] = match field {
            Field::AgeYears => &[17.0, 18.0, 75.0, 76.0],
            Field::Ecog => &[0.0, 0.0, 1.0, 2.0, 3.0],
            Field::DaysCtToTreatment => &[0.0, 14.0, 15.0],
            Field::LesionCount => &[0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 20.0, 21.0],
            Field::BilirubinUmolL => &[10.0, 5.9, 6.0, 34.1, 34.2, 51.3, 51.4],
            Field::AlbuminGL => &[27.9, 28.0, 35.0, 35.1, 40.0],
            Field::Inr => &[1.0, 1.69, 1.7, 2.3, 2.31],
            Field::LargestDiameterMm => {
                &[19.9, 20.0, 20.1, 29.9, 30.0, 30.1, 49.9, 50.0, 50.1, 60.0, 100.0, 99.9]
            }
            Field::CreatinineUmolL => &[80.0, 176.7, 176.8],
            _ => &[1.0, 60.0, 175.0],
        };
        match field.kind() {
            Kind::Whole((low, high), _) => {
                let top = if field == Field::DaysCtToTreatment { 20 } else { high };
                let drawn = self.number(limits, (f64::from(low), f64::from(top)));
                json!((drawn as u32).clamp(low, high))
            }
            Kind::Number((low, high), _) => {
                let top = if field == Field::BilirubinUmolL { 80.0 } else { high };
                json!(self.number(limits, (low, top)).clamp(low, high))
            }
            Kind::Flag => json!(self.below(6) == 0),
            // The first word is the harmless one: three times in four.
            Kind::Choice(words) if self.below(4) > 0 => json!(words[0]),
            Kind::Choice(words) => json!(words[self.below(words.len())]),
            Kind::Name => json!("S-1"),
        }
    }

    /// A file: every key most of the time, each one missing once in `absent`.
    fn clinical(&mut self, absent: usize) -> Map<String, Value> {
        let mut file = Map::new();
        file.insert("schema".into(), json!(2));
        for field in Field::ALL {
            let value = self.value(field);
            if self.below(absent) > 0 {
                file.insert(field.name().into(), value);
            }
        }
        file
    }

    /// What the image shows; three times in four it agrees with the file as far as that says anything.
    fn image(&mut self, file: &Map<String, Value>) -> Value {
        let mm = [19.9, 20.0, 30.0, 30.1, 49.9, 50.0, 72.5, 100.0, 250.0, 250.1][self.below(10)];
        let score = self.below(1001) as f64 / 1000.0;
        let (unseen, count) = (self.below(8), self.below(5));
        let agrees = self.below(4) > 0;
        let told = |key| file.get(key).filter(|_| agrees).cloned();
        let mm = told("largest_diameter_mm").unwrap_or(json!(mm));
        let count = told("lesion_count").unwrap_or(json!(count));
        json!({
            "largest_diameter_mm": if unseen != 0 { mm } else { Value::Null },
            "lesion_count": if unseen != 1 { count } else { Value::Null },
            "risk_score": (unseen > 2).then_some(score),
            "proliferative": (unseen > 2).then_some(score >= 0.5),
        })
    }
}

/// Patients whose file is accepted; one in three has everything but a value or two.
fn patients() -> Vec<(Value, ClinicalData)> {
    let mut dice = Dice(20_261_130);
    let mut patients = Vec::new();
    let mut contradicting = 0;
    while patients.len() < PATIENTS {
        let absent = [6, 40, 400][dice.below(3)];
        let clinical = dice.clinical(absent);
        let image = dice.image(&clinical);
        let text = Value::Object(clinical.clone()).to_string();
        match ClinicalData::parse(text.as_bytes()) {
            Ok(data) => {
                patients.push((json!({ "clinical": clinical, "image": image }), data));
            }
            Err(ClinicalDataError::Fields { problems, .. }) => {
                let hinted =
                    |hint: &Option<String>| hint.as_ref().is_some_and(|h| h.contains("look"));
                assert!(problems.iter().all(|p| hinted(&p.hint)), "{problems:?}");
                contradicting += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(contradicting > 0);
    patients
}

fn package(name: &str) -> Nomogram {
    let path = repository().join(format!("models/{name}/0.1.0/nomogram.toml"));
    let id = PackageId { name: name.into(), version: "0.1.0".into(), digest: [0; 32] };
    Nomogram::parse(id, &fs::read_to_string(path).unwrap()).unwrap()
}

fn measured(image: &Value) -> Measured {
    let score = image["risk_score"].as_f64().map(|score| Probability::new(score).unwrap());
    let largest = image["largest_diameter_mm"].as_f64();
    Measured {
        largest_diameter: largest.map(|mm| Millimetres::new(mm).unwrap()),
        lesion_count: image["lesion_count"].as_u64().map(|count| count as u32),
        risk: score.zip(image["proliferative"].as_bool()),
    }
}

fn staging(one: &Staging) -> Value {
    let needs = one.outcome.as_ref().err().map_or(&[][..], NotComputable::needs);
    let needs: Vec<&str> = needs.iter().map(|field| field.name()).collect();
    json!({
        "system": one.system.code_name(),
        "stage": one.outcome.as_ref().ok().map(|stage| stage.code_name()),
        "needs": needs,
        "value": one.value,
    })
}

fn nomogram(one: &NomogramOutcome) -> Value {
    let score = one.score.as_ref().ok();
    let survival = score.map(|s| s.survival.iter().map(|point| point.probability.get()).collect());
    let survival: Vec<f64> = survival.unwrap_or_default();
    json!({
        "values": one.terms.iter().map(|term| term.value).collect::<Vec<_>>(),
        "points": one.terms.iter().map(|term| term.points).collect::<Vec<_>>(),
        "lp": score.map(|s| s.linear_predictor),
        "score": score.map(|s| s.score),
        "group": score.map(|s| s.group.code_name()),
        "survival": survival,
    })
}

/// What the program finds, in the twin's words.
fn told(found: &ClinicalFindings) -> Value {
    let met = |met| match met {
        Met::Yes => Some(true),
        Met::No => Some(false),
        Met::Unknown => None,
    };
    let eligible = found.eligibility.criteria.iter();
    let eligible: Map<_, _> =
        eligible.map(|one| (one.kind.name().to_owned(), json!(met(one.met)))).collect();
    let checks = found.contraindications.iter();
    let checks: Map<_, _> =
        checks.map(|(item, found)| (item.code_name().to_owned(), json!(found))).collect();
    let surface = found.body_surface_m2.as_ref().ok().copied();
    let totals = Dose::ALL[..6].iter().map(|dose| surface.and_then(|m2| dose.total_mg(m2)));
    json!({
        "albi": found.albi.as_ref().ok().map(|albi| albi.score),
        "child_pugh": found.child_pugh.as_ref().ok().map(ChildPugh::points),
        "eligibility": eligible,
        "stagings": found.stagings.iter().map(staging).collect::<Vec<_>>(),
        "contraindications": checks,
        "body_surface_m2": surface,
        "doses": totals.collect::<Vec<_>>(),
        "findings": found.findings.iter().map(Finding::code_name).collect::<Vec<_>>(),
        "nomograms": found.nomograms.as_ref().map(|pair| pair.iter().map(nomogram).collect::<Vec<_>>()),
        "advice": found.recommendation.map(|given| given.advice.code_name()),
        "basis": found.recommendation.map(|given| given.basis.code_name()),
    })
}

/// Where two results differ; numbers may by 1e-9 of their size: the order of sums is free.
fn difference(one: &Value, other: &Value, place: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, value)| {
                let place = format!("{place}.{key}");
                match b.get(key) {
                    Some(other) => difference(value, other, &place),
                    None => Some(format!("{place} is missing")),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(at, (a, b))| difference(a, b, &format!("{place}[{at}]"))),
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let close = (a - b).abs() <= 1e-9 * a.abs().max(1.0);
            (!close).then(|| format!("{place}: {a} and {b}"))
        }
        _ => (one != other).then(|| format!("{place}: {one} and {other}")),
    }
}

fn twin(input: &str) -> Output {
    let models = repository().join("models");
    let toml = |name: &str| models.join(name).join("0.1.0/nomogram.toml");
    let mut child = Command::new(interpreter())
        .arg("-I")
        .arg(repository().join("scripts/clinical_twin.py"))
        .args([toml("nomogram-tace"), toml("nomogram-haic")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

#[test]
fn ten_thousand_patients_get_the_same_from_an_independent_implementation() {
    let pair = NomogramPair::new(package("nomogram-tace"), package("nomogram-haic")).unwrap();
    let patients = patients();
    let input: String = patients.iter().map(|(line, _)| format!("{line}\n")).collect();
    let output = twin(&input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), PATIENTS);
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for ((asked, data), line) in patients.iter().zip(lines) {
        let found = told(&assess(data, &measured(&asked["image"]), &pair));
        let twins: Value = serde_json::from_str(line).unwrap();
        assert_eq!(difference(&found, &twins, ""), None, "{asked}");
        for one in found["stagings"].as_array().unwrap() {
            let stage = one["stage"].as_str().map_or("-", |stage| stage);
            *seen.entry(format!("{} {stage}", one["system"])).or_default() += 1;
        }
        *seen.entry(format!("advice {}", found["advice"])).or_default() += 1;
    }
    // Forty stages, "-" for each of eight systems, three pieces of advice and none: all occur.
    assert_eq!(seen.len(), 40 + 8 + 4, "{seen:#?}");
}

/// A twin that disagrees is noticed: one changed number in any part of a result.
#[test]
fn a_difference_is_found_wherever_it_is() {
    let pair = NomogramPair::new(package("nomogram-tace"), package("nomogram-haic")).unwrap();
    let scored = patients().into_iter().find_map(|(asked, data)| {
        let found = told(&assess(&data, &measured(&asked["image"]), &pair));
        (!found["nomograms"].is_null()).then_some(found)
    });
    let scored = scored.unwrap();
    for place in [
        "/albi",
        "/child_pugh",
        "/eligibility/age",
        "/stagings/1/stage",
        "/contraindications/jaundice",
        "/nomograms/0/points/0",
        "/nomograms/1/values/1",
        "/advice",
    ] {
        let mut other = scored.clone();
        *other.pointer_mut(place).unwrap() = json!(4711);
        assert!(difference(&scored, &other, "").is_some(), "{place}");
    }
    for place in ["", "/eligibility", "/stagings/0", "/contraindications", "/nomograms/0"] {
        let mut renamed = scored.clone();
        let keys = renamed.pointer_mut(place).unwrap().as_object_mut().unwrap();
        let key = keys.keys().next().unwrap().clone();
        let value = keys.remove(&key).unwrap();
        keys.insert(format!("{key}_"), value);
        let found = difference(&scored, &renamed, "");
        assert!(found.is_some_and(|found| found.ends_with("is missing")), "{place}");
    }
    assert_eq!(difference(&scored, &scored, ""), None);
}

/// Exit status and standard output of a command.
fn run(arguments: &[&str]) -> (i32, String) {
    let output = command(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_template_can_be_filled_in_and_checked() {
    let (status, template) = run(&["clinical", "template"]);
    assert_eq!(status, 0);
    let mut file: Map<String, Value> = serde_json::from_str(&template).unwrap();
    assert_eq!(file.len(), Field::ALL.len() + 1);
    assert_eq!(ClinicalData::parse(template.as_bytes()), Ok(ClinicalData::absent()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clinical.json");
    let path = path.to_str().unwrap();
    fs::write(path, &template).unwrap();
    let (status, text) = run(&["clinical", "check", path]);
    assert_eq!(status, 0);
    let line = text.lines().find(|line| line.starts_with("Missing, so there will be no score: "));
    let keys = "Missing, so there will be no score: age_years, ecog, bilirubin_umol_l, albumin_g_l, \
                inr, ascites, encephalopathy, prior_therapy, second_malignancy, days_ct_to_treatment";
    assert_eq!(line, Some(keys), "{text}");
    for lacks in ["the TACE nomogram, so there will be no advice: hbv\n", "sex, ast_u_l, pvtt\n"] {
        assert!(text.contains(lacks), "{lacks}: {text}");
    }
    assert!(!text.contains("Look again"), "{text}");
    assert!(text.contains("not computable: needs bilirubin_umol_l, albumin_g_l"), "{text}");
    for (key, value) in [
        ("age_years", json!(80)),
        ("bilirubin_umol_l", json!(4)),
        ("albumin_g_l", json!(36)),
        ("lesion_count", json!(3)),
        ("diffuse_type", json!(false)),
        ("largest_diameter_mm", json!(40)),
    ] {
        file.insert(key.into(), value);
    }
    fs::write(path, Value::Object(file).to_string()).unwrap();
    let (status, text) = run(&["clinical", "check", path]);
    assert_eq!(status, 0);
    for words in [
        "so there will be no score: age_years\n",
        "-2.66, grade 1",
        "malbi_1",
        "above_6_to_12",
        "largest_diameter_mm is 40, and the score is limited to 50 mm",
        "bilirubin_umol_l: is it mg/dL? 4 mg/dL is 68.4 µmol/L",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (status, text) = run(&["clinical", "check", path, "--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, told["ok"].as_bool()), (0, Some(true)));
    assert_eq!(told["outside_validity_range"], json!(["age_years"]));
    assert_eq!(told["missing_for_score"][1], "inr", "what is there of Child-Pugh is not asked for");
    let haic = json!(["sex", "ast_u_l", "pvtt"]);
    assert_eq!(told["missing_for_nomograms"], json!({"tace": ["hbv"], "haic": haic}));
    assert_eq!(told["hints"].as_array().unwrap().len(), 2);
    assert_eq!(told["stagings"][6]["stage"], "above_6_to_12");
    assert_eq!(told["stagings"][6]["value"], 7.0);
}

#[test]
fn what_is_wrong_is_said_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clinical.json");
    let path = path.to_str().unwrap();
    fs::write(path, r#"{"schema": 1, "albumin_g_l": 3.8, "creatinine_umol_l": 1.1, "sexe": 1}"#)
        .unwrap();
    let (status, text) = run(&["clinical", "check", path]);
    assert_eq!(status, INPUT_REJECTED);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[0], "clinical.json cannot be used; 4 problem(s):");
    for words in [
        "sexe: found an unknown key, expected one of the documented keys (did you mean sex?)",
        "(write \"schema\": 2)",
        "is it g/dL? 3.8 g/dL is 38.0 g/L",
        "is it mg/dL? 1.1 mg/dL is 97.2 µmol/L",
    ] {
        assert!(lines[1..5].iter().any(|line| line.contains(words)), "{words}: {text}");
    }
    let (status, text) = run(&["clinical", "check", path, "--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, told["ok"].as_bool()), (INPUT_REJECTED, Some(false)));
    assert_eq!(told["problems"].as_array().unwrap().len(), 4);
    fs::write(path, "not json").unwrap();
    assert_eq!(run(&["clinical", "check", path]).0, INPUT_REJECTED);
    assert_eq!(run(&["clinical", "check", "/nowhere/clinical.json"]).0, NO_INPUT);
}

#[test]
fn every_key_is_explained_in_both_languages() {
    let (status, text) = run(&["clinical", "template", "--explain"]);
    assert_eq!(status, 0);
    for field in Field::ALL {
        let row = text.lines().find(|line| line.contains(&format!("`{}`", field.name()))).unwrap();
        let chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
        let latin = ["AST", "INR"].iter().any(|name| row.contains(&format!("| {name} |")));
        assert!(latin || row.chars().any(chinese), "{row}");
        assert!(row.contains(field.label()), "{row}");
    }
}
