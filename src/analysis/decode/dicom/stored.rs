//! Stored cells → HU: which bits count, signed or not, what is padding, and the rescaling.

use dicom_dictionary_std::tags;

use super::attributes::View;
use super::error::DicomError;
use crate::analysis::decode::intake::Tally;
use crate::analysis::decode::limits::LOWEST_HU;

/// How the cells of a frame become HU.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    /// Bits below the value in its cell, 0..=15.
    shift: u32,
    /// Bits of the value, 1..=16.
    bits: u32,
    /// True for two's complement.
    signed: bool,
    /// Stored values that mean "nothing here", from the lowest to the highest.
    padding: Option<(i32, i32)>,
    /// HU per stored unit, finite and not zero.
    slope: f64,
    /// HU of stored zero.
    intercept: f64,
}

impl Stored {
    /// Reads and checks the attributes of the image pixel and CT image modules.
    pub(super) fn read(view: &View<'_, '_>) -> Result<Self, DicomError> {
        check_picture(view)?;
        let (shift, bits) = value_bits(view)?;
        let signed = match view.needed_u16(tags::PIXEL_REPRESENTATION, "PixelRepresentation")? {
            0 => false,
            1 => true,
            found => return Err(bad("PixelRepresentation", found, "0 or 1")),
        };
        if view.bytes(tags::MODALITY_LUT_SEQUENCE).is_some() {
            let found = "a table".to_owned();
            let (attribute, expected) = ("ModalityLUTSequence", "RescaleSlope and intercept");
            return Err(DicomError::BadValue { attribute, found, expected });
        }
        let [slope] = view.needed_decimals(tags::RESCALE_SLOPE, "RescaleSlope")?;
        let [intercept] = view.needed_decimals(tags::RESCALE_INTERCEPT, "RescaleIntercept")?;
        if slope == 0.0 || slope.abs() > MOST_SLOPE {
            return Err(bad("RescaleSlope", slope, "a number up to 1000, not zero"));
        }
        Ok(Self { shift, bits, signed, padding: padding(view, signed), slope, intercept })
    }

    /// One cell in HU, counted in `tally`; padding becomes −1024 HU.
    pub(super) fn hu(&self, cell: u16, tally: &mut Tally) -> i16 {
        let value = self.value(cell);
        // Padding may use the whole cell although values use fewer bits.
        let whole = if self.signed { i32::from(cell as i16) } else { i32::from(cell) };
        let is_padding = |v: i32| self.padding.is_some_and(|(low, high)| low <= v && v <= high);
        if is_padding(value) || is_padding(whole) {
            tally.add_padding();
            return LOWEST_HU;
        }
        tally.add(f64::from(value) * self.slope + self.intercept)
    }

    /// The value in a cell, without what else lies in its unused bits.
    fn value(&self, cell: u16) -> i32 {
        // The value's top bit goes to the top of a word, and comes back with its sign or without.
        let top = u32::from(cell) << (32 - self.shift - self.bits);
        if self.signed {
            (top as i32) >> (32 - self.bits)
        } else {
            (top >> (32 - self.bits)) as i32
        }
    }
}

/// No CT has a larger slope.
const MOST_SLOPE: f64 = 1000.0;

/// One grey value per pixel.
fn check_picture(view: &View<'_, '_>) -> Result<(), DicomError> {
    let samples = view.needed_u16(tags::SAMPLES_PER_PIXEL, "SamplesPerPixel")?;
    if samples != 1 {
        return Err(bad("SamplesPerPixel", samples, "1"));
    }
    match view.ascii(tags::PHOTOMETRIC_INTERPRETATION) {
        Some("MONOCHROME2") => Ok(()),
        Some("MONOCHROME1") => {
            let (attribute, expected) = ("PhotometricInterpretation", "MONOCHROME2");
            Err(DicomError::BadValue { attribute, found: "MONOCHROME1".to_owned(), expected })
        }
        Some(_) => Err(DicomError::BadValue {
            attribute: "PhotometricInterpretation",
            found: "a colour".to_owned(),
            expected: "MONOCHROME2",
        }),
        None => Err(DicomError::Missing { attribute: "PhotometricInterpretation" }),
    }
}

/// Bits below the value and bits of the value.
fn value_bits(view: &View<'_, '_>) -> Result<(u32, u32), DicomError> {
    let allocated = view.needed_u16(tags::BITS_ALLOCATED, "BitsAllocated")?;
    let stored = view.needed_u16(tags::BITS_STORED, "BitsStored")?;
    let high = view.needed_u16(tags::HIGH_BIT, "HighBit")?;
    if allocated != 16 {
        return Err(bad("BitsAllocated", allocated, "16"));
    }
    if !(8..=16).contains(&stored) {
        return Err(bad("BitsStored", stored, "8..=16"));
    }
    if high > 15 || high + 1 < stored {
        return Err(bad("HighBit", high, "BitsStored - 1, up to 15"));
    }
    Ok((u32::from(high + 1 - stored), u32::from(stored)))
}

/// Padding is one value or a range (PS3.3 C.7.5.1.1.2), signed as the pixels are whatever the
/// element's own type says.
fn padding(view: &View<'_, '_>, signed: bool) -> Option<(i32, i32)> {
    let value = |bits: u16| if signed { i32::from(bits as i16) } else { i32::from(bits) };
    let one = value(view.u16(tags::PIXEL_PADDING_VALUE)?);
    let other = view.u16(tags::PIXEL_PADDING_RANGE_LIMIT).map_or(one, value);
    Some((one.min(other), one.max(other)))
}

fn bad(attribute: &'static str, found: impl ToString, expected: &'static str) -> DicomError {
    DicomError::BadValue { attribute, found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bits: u32, shift: u32, signed: bool, padding: Option<(i32, i32)>) -> Stored {
        Stored { shift, bits, signed, padding, slope: 1.0, intercept: -1024.0 }
    }

    fn hu(stored: &Stored, cell: u16) -> i16 {
        stored.hu(cell, &mut Tally::default())
    }

    #[test]
    fn rubbish_in_the_unused_bits_changes_nothing() {
        let twelve = stored(12, 0, false, None);
        assert_eq!((hu(&twelve, 0x0400), hu(&twelve, 0xF400)), (0, 0));
        assert_eq!(hu(&stored(12, 4, false, None), 0x400F), 0);
        let signed = stored(12, 0, true, None);
        assert_eq!(signed.value(0x0800), -2048);
        assert_eq!(signed.value(0x7FFF), -1);
        assert_eq!(stored(16, 0, true, None).value(0x8000), -32768);
        assert_eq!(stored(16, 0, false, None).value(0x8000), 32768);
    }

    #[test]
    fn padding_is_air_in_every_form() {
        let mut tally = Tally::default();
        let range = stored(16, 0, true, Some((-2100, -2000)));
        for cell in [-2100i16, -2050, -2000] {
            assert_eq!(range.hu(cell as u16, &mut tally), LOWEST_HU);
        }
        assert_eq!(range.hu(1064, &mut tally), 40);
        let twelve = stored(12, 0, false, Some((63536, 63536)));
        assert_eq!(twelve.hu(63536, &mut tally), LOWEST_HU);
        assert_eq!(tally.padding(), 4);
    }

    #[test]
    fn values_outside_the_range_are_clipped() {
        let wide = stored(16, 0, true, None);
        assert_eq!(hu(&wide, (-3000i16) as u16), LOWEST_HU);
        assert_eq!(hu(&wide, 20_000), 3071);
    }
}
