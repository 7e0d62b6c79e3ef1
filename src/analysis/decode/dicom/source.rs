//! What objects made from a series have to repeat of it (PS3.3 C.7.1 to C.7.4): patient, study, frame
//! of reference, and which instance each slice is.
//!
//! The one place that reads an identity, and only for objects that a site has asked for. Values are
//! copied byte for byte and cannot be printed: `Debug` counts them. Nothing else may use this file's
//! types but the writer of those objects.

use std::fmt;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::{MOST_VALUE_BYTES, without_padding};
use super::elements::{Element, Elements, Items};
use super::error::DicomError;
use super::file;
use super::slice::Slice;
use super::transfer::is_uid;
use crate::analysis::decode::Limits;

/// What is copied, sorted by tag.
const COPIED: [Tag; 17] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::QUALITY_CONTROL_SUBJECT,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
];

/// What is copied of each code of DeidentificationMethodCodeSequence (PS3.3 8.8).
const COPIED_OF_CODES: [Tag; 6] = [
    tags::CODE_VALUE,
    tags::CODING_SCHEME_DESIGNATOR,
    tags::CODING_SCHEME_VERSION,
    tags::CODE_MEANING,
    tags::LONG_CODE_VALUE,
    tags::URN_CODE_VALUE,
];

/// Codes that say how a series was de-identified, at most; CID 7050 has fewer than half as many.
const MOST_CODES: usize = 32;

/// What refers to the series and its slices.
const REFERENCES: [Tag; 4] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
];

/// Nothing that is read lies behind this group.
const LAST_GROUP: u16 = 0x0020;

/// Attributes as a file encodes them, without padding.
pub type Copied = Vec<(Tag, Vec<u8>)>;

/// What objects made from one series repeat of it.
#[derive(Clone, PartialEq)]
pub struct Source {
    /// Attributes of patient and study as the files encode them, without padding; absent where the
    /// series has none.
    pub copied: Copied,
    /// How the patient's identity was removed, code by code; empty where the series does not say.
    pub deidentification: Vec<Copied>,
    /// The study.
    pub study: String,
    /// The series.
    pub series: String,
    /// The coordinate system of the positions, when it is named.
    pub frame_of_reference: Option<String>,
    /// Direction of growing columns, then of growing rows, LPS unit vectors.
    pub orientation: [f64; 6],
    /// Millimetres between rows, then between columns.
    pub pixel_spacing: [f64; 2],
    /// The slices in order along their normal, as the volume stores them.
    pub slices: Vec<SourceSlice>,
}

/// One slice of the series.
#[derive(Clone, PartialEq)]
pub struct SourceSlice {
    /// Class of its object.
    pub class: String,
    /// The object.
    pub instance: String,
    /// Number of the frame, from 1, in an object of several.
    pub frame: Option<u32>,
    /// Centre of the first pixel, LPS+ millimetres.
    pub position: [f64; 3],
}

impl Source {
    /// How far the times of the study are ahead of UTC, when that is stated.
    pub fn utc_offset_minutes(&self) -> Option<i64> {
        let stated = self.copied.iter().find(|(tag, _)| *tag == tags::TIMEZONE_OFFSET_FROM_UTC);
        let text = std::str::from_utf8(&stated?.1).ok()?.trim();
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        let plain = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: i64 = digits.parse().ok().filter(|_| plain)?;
        let (hours, minutes) = (number / 100, number % 100);
        // PS3.3 C.12.1.1.8: from -1200 to +1400.
        (minutes < 60 && hours <= 14).then_some(sign * (hours * 60 + minutes))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source of {} slices, {} attributes", self.slices.len(), self.copied.len())
    }
}

impl fmt::Debug for SourceSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceSlice at {:?}", self.position)
    }
}

