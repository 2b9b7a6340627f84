r"""The inner layer of a JPEG file: from the bits of a scan to quantised coefficients (ITU-T T.81, Annexes F and G).

A coefficient is coded in two parts: a Huffman code for its *category*, the number of bits SSSS that it needs, and then
those bits themselves. An AC code also tells the run of zeros before it, RRRR::

    bits:   1 0 1 0 | 1 0 1 | ...            peek[p]: the 16 bits from bit p on, for every p
            code      value                              |
            RRRR/SSSS                        table[peek[p]] = (RRRR, SSSS, length of the code)
            0 / 3     5                      p += length;  the value is in the first SSSS bits of peek[p];  p += SSSS

The standard's flow charts read one bit at a time (NEXTBIT, figure F.18). In Python that is hopeless; here ``peek`` is
computed by NumPy for all bits of a scan, and a table with 65,536 entries turns DECODE and RECEIVE (figures F.16, F.17)
into one look-up each. The loops below go over symbols, not over bits.

The coefficients of a component stand in one long array: 64 for each block, in zigzag order, ZZ(0) to ZZ(63). There are
four kinds of scan:

=========================  ==================  =================================================================
kind                       in T.81             what it adds to a block
=========================  ==================  =================================================================
sequential                 F.2.2               all of it
progressive, DC, first     G.1.2.1             ZZ(0) without its lowest Al bits
progressive, DC, later     G.1.2.1             one more bit of ZZ(0)
progressive, AC, first     G.1.2.2, fig. G.3   ZZ(Ss) to ZZ(Se) without their lowest Al bits; blocks may end together
progressive, AC, later     G.1.2.3, fig. G.7   one more bit of the non-zero ones, and new ones that become +-1
=========================  ==================  =================================================================

Invariants: the work of a call is in proportion to its bits and blocks, whatever the bits are; it never raises, but
says how many MCUs came out before the bits ended or made no sense.

References: ITU-T T.81 (1992), F.2.2 (decoding, figures F.12 to F.18), G.1.2 (progressive coding; decoding is its
reverse, G.2), Tables F.1, F.2 and G.1 (categories).

Taught in lesson 01.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .tables import HuffmanTable

PAST_THE_END = 1 << 60
"""Where we are in the bits after something impossible: beyond every end, so that one comparison finds all damage."""

_MOST_BITS_OF_A_BLOCK = 64 * (16 + 15)

Lookup = list[tuple[int, int, int]]


class Bits:
    """The bits of one scan, ready for reading at any place.

    Attributes:
        peek: 16-bit unsigned; ``peek[p]`` are the bits p to p + 15 of all restart intervals written one after another.
        intervals: for each restart interval, (its first bit, the bit after its last).
    """

    def __init__(self, intervals: Sequence[bytes]):
        ends = np.cumsum([8 * len(interval) for interval in intervals]).tolist()
        self.intervals = list(zip([0, *ends], ends, strict=False))
        # Zeros after the end: a block that runs out of bits may read on; the comparison afterwards finds out.
        data = np.frombuffer(b"".join(intervals) + bytes(_MOST_BITS_OF_A_BLOCK // 8 + 3), dtype=np.uint8)
        three_bytes = data[:-2].astype(np.uint32) << 16
        three_bytes |= data[1:-1].astype(np.uint32) << 8
        three_bytes |= data[2:]
        # array, not ndarray: Python reads single elements from it several times faster
        self.peek = array("H", bytes(2 * 8 * len(three_bytes)))
        self._bits = np.frombuffer(self.peek, dtype=np.uint16)
        for bit in range(8):
            self._bits.reshape(-1, 8)[:, bit] = three_bytes >> (8 - bit) & 0xFFFF

    def at(self, positions: np.ndarray | slice) -> np.ndarray:
        """Return the single bits at these positions, int16."""
        return (self._bits[positions] >> 15).astype(np.int16)


@lru_cache(maxsize=16)  # many files have the same tables, those of T.81, clause K.3
def lookup_table(table: HuffmanTable, kind: str, low: int = 0) -> Lookup:
    """Make the table that decodes a whole code at once: [(RRRR, SSSS, code length)] for any next 16 bits.

    Args:
        table: from the file.
        kind: "DC", where a symbol is SSSS only (F.1.2.1.1), or "AC", where it is RRRR and SSSS (F.1.2.2.1).
        low: Al of the scan; the value will be multiplied by 2^Al.

    Returns:
        65,536 triples. RRRR is -1 where no code begins like this, or where its value would not fit into 16 bits.
    """
    lookup: Lookup = []
    for symbol, _, length in table.code_list:  # in order of the codes, so in order of the next 16 bits
        run, size = divmod(symbol, 16) if kind == "AC" else (0, symbol)
        entry = (run, size, length) if size + low < 16 else (-1, 0, 0)
        lookup += [entry] * (1 << (16 - length))
    return lookup + [(-1, 0, 0)] * ((1 << 16) - len(lookup))


@dataclass(frozen=True)
class CodedComponent:
    """What a scan needs to know about one of its components.

    Attributes:
        zz: signed 16-bit, the coefficients of all blocks, 64 each in zigzag order; the scan changes them.
        starts: signed 64-bit, where the blocks of the scan begin in ``zz``, in coding order.
        blocks_per_mcu: how many of them make an MCU: H * V where components are interleaved, else 1 (A.2).
        dc, ac: look-up tables; None where the scan has no such codes.
    """

    zz: array
    starts: array
    blocks_per_mcu: int
    dc: Lookup | None = None
    ac: Lookup | None = None

    @property
    def coefficients(self) -> np.ndarray:
        """``zz`` as a NumPy array, int16, in the same memory."""
        return np.frombuffer(self.zz, dtype=np.int16)


# --- sequential scans, and the first DC scan of progressive files (F.2.2, G.1.2.1) ---------------


def decode_sequential(
    bits: Bits, interval: int, components: Sequence[CodedComponent], first: int, last: int, low: int = 0
) -> int:
    """Decode the MCUs ``first`` to ``last`` - 1, which are one restart interval.

    Of components without a table ``ac``, only the DC coefficients are decoded: that is a progressive file's first
    DC scan, with ``low`` = Al.

    Returns:
        The MCU at which the bits ended or made no sense; ``last`` if all is well. All functions below do the same.
    """
    peek = bits.peek
    position, end = bits.intervals[interval]
    predictions = [0] * len(components)  # a restart forgets the last DC (F.2.1.3.1)
    for mcu in range(first, last):
        for i, component in enumerate(components):
            zz, count = component.zz, component.blocks_per_mcu
            for start in component.starts[mcu * count : (mcu + 1) * count]:
                position, difference = _decode_dc(peek, position, component.dc)
                predictions[i] += difference
                value = predictions[i] << low
                if position > end or not -0x8000 <= value < 0x8000:
                    return mcu
                zz[start] = value
                if component.ac:
                    position = _decode_ac(peek, position, component.ac, zz, start)
                    if position > end:
                        return mcu
    return last


def _decode_dc(peek: array, position: int, table: Lookup) -> tuple[int, int]:
    """Decode DIFF, the difference to the last block's DC (F.2.2.1); return the new position, and DIFF."""
    run, size, length = table[peek[position]]
    if run < 0:
        return PAST_THE_END, 0
    position += length
    if size == 0:
        return position, 0
    return position + size, _extend(peek[position] >> (16 - size), size)


