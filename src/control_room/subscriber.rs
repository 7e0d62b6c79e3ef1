//! Connects, subscribes, verifies and remembers.
//!
//! A message is verified, compared with what is known of its device and shown. When nothing more is
//! waiting, or after [`MAX_UNSETTLED`] messages, the state is made durable; only then are they
//! acknowledged to the broker and, by a consumer, to their devices. So a crash in between shows a
//! message twice and never hides one, and a burst costs one write.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, SubscribeReasonCode};
use thiserror::Error;

use super::consumer::{Consumer, ConsumerSettings, Word};
use super::judge::{Distrust, Judged, judge};
use super::state::{StateError, StateFile};
use crate::host::clock;
use crate::host::keys::jitter;
use crate::host::mqtt::link::{BrokerSettings, Link, LinkError, SessionOptions};
use crate::host::mqtt::topic::{self, Kind, Topic};
use crate::host::mqtt::{ANSWER, Backoff};
use crate::seal::chain::{self, Chain, Fork, News, Observation, Range, Stream, Verdict};
use crate::seal::trust::TrustStore;
use crate::seal::verify::Verified;
use crate::seal::wire::{ResultMessage, Slug, StatusMessage};

/// Shortest and longest wait before connecting again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Messages shown and not yet remembered; as many as a broker may have under way to us.
pub const MAX_UNSETTLED: usize = 32;

/// Pause before the client is offered acknowledgements that it had no room for.
const CLIENT_BUSY: Duration = Duration::from_millis(10);

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
    /// Acknowledges and asks for what is missing; needs `state`. `None` only listens.
    pub consumer: Option<ConsumerSettings>,
}

/// Why a subscriber cannot go on.
#[derive(Debug, Error)]
pub enum SubscriberError {
    /// Its memory cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// An acknowledgement for what is forgotten at the end would lose it.
    #[error("a consumer that acknowledges must remember: name a file for its state")]
    Forgetful,
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
        /// New, duplicate, gap …
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
    /// A device has signed two histories: seen now, or known from before at the start.
    Alarm(Stream, Fork),
    /// The device was asked to send these again.
    Asked(Stream, Range),
    /// These are missing and no longer asked for.
    Lost(Stream, Range),
}

/// One subscriber. Drive it with [`Subscriber::next`], end it with [`Subscriber::close`].
#[derive(Debug)]
pub struct Subscriber {
    settings: SubscriberSettings,
    chain: Chain,
    state: Option<StateFile>,
    consumer: Option<Consumer>,
    link: Option<Link>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    filters: Vec<Topic>,
    /// Received, not looked at.
    waiting: VecDeque<Publish>,
    /// To be shown before anything else.
    told: VecDeque<Sighting>,
    /// Shown, not acknowledged.
    unsettled: Vec<Publish>,
    /// The chain differs from what is stored.
    is_changed: bool,
}

impl Subscriber {
    /// Reads the memory; does not connect yet.
    pub fn new(settings: SubscriberSettings) -> Result<Self, SubscriberError> {
        let state = settings.state.clone().map(StateFile::new);
        let mut chain = match &state {
            Some(file) => file.load()?,
            None => Chain::default(),
        };
        let mut told: VecDeque<Sighting> =
            chain.forks().map(|(stream, fork)| Sighting::Alarm(stream, fork)).collect();
        if let Some(consumer) = &settings.consumer {
            if state.is_none() {
                return Err(SubscriberError::Forgetful);
            }
            let forgotten = chain.want_everything().into_iter();
            told.extend(forgotten.map(|(stream, range)| Sighting::Lost(stream, range)));
            if consumer.from_start {
                chain.take_up();
            }
        }
        let (site, device) = (settings.site.as_ref(), settings.device.as_ref());
        let filters =
            [Kind::Result, Kind::Status].map(|kind| topic::filter(site, device, kind)).to_vec();
        let signer = settings.consumer.as_ref().map(|consumer| consumer.signer.clone());
        Ok(Self {
            settings,
            chain,
            state,
            consumer: signer.map(Consumer::new),
            link: None,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            retry_at: None,
            filters,
            waiting: VecDeque::new(),
            told,
            unsettled: Vec::new(),
            is_changed: false,
        })
    }

    /// What is known of every device.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits for the next thing worth showing; connects when there is no connection. Asking for the
    /// next says that the last was shown. May be cancelled: nothing is lost thereby.
    pub async fn next(&mut self) -> Result<Sighting, SubscriberError> {
        loop {
            if let Some(sighting) = self.told.pop_front() {
                return Ok(sighting);
            }
            if self.unsettled.len() >= MAX_UNSETTLED {
                self.settle()?;
                // Lets the client write the acknowledgements before more is shown.
                tokio::task::yield_now().await;
            }
            if let Some(publish) = self.waiting.pop_front() {
                return Ok(self.look_at(publish));
            }
            let Some(link) = &mut self.link else {
                self.settle()?;
                return self.connect().await;
            };
            if let Some(event) = link.try_next() {
                self.take(event);
                continue;
            }
            self.settle()?;
            self.speak();
            if !self.unsettled.is_empty() {
                // Gives the client a moment to write what it holds; nothing else would wake us.
                tokio::time::sleep(CLIENT_BUSY).await;
            } else if self.told.is_empty() {
                self.check_answers();
                self.wait().await;
            }
        }
    }

    /// Remembers and acknowledges what was shown, and says goodbye to the broker.
    pub async fn close(mut self) -> Result<(), SubscriberError> {
        self.settle()?;
        if let Some(consumer) = &mut self.consumer {
            let words = consumer.last_words(&self.chain, Instant::now(), clock::now_ms());
            self.say(words);
        }
        if let Some(link) = self.link {
            link.close().await;
        }
        Ok(())
    }

