//! What all objects of a result share: the source's patient and study, series of their own, the
//! equipment, UIDs derived from the run, and what they are in words.

use dicom_dictionary_std::tags;

use super::codes;
use super::{Found, Run};
use crate::analysis::decode::dicom::Source;
use crate::analysis::decode::dicom::source::Copied;
use crate::analysis::findings::Outcome;
use crate::dicom::{Object, Uid};
use crate::render::overview::BANNER_WORDS;

/// The run, the series it looked at, and how that ended.
pub(super) struct About<'a> {
    pub(super) run: &'a Run,
    pub(super) source: &'a Source,
    pub(super) outcome: Outcome,
    /// Why the analysis abstained.
    pub(super) reasons: &'a [&'a str],
}

/// What tells the objects of one result apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Part of its UIDs.
    pub(super) label: &'static str,
    pub(super) modality: &'static str,
    /// From 9001 on, behind what scanners number.
    pub(super) series_number: &'static str,
    /// What the series holds, in its description.
    pub(super) content: &'static str,
}

pub(super) const SEGMENTATION: Kind = Kind {
    label: "segmentation",
    modality: "SEG",
    series_number: "9001",
    content: "liver and tumour",
};
pub(super) const CAPTURE: Kind =
    Kind { label: "overview", modality: "OT", series_number: "9002", content: "overview" };
pub(super) const MEASUREMENTS: Kind =
    Kind { label: "measurements", modality: "SR", series_number: "9003", content: "measurements" };

/// Who made the objects.
pub(super) const MAKER: &str = "hcc-edge";

/// Attributes that must be there, empty where the source has none (type 2).
const NEEDED: [dicom_core::Tag; 9] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_ID,
];

/// Longest long string (LO), in characters.
const MOST_CHARACTERS: usize = 64;

/// Longest long text (LT), in characters.
const MOST_COMMENT_CHARACTERS: usize = 10_240;

/// Said in every object.
const PRELIMINARY: &str =
    "Preliminary: made by software without review. No person has verified it.";

/// Said where the source names no time zone. TimezoneOffsetFromUTC would speak of the copied times too
/// (PS3.3 C.12.1.1.8), of which nobody knows the zone.
const TIMES_IN_UTC: &str =
    "Series and content times are in UTC: the scan names no time zone for its own.";

impl<'a> About<'a> {
    pub(super) fn new(run: &'a Run, source: &'a Source, found: Found<'a>) -> Self {
        Self { run, source, outcome: found.outcome, reasons: found.reasons }
    }

    /// A UID of this run: another run may give the same result other contents, such as its time or
    /// the name of the folder in the picture, and an archive believes that one UID is one object.
    pub(super) fn uid(&self, label: &str) -> Uid {
        let Run { result_id, site, device, job, started, .. } = self.run;
        let parts = ["result", result_id, site, device, job, started, label];
        Uid::derived(&parts.map(str::as_bytes))
    }

    /// The instance of an object.
    pub(super) fn instance(&self, kind: Kind) -> Uid {
        self.uid(kind.label)
    }

    /// The series of an object.
    pub(super) fn series(&self, kind: Kind) -> Uid {
        self.uid(&format!("{} series", kind.label))
    }

    /// The device, which is the same for all its results.
    pub(super) fn device_uid(&self) -> Uid {
        Uid::derived(&[b"device", self.run.site.as_bytes(), self.run.device.as_bytes()])
    }

    /// The source's coordinate system. Where it names none, its series stands for it: the positions of
    /// one series belong together.
    pub(super) fn frame_of_reference(&self) -> String {
        let source = self.source;
        source.frame_of_reference.clone().unwrap_or_else(|| {
            Uid::derived(&[b"frame of reference", source.series.as_bytes()]).to_string()
        })
    }

    /// Date and time of the run.
    pub(super) fn moment(&self) -> (&str, &str) {
        self.run.started.split_at_checked(8).unwrap_or((&self.run.started, ""))
    }