def _extend(value: int, size: int) -> int:
    """EXTEND (figure F.12): of ``size`` bits, the upper half are the positive values, the lower half the negative."""
    return value if value >> (size - 1) else value + 1 - (1 << size)


def _decode_ac(peek: array, position: int, table: Lookup, zz: array, start: int) -> int:
    """Decode ZZ(1) to ZZ(63) of one block (figures F.13, F.14); return the new position.

    EXTEND is written out here: this loop is where the time goes.
    """
    k = 1
    while k < 64:
        run, size, length = table[peek[position]]
        position += length
        if size:
            k += run
            if k > 63:
                return PAST_THE_END
            value = peek[position] >> (16 - size)
            zz[start + k] = value if value >> (size - 1) else value + 1 - (1 << size)
            position += size
            k += 1
        elif run == 15:  # ZRL: 16 zeros
            k += 16
        elif run == 0:  # EOB: zeros to the end of the block
            break
        else:
            return PAST_THE_END
    return position


# --- progressive scans (Annex G) ----------------------------------------------------------------


def refine_dc(bits: Bits, interval: int, components: Sequence[CodedComponent], first: int, last: int, low: int) -> int:
    """Add bit Al to the DC coefficients (G.1.2.1): one bit for each block, without any code."""
    position, end = bits.intervals[interval]
    blocks_per_mcu = sum(component.blocks_per_mcu for component in components)
    if position + (last - first) * blocks_per_mcu > end:
        return first + (end - position) // blocks_per_mcu
    new = bits.at(slice(position, position + (last - first) * blocks_per_mcu)).reshape(last - first, blocks_per_mcu)
    column = 0
    for component in components:
        count = component.blocks_per_mcu
        starts = np.frombuffer(component.starts, dtype=np.int64)[first * count : last * count]
        component.coefficients[starts] |= new[:, column : column + count].ravel() << low
        column += count
    return last


