//! What to send next and what to hold back. Pure: the outbox and the time are arguments.
//!
//! ```text
//!            broker: success                      → confirmed in the outbox
//!  outbox →  on the way  → broker: no subscriber  → stream held, then one probe at a time
//!            broker: refused, or too large        → this message parked, the others go on
//!            connection lost                      → everything is in the outbox still
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages set aside one by one; when so many are, the stream waits for the first of them.
pub const MAX_PARKED: usize = 64;

/// A signed result that no consumer has confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Sequence number within the epoch.
    pub seq: u64,
    /// COSE_Sign1, exactly as signed.
    pub cose: Arc<[u8]>,
    /// The JSON view, when views are published.
    pub view_json: Option<Arc<[u8]>>,
}

/// The results without a confirmation: a view of the journal.
pub trait Outbox: Send {
    /// The first `n` unconfirmed results in the order of `seq`.
    fn window(&mut self, n: usize) -> Vec<Outgoing>;

    /// The broker has `seq`. From here on [`Outbox::window`] leaves it out; making that durable may
    /// take longer, because sending twice is allowed and losing is not.
    fn confirmed(&mut self, seq: u64);
}

/// What the broker said about one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Reason 0x00.
    Delivered,
    /// Reason 0x10: accepted, and nobody is subscribed.
    NoSubscriber,
    /// Reason 0x80 and above, or the message is larger than the broker takes.
    Refused,
}

/// How many results may be on their way, and how long to wait after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Results on their way at once, at least 1.
    pub window: usize,
    /// Wait before a refused result, or the stream without subscribers, is tried again.
    pub slow_retry: Duration,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self { window: 8, slow_retry: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Open,
    HeldUntil(Instant),
    /// One message at a time until one is delivered.
    Probing,
}

/// The sending side's memory of one connection.
#[derive(Debug)]
pub struct Delivery {
    limits: DeliveryLimits,
    on_the_way: BTreeSet<u64>,
    parked: BTreeMap<u64, Instant>,
    stream: Stream,
}

impl Delivery {
    /// Nothing on its way.
    pub fn new(limits: DeliveryLimits) -> Self {
        Self {
            limits: DeliveryLimits { window: limits.window.max(1), ..limits },
            on_the_way: BTreeSet::new(),
            parked: BTreeMap::new(),
            stream: Stream::Open,
        }
    }

    /// The results to submit now; they count as on their way from here on.
    pub fn next(&mut self, outbox: &mut dyn Outbox, now: Instant) -> Vec<Outgoing> {
        let room = self.room(now);
        if room == 0 {
            return Vec::new();
        }
        let known = self.on_the_way.len() + self.parked.len();
        let mut fresh = outbox.window(known + room);
        fresh.retain(|o| !self.on_the_way.contains(&o.seq) && !self.parked.contains_key(&o.seq));
        fresh.truncate(room);
        self.on_the_way.extend(fresh.iter().map(|o| o.seq));
        fresh
    }

    /// How many results may be submitted now; lets go of what has waited long enough.
    fn room(&mut self, now: Instant) -> usize {
        self.parked.retain(|_, until| *until > now);
        if self.parked.len() >= MAX_PARKED {
            return 0;
        }
        if let Stream::HeldUntil(until) = self.stream {
            if now < until {
                return 0;
            }
            self.stream = Stream::Probing;
        }
        let window = if self.stream == Stream::Probing { 1 } else { self.limits.window };
        window.saturating_sub(self.on_the_way.len())
    }

    /// The broker answered for `seq`. Only a result on its way can be confirmed.
    pub fn answered(&mut self, seq: u64, answer: Answer, outbox: &mut dyn Outbox, now: Instant) {
        if !self.on_the_way.remove(&seq) {
            return;
        }
        let later = now + self.limits.slow_retry;
        match answer {
            Answer::Delivered => {
                outbox.confirmed(seq);
                self.stream = Stream::Open;
            }
            Answer::NoSubscriber => self.stream = Stream::HeldUntil(later),
            Answer::Refused => {
                self.parked.insert(seq, later);
            }
        }
    }

    /// When [`Delivery::next`] may have something again although nothing else happened.
    pub fn wake_at(&self) -> Option<Instant> {
        let held = match self.stream {
            Stream::HeldUntil(until) => Some(until),
            Stream::Open | Stream::Probing => None,
        };
        held.into_iter().chain(self.parked.values().copied()).min()
    }

    /// Somebody was heard who listens to this device: a stream that is held for want of a subscriber
    /// is tried again at once.
    pub fn somebody_listens(&mut self) {
        if let Stream::HeldUntil(_) = self.stream {
            self.stream = Stream::Probing;
        }
    }

    /// Whether every result that this broker was offered was taken: none is set aside and the stream
    /// flows.
    pub fn is_unhindered(&self) -> bool {
        self.parked.is_empty() && self.stream == Stream::Open
    }

