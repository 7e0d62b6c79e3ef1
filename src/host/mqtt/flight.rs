//! Which packet is which. `rumqttc` does not say what packet id a publish was given; it reports
//! `Outgoing::Publish(id)` in the order of submission, and that order is all there is. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::topic::AlarmCode;

/// What a publish was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// The signed result with this sequence number.
    Result(u64),
    /// The JSON view of that result.
    View(u64),
    /// The device's presence.
    Status,
    /// The last presence before a clean end.
    Farewell,
    /// The birth certificate.
    Info,
    /// An alarm raised or cleared.
    Alarm(AlarmCode),
    /// The answer to a command.
    Reply,
    /// QoS 0: nobody answers.
    Unconfirmed,
}

/// The publishes of one connection between submission and the broker's answer. It dies with the
/// connection.
#[derive(Debug, Default)]
pub struct Flight {
    submitted: VecDeque<(Submission, Instant)>,
    in_flight: BTreeMap<u16, (Submission, Instant)>,
}

impl Flight {
    /// Handed to the client.
    pub fn submitted(&mut self, what: Submission, now: Instant) {
        self.submitted.push_back((what, now));
    }

    /// The client wrote the next publish and gave it `packet_id` (0 means QoS 0).
    pub fn sent(&mut self, packet_id: u16) -> Option<Submission> {
        let (what, since) = self.submitted.pop_front()?;
        if packet_id != 0 {
            self.in_flight.insert(packet_id, (what, since));
        }
        Some(what)
    }

    /// The broker answered for `packet_id`; `None` when nothing of that id is in flight.
    pub fn answered(&mut self, packet_id: u16) -> Option<Submission> {
        self.in_flight.remove(&packet_id).map(|(what, _)| what)
    }

    /// Since when the oldest publish has been waiting for the broker.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.submitted.iter().chain(self.in_flight.values()).map(|(_, since)| *since).min()
    }

    /// Publishes not answered yet.
    pub fn len(&self) -> usize {
        self.submitted.len() + self.in_flight.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn answers_find_their_publish_in_any_order() {
        let mut flight = Flight::default();
        for what in [Submission::View(7), Submission::Unconfirmed, Submission::Result(7)] {
            flight.submitted(what, now());
        }
        assert_eq!(flight.sent(1), Some(Submission::View(7)));
        assert_eq!(flight.sent(0), Some(Submission::Unconfirmed));
        assert_eq!(flight.sent(2), Some(Submission::Result(7)));
        assert_eq!(flight.answered(2), Some(Submission::Result(7)));
        assert_eq!(flight.answered(1), Some(Submission::View(7)));
        assert!(flight.is_empty());
    }

    #[test]
    fn the_oldest_wait_is_known_until_it_is_answered() {
        let mut flight = Flight::default();
        let start = now();
        let later = |seconds| start + std::time::Duration::from_secs(seconds);
        assert_eq!(flight.waiting_since(), None);
        flight.submitted(Submission::Result(1), later(1));
        flight.submitted(Submission::Result(2), later(2));
        flight.sent(1);
        assert_eq!(flight.waiting_since(), Some(later(1)));
        flight.answered(1);
        assert_eq!(flight.waiting_since(), Some(later(2)), "not even written yet");
    }

    #[test]
    fn an_answer_nobody_asked_for_confirms_nothing() {
        let mut flight = Flight::default();
        flight.submitted(Submission::Result(1), now());
        assert_eq!(flight.answered(1), None);
        assert_eq!(flight.sent(1), Some(Submission::Result(1)));
        assert_eq!(flight.answered(2), None);
        assert_eq!(flight.answered(1), Some(Submission::Result(1)));
        assert_eq!(flight.answered(1), None);
        assert_eq!(flight.sent(3), None);
    }

    proptest! {
        /// Packet ids wrap and are reused as a real client does; every result is matched once.
        #[test]
        fn every_publish_is_answered_exactly_once(order in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut flight = Flight::default();
            let mut free: Vec<u16> = (1..=8).collect();
            let mut used: Vec<(u16, u64)> = Vec::new();
            let mut answered = Vec::new();
            for (seq, pick) in order.iter().enumerate() {
                let seq = seq as u64;
                if free.is_empty() {
                    let (id, expected) = used.remove(usize::from(*pick) % used.len());
                    prop_assert_eq!(flight.answered(id), Some(Submission::Result(expected)));
                    answered.push(expected);
                    free.push(id);
                }
                let id = free.remove(usize::from(*pick) % free.len());
                flight.submitted(Submission::Result(seq), now());
                flight.sent(id);
                used.push((id, seq));
            }
            for (id, expected) in used {
                prop_assert_eq!(flight.answered(id), Some(Submission::Result(expected)));
                answered.push(expected);
            }
            answered.sort_unstable();
            prop_assert_eq!(answered, (0..order.len() as u64).collect::<Vec<_>>());
            prop_assert!(flight.is_empty());
        }
    }
}
