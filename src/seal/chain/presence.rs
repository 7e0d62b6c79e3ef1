//! Which word of a device about itself is its last: an old status, however well signed, must not
//! bring a dead box back to life.

use serde::{Deserialize, Serialize};

use crate::seal::wire::{Id8, StatusMessage};

/// What a status is beside what the device said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Older: not to be believed.
    Old,
    /// The device goes on as it was.
    Same,
    /// Another epoch or boot, or its end: to be remembered.
    Changed,
}

/// The newest status of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presence {
    epoch: Id8,
    boot: u64,
    /// The highest beat of that boot.
    beat: u64,
    /// The will of that boot has come since.
    ended: bool,
    /// When it was signed, by the device's clock.
    signed_at_ms: u64,
}

impl Presence {
    pub(super) fn of(status: &StatusMessage) -> Self {
        let StatusMessage { epoch, boot, beat, signed_at_ms, .. } = *status;
        Self { epoch, boot, beat, ended: beat == 0, signed_at_ms }
    }

    /// The newest after one more status; `None` when that one is older than what is known. A broker
    /// may tell the newest one again, and a boot may go on after its will, when only the line was
    /// broken. Boots count on when damage ends an epoch; a state directory made anew counts from 1
    /// again, and then the time of signing has to tell.
    pub(super) fn after(self, status: &StatusMessage) -> Option<Self> {
        let next = Self::of(status);
        if next.epoch != self.epoch {
            let is_later = next.boot > self.boot || next.signed_at_ms > self.signed_at_ms;
            return is_later.then_some(next);
        }
        if next.boot != self.boot {
            return (next.boot > self.boot).then_some(next);
        }
        match next.beat {
            0 => Some(Self { ended: true, ..self }),
            beat if beat > self.beat => Some(next),
            beat => (beat == self.beat && !self.ended).then_some(self),
        }
    }

    /// Whether this is more than another beat after `before`.
    pub(super) fn differs_from(&self, before: &Self) -> bool {
        (self.epoch, self.boot, self.ended) != (before.epoch, before.boot, before.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::wire::atoms::Octets;
    use crate::seal::wire::samples;

    fn status(boot: u64, beat: u64) -> StatusMessage {
        StatusMessage { boot, beat, ..samples::status() }
    }

    /// Which of these are taken for news, one after the other.
    fn news(words: &[(u64, u64)]) -> Vec<bool> {
        let mut newest: Option<Presence> = None;
        let mut take = |(boot, beat): (u64, u64)| {
            let status = status(boot, beat);
            let next = newest.map_or(Some(Presence::of(&status)), |known| known.after(&status));
            newest = next.or(newest);
            next.is_some()
        };
        words.iter().map(|word| take(*word)).collect()
    }

    #[test]
    fn a_word_of_an_earlier_boot_or_beat_is_old() {
        assert_eq!(
            news(&[(2, 5), (2, 5), (2, 4), (1, 9), (2, 6)]),
            [true, true, false, false, true]
        );
    }

    #[test]
    fn another_epoch_is_news_by_its_boot_or_its_time() {
        let of = |epoch: u8, boot, signed_at_ms| StatusMessage {
            epoch: Octets([epoch; 8]),
            boot,
            signed_at_ms,
            ..samples::status()
        };
        let known = Presence::of(&of(1, 5, 1_000));
        assert!(known.after(&of(2, 6, 900)).is_some(), "damage was accepted, the clock is behind");
        assert!(known.after(&of(2, 1, 1_001)).is_some(), "a new state directory");
        assert!(known.after(&of(2, 5, 1_000)).is_none());
        assert!(known.after(&of(0, 4, 999)).is_none(), "an old epoch, known or not");
    }

    #[test]
    fn after_the_will_only_something_newer_brings_a_device_back() {
        assert_eq!(
            news(&[(2, 5), (2, 0), (2, 5), (2, 0), (2, 6)]),
            [true, true, false, true, true]
        );
        assert_eq!(
            news(&[(2, 5), (1, 0), (3, 0), (2, 6), (3, 1)]),
            [true, false, true, false, true]
        );
    }
}
