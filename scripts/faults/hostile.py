"""Hostile NIfTI files for the tests of bad input: headers packed byte by byte, gzip members made by
hand, so that no library repairs on the way what is meant to be broken."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

HEADER_BYTES = 348
VOX_OFFSET = 352

# Field name -> offset and struct letter, as in nifti1.h.
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim0": (40, "h"),
    "dim1": (42, "h"),
    "dim2": (44, "h"),
    "dim3": (46, "h"),
    "dim4": (48, "h"),
    "dim5": (50, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim0": (76, "f"),
    "pixdim1": (80, "f"),
    "pixdim2": (84, "f"),
    "pixdim3": (88, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "srow_x0": (280, "f"),
    "srow_x3": (292, "f"),
    "srow_y1": (300, "f"),
    "srow_z2": (320, "f"),
}


def changed(image: bytes, **fields: float) -> bytes:
    """An unpacked little-endian NIfTI with header fields set to other values."""
    raw = bytearray(image)
    for name, value in fields.items():
        offset, letter = FIELDS[name]
        struct.pack_into("<" + letter, raw, offset, value)
    return bytes(raw)


def voxels(image: bytes, change: Callable[[int], int]) -> bytes:
    """An int16 image with every voxel replaced by `change(voxel)`."""
    body = memoryview(image[VOX_OFFSET:]).cast("h")
    return image[:VOX_OFFSET] + struct.pack(f"<{len(body)}h", *map(change, body))


def as_float(image: bytes, replace: dict[int, float]) -> bytes:
    """The int16 image stored as float32, with the voxels at some positions replaced."""
    body = [float(value) for value in memoryview(image[VOX_OFFSET:]).cast("h")]
    for position, value in replace.items():
        body[position] = value
    return changed(image[:VOX_OFFSET], datatype=16, bitpix=32) + struct.pack(
        f"<{len(body)}f", *body
    )


def big_endian(image: bytes) -> bytes:
    """The same image with header and voxels in the other byte order."""
    raw = bytearray(image)
    for offset, letter in whole_header():
        (value,) = struct.unpack_from("<" + letter, image, offset)
        struct.pack_into(">" + letter, raw, offset, value)
    body = bytearray(image[VOX_OFFSET:])
    body[0::2], body[1::2] = body[1::2], body[0::2]
    return bytes(raw[:VOX_OFFSET]) + bytes(body)


def whole_header() -> list[tuple[int, str]]:
    """Every number of the header that has more than one byte: offset and letter."""
    shorts = [36, *range(40, 56, 2), 68, 70, 72, 74, 120, 252, 254]
    floats = [56, 60, 64, *range(76, 108, 4), 108, 112, 116, *range(124, 140, 4)]
    floats += [*range(256, 280, 4), *range(280, 328, 4)]
    numbers = [(0, "i"), (32, "i"), (140, "i"), (144, "i")]
    return numbers + [(at, "h") for at in shorts] + [(at, "f") for at in floats]


def packed(image: bytes) -> bytes:
    """One ordinary gzip member without name or time."""
    return gzip.compress(image, compresslevel=1, mtime=0)


def gzip_of_zeros(head: bytes, total: int) -> bytes:
    """A small gzip member that unpacks to `head` and zeros, `total` bytes together. It is made in
    pieces, so that making it needs no memory either."""
    out = io.BytesIO()
    out.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    checksum = zlib.crc32(head)
    out.write(packer.compress(head))
    left, zeros = total - len(head), bytes(1 << 20)
    while left > 0:
        piece = zeros[: min(left, len(zeros))]
        checksum = zlib.crc32(piece, checksum)
        out.write(packer.compress(piece))
        left -= len(piece)
    out.write(packer.flush())
    out.write(struct.pack("<II", checksum, total & 0xFFFFFFFF))
    return out.getvalue()


def sparse(path: Path, head: bytes, length: int) -> None:
    """A file of `length` bytes of which only the first ones take up room."""
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(length)


def unpacked(data: bytes) -> bytes | None:
    """What a strict reader finds in a file: its bytes, or those of its one gzip member; None when
    the member is damaged or something follows it."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    reader = zlib.decompressobj(31)
    try:
        whole = reader.decompress(data)
    except zlib.error:
        return None
    return whole if reader.eof and not reader.unused_data else None
