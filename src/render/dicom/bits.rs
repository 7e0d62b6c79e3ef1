//! Frames of single bits, packed without a gap: the next frame starts at the next bit, not at the next
//! byte (PS3.5 8.1.1), the lowest bit of a byte first.

/// Bits of many frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    /// `count` bits that are not set.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(8)])
    }

    /// Sets bit `at`.
    pub(super) fn set(&mut self, at: usize) {
        self.0[at / 8] |= 1 << (at % 8);
    }

    /// The packed bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One bit after the other, as the standard tells it.
    fn reference(bits: &[bool]) -> Vec<u8> {
        let byte =
            |chunk: &[bool]| chunk.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    proptest! {
        #[test]
        fn frames_of_any_size_are_packed_as_the_reference_does(
            (rows, columns, frames) in (1usize..7, 1usize..9, 1usize..5),
            seed in any::<u64>(),
        ) {
            let count = rows * columns * frames;
            let bits: Vec<bool> =
                (0..count).map(|n| seed.rotate_left(n as u32 * 7) & 1 == 1).collect();
            let mut packed = Bits::new(count);
            for (at, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
                packed.set(at);
            }
            prop_assert_eq!(packed.into_bytes(), reference(&bits));
        }
    }

    #[test]
    fn the_second_frame_starts_in_the_middle_of_a_byte() {
        // Two frames of 3 x 3: the first ends after nine bits.
        let mut bits = Bits::new(18);
        for at in [0, 8, 9, 17] {
            bits.set(at);
        }
        assert_eq!(bits.into_bytes(), [0b0000_0001, 0b0000_0011, 0b0000_0010]);
    }
}
