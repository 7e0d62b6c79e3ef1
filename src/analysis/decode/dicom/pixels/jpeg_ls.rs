//! JPEG-LS (ITU-T T.87), lossless, one component of 2..=16 bits. The names are the standard's: A, B,
//! C and N are what each context has learned, Ra, Rb, Rc and Rd the samples to the left, above,
//! above left and above right.

use super::Size;
use super::bits::{Bits, Stuffing};
use super::markers::{Segments, code, precision_of};

/// What the markers before the scan say.
struct Parameters {
    max_value: i32,
    /// T1, T2, T3: where gradients change class.
    thresholds: [i32; 3],
    /// Count at which a context forgets half.
    reset: i32,
}

/// Fills all cells.
pub(super) fn decode(bytes: &[u8], size: Size, cells: &mut [u16]) -> Result<(), &'static str> {
    let mut segments = Segments::new(bytes)?;
    let parameters = read_parameters(&mut segments, size)?;
    let bits = Bits::new(segments.rest(), Stuffing::Bit);
    let mut scan = Scan::new(parameters, bits);
    // One sample beside each end of a line, so that neighbours need no special case.
    let mut above = vec![0; size.columns + 2];
    let mut line = vec![0; size.columns + 2];
    for out in cells.chunks_exact_mut(size.columns) {
        above[size.columns + 1] = above[size.columns];
        line[0] = above[1];
        scan.line(&above, &mut line)?;
        for (cell, &sample) in out.iter_mut().zip(&line[1..]) {
            *cell = sample as u16;
        }
        std::mem::swap(&mut above, &mut line);
    }
    Ok(())
}

fn read_parameters(segments: &mut Segments<'_>, size: Size) -> Result<Parameters, &'static str> {
    let (mut precision, mut preset) = (None, [0; 5]);
    loop {
        let (marker, parameters) = segments.next()?;
        match marker {
            code::SOF55 => precision = Some(precision_of(parameters, size)?),
            code::LSE => preset = read_preset(parameters)?,
            code::DRI => return Err("restart intervals, which are not read"),
            code::SOS => {
                return match parameters {
                    [1, _, _, 0, _, 0] => {
                        Parameters::new(precision.ok_or("a scan before its frame")?, preset)
                    }
                    [1, _, _, _, _, _] => Err("a near-lossless scan"),
                    _ => Err("a scan that is not of one component"),
                };
            }
            0xC0..=0xC3 | 0xC5..=0xCF => return Err("another process than JPEG-LS"),
            _ => {}
        }
    }
}

/// MAXVAL, T1, T2, T3, RESET (T.87 C.2.4.1.1); zero means the default.
fn read_preset(parameters: &[u8]) -> Result<[i32; 5], &'static str> {
    let [1, values @ ..] = parameters else { return Err("tables, which are not read") };
    let values: &[u8; 10] = values.try_into().map_err(|_| "damaged preset parameters")?;
    let value = |n: usize| i32::from(u16::from_be_bytes([values[2 * n], values[2 * n + 1]]));
    Ok(std::array::from_fn(value))
}

impl Parameters {
    fn new(precision: u32, preset: [i32; 5]) -> Result<Self, &'static str> {
        let [max_value, t1, t2, t3, reset] = preset;
        let largest = (1 << precision) - 1;
        let max_value = if max_value == 0 { largest } else { max_value };
        let or = |given: i32, default: i32| if given == 0 { default } else { given };
        let [d1, d2, d3] = default_thresholds(max_value);
        let thresholds = [or(t1, d1), or(t2, d2), or(t3, d3)];
        let reset = or(reset, 64);
        let in_order = 1 <= thresholds[0] && thresholds.is_sorted() && thresholds[2] <= max_value;
        if max_value > largest || !in_order || !(3..=max_value.max(255)).contains(&reset) {
            return Err("preset parameters out of range");
        }
        Ok(Self { max_value, thresholds, reset })
    }
}

