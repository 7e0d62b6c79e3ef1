//! The JSON view of a result, for dashboards that cannot read CBOR: the same values under their
//! names, sentences for people, and the signed bytes in base64. It is derived from the signed
//! bytes and never the other way round; `view.schema.json` beside this file describes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::verify::{Refusal, decode_unverified};
use super::wire::codes::{IntendedUse, Status};
use super::wire::{Clinical, Contraindication, ResultMessage};

/// The value of the view's first field.
pub const VIEW_SCHEMA: &str = "hcc-edge.result.view.v1";

/// The JSON Schema of the view.
pub const VIEW_SCHEMA_JSON: &str = include_str!("view.schema.json");

/// The largest view that is read, in bytes.
pub const MAX_VIEW: usize = 128 * 1024;

/// What a dashboard gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// [`VIEW_SCHEMA`].
    pub schema: &'static str,
    /// What the result may be used for, as a sentence; to be shown at all times.
    pub notice: &'static str,
    /// One line: what came out.
    pub headline: String,
    /// Reasons and what to do about them, findings, the recommendation in its exact words, and the
    /// absolute contraindications to TACE that are present.
    pub sentences: Vec<String>,
    /// Every signed value under its name; codes by name, digests in hexadecimal.
    pub result: ResultMessage,
    /// The signed bytes in base64: what counts.
    pub cose: String,
}

/// Why a view cannot be made or does not hold.
#[derive(Debug, Error)]
pub enum ViewError {
    /// The signed bytes are not a result.
    #[error("the signed bytes of the view are not a result")]
    Refused(#[from] Refusal),
    /// Not a JSON view, or too large.
    #[error("this is not a JSON view of a result ({0})")]
    NotAView(String),
    /// The readable part says something else than the signed bytes.
    #[error("the view differs from the signed bytes it carries, at \"{0}\"")]
    Differs(String),
}

impl View {
    /// Derives the view from signed bytes. It checks their form, not their signature.
    pub fn of(cose: &[u8]) -> Result<Self, Refusal> {
        let result: ResultMessage = decode_unverified(cose)?;
        Ok(Self {
            schema: VIEW_SCHEMA,
            notice: notice(result.intended_use),
            headline: headline(&result),
            sentences: sentences(&result),
            cose: STANDARD.encode(cose),
            result,
        })
    }

    /// The view as one line of JSON.
    pub fn to_json(&self) -> Result<String, ViewError> {
        serde_json::to_string(self).map_err(|error| ViewError::NotAView(error.to_string()))
    }
}

/// Takes the signed bytes out of a view and checks that the readable part says the same. The
/// signature is still to be verified.
pub fn signed_bytes(json: &[u8]) -> Result<Vec<u8>, ViewError> {
    if json.len() > MAX_VIEW {
        return Err(ViewError::NotAView(format!("{} bytes, at most {MAX_VIEW}", json.len())));
    }
    let not_a_view = |error: &dyn std::fmt::Display| ViewError::NotAView(error.to_string());
    let found: Value = serde_json::from_slice(json).map_err(|error| not_a_view(&error))?;
    let text = found.get("cose").and_then(Value::as_str);
    let text = text.ok_or_else(|| not_a_view(&"it has no \"cose\""))?;
    let cose = STANDARD.decode(text).map_err(|error| not_a_view(&error))?;
    let derived = serde_json::to_value(View::of(&cose)?).map_err(|error| not_a_view(&error))?;
    match difference(&derived, &found) {
        None => Ok(cose),
        Some(place) => Err(ViewError::Differs(place)),
    }
}

/// Path of the first place where two JSON values differ.
fn difference(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| match (a.get(name), b.get(name)) {
                (Some(x), Some(y)) => difference(x, y).map(|place| format!("{name}.{place}")),
                _ => Some(name.clone()),
            })
        }
        _ if left == right => None,
        _ => Some(String::from("value")),
    }
}

fn notice(intended_use: IntendedUse) -> &'static str {
    match intended_use {
        IntendedUse::Demonstration => IntendedUse::Demonstration.sentence(),
        IntendedUse::Clinical => "Preliminary, for the tumour board.",
    }
}

fn headline(result: &ResultMessage) -> String {
    match (result.status, &result.pmn) {
        (Status::Ok, Some(pmn)) => {
            let class = if pmn.proliferative { "proliferative" } else { "non-proliferative" };
            let (whole, part) = (pmn.score_e4 / 10_000, pmn.score_e4 % 10_000);
            format!(
                "Risk score {whole}.{part:04} ({class}). {}",
                result.recommendation.code.sentence()
            )
        }
        (status, _) => status.sentence().to_owned(),
    }
}

/// What a person should read, most important first.
pub fn sentences(result: &ResultMessage) -> Vec<String> {
    let reasons = result.reasons.iter().map(|reason| match &reason.detail {
        Some(detail) => format!("{} ({detail})", reason.code.sentence()),
        None => reason.code.sentence().to_owned(),
    });
    let clinical = result.clinical.iter();
    let findings = clinical.flat_map(|clinical| clinical.findings.iter());
    let findings = findings.map(|finding| finding.sentence().to_owned());
    let against = result.clinical.as_ref().and_then(against_tace);
    let recommendation = result.recommendation.wording.sentence().to_owned();
    reasons.chain(findings).chain([recommendation]).chain(against).collect()
}

