//! One connection to the broker, from CONNECT to its end. A link is never repaired: after the first
//! error it is dropped and a new one is opened.
//!
//! A task of its own polls `rumqttc` and is never interrupted, because a cancelled poll can lose a
//! packet half way; whoever holds the link only submits and reads events.

use std::io;
use std::path::Path;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, LastWill, LastWillProperties, Packet, Publish, PublishProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::messages::COSE_TYPE;
use super::tls;
use super::topic::Topic;
use crate::config::{BrokerUrl, TlsFiles};
use crate::host::certificates::TlsError;

/// Highest packet id in use. Well above what is ever on the way, so that a broker that answers out
/// of order does not run into an id that is still taken (`rumqttc` stops sending then); its own
/// default of 65535 costs a table of some 10 MB.
const MAX_PACKET_ID: u16 = 200;

/// Requests that wait for the polling task. More than [`MAX_ON_THE_WAY`], so submitting never waits.
const REQUESTS: usize = 64;

/// Publishes on the way at once, over all topics.
pub const MAX_ON_THE_WAY: usize = 40;

/// Events read but not yet handled.
const EVENTS: usize = 64;

/// Unacknowledged messages the broker may have under way to us.
const RECEIVE_MAXIMUM: u16 = 32;

/// Largest packet the broker may send us: everything that is looked at is 16 KiB and its topic.
const MAX_INCOMING_BYTES: u32 = 32 * 1024;

/// How long a clean end may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Host, port and whether TLS is used.
    pub url: BrokerUrl,
    /// Needed with `mqtts://`.
    pub tls: Option<TlsFiles>,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// Interval of pings, at least 5 s; a dead broker is noticed after at most twice that.
    pub keep_alive: Duration,
    /// Limit on connecting, TLS included, rounded up to whole seconds.
    pub connect_timeout: Duration,
    /// Largest packet sent, in bytes.
    pub max_packet_bytes: u32,
}

impl BrokerSettings {
    /// Defaults for one address: ping every 15 s, 30 s to connect, packets up to 256 KiB.
    pub fn new(url: BrokerUrl) -> Self {
        Self {
            url,
            tls: None,
            credentials: None,
            keep_alive: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(30),
            max_packet_bytes: 256 * 1024,
        }
    }
}

/// User name and password; not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Credentials {
    /// With the first line of a file as the password.
    pub fn read(user: &str, password_file: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(password_file)?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        Ok(Self { user: user.to_owned(), password })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What kind of session to open.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Client identifier; a second connection of the same name ends the first.
    pub client_id: String,
    /// Published, retained, by the broker when the connection breaks.
    pub will: Option<Will>,
    /// How long the broker keeps what was not delivered; zero asks for a clean start.
    pub kept_for: Duration,
    /// Incoming QoS 1 messages are acknowledged by [`Link::accept`] instead of on arrival.
    pub manual_acks: bool,
}

/// The broker's last word for a device that vanished: a signed `offline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: Topic,
    /// COSE_Sign1.
    pub payload: Vec<u8>,
}

/// Why a connection could not be made or ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The settings ask for something impossible.
    #[error("broker {0}: mqtts:// needs an authority certificate in the config")]
    NoAuthority(String),
    /// The certificates cannot be used.
    #[error("cannot prepare TLS")]
    Tls(#[from] TlsError),
    /// No TCP connection, a failed handshake, or no answer in time.
    #[error("cannot reach broker {broker}")]
    Unreachable {
        /// Address.
        broker: String,
        /// Why.
        source: Box<ConnectionError>,
    },
    /// The broker answered and refused.
    #[error("broker {broker} refuses the connection: {code:?}")]
    Refused {
        /// Address.
        broker: String,
        /// MQTT 5 reason.
        code: ConnectReturnCode,
    },
    /// The connection was up and ended.
    #[error("connection to broker {broker} ended")]
    Lost {
        /// Address.
        broker: String,
        /// Why, when known.
        source: Option<Box<ConnectionError>>,
    },
    /// The client takes no more requests.
    #[error("the client for broker {0} is stuck")]
    Stuck(String),
    /// The broker is connected and does not acknowledge what it is sent.
    #[error("broker {0} does not acknowledge what it is sent")]
    Silent(String),
}