/// T.87 C.2.4.1.1.1 with NEAR = 0.
fn default_thresholds(max_value: i32) -> [i32; 3] {
    let clamp = |value: i32, low: i32| if value > max_value || value < low { low } else { value };
    let scaled = |basic: i32, least: i32| {
        if max_value >= 128 {
            (max_value.min(4095) + 128) / 256 * (basic - least) + least
        } else {
            (basic / (256 / (max_value + 1))).max(least)
        }
    };
    let t1 = clamp(scaled(3, 2), 1);
    let t2 = clamp(scaled(7, 3), t1);
    [t1, t2, clamp(scaled(21, 4), t2)]
}

/// What a regular context has learned (T.87 A.2).
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

/// What a run interruption context has learned (T.87 A.7.2).
#[derive(Clone, Copy)]
struct RunContext {
    a: i32,
    n: i32,
    negative: i32,
}

/// T.87 A.2.1: the order of run lengths, as powers of two.
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// A scan being decoded.
struct Scan<'a> {
    parameters: Parameters,
    bits: Bits<'a>,
    contexts: [Context; 365],
    runs: [RunContext; 2],
    run_index: usize,
    /// Bits of a sample.
    sample_bits: u32,
    /// Longest code, LIMIT.
    limit: u32,
}

impl<'a> Scan<'a> {
    fn new(parameters: Parameters, bits: Bits<'a>) -> Self {
        let a = ((parameters.max_value + 1 + 32) / 64).max(2);
        let sample_bits = 32 - parameters.max_value.leading_zeros();
        let least = sample_bits.max(2);
        Self {
            parameters,
            bits,
            contexts: [Context { a, b: 0, c: 0, n: 1 }; 365],
            runs: [RunContext { a, n: 1, negative: 0 }; 2],
            run_index: 0,
            sample_bits,
            limit: 2 * (least + least.max(8)),
        }
    }