/// Reads what `slices`, in order along their normal, come from. A series whose files name several
/// patients or studies is refused: its results would be filed under one of them.
pub(super) fn read<B: AsRef<[u8]>>(
    files: &[B],
    slices: &[Slice],
    limits: &Limits,
) -> Result<Source, DicomError> {
    let mut sources = Vec::with_capacity(slices.len());
    let mut of_all: Option<FileSource> = None;
    let mut opened: Option<(usize, FileSource)> = None;
    for slice in slices {
        // Frames of one file follow each other.
        let file = match opened.take() {
            Some((number, file)) if number == slice.pixels.file => file,
            _ => FileSource::read(files, slice.pixels.file, limits)?,
        };
        sources.push(SourceSlice {
            class: file.class.clone(),
            instance: file.instance.clone(),
            frame: slice.frame,
            position: slice.position,
        });
        match &of_all {
            None => of_all = Some(file.clone()),
            Some(first) => first.check_same(&file)?,
        }
        opened = Some((slice.pixels.file, file));
    }
    let (Some(file), Some(first)) = (of_all, slices.first()) else {
        return Err(DicomError::TooFew { what: "slices", found: 0, least: 1 });
    };
    let FileSource { copied, deidentification, study, series, frame_of_reference, .. } = file;
    let (orientation, pixel_spacing) = (first.orientation, first.pixel_spacing);
    let slices = sources;
    Ok(Source {
        copied,
        deidentification,
        study,
        series,
        frame_of_reference,
        orientation,
        pixel_spacing,
        slices,
    })
}

/// What one file says.
#[derive(Clone, PartialEq)]
struct FileSource {
    copied: Copied,
    deidentification: Vec<Copied>,
    study: String,
    series: String,
    frame_of_reference: Option<String>,
    class: String,
    instance: String,
}

