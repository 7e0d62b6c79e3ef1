//! One connection from birth messages to farewell: submits, matches the broker's answers, reads
//! commands. Everything it knows beyond the driver's state dies with the connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::Outgoing as Written;
use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, PubAckReason, Publish, SubscribeReasonCode};
use serde_json::json;

use super::delivery::{Answer, Outgoing};
use super::flight::{Flight, Submission};
use super::link::{Link, LinkError, MAX_ON_THE_WAY, Message, NotSubmitted};
use super::messages::{COSE_TYPE, Command, JSON_TYPE, MAX_BODY, Presence};
use super::topic::{self, AlarmCode, Kind};
use super::uplink::{Driver, Order, UplinkEvent, set_alarm};
use crate::host::errors::one_line;
use crate::host::fail_point::reach;
use crate::seal::verify::Address;

/// How long the farewell waits for the broker's answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the broker may take to acknowledge a message. A broker that answers pings and nothing
/// else would otherwise hold everything up for ever.
pub const ANSWER: Duration = Duration::from_secs(60);

/// How often the outbox is looked at when nothing else happens.
const IDLE: Duration = Duration::from_secs(60);

/// Serves until told to stop (`Ok`), also when the connection ends during the farewell, or until the
/// connection ends.
pub(super) async fn serve(driver: &mut Driver, link: Link) -> Result<(), LinkError> {
    let mut session = Session {
        address: driver.settings.address.clone(),
        flight: Flight::default(),
        told: BTreeMap::new(),
        subscribed: true,
        leaving: None,
        link,
        driver,
    };
    session.birth()?;
    match session.until_end().await {
        Err(error) if session.leaving.is_some() => {
            log::warn!("no farewell: {}", one_line(&error));
            Ok(())
        }
        Err(error) => Err(error),
        Ok(()) => {
            session.link.close().await;
            Ok(())
        }
    }
}

struct Session<'a> {
    driver: &'a mut Driver,
    link: Link,
    address: Address,
    flight: Flight,
    /// What the broker was last told about each alarm on this connection.
    told: BTreeMap<AlarmCode, Option<Arc<[u8]>>>,
    /// False once the broker has refused the commands and acknowledgements.
    subscribed: bool,
    /// When to stop waiting for the farewell's answer.
    leaving: Option<Instant>,
}

