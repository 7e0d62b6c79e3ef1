//! Holds the Rust types to `result.cddl`: the same fields in the same order, the same codes with
//! the same numbers.

use serde::Serialize;

use super::wire::clinical_codes::*;
use super::wire::codes::*;
use super::wire::gate_codes::GateCode;
use super::wire::reason::{Reason, ReasonCode};
use super::wire::samples;

const CDDL: &str = include_str!("result.cddl");

/// The lines between `<name> = <open>` and the closing line.
fn block(name: &str, open: &str) -> Vec<&'static str> {
    let start = format!("{name} = {open}");
    let lines = CDDL.lines().skip_while(|line| *line != start).skip(1);
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    assert!(!block.is_empty(), "{name} is not in result.cddl");
    block
}

/// `(key, field name)` of a map in the CDDL.
fn fields(name: &str) -> Vec<(usize, String)> {
    let field = |line: &&str| {
        let (key, rest) = line.trim().split_once(" => ").unwrap();
        let (_, comment) = rest.split_once("; ").unwrap();
        (key.parse().unwrap(), comment.split_once(':').unwrap().0.to_owned())
    };
    block(name, "{").iter().map(field).collect()
}

/// Names of a struct's fields in the order serialised: the keys of its JSON at the first level.
fn serialised<T: Serialize>(value: &T) -> Vec<(usize, String)> {
    let json = serde_json::to_string(value).unwrap();
    let (mut depth, mut names, mut text, mut quoted) = (0, Vec::new(), String::new(), false);
    for character in json.chars() {
        match (quoted, character) {
            (_, '"') => {
                if !quoted {
                    text.clear();
                }
                quoted = !quoted;
            }
            (true, other) => text.push(other),
            (false, '{' | '[') => depth += 1,
            (false, '}' | ']') => depth -= 1,
            (false, ':') if depth == 1 => names.push((names.len(), text.clone())),
            (false, _) => (),
        }
    }
    names
}

#[test]
fn every_map_has_the_fields_of_the_contract_in_its_order() {
    let message = samples::scored();
    let clinical = message.clinical.as_ref().unwrap();
    let lesions = message.lesions.as_ref().unwrap();
    let nomogram = &message.nomograms[0];
    assert_eq!(serialised(&message), fields("result"));
    assert_eq!(serialised(&message.input_digest), fields("inputs"));
    assert_eq!(serialised(&message.input_digest.series[0]), fields("input-series"));
    assert_eq!(serialised(&Reason::bare(ReasonCode::Poison)), fields("reason"));
    assert_eq!(serialised(&message.models[0]), fields("model-use"));
    assert_eq!(serialised(message.engine.as_ref().unwrap()), fields("engine"));
    assert_eq!(serialised(message.pmn.as_ref().unwrap()), fields("pmn"));
    assert_eq!(serialised(lesions), fields("lesions"));
    assert_eq!(serialised(&lesions.list[0]), fields("lesion"));
    assert_eq!(serialised(clinical), fields("clinical"));
    assert_eq!(serialised(&clinical.eligibility[0]), fields("criterion-check"));
    assert_eq!(serialised(&clinical.supplied), fields("supplied"));
    assert_eq!(serialised(&clinical.burden), fields("burden"));
    assert_eq!(serialised(&clinical.stagings[0]), fields("staging"));
    assert_eq!(serialised(&clinical.tace[0]), fields("contraindication-check"));
    assert_eq!(serialised(&clinical.reference_doses[0]), fields("dose"));
    assert_eq!(serialised(nomogram), fields("nomogram"));
    assert_eq!(serialised(&nomogram.terms[0]), fields("term"));
    assert_eq!(serialised(&nomogram.survival[0]), fields("survival"));
    assert_eq!(serialised(&message.recommendation), fields("recommendation"));
    assert_eq!(serialised(&message.gate[0]), fields("gate-value"));
    assert_eq!(serialised(&message.timings_ms[0]), fields("timing"));
    assert_eq!(serialised(&samples::status()), fields("status"));
    assert_eq!(serialised(&samples::status().sandbox), fields("sandbox"));
    assert_eq!(serialised(&samples::ack()), fields("ack"));
    assert_eq!(serialised(&samples::resend()), fields("resend"));
    assert_eq!(serialised(&samples::checkpoint()), fields("checkpoint"));
    assert_eq!(serialised(&samples::scored_draft()), fields("draft"));
}

/// Compares every code of an enum with the block of that name.
macro_rules! same_codes {
    ($($name:literal is $code:ident),+ $(,)?) => {
        $({
            let ours: Vec<(String, u64)> =
                $code::ALL.iter().map(|code| (code.name().to_owned(), code.code())).collect();
            assert_eq!(ours, numbers($name), $name);
        })+
    };
}

fn numbers(name: &str) -> Vec<(String, u64)> {
    let number = |line: &&str| {
        let code = line.split_once("; ").unwrap().0.trim().trim_end_matches(',');
        let (name, number) = code.rsplit_once(": ").unwrap();
        (name.trim_matches('"').to_owned(), number.parse().unwrap())
    };
    block(name, "&(").iter().map(number).collect()
}

#[test]
fn every_code_has_the_number_of_the_contract() {
    same_codes!(
        "study-status" is Status, "intended-use" is IntendedUse,
        "clock-quality" is ClockQuality, "task" is Task, "precision" is Precision,
        "input-role" is InputRole, "completion-rule" is CompletionRule, "sex" is Sex,
        "ascites" is Ascites, "encephalopathy" is Encephalopathy, "pvtt" is Pvtt,
        "criterion" is Criterion, "met" is Met, "albi-grade" is AlbiGrade,
        "child-pugh-class" is ChildPughClass, "treatment" is Treatment, "source" is Source,
        "provenance" is Provenance, "risk-group" is RiskGroup,
        "recommendation-code" is RecommendationCode, "wording" is Wording,
        "stage-code" is StageCode, "device-state" is DeviceState, "gate-code" is GateCode,
        "reason-code" is ReasonCode, "hepatic-vein" is HepaticVein, "lobes" is Lobes,
        "portal-flow" is PortalFlow, "side" is Side, "clinical-field" is ClinicalField,
        "staging-system" is StagingSystem, "stage" is Stage,
        "contraindication" is Contraindication, "dose-item" is DoseItem,
        "clinical-finding" is ClinicalFinding,
    );
}

#[test]
fn the_largest_draft_fits_a_frame_and_survives_it() {
    use super::wire::{Draft, MAX_DRAFT};
    let whole = samples::largest();
    let draft = Draft {
        status: whole.status,
        reasons: whole.reasons,
        models: whole.models,
        engine: whole.engine,
        pmn: whole.pmn,
        lesions: whole.lesions,
        clinical: whole.clinical,
        nomograms: whole.nomograms,
        recommendation: whole.recommendation,
        gate: whole.gate,
        timings_ms: whole.timings_ms,
    };
    let bytes = draft.encode().unwrap();
    assert!(bytes.len() <= MAX_DRAFT);
    assert_eq!(Draft::decode(&bytes), Ok(draft));
    assert!(Draft::decode(&bytes[1..]).is_err());
    let mut contradicting = samples::scored_draft();
    contradicting.pmn = None;
    assert!(Draft::decode(&contradicting.encode().unwrap()).is_err());
}
