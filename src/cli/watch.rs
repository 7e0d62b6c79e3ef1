//! What a command sees of a daemon over the broker: its presence, the progress of a study, verified
//! results.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::Packet;
use serde_json::Value;
use tokio::time::Instant;

use super::daemon_process::DaemonProcess;
use super::exit::{self, exit};
use super::progress::Progress;
use crate::config::BrokerUrl;
use crate::control_room::subscriber::SubscriberSettings;
use crate::control_room::{Sighting, Subscriber};
use crate::host::mqtt::Link;
use crate::host::mqtt::link::{BrokerSettings, SessionOptions};
use crate::host::mqtt::topic::{self, Kind};
use crate::seal::trust::TrustStore;
use crate::seal::verify::Verified;
use crate::seal::wire::{DeviceState, ResultMessage};

/// How often the daemon is looked at while waiting.
const LOOK: Duration = Duration::from_millis(500);

/// A verifying subscriber, and beside it a plain one for unsigned progress.
pub struct Watch {
    subscriber: Subscriber,
    progress: Link,
}

impl Watch {
    /// Connects to the broker.
    pub async fn open(broker: &BrokerUrl, trust: TrustStore) -> anyhow::Result<Self> {
        let settings = BrokerSettings::new(broker.clone());
        let id = |what: &str| format!("hcc-{what}-{}", std::process::id());
        let subscriber = Subscriber::new(SubscriberSettings {
            broker: settings.clone(),
            client_id: id("watch"),
            session_kept_for: Duration::ZERO,
            site: None,
            device: None,
            state: None,
            trust,
            consumer: None,
        })?;
        let session = SessionOptions {
            client_id: id("progress"),
            will: None,
            kept_for: Duration::ZERO,
            manual_acks: false,
        };
        let progress = Link::open(&settings, session)
            .await
            .with_context(|| exit(exit::BROKER_UNAVAILABLE, format!("connecting to {broker}")))?;
        progress.subscribe(&[topic::filter(None, None, Kind::Job)])?;
        Ok(Self { subscriber, progress })
    }

    /// Waits for a verified `online`.
    pub async fn until_online(
        &mut self,
        limit: Duration,
        daemon: &mut DaemonProcess,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match self.sighting(deadline, daemon, None).await? {
                Sighting::Status(status) if status.message.state == DeviceState::Online => {
                    return Ok(());
                }
                Sighting::Disconnected(error) => {
                    return Err(error).context(exit(exit::BROKER_UNAVAILABLE, "subscribing"));
                }
                Sighting::Status(_)
                | Sighting::Connected
                | Sighting::Result { .. }
                | Sighting::Refused { .. }
                | Sighting::Alarm(..)
                | Sighting::Asked(..)
                | Sighting::Lost(..) => {}
            }
        }
    }

    /// Waits for a verified result and shows what happens until then.
    pub async fn until_result(
        &mut self,
        limit: Duration,
        daemon: &mut DaemonProcess,
        progress: &Progress,
    ) -> anyhow::Result<(Verified<ResultMessage>, Vec<u8>)> {
        let deadline = Instant::now() + limit;
        loop {
            match self.sighting(deadline, daemon, Some(progress)).await? {
                Sighting::Result { verified, cose, .. } => return Ok((*verified, cose)),
                Sighting::Refused { topic, reason } => {
                    bail!("a message on {topic:?} is refused: {reason}")
                }
                Sighting::Alarm(_, fork) => {
                    bail!("the device's history forked at {}", fork.seq)
                }
                Sighting::Status(_)
                | Sighting::Connected
                | Sighting::Disconnected(_)
                | Sighting::Asked(..)
                | Sighting::Lost(..) => {}
            }
        }
    }

    async fn sighting(
        &mut self,
        deadline: Instant,
        daemon: &mut DaemonProcess,
        progress: Option<&Progress>,
    ) -> anyhow::Result<Sighting> {
        let mut look = tokio::time::interval(LOOK);
        let next = self.subscriber.next();
        tokio::pin!(next);
        loop {
            tokio::select! {
                seen = &mut next => return Ok(seen?),
                event = self.progress.next() => {
                    if let (Event::Incoming(Packet::Publish(publish)), Some(progress)) = (event?, progress) {
                        show(&publish.payload, progress);
                    }
                }
                now = look.tick() => {
                    daemon.expect_alive()?;
                    if now >= deadline {
                        bail!("nothing came from the daemon in time");
                    }
                }
            }
        }
    }
}

/// Progress is unsigned and only shown.
fn show(payload: &[u8], progress: &Progress) {
    let Ok(update) = serde_json::from_slice::<Value>(payload) else { return };
    if let (Some(stage), Some(percent)) = (update["stage"].as_str(), update["percent"].as_u64()) {
        progress.show(stage, percent.min(100) as u8);
    }
}
