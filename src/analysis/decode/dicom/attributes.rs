//! The attributes the reader needs, picked out of a data set in one pass and read as numbers or text
//! under bounds. Everything else in a file, names and dates of birth above all, is passed over (what
//! objects made from a series repeat of it is read in [`source`](super::source)).

use std::ops::Range;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::elements::{Elements, Items, Order};
use super::error::DicomError;

/// Longest value that is looked at, in bytes.
pub(super) const MOST_VALUE_BYTES: usize = 1024;
/// Frames in one file, at most: 640 slices of six phases.
pub(super) const MOST_FRAMES: usize = 4096;
/// Pieces that the pixels of one file may lie in.
const MOST_FRAGMENTS: usize = 65_536;

/// What is read of a whole file, sorted by tag.
const WANTED: [Tag; 46] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::ACQUISITION_DATE,
    tags::CONTENT_DATE,
    tags::ACQUISITION_DATE_TIME,
    tags::ACQUISITION_TIME,
    tags::CONTENT_TIME,
    tags::MODALITY,
    tags::SERIES_DESCRIPTION,
    tags::PROTOCOL_NAME,
    tags::FRAME_TYPE,
    tags::PATIENT_ID,
    tags::CONTRAST_BOLUS_AGENT,
    tags::CONTRAST_BOLUS_START_TIME,
    tags::TRIGGER_TIME,
    tags::CONVOLUTION_KERNEL,
    tags::FRAME_ACQUISITION_DATE_TIME,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::ACQUISITION_NUMBER,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::FRAME_OF_REFERENCE_UID,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::IMAGES_IN_ACQUISITION,
    tags::TEMPORAL_POSITION_INDEX,
    tags::FRAME_ACQUISITION_NUMBER,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
    tags::LOSSY_IMAGE_COMPRESSION,
    // Sequences whose presence alone matters.
    tags::CONTRAST_BOLUS_AGENT_SEQUENCE,
    tags::MODALITY_LUT_SEQUENCE,
];

/// Values by tag.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    values: Vec<(Tag, &'a [u8])>,
}

impl<'a> Attributes<'a> {
    fn get(&self, tag: Tag) -> Option<&'a [u8]> {
        self.values.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value)
    }

    fn keep(&mut self, tag: Tag, value: &'a [u8]) {
        if value.len() <= MOST_VALUE_BYTES && WANTED.contains(&tag) && self.get(tag).is_none() {
            self.values.push((tag, value));
        }
    }

    /// Keeps the presence of a sequence, whatever its length.
    fn keep_sequence(&mut self, tag: Tag, value: &'a [u8]) {
        if SEQUENCES.contains(&tag) && !value.is_empty() {
            self.values.push((tag, &value[..1]));
        }
    }
}

const SEQUENCES: [Tag; 2] = [tags::CONTRAST_BOLUS_AGENT_SEQUENCE, tags::MODALITY_LUT_SEQUENCE];

/// Where the pixels are in the data set.
#[derive(Debug)]
pub(super) enum PixelBytes {
    /// Not compressed.
    Native(Range<usize>),
    /// Compressed: the basic offset table and the fragments.
    Fragments {
        /// The start of each frame, counted from the first fragment's item header; may be empty.
        offsets: Vec<u32>,
        /// Where each fragment's bytes are.
        fragments: Vec<Range<usize>>,
    },
}

/// What a data set says, in three layers: a frame's own values, those all frames share, the file's.
#[derive(Debug, Default)]
pub(super) struct Header<'a> {
    file: Attributes<'a>,
    shared: Attributes<'a>,
    frames: Vec<Attributes<'a>>,
    /// Where the pixels are; `None` when there are none.
    pub(super) pixels: Option<PixelBytes>,
    order: Option<Order>,
}

/// Reads a data set up to its pixels, or up to what is wrong with it: what comes before tells what
/// the file belongs to.
pub(super) fn read(bytes: &[u8], order: Order) -> (Header<'_>, Result<(), DicomError>) {
    let mut header = Header { order: Some(order), ..Header::default() };
    let complete = fill(&mut header, Elements::new(bytes, order));
    (header, complete)
}

