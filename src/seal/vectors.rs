//! The test vectors shared with `scripts/verify.py`: messages with the verdict every verifier
//! must reach. They are made here, from samples and by breaking one thing at a time, and stored
//! in `tests/vectors/messages.json`; `UPDATE_GOLDEN=1` rewrites the file.

use serde::Serialize;
use serde_json::{Value, json};

use super::cbor;
use super::cose::{Ed25519Signer, MessageType, Signer, key_id, sha256};
use super::trust::{Role, TrustStore, TrustedKey};
use super::verify::{Address, Refusal, verify};
use super::wire::atoms::{List, Octets};
use super::wire::codes::{IntendedUse, Met, RecommendationCode, RiskGroup, Status, Wording};
use super::wire::reason::{Reason, ReasonCode};
use super::wire::{
    AckMessage, CheckpointMessage, ClinicalFinding, MAX_MESSAGE, Nomogram, Recommendation,
    ResendMessage, ResultMessage, Slug, Source, Stage, StatusMessage, samples,
};
use crate::units::Millis;

const STORED: &str = include_str!("../../tests/vectors/messages.json");

/// Seeds of the keys: box-1, a consumer, box-2 whose key ended, a key nobody trusts.
const DEVICE: u8 = 1;
const CONSUMER: u8 = 2;
const ENDED: u8 = 3;
const STRANGER: u8 = 4;

#[test]
fn every_vector_gets_its_verdict() {
    let stored: Value = serde_json::from_str(STORED).unwrap();
    let trust = TrustStore::parse(stored["trust"].as_str().unwrap()).unwrap();
    let vectors = stored["vectors"].as_array().unwrap();
    for vector in vectors {
        let (verdict, message) = judge(vector, &trust);
        assert_eq!(verdict, vector["verdict"].as_str().unwrap(), "{}", vector["name"]);
        if verdict == "ok" {
            assert_eq!(message, vector["message"], "{}", vector["name"]);
        }
    }
    let refused = vectors.iter().filter(|vector| vector["verdict"] != "ok").count();
    assert!(refused >= 30 && vectors.len() - refused >= 6);
}

#[test]
fn the_stored_vectors_are_the_ones_made_here() {
    let made = serde_json::to_string_pretty(&make()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/messages.json");
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert!(made == STORED, "tests/vectors/messages.json is not what this test makes");
}

fn judge(vector: &Value, trust: &TrustStore) -> (&'static str, Value) {
    let mut bytes = unhex(vector["envelope"].as_str().unwrap());
    if let Some(length) = vector["pad_to"].as_u64() {
        bytes.resize(length as usize, 0);
    }
    let topic = vector["topic"].as_array().map(|parts| Address {
        site: Slug::new(parts[0].as_str().unwrap()).unwrap(),
        device: Slug::new(parts[1].as_str().unwrap()).unwrap(),
    });
    fn told<T: Serialize>(
        verdict: Result<super::verify::Verified<T>, Refusal>,
    ) -> (&'static str, Value) {
        match verdict {
            Ok(verified) => ("ok", serde_json::to_value(verified.message).unwrap()),
            Err(refusal) => (refusal.name(), Value::Null),
        }
    }
    let topic = topic.as_ref();
    match vector["kind"].as_str().unwrap() {
        "result" => told(verify::<ResultMessage>(&bytes, trust, topic)),
        "status" => told(verify::<StatusMessage>(&bytes, trust, topic)),
        "checkpoint" => told(verify::<CheckpointMessage>(&bytes, trust, topic)),
        "ack" => told(verify::<AckMessage>(&bytes, trust, topic)),
        "resend" => told(verify::<ResendMessage>(&bytes, trust, topic)),
        other => panic!("unknown kind {other}"),
    }
}

fn make() -> Value {
    let mut vectors = valid();
    vectors.extend(bad_envelopes());
    vectors.extend(bad_signers());
    vectors.extend(bad_payloads());
    vectors.extend(contradictions());
    json!({ "trust": trust().to_toml(), "vectors": vectors })
}

fn trust() -> TrustStore {
    let stamp = samples::stamp();
    let public = |seed| signer(seed).public_key();
    let mut store = TrustStore::default();
    let device = TrustedKey::of_device(stamp.site.clone(), stamp.device, public(DEVICE));
    let box_2 = Slug::new("box-2").unwrap();
    let ended = TrustedKey {
        not_after: Some(Millis(1_750_000_000_000)),
        ..TrustedKey::of_device(stamp.site, box_2, public(ENDED))
    };
    let consumer = public(CONSUMER);
    let consumer = TrustedKey {
        role: Role::Consumer,
        device: None,
        ..TrustedKey { kid: key_id(&consumer), public_key: consumer, ..device.clone() }
    };
    for key in [device, ended, consumer] {
        store.add(key).unwrap();
    }
    store
}

fn signer(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[seed; 32]).unwrap()
}

