//! What a subscriber with a key of its own says to devices: acknowledgements and requests for what
//! is missing, both signed. Decides and signs; sending is the subscriber's.
//!
//! Where a consumer confirms (`delivery.confirm = "consumer"`), a device takes an acknowledgement for
//! everything up to its number, also for results that were sent while no consumer listened. So a
//! consumer never starts in the middle: it asks for every epoch from number 1 on and acknowledges
//! only what it has from there. A late joiner thereby confirms nothing that no consumer has seen,
//! save what the device did not give in spite of being asked again and again, which is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rumqttc::v5::mqttbytes::v5::{PubAck, PubAckReason};

use super::acks::Acks;
use super::gaps::{AskLimits, Gaps, Step};
use crate::host::errors::one_line;
use crate::host::mqtt::ANSWER;
use crate::host::mqtt::link::{MAX_ON_THE_WAY, Message};
use crate::host::mqtt::messages::COSE_TYPE;
use crate::host::mqtt::topic::{self, Kind, Verb};
use crate::seal::chain::{Chain, Range, Source, Stream};
use crate::seal::cose::Ed25519Signer;
use crate::seal::sign::sign;
use crate::seal::verify::{Address, Signed};
use crate::seal::wire::{AckMessage, DeviceState, ResendMessage, StatusMessage, WIRE_VERSION};

/// Signed messages on the way at once.
const MAX_UNDER_WAY: usize = MAX_ON_THE_WAY / 2;

/// Who signs, and what to ask for.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The consumer's key.
    pub signer: Arc<Ed25519Signer>,
    /// Also asks again for what was given up before.
    pub from_start: bool,
}

/// Something to send, or to tell.
#[derive(Debug)]
pub enum Word {
    /// To send: an acknowledgement.
    Ack(Message),
    /// To send, and worth telling: a request for these numbers.
    Ask(Message, Stream, Range),
    /// To tell: these were asked for in vain.
    Lost(Stream, Range),
}

/// The speaking half of a subscriber.
#[derive(Debug)]
pub struct Consumer {
    signer: Arc<Ed25519Signer>,
    acks: Acks,
    gaps: Gaps,
    /// Sent, not answered by the broker, which answers in the order it was sent (MQTT 5, section 4.6);
    /// a request names its stream.
    under_way: VecDeque<(Option<Stream>, Instant)>,
    /// The broker's refusal was told on this connection.
    is_refused: bool,
}

impl Consumer {
    /// Nothing said yet.
    pub fn new(signer: Arc<Ed25519Signer>) -> Self {
        let (acks, gaps) = (Acks::default(), Gaps::new(AskLimits::default()));
        Self { signer, acks, gaps, under_way: VecDeque::new(), is_refused: false }
    }

    /// A connection begins.
    pub fn connected(&mut self, now: Instant) {
        self.under_way.clear();
        self.is_refused = false;
        self.gaps.connected(now);
    }

    /// A result arrived, new or not.
    pub fn heard_result(&mut self, stream: Stream) {
        self.acks.owe(stream);
    }

    /// A device spoke of itself. One that has just connected may have missed what was said.
    pub fn heard_status(&mut self, status: &StatusMessage, now: Instant) {
        self.gaps.heard(status, now);
        if status.state == DeviceState::Online {
            let source = (status.site.clone(), status.device.clone());
            self.acks.owe(Stream { source, epoch: status.epoch });
        }
    }

    /// A word is on its way; the stream of a request.
    pub fn sent(&mut self, asked: Option<&Stream>, now: Instant) {
        self.under_way.push_back((asked.cloned(), now));
    }

    /// A request did not leave: it was not asked in vain.
    pub fn unsent(&mut self, asked: &Stream) {
        self.gaps.unheard(asked);
    }

    /// Since when the broker has owed an answer.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.under_way.front().map(|(_, since)| *since)
    }

    /// The broker answered for the oldest of our messages. A request that no device received was not
    /// asked in vain, and what it asked for is not lost.
    pub fn answered(&mut self, answer: &PubAck) {
        let asked = self.under_way.pop_front().and_then(|(asked, _)| asked);
        if let (Some(stream), true) = (asked, answer.reason != PubAckReason::Success) {
            self.gaps.unheard(&stream);
        }
        let is_taken =
            matches!(answer.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        if !is_taken && !self.is_refused {
            let why = answer.reason;
            log::warn!("the broker does not pass on what this consumer says to devices: {why:?}");
            self.is_refused = true;
        }
    }

    /// What to say now; whoever sends it says so with [`Consumer::sent`].
    pub fn speak(&mut self, chain: &Chain, now: Instant, signed_at_ms: u64) -> Vec<Word> {
        let mut words = self.acknowledge(chain, now, signed_at_ms);
        let room = self.room().saturating_sub(words.len());
        if room == 0 {
            return words;
        }
        for step in self.gaps.next(chain, now, room) {
            match step {
                Step::Lost(stream, range) => {
                    // What lies above it can be acknowledged as soon as this is remembered.
                    self.acks.owe(stream.clone());
                    words.push(Word::Lost(stream, range));
                }
                Step::Ask(stream, range) => {
                    let (site, device) = stream.source.clone();
                    let (v, epoch, Range { from, to }) = (WIRE_VERSION, stream.epoch, range);
                    let request = ResendMessage { v, site, device, epoch, from, to, signed_at_ms };
                    let message =
                        self.signed(&request, &stream.source, Kind::Command(Verb::Resend));
                    words.extend(message.map(|message| Word::Ask(message, stream, range)));
                }
            }
        }
        words
    }

    /// The acknowledgements still owed, at the end.
    pub fn last_words(&mut self, chain: &Chain, now: Instant, signed_at_ms: u64) -> Vec<Word> {
        self.acks.hurry();
        self.acknowledge(chain, now, signed_at_ms)
    }

    fn acknowledge(&mut self, chain: &Chain, now: Instant, signed_at_ms: u64) -> Vec<Word> {
        let mut words = Vec::new();
        for (stream, seq) in self.acks.next(chain, now, self.room()) {
            let (site, device) = stream.source.clone();
            let (v, epoch) = (WIRE_VERSION, stream.epoch);
            let ack = AckMessage { v, site, device, epoch, seq, signed_at_ms };
            words.extend(self.signed(&ack, &stream.source, Kind::Ack).map(Word::Ack));
        }
        words
    }

    /// When [`Consumer::speak`] has something although nothing was heard meanwhile.
    pub fn wake_at(&self) -> Option<Instant> {
        // Without room there is nothing to say before the broker answers, which wakes as well.
        let times = [self.acks.wake_at(), self.gaps.wake_at()].into_iter().flatten();
        let speaks = times.min().filter(|_| self.room() > 0);
        speaks.into_iter().chain(self.waiting_since().map(|since| since + ANSWER)).min()
    }

    fn room(&self) -> usize {
        MAX_UNDER_WAY.saturating_sub(self.under_way.len())
    }

    fn signed<T: Signed>(&self, body: &T, source: &Source, kind: Kind) -> Option<Message> {
        let payload = sign(body, self.signer.as_ref())
            .inspect_err(|error| log::error!("a message is not signed: {}", one_line(error)))
            .ok()?;
        let address = Address { site: source.0.clone(), device: source.1.clone() };
        Some(Message {
            topic: topic::topic(&address, kind),
            payload,
            confirmed: true,
            retain: false,
            content_type: COSE_TYPE,
            correlation: None,
        })
    }
}
