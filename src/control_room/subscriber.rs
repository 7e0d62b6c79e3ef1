//! Connects, subscribes, verifies and remembers. One message at a time: verified, then compared
//! with what is known of its device, then remembered on disk, then acknowledged to the broker; so a
//! crash in between shows a message twice and never hides one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, SubscribeReasonCode};
use thiserror::Error;

use super::state::{StateError, StateFile};
use crate::host::keys::jitter;
use crate::host::mqtt::Backoff;
use crate::host::mqtt::link::{BrokerSettings, Link, LinkError, SessionOptions};
use crate::host::mqtt::topic::{self, Kind, Topic};
use crate::seal::chain::{Chain, Observation};
use crate::seal::trust::TrustStore;
use crate::seal::verify::{Address, Refusal, Verified, verify};
use crate::seal::wire::{ResultMessage, Slug, StatusMessage};

/// Shortest and longest wait before connecting again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What to listen to and whom to believe.
#[derive(Debug, Clone)]
pub struct SubscriberSettings {
    /// How to reach the broker.
    pub broker: BrokerSettings,
    /// MQTT client identifier; the same one after a restart finds its session again.
    pub client_id: String,
    /// How long the broker keeps messages for an absent subscriber; zero: not at all.
    pub session_kept_for: Duration,
    /// Only this site.
    pub site: Option<Slug>,
    /// Only this device.
    pub device: Option<Slug>,
    /// Where to remember what was seen; `None` forgets at the end.
    pub state: Option<PathBuf>,
    /// The keys whose signatures count.
    pub trust: TrustStore,
}

/// Why a subscriber cannot go on.
#[derive(Debug, Error)]
pub enum SubscriberError {
    /// Its memory cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The broker does not let it read the topics.
    #[error("the broker refuses the subscription to {filter}")]
    SubscriptionRefused {
        /// The filter asked for.
        filter: String,
    },
}

/// Something worth showing.
#[derive(Debug)]
pub enum Sighting {
    /// The subscriptions are in place.
    Connected,
    /// No connection; the next [`Subscriber::next`] tries again after a pause.
    Disconnected(LinkError),
    /// A verified result and its place in the device's history.
    Result {
        /// The message, its key and its digest.
        verified: Box<Verified<ResultMessage>>,
        /// New, duplicate, gap, fork …
        observation: Observation,
        /// The signed bytes.
        cose: Vec<u8>,
    },
    /// A verified presence.
    Status(Box<Verified<StatusMessage>>),
    /// A message that is not to be believed.
    Refused {
        /// Where it arrived, at most 200 characters.
        topic: String,
        /// Why.
        reason: Distrust,
    },
}

/// Why a message is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// It fails a step of the verifier.
    #[error("it does not verify")]
    Refusal(#[from] Refusal),
    /// Results are never retained: somebody else keeps an old one in front of new readers.
    #[error("it is a retained result, which no device publishes")]
    Retained,
    /// Not a topic of this product.
    #[error("the topic is not one a device publishes on")]
    Topic,
}

/// One subscriber. Drive it with [`Subscriber::next`].
#[derive(Debug)]
pub struct Subscriber {
    settings: SubscriberSettings,
    chain: Chain,
    state: Option<StateFile>,
    link: Option<Link>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    filters: Vec<Topic>,
    waiting: VecDeque<Publish>,
}

impl Subscriber {
    /// Reads the memory; does not connect yet.
    pub fn new(settings: SubscriberSettings) -> Result<Self, SubscriberError> {
        let state = settings.state.clone().map(StateFile::new);
        let chain = match &state {
            Some(file) => file.load()?,
            None => Chain::default(),
        };
        let (site, device) = (settings.site.as_ref(), settings.device.as_ref());
        let filters =
            [Kind::Result, Kind::Status].map(|kind| topic::filter(site, device, kind)).to_vec();
        Ok(Self {
            settings,
            chain,
            state,
            link: None,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            retry_at: None,
            filters,
            waiting: VecDeque::new(),
        })
    }

