//! One file: preamble, file meta information, and the data set behind them.

use std::borrow::Cow;
use std::io::Read;

use dicom_dictionary_std::tags;
use flate2::read::DeflateDecoder;

use super::elements::{Elements, Order};
use super::error::DicomError;
use super::syntax::{self, TransferSyntax};
use crate::analysis::decode::Limits;
use crate::units::Bytes;

/// A file's data set, inflated where it was deflated.
pub(super) struct DataSet<'a> {
    /// The encoded elements.
    pub(super) bytes: Cow<'a, [u8]>,
    /// How they are encoded.
    pub(super) syntax: &'static TransferSyntax,
    /// True for a DICOMDIR, whose class stands in the file meta information alone.
    pub(super) is_directory: bool,
}

/// Media Storage Directory Storage.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// Opens a file. The standard's preamble may be missing where file meta information is there; a file
/// without file meta information is refused, because its encoding would be a guess.
pub(super) fn open<'a>(file: &'a [u8], limits: &Limits) -> Result<DataSet<'a>, DicomError> {
    let Bytes(limit) = limits.file;
    let found = file.len() as u64;
    if found > limit {
        return Err(DicomError::TooLarge { quantity: "file size in bytes", found, limit });
    }
    let meta = match Start::of(file) {
        Start::Preamble => &file[PREAMBLE_BYTES..],
        Start::Meta => file,
        Start::DataSet => return Err(DicomError::NoFileMeta),
        Start::Unknown => return Err(DicomError::NotDicom),
    };
    let (Meta { class, syntax }, length) = read_meta(meta)?;
    let uid = syntax.ok_or(DicomError::NoTransferSyntax)?;
    let syntax = syntax::find(uid).ok_or(DicomError::SyntaxNotRead { name: syntax::UNKNOWN })?;
    let data = &meta[length..];
    let bytes = if syntax.deflated { inflate(data, limit)?.into() } else { data.into() };
    Ok(DataSet { bytes, syntax, is_directory: class == Some(DIRECTORY) })
}

/// Opens file number `number` of those that were surveyed.
pub(super) fn open_one<'a, B: AsRef<[u8]>>(
    files: &'a [B],
    number: usize,
    limits: &Limits,
) -> Result<DataSet<'a>, DicomError> {
    let file = files.get(number).ok_or(DicomError::Corrupt { found: "a file that is gone" })?;
    open(file.as_ref(), limits)
}

/// The preamble and its four letters (PS3.10 7.1).
const PREAMBLE_BYTES: usize = 132;

/// How a file begins.
enum Start {
    /// As the standard wants it.
    Preamble,
    /// At once with file meta information.
    Meta,
    /// At once with a data set, which usually begins with group 8, in one byte order or the other.
    DataSet,
    /// Like nothing of DICOM's.
    Unknown,
}

impl Start {
    fn of(file: &[u8]) -> Self {
        if file.get(128..PREAMBLE_BYTES) == Some(b"DICM") {
            return Self::Preamble;
        }
        match file.get(..8) {
            Some([2, 0, 0, 0, ..]) => Self::Meta,
            Some([8, 0, _, 0, ..] | [0, 8, 0, _, ..]) => Self::DataSet,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// Whether a file that begins like this is DICOM, or means to be. 132 bytes are enough.
pub fn is_dicom(head: &[u8]) -> bool {
    !matches!(Start::of(head), Start::Unknown)
}

/// What of the file meta information is used.
#[derive(Default)]
struct Meta<'a> {
    class: Option<&'a str>,
    syntax: Option<&'a str>,
}

/// The file meta information (group 2, always explicit little-endian), and the length of the group.
/// Its stated length is not relied on: it is often missing or wrong.
fn read_meta(bytes: &[u8]) -> Result<(Meta<'_>, usize), DicomError> {
    let mut elements = Elements::new(bytes, Order::ExplicitLittle);
    let (mut meta, mut length) = (Meta::default(), 0);
    while bytes.get(length..length + 2) == Some(&[2, 0]) {
        let Some(element) = elements.next()? else { break };
        let text = std::str::from_utf8(element.value).unwrap_or("").trim_matches(['\0', ' ']);
        let uid = Some(text).filter(|text| !text.is_empty());
        match element.tag {
            tags::MEDIA_STORAGE_SOP_CLASS_UID => meta.class = uid,
            tags::TRANSFER_SYNTAX_UID => meta.syntax = uid,
            _ => {}
        }
        length = element.at + element.value.len();
    }
    Ok((meta, length))
}

/// Unpacks at most `limit` bytes.
fn inflate(packed: &[u8], limit: u64) -> Result<Vec<u8>, DicomError> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(packed)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| DicomError::Corrupt { found: "a damaged deflate stream" })?;
    let found = bytes.len() as u64;
    if found > limit {
        return Err(DicomError::TooLarge { quantity: "inflated bytes", found, limit });
    }
    Ok(bytes)
}