fn valid() -> Vec<Value> {
    let good = |name, kind: MessageType, seed, payload: Vec<u8>, message: Value| {
        let mut vector = of(name, "ok", &Parts { kind, seed, payload, ..Parts::good() });
        vector["message"] = message;
        vector
    };
    let result = |name, message: ResultMessage| {
        good(name, MessageType::Result, DEVICE, encode(&message), view(&message))
    };
    let (status, ack, resend) = (samples::status(), samples::ack(), samples::resend());
    let checkpoint = samples::checkpoint();
    let mut minus_19 = of("algorithm -19", "ok", &Parts { algorithm: -19, ..Parts::good() });
    minus_19["message"] = view(&samples::scored());
    let wrong_sums = |name, change: fn(&mut Nomogram)| {
        let mut message = samples::scored();
        let mut nomograms = message.nomograms.to_vec();
        nomograms.iter_mut().for_each(change);
        message.nomograms = List::new(nomograms).unwrap();
        if message.nomograms[0].risk_group == RiskGroup::Low {
            message.recommendation = Recommendation {
                code: RecommendationCode::NoSignificantDifferenceShown,
                wording: Wording::NoDifference,
            };
        }
        let mut vector = result(name, message);
        vector["wrong_sums"] = json!(true);
        vector
    };
    vec![
        result("scored study", samples::scored()),
        result("abstained study", samples::abstained()),
        result("failed study, first of its epoch", samples::failed()),
        good("status", MessageType::Status, DEVICE, encode(&status), view(&status)),
        good("checkpoint", MessageType::Checkpoint, DEVICE, encode(&checkpoint), view(&checkpoint)),
        good("ack", MessageType::Ack, CONSUMER, encode(&ack), view(&ack)),
        good("resend", MessageType::Resend, CONSUMER, encode(&resend), view(&resend)),
        minus_19,
        wrong_sums("a linear predictor no patient has", |n| n.lp_e4 = Some(i64::MAX)),
        // 1.7 is exactly one band above 1.6: high, and rounding reaches indeterminate but never low.
        wrong_sums("a risk group that no rounding reaches", |n| {
            (n.cutoff_e4, n.risk_group) = (Some(16_000), RiskGroup::Low);
        }),
    ]
}

