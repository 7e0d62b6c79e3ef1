//! `hcc-edge subscribe` against a real broker: what is signed and new is shown, what is not is
//! named, and a restart remembers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hcc_edge::cli::subscribe::{SubscribeArgs, SubscribeError, run};
use hcc_edge::host::keys;
use hcc_edge::seal::cbor;
use hcc_edge::seal::cose::{Ed25519Signer, MessageType, Signer, seal, sha256};
use hcc_edge::seal::trust::{TrustStore, TrustedKey};
use hcc_edge::seal::wire::atoms::Octets;
use hcc_edge::seal::wire::codes::{ClockQuality, CompletionRule, Status};
use hcc_edge::seal::wire::parts::Inputs;
use hcc_edge::seal::wire::reason::{Reason, ReasonCode};
use hcc_edge::seal::wire::{Digest, Draft, List, MAX_MESSAGE, ResultMessage, Slug, Stamp, Text};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::{Mosquitto, free_port};
use crate::edge::command;

/// A device that signs results of empty studies, each chained to the one before.
struct Device {
    signer: Ed25519Signer,
    seq: u64,
    prev: Digest,
}

impl Device {
    fn new(seed: u8) -> Self {
        let signer = Ed25519Signer::from_seed(&[seed; 32]).unwrap();
        Self { signer, seq: 0, prev: Digest::ZERO }
    }

    fn trust_file(&self, folder: &Path) -> PathBuf {
        let slug = |text| Slug::new(text).unwrap();
        let mut store = TrustStore::default();
        let key = TrustedKey::of_device(slug("demo"), slug("box-1"), self.signer.public_key());
        store.add(key).unwrap();
        let path = folder.join("trust.toml");
        std::fs::write(&path, store.to_toml()).unwrap();
        path
    }

    fn next(&mut self) -> Vec<u8> {
        let slug = |text| Slug::new(text).unwrap();
        self.seq += 1;
        let stamp = Stamp {
            site: slug("demo"),
            device: slug("box-1"),
            epoch: Octets([1; 8]),
            seq: self.seq,
            prev: self.prev,
            result_id: Octets([self.seq as u8; 16]),
            signed_at_ms: 1_760_000_000_000 + self.seq,
            clock_quality: ClockQuality::Ntp,
            input_digest: Inputs { rule: CompletionRule::DoneMarker, series: List::empty() },
            subject: None,
            study_digest: Octets([self.seq as u8; 32]),
            software: Text::new("hcc-edge test").unwrap(),
            history: false,
            supersedes: None,
        };
        let reasons = vec![Reason::bare(ReasonCode::EmptyStudy)];
        let draft = Draft::refused(Status::Failed, reasons).unwrap();
        let payload = cbor::encode(&ResultMessage::assemble(stamp, draft), MAX_MESSAGE).unwrap();
        let cose = seal(MessageType::Result, &payload, &self.signer).unwrap();
        self.prev = sha256(&cose);
        cose
    }
}