def decode_ac_first(
    bits: Bits, interval: int, component: CodedComponent, first: int, last: int, band: tuple[int, int], low: int
) -> int:
    """Decode ZZ(Ss) to ZZ(Se) of the blocks ``first`` to ``last`` - 1 for the first time (G.1.2.2).

    New against a sequential scan are the symbols EOBn, RRRR = n < 15 and SSSS = 0: this block and some after it have
    ended. Their number is 2^n plus the n bits that follow (Table G.1).
    """
    peek, zz, starts, table = bits.peek, component.zz, component.starts, component.ac
    position, end = bits.intervals[interval]
    block = first
    while block < last:
        k, start = band[0], starts[block]
        ended = 1  # blocks
        while k <= band[1]:
            run, size, length = table[peek[position]]
            position += length
            if size:
                k += run
                if k > band[1]:
                    return block
                zz[start + k] = _extend(peek[position] >> (16 - size), size) << low
                position += size
                k += 1
            elif run == 15:
                k += 16
            elif run >= 0:
                ended = (1 << run) + (peek[position] >> (16 - run))
                position += run
                break
            else:
                return block
        if position > end or block + ended > last:
            return block
        block += ended
    return last


def refine_ac(
    bits: Bits, interval: int, component: CodedComponent, first: int, last: int, band: tuple[int, int], low: int
) -> int:
    """Add bit Al to ZZ(Ss) to ZZ(Se) of the blocks ``first`` to ``last`` - 1 (G.1.2.3, figure G.7).

    Symbols with SSSS = 1 bring coefficients that become non-zero now, +-1 * 2^Al; here RRRR counts only coefficients
    that are still zero. Every coefficient that is *already* non-zero gets one *correction bit*; those stand behind the
    symbol during whose run, or end of block, the coefficient is passed.

    So each non-zero coefficient has exactly one correction bit, and they come in coding order. We need not touch them
    one by one: the loop below only notes where groups of correction bits stand, and NumPy adds them all at the end.
    Let coefficient f be number f of all those that the call goes over, block after block: then ``zeros[z]`` is the
    z-th one that is still zero, and of those between two of them the non-zero ones can be counted by subtraction.
    """
    peek, table = bits.peek, component.ac
    position, end = bits.intervals[interval]
    blocks = np.frombuffer(component.starts, dtype=np.int64)[first:last] // 64
    zz = component.coefficients.reshape(-1, 64)[:, band[0] : band[1] + 1]
    width = zz.shape[1]
    coefficients = zz[blocks].ravel()
    is_zero = coefficients == 0
    zeros_before = np.append(0, np.cumsum(np.count_nonzero(is_zero.reshape(-1, width), axis=1)))  # each block
    zeros, zeros_before = (array("i", x.astype(np.int32).tobytes()) for x in (np.flatnonzero(is_zero), zeros_before))

    block = f = z = 0  # f coefficients are done, z of which were zero
    group_positions, group_sizes = [], []  # of the correction bits
    new, sign_positions = [], []  # coefficients that become non-zero, and where their sign bits stand
    while block < last - first:
        run, size, length = table[peek[position]]
        position += length
        if size == 0 and 0 <= run < 15:  # EOBn: this block and some after it bring nothing new
            block += (1 << run) + (peek[position] >> (16 - run))
            position += run
            if block > last - first:
                return first
            next_f, next_z = block * width, zeros_before[block]
        elif size <= 1 and run >= 0 and z + run < zeros_before[block + 1]:
            next_f, next_z = zeros[z + run] + 1, z + run + 1
            if size:
                new.append(next_f - 1)
                sign_positions.append(position)
                position += 1
            if next_f == (block + 1) * width:
                block += 1
        else:
            return first + block
        passed = (next_f - f) - (next_z - z)  # coefficients that were non-zero before
        if passed:
            group_positions.append(position)
            group_sizes.append(passed)
            position += passed
        if position > end:
            return first + block
        f, z = next_f, next_z

    corrections = bits.at(_ranges(group_positions, group_sizes)) << low
    coefficients[~is_zero] += np.where(coefficients[~is_zero] > 0, corrections, -corrections)
    coefficients[new] = (2 * bits.at(np.array(sign_positions, dtype=np.int64)) - 1) << low  # sign bit 1: positive
    zz[blocks] = coefficients.reshape(-1, width)
    return last


def _ranges(first: list[int], sizes: list[int]) -> np.ndarray:
    """Return first[0], first[0] + 1, ... (sizes[0] numbers), then the same from first[1] on, and so forth."""
    sizes = np.array(sizes, dtype=np.int64)
    return np.repeat(np.array(first, dtype=np.int64) - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
