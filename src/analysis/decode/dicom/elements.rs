//! The elements of a data set, one after the other, without copying a value.
//!
//! dicom-rs decodes each element's header; what a header claims is checked here against the bytes
//! there are before anything is done with it. Nothing is allocated, and nesting is bounded.

use dicom_core::header::{DataElementHeader, HasLength, Header, SequenceItemHeader};
use dicom_core::{Tag, VR};
use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;

use super::error::DicomError;

/// Sequences within sequences, at most. Functional groups need three.
pub(super) const MOST_NESTING: usize = 16;

/// Length that means "until the delimiter".
const UNDEFINED: u32 = u32::MAX;

/// How element headers and binary values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Implicit VR, little-endian.
    ImplicitLittle,
    /// Explicit VR, little-endian.
    ExplicitLittle,
    /// Explicit VR, big-endian.
    ExplicitBig,
}

impl Order {
    /// An unsigned 16-bit value.
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => u16::from_le_bytes(bytes),
            Self::ExplicitBig => u16::from_be_bytes(bytes),
        }
    }

    fn element_header(self, mut source: &[u8]) -> Result<(DataElementHeader, usize), DicomError> {
        let source = &mut source;
        let decoded = match self {
            Self::ImplicitLittle => ImplicitVRLittleEndianDecoder::default().decode_header(source),
            Self::ExplicitLittle => ExplicitVRLittleEndianDecoder::default().decode_header(source),
            Self::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(source),
        };
        decoded.map_err(|_| CUT_HEADER)
    }

    fn item_header(self, mut source: &[u8]) -> Result<SequenceItemHeader, DicomError> {
        let source = &mut source;
        let decoded = match self {
            Self::ImplicitLittle => {
                ImplicitVRLittleEndianDecoder::default().decode_item_header(source)
            }
            Self::ExplicitLittle => {
                ExplicitVRLittleEndianDecoder::default().decode_item_header(source)
            }
            Self::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_item_header(source),
        };
        decoded.map_err(|_| DicomError::Corrupt { found: "a sequence that is not made of items" })
    }
}

const CUT_HEADER: DicomError = DicomError::Corrupt { found: "an element header that is cut off" };

/// One element of a data set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// Its tag.
    pub(super) tag: Tag,
    /// Its value, without the delimiter of an undefined length.
    pub(super) value: &'a [u8],
    /// Where the value starts in the bytes that are read.
    pub(super) at: usize,
    /// True when the value is a list of items that ends at a delimiter.
    pub(super) undefined_length: bool,
    /// How the items of the value are encoded.
    pub(super) inside: Order,
}

/// The elements of one data set or item, in file order.
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
    depth: usize,
}

impl<'a> Elements<'a> {
    /// The elements of a whole data set.
    pub(super) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self { bytes, at: 0, order, depth: 0 }
    }

    /// The next element; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, DicomError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let (header, length) = self.order.element_header(&self.bytes[self.at..])?;
        let at = self.at + length;
        let claimed = header.length().0;
        let undefined_length = claimed == UNDEFINED;
        // PS3.5 6.2.2: items in a value of unknown representation are implicit little-endian.
        let unknown = header.vr() == VR::UN;
        let inside = if unknown { Order::ImplicitLittle } else { self.order };
        let (end, next) = if undefined_length {
            let items = Items { bytes: self.bytes, at, order: inside, depth: self.depth + 1 };
            items.find_end()?
        } else {
            let end = self.end_of(at, claimed)?;
            (end, end)
        };
        self.at = next;
        let value = &self.bytes[at..end];
        Ok(Some(Element { tag: header.tag(), value, at, undefined_length, inside }))
    }

    /// Where a value of `claimed` bytes ends, when it does within the data set.
    fn end_of(&self, at: usize, claimed: u32) -> Result<usize, DicomError> {
        let left = self.bytes.len() - at;
        if claimed as usize > left {
            let (found, expected) = (left as u64, u64::from(claimed));
            return Err(DicomError::Truncated { what: "an element", found, expected });
        }
        Ok(at + claimed as usize)
    }
}

/// The items of a sequence or of encapsulated pixels.
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
    depth: usize,
}

impl<'a> Items<'a> {
    /// The items in the value of a sequence `depth` levels below the data set.
    pub(super) fn of(element: &Element<'a>, depth: usize) -> Self {
        Self { bytes: element.value, at: 0, order: element.inside, depth }
    }

