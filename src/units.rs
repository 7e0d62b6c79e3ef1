//! Checked quantities shared by every layer. A value of one of these types is in range; the
//! constructors are the only way in. No IO and no formatting rules beyond `Display`.

use std::fmt;

use thiserror::Error;

/// A quantity that is not finite or lies outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("{quantity} is {value}, expected {low}..={high} {unit}")]
pub struct OutOfRange {
    /// What was measured.
    pub quantity: &'static str,
    /// The value found.
    pub value: f64,
    /// Lowest value accepted.
    pub low: f64,
    /// Highest value accepted.
    pub high: f64,
    /// Unit of all three numbers.
    pub unit: &'static str,
}

/// Checks that `value` is finite and within `low..=high`.
pub fn in_range(
    quantity: &'static str,
    value: f64,
    (low, high): (f64, f64),
    unit: &'static str,
) -> Result<f64, OutOfRange> {
    if value.is_finite() && (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(OutOfRange { quantity, value, low, high, unit })
    }
}

/// A length in millimetres, 0..=10,000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Millimetres(f64);

impl Millimetres {
    /// Checks the range.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        in_range("length", value, (0.0, 10_000.0), "mm").map(Self)
    }

    /// The number of millimetres.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The length in whole micrometres, as the wire format stores it.
    pub fn micrometres(self) -> u64 {
        (self.0 * 1000.0).round() as u64
    }
}

impl fmt::Display for Millimetres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} mm", self.0)
    }
}

/// Voxel spacing in millimetres along the axes `[z, y, x]`, each 0.2..=10 (DESIGN section 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing([f64; 3]);

impl Spacing {
    /// Checks each axis.
    pub fn new(zyx_mm: [f64; 3]) -> Result<Self, OutOfRange> {
        for value in zyx_mm {
            in_range("voxel spacing", value, (0.2, 10.0), "mm")?;
        }
        Ok(Self(zyx_mm))
    }

    /// Millimetres along `[z, y, x]`.
    pub fn zyx(self) -> [f64; 3] {
        self.0
    }

    /// Volume of one voxel in cubic millimetres.
    pub fn voxel_mm3(self) -> f64 {
        self.0.iter().product()
    }
}

/// A probability, 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// Checks the range.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        in_range("probability", value, (0.0, 1.0), "").map(Self)
    }

    /// The probability as a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The probability in ten-thousandths, as the wire format stores it.
    pub fn e4(self) -> u64 {
        (self.0 * 10_000.0).round() as u64
    }
}

/// Milliseconds: a moment since the Unix epoch or a duration, as the name of the field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1u32 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_on_both_sides() {
        assert!(Millimetres::new(0.0).is_ok() && Millimetres::new(10_000.0).is_ok());
        assert!(Millimetres::new(-0.001).is_err() && Millimetres::new(10_000.1).is_err());
        assert!(Spacing::new([0.2, 10.0, 1.0]).is_ok());
        assert!(Spacing::new([0.19, 1.0, 1.0]).is_err() && Spacing::new([1.0, 10.1, 1.0]).is_err());
        assert!(Probability::new(f64::NAN).is_err() && Probability::new(1.0).is_ok());
        assert_eq!(Probability::new(0.12345).map(Probability::e4), Ok(1235));
    }

    #[test]
    fn lengths_round_to_micrometres() {
        assert_eq!(Millimetres::new(12.3456).map(Millimetres::micrometres), Ok(12_346));
    }
}
