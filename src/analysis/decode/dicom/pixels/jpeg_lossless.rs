//! JPEG process 14 (ITU-T T.81 annex H): each sample is predicted from its neighbours and the
//! difference is Huffman-coded. One component of 2..=16 bits, predictors 1..=7, restart intervals.

use super::Size;
use super::bits::{Bits, Stuffing};
use super::markers::{Segments, code, precision_of};

/// What the markers before the scan say.
struct Parameters {
    precision: u32,
    predictor: u8,
    /// Samples between restarts; 0 for none.
    restart_interval: usize,
    table: HuffmanTable,
}

/// Fills all cells.
pub(super) fn decode(bytes: &[u8], size: Size, cells: &mut [u16]) -> Result<(), &'static str> {
    let mut segments = Segments::new(bytes)?;
    let parameters = read_parameters(&mut segments, size)?;
    let mut bits = Bits::new(segments.rest(), Stuffing::Byte);
    let start = 1 << (parameters.precision - 1);
    let mut restarts = 0u8;
    // The row in which prediction began; it has no row above to predict from.
    let mut first_row = 0;
    for row in 0..size.rows {
        let done = row * size.columns;
        let interval = parameters.restart_interval;
        if interval > 0 && row > 0 && done.is_multiple_of(interval) {
            bits.restart(restarts)?;
            restarts = restarts.wrapping_add(1);
            first_row = row;
        }
        let (above, line) = cells.split_at_mut(done);
        let line = &mut line[..size.columns];
        let above = &above[done.saturating_sub(size.columns)..];
        for column in 0..size.columns {
            let prediction = match (row == first_row, column) {
                (true, 0) => start,
                (true, _) => i32::from(line[column - 1]),
                (false, 0) => i32::from(above[0]),
                (false, _) => predict(
                    parameters.predictor,
                    i32::from(line[column - 1]),
                    i32::from(above[column]),
                    i32::from(above[column - 1]),
                ),
            };
            // Modulo 2^16 (T.81 H.1.2.1).
            line[column] = (prediction + difference(&mut bits, &parameters.table)?) as u16;
        }
    }
    Ok(())
}

/// T.81 table H.1: `a` left, `b` above, `c` above left.
fn predict(predictor: u8, a: i32, b: i32, c: i32) -> i32 {
    match predictor {
        1 => a,
        2 => b,
        3 => c,
        4 => a + b - c,
        5 => a + ((b - c) >> 1),
        6 => b + ((a - c) >> 1),
        _ => (a + b) >> 1,
    }
}

/// T.81 table H.2: a category, then as many bits as it says.
fn difference(bits: &mut Bits<'_>, table: &HuffmanTable) -> Result<i32, &'static str> {
    match table.decode(bits)? {
        0 => Ok(0),
        16 => Ok(32_768),
        category => {
            let value = bits.take(category)? as i32;
            // The upper half of the values is positive.
            let positive = value >> (category - 1) == 1;
            Ok(if positive { value } else { value - (1 << category) + 1 })
        }
    }
}

fn read_parameters(segments: &mut Segments<'_>, size: Size) -> Result<Parameters, &'static str> {
    let mut precision = None;
    let mut restart_interval = 0;
    let mut tables: [Option<HuffmanTable>; 4] = [const { None }; 4];
    loop {
        let (marker, parameters) = segments.next()?;
        match marker {
            code::SOF3 => precision = Some(precision_of(parameters, size)?),
            0xC0..=0xC2 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err("another process than lossless, sequential, Huffman");
            }
            code::DHT => read_tables(parameters, &mut tables)?,
            code::DRI => {
                let [high, low] = parameters else { return Err("a damaged restart interval") };
                restart_interval = usize::from(u16::from_be_bytes([*high, *low]));
                if restart_interval % size.columns != 0 {
                    return Err("a restart within a row");
                }
            }
            code::SOS => {
                let [1, _, table, predictor, 0, transform] = parameters else {
                    return Err("a scan that is not of one component");
                };
                if !(1..=7).contains(predictor) || *transform != 0 {
                    return Err("a predictor outside 1..=7 or a point transform");
                }
                let table = tables.get_mut(usize::from(table >> 4)).and_then(Option::take);
                return Ok(Parameters {
                    precision: precision.ok_or("a scan before its frame")?,
                    predictor: *predictor,
                    restart_interval,
                    table: table.ok_or("a scan without its Huffman table")?,
                });
            }
            _ => {}
        }
    }
}

/// One segment may define several tables (T.81 B.2.4.2).
fn read_tables(
    mut parameters: &[u8],
    tables: &mut [Option<HuffmanTable>; 4],
) -> Result<(), &'static str> {
    const DAMAGED: &str = "a damaged Huffman table";
    while let Some((&target, rest)) = parameters.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(DAMAGED)?;
        let total = counts.iter().map(|&count| usize::from(count)).sum();
        let (symbols, rest) = rest.split_at_checked(total).ok_or(DAMAGED)?;
        let table = HuffmanTable::new(counts, symbols).ok_or(DAMAGED)?;
        *tables.get_mut(usize::from(target)).ok_or(DAMAGED)? = Some(table);
        parameters = rest;
    }
    Ok(())
}

/// For each word of 16 bits, the length of the code it begins with and that code's symbol.
struct HuffmanTable {
    entries: Vec<(u8, u8)>,
}

