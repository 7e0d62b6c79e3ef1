//! A publisher as the examples of the MQTT client crate write it: what the outbox is compared with
//! (`scripts/chaos --contrast`). It must not become cleverer than they are.
//!
//! `plain_rumqttc PORT COUNT PAUSE_US` publishes the numbers from 1 to COUNT with QoS 1 to
//! `contrast/rumqttc`, one every PAUSE_US microseconds, and polls for ever; an error is ignored and
//! the next poll connects again. It ends when every number was handed over and nothing was
//! acknowledged for five seconds, and prints `handed=… acknowledged=…`.

#![allow(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

/// Requests that may wait for the client, and packets it may have on their way.
const CHANNEL: usize = 50;
const INFLIGHT: u16 = 20;

/// Pause after an error, before the next poll connects again.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// Without an acknowledgement for so long, none is to come any more.
const SILENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [port, count, pause_us] = numbers[..] else {
        // `cargo bench` without a name starts every bench; there is nothing to measure then.
        eprintln!("plain_rumqttc PORT COUNT PAUSE_US: nothing to do");
        return;
    };
    let port = u16::try_from(port).expect("a port has 16 bits");
    let mut options = MqttOptions::new("plain-rumqttc", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5)).set_outgoing_inflight_upper_limit(INFLIGHT);
    let (client, event_loop) = AsyncClient::new(options, CHANNEL);
    let acknowledged = Arc::new(AtomicU64::new(0));
    tokio::spawn(poll(event_loop, acknowledged.clone()));
    let mut handed = 0;
    for number in 1..=count {
        let text = number.to_string();
        if client.publish("contrast/rumqttc", QoS::AtLeastOnce, false, text).await.is_ok() {
            handed += 1;
        }
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
    }
    let mut before = u64::MAX;
    while acknowledged.load(Ordering::Relaxed) != before {
        before = acknowledged.load(Ordering::Relaxed);
        tokio::time::sleep(SILENCE).await;
    }
    println!("handed={handed} acknowledged={before}");
}

async fn poll(mut event_loop: EventLoop, acknowledged: Arc<AtomicU64>) {
    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(AFTER_ERROR).await,
        }
    }
}
