//! An embedded MQTT 5 broker for the demonstration: loopback only, no persistence, dies with the
//! process. Not for a hospital: it has no authentication and no TLS.
//!
//! `rumqttd` cannot report the port of a listener on port 0, so a free port is looked for, given
//! away and then tried; another process may take it in between, hence the retries. It answers every
//! QoS 1 publish with "success", also when nobody is subscribed, and a client identifier it does not
//! like (anything with `/`, `+`, `#`, `$`) that connects twice brings it down: its clients are ours.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use thiserror::Error;

/// Ports tried before giving up.
const ATTEMPTS: u32 = 8;

/// How long one broker may take until it accepts connections.
const START: Duration = Duration::from_secs(5);

/// Clients at once.
pub const MAX_CONNECTIONS: usize = 32;

/// Largest message, in bytes.
pub const MAX_PAYLOAD: usize = 512 * 1024;

/// Why no broker runs.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No free port on the loopback interface.
    #[error("no free port for the embedded broker")]
    NoPort(#[source] io::Error),
    /// The thread could not be started.
    #[error("cannot start the embedded broker's thread")]
    Thread(#[source] io::Error),
    /// It never accepted a connection.
    #[error("the embedded broker did not answer on any of {ATTEMPTS} ports")]
    Silent,
}

/// A broker on `127.0.0.1` that lives as long as the process.
#[derive(Debug)]
pub struct EmbeddedBroker {
    port: u16,
}

impl EmbeddedBroker {
    /// Starts the broker on a free port and waits until it accepts connections.
    pub fn start() -> Result<Self, BrokerError> {
        for _ in 0..ATTEMPTS {
            let port = free_port().map_err(BrokerError::NoPort)?;
            let ended = spawn(port).map_err(BrokerError::Thread)?;
            if answers(port, &ended) {
                return Ok(Self { port });
            }
        }
        Err(BrokerError::Silent)
    }

    /// TCP port on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn spawn(port: u16) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("demo-broker".to_owned()).spawn(move || {
        if let Err(error) = Broker::new(config(port)).start() {
            log::warn!("embedded broker on port {port}: {error}");
        }
    })
}

/// Whether this broker, and not a stranger who took the port, accepts connections: a broker that
/// could not bind ends its thread.
fn answers(port: u16, broker: &thread::JoinHandle<()>) -> bool {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && !broker.is_finished() {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            thread::sleep(Duration::from_millis(20));
            return !broker.is_finished();
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

fn config(port: u16) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: MAX_PAYLOAD,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let listener = ServerSettings {
        name: "demo".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    Config {
        router: RouterConfig {
            max_connections: MAX_CONNECTIONS,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("demo".to_owned(), listener)])),
        ..Config::default()
    }
}
