//! The overview → `overview.dcm`, a Secondary Capture (PS3.3 A.8.1) that shows the same pixels as
//! `overview.png`. Text is burnt in, the name of the dropped folder among it: whatever the source says of
//! its own de-identification, this picture may name the patient, and says so.

use dicom_dictionary_std::{tags, uids};

use super::ObjectError;
use super::identity::{About, CAPTURE};
use crate::render::Picture;

/// Writes the object.
pub(super) fn write(about: &About<'_>, picture: &Picture) -> Result<Vec<u8>, ObjectError> {
    let object = about
        .object(CAPTURE)
        .without(&[tags::DEIDENTIFICATION_METHOD, tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE])
        .texts(&[
            (tags::PATIENT_IDENTITY_REMOVED, "NO"),
            (tags::IMAGE_TYPE, "DERIVED\\SECONDARY"),
            (tags::CONVERSION_TYPE, "WSD"),
            // No paired organ: a side need not be named.
            (tags::BODY_PART_EXAMINED, "LIVER"),
            (tags::PATIENT_ORIENTATION, ""),
            (tags::IMAGE_COMMENTS, &about.image_comments()),
            (tags::BURNED_IN_ANNOTATION, "YES"),
            (tags::LOSSY_IMAGE_COMPRESSION, "00"),
            (tags::PHOTOMETRIC_INTERPRETATION, "RGB"),
        ])
        .shorts(tags::SAMPLES_PER_PIXEL, &[3])
        .shorts(tags::PLANAR_CONFIGURATION, &[0])
        .shorts(tags::ROWS, &[picture.height as u16])
        .shorts(tags::COLUMNS, &[picture.width as u16])
        .shorts(tags::BITS_ALLOCATED, &[8])
        .shorts(tags::BITS_STORED, &[8])
        .shorts(tags::HIGH_BIT, &[7])
        .shorts(tags::PIXEL_REPRESENTATION, &[0])
        .pixel_bytes(picture.rgb.clone());
    Ok(object.file(uids::SECONDARY_CAPTURE_IMAGE_STORAGE, &about.instance(CAPTURE))?)
}
