//! What `hcc-edge subscribe` prints for each thing it sees.

use serde_json::{Value, json};

use crate::control_room::Sighting;
use crate::host::errors::one_line;
use crate::seal::chain::{Fork, Observation, Range, Stream, Verdict};
use crate::seal::verify::Verified;
use crate::seal::view::View;
use crate::seal::wire::{ResultMessage, StatusMessage};

/// As a line for people; reasons of a result on lines of their own.
pub fn text(sighting: &Sighting) -> String {
    match sighting {
        Sighting::Connected => "connected".to_owned(),
        Sighting::Disconnected(error) => format!("disconnected: {}", one_line(error)),
        Sighting::Result { verified, observation, cose } => {
            let ResultMessage { site, device, seq, status, .. } = &verified.message;
            let headline = View::of(cose).map(|view| view.headline).unwrap_or_default();
            let place = place(observation);
            let line = format!("{site}/{device} #{seq} {} ({place}): {headline}", status.name());
            let reasons = verified.message.reasons.iter();
            reasons.fold(line, |text, reason| {
                format!("{text}\n    {}: {}", reason.code.name(), reason.code.sentence())
            })
        }
        Sighting::Status(verified) => {
            let StatusMessage { site, device, state, backlog, .. } = &verified.message;
            format!("{site}/{device} is {} (backlog {backlog})", state.name())
        }
        Sighting::Refused { topic, reason } => format!("REFUSED {topic:?}: {}", one_line(reason)),
        Sighting::Alarm(Stream { source: (site, device), .. }, Fork { seq, known, found }) => {
            format!(
                "ALARM {site}/{device}: FORK AT #{seq}, TWO SIGNED HISTORIES: DO NOT TRUST THIS DEVICE \
                 ({known} and {found})"
            )
        }
        Sighting::Asked(Stream { source: (site, device), .. }, range) => {
            format!("{site}/{device}: asked once more for {range}")
        }
        Sighting::Lost(Stream { source: (site, device), .. }, range) => {
            format!("GAP {site}/{device}: {range} not answered, no longer asked for")
        }
    }
}

/// The verdict in words; what needs attention is in capitals.
fn place(observation: &Observation) -> String {
    let verdict = match observation.verdict {
        Verdict::New => "new".to_owned(),
        Verdict::Gap(range) => format!("GAP: {range} are missing"),
        Verdict::Filled => "fills a gap".to_owned(),
        Verdict::Duplicate => "duplicate".to_owned(),
        Verdict::Fork(_) | Verdict::Forked(_) => "FORK".to_owned(),
        Verdict::TooOld => "too old to be judged".to_owned(),
        Verdict::TooManyDevices => "NOT FOLLOWED: too many devices".to_owned(),
    };
    if observation.new_epoch { format!("NEW EPOCH, {verdict}") } else { verdict }
}

/// As one JSON object.
pub fn json(sighting: &Sighting) -> Value {
    match sighting {
        Sighting::Connected => json!({"event": "connected"}),
        Sighting::Disconnected(error) => {
            json!({"event": "disconnected", "reason": one_line(error)})
        }
        Sighting::Result { verified, observation, cose } => {
            json_result(verified, observation, cose)
        }
        Sighting::Status(verified) => {
            json!({"event": "status", "verified": true, "status": verified.message})
        }
        Sighting::Refused { topic, reason } => {
            json!({"event": "refused", "topic": topic, "reason": one_line(reason)})
        }
        Sighting::Alarm(stream, fork) => json_alarm(stream, fork),
        Sighting::Asked(stream, range) => json_gap("asked", stream, *range),
        Sighting::Lost(stream, range) => json_gap("lost", stream, *range),
    }
}

fn json_alarm(Stream { source: (site, device), epoch }: &Stream, fork: &Fork) -> Value {
    json!({
        "event": "alarm",
        "kind": "fork",
        "site": site,
        "device": device,
        "epoch": epoch,
        "seq": fork.seq,
        "digests": [fork.known, fork.found],
    })
}

fn json_gap(event: &str, Stream { source: (site, device), epoch }: &Stream, range: Range) -> Value {
    json!({
        "event": event,
        "site": site,
        "device": device,
        "epoch": epoch,
        "range": [range.from, range.to],
    })
}

fn json_result(
    verified: &Verified<ResultMessage>,
    observation: &Observation,
    cose: &[u8],
) -> Value {
    let (verdict, range) = match observation.verdict {
        Verdict::New => ("new", None),
        Verdict::Gap(range) => ("gap", Some([range.from, range.to])),
        Verdict::Filled => ("filled", None),
        Verdict::Duplicate => ("duplicate", None),
        Verdict::Fork(fork) | Verdict::Forked(fork) => ("fork", Some([fork.seq; 2])),
        Verdict::TooOld => ("too_old", None),
        Verdict::TooManyDevices => ("not_followed", None),
    };
    json!({
        "event": "result",
        "verified": true,
        "verdict": verdict,
        "range": range,
        "new_epoch": observation.new_epoch,
        "kid": verified.kid,
        "view": View::of(cose).ok(),
    })
}