    /// Patient, study, series, equipment and when the object was made.
    pub(super) fn object(&self, kind: Kind) -> Object {
        let empty = NEEDED.iter().fold(Object::default(), |object, tag| object.text(*tag, ""));
        let object = self.copied().fold(empty, |object, (tag, value)| object.encoded(*tag, value));
        let (date, time) = self.moment();
        object
            .texts(&[
                (tags::STUDY_INSTANCE_UID, &self.source.study),
                (tags::MODALITY, kind.modality),
                (tags::SERIES_INSTANCE_UID, self.series(kind).as_str()),
                (tags::SERIES_NUMBER, kind.series_number),
                (tags::SERIES_DATE, date),
                (tags::SERIES_TIME, time),
                (tags::SERIES_DESCRIPTION, &self.described(&format!("{MAKER} {}", kind.content))),
                (tags::INSTANCE_NUMBER, "1"),
                (tags::CONTENT_DATE, date),
                (tags::CONTENT_TIME, time),
                (tags::MANUFACTURER, MAKER),
                (tags::MANUFACTURER_MODEL_NAME, MAKER),
                (tags::DEVICE_SERIAL_NUMBER, &long_string(&self.serial_number())),
                (tags::SOFTWARE_VERSIONS, &long_string(&self.run.software)),
            ])
            .item(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, self.contribution())
            .with(self.deidentification())
    }

    /// What is copied. A time zone that is none would be taken for the one of our times.
    fn copied(&self) -> impl Iterator<Item = &'a (dicom_core::Tag, Vec<u8>)> {
        let zone = self.source.utc_offset_minutes();
        let is_zone = |tag| tag == tags::TIMEZONE_OFFSET_FROM_UTC;
        self.source.copied.iter().filter(move |(tag, _)| zone.is_some() || !is_zone(*tag))
    }

    /// When this device made the object, with the time zone in the value.
    fn contribution(&self) -> Object {
        let ahead = self.source.utc_offset_minutes().unwrap_or(0);
        let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs());
        let zone = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
        Object::default()
            .texts(&[
                (tags::MANUFACTURER, MAKER),
                (tags::MANUFACTURER_MODEL_NAME, MAKER),
                (tags::CONTRIBUTION_DATE_TIME, &format!("{}{zone}", self.run.started)),
            ])
            .item(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::PROCESSING_EQUIPMENT.item())
    }

    /// How the patient's identity was removed from the source, where it says so in codes.
    fn deidentification(&self) -> Object {
        let code = |code: &Copied| {
            code.iter().fold(Object::default(), |object, (tag, value)| object.encoded(*tag, value))
        };
        let codes: Vec<Object> = self.source.deidentification.iter().map(code).collect();
        if codes.is_empty() {
            return Object::default();
        }
        Object::default().sequence(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, codes)
    }

    /// A short description that ends with what nobody may overlook, a long string.
    pub(super) fn described(&self, what: &str) -> String {
        let abstained = if self.abstained() { ", abstained" } else { "" };
        let purpose = if self.run.demonstration { ", demonstration" } else { "" };
        format!("{what}{abstained}, unverified{purpose}")
    }

    /// Whether there is no score.
    pub(super) fn abstained(&self) -> bool {
        match self.outcome {
            Outcome::Ok => false,
            Outcome::Abstained | Outcome::Unreadable => true,
        }
    }

    /// What the object is, in sentences, for a reader who has nothing else of the result.
    pub(super) fn remarks(&self) -> Vec<String> {
        let demonstration = self.run.demonstration.then(|| format!("{BANNER_WORDS}."));
        let reasons = self.reasons.iter().filter(|_| self.abstained());
        let abstained = reasons.map(|reason| format!("The analysis abstained: {}", plain(reason)));
        let zone = self.source.utc_offset_minutes();
        let times = zone.is_none().then(|| TIMES_IN_UTC.to_owned());
        demonstration
            .into_iter()
            .chain([PRELIMINARY.to_owned()])
            .chain(abstained)
            .chain(times)
            .collect()
    }

    /// The remarks on an image.
    pub(super) fn image_comments(&self) -> String {
        self.remarks().join("\r\n").chars().take(MOST_COMMENT_CHARACTERS).collect()
    }

    fn serial_number(&self) -> String {
        format!("{}/{}", self.run.site, self.run.device)
    }
}

/// ASCII without a backslash, cut to what a long string holds: text of ours beside text in the
/// source's character set.
pub(super) fn long_string(text: &str) -> String {
    plain(text).chars().take(MOST_CHARACTERS).collect()
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '\\' { c } else { '?' }).collect()
}
