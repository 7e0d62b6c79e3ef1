//! DICOM files for tests, written by dicom-object, which shares no code with the reader but the
//! decoding of element headers.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";

/// Rows and columns of a fixture's slices.
pub(crate) const ROWS: usize = 18;
pub(crate) const COLUMNS: usize = 20;

/// One CT file to be written.
#[derive(Clone)]
pub(crate) struct FileSpec {
    object: InMemDicomObject,
    syntax: &'static str,
}

impl FileSpec {
    /// An axial slice at `z` millimetres: 0.7 mm rows, 0.8 mm columns, 16 bits signed,
    /// intercept −1024.
    pub(crate) fn axial(z: f64) -> Self {
        let mut spec = Self { object: InMemDicomObject::new_empty(), syntax: EXPLICIT };
        for (tag, vr, text) in [
            (tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"),
            (tags::SOP_CLASS_UID, VR::UI, CT),
            (tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4"),
            (tags::MODALITY, VR::CS, "CT"),
            (tags::PATIENT_NAME, VR::PN, "Nobody^At All"),
            (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"),
            (tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.9"),
            (tags::SLICE_THICKNESS, VR::DS, "17"),
            (tags::INSTANCE_NUMBER, VR::IS, "1"),
            (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
            (tags::PIXEL_SPACING, VR::DS, "0.7\\08.000000E-01"),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            (tags::RESCALE_SLOPE, VR::DS, "1"),
            (tags::RESCALE_INTERCEPT, VR::DS, "-01.024000E+03"),
        ] {
            spec = spec.text(tag, vr, text);
        }
        for (tag, number) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, ROWS as u16),
            (tags::COLUMNS, COLUMNS as u16),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 1),
        ] {
            spec = spec.number(tag, number);
        }
        spec.at([-30.5, -20.25, z])
    }

    /// At another position.
    pub(crate) fn at(self, [x, y, z]: [f64; 3]) -> Self {
        self.text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("{x:.3}\\{y:.3}\\{z:.3}"))
    }

    /// With an attribute of text.
    pub(crate) fn text(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        self.object.put(DataElement::new(tag, vr, strings(text)));
        self
    }

    /// With an unsigned short.
    pub(crate) fn number(mut self, tag: Tag, number: u16) -> Self {
        self.object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
        self
    }

    /// Without an attribute.
    pub(crate) fn without(mut self, tag: Tag) -> Self {
        self.object.remove_element(tag);
        self
    }

    /// In another transfer syntax.
    pub(crate) fn encoded(mut self, syntax: &'static str) -> Self {
        self.syntax = syntax;
        self
    }

    /// With a sequence.
    pub(crate) fn sequence(mut self, tag: Tag, items: Vec<InMemDicomObject>) -> Self {
        self.object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// The file, with `cells` row by row.
    pub(crate) fn file(&self, cells: &[u16]) -> Vec<u8> {
        let mut object = self.object.clone();
        object.put(DataElement::new(
            tags::PIXEL_DATA,
            VR::OW,
            PrimitiveValue::U16(cells.iter().copied().collect()),
        ));
        self.write(object)
    }

    /// The file without pixels.
    pub(crate) fn headless(&self) -> Vec<u8> {
        self.write(self.object.clone())
    }

    fn write(&self, object: InMemDicomObject) -> Vec<u8> {
        let class = object.element(tags::SOP_CLASS_UID).unwrap().to_str().unwrap().into_owned();
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(self.syntax)
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid("1.2.3.4");
        let mut bytes = Vec::new();
        object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
        bytes
    }
}

/// An item with one element of text.
pub(crate) fn item(tag: Tag, vr: VR, text: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([DataElement::new(tag, vr, strings(text))])
}

/// An item of a sequence with several elements.
pub(crate) fn items(elements: &[(Tag, VR, &str)]) -> InMemDicomObject {
    let element = |&(tag, vr, text): &(Tag, VR, &str)| DataElement::new(tag, vr, strings(text));
    InMemDicomObject::from_element_iter(elements.iter().map(element))
}

/// The values between the backslashes.
fn strings(text: &str) -> PrimitiveValue {
    PrimitiveValue::Strs(text.split('\\').map(str::to_owned).collect())
}

/// An item that holds a sequence of one item.
pub(crate) fn group(tag: Tag, inside: InMemDicomObject) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![inside]))
}

/// The stored value of row `row`, column `column` of slice number `slice`: a body of soft tissue and
/// bone in air, every voxel its own.
pub(crate) fn cell(slice: usize, row: usize, column: usize) -> u16 {
    let body = row > 2 && column > 2;
    let hu = if body { (slice * 7 + row * 3 + column * 5) as i32 % 400 } else { -900 };
    (hu + 1024 + (row + column) as i32 % 3) as u16
}

/// The cells of slice number `slice`.
pub(crate) fn cells(slice: usize) -> Vec<u16> {
    (0..ROWS * COLUMNS).map(|n| cell(slice, n / COLUMNS, n % COLUMNS)).collect()
}

/// The slices of a series of `count` slices 2.5 mm apart, from the bottom, changed by `change`.
pub(crate) fn series(count: usize, change: impl Fn(usize, FileSpec) -> FileSpec) -> Vec<Vec<u8>> {
    (0..count).map(|n| change(n, FileSpec::axial(-50.0 + 2.5 * n as f64)).file(&cells(n))).collect()
}