impl HuffmanTable {
    /// Codes are given in order of length (T.81 annex C); `None` when they do not fit.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut entries = Vec::with_capacity(1 << 16);
        let mut symbols = symbols.iter();
        for (length, &count) in (1u8..).zip(counts) {
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                if symbol > 16 {
                    return None;
                }
                let words = 1 << (16 - length);
                if entries.len() + words > 1 << 16 {
                    return None;
                }
                entries.resize(entries.len() + words, (length, symbol));
            }
        }
        // Words that begin with no code have length 0.
        entries.resize(1 << 16, (0, 0));
        Some(Self { entries })
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Result<u32, &'static str> {
        let (length, symbol) = self.entries[bits.peek(16) as usize];
        if length == 0 {
            return Err("bits that are no code");
        }
        bits.skip(u32::from(length))?;
        Ok(u32::from(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits put together from the top, with bytes stuffed.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        bits: Vec<bool>,
    }

    impl Writer {
        fn put(&mut self, value: u32, count: u32) {
            self.bits.extend((0..count).rev().map(|n| value >> n & 1 == 1));
        }

        fn flush(&mut self) {
            while !self.bits.len().is_multiple_of(8) {
                self.bits.push(true);
            }
            for byte in std::mem::take(&mut self.bits).chunks(8) {
                let byte = byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
                self.bytes.push(byte);
                if byte == 0xFF {
                    self.bytes.push(0);
                }
            }
        }
    }

    /// A slow, obvious encoder: every category has a code of five bits.
    fn encode(size: Size, cells: &[u16], predictor: u8, restart_rows: usize) -> Vec<u8> {
        let [h, w] = [size.rows, size.columns].map(|n| (n as u16).to_be_bytes());
        let mut bytes = vec![0xFF, code::SOI, 0xFF, code::SOF3, 0, 11, 16];
        bytes.extend([h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
        bytes.extend([0xFF, code::DHT, 0, 36, 0, 0, 0, 0, 0, 17]);
        bytes.extend([0; 11]);
        bytes.extend(0..17);
        if restart_rows > 0 {
            let interval = ((restart_rows * size.columns) as u16).to_be_bytes();
            bytes.extend([0xFF, code::DRI, 0, 4, interval[0], interval[1]]);
        }
        bytes.extend([0xFF, code::SOS, 0, 8, 1, 1, 0, predictor, 0, 0]);
        let mut writer = Writer { bytes, bits: Vec::new() };
        let (mut first_row, mut restarts) = (0, 0);
        for row in 0..size.rows {
            if restart_rows > 0 && row > 0 && row % restart_rows == 0 {
                writer.flush();
                writer.bytes.extend([0xFF, 0xD0 + restarts % 8]);
                restarts += 1;
                first_row = row;
            }
            for column in 0..size.columns {
                let at = |up: usize, left: usize| {
                    i32::from(cells[(row - up) * size.columns + column - left])
                };
                let prediction = match (row - first_row, column) {
                    (0, 0) => 32_768,
                    (0, _) => at(0, 1),
                    (_, 0) => at(1, 0),
                    _ => predict(predictor, at(0, 1), at(1, 0), at(1, 1)),
                };
                // −32,767..=32,768, modulo 2^16.
                let mut difference = (at(0, 0) - prediction) & 0xFFFF;
                if difference > 32_768 {
                    difference -= 65_536;
                }
                let category = 32 - difference.unsigned_abs().leading_zeros();
                writer.put(category, 5);
                let low = if difference < 0 { difference - 1 } else { difference };
                if category < 16 {
                    writer.put(low as u32 & ((1 << category) - 1), category);
                }
            }
        }
        writer.flush();
        writer.bytes.extend([0xFF, code::EOI]);
        writer.bytes
    }

    fn noise(count: usize) -> Vec<u16> {
        let mut state = 9u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> (8 + state % 9)) as u16
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn every_predictor_and_restarts_give_the_image_back() {
        let size = Size { rows: 13, columns: 17 };
        let cells = noise(13 * 17);
        for predictor in 1..=7 {
            for restart_rows in [0, 1, 3] {
                let bytes = encode(size, &cells, predictor, restart_rows);
                let mut out = vec![0; cells.len()];
                assert_eq!(decode(&bytes, size, &mut out), Ok(()), "{predictor} {restart_rows}");
                assert_eq!(out, cells, "{predictor} {restart_rows}");
            }
        }
    }

    #[test]
    fn damage_is_named() {
        let size = Size { rows: 13, columns: 17 };
        let good = encode(size, &noise(13 * 17), 1, 0);
        let result = |bytes: &[u8], size| decode(bytes, size, &mut vec![0; 13 * 17]);
        let other = Size { rows: 17, columns: 13 };
        assert_eq!(result(&good, other), Err("another size than Rows and Columns say"));
        // Without its last byte of data and without the end of the image.
        for length in [good.len() / 2, good.len() - 3] {
            assert_eq!(result(&good[..length], size), Err("data that end early"));
        }
        assert_eq!(result(&good[1..], size), Err("a stream without a start"));
        let mut baseline = good.clone();
        baseline[3] = 0xC0;
        assert_eq!(
            result(&baseline, size),
            Err("another process than lossless, sequential, Huffman")
        );
    }
}
