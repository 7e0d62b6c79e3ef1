//! Small CT objects, written by dicom-object, which shares no code with the receiver but the encoding
//! of elements.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// Rows and columns.
const SIDE: u16 = 32;

/// One CT object by its identifiers; every one of them says which it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ct {
    /// Study Instance UID.
    pub study: String,
    /// SOP Instance UID.
    pub instance: String,
    number: u32,
}

impl Ct {
    /// Object `number` of study `study`, both of no place in particular.
    pub fn new(study: u32, number: u32) -> Self {
        let study = format!("1.2.826.0.1.3680043.10.1.{study}");
        Self { instance: format!("{study}.1.{number}"), study, number }
    }

    /// The objects 0 to `count` of a study.
    pub fn study(study: u32, count: u32) -> Vec<Self> {
        (0..count).map(|number| Self::new(study, number)).collect()
    }

    /// The pixels: another value for each object.
    pub fn pixels(&self) -> Vec<u8> {
        let cell = |n: u32| (n.wrapping_mul(31) + self.number * 7 + self.study.len() as u32) as u8;
        (0..2 * u32::from(SIDE) * u32::from(SIDE)).map(cell).collect()
    }

    fn object(&self) -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        let mut put = |tag: Tag, vr: VR, value: PrimitiveValue| {
            object.put(DataElement::new(tag, vr, value));
        };
        let z = format!("{}", 2 * self.number);
        let number = format!("{}", self.number);
        for (tag, vr, text) in [
            (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            (tags::SOP_INSTANCE_UID, VR::UI, &*self.instance),
            (tags::MODALITY, VR::CS, "CT"),
            (tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
            (tags::PATIENT_ID, VR::LO, "PID-4711"),
            (tags::STUDY_INSTANCE_UID, VR::UI, &self.study),
            (tags::SERIES_INSTANCE_UID, VR::UI, &format!("{}.1", self.study)),
            (tags::INSTANCE_NUMBER, VR::IS, &number),
            (tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{z}")),
            (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
            (tags::PIXEL_SPACING, VR::DS, "1\\1"),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        ] {
            put(tag, vr, PrimitiveValue::from(text));
        }
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, SIDE),
            (tags::COLUMNS, SIDE),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 1),
        ] {
            put(tag, VR::US, PrimitiveValue::from(value));
        }
        put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(self.pixels()));
        object
    }

    /// The data set, explicit little-endian: what follows the file meta information.
    pub fn data_set(&self) -> Vec<u8> {
        let file = self.file();
        let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
        file[144 + length..].to_vec()
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
            .media_storage_sop_instance_uid(&*self.instance);
        let mut bytes = Vec::new();
        self.object().with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
        bytes
    }
}
