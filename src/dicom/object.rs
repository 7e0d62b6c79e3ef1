//! One object put together element by element, and written as a file: explicit VR, little-endian.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use thiserror::Error;

use super::uid::Uid;
use super::{IMPLEMENTATION_NAME, IMPLEMENTATION_UID};

/// An object that could not be written; in memory it cannot happen but by a mistake of this program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a DICOM object could not be encoded")]
pub struct WriteError;

/// A data set or an item of a sequence. The type of a value (VR) is the dictionary's.
#[derive(Clone)]
pub struct Object(InMemDicomObject);

impl Default for Object {
    fn default() -> Self {
        Self(InMemDicomObject::new_empty())
    }
}

impl Object {
    /// With text, several values of it parted by backslashes; empty for an attribute without a value.
    /// Written as ASCII, which every character set of a source contains.
    pub fn text(self, tag: Tag, text: &str) -> Self {
        let vr = vr(tag);
        if text.is_empty() {
            return self.put(tag, vr, PrimitiveValue::Empty);
        }
        // In running text a backslash parts nothing (PS3.5 6.2).
        let running = matches!(vr, VR::ST | VR::LT | VR::UT);
        let values: Vec<&str> = if running { vec![text] } else { text.split('\\').collect() };
        self.put(tag, vr, PrimitiveValue::Strs(values.into_iter().map(str::to_owned).collect()))
    }

    /// With several pieces of text at once.
    pub fn texts(self, texts: &[(Tag, &str)]) -> Self {
        texts.iter().fold(self, |object, (tag, text)| object.text(*tag, text))
    }

    /// With decimal numbers, each in at most 16 characters.
    pub fn decimals(self, tag: Tag, numbers: &[f64]) -> Self {
        let texts: Vec<String> = numbers.iter().map(|&number| decimal_string(number)).collect();
        self.text(tag, &texts.join("\\"))
    }

    /// With unsigned shorts.
    pub fn shorts(self, tag: Tag, numbers: &[u16]) -> Self {
        self.put(tag, VR::US, PrimitiveValue::U16(numbers.into()))
    }

    /// With unsigned longs.
    pub fn longs(self, tag: Tag, numbers: &[u32]) -> Self {
        self.put(tag, VR::UL, PrimitiveValue::U32(numbers.into()))
    }

    /// With attribute tags.
    pub fn tags(self, tag: Tag, named: &[Tag]) -> Self {
        self.put(tag, VR::AT, PrimitiveValue::Tags(named.into()))
    }

    /// With text that was encoded elsewhere, byte for byte.
    pub fn encoded(self, tag: Tag, bytes: &[u8]) -> Self {
        let vr = vr(tag);
        let mut bytes = bytes.to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        self.put(tag, vr, PrimitiveValue::U8(bytes.into()))
    }

    /// With a sequence.
    pub fn sequence(mut self, tag: Tag, items: Vec<Self>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// Without these.
    pub fn without(mut self, named: &[Tag]) -> Self {
        for tag in named {
            self.0.remove_element(*tag);
        }
        self
    }

    /// With a sequence of one item.
    pub fn item(self, tag: Tag, item: Self) -> Self {
        self.sequence(tag, vec![item])
    }

    /// With pixels in bytes; an odd number of them is padded.
    pub fn pixel_bytes(self, bytes: Vec<u8>) -> Self {
        self.put(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into()))
    }

    /// With pixels of 16 bits.
    pub fn pixel_words(self, words: Vec<u16>) -> Self {
        self.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into()))
    }

    /// With all elements of another object; its values count where both have one.
    pub fn with(mut self, other: Self) -> Self {
        for element in other.0 {
            self.0.put(element);
        }
        self
    }

    /// The file of this object, which is the instance `instance` of the class `class`.
    pub fn file(self, class: &str, instance: &Uid) -> Result<Vec<u8>, WriteError> {
        let identified =
            [(tags::SOP_CLASS_UID, class), (tags::SOP_INSTANCE_UID, instance.as_str())];
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(instance.as_str())
            .implementation_class_uid(IMPLEMENTATION_UID)
            .implementation_version_name(IMPLEMENTATION_NAME);
        let object = self.texts(&identified).0.with_meta(meta).map_err(|_| WriteError)?;
        let mut bytes = Vec::new();
        object.write_all(&mut bytes).map_err(|_| WriteError)?;
        Ok(bytes)
    }

    fn put(mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> Self {
        self.0.put(DataElement::new(tag, vr, value));
        self
    }
}

fn vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// Characters of a decimal string, at most (PS3.5 6.2).
const MOST_CHARACTERS: usize = 16;

/// The shortest text that is this number, or the most digits that fit.
pub fn decimal_string(number: f64) -> String {
    // Zero has one sign.
    let number = if number == 0.0 { 0.0 } else { number };
    let shortest = number.to_string();
    if shortest.len() <= MOST_CHARACTERS {
        return shortest;
    }
    let plain = (0..=14).rev().map(|digits| format!("{number:.digits$}"));
    let scientific = (0..=10).rev().map(|digits| format!("{number:.digits$e}"));
    // Below a thousandth the plain form loses digits to leading zeros.
    let texts: Vec<String> =
        if number.abs() < 1e-3 { scientific.collect() } else { plain.chain(scientific).collect() };
    texts.into_iter().find(|text| text.len() <= MOST_CHARACTERS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_short_and_close() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1024.0, "-1024"),
            (0.7, "0.7"),
            (-1.0 / 3.0, "-0.3333333333333"),
            (2e300, "2.0000000000e300"),
        ] {
            assert_eq!(decimal_string(number), text);
        }
        for n in 1..2000 {
            for scale in [1e-9, 1e-3, 1.0, 1e5, 1e12] {
                let number = (f64::from(n) - 1000.5) / 7.0 * scale;
                let text = decimal_string(number);
                assert!(text.len() <= MOST_CHARACTERS, "{text}");
                let read: f64 = text.parse().unwrap();
                assert!((read - number).abs() <= number.abs() * 1e-9, "{number} {text}");
            }
        }
    }

    #[test]
    fn encoded_text_is_written_byte_for_byte() {
        // ISO 8859-1 for "Müller^A"; the object is told another character set than the writer's.
        let name = b"M\xfcller^A";
        let object = Object::default()
            .encoded(tags::SPECIFIC_CHARACTER_SET, b"ISO_IR 100")
            .encoded(tags::PATIENT_NAME, name);
        let file = object.file(uids::CT_IMAGE_STORAGE, &Uid::derived(&[b"x"])).unwrap();
        assert!(file.windows(name.len()).any(|window| window == name));
        let read = dicom_object::from_reader(&file[..]).unwrap();
        let writer = read.meta().implementation_class_uid();
        assert_eq!(writer, IMPLEMENTATION_UID, "as receive calls itself");
        assert_eq!(read.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Müller^A");
    }

    #[test]
    fn running_text_keeps_its_backslashes() {
        let object = Object::default()
            .text(tags::TEXT_VALUE, "a\\b")
            .text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY");
        assert_eq!(object.0.element(tags::TEXT_VALUE).unwrap().value().multiplicity(), 1);
        assert_eq!(object.0.element(tags::IMAGE_TYPE).unwrap().value().multiplicity(), 2);
    }
}
