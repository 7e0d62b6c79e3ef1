//! RLE Lossless, PS3.5 annex G: 16-bit cells in two segments, the high bytes before the low ones,
//! each packed with PackBits.

/// The header: a count of segments and up to fifteen offsets.
const HEADER_BYTES: usize = 64;

/// Fills all cells.
pub(super) fn decode(bytes: &[u8], cells: &mut [u16]) -> Result<(), &'static str> {
    let word = |n: usize| {
        let word = bytes.get(4 * n..4 * n + 4)?;
        Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize)
    };
    let (count, high, low) = (word(0), word(1), word(2));
    let (Some(2), Some(high), Some(low)) = (count, high, low) else {
        return Err("a header without two segments");
    };
    if high < HEADER_BYTES || low <= high || low > bytes.len() {
        return Err("segments out of order");
    }
    unpack(&bytes[high..low], cells, 8)?;
    unpack(&bytes[low..], cells, 0)
}

/// Unpacks one segment into one byte of every cell; padding may follow it.
fn unpack(mut packed: &[u8], cells: &mut [u16], shift: u32) -> Result<(), &'static str> {
    let mut cells = cells.iter_mut();
    while cells.len() > 0 {
        let (&control, rest) = packed.split_first().ok_or("a segment that ends early")?;
        packed = match control as i8 {
            -128 => rest,
            literal @ 0.. => {
                let count = literal as usize + 1;
                let (bytes, rest) = rest.split_at_checked(count).ok_or("a run that ends early")?;
                if count > cells.len() {
                    return Err("a run beyond the last pixel");
                }
                for (byte, cell) in bytes.iter().zip(&mut cells) {
                    *cell |= u16::from(*byte) << shift;
                }
                rest
            }
            repeat => {
                let count = 1 - isize::from(repeat);
                let (&byte, rest) = rest.split_first().ok_or("a run that ends early")?;
                if count as usize > cells.len() {
                    return Err("a run beyond the last pixel");
                }
                for cell in cells.by_ref().take(count as usize) {
                    *cell |= u16::from(byte) << shift;
                }
                rest
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(high: &[u8], low: &[u8]) -> Vec<u8> {
        let mut bytes = [0; HEADER_BYTES];
        for (n, word) in [2, HEADER_BYTES, HEADER_BYTES + high.len()].into_iter().enumerate() {
            bytes[4 * n..4 * n + 4].copy_from_slice(&(word as u32).to_le_bytes());
        }
        [&bytes[..], high, low].concat()
    }

    #[test]
    fn runs_and_literals_make_cells() {
        let mut cells = vec![0; 4];
        // High bytes 1 1 1 2, low bytes 5 6 7 7; 128 is "no operation".
        let bytes = packed(&[0xFE, 1, 0x80, 0, 2], &[1, 5, 6, 0xFF, 7]);
        assert_eq!(decode(&bytes, &mut cells), Ok(()));
        assert_eq!(cells, [0x0105, 0x0106, 0x0107, 0x0207]);
    }

    #[test]
    fn damage_is_named() {
        let result = |bytes: &[u8], count: usize| decode(bytes, &mut vec![0; count]);
        let good = packed(&[0xFD, 1], &[0xFD, 1]);
        assert_eq!(result(&good, 4), Ok(()));
        assert_eq!(result(&good, 5), Err("a segment that ends early"));
        assert_eq!(result(&good, 3), Err("a run beyond the last pixel"));
        assert_eq!(result(&good[..60], 4), Err("segments out of order"));
        assert_eq!(result(&good[..8], 4), Err("a header without two segments"));
        assert_eq!(result(&good[..67], 4), Err("a run that ends early"));
    }
}
