//! When to acknowledge, and what. Pure: the chain and the time are arguments.
//!
//! An acknowledgement says "everything of this epoch up to this number is here", so it is due only
//! after the state that remembers it is durable, and never passes a number that is missing and still
//! wanted ([`Chain::contiguous`]). One that got lost is repaired by the device itself: it sends an
//! unconfirmed result again after a restart, and a duplicate is acknowledged like a new message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::seal::chain::{Chain, Stream};

/// The shortest time between two acknowledgements of one stream.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Whom an acknowledgement is owed, and when it was last given.
#[derive(Debug, Default)]
pub struct Acks {
    owed: BTreeSet<Stream>,
    said_at: BTreeMap<Stream, Instant>,
}

impl Acks {
    /// A message of this stream arrived, or its device came back and may not know.
    pub fn owe(&mut self, stream: Stream) {
        self.owed.insert(stream);
    }

    /// The acknowledgements to give now, at most `room`.
    pub fn next(&mut self, chain: &Chain, now: Instant, room: usize) -> Vec<(Stream, u64)> {
        self.said_at.retain(|_, at| now < *at + INTERVAL);
        let ready = self.owed.iter().filter(|stream| !self.said_at.contains_key(stream));
        let ready: Vec<Stream> = ready.take(room).cloned().collect();
        let mut acks = Vec::new();
        for stream in ready {
            self.owed.remove(&stream);
            if let Some(seq) = chain.contiguous(&stream).filter(|seq| *seq > 0) {
                self.said_at.insert(stream.clone(), now);
                acks.push((stream, seq));
            }
        }
        acks
    }

    /// The last chance to say something: the interval no longer counts.
    pub fn hurry(&mut self) {
        self.said_at.clear();
    }

    /// When [`Acks::next`] has something although nothing arrived meanwhile.
    pub fn wake_at(&self) -> Option<Instant> {
        let at = |stream: &Stream| self.said_at.get(stream).map(|at| *at + INTERVAL);
        self.owed.iter().filter_map(at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::chain::Link;
    use crate::seal::wire::atoms::Octets;
    use crate::seal::wire::{Digest, Slug};

    fn link(device: &str, seq: u64) -> Link {
        let slug = |text| Slug::new(text).unwrap();
        let digest = |seq: u64| if seq == 0 { Digest::ZERO } else { Octets([seq as u8; 32]) };
        Link {
            source: (slug("ward"), slug(device)),
            epoch: Octets([1; 8]),
            seq,
            prev: digest(seq - 1),
            digest: digest(seq),
        }
    }

    /// A chain that wants everything, and the acknowledgements owed for what it saw.
    fn seen(seqs: &[u64]) -> (Chain, Acks, Stream) {
        let (mut chain, mut acks) = (Chain::default(), Acks::default());
        chain.want_everything();
        for seq in seqs {
            chain.observe(&link("box-1", *seq));
            acks.owe(link("box-1", *seq).stream());
        }
        (chain, acks, link("box-1", 1).stream())
    }

    #[test]
    fn one_a_second_and_the_first_at_once() {
        let (mut chain, mut acks, stream) = seen(&[1, 2]);
        let now = Instant::now();
        assert_eq!(acks.next(&chain, now, 9), [(stream.clone(), 2)]);
        assert_eq!(acks.next(&chain, now + 2 * INTERVAL, 9), [], "nothing new");
        assert_eq!(acks.wake_at(), None);
        chain.observe(&link("box-1", 3));
        acks.owe(stream.clone());
        let later = now + 3 * INTERVAL;
        assert_eq!(acks.next(&chain, later, 9), [(stream.clone(), 3)], "idle before: at once");
        chain.observe(&link("box-1", 4));
        acks.owe(stream.clone());
        assert_eq!(acks.next(&chain, later, 9), []);
        assert_eq!(acks.wake_at(), Some(later + INTERVAL));
        let almost = later + INTERVAL - Duration::from_millis(1);
        assert_eq!(acks.next(&chain, almost, 9), []);
        assert_eq!(acks.next(&chain, later + INTERVAL, 9), [(stream.clone(), 4)]);
        acks.owe(stream.clone());
        acks.hurry();
        assert_eq!(
            acks.next(&chain, later + INTERVAL, 9),
            [(stream, 4)],
            "a duplicate, at the end"
        );
    }

    #[test]
    fn nothing_is_acknowledged_past_a_gap() {
        let (mut chain, mut acks, stream) = seen(&[4, 5]);
        let now = Instant::now();
        assert_eq!(acks.next(&chain, now, 9), [], "1 to 3 are missing");
        for seq in [1, 2] {
            chain.observe(&link("box-1", seq));
            acks.owe(stream.clone());
        }
        assert_eq!(acks.next(&chain, now, 9), [(stream, 2)]);
    }

    #[test]
    fn what_finds_no_room_is_still_owed() {
        let (mut chain, mut acks, stream) = seen(&[1]);
        chain.observe(&link("box-2", 1));
        acks.owe(link("box-2", 1).stream());
        let now = Instant::now();
        assert_eq!(acks.next(&chain, now, 1), [(stream, 1)]);
        assert_eq!(acks.next(&chain, now, 1), [(link("box-2", 1).stream(), 1)]);
    }
}
