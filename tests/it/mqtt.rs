//! The uplink against a real broker: nothing is lost when it dies, the will speaks for a device
//! that vanished, and an answer that is not "success" confirms nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hcc_edge::host::mqtt::delivery::DeliveryLimits;
use hcc_edge::host::mqtt::link::BrokerSettings;
use hcc_edge::host::mqtt::messages::{JobPhase, JobUpdate, Presence};
use hcc_edge::host::mqtt::topic::{self, AlarmCode, Kind, Verb};
use hcc_edge::host::mqtt::uplink::{UplinkEvent, UplinkSettings};
use hcc_edge::host::mqtt::{Outbox, Outgoing, Uplink};
use hcc_edge::seal::verify::Address;
use hcc_edge::seal::wire::Slug;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::json;
use tokio::sync::mpsc;

use crate::broker::Mosquitto;

/// Limit on every wait in this file; generous, because it only decides how long a failure takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An outbox that survives the uplink, as the journal does.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Outgoing>>>);

impl Shelf {
    fn add(&self, seqs: std::ops::RangeInclusive<u64>) {
        let outgoing = |seq: u64| Outgoing {
            seq,
            cose: Arc::from(seq.to_string().into_bytes()),
            view_json: Some(Arc::from(format!("{{\"seq\":{seq}}}").into_bytes())),
        };
        self.0.lock().unwrap().extend(seqs.map(outgoing));
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Outbox for Shelf {
    fn window(&mut self, n: usize) -> Vec<Outgoing> {
        self.0.lock().unwrap().iter().take(n).cloned().collect()
    }

    fn confirmed(&mut self, seq: u64) {
        self.0.lock().unwrap().retain(|o| o.seq != seq);
    }
}

fn address() -> Address {
    Address { site: Slug::new("demo").unwrap(), device: Slug::new("box-1").unwrap() }
}

fn start(port: u16, shelf: &Shelf) -> (Uplink, mpsc::Receiver<UplinkEvent>) {
    let url = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
    let settings = UplinkSettings {
        broker: BrokerSettings::new(url),
        address: address(),
        info_json: Arc::from(b"{\"schema\":1}".as_slice()),
        delivery: DeliveryLimits { window: 8, slow_retry: Duration::from_millis(200) },
        backoff: (Duration::from_millis(20), Duration::from_millis(200)),
    };
    let signer = Arc::new(|presence| match presence {
        Presence::Online => b"online".to_vec(),
        Presence::Stopped => b"stopped".to_vec(),
        Presence::Offline => b"offline".to_vec(),
    });
    Uplink::start(settings, Box::new(shelf.clone()), signer)
}

/// The first event `wanted` accepts.
async fn event<T>(
    events: &mut mpsc::Receiver<UplinkEvent>,
    mut wanted: impl FnMut(UplinkEvent) -> Option<T>,
) -> T {
    let search = async {
        loop {
            let event = events.recv().await.expect("the uplink ended");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("no such event in time")
}

/// A plain client that reads everything of the device and comes back when the broker does.
struct Listener {
    client: AsyncClient,
    messages: mpsc::UnboundedReceiver<Publish>,
}

impl Listener {
    async fn start(port: u16, filter: &str) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let id = format!("listener-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_clean_start(true).set_keep_alive(Duration::from_secs(5));
        let (client, mut event_loop) = AsyncClient::new(options, 16);
        let (sender, messages) = mpsc::unbounded_channel();
        let (ready, mut is_ready) = mpsc::channel(64);
        let (subscriber, filter) = (client.clone(), filter.to_owned());
        tokio::spawn(async move {
            loop {
                match event_loop.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        subscriber.try_subscribe(filter.clone(), QoS::AtMostOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.try_send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        if sender.send(publish).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        let subscribed = tokio::time::timeout(PATIENCE, is_ready.recv()).await;
        subscribed.expect("not subscribed in time").expect("the listener ended");
        Self { client, messages }
    }

    /// The next message of this kind.
    async fn next(&mut self, kind: Kind) -> Publish {
        let wanted = topic::topic(&address(), kind);
        let search = async {
            loop {
                let publish = self.messages.recv().await.expect("the listener ended");
                if publish.topic == wanted.as_bytes() {
                    return publish;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("no such message in time")
    }

    async fn until(&mut self, kind: Kind, payload: &[u8]) -> Publish {
        loop {
            let publish = self.next(kind).await;
            if publish.payload == payload {
                return publish;
            }
        }
    }
}

async fn until_empty(shelf: &Shelf) {
    until_left(shelf, 0).await;
}

/// Waits until so few results are without a confirmation.
async fn until_left(shelf: &Shelf, left: usize) {
    let wait = async {
        while shelf.left() > left {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the outbox did not drain");
}

/// The broker dies with a full window unanswered; sessions are lost. Everything arrives.
#[tokio::test]
async fn every_result_arrives_across_a_broker_kill() {
    let mut broker = Mosquitto::start();
    let mut listener = Listener::start(broker.port(), "hcc/v1/#").await;
    let shelf = Shelf::default();
    shelf.add(1..=60);
    let (uplink, mut events) = start(broker.port(), &shelf);
    until_empty(&shelf).await;

    broker.freeze();
    shelf.add(61..=200);
    uplink.notify_outbox();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(shelf.left(), 140, "nothing is confirmed by a frozen broker");
    broker.kill();
    event(&mut events, |e| matches!(e, UplinkEvent::Disconnected { .. }).then_some(())).await;
    broker.restart();
    until_empty(&shelf).await;

    let mut missing: BTreeSet<u64> = (1..=200).collect();
    while !missing.is_empty() {
        let publish = listener.next(Kind::Result).await;
        let text = std::str::from_utf8(&publish.payload).unwrap();
        missing.remove(&text.parse().unwrap());
    }
    uplink.stop().await;
}

#[tokio::test]
async fn results_carry_their_content_type_and_views_come_first() {
    let broker = Mosquitto::start();
    let mut listener = Listener::start(broker.port(), "hcc/v1/demo/box-1/result/#").await;
    let shelf = Shelf::default();
    shelf.add(7..=7);
    let (uplink, _events) = start(broker.port(), &shelf);
    let view = listener.next(Kind::View).await;
    assert_eq!(view.payload, b"{\"seq\":7}".as_slice());
    let result = listener.next(Kind::Result).await;
    let content_type = result.properties.unwrap().content_type.unwrap();
    assert_eq!(content_type, "application/cose; cose-type=\"cose-sign1\"");
    assert!(!result.retain);
    uplink.stop().await;
}

/// A runtime that goes away closes the socket without DISCONNECT, as a killed process does.
#[tokio::test]
async fn the_will_speaks_when_the_device_vanishes() {
    let broker = Mosquitto::start();
    let port = broker.port();
    let mut listener = Listener::start(port, "hcc/v1/demo/+/status").await;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shelf = Shelf::default();
    let uplink = runtime.spawn(async move { start(port, &shelf) }).await.unwrap();
    listener.until(Kind::Status, b"online").await;
    runtime.shutdown_background();
    listener.until(Kind::Status, b"offline").await;
    drop(uplink);
    let mut late = Listener::start(port, "hcc/v1/demo/box-1/status").await;
    let retained = late.next(Kind::Status).await;
    assert!(retained.retain && retained.payload == b"offline".as_slice());
}

#[tokio::test]
async fn a_clean_stop_leaves_stopped_and_no_will() {
    let broker = Mosquitto::start();
    let shelf = Shelf::default();
    let (uplink, mut events) = start(broker.port(), &shelf);
    event(&mut events, |e| (e == UplinkEvent::Connected).then_some(())).await;
    uplink.stop().await;
    let mut late = Listener::start(broker.port(), "hcc/v1/#").await;
    let status = late.next(Kind::Status).await;
    assert!(status.retain && status.payload == b"stopped".as_slice());
    let mut late = Listener::start(broker.port(), "hcc/v1/demo/box-1/info").await;
    assert_eq!(late.next(Kind::Info).await.payload, b"{\"schema\":1}".as_slice());
}

#[tokio::test]
async fn a_publish_the_broker_denies_stays_in_the_outbox() {
    let acl = "topic read hcc/v1/#\ntopic write hcc/v1/demo/box-1/status\n\
               topic write hcc/v1/demo/box-1/alarm/+\n";
    let broker = Mosquitto::start_with_acl(acl);
    let mut listener = Listener::start(broker.port(), "hcc/v1/demo/box-1/#").await;
    let shelf = Shelf::default();
    shelf.add(1..=2);
    let (uplink, mut events) = start(broker.port(), &shelf);
    let mut refusals = 0;
    event(&mut events, |e| match e {
        UplinkEvent::Refused { seq: 1, reason } => {
            assert_eq!(reason, "NotAuthorized");
            refusals += 1;
            (refusals == 3).then_some(())
        }
        UplinkEvent::Confirmed(seq) => panic!("{seq} confirmed although it was denied"),
        _ => None,
    })
    .await;
    assert_eq!(shelf.left(), 2);
    let alarm = loop {
        let alarm = listener.next(Kind::Alarm(AlarmCode::Auth)).await;
        if !alarm.payload.is_empty() {
            break alarm;
        }
    };
    assert!(String::from_utf8_lossy(&alarm.payload).contains("NotAuthorized"));
    uplink.stop().await;
}

#[tokio::test]
async fn without_a_subscriber_a_result_waits_for_one() {
    let broker = Mosquitto::start();
    let shelf = Shelf::default();
    shelf.add(1..=20);
    let (uplink, mut events) = start(broker.port(), &shelf);
    let mut unheard = 0;
    event(&mut events, |e| match e {
        UplinkEvent::NoSubscriber(_) => {
            unheard += 1;
            (unheard == 10).then_some(())
        }
        UplinkEvent::Confirmed(seq) => panic!("{seq} confirmed although nobody listens"),
        _ => None,
    })
    .await;
    assert_eq!(shelf.left(), 20);
    let mut listener = Listener::start(broker.port(), "hcc/v1/demo/box-1/#").await;
    let alarm = listener.next(Kind::Alarm(AlarmCode::Delivery)).await;
    assert!(alarm.retain && !alarm.payload.is_empty());
    until_empty(&shelf).await;
    listener.until(Kind::Alarm(AlarmCode::Delivery), b"").await;
    uplink.stop().await;
}

/// One message above the broker's limit steps aside; without the check it would end the
/// connection again and again.
#[tokio::test]
async fn a_result_too_large_for_the_broker_holds_nothing_up() {
    let broker = Mosquitto::start_with("max_packet_size 4096\n");
    let mut listener = Listener::start(broker.port(), "hcc/v1/demo/box-1/result").await;
    let shelf = Shelf::default();
    let large = Outgoing { seq: 1, cose: Arc::from(vec![b'x'; 8000]), view_json: None };
    shelf.0.lock().unwrap().push(large);
    shelf.add(2..=4);
    let (uplink, mut events) = start(broker.port(), &shelf);
    listener.until(Kind::Result, b"4").await;
    let reason = event(&mut events, |e| match e {
        UplinkEvent::Refused { seq: 1, reason } => Some(reason),
        UplinkEvent::Disconnected { why } => panic!("disconnected: {why}"),
        _ => None,
    })
    .await;
    assert!(reason.contains("4096"), "{reason}");
    until_left(&shelf, 1).await;
    assert_eq!(shelf.left(), 1, "the large one stays");
    uplink.stop().await;
}

#[tokio::test]
async fn commands_arrive_parsed_and_replies_carry_the_correlation() {
    let broker = Mosquitto::start();
    let mut listener = Listener::start(broker.port(), "hcc/v1/demo/box-1/#").await;
    let (uplink, mut events) = start(broker.port(), &Shelf::default());
    listener.until(Kind::Status, b"online").await;
    let send = |kind: &str, body: &'static [u8], retain: bool| {
        let properties = PublishProperties {
            correlation_data: Some(b"c-1".to_vec().into()),
            ..PublishProperties::default()
        };
        let topic = format!("hcc/v1/demo/box-1/{kind}");
        listener
            .client
            .try_publish_with_properties(topic, QoS::AtLeastOnce, retain, body, properties)
            .unwrap();
    };
    send("cmd/erase", b"", false);
    send("ack", b"signed", false);
    send("cmd/ping", b"{}", false);
    event(&mut events, |e| (e == UplinkEvent::Ack(Arc::from(b"signed".as_slice()))).then_some(()))
        .await;
    let command = event(&mut events, |e| match e {
        UplinkEvent::Command(command) => Some(command),
        _ => None,
    })
    .await;
    assert_eq!((command.verb, command.body.as_slice()), (Verb::Ping, b"{}".as_slice()));
    uplink.reply(&command, json!({"ok": true}));
    let reply = listener.next(Kind::Reply).await;
    let body: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(body, json!({"ok": true, "verb": "ping"}));
    assert_eq!(reply.properties.unwrap().correlation_data.unwrap(), b"c-1".as_slice());
    let job = heapless::String::try_from("00112233aabbccdd").unwrap();
    uplink.publish_job(&JobUpdate { job, phase: JobPhase::Done { seq: 9 } });
    assert!(String::from_utf8_lossy(&listener.next(Kind::Job).await.payload).contains("\"seq\":9"));
    uplink.stop().await;
}

#[tokio::test]
async fn without_a_broker_the_uplink_keeps_trying_and_still_stops() {
    let shelf = Shelf::default();
    shelf.add(1..=3);
    let (uplink, mut events) = start(crate::broker::free_port(), &shelf);
    for _ in 0..3 {
        event(&mut events, |e| matches!(e, UplinkEvent::Disconnected { .. }).then_some(())).await;
    }
    tokio::time::timeout(PATIENCE, uplink.stop()).await.expect("stop hangs");
    assert_eq!(shelf.left(), 3);
}

/// The demonstration's broker does what the demonstration needs: QoS 1, retained, will.
#[cfg(feature = "demo")]
#[tokio::test]
async fn the_embedded_broker_delivers_retains_and_publishes_the_will() {
    let port = hcc_edge::host::broker::EmbeddedBroker::start().unwrap().port();
    let mut listener = Listener::start(port, "hcc/v1/#").await;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shelf = Shelf::default();
    shelf.add(1..=40);
    let moved = shelf.clone();
    let uplink = runtime.spawn(async move { start(port, &moved) }).await.unwrap();
    for seq in 1..=40u64 {
        listener.until(Kind::Result, seq.to_string().as_bytes()).await;
    }
    until_empty(&shelf).await;
    runtime.shutdown_background();
    listener.until(Kind::Status, b"offline").await;
    drop(uplink);
    let mut late = Listener::start(port, "hcc/v1/demo/box-1/status").await;
    assert_eq!(late.next(Kind::Status).await.payload, b"offline".as_slice());

    let (uplink, mut events) = start(port, &shelf);
    event(&mut events, |e| (e == UplinkEvent::Connected).then_some(())).await;
    uplink.stop().await;
    let mut late = Listener::start(port, "hcc/v1/demo/+/status").await;
    assert_eq!(late.next(Kind::Status).await.payload, b"stopped".as_slice());
}
