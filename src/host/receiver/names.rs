//! Names of folders and files from digests: they say nothing about whose study it is.

use crate::config::AeTitle;
use crate::seal::cose::sha256;
use crate::seal::wire::Id16;
use crate::study::reception::StudyKey;

/// How the folder of a received study begins.
const PREFIX: &str = "dicom-";

/// The study of one sender. Two senders that push the same study make two.
pub fn study_key(sender: &AeTitle, study_uid: &str) -> StudyKey {
    let digest = sha256(format!("study\0{sender}\0{study_uid}").as_bytes());
    let mut key = [0; 8];
    key.copy_from_slice(&digest.0[..8]);
    StudyKey(key)
}

/// The file of an object, so that one that is sent again replaces itself.
pub fn file_name(instance_uid: &str) -> String {
    let digest = sha256(format!("instance\0{instance_uid}").as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest.0[..16]);
    format!("{}.dcm", Id16::from(short))
}

/// The folder of a study that was opened at this time.
pub fn folder_name(key: StudyKey, unix_ms: u64) -> String {
    format!("{PREFIX}{key}-{unix_ms:x}")
}

/// The study a folder was made for; `None` for a folder of somebody else.
pub fn key_of(folder: &str) -> Option<StudyKey> {
    let (hex, time) = folder.strip_prefix(PREFIX)?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex.len() != 16 || time.is_empty() || !digits(hex) || !digits(time) {
        return None;
    }
    u64::from_str_radix(hex, 16).ok().map(|number| StudyKey(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::inbox;

    #[test]
    fn a_folder_leads_back_to_its_study_and_no_other_name_does() {
        let key = study_key(&AeTitle::new("CT1").unwrap(), "1.2.3");
        let folder = folder_name(key, 1_750_000_000_000);
        assert_eq!(key_of(&folder), Some(key));
        for other in
            ["dicom-", "dicom-00-1", "study", "dicom-0123456789abcdef-", "dicom-0123456789ABCDEF-1"]
        {
            assert_eq!(key_of(other), None, "{other}");
        }
        assert!(!folder.contains("1.2.3"));
    }

    #[test]
    fn senders_studies_and_objects_have_names_of_their_own() {
        let (one, two) = (AeTitle::new("CT1").unwrap(), AeTitle::new("CT11").unwrap());
        let keys = [study_key(&one, "1.2"), study_key(&two, "1.2"), study_key(&one, "1.3")];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
        assert_eq!(file_name("1.2"), file_name("1.2"));
        assert_ne!(file_name("1.2"), file_name("1.3"));
        let per_file = "\"\":\"\",".len() + 64 + file_name("1.2").len();
        assert!(per_file as u64 <= inbox::MARKER_BYTES_PER_FILE, "a marker can list every file");
    }
}
