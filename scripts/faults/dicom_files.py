"""Small CT series as DICOM files, written element by element, and mutants of them; for the tests of
bad input, so that no library repairs on the way what is meant to be broken."""

from __future__ import annotations

import random
import struct

ROWS, COLUMNS, SLICES = 24, 28, 16
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, RLE)

# Representations whose length is a long word behind two empty bytes.
LONG = ("OB", "OW", "SQ", "UN")
PIXEL_DATA = (0x7FE0, 0x0010)


class Writer:
    """Elements in one encoding."""

    def __init__(self, syntax: str):
        self.implicit = syntax == IMPLICIT
        self.order = ">" if syntax == BIG_ENDIAN else "<"

    def tag(self, tag: tuple[int, int]) -> bytes:
        return struct.pack(self.order + "HH", *tag)

    def element(self, tag: tuple[int, int], vr: str, value) -> bytes:
        """Numbers as unsigned shorts, text padded to an even length, bytes as they are."""
        if isinstance(value, int):
            value = struct.pack(self.order + "H", value)
        elif isinstance(value, str):
            value = value.encode() + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
        if self.implicit:
            return self.tag(tag) + struct.pack("<I", len(value)) + value
        if vr in LONG:
            length = bytes(2) + struct.pack(self.order + "I", len(value))
        else:
            length = struct.pack(self.order + "H", len(value))
        return self.tag(tag) + vr.encode() + length + value

    def sequence(self, tag: tuple[int, int], inside: bytes) -> bytes:
        """One item, both of undefined length."""
        head = self.tag(tag) + (b"" if self.implicit else b"SQ\0\0") + b"\xff" * 4
        item = self.tag((0xFFFE, 0xE000)) + b"\xff" * 4 + inside
        return head + item + self.tag((0xFFFE, 0xE00D)) + bytes(4) + self.tag(
            (0xFFFE, 0xE0DD)
        ) + bytes(4)


def run_lengths(cells: list[int]) -> bytes:
    """PS3.5 annex G: the high bytes, then the low ones, each as literal runs."""
    segments = []
    for shift in (8, 0):
        plane = bytes(cell >> shift & 0xFF for cell in cells)
        runs = [plane[at : at + 128] for at in range(0, len(plane), 128)]
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(packed + bytes(len(packed) % 2))
    head = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13)
    frame = head + segments[0] + segments[1]
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    items += struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
    head = struct.pack("<HH", *PIXEL_DATA) + b"OB\0\0" + b"\xff" * 4
    return head + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def slice_file(syntax: str, place: int) -> bytes:
    """One axial slice of soft tissue in air, 12 bits, 2.5 mm from the next."""
    meta = Writer(EXPLICIT)
    about = meta.element((2, 0x10), "UI", syntax)
    start = bytes(128) + b"DICM" + meta.element((2, 0), "UL", struct.pack("<I", len(about)))
    put = Writer(syntax)
    private = put.sequence((9, 0x1001), put.sequence((9, 0x1002), put.element((9, 0x1003), "LO", "x")))
    elements = [
        put.element((8, 8), "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        put.element((8, 0x16), "UI", "1.2.840.10008.5.1.4.1.1.2"),
        put.element((8, 0x32), "TM", "120000"),
        put.element((8, 0x60), "CS", "CT"),
        put.element((8, 0x103E), "LO", "portal venous"),
        private,
        put.element((0x20, 0xE), "UI", "1.2.3"),
        put.element((0x20, 0x32), "DS", f"-10\\-12\\{2.5 * place:.1f}"),
        put.element((0x20, 0x37), "DS", "1\\0\\0\\0\\1\\0"),
        put.element((0x20, 0x52), "UI", "1.2.9"),
        put.element((0x28, 2), "US", 1),
        put.element((0x28, 4), "CS", "MONOCHROME2"),
        put.element((0x28, 0x10), "US", ROWS),
        put.element((0x28, 0x11), "US", COLUMNS),
        put.element((0x28, 0x30), "DS", "0.7\\0.7"),
        put.element((0x28, 0x100), "US", 16),
        put.element((0x28, 0x101), "US", 12),
        put.element((0x28, 0x102), "US", 11),
        put.element((0x28, 0x103), "US", 0),
        put.element((0x28, 0x1052), "DS", "-1024"),
        put.element((0x28, 0x1053), "DS", "1"),
    ]
    cells = [value(place, at // COLUMNS, at % COLUMNS) for at in range(ROWS * COLUMNS)]
    if syntax == RLE:
        pixels = run_lengths(cells)
    else:
        pixels = put.element(PIXEL_DATA, "OW", struct.pack(f"{put.order}{len(cells)}H", *cells))
    return start + about + b"".join(elements) + pixels


def value(place: int, row: int, column: int) -> int:
    """Stored value of a voxel: HU + 1024."""
    body = 3 < row < ROWS - 3 and 3 < column < COLUMNS - 3
    return 1064 + (place * 7 + row * 3 + column * 5) % 150 if body else 24 + (row + column) % 9


def series(syntax: str) -> dict[str, bytes]:
    """A whole series by file name."""
    return {f"IM{place:04d}": slice_file(syntax, place) for place in range(SLICES)}


def mutant(file: bytes, rng: random.Random) -> bytes:
    """A file with one to four changes, most of them before its pixels, where they do most."""
    data = bytearray(file)
    pixels = max(1, len(data) - 2 * ROWS * COLUMNS)
    for _ in range(rng.randint(1, 4)):
        end = len(data) if rng.random() < 0.2 else min(pixels, len(data))
        at = rng.randrange(max(1, end))
        change(data, at, rng)
        if not data:
            data += b"\0"
    return bytes(data)


def change(data: bytearray, at: int, rng: random.Random) -> None:
    """One change at a place."""
    kind = rng.randrange(7)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.randrange(256)
    elif kind == 2:
        data[at : at + 4] = b"\xff" * len(data[at : at + 4])
    elif kind == 3:
        del data[max(1, at) :]
    elif kind == 4:
        del data[at : at + rng.randrange(64)]
    elif kind == 5:
        data[at:at] = data[at : at + 32]
    else:
        # A length or a number that is as large as it can be written.
        data[at : at + 2] = rng.choice((b"\xff\x7f", b"\x00\x80", b"\xfe\xff", b"\x00\x00"))
