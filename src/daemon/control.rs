//! What the control room may ask: `ping`, `rescan`, `check`, `resend`, and consumers' `ack`. Nothing
//! here alters models or configuration. A request that does not verify is answered with why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::device::{Device, SOFTWARE};
use super::outbox::JournalOutbox;
use super::packages::PackageSet;
use super::sealing::clock_quality;
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::files::free_bytes;
use crate::host::journal::Journal;
use crate::host::mqtt::messages::Command;
use crate::host::mqtt::topic::Verb;
use crate::seal::verify::{Signed, verify};
use crate::seal::wire::{AckMessage, Id8, ResendMessage};

/// Answers commands and takes acknowledgements.
pub struct Control {
    /// The box.
    pub device: Arc<Device>,
    /// The truth.
    pub journal: Arc<Journal>,
    /// What is to be sent again.
    pub outbox: JournalOutbox,
    /// Set to true to make the intake look at once.
    pub rescan: Arc<AtomicBool>,
    /// True once a consumer proved that this journal had results beyond its end.
    pub lost_end: AtomicBool,
}

impl Control {
    /// Carries a command out; returns the reply's body.
    pub fn answer(&self, command: &Command) -> Value {
        match command.verb {
            Verb::Ping => json!({"ok": true, "software": SOFTWARE, "now_ms": clock::now_ms()}),
            Verb::Rescan => {
                self.rescan.store(true, Ordering::Relaxed);
                json!({"ok": true})
            }
            Verb::Check => self.check(),
            Verb::Resend => match self.verified::<ResendMessage>(&command.body) {
                Ok(request) => {
                    json!({"ok": true, "resent": self.outbox.resend(request.from, request.to)})
                }
                Err(why) => json!({"ok": false, "reason": why}),
            },
        }
    }

    /// A consumer says what it has; true when it is believed. What does not verify is logged and
    /// changes nothing.
    pub fn acknowledge(&self, cose: &[u8]) -> bool {
        match self.verified::<AckMessage>(cose) {
            Ok(ack) => {
                if let Err(last) = self.outbox.acknowledged(ack.seq) {
                    log::error!(
                        "a consumer has result {} and this journal ends at {last}: it has lost its \
                         end, and what is signed now forks its history",
                        ack.seq
                    );
                    self.lost_end.store(true, Ordering::Relaxed);
                }
                true
            }
            Err(why) => {
                log::warn!("an acknowledgement is not believed: {why}");
                false
            }
        }
    }

    fn verified<T: Signed + Epochal>(&self, cose: &[u8]) -> Result<T, String> {
        let verified = verify::<T>(cose, &self.device.trust, Some(&self.device.address))
            .map_err(|refusal| one_line(&refusal))?;
        let epoch = Id8::from(self.journal.epoch());
        if verified.message.epoch() != epoch {
            return Err(format!("it speaks of another epoch than {epoch}"));
        }
        Ok(verified.message)
    }

    /// The part of `hcc-edge check` that a running daemon can answer without waiting.
    fn check(&self) -> Value {
        let packages = PackageSet::load(&self.device);
        let free = free_bytes(self.device.state.root());
        json!({
            "ok": packages.is_ok(),
            "packages": packages.map_or_else(|error| one_line(&error), |_| "verified".to_owned()),
            "free_mib": free.ok().map(|bytes| bytes.0 >> 20),
            "clock_quality": clock_quality(),
            "backlog": self.journal.ledger().backlog(),
        })
    }
}

/// A message about one epoch.
trait Epochal {
    fn epoch(&self) -> Id8;
}

impl Epochal for AckMessage {
    fn epoch(&self) -> Id8 {
        self.epoch
    }
}

impl Epochal for ResendMessage {
    fn epoch(&self) -> Id8 {
        self.epoch
    }
}
