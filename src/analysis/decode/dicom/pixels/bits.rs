//! Bits out of entropy-coded bytes, the most significant first. JPEG puts a zero byte after each
//! 0xFF; JPEG-LS puts a zero bit. Both end at a marker, after which zeros are read and counted, so
//! that a decoder may look ahead.

/// How a byte 0xFF in the data is told from a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuffing {
    /// A byte of zero follows.
    Byte,
    /// A bit of zero follows.
    Bit,
}

/// A reader of bits.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    stuffing: Stuffing,
    /// The bits read and not used, from the top.
    word: u64,
    filled: u32,
    after_ff: bool,
    /// Of the filled bits, how many lie past the end: they may be looked at and not be used.
    past_end: u32,
}

impl<'a> Bits<'a> {
    /// Starts at the first byte.
    pub(super) fn new(bytes: &'a [u8], stuffing: Stuffing) -> Self {
        Self { bytes, at: 0, stuffing, word: 0, filled: 0, after_ff: false, past_end: 0 }
    }

    /// The next `count` bits, 0..=32, without using them.
    pub(super) fn peek(&mut self, count: u32) -> u32 {
        if self.filled < count {
            self.fill();
        }
        if count == 0 { 0 } else { (self.word >> (64 - count)) as u32 }
    }

    /// Uses `count` bits that were looked at.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), &'static str> {
        self.word <<= count;
        self.filled -= count;
        if self.past_end > self.filled { Err("data that end early") } else { Ok(()) }
    }

    /// The next `count` bits, 0..=32.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, &'static str> {
        let value = self.peek(count);
        self.skip(count)?;
        Ok(value)
    }

    /// How many zeros come before the next one, which is used up as well; more than `most` fail.
    pub(super) fn zeros(&mut self, most: u32) -> Result<u32, &'static str> {
        const LOOK: u32 = 32;
        let mut zeros = 0;
        loop {
            let here = self.peek(LOOK).leading_zeros();
            zeros += here;
            if zeros > most {
                return Err("a code that is too long");
            }
            if here < LOOK {
                self.skip(here + 1)?;
                return Ok(zeros);
            }
            self.skip(LOOK)?;
        }
    }

    /// Passes the restart marker `RSTn` that lies at the end of an interval.
    pub(super) fn restart(&mut self, n: u8) -> Result<(), &'static str> {
        // The marker was not passed: filling stops before it. Fill bytes may come first (T.81 B.1.1.2).
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let filled = rest.iter().take_while(|byte| **byte == 0xFF).count();
        if filled == 0 || rest.get(filled) != Some(&(0xD0 + n % 8)) {
            return Err("no restart marker where one belongs");
        }
        *self = Self::new(&rest[filled + 1..], self.stuffing);
        Ok(())
    }

    /// Reads bytes until fewer than eight bits are free.
    fn fill(&mut self) {
        while self.filled <= 56 {
            let (byte, bits) = self.next_byte();
            self.word |= u64::from(byte) << (64 - self.filled - bits);
            self.filled += bits;
        }
    }

    /// The next byte and how many of its bits are data.
    fn next_byte(&mut self) -> (u8, u32) {
        let next = self.bytes.get(self.at).copied();
        let follows = self.bytes.get(self.at + 1).copied();
        match (self.stuffing, next) {
            (_, None) => self.nothing(),
            (Stuffing::Byte, Some(0xFF)) if follows == Some(0) => {
                self.at += 2;
                (0xFF, 8)
            }
            (Stuffing::Byte, Some(0xFF)) => self.nothing(),
            (Stuffing::Bit, Some(0xFF)) if follows.is_none_or(|byte| byte >= 0x80) => {
                self.nothing()
            }
            (_, Some(byte)) => {
                self.at += 1;
                let bits = if self.after_ff { 7 } else { 8 };
                self.after_ff = self.stuffing == Stuffing::Bit && byte == 0xFF;
                (byte, bits)
            }
        }
    }

    fn nothing(&mut self) -> (u8, u32) {
        self.past_end += 8;
        (0, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_zeros_are_left_out() {
        let mut bytes = Bits::new(&[0xFF, 0, 0x5A, 0xFF, 0xD9], Stuffing::Byte);
        assert_eq!([bytes.take(8), bytes.take(4), bytes.take(4)], [Ok(0xFF), Ok(5), Ok(10)]);
        let mut bits = Bits::new(&[0xFF, 0x7F, 0x80, 0xFF, 0xD9], Stuffing::Bit);
        assert_eq!([bits.take(15), bits.take(8)], [Ok(0x7FFF), Ok(0x80)]);
    }

    #[test]
    fn bits_past_the_end_may_be_looked_at_and_not_be_used() {
        let mut bits = Bits::new(&[0xA5, 0xFF, 0xD9], Stuffing::Byte);
        assert_eq!((bits.peek(16), bits.take(7)), (0xA500, Ok(0x52)));
        assert_eq!((bits.peek(2), bits.take(1)), (2, Ok(1)));
        assert!(bits.take(1).is_err());
    }

    /// The slow, obvious way.
    fn zeros_one_by_one(bits: &mut Bits<'_>, most: u32) -> Result<u32, &'static str> {
        let mut zeros = 0;
        while bits.take(1)? == 0 {
            zeros += 1;
            if zeros > most {
                return Err("a code that is too long");
            }
        }
        Ok(zeros)
    }

    #[test]
    fn zeros_are_counted_as_one_by_one() {
        let mut bytes = vec![0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0x40, 0xFF, 0x12, 0x34];
        bytes.extend((0..200u8).map(|n| n.wrapping_mul(37) & n));
        for most in [0, 5, 31, 32, 33, 47, 63] {
            let (mut fast, mut slow) =
                (Bits::new(&bytes, Stuffing::Bit), Bits::new(&bytes, Stuffing::Bit));
            loop {
                let expected = zeros_one_by_one(&mut slow, most);
                let found = fast.zeros(most);
                assert_eq!(found.is_ok(), expected.is_ok(), "{most}");
                if expected.is_err() {
                    break;
                }
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn restart_markers_are_passed_in_order() {
        let mut bits = Bits::new(&[0xA0, 0xFF, 0xD1, 0x50], Stuffing::Byte);
        assert_eq!(bits.take(4), Ok(10));
        assert_eq!(bits.restart(1), Ok(()));
        assert_eq!(bits.take(4), Ok(5));
        assert!(bits.restart(2).is_err());
        // Fill bytes before the marker.
        let mut filled = Bits::new(&[0xA0, 0xFF, 0xFF, 0xFF, 0xD0, 0x50], Stuffing::Byte);
        assert_eq!((filled.take(4), filled.restart(0)), (Ok(10), Ok(())));
        assert_eq!(filled.take(4), Ok(5));
    }
}
