//! What a receiver of DICOM messages needs to know of their bytes: which transfer syntaxes this
//! program reads, which object a data set is, what a command says. Values are handed out as they are
//! written; nothing is kept.

use std::borrow::Cow;
use std::io::Read;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use flate2::read::DeflateDecoder;

use super::elements::{Elements, Order};
use super::error::DicomError;
use super::syntax;

/// Longest UID (PS3.5 section 9.1).
pub const MAX_UID: usize = 64;

/// UIDs of the transfer syntaxes that are read losslessly, the plainest first: a sender that offers
/// several is asked for the one with the fewest ways to go wrong.
pub fn accepted_syntaxes() -> Vec<&'static str> {
    const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
    let others = syntax::lossless_uids().filter(|uid| *uid != EXPLICIT_LITTLE);
    std::iter::once(EXPLICIT_LITTLE).chain(others).collect()
}

/// The UIDs that say which object of which study a data set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID.
    pub class: String,
    /// SOP Instance UID.
    pub instance: String,
    /// Study Instance UID.
    pub study: String,
}

/// Which object a data set is, from its first bytes in this transfer syntax.
///
/// # Errors
/// When the bytes end before the Study Instance UID does, or are no data set: that cannot be told
/// apart before the data set is whole.
pub fn identify(beginning: &[u8], syntax_uid: &str) -> Result<Identity, DicomError> {
    let syntax =
        syntax::find(syntax_uid).ok_or(DicomError::SyntaxNotRead { name: syntax::UNKNOWN })?;
    let bytes: Cow<'_, [u8]> =
        if syntax.deflated { inflate_what_is_there(beginning).into() } else { beginning.into() };
    let wanted = [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID, tags::STUDY_INSTANCE_UID];
    let found = values(&bytes, syntax.order, wanted)?;
    let [class, instance, study] = found.map(|value| value.and_then(uid));
    let missing = |found| DicomError::Corrupt { found };
    Ok(Identity {
        class: class.ok_or(missing("no SOP Class UID"))?,
        instance: instance.ok_or(missing("no SOP Instance UID"))?,
        study: study.ok_or(missing("no Study Instance UID"))?,
    })
}

/// The values of these elements of a command set (PS3.7 section 6.3.1: always implicit
/// little-endian), tags in ascending order.
pub fn command_values<const N: usize>(
    bytes: &[u8],
    wanted: [Tag; N],
) -> Result<[Option<&[u8]>; N], DicomError> {
    values(bytes, Order::ImplicitLittle, wanted)
}

/// A UID without its padding; `None` when it is empty, too long or has other characters.
pub fn uid(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_matches(['\0', ' ']);
    is_uid(text.as_bytes()).then(|| text.to_owned())
}

/// Whether a value without padding is a UID.
pub(super) fn is_uid(value: &[u8]) -> bool {
    let plain = value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    plain && (1..=MAX_UID).contains(&value.len())
}

/// Reads up to the last wanted tag; the elements of a data set are in ascending order.
fn values<const N: usize>(
    bytes: &[u8],
    order: Order,
    wanted: [Tag; N],
) -> Result<[Option<&[u8]>; N], DicomError> {
    let mut found = [None; N];
    let mut elements = Elements::new(bytes, order);
    while let Some(element) = elements.next()? {
        if let Some(at) = wanted.iter().position(|tag| *tag == element.tag) {
            found[at] = Some(element.value);
        }
        if wanted.last().is_none_or(|last| element.tag >= *last) {
            break;
        }
    }
    Ok(found)
}

/// Bytes of a deflated data set that are looked at, unpacked.
const MOST_INFLATED: u64 = 4 << 20;

/// Unpacks what can be unpacked of the beginning of a stream, which ends in its middle.
fn inflate_what_is_there(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The error at the end of the beginning says nothing; what came before it counts.
    let _ = DeflateDecoder::new(packed).take(MOST_INFLATED).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::super::fixture::{BIG_ENDIAN, CT, EXPLICIT, FileSpec, IMPLICIT};
    use super::*;

    /// The data set of a fixture in a transfer syntax, and where its Study Instance UID ends.
    fn data_set(syntax: &'static str) -> (Vec<u8>, usize) {
        let spec = FileSpec::axial(0.0).text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.99.7");
        let file = spec.encoded(syntax).headless();
        let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
        let data = file[144 + length..].to_vec();
        let end = data.windows(8).position(|w| w == b"1.2.99.7").unwrap() + 8;
        (data, end)
    }

    #[test]
    fn an_object_is_known_as_soon_as_its_study_uid_is_there() {
        let class = CT.to_owned();
        let expected = Identity { class, instance: "1.2.3.4".into(), study: "1.2.99.7".into() };
        for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
            let (data, end) = data_set(syntax);
            for cut in 0..data.len() {
                let found = identify(&data[..cut], syntax);
                assert_eq!(found.is_ok(), cut >= end, "{syntax}, {cut} of {end}");
                assert!(found.is_err() || found == Ok(expected.clone()));
            }
        }
    }

    #[test]
    fn a_deflated_object_is_known_from_its_beginning_too() {
        const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
        let (data, _) = data_set(EXPLICIT);
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packer, &data).unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(identify(&packed, DEFLATED).unwrap().study, "1.2.99.7");
        assert_eq!(identify(&packed[..packed.len() - 4], DEFLATED).unwrap().study, "1.2.99.7");
        assert!(identify(&packed[..40], DEFLATED).is_err());
        assert!(identify(b"nonsense", DEFLATED).is_err());
    }

    #[test]
    fn a_uid_is_digits_and_dots_of_64_characters_at_most() {
        assert_eq!(uid(b"1.2.3\0").as_deref(), Some("1.2.3"));
        assert!(uid(&[b'1'; MAX_UID]).is_some() && uid(&[b'1'; MAX_UID + 1]).is_none());
        for bad in [&b""[..], b"\0", b"1.2a", b"1/2", b"1\\2", b"\xff"] {
            assert_eq!(uid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn accepted_syntaxes_are_the_lossless_ones_and_explicit_little_endian_is_first() {
        let accepted = accepted_syntaxes();
        assert_eq!(accepted[0], EXPLICIT);
        assert_eq!(accepted.len(), syntax::lossless_uids().count());
        assert!(accepted.contains(&IMPLICIT) && accepted.contains(&"1.2.840.10008.1.2.4.90"));
        assert!(!accepted.contains(&"1.2.840.10008.1.2.4.50"), "JPEG Baseline is lossy");
    }
}