/// What each published message is and where it goes.
type Messages = Vec<(&'static str, Vec<u8>)>;

const RESULT: &str = "hcc/v1/demo/box-1/result";

/// Runs `subscribe` while a plain client publishes the messages in order.
fn subscribe(
    port: u16,
    args: SubscribeArgs,
    messages: Messages,
) -> (Result<(), SubscribeError>, Vec<Value>) {
    let publisher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(publish(port, messages));
    });
    let mut out = Vec::new();
    let ended = run(&args, &mut out);
    publisher.join().unwrap();
    let text = String::from_utf8(out).unwrap();
    (ended, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Publishes one message until somebody is subscribed (reason 0x00), then the next.
async fn publish(port: u16, messages: Messages) {
    let mut options = MqttOptions::new("publisher", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut event_loop) = AsyncClient::new(options, 16);
    for (topic, payload) in messages {
        let mut heard = false;
        while !heard {
            client.try_publish(topic, QoS::AtLeastOnce, false, payload.clone()).unwrap();
            heard = loop {
                if let Event::Incoming(Packet::PubAck(ack)) = event_loop.poll().await.unwrap() {
                    break ack.reason == rumqttc::v5::mqttbytes::v5::PubAckReason::Success;
                }
            };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn args(port: u16, trust: PathBuf, folder: &TempDir, count: u64) -> SubscribeArgs {
    SubscribeArgs {
        broker: format!("mqtt://127.0.0.1:{port}"),
        trust,
        state: Some(folder.path().join("state")),
        site: None,
        device: None,
        count: Some(count),
        timeout: Some(60),
        json: true,
        strict: false,
        consumer_key: None,
        from_start: false,
        client_id: None,
        session_hours: 0,
        username: None,
        password_file: None,
        ca: None,
        cert: None,
        key: None,
    }
}

/// One word per message: the verdict of a result, or "refused", or "alarm".
fn told(lines: &[Value]) -> Vec<&str> {
    let word = |line: &Value| match line["event"].as_str().unwrap() {
        "result" => line["verdict"].as_str().unwrap().to_owned(),
        other => other.to_owned(),
    };
    let words = ["new", "gap", "filled", "duplicate", "too_old", "refused", "alarm"];
    let known = lines.iter().map(word);
    known.filter_map(|found| words.into_iter().find(|word| **word == found)).collect()
}

#[test]
fn verified_results_are_told_from_everything_else_across_a_restart() {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::new(7);
    let trust = device.trust_file(folder.path());
    let signed: Vec<Vec<u8>> = (0..5).map(|_| device.next()).collect();
    let mut changed = signed[1].clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let forged = Device::new(8).next();
    let port = broker.port();

    let (ended, lines) = subscribe(
        port,
        args(port, trust.clone(), &folder, 2),
        vec![
            (RESULT, signed[0].clone()),
            (RESULT, b"no signature at all".to_vec()),
            (RESULT, changed),
            (RESULT, forged),
            ("hcc/v1/demo/box-2/result", signed[1].clone()),
            (RESULT, signed[0].clone()),
            (RESULT, signed[1].clone()),
        ],
    );
    ended.unwrap();
    let seen = ["new", "refused", "refused", "refused", "refused", "duplicate", "new"];
    assert_eq!(told(&lines), seen);
    let reason = |n: usize| lines.iter().filter(|l| l["event"] == "refused").nth(n).unwrap();
    assert!(reason(1)["reason"].as_str().unwrap().contains("signature"));
    assert!(reason(2)["reason"].as_str().unwrap().contains("not in the trust store"));
    assert!(reason(3)["reason"].as_str().unwrap().contains("the topic names another"));

    let (ended, lines) = subscribe(
        port,
        args(port, trust.clone(), &folder, 2),
        vec![(RESULT, signed[1].clone()), (RESULT, signed[4].clone()), (RESULT, signed[2].clone())],
    );
    ended.unwrap();
    assert_eq!(told(&lines), ["duplicate", "gap", "filled"]);
    let gap = lines.iter().find(|line| line["verdict"] == "gap").unwrap();
    assert_eq!(gap["range"], serde_json::json!([3, 4]));
}

#[test]
fn a_forked_history_is_an_alarm_and_stays_one() {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::new(7);
    let trust = device.trust_file(folder.path());
    let signed: Vec<Vec<u8>> = (0..3).map(|_| device.next()).collect();
    let mut clone = Device { seq: 1, prev: Octets([9; 32]), ..device };
    let other = clone.next();
    let strict = |seconds| SubscribeArgs {
        strict: true,
        timeout: Some(seconds),
        ..args(broker.port(), trust.clone(), &folder, 3)
    };
    let messages = [&signed[0], &signed[1], &other, &signed[2]];
    let messages = messages.map(|cose| (RESULT, cose.clone())).to_vec();
    let (ended, lines) = subscribe(broker.port(), strict(5), messages);
    assert_eq!(told(&lines), ["new", "new", "alarm", "refused"]);
    assert_eq!(ended.unwrap_err().exit_code(), 5);
    let alarm = lines.iter().find(|line| line["event"] == "alarm").unwrap();
    let digests = [&signed[1], &other].map(|cose| sha256(cose).to_string());
    let expected = serde_json::json!({
        "event": "alarm", "kind": "fork", "site": "demo", "device": "box-1",
        "epoch": "0101010101010101", "seq": 2, "digests": digests,
    });
    assert_eq!(*alarm, expected);

    let (ended, lines) = subscribe(broker.port(), strict(3), vec![(RESULT, signed[2].clone())]);
    assert_eq!(told(&lines), ["alarm", "refused"], "a restart forgives nothing");
    let refused = lines.iter().find(|line| line["event"] == "refused").unwrap();
    assert!(refused["reason"].as_str().unwrap().contains("forked at 2"), "{refused}");
    assert_eq!(ended.unwrap_err().exit_code(), 5);
}

#[test]
fn a_subscriber_may_join_at_any_number_and_remembers_a_burst() {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::new(7);
    let trust = device.trust_file(folder.path());
    let signed: Vec<Vec<u8>> = (0..90).map(|_| device.next()).collect();
    let send = |numbers: Vec<usize>| -> Messages {
        numbers.into_iter().map(|seq| (RESULT, signed[seq - 1].clone())).collect()
    };
    let burst: Vec<usize> = [40, 39, 1].into_iter().chain(41..=90).collect();
    let (ended, lines) =
        subscribe(broker.port(), args(broker.port(), trust.clone(), &folder, 52), send(burst));
    ended.unwrap();
    assert_eq!(told(&lines)[..4], ["new", "filled", "too_old", "new"]);
    let short = SubscribeArgs { timeout: Some(3), ..args(broker.port(), trust, &folder, 1) };
    let (ended, lines) = subscribe(broker.port(), short, send(vec![40, 65, 90, 39]));
    assert_eq!(told(&lines), ["duplicate"; 4]);
    assert_eq!(ended.unwrap_err().exit_code(), 75);
}

/// The new results that a subscriber shows before it is killed, which is after so many lines.
fn shown_until_killed(port: u16, arguments: &[&str], after: usize) -> BTreeSet<u64> {
    let broker = format!("mqtt://127.0.0.1:{port}");
    let mut child = command(&["subscribe", "--json", "--broker", &broker])
        .args(["--client-id", "ward", "--session-hours", "1", "--timeout", "5"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..after {
        stdout.read_line(&mut text).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    stdout.read_to_string(&mut text).unwrap();
    // The kill may have cut the last line short: it was not shown.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let news = ["new", "gap", "filled"].map(Value::from);
    let results = lines.filter(|line| news.contains(&line["verdict"]));
    results.map(|line| line["view"]["result"]["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_subscriber_that_is_killed_shows_everything_in_the_end() {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::new(7);
    let trust = device.trust_file(folder.path());
    let messages: Messages = (0..150).map(|_| (RESULT, device.next())).collect();
    let port = broker.port();
    let publisher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(publish(port, messages));
    });
    let state = folder.path().join("state");
    let arguments = ["--trust", trust.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let mut shown = BTreeSet::new();
    for after in [2, 3, 8, 21, 34] {
        shown.extend(shown_until_killed(port, &arguments, after));
    }
    publisher.join().unwrap();
    // Far more rounds than needed: one shows at most as many a second time as a broker has under
    // way at once.
    for _ in 0..30 {
        if shown.len() < 150 {
            shown.extend(shown_until_killed(port, &arguments, 40));
        }
    }
    assert_eq!(shown, (1..=150).collect());
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Device::new(7).trust_file(folder.path());
    let code = |args: SubscribeArgs| run(&args, &mut Vec::new()).unwrap_err().exit_code();
    assert_eq!(code(args(free_port(), trust.clone(), &folder, 1)), 69);
    assert_eq!(code(args(1, folder.path().join("absent"), &folder, 1)), 66);
    let bad = SubscribeArgs { broker: "broker".to_owned(), ..args(1, trust.clone(), &folder, 1) };
    assert_eq!(code(bad), 2);
    let key = folder.path().join("consumer.pk8");
    let consumer = SubscribeArgs { consumer_key: Some(key), ..args(1, trust.clone(), &folder, 1) };
    assert_eq!(code(consumer.clone()), 66, "no such key");
    keys::init_consumer(consumer.consumer_key.as_ref().unwrap()).unwrap();
    assert_eq!(code(SubscribeArgs { state: None, ..consumer.clone() }), 2);
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(consumer.consumer_key.as_ref().unwrap(), mode).unwrap();
    assert_eq!(code(consumer), 77, "a key that others can read");
    let broker = Mosquitto::start();
    let waiting = args(broker.port(), trust.clone(), &folder, 1);
    assert_eq!(code(SubscribeArgs { timeout: Some(1), ..waiting }), 75);
    std::fs::write(&trust, "[[key]]\n").unwrap();
    assert_eq!(code(args(1, trust, &folder, 1)), 78);
}