fn bad_envelopes() -> Vec<Value> {
    let good = Parts::good().envelope();
    let signature_at = good.len() - 66;
    let headers = |name, protected: Vec<u8>| {
        of(name, "envelope", &Parts { protected: Some(protected), ..Parts::good() })
    };
    let (alg, kid) = (vec![0x01, 0x27], kid_entry(DEVICE));
    let typed = content_type_entry(MessageType::Result.content_type());
    let raw = |name, bytes: Vec<u8>| plain(name, "envelope", &bytes);
    let payload_at = good.iter().position(|byte| *byte == 0xa0).unwrap() + 1;
    let payload = Parts::good().payload;
    let length = (payload.len() as u16).to_be_bytes();
    let mut too_large = plain("one byte over the limit", "too_large", &good);
    too_large["pad_to"] = json!(MAX_MESSAGE + 1);
    vec![
        too_large,
        raw("nothing", vec![]),
        raw("no tag", good[1..].to_vec()),
        raw("tag of COSE_Sign", splice(&good, 0..1, &[0xd8, 98])),
        raw("tag one byte longer than needed", splice(&good, 0..1, &[0xd8, 18])),
        raw("tagged twice", [&[0xd2], &good[..]].concat()),
        raw("self-described", [&[0xd9, 0xd9, 0xf7], &good[..]].concat()),
        raw("array of three", splice(&splice(&good, signature_at..good.len(), &[]), 1..2, &[0x83])),
        raw("array of five", splice(&[&good[..], &[0xf6]].concat(), 1..2, &[0x85])),
        raw("array of indefinite length", splice(&[&good[..], &[0xff]].concat(), 1..2, &[0x9f])),
        raw("a trailing byte", [&good[..], &[0x00]].concat()),
        raw("cut short", good[..good.len() - 1].to_vec()),
        raw("signature of 63 bytes", {
            let short = splice(&good, signature_at + 1..signature_at + 2, &[63]);
            short[..short.len() - 1].to_vec()
        }),
        raw("payload length longer than needed", {
            splice(&good, payload_at..payload_at + 3, &[0x5a, 0, 0, length[0], length[1]])
        }),
        raw("payload of indefinite length", {
            let end = payload_at + 3 + payload.len();
            splice(&splice(&good, end..end, &[0xff]), payload_at..payload_at, &[0x5f])
        }),
        raw("payload null", splice(&good, payload_at..signature_at, &[0xf6])),
        of(
            "key id in the unprotected map",
            "envelope",
            &Parts { unprotected: [&[0xa1], &kid[..]].concat(), ..Parts::good() },
        ),
        of(
            "unprotected map of indefinite length",
            "envelope",
            &Parts { unprotected: vec![0xbf, 0xff], ..Parts::good() },
        ),
        headers("protected keys in another order", cat(&[&[0xa3], &kid, &typed, &alg])),
        headers("a header too many", cat(&[&[0xa4], &alg, &typed, &kid, &[0x05, 0x41, 0x00]])),
        headers("a critical header", cat(&[&[0xa4], &alg, &[0x02, 0x81, 0x04], &typed, &kid])),
        headers("algorithm ES256", cat(&[&[0xa3], &[0x01, 0x26], &typed, &kid])),
        headers("algorithm as text", cat(&[&[0xa3], &[0x01, 0x65], b"EdDSA", &typed, &kid])),
        headers("no algorithm", cat(&[&[0xa2], &typed, &kid])),
        headers("no content type", cat(&[&[0xa2], &alg, &kid])),
        headers("content type as number", cat(&[&[0xa3], &alg, &[0x03, 0x00], &kid])),
        headers("no key id", cat(&[&[0xa2], &alg, &typed])),
        headers("key id of 15 bytes", {
            cat(&[&[0xa3], &alg, &typed, &[0x04, 0x4f], &kid[2..17]])
        }),
        headers("protected map of indefinite length", cat(&[&[0xbf], &alg, &typed, &kid, &[0xff]])),
        headers("no protected header at all", vec![]),
    ]
}

