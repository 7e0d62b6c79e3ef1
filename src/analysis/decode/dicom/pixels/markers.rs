//! The marker segments before the entropy-coded data of JPEG (T.81 annex B) and JPEG-LS.

use super::Size;

/// The marker codes that matter, without their leading 0xFF.
pub(super) mod code {
    pub(in super::super) const SOI: u8 = 0xD8;
    pub(in super::super) const EOI: u8 = 0xD9;
    pub(in super::super) const SOS: u8 = 0xDA;
    pub(in super::super) const DRI: u8 = 0xDD;
    pub(in super::super) const DHT: u8 = 0xC4;
    /// Lossless, sequential, Huffman.
    pub(in super::super) const SOF3: u8 = 0xC3;
    /// JPEG-LS.
    pub(in super::super) const SOF55: u8 = 0xF7;
    /// Start of a JPEG 2000 codestream.
    pub(in super::super) const SOC: u8 = 0x4F;
    /// Coding style of a JPEG 2000 codestream, and of one component.
    pub(in super::super) const COD: u8 = 0x52;
    pub(in super::super) const COC: u8 = 0x53;
    /// Start of a JPEG 2000 tile part.
    pub(in super::super) const SOT: u8 = 0x90;
    /// JPEG-LS preset parameters.
    pub(in super::super) const LSE: u8 = 0xF8;
}

/// The segments of a stream, up to and including start of scan.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Passes the start of the image.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, &'static str> {
        match bytes.strip_prefix(&[0xFF, code::SOI]) {
            Some(bytes) => Ok(Self { bytes }),
            None => Err("a stream without a start"),
        }
    }

    /// The segments of a JPEG 2000 main header, which are laid out alike (T.800 A.1.2).
    pub(super) fn of_codestream(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let bytes = bytes.strip_prefix(&[0xFF, code::SOC]).ok_or("a stream without a start")?;
        Ok(Self { bytes })
    }

    /// The next marker and its parameters.
    pub(super) fn next(&mut self) -> Result<(u8, &'a [u8]), &'static str> {
        const CUT: &str = "a marker segment that is cut off";
        let rest = self.bytes.strip_prefix(&[0xFF]).ok_or("no marker where one belongs")?;
        // Any number of fill bytes may come before a marker.
        let filled = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        let (&marker, rest) = rest[filled..].split_first().ok_or(CUT)?;
        if marker == code::EOI {
            return Err("an image without a scan");
        }
        let length = match rest {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(CUT),
        };
        if length < 2 || length > rest.len() {
            return Err(CUT);
        }
        self.bytes = &rest[length..];
        Ok((marker, &rest[2..length]))
    }

    /// What follows the last segment: after start of scan, the entropy-coded data.
    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }
}

/// The bits of a sample that the frame header (T.81 B.2.2) of an image with one component states, which
/// must be of this size.
pub(super) fn precision_of(parameters: &[u8], size: Size) -> Result<u32, &'static str> {
    let [precision, y1, y0, x1, x0, 1, _, _, _] = parameters else {
        return Err("a frame that is not of one component");
    };
    let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
    if (length(*y1, *y0), length(*x1, *x0)) != (size.rows, size.columns) {
        return Err("another size than Rows and Columns say");
    }
    if !(2..=16).contains(precision) {
        return Err("samples of another size than 2 to 16 bits");
    }
    Ok(u32::from(*precision))
}
