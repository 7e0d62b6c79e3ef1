//! What a control room may ask of a running box, with plain MQTT clients: commands are answered,
//! acknowledgements of a trusted consumer confirm, a resend sends again, and what no trusted key
//! signed changes nothing.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hcc_edge::phantom::Preset;
use hcc_edge::seal::cose::{Ed25519Signer, Signer, key_id};
use hcc_edge::seal::sign::sign;
use hcc_edge::seal::trust::{Role, TrustedKey};
use hcc_edge::seal::wire::{AckMessage, Id8, ResendMessage, Slug, WIRE_VERSION};
use serde_json::Value;

use crate::broker::Mosquitto;
use crate::edge::{Edge, phantom, view, wait_until};

const ROOT: &str = "hcc/v1/ward/box-1";

fn publish(port: u16, topic: &str, payload: &[u8]) {
    let mut client = Command::new("mosquitto_pub");
    client.args(["-V", "mqttv5", "-q", "1", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let mut child = client
        .args(["-t", &format!("{ROOT}/{topic}"), "-s"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), payload).unwrap();
    assert!(child.wait().unwrap().success());
}

/// `mosquitto_sub`, the payload of every message as a line of hexadecimal digits in `file`.
pub fn listen(port: u16, topic: &str, file: &Path) -> Listener {
    listen_for("%x", port, topic, file)
}

/// The same for any part of the messages, in mosquitto_sub's words.
pub fn listen_for(part: &str, port: u16, topic: &str, file: &Path) -> Listener {
    let child = Command::new("mosquitto_sub")
        .args(["-V", "mqttv5", "-q", "1", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-t", &format!("{ROOT}/{topic}"), "-F", part])
        .stdout(File::create(file).unwrap())
        .spawn()
        .unwrap();
    Listener(child)
}

/// Ends the listener on drop.
pub struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails only when it has ended already; the wait collects it either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a listener has heard so far.
pub fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// Makes the box trust a consumer, before it starts.
fn trust_consumer(edge: &Edge, signer: &Ed25519Signer) {
    let public_key = signer.public_key();
    let slug = |text| Slug::new(text).unwrap();
    let device = TrustedKey::of_device(slug("ward"), slug("box-1"), public_key);
    let consumer = TrustedKey { role: Role::Consumer, kid: key_id(&public_key), ..device };
    let text = fs::read_to_string(edge.trust()).unwrap();
    fs::write(edge.trust(), format!("{text}\n{}", consumer.to_toml())).unwrap();
}

fn epoch(place: &Path) -> Id8 {
    Id8::from_hex(view(place)["result"]["epoch"].as_str().unwrap()).unwrap()
}

fn ack(epoch: Id8, seq: u64, signer: &Ed25519Signer) -> Vec<u8> {
    let (site, device) = (Slug::new("ward").unwrap(), Slug::new("box-1").unwrap());
    let (v, signed_at_ms) = (WIRE_VERSION, 1_800_000_000_000);
    sign(&AckMessage { v, site, device, epoch, seq, signed_at_ms }, signer).unwrap()
}

fn resend(epoch: Id8, signer: &Ed25519Signer) -> Vec<u8> {
    let (site, device) = (Slug::new("ward").unwrap(), Slug::new("box-1").unwrap());
    let (v, signed_at_ms, from, to) = (WIRE_VERSION, 1_800_000_000_000, 1, 1);
    sign(&ResendMessage { v, site, device, epoch, from, to, signed_at_ms }, signer).unwrap()
}

#[test]
fn a_consumer_confirms_and_asks_again_and_nobody_else_can() {
    let broker = Mosquitto::start();
    let port = broker.port();
    let mut edge = Edge::new(port, "[delivery]\nconfirm = \"consumer\"\n");
    let consumer = Ed25519Signer::from_seed(&[21; 32]).unwrap();
    let stranger = Ed25519Signer::from_seed(&[22; 32]).unwrap();
    trust_consumer(&edge, &consumer);
    let folder = tempfile::tempdir().unwrap();
    let (results, replies) = (folder.path().join("results"), folder.path().join("replies"));
    let _results = listen(port, "result", &results);
    let _replies = listen(port, "reply", &replies);
    edge.start();
    let (mut files, _) = phantom(Preset::Small, 51);
    files.remove("arterial.nii.gz");
    edge.drop_study("study", &files);
    let epoch = epoch(&edge.wait_for("study"));
    wait_until(&edge, |_| lines(&results).len() == 1);
    let confirms = |edge: &Edge| edge.journal().iter().filter(|r| r["type"] == "confirm").count();

    publish(port, "cmd/ping", b"{}");
    wait_until(&edge, |_| lines(&replies).len() == 1);
    publish(port, "cmd/resend", &resend(epoch, &stranger));
    publish(port, "ack", &ack(epoch, 1, &stranger));
    publish(port, "ack", &ack(Id8::from([9; 8]), 1, &consumer));
    wait_until(&edge, |_| lines(&replies).len() == 2);
    assert_eq!(confirms(&edge), 0, "the broker's word does not count, nor a stranger's");
    let refused = reply(&lines(&replies)[1]);
    assert_eq!(refused["ok"], false, "{refused}");

    publish(port, "cmd/resend", &resend(epoch, &consumer));
    wait_until(&edge, |_| lines(&results).len() == 2);
    let sent = lines(&results);
    assert_eq!(sent[0], sent[1], "the same bytes again");
    publish(port, "ack", &ack(epoch, 1, &consumer));
    wait_until(&edge, |edge| confirms(edge) == 1);
    publish(port, "cmd/check", b"{}");
    wait_until(&edge, |_| lines(&replies).len() == 4);
    let check = reply(&lines(&replies)[3]);
    assert_eq!((&check["ok"], &check["backlog"]), (&Value::from(true), &Value::from(0)), "{check}");
}

fn reply(line: &str) -> Value {
    let pairs = line.as_bytes().chunks_exact(2);
    let text = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    serde_json::from_slice(&pairs.map(text).collect::<Vec<u8>>()).unwrap()
}
