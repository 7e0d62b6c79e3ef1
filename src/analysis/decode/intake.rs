//! What the voxels of an image were like before clipping, and whether they can be a CT of a body.
//! Every format's values pass through here, so that all are rounded and clipped alike.

use super::limits::{AIR_HU, HIGHEST_HU, LOWEST_HU, MOST_CLIPPED_HIGH_PERCENT, SOFT_TISSUE_HU};

/// What the voxels were like before clipping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intake {
    /// Lowest value in HU before clipping.
    pub lowest_hu: f64,
    /// Highest value in HU before clipping.
    pub highest_hu: f64,
    /// Voxels raised to −1024 HU.
    pub clipped_low: u64,
    /// Voxels lowered to 3071 HU.
    pub clipped_high: u64,
    /// True when `scl_slope` is 0, read as "no scaling" as NIfTI-1 defines it.
    pub slope_was_zero: bool,
}

/// Values that are no CT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCt {
    /// So many voxels are NaN or infinite.
    NotFinite(u64),
    /// Lowest and highest value, rounded.
    ImplausibleHu(i64, i64),
}

/// Running account of the voxels read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    voxels: u64,
    lowest: f64,
    highest: f64,
    clipped_low: u64,
    clipped_high: u64,
    not_finite: u64,
    padding: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            voxels: 0,
            lowest: f64::INFINITY,
            highest: f64::NEG_INFINITY,
            clipped_low: 0,
            clipped_high: 0,
            not_finite: 0,
            padding: 0,
        }
    }
}

impl Tally {
    /// Counts one value and returns it rounded and clipped.
    pub(super) fn add(&mut self, hu: f64) -> i16 {
        self.voxels += 1;
        if !hu.is_finite() {
            self.not_finite += 1;
            return LOWEST_HU;
        }
        self.lowest = self.lowest.min(hu);
        self.highest = self.highest.max(hu);
        // Away from zero at halves, without a call into libm.
        let rounded = if hu < 0.0 { hu - 0.5 } else { hu + 0.5 };
        if rounded <= f64::from(LOWEST_HU) - 1.0 {
            self.clipped_low += 1;
            LOWEST_HU
        } else if rounded >= f64::from(HIGHEST_HU) + 1.0 {
            self.clipped_high += 1;
            HIGHEST_HU
        } else {
            rounded as i16
        }
    }

    /// Counts a voxel that the file marks as padding.
    pub(super) fn add_padding(&mut self) {
        self.voxels += 1;
        self.padding += 1;
    }

    /// Voxels marked as padding.
    pub(super) fn padding(&self) -> u64 {
        self.padding
    }

    /// Both accounts together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            voxels: self.voxels + other.voxels,
            lowest: self.lowest.min(other.lowest),
            highest: self.highest.max(other.highest),
            clipped_low: self.clipped_low + other.clipped_low,
            clipped_high: self.clipped_high + other.clipped_high,
            not_finite: self.not_finite + other.not_finite,
            padding: self.padding + other.padding,
        }
    }

    /// Refuses values that are no numbers, and ranges that are no CT. Padding is neither clipped nor
    /// a value; an image of nothing else is no CT.
    pub(super) fn judge(self) -> Result<Intake, NotCt> {
        if self.not_finite > 0 {
            return Err(NotCt::NotFinite(self.not_finite));
        }
        let has_air = self.lowest < f64::from(AIR_HU) || self.padding > 0;
        if !has_air
            || self.highest <= f64::from(SOFT_TISSUE_HU)
            || self.clipped_high * 100 > self.voxels * MOST_CLIPPED_HIGH_PERCENT
        {
            return Err(NotCt::ImplausibleHu(
                self.lowest.round() as i64,
                self.highest.round() as i64,
            ));
        }
        Ok(Intake {
            lowest_hu: self.lowest,
            highest_hu: self.highest,
            clipped_low: self.clipped_low,
            clipped_high: self.clipped_high,
            slope_was_zero: false,
        })
    }
}