    /// Decodes one line; both have a sample beside each end.
    fn line(&mut self, above: &[i32], line: &mut [i32]) -> Result<(), &'static str> {
        let end = line.len() - 1;
        let mut x = 1;
        while x < end {
            let (ra, rb, rc, rd) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
            let context = self.context([rd - rb, rb - rc, rc - ra]);
            if context != 0 {
                line[x] = self.regular(context, median_edge(ra, rb, rc))?;
                x += 1;
                continue;
            }
            let length = self.run_length(end - x)?;
            line[x..x + length].fill(ra);
            x += length;
            if x < end {
                line[x] = self.interruption(ra, above[x])?;
                x += 1;
            }
        }
        Ok(())
    }

    /// T.87 A.3: three gradients in nine classes each; the sign tells mirrored contexts apart.
    fn context(&self, gradients: [i32; 3]) -> i32 {
        let [t1, t2, t3] = self.parameters.thresholds;
        gradients.into_iter().fold(0, |context, gradient| {
            let size = gradient.abs();
            let class = i32::from(size > 0)
                + i32::from(size >= t1)
                + i32::from(size >= t2)
                + i32::from(size >= t3);
            context * 9 + gradient.signum() * class
        })
    }

    /// T.87 A.4 to A.6: a sample predicted and corrected by what its context has learned.
    fn regular(&mut self, context: i32, predicted: i32) -> Result<i32, &'static str> {
        let sign = context.signum();
        let max_value = self.parameters.max_value;
        let learned = self.contexts[context.unsigned_abs() as usize];
        let prediction = (predicted + sign * learned.c).clamp(0, max_value);
        let k = golomb_parameter(learned.n, learned.a)?;
        let mapped = self.golomb(k, self.limit)?;
        let mut error = if mapped % 2 == 0 { mapped / 2 } else { -(mapped + 1) / 2 };
        if k == 0 && 2 * learned.b <= -learned.n {
            error = -error - 1;
        }
        let reset = self.parameters.reset;
        self.contexts[context.unsigned_abs() as usize].learn(error, reset);
        self.sample(prediction + sign * error)
    }

    /// Samples are modulo MAXVAL + 1.
    fn sample(&self, value: i32) -> Result<i32, &'static str> {
        let max_value = self.parameters.max_value;
        let range = max_value + 1;
        let value = match value {
            low if low < 0 => low + range,
            high if high > max_value => high - range,
            value => value,
        };
        if (0..=max_value).contains(&value) { Ok(value) } else { Err("a sample out of range") }
    }

    /// T.87 A.7.1: how many samples, up to `left`, repeat the one before.
    fn run_length(&mut self, left: usize) -> Result<usize, &'static str> {
        let mut length = 0;
        while self.bits.take(1)? == 1 {
            let step = 1 << J[self.run_index];
            if length + step <= left && self.run_index < 31 {
                self.run_index += 1;
            }
            length = left.min(length + step);
            if length == left {
                return Ok(left);
            }
        }
        length += self.bits.take(J[self.run_index])? as usize;
        if length < left { Ok(length) } else { Err("a run beyond the line") }
    }

    /// T.87 A.7.2: the sample that ends a run.
    fn interruption(&mut self, ra: i32, rb: i32) -> Result<i32, &'static str> {
        let same = i32::from(ra == rb);
        let learned = self.runs[same as usize];
        let k = golomb_parameter(learned.n, learned.a + same * (learned.n >> 1))?;
        let limit = self.limit - J[self.run_index] - 1;
        let mapped = self.golomb(k, limit)?;
        self.run_index = self.run_index.saturating_sub(1);
        let temporary = mapped + same;
        let odd = temporary % 2 == 1;
        let size = (temporary + i32::from(odd)) / 2;
        let error = if (k != 0 || 2 * learned.negative >= learned.n) == odd { -size } else { size };
        let reset = self.parameters.reset;
        self.runs[same as usize].learn(error, mapped, same, reset);
        let (prediction, sign) =
            if same == 1 { (ra, 1) } else { (rb, if ra > rb { -1 } else { 1 }) };
        self.sample(prediction + sign * error)
    }

    /// T.87 A.5.3: a length-limited Golomb code.
    fn golomb(&mut self, k: u32, limit: u32) -> Result<i32, &'static str> {
        let most = limit - self.sample_bits - 1;
        let zeros = self.bits.zeros(most)?;
        let value = if zeros < most {
            u64::from(zeros) << k | u64::from(self.bits.take(k)?)
        } else {
            u64::from(self.bits.take(self.sample_bits)?) + 1
        };
        if value <= 2 * (self.parameters.max_value as u64 + 1) {
            Ok(value as i32)
        } else {
            Err("an error value out of range")
        }
    }
}

impl Context {
    /// T.87 A.6.
    fn learn(&mut self, error: i32, reset: i32) {
        self.b += error;
        self.a += error.abs();
        if self.n == reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

impl RunContext {
    /// T.87 A.7.2.2.
    fn learn(&mut self, error: i32, mapped: i32, same: i32, reset: i32) {
        self.negative += i32::from(error < 0);
        self.a += (mapped + 1 - same) >> 1;
        if self.n == reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative >>= 1;
        }
        self.n += 1;
    }
}

/// T.87 A.4.1: the median of left, above, and the plane through the three.
fn median_edge(ra: i32, rb: i32, rc: i32) -> i32 {
    if rc >= ra.max(rb) {
        ra.min(rb)
    } else if rc <= ra.min(rb) {
        ra.max(rb)
    } else {
        ra + rb - rc
    }
}

/// T.87 A.5.1: the smallest k with N · 2^k ≥ A.
fn golomb_parameter(n: i32, a: i32) -> Result<u32, &'static str> {
    (0..25).find(|&k| i64::from(n) << k >= i64::from(a)).ok_or("a context that has run away")
}