impl FileSource {
    fn read<B: AsRef<[u8]>>(
        files: &[B],
        number: usize,
        limits: &Limits,
    ) -> Result<Self, DicomError> {
        let data = file::open_one(files, number, limits)?;
        let (mut copied, mut references) = (Vec::new(), Vec::new());
        let mut deidentification = Vec::new();
        let mut elements = Elements::new(&data.bytes, data.syntax.order);
        while let Some(element) = elements.next()? {
            if element.tag.group() > LAST_GROUP {
                break;
            }
            if element.tag == tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE {
                deidentification = codes(&element)?;
                continue;
            }
            let value = without_padding(element.value);
            if value.is_empty() || value.len() > MOST_VALUE_BYTES {
                continue;
            }
            if COPIED.contains(&element.tag) {
                copied.push((element.tag, value.to_vec()));
            }
            if REFERENCES.contains(&element.tag) || element.tag == tags::STUDY_INSTANCE_UID {
                references.push((element.tag, value));
            }
        }
        let uid = |tag, attribute| uid(&references, tag, attribute);
        Ok(Self {
            study: needed(uid, tags::STUDY_INSTANCE_UID, "StudyInstanceUID")?,
            series: needed(uid, tags::SERIES_INSTANCE_UID, "SeriesInstanceUID")?,
            frame_of_reference: uid(tags::FRAME_OF_REFERENCE_UID, "FrameOfReferenceUID")?,
            class: needed(uid, tags::SOP_CLASS_UID, "SOPClassUID")?,
            instance: needed(uid, tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
            copied,
            deidentification,
        })
    }

    /// Refuses another patient, study or coordinate system in the same series. Descriptions and times
    /// may differ.
    fn check_same(&self, other: &Self) -> Result<(), DicomError> {
        let of = |file: &Self, tag| {
            file.copied.iter().find(|(t, _)| *t == tag).map(|(_, value)| value.clone())
        };
        let differs = |tag| of(self, tag) != of(other, tag);
        let attribute = if differs(tags::PATIENT_ID) {
            "PatientID"
        } else if differs(tags::PATIENT_NAME) {
            "PatientName"
        } else if self.study != other.study {
            "StudyInstanceUID"
        } else if self.frame_of_reference != other.frame_of_reference {
            "FrameOfReferenceUID"
        } else {
            return Ok(());
        };
        let found = "different in files of one series".to_owned();
        Err(DicomError::BadValue { attribute, found, expected: "the same in all of them" })
    }
}

/// The codes in a sequence, without the items that are none: a code has a meaning, and a URN or a value with
/// its scheme (PS3.3 8.8).
fn codes(sequence: &Element<'_>) -> Result<Vec<Copied>, DicomError> {
    let mut items = Items::of(sequence, 1);
    let mut codes = Vec::new();
    while let Some((_, content)) = items.next()? {
        let mut code = Copied::new();
        let mut elements = items.elements(content);
        while let Some(element) = elements.next()? {
            let value = without_padding(element.value);
            let usable = !value.is_empty() && value.len() <= MOST_VALUE_BYTES;
            if usable && COPIED_OF_CODES.contains(&element.tag) {
                code.push((element.tag, value.to_vec()));
            }
        }
        let has = |tag: Tag| code.iter().any(|(found, _)| *found == tag);
        let value = has(tags::CODE_VALUE) || has(tags::LONG_CODE_VALUE);
        let named = has(tags::URN_CODE_VALUE) || value && has(tags::CODING_SCHEME_DESIGNATOR);
        if !(named && has(tags::CODE_MEANING)) {
            continue;
        }
        if codes.len() == MOST_CODES {
            let (found, limit) = (MOST_CODES as u64 + 1, MOST_CODES as u64);
            let quantity = "codes in DeidentificationMethodCodeSequence";
            return Err(DicomError::TooLarge { quantity, found, limit });
        }
        codes.push(code);
    }
    Ok(codes)
}

fn needed(
    uid: impl Fn(Tag, &'static str) -> Result<Option<String>, DicomError>,
    tag: Tag,
    attribute: &'static str,
) -> Result<String, DicomError> {
    uid(tag, attribute)?.ok_or(DicomError::Missing { attribute })
}

fn uid(
    references: &[(Tag, &[u8])],
    tag: Tag,
    attribute: &'static str,
) -> Result<Option<String>, DicomError> {
    let Some((_, value)) = references.iter().find(|(t, _)| *t == tag) else { return Ok(None) };
    if !is_uid(value) {
        let (found, expected) = ("no UID".to_owned(), "digits and dots, up to 64");
        return Err(DicomError::BadValue { attribute, found, expected });
    }
    Ok(Some(String::from_utf8_lossy(value).into_owned()))
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::super::fixture::{BIG_ENDIAN, EXPLICIT, FileSpec, IMPLICIT, item, items, series};
    use super::super::survey;
    use super::*;

    const LIMITS: Limits = Limits::STANDARD;

    fn source_of(change: impl Fn(usize, FileSpec) -> FileSpec) -> Result<Source, DicomError> {
        let files = series(16, |n, spec| {
            let spec = spec
                .text(tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.{n}"))
                .text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.7")
                .text(tags::PATIENT_ID, VR::LO, "0815")
                .text(tags::STUDY_DATE, VR::DA, "20250102");
            change(n, spec)
        });
        survey(&files, &LIMITS).series[0].source(&files, &LIMITS)
    }

    #[test]
    fn slices_are_named_in_the_order_of_the_volume() {
        let source = source_of(|_, spec| spec).unwrap();
        for (n, slice) in source.slices.iter().enumerate() {
            assert_eq!(slice.instance, format!("1.2.3.{n}"));
            assert_eq!((slice.position[2], slice.frame), (-50.0 + 2.5 * n as f64, None));
        }
        assert_eq!((&*source.study, &*source.series), ("1.2.7", "1.2.3"));
        assert_eq!(source.frame_of_reference.as_deref(), Some("1.2.9"));
        let name = source.copied.iter().find(|(tag, _)| *tag == tags::PATIENT_NAME);
        assert_eq!(name.unwrap().1, b"Nobody^At All");
    }

    #[test]
    fn the_studys_time_zone_is_read_where_it_is_one() {
        let with = |text: &str| {
            let tag = tags::TIMEZONE_OFFSET_FROM_UTC;
            source_of(|_, spec| spec.text(tag, VR::SH, text)).unwrap().utc_offset_minutes()
        };
        assert_eq!(
            (with("+0530"), with("-0100"), with("+1400")),
            (Some(330), Some(-60), Some(840))
        );
        for text in ["0100", "+100", "+1500", "+0160", "+ab00", "+-100", "é100"] {
            assert_eq!(with(text), None, "{text}");
        }
        assert_eq!(source_of(|_, spec| spec).unwrap().utc_offset_minutes(), None);
    }

    #[test]
    fn no_text_of_the_source_is_printed() {
        let source = source_of(|_, spec| spec).unwrap();
        let printed = format!("{source:?} {:?}", source.slices[0]);
        for text in ["Nobody", "0815", "20250102", "1.2.3", "1.2.7", "1.2.9"] {
            assert!(!printed.contains(text), "{printed}");
        }
    }

    #[test]
    fn a_series_of_two_names_has_no_source() {
        // Slices of two patients' IDs or studies are two series before that.
        let (tag, attribute) = (tags::PATIENT_NAME, "PatientName");
        let other = |n, spec: FileSpec| if n == 9 { spec.text(tag, VR::PN, "7.7") } else { spec };
        let error = source_of(other).unwrap_err();
        let named = |e: &DicomError| matches!(e, DicomError::BadValue { attribute: a, .. } if *a == attribute);
        assert!(named(&error), "{error}");
        assert!(!error.to_string().contains("7.7"));
    }

    #[test]
    fn what_was_done_to_the_identity_is_read_in_every_encoding() {
        let code = |value: &str| {
            items(&[
                (tags::CODE_VALUE, VR::SH, value),
                (tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
                (tags::CODE_MEANING, VR::LO, "Basic Profile"),
            ])
        };
        let none = item(tags::CODE_MEANING, VR::LO, "a meaning of nothing");
        for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
            let source = source_of(|_, spec| {
                spec.text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES")
                    .text(tags::DEIDENTIFICATION_METHOD, VR::LO, "in codes\\here")
                    .text(tags::QUALITY_CONTROL_SUBJECT, VR::CS, "NO")
                    .sequence(
                        tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
                        vec![code("113100"), none.clone(), code("113105")],
                    )
                    .encoded(syntax)
            });
            let source = source.unwrap();
            for (tag, expected) in [
                (tags::PATIENT_IDENTITY_REMOVED, &b"YES"[..]),
                (tags::DEIDENTIFICATION_METHOD, b"in codes\\here"),
                (tags::QUALITY_CONTROL_SUBJECT, b"NO"),
            ] {
                let copied = source.copied.iter().find(|(t, _)| *t == tag);
                assert_eq!(copied.map(|(_, value)| &value[..]), Some(expected), "{syntax} {tag}");
            }
            let expected = |value: &str| {
                let value = (tags::CODE_VALUE, value.as_bytes().to_vec());
                let scheme = (tags::CODING_SCHEME_DESIGNATOR, b"DCM".to_vec());
                vec![value, scheme, (tags::CODE_MEANING, b"Basic Profile".to_vec())]
            };
            assert_eq!(source.deidentification, [expected("113100"), expected("113105")]);
        }
    }

    #[test]
    fn the_codes_of_a_removed_identity_are_bounded() {
        let with = |count: usize| {
            let one = items(&[
                (tags::URN_CODE_VALUE, VR::UR, "urn:oid:1.2"),
                (tags::CODE_MEANING, VR::LO, "Basic Profile"),
            ]);
            let codes = vec![one; count];
            let tag = tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE;
            source_of(|_, spec| spec.sequence(tag, codes.clone()))
        };
        assert_eq!(with(MOST_CODES).unwrap().deidentification.len(), MOST_CODES);
        let refused = with(MOST_CODES + 1).unwrap_err();
        assert!(matches!(refused, DicomError::TooLarge { found: 33, limit: 32, .. }), "{refused}");
    }

    #[test]
    fn references_must_be_uids_of_at_most_64_characters() {
        let long = |characters: usize| format!("1.{}", "2".repeat(characters - 2));
        let with =
            |uid: &str| source_of(|_, spec| spec.text(tags::STUDY_INSTANCE_UID, VR::UI, uid));
        assert!(with(&long(64)).is_ok());
        for uid in [&*long(65), "1.2.x", "Nobody"] {
            let error = with(uid).unwrap_err().to_string();
            assert!(error.starts_with("StudyInstanceUID is no UID"), "{error}");
        }
        let missing = source_of(|_, spec| spec.without(tags::STUDY_INSTANCE_UID)).unwrap_err();
        assert_eq!(missing, DicomError::Missing { attribute: "StudyInstanceUID" });
    }
}
