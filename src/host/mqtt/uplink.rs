//! The task that keeps the device connected, and the handle to it.
//!
//! ```text
//!   Uplink ── orders, alarms, wake ──▶ task ── Link ──▶ broker
//!      ▲                                │
//!      └────────── UplinkEvent ─────────┘      Outbox ◀── confirmed(seq)
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::delivery::{Delivery, DeliveryLimits, Outbox};
use super::link::{BrokerSettings, Link, LinkError, SessionOptions, Will};
use super::messages::{Command, JobUpdate, Presence, StatusSigner};
use super::session;
use super::topic::{self, AlarmCode, Kind};
use crate::host::errors::one_line;
use crate::host::keys::jitter;
use crate::seal::verify::Address;

/// Orders waiting for the task; when full, `job` and `telemetry` are dropped.
pub const MAX_ORDERS: usize = 64;

/// Events waiting for the daemon; when full, new ones are dropped and logged. Nothing that must
/// survive travels here: confirmations go to the outbox, commands are asked again.
pub const MAX_EVENTS: usize = 256;

/// Everything the task needs to know.
#[derive(Debug, Clone)]
pub struct UplinkSettings {
    /// How to reach the broker.
    pub broker: BrokerSettings,
    /// Site and device; the device is also the client identifier.
    pub address: Address,
    /// The birth certificate, JSON, published retained on every connection.
    pub info_json: Arc<[u8]>,
    /// Window and slow retry.
    pub delivery: DeliveryLimits,
    /// Shortest and longest wait before connecting again.
    pub backoff: (Duration, Duration),
}

/// What happened on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkEvent {
    /// The broker accepted the connection.
    Connected,
    /// No connection, or no longer; the next attempt follows.
    Disconnected {
        /// The chain of causes in one line.
        why: String,
    },
    /// The broker has this result.
    Confirmed(u64),
    /// The broker has no subscriber for it: it stays in the outbox.
    NoSubscriber(u64),
    /// The broker refused it: it stays in the outbox.
    Refused {
        /// Sequence number.
        seq: u64,
        /// The broker's reason, or the size.
        reason: String,
    },
    /// A command from the control room.
    Command(Command),
    /// A consumer's acknowledgement, COSE_Sign1, not verified yet.
    Ack(Arc<[u8]>),
}

/// A message from the daemon to the task.
#[derive(Debug)]
pub(super) enum Order {
    Publish { kind: Kind, json: Vec<u8>, correlation: Option<Vec<u8>> },
    Status,
    Listener,
    Stop,
}

/// Alarms that stand, with their JSON.
pub(super) type Alarms = BTreeMap<AlarmCode, Arc<[u8]>>;

/// Handle to the task. Dropping it lets the task say its farewell in the background; use
/// [`Uplink::stop`] to wait for that.
#[derive(Debug)]
pub struct Uplink {
    orders: mpsc::Sender<Order>,
    wake: Arc<Notify>,
    alarms: Arc<watch::Sender<Alarms>>,
    task: JoinHandle<()>,
}

impl Uplink {
    /// Starts the task on the current tokio runtime.
    pub fn start(
        settings: UplinkSettings,
        outbox: Box<dyn Outbox>,
        signer: StatusSigner,
    ) -> (Self, mpsc::Receiver<UplinkEvent>) {
        let (orders, orders_rx) = mpsc::channel(MAX_ORDERS);
        let (events, events_rx) = mpsc::channel(MAX_EVENTS);
        let wake = Arc::new(Notify::new());
        let alarms = Arc::new(watch::Sender::new(Alarms::new()));
        let driver = Driver {
            delivery: Delivery::new(settings.delivery),
            backoff: Backoff::new(settings.backoff.0, settings.backoff.1),
            settings,
            outbox,
            signer,
            orders: orders_rx,
            wake: wake.clone(),
            alarms: alarms.clone(),
            events,
        };
        let task = tokio::spawn(driver.run());
        (Self { orders, wake, alarms, task }, events_rx)
    }

    /// The outbox has something new.
    pub fn notify_outbox(&self) {
        self.wake.notify_one();
    }

    /// Publishes progress once, if connected.
    pub fn publish_job(&self, update: &JobUpdate) {
        self.publish(Kind::Job, update.to_json(), None);
    }

    /// Publishes a telemetry snapshot (JSON) once, if connected.
    pub fn publish_telemetry(&self, json: Vec<u8>) {
        self.publish(Kind::Telemetry, json, None);
    }

    /// Answers a command, if still connected.
    pub fn reply(&self, command: &Command, mut body: Value) {
        if let Some(object) = body.as_object_mut() {
            object.insert("verb".to_owned(), json!(command.verb.as_str()));
        }
        let json = body.to_string().into_bytes();
        self.publish(Kind::Reply, json, command.correlation.clone());
    }

