r"""The tables of JPEG: the order of coefficients, their quantisation steps, their Huffman codes.

Encoder and decoder share these tables; what depends on the picture travels in the file::

    quality --scale_table--> quantisation table --> DQT segment
    symbols --histogram--> optimal_table --> HuffmanTable(bits, values) --> DHT segment
                                                  |            |
                                     encoder: codes, lengths   decoder: code_list

A Huffman table is transmitted as two short lists: ``bits[i]`` tells how many codes have i + 1 bits, ``values`` lists
the symbols from the shortest code to the longest. That is enough, because the code is *canonical*: codes of one length
are consecutive numbers, and the first code of the next length follows with a zero appended.

Invariants: no code is the start of another; the code of ones only is never given (so that the padding of the last
byte, which is ones, is never a symbol); no code is longer than 16 bits.

References: ITU-T T.81 (09/92) | ISO/IEC 10918-1: figure A.6 (zigzag), table B.1 (markers), annex C (canonical codes),
clause K.1 (quantisation tables), K.2 (optimal codes), K.3 (the usual codes). The scale from 1 to 100 is not in the
standard: it is that of the Independent JPEG Group's libjpeg, which everybody has copied.

Taught in lesson 01 (Huffman codes also in lesson 02).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from numbers import Real

import numpy as np

from ...errors import BitstreamError, SettingError


class Marker(IntEnum):
    """The second byte of a marker; the first is always FF (T.81, table B.1)."""

    SOF0 = 0xC0  # start of frame: baseline
    SOF1 = 0xC1  # extended sequential
    SOF2 = 0xC2  # progressive
    DHT = 0xC4  # define Huffman tables
    RST0 = 0xD0  # restart, RST0 ... RST7 in turn
    RST7 = 0xD7
    SOI = 0xD8  # start of image
    EOI = 0xD9  # end of image
    SOS = 0xDA  # start of scan
    DQT = 0xDB  # define quantisation tables
    DNL = 0xDC  # define number of lines
    DRI = 0xDD  # define restart interval
    APP0 = 0xE0  # application data: JFIF
    APP14 = 0xEE  # application data: Adobe
    APP15 = 0xEF
    COM = 0xFE  # comment


# --- the order of coefficients ----------------------------------------------------------------


def _zigzag_key(index: int) -> tuple[int, int]:
    row, column = divmod(index, 8)
    diagonal = row + column
    return diagonal, row if diagonal % 2 else column  # odd diagonals run downwards, even ones upwards


ZIGZAG = np.array(sorted(range(64), key=_zigzag_key))
"""``ZIGZAG[k]`` is the row-major index (8 * row + column) of the k-th coefficient, low frequencies first."""


# --- quantisation -----------------------------------------------------------------------------

STANDARD_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation steps for Y at quality 50 (T.81, table K.1): from thresholds of visibility measured around 1980."""

STANDARD_CHROMA = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
    ]
)
"""Quantisation steps for Cb and Cr at quality 50 (T.81, table K.2)."""


def scale_table(table: np.ndarray, quality: float) -> np.ndarray:
    """Scale a quantisation table as libjpeg does: quality 50 keeps it, 25 doubles it, 100 makes every step 1.

    Args:
        table: integers [8, 8], for quality 50.
        quality: a whole number from 1 to 100.

    Returns:
        int64 [8, 8], from 1 to 255.

    Raises:
        SettingError: any other quality.
    """
    quality = check_quality(quality)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255)


def check_quality(quality: float) -> int:
    """Return ``quality`` as an integer if it is a whole number from 1 to 100, else raise :class:`SettingError`."""
    if not (isinstance(quality, Real) and 1 <= quality <= 100 and quality == int(quality)):  # NaN fails the second
        raise SettingError(f"The quality of a JPEG is a whole number from 1 to 100, not {quality!r}.")
    return int(quality)


# --- Huffman codes ----------------------------------------------------------------------------