fn fill<'a>(header: &mut Header<'a>, mut elements: Elements<'a>) -> Result<(), DicomError> {
    while let Some(element) = elements.next()? {
        match element.tag {
            tags::PIXEL_DATA if element.undefined_length => {
                header.pixels = Some(fragments(Items::of(&element, 1), element.at)?);
                break;
            }
            tags::PIXEL_DATA => {
                let range = element.at..element.at + element.value.len();
                header.pixels = Some(PixelBytes::Native(range));
                break;
            }
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE => {
                let mut items = Items::of(&element, 1);
                if let Some((_, item)) = items.next()? {
                    flatten(items.elements(item), 2, &mut header.shared)?;
                }
            }
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE => {
                header.frames = frames(Items::of(&element, 1))?;
            }
            tag => {
                header.file.keep_sequence(tag, element.value);
                header.file.keep(tag, element.value);
            }
        }
    }
    Ok(())
}

fn frames(mut items: Items<'_>) -> Result<Vec<Attributes<'_>>, DicomError> {
    let mut frames = Vec::new();
    while let Some((_, item)) = items.next()? {
        if frames.len() == MOST_FRAMES {
            let (found, limit) = (frames.len() as u64 + 1, MOST_FRAMES as u64);
            return Err(DicomError::TooLarge { quantity: "frames in one file", found, limit });
        }
        let mut frame = Attributes::default();
        flatten(items.elements(item), 2, &mut frame)?;
        frames.push(frame);
    }
    Ok(frames)
}

/// Keeps the wanted values of functional groups, each of which is a sequence of one item.
fn flatten<'a>(
    mut elements: Elements<'a>,
    depth: usize,
    into: &mut Attributes<'a>,
) -> Result<(), DicomError> {
    while let Some(element) = elements.next()? {
        if !FUNCTIONAL_GROUPS.contains(&element.tag) {
            into.keep(element.tag, element.value);
            continue;
        }
        let mut items = Items::of(&element, depth);
        if let Some((_, item)) = items.next()? {
            flatten(items.elements(item), depth + 1, into)?;
        }
    }
    Ok(())
}

/// The functional groups that hold wanted values (PS3.3 C.7.6.16).
const FUNCTIONAL_GROUPS: [Tag; 6] = [
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
];

/// The first item is the basic offset table, the others are fragments (PS3.5 A.4).
fn fragments(mut items: Items<'_>, start: usize) -> Result<PixelBytes, DicomError> {
    let table = items.next()?.map_or(&[][..], |(_, table)| table);
    let words = table.chunks_exact(4).take(MOST_FRAMES);
    let offsets = words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
    let mut fragments = Vec::new();
    while let Some((at, fragment)) = items.next()? {
        if fragments.len() == MOST_FRAGMENTS {
            let (found, limit) = (fragments.len() as u64 + 1, MOST_FRAGMENTS as u64);
            return Err(DicomError::TooLarge { quantity: "pixel fragments", found, limit });
        }
        fragments.push(start + at..start + at + fragment.len());
    }
    Ok(PixelBytes::Fragments { offsets, fragments })
}

impl<'a> Header<'a> {
    /// The per-frame functional groups there are.
    pub(super) fn frame_groups(&self) -> usize {
        self.frames.len()
    }

    /// The attributes as frame `frame` (from 0) sees them.
    pub(super) fn frame(&self, frame: usize) -> View<'_, 'a> {
        View { header: self, frame: self.frames.get(frame) }
    }
}

/// The attributes of one frame.
#[derive(Clone, Copy)]
pub(super) struct View<'h, 'a> {
    header: &'h Header<'a>,
    frame: Option<&'h Attributes<'a>>,
}