impl Session<'_> {
    fn birth(&mut self) -> Result<(), LinkError> {
        let ack = topic::topic(&self.address, Kind::Ack);
        self.link.subscribe(&[topic::commands(&self.address), ack])?;
        self.submit_status(Presence::Online)?;
        let info = self.driver.settings.info_json.to_vec();
        self.submit(Submission::Info, self.json(Kind::Info, info))?;
        self.tell_alarms()
    }

    async fn until_end(&mut self) -> Result<(), LinkError> {
        let mut alarms = self.driver.alarms.subscribe();
        let wake = self.driver.wake.clone();
        loop {
            self.refill()?;
            let wake_at = self.wake_at();
            tokio::select! {
                event = self.link.next() => {
                    if self.on_event(event?)? {
                        return Ok(());
                    }
                }
                order = self.driver.orders.recv(), if self.leaving.is_none() => {
                    match order {
                        None | Some(Order::Stop) => self.say_farewell()?,
                        Some(Order::Status) => self.submit_status(Presence::Online)?,
                        Some(Order::Listener) => self.driver.delivery.somebody_listens(),
                        Some(Order::Publish { kind, json, correlation }) => {
                            self.publish_json(kind, json, correlation)?;
                        }
                    }
                }
                _ = alarms.changed(), if self.leaving.is_none() => self.tell_alarms()?,
                () = wake.notified() => {}
                () = tokio::time::sleep_until(wake_at.into()) => {
                    if self.leaving.is_some_and(|until| until <= Instant::now()) {
                        return Ok(());
                    }
                    self.check_answers()?;
                }
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let idle = Instant::now() + IDLE;
        let answer = self.flight.waiting_since().map_or(idle, |since| since + ANSWER);
        self.leaving
            .or_else(|| self.driver.delivery.wake_at())
            .unwrap_or(idle)
            .min(idle)
            .min(answer)
    }

    /// Ends the connection when the broker owes an answer for too long.
    fn check_answers(&mut self) -> Result<(), LinkError> {
        let owes = self.flight.waiting_since().is_some_and(|since| since.elapsed() >= ANSWER);
        if !owes || self.leaving.is_some() {
            return Ok(());
        }
        let detail = json!({"reason": "no_acknowledgement", "seconds": ANSWER.as_secs()});
        set_alarm(&self.driver.alarms, AlarmCode::Delivery, Some(detail));
        Err(self.link.silent())
    }

    /// Submits what the window allows.
    fn refill(&mut self) -> Result<(), LinkError> {
        if self.leaving.is_some() || self.flight.len() >= MAX_ON_THE_WAY / 2 {
            return Ok(());
        }
        let driver = &mut *self.driver;
        for outgoing in driver.delivery.next(driver.outbox.as_mut(), Instant::now()) {
            self.submit_result(outgoing)?;
        }
        Ok(())
    }

    /// The view goes first: when the result is acknowledged, the broker has read the view too.
    fn submit_result(&mut self, outgoing: Outgoing) -> Result<(), LinkError> {
        let Outgoing { seq, cose, view_json } = outgoing;
        if let Some(view) = view_json {
            self.submit(Submission::View(seq), self.json(Kind::View, view.to_vec()))?;
        }
        let message = Message { content_type: COSE_TYPE, ..self.json(Kind::Result, cose.to_vec()) };
        self.submit(Submission::Result(seq), message)?;
        reach("uplink.submitted");
        Ok(())
    }

    fn submit_status(&mut self, presence: Presence) -> Result<(), LinkError> {
        let what = match presence {
            Presence::Stopped => Submission::Farewell,
            Presence::Online | Presence::Offline => Submission::Status,
        };
        let payload = (self.driver.signer)(presence);
        let message = Message { content_type: COSE_TYPE, ..self.json(Kind::Status, payload) };
        self.submit(what, message)
    }

    /// An acknowledged message with JSON content, retained where the topic's kind says so.
    fn json(&self, kind: Kind, payload: Vec<u8>) -> Message {
        Message {
            topic: topic::topic(&self.address, kind),
            payload,
            confirmed: !matches!(kind, Kind::Job | Kind::Telemetry),
            retain: matches!(kind, Kind::Status | Kind::Info | Kind::Alarm(_)),
            content_type: JSON_TYPE,
            correlation: None,
        }
    }

    fn submit(&mut self, what: Submission, message: Message) -> Result<(), LinkError> {
        match self.link.publish(message) {
            Ok(()) => {
                self.flight.submitted(what, Instant::now());
                Ok(())
            }
            Err(NotSubmitted::Full) => Err(self.link.stuck()),
            Err(too_large @ NotSubmitted::TooLarge { .. }) => {
                self.refused(what, too_large.to_string(), AlarmCode::Delivery);
                Ok(())
            }
        }
    }

    fn publish_json(
        &mut self,
        kind: Kind,
        json: Vec<u8>,
        correlation: Option<Vec<u8>>,
    ) -> Result<(), LinkError> {
        if self.flight.len() >= MAX_ON_THE_WAY {
            log::debug!("{kind} message dropped: {MAX_ON_THE_WAY} are on their way");
            return Ok(());
        }
        let what = if kind == Kind::Reply { Submission::Reply } else { Submission::Unconfirmed };
        self.submit(what, Message { correlation, ..self.json(kind, json) })
    }

    /// Every code once per connection, then what changed: an empty message clears what an earlier
    /// run of the device left retained at the broker.
    fn tell_alarms(&mut self) -> Result<(), LinkError> {
        let standing = self.driver.alarms.borrow().clone();
        for code in AlarmCode::ALL {
            let now = standing.get(&code).cloned();
            if self.told.get(&code) != Some(&now) {
                let payload = now.as_deref().unwrap_or_default().to_vec();
                self.told.insert(code, now);
                self.submit(Submission::Alarm(code), self.json(Kind::Alarm(code), payload))?;
            }
        }
        Ok(())
    }

    fn say_farewell(&mut self) -> Result<(), LinkError> {
        self.leaving = Some(Instant::now() + FAREWELL);
        self.submit_status(Presence::Stopped)
    }

    /// `true` when the farewell was answered.
    fn on_event(&mut self, event: Event) -> Result<bool, LinkError> {
        match event {
            Event::Outgoing(Written::Publish(packet_id)) => {
                self.flight.sent(packet_id);
            }
            Event::Incoming(Packet::PubAck(ack)) => return Ok(self.on_answer(&ack)),
            Event::Incoming(Packet::Publish(publish)) => self.on_message(&publish),
            Event::Incoming(Packet::SubAck(ack)) => {
                if ack.return_codes.iter().any(|c| !matches!(c, SubscribeReasonCode::Success(_))) {
                    log::warn!("the broker refuses subscriptions: {:?}", ack.return_codes);
                    self.subscribed = false;
                    let detail = json!({"reason": "subscribe_refused"});
                    set_alarm(&self.driver.alarms, AlarmCode::Auth, Some(detail));
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
        Ok(false)
    }

    /// Matches the answer to its message. An answer for nothing confirms nothing.
    fn on_answer(&mut self, ack: &PubAck) -> bool {
        let Some(what) = self.flight.answered(ack.pkid) else {
            log::warn!("the broker answered for packet {}, which is not on its way", ack.pkid);
            return false;
        };
        match (what, ack.reason) {
            (Submission::Farewell, _) => return true,
            (Submission::Result(seq), PubAckReason::Success) => self.delivered(seq),
            (Submission::Result(seq), PubAckReason::NoMatchingSubscribers) => {
                self.nobody_listens(seq);
            }
            (_, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) => {}
            (what, reason) => self.refused(what, format!("{reason:?}"), AlarmCode::Auth),
        }
        false
    }

    fn delivered(&mut self, seq: u64) {
        reach("uplink.acknowledged");
        self.answer(seq, Answer::Delivered);
        if self.driver.delivery.is_unhindered() {
            set_alarm(&self.driver.alarms, AlarmCode::Delivery, None);
            if self.subscribed {
                set_alarm(&self.driver.alarms, AlarmCode::Auth, None);
            }
        }
        self.driver.emit(UplinkEvent::Confirmed(seq));
    }

    fn nobody_listens(&mut self, seq: u64) {
        self.answer(seq, Answer::NoSubscriber);
        let detail = json!({"reason": "no_subscriber"});
        set_alarm(&self.driver.alarms, AlarmCode::Delivery, Some(detail));
        self.driver.emit(UplinkEvent::NoSubscriber(seq));
    }

    /// Logs, alarms once, and sets a result aside. The reason is the broker's or a size, never
    /// content.
    fn refused(&mut self, what: Submission, reason: String, code: AlarmCode) {
        log::warn!("{what:?} not delivered: {reason}");
        let topic = match what {
            Submission::Result(_) => "result",
            Submission::View(_) => "result/view",
            Submission::Status | Submission::Farewell => "status",
            Submission::Info => "info",
            Submission::Reply => "reply",
            // The alarm about an alarm would be refused as well.
            Submission::Alarm(_) | Submission::Unconfirmed => return,
        };
        // An alarm has one place, and a result that is held up matters most.
        let is_result = matches!(what, Submission::Result(_));
        if is_result || !self.driver.alarms.borrow().contains_key(&code) {
            let detail = json!({"reason": reason, "topic": topic});
            set_alarm(&self.driver.alarms, code, Some(detail));
        }
        if let Submission::Result(seq) = what {
            self.answer(seq, Answer::Refused);
            self.driver.emit(UplinkEvent::Refused { seq, reason });
        }
    }

    fn answer(&mut self, seq: u64, answer: Answer) {
        let driver = &mut *self.driver;
        driver.delivery.answered(seq, answer, driver.outbox.as_mut(), Instant::now());
    }

    /// Commands and acknowledgements; retained ones are stale by definition and ignored.
    fn on_message(&mut self, publish: &Publish) {
        if publish.retain || publish.payload.len() > MAX_BODY {
            log::warn!(
                "ignored a message of {} bytes, retained or too large",
                publish.payload.len()
            );
            return;
        }
        let parsed = std::str::from_utf8(&publish.topic).ok().and_then(topic::parse);
        match parsed {
            Some((to, Kind::Command(verb))) if to == self.address => {
                let correlation = publish
                    .properties
                    .as_ref()
                    .and_then(|p| p.correlation_data.as_ref())
                    .map(|bytes| bytes.to_vec());
                let body = publish.payload.to_vec();
                self.driver.emit(UplinkEvent::Command(Command { verb, body, correlation }));
            }
            Some((to, Kind::Ack)) if to == self.address => {
                self.driver.emit(UplinkEvent::Ack(Arc::from(publish.payload.as_ref())));
            }
            _ => log::warn!("ignored a message on an unknown command topic"),
        }
    }
}