    /// Makes what was shown durable and acknowledges it to the broker.
    fn settle(&mut self) -> Result<(), SubscriberError> {
        if let (Some(file), true) = (&self.state, self.is_changed) {
            file.store(&self.chain)?;
        }
        self.is_changed = false;
        let Some(link) = &self.link else {
            // The broker sends them again on the next connection, where they are duplicates.
            self.unsettled.clear();
            return Ok(());
        };
        // What the client has no room for is acknowledged later: a broker that misses
        // acknowledgements stops sending for good.
        let taken =
            self.unsettled.iter().take_while(|publish| link.accept(publish).is_ok()).count();
        self.unsettled.drain(..taken);
        Ok(())
    }

    /// Leaves a broker that does not answer for what a consumer says: nothing would be said any more.
    fn check_answers(&mut self) {
        let since = self.consumer.as_ref().and_then(Consumer::waiting_since);
        if let (Some(link), Some(since)) = (&self.link, since)
            && since.elapsed() >= ANSWER
        {
            let silent = link.silent();
            let sighting = self.disconnected(silent);
            self.told.push_back(sighting);
        }
    }

    /// Waits until something arrives or something is to be said.
    async fn wait(&mut self) {
        let Some(link) = &mut self.link else { return };
        let wake_at = self.consumer.as_ref().and_then(Consumer::wake_at);
        let sleep = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = link.next() => self.take(event),
            () = sleep => {}
        }
    }

    fn take(&mut self, event: Result<Event, LinkError>) {
        match event {
            Ok(Event::Incoming(Packet::Publish(publish))) => self.waiting.push_back(publish),
            Ok(Event::Incoming(Packet::PubAck(answer))) => {
                if let Some(consumer) = &mut self.consumer {
                    consumer.answered(&answer);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let sighting = self.disconnected(error);
                self.told.push_back(sighting);
            }
        }
    }

    /// Says what a consumer has to say; all it knows is durable at this moment.
    fn speak(&mut self) {
        let (Some(consumer), Some(_)) = (&mut self.consumer, &self.link) else { return };
        let words = consumer.speak(&self.chain, Instant::now(), clock::now_ms());
        self.say(words);
    }

    fn say(&mut self, words: Vec<Word>) {
        let (Some(link), Some(consumer)) = (&self.link, &mut self.consumer) else { return };
        for word in words {
            let (message, asked) = match word {
                Word::Ack(message) => (message, None),
                Word::Ask(message, stream, range) => (message, Some((stream, range))),
                Word::Lost(stream, range) => {
                    self.chain.give_up(&stream, range);
                    self.is_changed = true;
                    self.told.push_back(Sighting::Lost(stream, range));
                    continue;
                }
            };
            let stream = asked.as_ref().map(|(stream, _)| stream);
            match link.publish(message) {
                Ok(()) => {
                    consumer.sent(stream, Instant::now());
                    self.told.extend(asked.map(|(stream, range)| Sighting::Asked(stream, range)));
                }
                // It is said again: the acknowledgement with the next message, the request later.
                Err(error) => {
                    log::warn!("{error}");
                    stream.into_iter().for_each(|stream| consumer.unsent(stream));
                }
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
                    let now = Instant::now();
                    self.backoff.connected(now);
                    if let Some(consumer) = &mut self.consumer {
                        consumer.connected(now);
                    }
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

    /// Verifies, and takes note.
    fn look_at(&mut self, publish: Publish) -> Sighting {
        let judged = judge(&publish, &self.settings.trust);
        let sighting = match judged {
            Ok(Judged::Result(verified)) => self.place(verified, &publish),
            Ok(Judged::Status(verified)) => {
                let news = self.chain.observe_status(&verified.message);
                self.is_changed |= news == News::Changed;
                if news == News::Old {
                    self.unsettled.push(publish.clone());
                    return refused(&publish, Distrust::Stale);
                }
                if let Some(consumer) = &mut self.consumer {
                    consumer.heard_status(&verified.message, Instant::now());
                }
                Sighting::Status(verified)
            }
            Err(reason) => refused(&publish, reason),
        };
        self.unsettled.push(publish);
        sighting
    }

    /// Finds a result's place in its device's history.
    fn place(&mut self, verified: Box<Verified<ResultMessage>>, publish: &Publish) -> Sighting {
        let link = chain::Link::from(verified.as_ref());
        let stream = link.stream();
        let observation = self.chain.observe(&link);
        if let Some(consumer) = &mut self.consumer {
            consumer.heard_result(stream.clone());
        }
        let forgotten = observation.forgotten.iter();
        self.told.extend(forgotten.map(|range| Sighting::Lost(stream.clone(), *range)));
        let is_fork = matches!(observation.verdict, Verdict::Fork(_));
        self.is_changed |= is_fork || observation.verdict.is_fresh();
        match observation.verdict {
            Verdict::Fork(fork) => Sighting::Alarm(stream, fork),
            Verdict::Forked(fork) => refused(publish, Distrust::Forked { seq: fork.seq }),
            Verdict::New
            | Verdict::Gap(_)
            | Verdict::Filled
            | Verdict::Duplicate
            | Verdict::TooOld
            | Verdict::TooManyDevices => {
                Sighting::Result { verified, observation, cose: publish.payload.to_vec() }
            }
        }
    }
}

fn refused(publish: &Publish, reason: Distrust) -> Sighting {
    let topic = String::from_utf8_lossy(&publish.topic).chars().take(200).collect();
    Sighting::Refused { topic, reason }
}