    /// Signs and publishes the status again, because its content changed.
    pub fn refresh_status(&self) {
        // A full queue means another refresh or newer work is waiting already.
        let _ = self.orders.try_send(Order::Status);
    }

    /// A trusted consumer was heard: whoever asks or acknowledges is subscribed.
    pub fn somebody_listens(&self) {
        // A full queue means that the task is awake.
        let _ = self.orders.try_send(Order::Listener);
    }

    /// Raises an alarm with its JSON, or clears it. Kept across connections.
    pub fn alarm(&self, code: AlarmCode, detail: Option<Value>) {
        set_alarm(&self.alarms, code, detail);
    }

    /// Publishes `stopped`, disconnects and waits for the task; bounded by a few seconds.
    pub async fn stop(self) {
        if self.orders.send(Order::Stop).await.is_ok()
            && let Err(ended) = self.task.await
        {
            log::error!("the MQTT task ended badly: {ended}");
        }
    }

    fn publish(&self, kind: Kind, json: Vec<u8>, correlation: Option<Vec<u8>>) {
        if self.orders.try_send(Order::Publish { kind, json, correlation }).is_err() {
            log::debug!("{kind} message dropped: the uplink is busy");
        }
    }
}

/// Replaces one alarm; wakes the task only when something changed.
pub(super) fn set_alarm(alarms: &watch::Sender<Alarms>, code: AlarmCode, detail: Option<Value>) {
    let text = detail.map(|value| Arc::<[u8]>::from(value.to_string().into_bytes()));
    alarms.send_if_modified(|standing| match text {
        None => standing.remove(&code).is_some(),
        Some(text) if standing.get(&code) == Some(&text) => false,
        Some(text) => {
            standing.insert(code, text);
            true
        }
    });
}

/// The task's state across connections.
pub(super) struct Driver {
    pub(super) settings: UplinkSettings,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) signer: StatusSigner,
    pub(super) delivery: Delivery,
    backoff: Backoff,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) wake: Arc<Notify>,
    pub(super) alarms: Arc<watch::Sender<Alarms>>,
    events: mpsc::Sender<UplinkEvent>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let ended = match self.connect().await {
                None => return,
                Some(Err(refused)) => Err(refused),
                Some(Ok(link)) => {
                    self.backoff.connected(Instant::now());
                    self.emit(UplinkEvent::Connected);
                    session::serve(&mut self, link).await
                }
            };
            self.delivery.connection_lost();
            let Err(error) = ended else { return };
            if error.is_refused_identity() {
                let detail = json!({"reason": "connect_refused"});
                set_alarm(&self.alarms, AlarmCode::Auth, Some(detail));
            }
            let why = one_line(&error);
            log::warn!("{why}");
            self.emit(UplinkEvent::Disconnected { why });
            let wait = self.backoff.lost(Instant::now(), jitter());
            if self.while_offline(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One attempt; `None` when told to stop meanwhile.
    async fn connect(&mut self) -> Option<Result<Link, LinkError>> {
        let settings = self.settings.broker.clone();
        let session = SessionOptions {
            client_id: self.settings.address.device.to_string(),
            will: Some(Will {
                topic: topic::topic(&self.settings.address, Kind::Status),
                payload: (self.signer)(Presence::Offline),
            }),
            kept_for: Duration::ZERO,
            manual_acks: false,
        };
        let opening = async move { Link::open(&settings, session).await };
        self.while_offline(opening).await
    }

    /// Waits for `step` while orders that only make sense online are dropped; `None` on a stop.
    async fn while_offline<F: Future>(&mut self, step: F) -> Option<F::Output> {
        tokio::pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return Some(done),
                order = self.orders.recv() => match order {
                    None | Some(Order::Stop) => return None,
                    Some(Order::Publish { .. } | Order::Status | Order::Listener) => {}
                },
            }
        }
    }

    /// Tells the daemon.
    pub(super) fn emit(&self, event: UplinkEvent) {
        if let Err(unsent) = self.events.try_send(event) {
            log::warn!("an uplink event was dropped: {unsent}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_wakes_the_task_only_when_it_changes() {
        let alarms = watch::Sender::new(Alarms::new());
        let mut seen = alarms.subscribe();
        let mut changed = || {
            let changed = seen.has_changed().unwrap();
            seen.mark_unchanged();
            changed
        };
        set_alarm(&alarms, AlarmCode::Disk, Some(json!({"free_mib": 3})));
        assert!(changed());
        set_alarm(&alarms, AlarmCode::Disk, Some(json!({"free_mib": 3})));
        assert!(!changed());
        set_alarm(&alarms, AlarmCode::Clock, None);
        assert!(!changed());
        set_alarm(&alarms, AlarmCode::Disk, None);
        assert!(changed());
        assert!(alarms.borrow().is_empty());
    }
}