    /// The connection is gone, and with it every verdict of that broker.
    pub fn connection_lost(&mut self) {
        self.on_the_way.clear();
        self.parked.clear();
        self.stream = Stream::Open;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious outbox: everything in a list.
    struct Shelf {
        left: Vec<u64>,
        confirmed: Vec<u64>,
    }

    impl Shelf {
        fn of(seqs: std::ops::Range<u64>) -> Self {
            Self { left: seqs.collect(), confirmed: Vec::new() }
        }
    }

    impl Outbox for Shelf {
        fn window(&mut self, n: usize) -> Vec<Outgoing> {
            let cose: Arc<[u8]> = Arc::from([0u8].as_slice());
            let one = |seq: &u64| Outgoing { seq: *seq, cose: cose.clone(), view_json: None };
            self.left.iter().take(n).map(one).collect()
        }

        fn confirmed(&mut self, seq: u64) {
            self.left.retain(|s| *s != seq);
            self.confirmed.push(seq);
        }
    }

    const SLOW: Duration = Duration::from_secs(30);

    fn delivery() -> Delivery {
        Delivery::new(DeliveryLimits { window: 8, slow_retry: SLOW })
    }

    fn seqs(sent: &[Outgoing]) -> Vec<u64> {
        sent.iter().map(|o| o.seq).collect()
    }

    #[test]
    fn eight_are_on_their_way_and_no_more() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..20), Instant::now());
        assert_eq!(seqs(&delivery.next(&mut shelf, now)), (1..=8).collect::<Vec<_>>());
        assert!(delivery.next(&mut shelf, now).is_empty());
        delivery.answered(3, Answer::Delivered, &mut shelf, now);
        assert_eq!(seqs(&delivery.next(&mut shelf, now)), [9]);
        assert_eq!(shelf.confirmed, [3]);
    }

    #[test]
    fn without_a_subscriber_one_probe_follows_per_slow_retry() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..20), Instant::now());
        for sent in delivery.next(&mut shelf, now) {
            delivery.answered(sent.seq, Answer::NoSubscriber, &mut shelf, now);
        }
        assert!(delivery.next(&mut shelf, now + SLOW - Duration::from_millis(1)).is_empty());
        assert_eq!(delivery.wake_at(), Some(now + SLOW));
        let later = now + SLOW;
        assert_eq!(seqs(&delivery.next(&mut shelf, later)), [1]);
        assert!(delivery.next(&mut shelf, later).is_empty());
        delivery.answered(1, Answer::Delivered, &mut shelf, later);
        assert_eq!(delivery.next(&mut shelf, later).len(), 8);
        assert_eq!(shelf.confirmed, [1]);
    }

    #[test]
    fn a_consumer_that_is_heard_ends_the_wait_for_one() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..4), Instant::now());
        delivery.next(&mut shelf, now);
        delivery.answered(1, Answer::NoSubscriber, &mut shelf, now);
        assert!(delivery.next(&mut shelf, now).is_empty());
        delivery.connection_lost();
        delivery.next(&mut shelf, now);
        for seq in 1..4 {
            delivery.answered(seq, Answer::NoSubscriber, &mut shelf, now);
        }
        delivery.somebody_listens();
        assert_eq!(seqs(&delivery.next(&mut shelf, now)), [1], "one probe, not the whole window");
    }

    #[test]
    fn a_refused_result_steps_aside_for_the_others() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..4), Instant::now());
        delivery.next(&mut shelf, now);
        delivery.answered(1, Answer::Refused, &mut shelf, now);
        delivery.answered(2, Answer::Delivered, &mut shelf, now);
        delivery.answered(3, Answer::Delivered, &mut shelf, now);
        assert!(delivery.next(&mut shelf, now).is_empty());
        assert_eq!(delivery.wake_at(), Some(now + SLOW));
        assert_eq!(seqs(&delivery.next(&mut shelf, now + SLOW)), [1]);
    }

    #[test]
    fn sixty_four_parked_results_hold_the_stream() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..200), Instant::now());
        let mut refused = 0;
        loop {
            let sent = delivery.next(&mut shelf, now);
            if sent.is_empty() {
                break;
            }
            for outgoing in sent {
                delivery.answered(outgoing.seq, Answer::Refused, &mut shelf, now);
                refused += 1;
            }
        }
        assert_eq!(refused, MAX_PARKED);
        assert_eq!(delivery.next(&mut shelf, now + SLOW).len(), 8);
    }

    #[test]
    fn answers_for_other_messages_confirm_nothing() {
        let (mut delivery, mut shelf, now) = (delivery(), Shelf::of(1..40), Instant::now());
        delivery.answered(1, Answer::Delivered, &mut shelf, now);
        delivery.next(&mut shelf, now);
        delivery.answered(30, Answer::Delivered, &mut shelf, now);
        delivery.connection_lost();
        delivery.answered(1, Answer::Delivered, &mut shelf, now);
        assert!(shelf.confirmed.is_empty());
        assert_eq!(seqs(&delivery.next(&mut shelf, now))[0], 1);
    }

    proptest! {
        /// Whatever the broker answers and however often it goes away, nothing leaves the outbox
        /// but by a delivery, the window holds, and a well-behaved broker drains it in the end.
        #[test]
        fn nothing_is_lost(answers in proptest::collection::vec(0u8..4, 0..300)) {
            let (mut delivery, mut shelf) = (delivery(), Shelf::of(0..30));
            let mut now = Instant::now();
            let mut way = Vec::new();
            let mut delivered = 0;
            for answer in answers {
                now += Duration::from_secs(5);
                way.extend(seqs(&delivery.next(&mut shelf, now)));
                prop_assert!(way.len() <= 8);
                let Some(seq) = way.pop() else { continue };
                match answer {
                    0 => { delivery.answered(seq, Answer::Delivered, &mut shelf, now); delivered += 1; }
                    1 => delivery.answered(seq, Answer::NoSubscriber, &mut shelf, now),
                    2 => delivery.answered(seq, Answer::Refused, &mut shelf, now),
                    _ => { delivery.connection_lost(); way.clear(); }
                }
                prop_assert_eq!(shelf.left.len() + delivered, 30);
            }
            for seq in way { delivery.answered(seq, Answer::Delivered, &mut shelf, now); }
            for _ in 0..40 {
                now += SLOW;
                for sent in delivery.next(&mut shelf, now) {
                    delivery.answered(sent.seq, Answer::Delivered, &mut shelf, now);
                }
            }
            shelf.confirmed.sort_unstable();
            prop_assert_eq!(shelf.confirmed, (0..30).collect::<Vec<_>>());
        }
    }
}
