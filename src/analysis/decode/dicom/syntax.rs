//! The transfer syntaxes of PS3.5 and PS3.6 annex A: how the data set and its pixels are encoded, and
//! what is refused by name.

use super::elements::Order;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Cell after cell.
    Native,
    /// RLE Lossless, PS3.5 annex G.
    Rle,
    /// JPEG process 14, ITU-T T.81.
    JpegLossless,
    /// JPEG-LS, ITU-T T.87.
    JpegLs,
    /// JPEG 2000, ITU-T T.800.
    Jpeg2000,
}

/// Whether and how an image in a transfer syntax is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Losslessly.
    Lossless(Codec),
    /// The encoding loses information: refused for measurement.
    Lossy,
    /// Not implemented.
    Not,
}

/// One transfer syntax.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TransferSyntax {
    uid: &'static str,
    /// Name in messages.
    pub(super) name: &'static str,
    /// Encoding of the data set.
    pub(super) order: Order,
    /// True when the data set is one deflate stream.
    pub(super) deflated: bool,
    /// Encoding of the pixels.
    pub(super) reading: Reading,
}

/// Name of a transfer syntax that is not in the list.
pub(super) const UNKNOWN: &str = "(unknown or private)";

/// The syntax with this UID, without its padding.
pub(super) fn find(uid: &str) -> Option<&'static TransferSyntax> {
    KNOWN.iter().find(|syntax| syntax.uid == uid)
}

/// UIDs of the syntaxes that are read losslessly, in the order of the list.
pub(super) fn lossless_uids() -> impl Iterator<Item = &'static str> {
    let lossless = |syntax: &&TransferSyntax| matches!(syntax.reading, Reading::Lossless(_));
    KNOWN.iter().filter(lossless).map(|syntax| syntax.uid)
}

const fn native(uid: &'static str, name: &'static str, order: Order) -> TransferSyntax {
    let reading = Reading::Lossless(Codec::Native);
    TransferSyntax { uid, name, order, deflated: false, reading }
}

/// Encapsulated pixels in an explicit little-endian data set (PS3.5 annex A.4).
const fn packed(uid: &'static str, name: &'static str, reading: Reading) -> TransferSyntax {
    TransferSyntax { uid, name, order: Order::ExplicitLittle, deflated: false, reading }
}

const fn lossless(uid: &'static str, name: &'static str, codec: Codec) -> TransferSyntax {
    packed(uid, name, Reading::Lossless(codec))
}

const KNOWN: &[TransferSyntax] = &[
    native("1.2.840.10008.1.2", "Implicit VR Little Endian", Order::ImplicitLittle),
    native("1.2.840.10008.1.2.1", "Explicit VR Little Endian", Order::ExplicitLittle),
    native("1.2.840.10008.1.2.2", "Explicit VR Big Endian", Order::ExplicitBig),
    TransferSyntax {
        uid: "1.2.840.10008.1.2.1.99",
        name: "Deflated Explicit VR Little Endian",
        order: Order::ExplicitLittle,
        deflated: true,
        reading: Reading::Lossless(Codec::Native),
    },
    lossless("1.2.840.10008.1.2.5", "RLE Lossless", Codec::Rle),
    lossless("1.2.840.10008.1.2.4.57", "JPEG Lossless", Codec::JpegLossless),
    lossless("1.2.840.10008.1.2.4.70", "JPEG Lossless SV1", Codec::JpegLossless),
    lossless("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", Codec::JpegLs),
    lossless("1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless Only", Codec::Jpeg2000),
    packed("1.2.840.10008.1.2.4.50", "JPEG Baseline", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.51", "JPEG Extended", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.52", "JPEG Extended 3 and 5 (retired)", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection (retired)", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.54", "JPEG Spectral Selection 7 and 9 (retired)", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.55", "JPEG Full Progression (retired)", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.56", "JPEG Full Progression 11 and 13 (retired)", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.58", "JPEG Lossless 15 (retired)", Reading::Not),
    packed("1.2.840.10008.1.2.4.65", "JPEG Lossless, Hierarchical 28 (retired)", Reading::Not),
    packed("1.2.840.10008.1.2.4.66", "JPEG Lossless, Hierarchical 29 (retired)", Reading::Not),
    packed("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed", Reading::Not),
    packed("1.2.840.10008.1.2.8.1", "Deflated Image Frame", Reading::Not),
    packed("1.2.840.10008.1.2.4.81", "JPEG-LS Near-lossless", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.91", "JPEG 2000", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Lossless Only", Reading::Not),
    packed("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", Reading::Not),
    packed("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.112", "JPEG XL", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.201", "HTJ2K Lossless Only", Reading::Not),
    packed("1.2.840.10008.1.2.4.202", "HTJ2K Lossless RPCL", Reading::Not),
    packed("1.2.840.10008.1.2.4.203", "HTJ2K", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.94", "JPIP Referenced", Reading::Not),
    packed("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", Reading::Not),
    packed("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile, High Level", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.102", "MPEG-4 High Profile", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.103", "MPEG-4 High Profile, BD-compatible", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.107", "HEVC Main Profile", Reading::Lossy),
    packed("1.2.840.10008.1.2.4.108", "HEVC Main 10 Profile", Reading::Lossy),
];