fn bad_signers() -> Vec<Value> {
    let good = Parts::good().envelope();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut payload = good.clone();
    let place = find(&payload, b"box-1");
    payload[place + 4] = b'2';
    let mut elsewhere = plain("topic of another device", "topic", &good);
    elsewhere["topic"] = json!(["demo-site", "box-2"]);
    let with = |name, verdict, change: fn(&mut ResultMessage), seed| {
        let mut message = samples::scored();
        change(&mut message);
        of(name, verdict, &Parts { seed, payload: encode(&message), ..Parts::good() })
    };
    vec![
        elsewhere,
        plain("a bit of the signature changed", "signature", &flipped),
        plain("the device changed after signing", "signature", &payload),
        of("key id of another device", "signature", &Parts { claimed: ENDED, ..Parts::good() }),
        of(
            "a key nobody trusts",
            "unknown_key",
            &Parts { seed: STRANGER, claimed: STRANGER, ..Parts::good() },
        ),
        of(
            "a consumer signs a result",
            "wrong_role",
            &Parts { seed: CONSUMER, claimed: CONSUMER, ..Parts::good() },
        ),
        of(
            "a status sent as a result",
            "content_type",
            &Parts {
                content_type: Some("application/vnd.hcc-edge.status.v1+cbor"),
                ..Parts::good()
            },
        ),
        of(
            "an unknown content type",
            "content_type",
            &Parts {
                content_type: Some("application/vnd.hcc-edge.result.v2+cbor"),
                ..Parts::good()
            },
        ),
        with(
            "one device speaks for another",
            "key_not_bound",
            |m| m.device = Slug::new("box-2").unwrap(),
            DEVICE,
        ),
        with(
            "a device speaks for another site",
            "key_not_bound",
            |m| m.site = Slug::new("elsewhere").unwrap(),
            DEVICE,
        ),
        with(
            "signed after the key's end",
            "key_not_valid",
            |m| m.device = Slug::new("box-2").unwrap(),
            ENDED,
        ),
    ]
}

fn bad_payloads() -> Vec<Value> {
    let good = Parts::good().payload;
    let bad = |name, payload: Vec<u8>| of(name, "payload", &Parts { payload, ..Parts::good() });
    let seq = find(&good, &[0x04, 0x02, 0x05, 0x58]);
    let device = find(&good, b"\x65box-1");
    let status = find(&good, &[0x09, 0x00, 0x0a, 0x80]);
    let end = good.len();
    let body = &good[2..];
    let lesions = find(&good, &[0x03, 0x82, 0xa3]);
    let lesion_end = find(&good, &[0x14, 0xac]);
    let lesion = good[lesions + 2..lesions + 2 + (lesion_end - lesions - 2) / 2].to_vec();
    vec![
        bad("payload empty", vec![]),
        bad("payload is an array", splice(&good, 0..2, &[0x98, 0x1b])),
        bad("map of indefinite length", cat(&[&[0xbf], body, &[0xff]])),
        bad("map header longer than needed", splice(&good, 0..2, &[0xb9, 0x00, 0x1b])),
        bad("integer longer than needed", splice(&good, seq + 1..seq + 2, &[0x18, 0x02])),
        bad("a float", splice(&good, seq + 1..seq + 2, &[0xf9, 0x40, 0x00])),
        bad("a negative number where none may be", splice(&good, seq + 1..seq + 2, &[0x20])),
        bad("a tagged number", splice(&good, seq + 1..seq + 2, &[0xc1, 0x02])),
        bad("a bignum", splice(&good, seq + 1..seq + 2, &[0xc2, 0x41, 0x02])),
        bad("text for a number", splice(&good, seq + 1..seq + 2, &[0x61, 0x32])),
        bad("an unknown key", cat(&[&[0xb8, 0x1c], body, &[0x18, 0x1b, 0x00]])),
        bad("a key left out", cat(&[&[0xb8, 0x1a], &body[..body.len() - 3]])),
        bad("a key twice", cat(&[&[0xb8, 0x1c], &body[..2], body])),
        bad("keys in another order", cat(&[&[0xb8, 0x1b], &body[2..], &body[..2]])),
        bad("a key by its name", splice(&good, 2..3, &[0x61, b'v'])),
        bad("undefined for null", splice(&good, end - 1..end, &[0xf7])),
        bad("a byte after the payload", cat(&[&good, &[0x00]])),
        bad("payload cut short", good[..end - 1].to_vec()),
        bad("an unknown status", splice(&good, status + 1..status + 2, &[0x09])),
        bad("device with a capital", splice(&good, device + 1..device + 2, b"B")),
        bad("device empty", splice(&good, device..device + 6, &[0x60])),
        bad("device of 33 characters", {
            splice(&good, device..device + 6, &cat(&[&[0x78, 33], &[b'b'; 33]]))
        }),
        bad("device not UTF-8", splice(&good, device + 1..device + 2, &[0xff])),
        bad("text of indefinite length", {
            splice(&good, device..device + 6, b"\x7f\x65box-1\xff")
        }),
        bad("a control character in a text", {
            let software = find(&good, b"hcc-edge 0.1.0");
            splice(&good, software + 8..software + 9, b"\n")
        }),
        bad("epoch of 7 bytes", {
            let epoch = find(&good, &[0x03, 0x48, 1, 2, 3]);
            splice(&good, epoch + 1..epoch + 3, &[0x47])
        }),
        bad("33 lesions listed", {
            let list = cat(&[&[0x98, 33], &lesion.repeat(33)]);
            splice(&good, lesions + 1..lesion_end, &list)
        }),
        bad("a boolean as a number", {
            let history = find(&good, &[0x18, 0x19, 0xf4]);
            splice(&good, history + 2..history + 3, &[0x00])
        }),
    ]
}