impl LinkError {
    /// Whether the broker turned us away for who we are rather than for how it feels.
    pub fn is_refused_identity(&self) -> bool {
        use ConnectReturnCode as Code;
        matches!(
            self,
            Self::Refused {
                code: Code::NotAuthorized | Code::BadUserNamePassword | Code::Banned,
                ..
            }
        )
    }
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    /// Topic name.
    pub topic: Topic,
    /// Bytes.
    pub payload: Vec<u8>,
    /// Acknowledged by the broker (QoS 1), or sent once and forgotten (QoS 0).
    pub confirmed: bool,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// MQTT 5 content type.
    pub content_type: &'static str,
    /// MQTT 5 correlation data.
    pub correlation: Option<Vec<u8>>,
}

impl Message {
    fn packet(self) -> Publish {
        let qos = if self.confirmed { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let properties = PublishProperties {
            content_type: Some(self.content_type.to_owned()),
            correlation_data: self.correlation.map(Into::into),
            ..PublishProperties::default()
        };
        let mut packet = Publish::new(self.topic.as_str(), qos, self.payload, Some(properties));
        packet.retain = self.retain;
        packet
    }
}

/// Why a message was not submitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotSubmitted {
    /// Larger than the broker or the settings allow.
    #[error("packet of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the whole packet.
        bytes: usize,
        /// The smaller of both limits.
        limit: usize,
    },
    /// The client takes no more requests; the link is to be dropped.
    #[error("no room in the request queue")]
    Full,
}

/// One open connection. Dropping it closes the socket without a word, so the will is published.
#[derive(Debug)]
pub struct Link {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    poller: JoinHandle<()>,
    limit_bytes: usize,
    broker: String,
    session_present: bool,
}

impl Link {
    /// Connects and waits for the broker's CONNACK.
    pub async fn open(
        settings: &BrokerSettings,
        session: SessionOptions,
    ) -> Result<Self, LinkError> {
        let broker = settings.url.to_string();
        let (client, event_loop) = AsyncClient::new(options(settings, session)?, REQUESTS);
        let (sender, events) = mpsc::channel(EVENTS);
        let poller = tokio::spawn(poll(event_loop, sender, keep_alive(settings)));
        let limit_bytes = settings.max_packet_bytes as usize;
        let mut link = Self { client, events, poller, limit_bytes, broker, session_present: false };
        match link.events.recv().await {
            Some(Ok(Event::Incoming(Packet::ConnAck(ack)))) => {
                link.session_present = ack.session_present;
                if let Some(max) = ack.properties.and_then(|p| p.max_packet_size) {
                    link.limit_bytes = link.limit_bytes.min(max as usize);
                }
                Ok(link)
            }
            Some(Err(ConnectionError::ConnectionRefused(code))) => {
                Err(LinkError::Refused { broker: link.broker.clone(), code })
            }
            Some(Err(source)) => Err(LinkError::Unreachable {
                broker: link.broker.clone(),
                source: Box::new(source),
            }),
            Some(Ok(_)) | None => Err(link.lost(None)),
        }
    }

