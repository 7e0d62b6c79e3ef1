//! Which word of a device about itself is its last: an old status, however well signed, must not
//! bring a dead box back to life.

use serde::{Deserialize, Serialize};

use crate::seal::wire::{Id8, StatusMessage};

/// The newest status of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presence {
    pub(super) epoch: Id8,
    boot: u64,
    /// The highest beat of that boot.
    beat: u64,
    /// The will of that boot has come since.
    ended: bool,
}

impl Presence {
    pub(super) fn of(status: &StatusMessage) -> Self {
        let (epoch, boot, beat) = (status.epoch, status.boot, status.beat);
        Self { epoch, boot, beat, ended: beat == 0 }
    }

    /// The newest after a status of the same epoch; `None` when that one is older than what is
    /// known. A broker may tell the newest one again, and a boot may go on after its will, when only
    /// the line was broken.
    pub(super) fn after(self, status: &StatusMessage) -> Option<Self> {
        let next = Self::of(status);
        if next.boot != self.boot {
            return (next.boot > self.boot).then_some(next);
        }
        match next.beat {
            0 => Some(Self { ended: true, ..self }),
            beat if beat > self.beat => Some(next),
            beat => (beat == self.beat && !self.ended).then_some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
