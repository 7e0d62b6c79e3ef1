//! The head of a DICOM file (PS3.10 section 7.1): preamble and file meta information, always explicit
//! little-endian. What follows it is the data set as it was received.
//!
//! Written by hand: nothing here can fail, where the table of `dicom-object` can while it is built and
//! while it is written, and leaves preamble and "DICM" to its caller.

use crate::dicom::{IMPLEMENTATION_NAME, IMPLEMENTATION_UID};

/// What a file says about its data set.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    /// SOP Class UID.
    pub class: &'a str,
    /// SOP Instance UID.
    pub instance: &'a str,
    /// UID of the transfer syntax the data set is encoded in.
    pub syntax: &'a str,
}

impl Meta<'_> {
    /// Everything before the data set.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut group = Vec::new();
        // File Meta Information Version, OB: two bytes of reserve and a length of four.
        group.extend([2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1]);
        put(&mut group, 0x02, *b"UI", self.class);
        put(&mut group, 0x03, *b"UI", self.instance);
        put(&mut group, 0x10, *b"UI", self.syntax);
        put(&mut group, 0x12, *b"UI", IMPLEMENTATION_UID);
        put(&mut group, 0x13, *b"SH", IMPLEMENTATION_NAME);
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        bytes.extend([2, 0, 0, 0, b'U', b'L', 4, 0]);
        bytes.extend((group.len() as u32).to_le_bytes());
        bytes.extend(group);
        bytes
    }
}

/// An element of group 2 with a value of at most 64 characters, padded to even length.
fn put(group: &mut Vec<u8>, element: u8, vr: [u8; 2], value: &str) {
    let padding = if vr == *b"UI" { 0 } else { b' ' };
    let padded = value.len() + value.len() % 2;
    group.extend([2, 0, element, 0, vr[0], vr[1]]);
    group.extend((padded as u16).to_le_bytes());
    group.extend(value.bytes());
    group.extend((value.len()..padded).map(|_| padding));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_finds_what_was_written_and_the_data_set_behind_it() {
        let (class, instance) = ("1.2.840.10008.5.1.4.1.1.2", "1.2.34");
        let meta = Meta { class, instance, syntax: "1.2.840.10008.1.2.1" };
        let mut file = meta.to_bytes();
        file.extend([8, 0, 0x60, 0, b'C', b'S', 2, 0, b'C', b'T']);
        let object = dicom_object::from_reader(&file[..]).unwrap();
        let found = object.meta();
        assert_eq!(found.media_storage_sop_class_uid.trim_end_matches('\0'), class);
        assert_eq!(found.media_storage_sop_instance_uid.trim_end_matches('\0'), instance);
        assert_eq!(found.transfer_syntax(), "1.2.840.10008.1.2.1");
        assert_eq!(found.implementation_class_uid.trim_end_matches('\0'), IMPLEMENTATION_UID);
        assert_eq!(object.element_by_name("Modality").unwrap().to_str().unwrap(), "CT");
    }
}
