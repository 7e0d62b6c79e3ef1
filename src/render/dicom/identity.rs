//! What all objects of a result share: the source's patient and study, series of their own, the
//! equipment, and UIDs derived from the result.

use dicom_dictionary_std::tags;

use super::Run;
use crate::analysis::decode::dicom::Source;
use crate::dicom::{Object, Uid};

/// The run and the series it looked at.
pub(super) struct About<'a> {
    pub(super) run: &'a Run,
    pub(super) source: &'a Source,
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

impl About<'_> {
    /// A UID of this result.
    pub(super) fn uid(&self, label: &str) -> Uid {
        Uid::derived(&[b"result", self.run.result_id.as_bytes(), label.as_bytes()])
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
        let copied = self.source.copied.iter();
        let object = copied.fold(empty, |object, (tag, value)| object.encoded(*tag, value));
        let (date, time) = self.moment();
        let purpose = if self.run.demonstration { ", demonstration" } else { "" };
        object.texts(&[
            (tags::STUDY_INSTANCE_UID, &self.source.study),
            (tags::MODALITY, kind.modality),
            (tags::SERIES_INSTANCE_UID, self.series(kind).as_str()),
            (tags::SERIES_NUMBER, kind.series_number),
            (tags::SERIES_DATE, date),
            (tags::SERIES_TIME, time),
            (tags::SERIES_DESCRIPTION, &format!("{MAKER} {}{purpose}", kind.content)),
            (tags::INSTANCE_NUMBER, "1"),
            (tags::CONTENT_DATE, date),
            (tags::CONTENT_TIME, time),
            (tags::MANUFACTURER, MAKER),
            (tags::MANUFACTURER_MODEL_NAME, MAKER),
            (tags::DEVICE_SERIAL_NUMBER, &long_string(&self.serial_number())),
            (tags::SOFTWARE_VERSIONS, &long_string(&self.run.software)),
        ])
    }

    fn serial_number(&self) -> String {
        format!("{}/{}", self.run.site, self.run.device)
    }
}

/// ASCII without a backslash, cut to what a long string holds: text of ours beside text in the
/// source's character set.
pub(super) fn long_string(text: &str) -> String {
    let plain = |c: char| if matches!(c, ' '..='~') && c != '\\' { c } else { '?' };
    text.chars().map(plain).take(MOST_CHARACTERS).collect()
}