impl<'a> View<'_, 'a> {
    /// The raw value, `None` when it is absent or empty.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        let own = self.frame.and_then(|frame| frame.get(tag));
        let value = own.or_else(|| self.header.shared.get(tag));
        value.or_else(|| self.header.file.get(tag)).filter(|value| !value.is_empty())
    }

    /// ASCII text without padding, `None` when it is absent, empty or not ASCII.
    pub(super) fn ascii(&self, tag: Tag) -> Option<&'a str> {
        let text = std::str::from_utf8(self.bytes(tag)?).ok().filter(|text| text.is_ascii())?;
        Some(text.trim_matches(['\0', ' '])).filter(|text| !text.is_empty())
    }

    /// Text in the file's character set; what cannot be decoded is left out.
    pub(super) fn text(&self, tag: Tag) -> String {
        let Some(bytes) = self.bytes(tag) else { return String::new() };
        let sets = self.ascii(tags::SPECIFIC_CHARACTER_SET).unwrap_or("");
        // With code extensions the last set named is the one with the letters.
        let set = sets.rsplit('\\').find_map(|code| SpecificCharacterSet::from_code(code.trim()));
        let decoded = set.and_then(|set| set.decode(bytes).ok());
        let text = decoded.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
        text.trim_matches(['\0', ' ']).to_owned()
    }

    /// A binary unsigned short.
    pub(super) fn u16(&self, tag: Tag) -> Option<u16> {
        let bytes = self.bytes(tag)?;
        let order = self.header.order.unwrap_or(Order::ExplicitLittle);
        Some(order.u16([*bytes.first()?, *bytes.get(1)?]))
    }

    /// A binary unsigned short that must be there.
    pub(super) fn needed_u16(&self, tag: Tag, attribute: &'static str) -> Result<u16, DicomError> {
        self.u16(tag).ok_or(DicomError::Missing { attribute })
    }

    /// The first of the decimal strings, `None` when it is absent or no number.
    pub(super) fn decimal(&self, tag: Tag) -> Option<f64> {
        decimal(self.ascii(tag)?.split('\\').next()?)
    }

    /// Exactly `N` decimal strings that must be there.
    pub(super) fn needed_decimals<const N: usize>(
        &self,
        tag: Tag,
        attribute: &'static str,
    ) -> Result<[f64; N], DicomError> {
        if self.bytes(tag).is_none() {
            return Err(DicomError::Missing { attribute });
        }
        let bad = |found: String| {
            let expected = "decimal numbers, as many as the attribute has";
            DicomError::BadValue { attribute, found, expected }
        };
        let text = self.ascii(tag).ok_or_else(|| bad("not text".to_owned()))?;
        let mut numbers = [0.0; N];
        let found = text.split('\\').count();
        if found != N {
            return Err(bad(format!("{found} values")));
        }
        for (number, text) in numbers.iter_mut().zip(text.split('\\')) {
            *number = decimal(text).ok_or_else(|| bad("not a number".to_owned()))?;
        }
        Ok(numbers)
    }
}

/// A value without what pads it to an even length, or to more.
pub(super) fn without_padding(value: &[u8]) -> &[u8] {
    let last = value.iter().rposition(|byte| !matches!(byte, 0 | b' '));
    &value[..last.map_or(0, |last| last + 1)]
}

/// A decimal string (PS3.5 6.2, DS or IS): `-01.024000E+03` and `000034` are numbers, `inf`, `nan`
/// and a decimal comma are not.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim_matches([' ', '\0']);
    let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number: f64 = if plain { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_number_strings_are_numbers_and_words_are_not() {
        for (text, number) in [
            ("006.953125E-01", 0.695_312_5),
            ("-01.024000E+03", -1024.0),
            ("000034", 34.0),
            (" +1. ", 1.0),
            (".5\0", 0.5),
        ] {
            assert_eq!(decimal(text), Some(number), "{text}");
        }
        for text in ["", "inf", "NaN", "1,5", "0x10", "1e999", "1 2", "-", "1A"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn functional_groups_of_unknown_representation_are_read() {
        let implicit = |tag: Tag, value: &[u8]| {
            let head = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
            [&head[..], &(value.len() as u32).to_le_bytes(), value].concat()
        };
        let item = |inside: Vec<u8>| implicit(Tag(0xFFFE, 0xE000), &inside);
        let spacing = item(implicit(tags::PIXEL_SPACING, b"0.7\\0.8 "));
        let groups = item(implicit(tags::PIXEL_MEASURES_SEQUENCE, &spacing));
        let mut file = implicit(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, &groups);
        // As an archive writes it that does not know the attribute: defined length, no inner VR.
        file.splice(4..4, *b"UN\0\0");
        let (header, complete) = read(&file, Order::ExplicitLittle);
        assert_eq!(complete, Ok(()));
        let spacing = header.frame(0).needed_decimals(tags::PIXEL_SPACING, "PixelSpacing");
        assert_eq!(spacing, Ok([0.7, 0.8]));
    }
}