fn contradictions() -> Vec<Value> {
    let bad = |name, change: fn(&mut ResultMessage)| {
        let mut message = samples::scored();
        change(&mut message);
        of(name, "inconsistent", &Parts { payload: encode(&message), ..Parts::good() })
    };
    let mut vectors = vec![
        bad("another version", |m| m.v = 2),
        bad("seq 0", |m| m.seq = 0),
        bad("later message without a predecessor", |m| m.prev = Octets::ZERO),
        bad("first message with a predecessor", |m| m.seq = 1),
        bad("clinical use of demonstration packages", |m| m.intended_use = IntendedUse::Clinical),
        bad("ok with a reason", |m| {
            m.reasons = List::new(vec![Reason::bare(ReasonCode::NoLiver)]).unwrap();
        }),
        bad("ok without a score", |m| m.pmn = None),
        bad("abstained without a reason and with a score", |m| m.status = Status::Abstained),
        bad("a probability above 1", |m| m.pmn.as_mut().unwrap().score_e4 = 10_001),
        bad("more lesions listed than counted", |m| m.lesions.as_mut().unwrap().count = 1),
        bad("a score without its value", |m| {
            let mut nomograms = m.nomograms.to_vec();
            nomograms[0].lp_e4 = None;
            m.nomograms = List::new(nomograms).unwrap();
        }),
    ];
    vectors.push(bad("a stage of another staging", |m| {
        let clinical = m.clinical.as_mut().unwrap();
        let mut stagings = clinical.stagings.to_vec();
        stagings[0].stage = Some(Stage::BclcB);
        clinical.stagings = List::new(stagings).unwrap();
    }));
    vectors.push(bad("a diameter in use without a source", |m| {
        m.clinical.as_mut().unwrap().burden.diameter_source = Source::Missing;
    }));
    vectors.push(bad("a risk group without a cut-off", |m| {
        let mut nomograms = m.nomograms.to_vec();
        nomograms[0].cutoff_e4 = None;
        m.nomograms = List::new(nomograms).unwrap();
    }));
    vectors.push(bad("HAIC favoured although one nomogram says low risk", |m| {
        let mut nomograms = m.nomograms.to_vec();
        nomograms[0].risk_group = RiskGroup::Low;
        m.nomograms = List::new(nomograms).unwrap();
    }));
    vectors.push(bad("HAIC favoured beside a contradiction", |m| {
        let findings = vec![ClinicalFinding::LesionCountDiffers];
        m.clinical.as_mut().unwrap().findings = List::new(findings).unwrap();
    }));
    vectors.push(bad("a score although a criterion is not known", |m| {
        let clinical = m.clinical.as_mut().unwrap();
        let mut criteria = clinical.eligibility.to_vec();
        criteria[0].met = Met::Unknown;
        clinical.eligibility = List::new(criteria).unwrap();
    }));
    let resend = ResendMessage { from: 9, to: 8, ..samples::resend() };
    let (kind, seed, payload) = (MessageType::Resend, CONSUMER, encode(&resend));
    vectors.push(of(
        "an empty range",
        "inconsistent",
        &Parts { kind, seed, payload, claimed: CONSUMER, ..Parts::good() },
    ));
    vectors
}