    /// Whether the broker kept an earlier session of this client.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// The next thing that happened. May be cancelled.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        match self.events.recv().await {
            Some(Ok(event)) => Ok(event),
            Some(Err(source)) => Err(self.lost(Some(source))),
            None => Err(self.lost(None)),
        }
    }

    /// What has happened already, if anything.
    pub fn try_next(&mut self) -> Option<Result<Event, LinkError>> {
        match self.events.try_recv() {
            Ok(Ok(event)) => Some(Ok(event)),
            Ok(Err(source)) => Some(Err(self.lost(Some(source)))),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(Err(self.lost(None))),
        }
    }

    /// Hands a message to the client, after checking its size: one packet above the broker's limit
    /// would end the connection and everything on its way.
    pub fn publish(&self, message: Message) -> Result<(), NotSubmitted> {
        let packet = message.packet();
        let bytes = packet.size() + PACKET_ID_BYTES;
        if bytes > self.limit_bytes {
            return Err(NotSubmitted::TooLarge { bytes, limit: self.limit_bytes });
        }
        let Publish { qos, retain, topic, payload, properties, .. } = packet;
        let topic = String::from_utf8_lossy(&topic).into_owned();
        self.client
            .try_publish_with_properties(
                topic,
                qos,
                retain,
                payload,
                properties.unwrap_or_default(),
            )
            .map_err(|_| NotSubmitted::Full)
    }

    /// Subscribes with QoS 1.
    pub fn subscribe(&self, filters: &[Topic]) -> Result<(), LinkError> {
        let filters = filters.iter().map(|f| Filter::new(f.as_str(), QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).map_err(|_| LinkError::Stuck(self.broker.clone()))
    }

    /// Acknowledges a received message (with `manual_acks`).
    pub fn accept(&self, publish: &Publish) -> Result<(), LinkError> {
        self.client.try_ack(publish).map_err(|_| LinkError::Stuck(self.broker.clone()))
    }

    /// Says DISCONNECT, so that the broker does not publish the will, and waits until it is out.
    pub async fn close(mut self) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let said = async {
            while let Some(Ok(event)) = self.events.recv().await {
                if event == Event::Outgoing(Outgoing::Disconnect) {
                    return;
                }
            }
        };
        if tokio::time::timeout(GOODBYE, said).await.is_err() {
            log::warn!("broker {}: no clean end within {GOODBYE:?}", self.broker);
        }
    }

    /// A stuck client as an error.
    pub fn stuck(&self) -> LinkError {
        LinkError::Stuck(self.broker.clone())
    }

    /// A broker that owes an acknowledgement as an error.
    pub fn silent(&self) -> LinkError {
        LinkError::Silent(self.broker.clone())
    }

    fn lost(&self, source: Option<ConnectionError>) -> LinkError {
        LinkError::Lost { broker: self.broker.clone(), source: source.map(Box::new) }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// Size of the packet id that `rumqttc` adds after the size was taken.
const PACKET_ID_BYTES: usize = 2;

fn keep_alive(settings: &BrokerSettings) -> Duration {
    settings.keep_alive.max(Duration::from_secs(5))
}

/// Polls until the first error or until nobody listens. A panic inside ends the channel, which
/// reads as a lost connection.
async fn poll(
    mut event_loop: EventLoop,
    events: mpsc::Sender<Result<Event, ConnectionError>>,
    keep_alive: Duration,
) {
    loop {
        let polled = event_loop.poll().await;
        match &polled {
            // "No keep-alive" is legal; the client would ping without a pause.
            Ok(Event::Incoming(Packet::ConnAck(ack)))
                if ack.properties.as_ref().and_then(|p| p.server_keep_alive) == Some(0) =>
            {
                event_loop.options.set_keep_alive(keep_alive);
            }
            // We allow no alias, and the client would remember every one.
            Ok(Event::Incoming(Packet::Publish(publish)))
                if publish.properties.as_ref().is_some_and(|p| p.topic_alias.is_some()) =>
            {
                log::warn!("the broker uses a topic alias, which it was not allowed");
                return;
            }
            Ok(_) | Err(_) => {}
        }
        let ended = polled.is_err();
        if events.send(polled).await.is_err() || ended {
            return;
        }
    }
}

/// View and result are two small packets: the second must not wait for the first one's TCP ACK.
fn without_delay() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

fn options(settings: &BrokerSettings, session: SessionOptions) -> Result<MqttOptions, LinkError> {
    let mut options = MqttOptions::new(session.client_id, settings.url.host(), settings.url.port());
    let kept_s = u32::try_from(session.kept_for.as_secs()).unwrap_or(u32::MAX);
    options
        .set_keep_alive(keep_alive(settings))
        .set_connection_timeout(settings.connect_timeout.as_secs_f64().ceil().max(1.0) as u64)
        .set_clean_start(kept_s == 0)
        .set_session_expiry_interval(Some(kept_s))
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_max_packet_size(Some(MAX_INCOMING_BYTES))
        .set_outgoing_inflight_upper_limit(MAX_PACKET_ID)
        .set_request_channel_capacity(REQUESTS)
        .set_manual_acks(session.manual_acks)
        .set_network_options(without_delay());
    if let Some(Credentials { user, password }) = &settings.credentials {
        options.set_credentials(user.clone(), password.clone());
    }
    if let Some(will) = session.will {
        let properties = LastWillProperties {
            delay_interval: None,
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: Some(COSE_TYPE.to_owned()),
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        options.set_last_will(LastWill::new(
            will.topic.as_str(),
            will.payload,
            QoS::AtLeastOnce,
            true,
            Some(properties),
        ));
    }
    if settings.url.tls() {
        let Some(files) = &settings.tls else {
            return Err(LinkError::NoAuthority(settings.url.to_string()));
        };
        let config = tls::client_config(files)?;
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}