    /// What is known of every device.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits for the next thing worth showing; connects when there is no connection. May be
    /// cancelled: a message under way is then neither remembered nor acknowledged.
    pub async fn next(&mut self) -> Result<Sighting, SubscriberError> {
        loop {
            if let Some(publish) = self.waiting.pop_front() {
                return self.look_at(&publish);
            }
            let Some(link) = &mut self.link else {
                return self.connect().await;
            };
            match link.next().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => return self.look_at(&publish),
                Ok(_) => {}
                Err(error) => return Ok(self.disconnected(error)),
            }
        }
    }

    async fn connect(&mut self) -> Result<Sighting, SubscriberError> {
        if let Some(at) = self.retry_at {
            tokio::time::sleep_until(at.into()).await;
        }
        let session = SessionOptions {
            client_id: self.settings.client_id.clone(),
            will: None,
            kept_for: self.settings.session_kept_for,
            manual_acks: true,
        };
        let link = match Link::open(&self.settings.broker, session).await {
            Ok(link) => link,
            Err(error) => return Ok(self.disconnected(error)),
        };
        if let Err(error) = link.subscribe(&self.filters) {
            return Ok(self.disconnected(error));
        }
        self.subscribed(link).await
    }

    /// Waits for the SUBACK; messages that come before it are kept for later.
    async fn subscribed(&mut self, mut link: Link) -> Result<Sighting, SubscriberError> {
        self.waiting.clear();
        loop {
            match link.next().await {
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                    if let Some(refused) = ack.return_codes.iter().position(|c| !granted(c)) {
                        let filter = self.filters.get(refused).map(|f| f.as_str().to_owned());
                        let filter = filter.unwrap_or_default();
                        return Err(SubscriberError::SubscriptionRefused { filter });
                    }
                    self.backoff.connected(Instant::now());
                    self.link = Some(link);
                    return Ok(Sighting::Connected);
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.waiting.push_back(publish),
                Ok(_) => {}
                Err(error) => return Ok(self.disconnected(error)),
            }
        }
    }

    fn disconnected(&mut self, error: LinkError) -> Sighting {
        self.link = None;
        self.waiting.clear();
        let now = Instant::now();
        self.retry_at = Some(now + self.backoff.lost(now, jitter()));
        Sighting::Disconnected(error)
    }

    /// Verifies, remembers, acknowledges.
    fn look_at(&mut self, publish: &Publish) -> Result<Sighting, SubscriberError> {
        let sighting = match self.judge(publish) {
            Ok(Judged::Result(verified)) => {
                let observation = self.chain.observe(&verified.as_ref().into());
                if let Some(file) = &self.state {
                    file.store(&self.chain)?;
                }
                Sighting::Result { verified, observation, cose: publish.payload.to_vec() }
            }
            Ok(Judged::Status(verified)) => Sighting::Status(verified),
            Err(reason) => {
                let topic = String::from_utf8_lossy(&publish.topic).chars().take(200).collect();
                Sighting::Refused { topic, reason }
            }
        };
        if let Some(link) = &self.link
            && let Err(error) = link.accept(publish)
        {
            // The broker sends it again on the next connection, where it is a duplicate.
            log::warn!("{error}");
        }
        Ok(sighting)
    }

    fn judge(&self, publish: &Publish) -> Result<Judged, Distrust> {
        let text = std::str::from_utf8(&publish.topic).map_err(|_| Distrust::Topic)?;
        let (address, kind) = topic::parse(text).ok_or(Distrust::Topic)?;
        self.judge_kind(publish, &address, kind)
    }

    fn judge_kind(
        &self,
        publish: &Publish,
        address: &Address,
        kind: Kind,
    ) -> Result<Judged, Distrust> {
        let (bytes, trust) = (&publish.payload, &self.settings.trust);
        match kind {
            Kind::Result if publish.retain => Err(Distrust::Retained),
            Kind::Result => Ok(Judged::Result(Box::new(verify(bytes, trust, Some(address))?))),
            Kind::Status => Ok(Judged::Status(Box::new(verify(bytes, trust, Some(address))?))),
            Kind::Info
            | Kind::View
            | Kind::Job
            | Kind::Telemetry
            | Kind::Alarm(_)
            | Kind::Command(_)
            | Kind::Reply
            | Kind::Ack => Err(Distrust::Topic),
        }
    }
}

enum Judged {
    Result(Box<Verified<ResultMessage>>),
    Status(Box<Verified<StatusMessage>>),
}
