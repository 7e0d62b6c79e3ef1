//! The coded words of the objects (PS3.16), each with the context group or template it is from.

use dicom_dictionary_std::tags;

use crate::dicom::Object;

/// A coded word: value, scheme, meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(&'static str, &'static str, &'static str);

impl Code {
    /// The item of a code sequence.
    pub(super) fn item(self) -> Object {
        Object::default().texts(&[
            (tags::CODE_VALUE, self.0),
            (tags::CODING_SCHEME_DESIGNATOR, self.1),
            (tags::CODE_MEANING, self.2),
        ])
    }
}

// CID 7150 and 7159: categories and types of segmented properties.
pub(super) const ANATOMICAL_STRUCTURE: Code = Code("123037004", "SCT", "Anatomical Structure");
pub(super) const ABNORMAL_STRUCTURE: Code =
    Code("49755003", "SCT", "Morphologically Abnormal Structure");
pub(super) const LIVER: Code = Code("10200004", "SCT", "Liver");
pub(super) const NEOPLASM: Code = Code("108369006", "SCT", "Neoplasm");

// CID 7005: what equipment did for an object.
pub(super) const PROCESSING_EQUIPMENT: Code = Code("109102", "DCM", "Processing Equipment");

// CID 7162, CID 7202 and CID 7203: how a segmentation came about.
pub(super) const ARTIFICIAL_INTELLIGENCE: Code = Code("123110", "DCM", "Artificial Intelligence");
pub(super) const SOURCE_IMAGE: Code =
    Code("121322", "DCM", "Source Image for Image Processing Operation");
pub(super) const SEGMENTATION: Code = Code("113076", "DCM", "Segmentation");

// TID 1500 and what it includes.
pub(super) const MEASUREMENT_REPORT: Code = Code("126000", "DCM", "Imaging Measurement Report");
pub(super) const LANGUAGE: Code = Code("121049", "DCM", "Language of Content Item and Descendants");
pub(super) const ENGLISH: Code = Code("en", "RFC5646", "English");
pub(super) const OBSERVER_TYPE: Code = Code("121005", "DCM", "Observer Type");
pub(super) const DEVICE: Code = Code("121007", "DCM", "Device");
pub(super) const DEVICE_UID: Code = Code("121012", "DCM", "Device Observer UID");
pub(super) const DEVICE_NAME: Code = Code("121013", "DCM", "Device Observer Name");
pub(super) const DEVICE_MANUFACTURER: Code = Code("121014", "DCM", "Device Observer Manufacturer");
pub(super) const DEVICE_MODEL: Code = Code("121015", "DCM", "Device Observer Model Name");
pub(super) const PROCEDURE_REPORTED: Code = Code("121058", "DCM", "Procedure reported");
pub(super) const COMPUTED_TOMOGRAPHY: Code = Code("77477000", "SCT", "Computed tomography");
pub(super) const MEASUREMENTS: Code = Code("126010", "DCM", "Imaging Measurements");
pub(super) const COMMENT: Code = Code("121106", "DCM", "Comment");

// TID 1411 and what it includes.
pub(super) const MEASUREMENT_GROUP: Code = Code("125007", "DCM", "Measurement Group");
pub(super) const TRACKING_ID: Code = Code("112039", "DCM", "Tracking Identifier");
pub(super) const TRACKING_UID: Code = Code("112040", "DCM", "Tracking Unique Identifier");
pub(super) const FINDING: Code = Code("121071", "DCM", "Finding");
pub(super) const FINDING_SITE: Code = Code("363698007", "SCT", "Finding Site");
pub(super) const REFERENCED_SEGMENT: Code = Code("121191", "DCM", "Referenced Segment");
pub(super) const SOURCE_SERIES: Code = Code("121232", "DCM", "Source series for segmentation");
pub(super) const ALGORITHM_NAME: Code = Code("111001", "DCM", "Algorithm Name");
pub(super) const ALGORITHM_VERSION: Code = Code("111003", "DCM", "Algorithm Version");

// CID 7470 and 7473: what is measured; UCUM: in which unit.
pub(super) const LONG_AXIS: Code = Code("103339001", "SCT", "Long Axis");
pub(super) const VOLUME: Code = Code("118565006", "SCT", "Volume");
pub(super) const MILLIMETRE: Code = Code("mm", "UCUM", "millimeter");
pub(super) const CUBIC_MILLIMETRE: Code = Code("mm3", "UCUM", "cubic millimeter");