    /// The next item's content and where it starts in the sequence's value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &'a [u8])>, DicomError> {
        let Some((at, end, next)) = self.bounds()? else { return Ok(None) };
        self.at = next;
        Ok(Some((at, &self.bytes[at..end])))
    }

    /// The elements in an item's content.
    pub(super) fn elements(&self, content: &'a [u8]) -> Elements<'a> {
        Elements { bytes: content, at: 0, order: self.order, depth: self.depth }
    }

    /// Where the items end and where what follows them starts.
    fn find_end(mut self) -> Result<(usize, usize), DicomError> {
        loop {
            if self.bytes.len() - self.at < 8 {
                let found = "a sequence without an end";
                return Err(DicomError::Corrupt { found });
            }
            let end = self.at;
            match self.bounds()? {
                Some((.., next)) => self.at = next,
                None => return Ok((end, end + 8)),
            }
        }
    }

    /// Start of the next item's content, its end, and where the item after it starts; `None` at the
    /// delimiter and at the end.
    fn bounds(&self) -> Result<Option<(usize, usize, usize)>, DicomError> {
        if self.depth > MOST_NESTING {
            return Err(DicomError::Corrupt { found: "sequences nested too deep" });
        }
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let header = self.order.item_header(&self.bytes[self.at..])?;
        let at = self.at + 8;
        match header {
            SequenceItemHeader::SequenceDelimiter => Ok(None),
            SequenceItemHeader::ItemDelimiter => {
                Err(DicomError::Corrupt { found: "the end of an item that did not begin" })
            }
            SequenceItemHeader::Item { len } if len.0 == UNDEFINED => {
                let (end, next) = self.find_item_end(at)?;
                Ok(Some((at, end, next)))
            }
            SequenceItemHeader::Item { len } => {
                let left = self.bytes.len() - at;
                if len.0 as usize > left {
                    let (found, expected) = (left as u64, u64::from(len.0));
                    return Err(DicomError::Truncated { what: "an item", found, expected });
                }
                let end = at + len.0 as usize;
                Ok(Some((at, end, end)))
            }
        }
    }

    /// Walks the elements of an item of undefined length up to its delimiter.
    fn find_item_end(&self, at: usize) -> Result<(usize, usize), DicomError> {
        let mut inside = Elements { bytes: self.bytes, at, order: self.order, depth: self.depth };
        loop {
            let end = inside.at;
            match inside.next()? {
                Some(element) if element.tag == Tag(0xFFFE, 0xE00D) => return Ok((end, inside.at)),
                Some(_) => {}
                None => return Err(DicomError::Corrupt { found: "an item without an end" }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implicit(tag: [u8; 4], value: &[u8]) -> Vec<u8> {
        [&tag[..], &(value.len() as u32).to_le_bytes(), value].concat()
    }

    /// A private sequence of undefined length with one item of undefined length around `inside`.
    fn undefined(inside: &[u8]) -> Vec<u8> {
        let start = [9, 0, 1, 16, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255, 255, 255, 255];
        let end = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        [&start[..], inside, &end].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Tag>, DicomError> {
        let mut elements = Elements::new(bytes, Order::ImplicitLittle);
        let mut tags = Vec::new();
        while let Some(element) = elements.next()? {
            tags.push(element.tag);
        }
        Ok(tags)
    }

    #[test]
    fn nested_sequences_are_passed_as_one_element() {
        let last = implicit([0x28, 0, 0x10, 0], &[0, 2]);
        let bytes = [undefined(&undefined(&last)), last].concat();
        assert_eq!(read(&bytes).unwrap(), [Tag(9, 0x1001), Tag(0x28, 0x10)]);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| (0..levels).fold(Vec::new(), |inside, _| undefined(&inside));
        assert!(read(&nested(MOST_NESTING)).is_ok());
        let found = "sequences nested too deep";
        assert_eq!(read(&nested(MOST_NESTING + 1)), Err(DicomError::Corrupt { found }));
    }

    #[test]
    fn a_length_beyond_the_end_is_named() {
        let mut bytes = implicit([0x28, 0, 0x10, 0], &[0, 2]);
        bytes[4..8].copy_from_slice(&0xFFFF_FFFEu32.to_le_bytes());
        let expected =
            DicomError::Truncated { what: "an element", found: 2, expected: 0xFFFF_FFFE };
        assert_eq!(read(&bytes), Err(expected));
        assert_eq!(read(&bytes[..5]), Err(CUT_HEADER));
        let endless = &undefined(&[])[..16];
        assert!(read(endless).is_err());
    }
}