@dataclass(frozen=True)
class HuffmanTable:
    """A Huffman code for symbols of one byte, as the file transmits it.

    Attributes:
        bits: 16 counts: ``bits[i]`` codes have i + 1 bits.
        values: the symbols in order of their codes.

    Raises:
        BitstreamError: counts that do not fit the symbols, or more codes than a length can have.
    """

    bits: tuple[int, ...]
    values: bytes

    def __post_init__(self):
        if len(self.bits) != 16 or sum(self.bits) != len(self.values) or len(self.values) > 256:
            raise BitstreamError("A Huffman table of the JPEG file is damaged: its counts do not fit its symbols.")
        if sum(count << (15 - i) for i, count in enumerate(self.bits)) > 1 << 16:  # Kraft's inequality
            raise BitstreamError("A Huffman table of the JPEG file is damaged: it has more codes than can exist.")

    @cached_property
    def code_list(self) -> list[tuple[int, int, int]]:
        """All (symbol, code, length), in order of the codes (T.81, annex C)."""
        triples, code, values = [], 0, iter(self.values)
        for length, count in enumerate(self.bits, start=1):
            for _ in range(count):
                triples.append((next(values), code, length))
                code += 1
            code <<= 1
        return triples

    @cached_property
    def codes(self) -> np.ndarray:
        """int64 [256]: the code of each symbol, in its lowest ``lengths[symbol]`` bits."""
        codes = np.zeros(256, dtype=np.int64)
        for symbol, code, _ in self.code_list:
            codes[symbol] = code
        return codes

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [256]: the number of bits of each symbol's code; 0 where it has none."""
        lengths = np.zeros(256, dtype=np.int64)
        for symbol, _, length in self.code_list:
            lengths[symbol] = length
        return lengths


def optimal_table(histogram: np.ndarray) -> HuffmanTable:
    """Make the shortest Huffman code of at most 16 bits for symbols that occur this often (T.81, clause K.2).

    Ties are resolved as in libjpeg, so that the tables are the same to the bit.

    Args:
        histogram: counts [256].

    Raises:
        SettingError: no symbol occurs.
    """
    if not np.any(histogram):
        raise SettingError("A Huffman table needs at least one symbol that occurs; the histogram is empty.")
    lengths = _huffman_lengths(histogram)
    counts = _limit_to_16_bits(np.bincount(lengths[lengths > 0]))
    order = np.argsort(lengths[:256], kind="stable")  # by length, then by symbol
    values = order[lengths[order] > 0]
    return HuffmanTable(tuple(int(c) for c in counts[1:17]), bytes(values.tolist()))


def _huffman_lengths(histogram: np.ndarray) -> np.ndarray:
    """Return the code length [257] of each symbol, 0 where it does not occur (figure K.1).

    Symbol 256 is not real: it occurs once, gets one of the longest codes, the one of ones only, and keeps it free.
    """
    frequencies = [*(int(count) for count in histogram), 1]
    lengths = np.zeros(257, dtype=np.int64)
    # A subtree is (frequency, -name, its symbols). Of equal frequencies, the one with the larger name goes first.
    heap = [(frequency, -symbol, [symbol]) for symbol, frequency in enumerate(frequencies) if frequency]
    heapq.heapify(heap)
    while len(heap) > 1:
        frequency, name, symbols = heapq.heappop(heap)
        other_frequency, _, other_symbols = heapq.heappop(heap)
        symbols = symbols + other_symbols
        lengths[symbols] += 1  # all of them are now one step further from the root
        heapq.heappush(heap, (frequency + other_frequency, name, symbols))
    return lengths


def _limit_to_16_bits(counts: np.ndarray) -> np.ndarray:
    """Shorten codes of more than 16 bits, then take away the code of ones only (figure K.3).

    Args:
        counts: of codes by length, starting with length 0.

    Returns:
        counts for lengths 0 to 16 at least.
    """
    counts = np.append(counts, np.zeros(17, dtype=counts.dtype))
    for length in range(len(counts) - 1, 16, -1):
        while counts[length] > 0:  # a pair of longest codes: brothers, with the same prefix
            shorter = length - 2
            while counts[shorter] == 0:
                shorter -= 1
            counts[length] -= 2
            counts[length - 1] += 1  # one gets the prefix of the pair,
            counts[shorter] -= 1  # the other shares the place of a shorter code,
            counts[shorter + 1] += 2  # and both become one bit longer than that was
    counts[np.flatnonzero(counts)[-1]] -= 1
    return counts


# --- the usual Huffman codes (T.81, tables K.3 to K.6), as they stand in most JPEG files ------------

STANDARD_DC_LUMA = HuffmanTable((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0), bytes(range(12)))
STANDARD_DC_CHROMA = HuffmanTable((0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0), bytes(range(12)))
STANDARD_AC_LUMA = HuffmanTable(
    (0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125),
    bytes.fromhex(
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728"
        "292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a83848586878889"
        "8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2"
        "e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    ),
)
STANDARD_AC_CHROMA = HuffmanTable(
    (0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119),
    bytes.fromhex(
        "0001020311040521310612415107617113223281081442 91a1b1c109233352f0156272d10a162434e125f11718191a26"
        "2728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a828384858687"
        "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
        "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
    ),
)