/// The absolute contraindications to TACE that are present, beside advice they have no part in.
fn against_tace(clinical: &Clinical) -> Option<String> {
    let present: Vec<_> =
        clinical.absolute_contraindications().map(Contraindication::bare).collect();
    (!present.is_empty()).then(|| {
        format!(
            "{} published absolute contraindication(s) to TACE are present: {}; not part of the \
             recommendation.",
            present.len(),
            present.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cbor;
    use crate::seal::cose::{Ed25519Signer, MessageType, seal};
    use crate::seal::wire::{ContraindicationCheck, List, MAX_MESSAGE, Met, samples};

    fn sealed(message: &ResultMessage) -> Vec<u8> {
        let payload = cbor::encode(message, MAX_MESSAGE).unwrap();
        seal(MessageType::Result, &payload, &Ed25519Signer::from_seed(&[7; 32]).unwrap()).unwrap()
    }

    fn every_sample() -> Vec<ResultMessage> {
        vec![samples::scored(), samples::abstained(), samples::failed(), samples::largest()]
    }

    #[test]
    fn a_view_leads_back_to_its_bytes() {
        for message in every_sample() {
            let cose = sealed(&message);
            let json = View::of(&cose).unwrap().to_json().unwrap();
            assert!(json.len() <= MAX_VIEW);
            assert_eq!(signed_bytes(json.as_bytes()).unwrap(), cose);
        }
    }

    #[test]
    fn a_view_that_says_something_else_is_refused() {
        let json = View::of(&sealed(&samples::scored())).unwrap().to_json().unwrap();
        for (from, to) in [
            ("\"score_e4\":7312", "\"score_e4\":1312"),
            ("\"haic_favoured\"", "\"discuss\""),
            ("Demonstration, not", "Released"),
            ("\"schema\":", "\"extra\":1,\"schema\":"),
            ("\"history\":false,", ""),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            let refused = signed_bytes(changed.as_bytes());
            assert!(matches!(refused, Err(ViewError::Differs(_))), "{from}");
        }
        assert!(signed_bytes(b"{}").is_err() && signed_bytes(b"").is_err());
        assert!(signed_bytes(&vec![b' '; MAX_VIEW + 1]).is_err());
    }

    #[test]
    fn the_words_say_what_happened() {
        let view = View::of(&sealed(&samples::scored())).unwrap();
        assert_eq!(view.headline, "Risk score 0.7312 (proliferative). HAIC favoured.");
        assert_eq!(view.notice, "Demonstration, not for clinical use.");
        let view = View::of(&sealed(&samples::abstained())).unwrap();
        assert!(view.sentences[0].starts_with("There is no arterial phase: send"));
        assert!(view.sentences[1].ends_with("(age_years not supplied)"));
        assert!(view.sentences[2].starts_with("The supplied lesion count differs"));
        assert_eq!(view.sentences.len(), 4);
    }

    /// However many there are: one sentence, also where there is no recommendation.
    #[test]
    fn an_absolute_contraindication_to_tace_stands_beside_the_advice() {
        let with = |mut message: ResultMessage, items: &[Contraindication]| {
            let clinical = message.clinical.as_mut().unwrap();
            let check = |item: &Contraindication| ContraindicationCheck {
                item: *item,
                present: if items.contains(item) { Met::Yes } else { Met::No },
            };
            clinical.tace = List::new(Contraindication::ALL.iter().map(check).collect()).unwrap();
            sentences(&message)
        };
        use Contraindication::{LargeTumour, PortalFlow, RefractoryAscites, RenalFailure};
        for message in [samples::scored(), samples::abstained()] {
            let without = with(message.clone(), &[RenalFailure, LargeTumour]);
            let said = with(message, &[RefractoryAscites, PortalFlow, RenalFailure]);
            assert_eq!(said[..said.len() - 1], without[..]);
            assert_eq!(
                said[said.len() - 1],
                "2 published absolute contraindication(s) to TACE are present: refractory ascites; \
                 thrombus in the main portal trunk (Vp4) or hepatofugal flow; not part of the \
                 recommendation."
            );
        }
    }

    #[test]
    fn the_schema_describes_the_view_and_nothing_else() {
        let schema: Value = serde_json::from_str(VIEW_SCHEMA_JSON).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for message in every_sample() {
            let view = serde_json::to_value(View::of(&sealed(&message)).unwrap()).unwrap();
            let complaint = schema.iter_errors(&view).next().map(|error| error.to_string());
            assert_eq!(complaint, None);
        }
        let good = serde_json::to_value(View::of(&sealed(&samples::scored())).unwrap()).unwrap();
        for pointer in
            ["", "/result", "/result/pmn", "/result/nomograms/0/terms/0", "/result/lesions"]
        {
            let mut extra = good.clone();
            extra.pointer_mut(pointer).unwrap()["surprise"] = 1.into();
            assert!(!schema.is_valid(&extra), "an unknown field in {pointer}");
        }
        for (pointer, value) in [
            ("/result/pmn/score_e4", Value::from(10_001)),
            ("/result/status", Value::from(0)),
            ("/result/epoch", Value::from("0102")),
            ("/result/device", Value::from("Box 1")),
            ("/result/seq", Value::from(0)),
            ("/result/lesions/list/0/centre_um", Value::from(vec![1, 2])),
        ] {
            let mut wrong = good.clone();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert!(!schema.is_valid(&wrong), "{pointer}");
        }
    }
}
