r"""JPEG from scratch: a standard that every device reads, in NumPy (ITU-T T.81 | ISO/IEC 10918-1, of 1992).

It is the first *transform codec* of the course, and has the parts that all the later ones have: a transform that
gathers the energy, a quantiser that loses what the eye misses least, an entropy coder that loses nothing::

              transform             quantiser            entropy coder
    image --> YCbCr, subsample, --> divide by steps, --> zigzag, runs, Huffman --> .jpg
    [H, W, 3] blocks, DCT           round                markers
                                       ^                    ^
                              tables: quality          tables: standard or optimal
                                       v                    v
    image <-- RGB, upsample,   <--  multiply        <--  Huffman, runs, zigzag <-- .jpg
              inverse DCT

=====================  =============================================================================
:mod:`.tables`         what both sides share: zigzag, quantisation steps, Huffman codes, markers
:mod:`.encoder`        image -> file, one function for each step (start here)
:mod:`.coefficients`   what stands in the middle: the quantised coefficients
:mod:`.segments`       the outer layer of a file: which byte belongs to what
:mod:`.entropy`        the inner layer: from bits to coefficients, baseline and progressive
:mod:`.decoder`        file -> image
=====================  =============================================================================

Invariants: our files open in every viewer; the coefficients of a baseline file from libjpeg, written again by us, give
the same file byte for byte; :func:`ledger` sums to the length of the file.

References: ITU-T T.81 (09/92); ITU-T T.871 (05/2011), JFIF; Wallace, "The JPEG still picture compression standard",
Communications of the ACM 34 (1991), 30-44.

Taught in lesson 01.
"""

from __future__ import annotations

import numpy as np

from ...registry import Codec
from . import encoder
from .decoder import decode, read_coefficients, read_segments
from .encoder import encode, write_coefficients
from .segments import Segment
from .tables import Marker

__all__ = [
    "JpegCodec",
    "decode",
    "describe",
    "encode",
    "ledger",
    "read_coefficients",
    "read_segments",
    "write_coefficients",
]


class JpegCodec(Codec):
    """Our JPEG as a codec of the course; the setting is the quality, a whole number from 1 to 100.

    Args:
        subsampling: "4:4:4", "4:2:2", "4:2:0", or "4:0:0" for greyscale.
        optimize: make Huffman tables for each picture, instead of using the standard's.
        restart_interval: MCUs between two restart markers; 0 for none.

    Raises:
        SettingError: an option out of range.
    """

    name = "jpeg"
    settings = tuple(range(5, 100, 5))

    def __init__(self, subsampling: str = "4:2:0", optimize: bool = True, restart_interval: int = 0):
        encoder.check_options(subsampling, restart_interval)
        self.subsampling, self.optimize, self.restart_interval = subsampling, optimize, restart_interval

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3]) into a ``.jpg`` file of quality ``setting``."""
        return encode(image, setting, self.subsampling, self.optimize, self.restart_interval)

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture from any Huffman-coded 8-bit JPEG file, also a progressive one."""
        return decode(data)

    @staticmethod
    def ledger(data: bytes) -> dict[str, int]:
        """Say where each byte went, see :func:`ledger`."""
        return ledger(data)

    @staticmethod
    def describe(data: bytes) -> list[tuple[str, str]]:
        """Return the segments with their fields in words, see :func:`describe`."""
        return describe(data)


def ledger(data: bytes) -> dict[str, int]:
    """Say where each byte of a JPEG file went, whoever wrote it; the values sum to ``len(data)``.

    "scan data" includes the bits that fill up the last byte of each restart interval, at most 7.
    """
    places = ("headers", "metadata", "quantisation tables", "Huffman tables", "scan data")
    account = dict.fromkeys([*places, "byte stuffing", "restart markers"], 0)
    for segment in read_segments(data):
        account[_place(segment)] += segment.length
        if segment.name == "scan data":
            stuffing = segment.payload.count(b"\xff\x00")
            restarts = sum(2 * segment.payload.count(bytes([0xFF, Marker.RST0 + i])) for i in range(8))
            account["scan data"] -= stuffing + restarts
            account["byte stuffing"] += stuffing
            account["restart markers"] += restarts
    return account


def _place(segment: Segment) -> str:
    """Return the line of the ledger to which a segment belongs."""
    places = {"DQT": "quantisation tables", "DHT": "Huffman tables", "scan data": "scan data"}
    if segment.name in places:
        return places[segment.name]
    needed = segment.name in ("SOI", "SOS", "DRI", "EOI") or segment.name.startswith("SOF")
    return "headers" if needed or segment.payload[:5] == b"JFIF\0" else "metadata"


def describe(data: bytes) -> list[tuple[str, str]]:
    """Return the segments of a JPEG file in their order, as (name, fields in words)."""
    return [(segment.name, segment.description) for segment in read_segments(data)]