/// An envelope put together by hand, so that each part can be wrong by itself. The signature is
/// right for what it covers.
struct Parts {
    kind: MessageType,
    seed: u8,
    claimed: u8,
    algorithm: i8,
    content_type: Option<&'static str>,
    protected: Option<Vec<u8>>,
    unprotected: Vec<u8>,
    payload: Vec<u8>,
}

impl Parts {
    fn good() -> Self {
        Self {
            kind: MessageType::Result,
            seed: DEVICE,
            claimed: 0,
            algorithm: -8,
            content_type: None,
            protected: None,
            unprotected: vec![0xa0],
            payload: encode(&samples::scored()),
        }
    }

    fn envelope(&self) -> Vec<u8> {
        let claimed = if self.claimed == 0 { self.seed } else { self.claimed };
        let typed = content_type_entry(self.content_type.unwrap_or(self.kind.content_type()));
        let algorithm = [0x01, (0x20 + (-1 - self.algorithm)) as u8];
        let usual = cat(&[&[0xa3], &algorithm, &typed, &kid_entry(claimed)]);
        let protected = bytes(self.protected.as_ref().unwrap_or(&usual));
        let payload = bytes(&self.payload);
        let signed = cat(&[b"\x84\x6aSignature1", &protected, &[0x40], &payload]);
        let signature = bytes(&signer(self.seed).sign(&signed).unwrap());
        cat(&[&[0xd2, 0x84], &protected, &self.unprotected, &payload, &signature])
    }
}

fn of(name: &str, verdict: &str, parts: &Parts) -> Value {
    let mut vector = plain(name, verdict, &parts.envelope());
    vector["kind"] = json!(match parts.kind {
        MessageType::Result => "result",
        MessageType::Status => "status",
        MessageType::Ack => "ack",
        MessageType::Resend => "resend",
        MessageType::Checkpoint => "checkpoint",
        MessageType::Manifest => "manifest",
    });
    vector["seed"] = json!(hex(&[parts.seed; 32]));
    if verdict == "ok" {
        vector["payload"] = json!(hex(&parts.payload));
    }
    vector
}

fn plain(name: &str, verdict: &str, envelope: &[u8]) -> Value {
    json!({
        "name": name,
        "kind": "result",
        "envelope": hex(envelope),
        "sha256": sha256(envelope).to_string(),
        "verdict": verdict,
    })
}

fn content_type_entry(text: &str) -> Vec<u8> {
    cat(&[&[0x03, 0x78, text.len() as u8], text.as_bytes()])
}

fn kid_entry(seed: u8) -> Vec<u8> {
    cat(&[&[0x04, 0x50], &key_id(&signer(seed).public_key()).0])
}

fn bytes(content: &[u8]) -> Vec<u8> {
    cbor::encode(&serde_bytes::Bytes::new(content), usize::MAX).unwrap()
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    cbor::encode(message, MAX_MESSAGE).unwrap()
}

fn view<T: Serialize>(message: &T) -> Value {
    serde_json::to_value(message).unwrap()
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn splice(bytes: &[u8], range: std::ops::Range<usize>, with: &[u8]) -> Vec<u8> {
    cat(&[&bytes[..range.start], with, &bytes[range.end..]])
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("sample changed")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
