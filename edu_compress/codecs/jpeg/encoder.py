r"""The JPEG encoder: from pixels to a file, one small function for each step (ITU-T T.81, baseline sequential).

The upper half loses information, in the two marked steps. The lower half only writes the rest down in fewer bits::

    image [H, W, 3]
      | colour_planes        Y, Cb, Cr                                    [H, W] each
      | subsample            Cb and Cr averaged over 2 x 2 pixels (loss)  [H/2, W/2]
      | level_shifted_blocks blocks of samples from -128 to 127           [H/8, W/8, 8, 8]
      | dct2                 coefficients                                 [H/8, W/8, 8, 8]
      | quantise             whole numbers, most of them 0        (loss)  [H/8, W/8, 8, 8]
      v
    Coefficients             what decoder.read_coefficients gets back
      | zigzag               low frequencies first                        [H/8, W/8, 64]
      | mcus                 blocks in the order of the file              [MCUs, v h, 64]
      | dc_differences       each DC minus the DC before                  [MCUs, v h]
      | interleave           all components together                      [MCUs, blocks in an MCU, 64]
      | run_length_symbols   zeros before it, size, and value bits        [symbols]
      | symbol_histograms    how often each symbol occurs                 [4, 256]
      | optimal_tables       short codes for frequent symbols             4 HuffmanTables
      | huffman_code         symbols to code words                        [symbols]
      | pack_bits, stuff     code words to bytes; FF becomes FF 00        scan data
      v
    file = SOI, header segments (JFIF, tables, frame header, scan header), scan data, EOI

No step goes over coefficients one by one in Python: NumPy handles all blocks of the picture at once.

Invariants: the decoder gets back exactly the quantised coefficients; with the same coefficients and tables the scan
data equal those of libjpeg byte for byte; no marker appears inside the scan data but the restart markers.

Quality and size are those of libjpeg, or a little better (0.3 % smaller at quality 75, 1 % at 95): we compute with real
numbers, libjpeg with integers, and its rounding errors are noise that has to be coded.

References: ITU-T T.81 (09/92): A.2 (MCUs), A.3 (level shift, DCT, quantisation, zigzag), B.2 (segments), E.1.4
(restart), F.1.1 and F.1.2 (DC differences, runs, Huffman coding), K.2 (optimal codes). ITU-T T.871 (JFIF), clause 10.1.

Taught in lesson 01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from ...dct import dct2
from ...errors import ImageError, SettingError
from ...images import as_image, pad, rgb_to_ycbcr, to_blocks
from . import tables
from .coefficients import Coefficients, Component
from .tables import ZIGZAG, HuffmanTable, Marker

SUBSAMPLING = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2), "4:0:0": (1, 1)}
"""How many luma samples there are for one of chroma, (across, down); 4:0:0 is greyscale."""

ZRL = 0xF0
"""The symbol for 16 zeros (F.1.2.2.1); EOB, for zeros up to the end of the block, is 00."""

STANDARD_HUFFMAN = (
    tables.STANDARD_DC_LUMA,
    tables.STANDARD_AC_LUMA,
    tables.STANDARD_DC_CHROMA,
    tables.STANDARD_AC_CHROMA,
)


def encode(
    image: np.ndarray, quality: float, subsampling: str = "4:2:0", optimize: bool = True, restart_interval: int = 0
) -> bytes:
    """Compress a picture into a JPEG file.

    Args:
        image: uint8 [H, W, 3], H and W from 1 to 65,535.
        quality: a whole number from 1 to 100, see :func:`~.jpeg.tables.scale_table`.
        subsampling: a key of :data:`SUBSAMPLING`; "4:0:0" keeps the luma only.
        optimize: make Huffman tables for this picture (some per cent smaller), or use those of the standard.
        restart_interval: MCUs between two restart markers; 0 for none.

    Raises:
        ImageError: not an image, or too large for the format.
        SettingError: a setting out of range.
    """
    check_options(subsampling, restart_interval)
    return write_coefficients(to_coefficients(image, quality, subsampling), optimize, restart_interval)


def check_options(subsampling: str, restart_interval: int) -> None:
    """Raise :class:`SettingError` if one of the two is not possible."""
    if subsampling not in SUBSAMPLING:
        raise SettingError(f"The subsampling is one of {', '.join(SUBSAMPLING)} (greyscale), not {subsampling!r}.")
    if not (isinstance(restart_interval, Integral) and 0 <= restart_interval <= 65535):
        raise SettingError(f"The restart interval is a whole number from 0 to 65535, not {restart_interval!r}.")


# --- pixels to quantised coefficients ---------------------------------------------------------


def to_coefficients(image: np.ndarray, quality: float, subsampling: str = "4:2:0") -> Coefficients:
    """Carry out the steps that lose information; arguments and errors as in :func:`encode`."""
    image = as_image(image)
    height, width = image.shape[:2]
    if max(height, width) > 65535:
        raise ImageError(
            f"A picture of {width} x {height} pixels is too large for a JPEG file; a side has at most 65,535."
        )
    across, down = SUBSAMPLING[subsampling]
    steps = [tables.scale_table(table, quality) for table in (tables.STANDARD_LUMA, tables.STANDARD_CHROMA)]
    greyscale = subsampling == "4:0:0"
    luma, *chroma = colour_planes(image)[:1] if greyscale else colour_planes(image)
    components = [Component(1, across, down, steps[0], quantise(dct2(level_shifted_blocks(luma)), steps[0]))]
    for identifier, plane in enumerate(chroma, start=2):
        blocks = level_shifted_blocks(subsample(plane, across, down))
        components.append(Component(identifier, 1, 1, steps[1], quantise(dct2(blocks), steps[1])))
    return Coefficients("baseline", height, width, "grey" if greyscale else "YCbCr", tuple(components))


def colour_planes(image: np.ndarray) -> list[np.ndarray]:
    """Separate brightness from colour: Y, Cb and Cr, float64 [H, W] each, from 0 to 255.5.

    They are not rounded to whole numbers here, as libjpeg does it: only the quantiser rounds.
    """
    return list(np.ascontiguousarray(np.moveaxis(rgb_to_ycbcr(image), -1, 0)))


def subsample(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    """Average over ``down`` x ``across`` samples, [H, W] -> [ceil(H / down), ceil(W / across)].

    At the lower and right border the last samples are repeated to make whole groups.
    """
    height, width = plane.shape
    plane = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    return sum(plane[y::down, x::across] for y in range(down) for x in range(across)) / (across * down)


def level_shifted_blocks(plane: np.ndarray) -> np.ndarray:
    """Cut a plane into blocks of samples around 0, [H, W] -> [ceil(H/8), ceil(W/8), 8, 8] (A.3.1)."""
    return to_blocks(pad(plane, 8)) - 128


def quantise(coefficients: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Divide by the steps and round, [..., 8, 8] -> int16 [..., 8, 8] (A.3.4).

    The divisor is larger by one part in 10^9, so that a tie is rounded to the smaller number. Ties are frequent: flat
    areas have one at every second grey level, at quality 50. Without this the last bit of a float would decide, and
    the file would depend on the machine.
    """
    return np.rint(coefficients / (steps * (1 + 1e-9))).astype(np.int16)


# --- quantised coefficients to symbols --------------------------------------------------------


def zigzag(blocks: np.ndarray) -> np.ndarray:
    """Read blocks in the order of rising frequency, [..., 8, 8] -> [..., 64] (figure A.6)."""
    return blocks.reshape(*blocks.shape[:-2], 64)[..., ZIGZAG]


def interleave(components: Sequence[Component], restart_interval: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring the blocks of all components into the order of the file, with DC differences in the place of DC (A.2.3).

    The file goes over the picture in *minimum coded units* (MCUs), each with v x h blocks of every component: in 4:2:0
    four of Y, one of Cb, one of Cr. If there is one component only, each block is an MCU (A.2.2).

    Returns:
        blocks, int16 [MCUs, blocks in an MCU, 64], and for each block of an MCU the tables to use, 0 luma or 1 chroma.
    """
    if len(components) == 1:
        components = [replace(components[0], h=1, v=1)]
    rows = max(-(-component.coefficients.shape[0] // component.v) for component in components)
    columns = max(-(-component.coefficients.shape[1] // component.h) for component in components)
    parts = []
    for component in components:
        blocks = mcus(component, rows, columns)
        blocks[:, :, 0] = dc_differences(blocks[:, :, 0], restart_interval)
        parts.append(blocks)
    tables_of_mcu = np.repeat([min(i, 1) for i in range(len(parts))], [part.shape[1] for part in parts])
    return np.concatenate(parts, axis=1), tables_of_mcu


def mcus(component: Component, rows: int, columns: int) -> np.ndarray:
    """Group the blocks of one component by MCU, in zigzag order: int16 [rows * columns, v * h, 64].

    MCUs at the border may need blocks that are outside of the picture. Nobody will see them, so they get what costs
    the fewest bits: the DC of the block before, that is a difference of 0, and no AC.

    Args:
        rows, columns: of MCUs in the picture.
    """
    height, width = component.coefficients.shape[:2]
    h, v = component.h, component.v
    grid = np.zeros((rows * v, columns * h, 64), dtype=np.int16)
    grid[:height, :width] = zigzag(component.coefficients)
    inside = np.zeros((rows * v, columns * h), dtype=bool)
    inside[:height, :width] = True

    def in_file_order(blocks):
        return blocks.reshape(rows, v, columns, h, -1).swapaxes(1, 2).reshape(rows * columns * v * h, -1)

    blocks, inside = in_file_order(grid), in_file_order(inside)[:, 0]
    last_inside = np.maximum.accumulate(np.where(inside, np.arange(len(inside)), 0))
    blocks[:, 0] = blocks[last_inside, 0]
    return blocks.reshape(rows * columns, v * h, 64)


def dc_differences(dc: np.ndarray, restart_interval: int = 0) -> np.ndarray:
    """Predict each DC coefficient by the one before it, and keep the difference (F.1.1.5.1).

    Args:
        dc: of one component, [MCUs, blocks of it in an MCU].
        restart_interval: in MCUs; after a restart the prediction is 0, so that decoding can begin there.
    """
    prediction = np.append(0, dc.ravel()[:-1]).reshape(dc.shape)
    if restart_interval:
        prediction[::restart_interval, 0] = 0
    return dc - prediction


@dataclass(frozen=True)
class Symbols:
    """What a scan consists of, in coding order: one entry for each symbol in each array.

    Attributes:
        values: 16 * RRRR + SSSS: the number of zeros before the coefficient, and its size in bits (figure F.1).
        extra: the SSSS bits that follow the symbol, and tell which number of this size the coefficient is.
        tables: which Huffman table codes the symbol: 0 DC luma, 1 AC luma, 2 DC chroma, 3 AC chroma.
        mcus: index of the MCU to which the symbol belongs.
    """

    values: np.ndarray
    extra: np.ndarray
    tables: np.ndarray
    mcus: np.ndarray


def run_length_symbols(blocks: np.ndarray, tables_of_mcu: np.ndarray) -> Symbols:
    """Turn blocks into symbols (F.1.2.1, F.1.2.2): one for DC, one for each AC that is not 0, and EOB.

    Args:
        blocks, tables_of_mcu: from :func:`interleave`.
    """
    blocks_per_mcu = len(tables_of_mcu)
    coefficients = np.pad(blocks.reshape(-1, 64), ((0, 0), (0, 1)))  # (blocks, 65): column 64 stands for the end
    has_symbol = coefficients != 0
    has_symbol[:, 0] = True  # DC always has one,
    has_symbol[:, 64] = coefficients[:, 63] == 0  # and EOB is there unless the last coefficient is the end anyway
    places = np.flatnonzero(has_symbol)
    block, k = np.divmod(places, 65)
    value = coefficients.ravel()[places].astype(np.int64)

    size = np.frexp(value)[1]  # SSSS, the number of bits of |value|: 0 for 0, 1 for 1, 2 for 2 and 3 ...
    extra = np.where(value < 0, value + (1 << size) - 1, value)  # size 2: -3, -2, 2, 3 become 00, 01, 10, 11
    run = np.diff(k, prepend=0) - 1  # zeros since the last symbol, which is in the same block
    run[(k == 0) | (k == 64)] = 0

    copies = 1 + run // 16  # RRRR has four bits: before a longer run, one ZRL or more
    last = np.cumsum(copies) - 1
    values, extras = np.full(last[-1] + 1, ZRL), np.zeros(last[-1] + 1, dtype=np.int64)
    values[last] = run % 16 << 4 | size
    extras[last] = extra
    table = 2 * tables_of_mcu[block % blocks_per_mcu] + (k > 0)
    return Symbols(values, extras, np.repeat(table, copies), np.repeat(block // blocks_per_mcu, copies))


# --- symbols to bits --------------------------------------------------------------------------


def symbol_histograms(symbols: Symbols) -> np.ndarray:
    """Count how often each symbol occurs, for each of the four Huffman tables: int64 [4, 256]."""
    return np.bincount(256 * symbols.tables + symbols.values, minlength=4 * 256).reshape(4, 256)


def optimal_tables(symbols: Symbols) -> list[HuffmanTable]:
    """Make the best Huffman tables for these symbols, in the order of :data:`STANDARD_HUFFMAN`; two for greyscale."""
    return [tables.optimal_table(histogram) for histogram in symbol_histograms(symbols) if histogram.any()]


def huffman_code(symbols: Symbols, huffman: Sequence[HuffmanTable]) -> tuple[np.ndarray, np.ndarray]:
    """Look up the code of each symbol, and append its extra bits.

    Returns:
        code words, and their lengths in bits (at most 16 + 11): int64 [symbols] each.

    Raises:
        SettingError: a symbol has no code: the tables were made for another picture.
    """
    codes = np.stack([table.codes for table in huffman])[symbols.tables, symbols.values]
    lengths = np.stack([table.lengths for table in huffman])[symbols.tables, symbols.values]
    if not np.all(lengths):
        raise SettingError("These Huffman tables have no code for a symbol of this picture; use optimal tables.")
    sizes = symbols.values & 15
    return codes << sizes | symbols.extra, lengths + sizes


def pack_bits(words: np.ndarray, lengths: np.ndarray) -> bytes:
    """Write code words one after another, the highest bit first; ones fill the last byte (B.1.1.5)."""
    filling = -int(lengths.sum()) % 8
    words, lengths = np.append(words, (1 << filling) - 1), np.append(lengths, filling)
    some = range(0, len(words), 1 << 16)  # at a time: 64-bit numbers for all bits of a photograph would be gigabytes
    bits = [_bits(words[i : i + some.step], lengths[i : i + some.step]) for i in some]
    return np.packbits(np.concatenate(bits)).tobytes()


def _bits(words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the bits of some code words, one after another: uint8 [sum of the lengths], 0 or 1 each."""
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])  # of each bit: how many of its word stand behind it
    return (np.repeat(words, lengths) >> shift & 1).astype(np.uint8)


def stuff(data: bytes) -> bytes:
    """Write a zero byte after each FF, so that it is not taken for a marker (F.1.2.3)."""
    return data.replace(b"\xff", b"\xff\x00")


def scan_data(symbols: Symbols, huffman: Sequence[HuffmanTable], restart_interval: int = 0) -> bytes:
    """Write the symbols as bytes, with a marker RST0, RST1 ... RST7, RST0 ... between restart intervals (E.1.4)."""
    words, lengths = huffman_code(symbols, huffman)
    interval = symbols.mcus // restart_interval if restart_interval else np.zeros_like(symbols.mcus)
    borders = np.flatnonzero(np.diff(interval)) + 1  # of restart intervals, as indices of symbols
    parts = zip(np.split(words, borders), np.split(lengths, borders), strict=True)
    data = [stuff(pack_bits(*part)) for part in parts]
    restarts = [bytes([0xFF, Marker.RST0 + i % 8]) for i in range(len(borders))]
    return b"".join(part + restart for part, restart in zip(data, [*restarts, b""], strict=True))


# --- the file ---------------------------------------------------------------------------------


def segment(marker: Marker, payload: bytes) -> bytes:
    """Write a marker segment: FF, the marker, the length of the rest with its own two bytes, the payload (B.1.1.4)."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def header_segments(
    coefficients: Coefficients, huffman: Sequence[HuffmanTable], restart_interval: int = 0
) -> list[bytes]:
    """Write all that a decoder must know before the scan data, each segment for itself (B.2; T.871, clause 10.1)."""
    components = coefficients.components
    density = bytes([0, 0, 1, 0, 1])  # 1 to 1 without a unit: the pixels are square
    segments = [segment(Marker.APP0, b"JFIF\0" + bytes([1, 1]) + density + bytes(2))]  # version 1.01, no thumbnail
    for i, component in enumerate(components[:2]):  # Cr uses the tables of Cb
        segments += [segment(Marker.DQT, bytes([i, *zigzag(component.quantisation).tolist()]))]

    size = coefficients.height.to_bytes(2, "big") + coefficients.width.to_bytes(2, "big")
    lines = [bytes([c.identifier, c.h << 4 | c.v, min(i, 1)]) for i, c in enumerate(components)]
    segments += [segment(Marker.SOF0, bytes([8]) + size + bytes([len(lines)]) + b"".join(lines))]  # 8 bits per sample
    for i, table in enumerate(huffman):
        chroma, is_ac = divmod(i, 2)
        segments += [segment(Marker.DHT, bytes([is_ac << 4 | chroma, *table.bits]) + table.values)]
    if restart_interval:
        segments += [segment(Marker.DRI, int(restart_interval).to_bytes(2, "big"))]

    lines = [bytes([c.identifier, min(i, 1) << 4 | min(i, 1)]) for i, c in enumerate(components)]
    everything = bytes([0, 63, 0])  # coefficients 0 to 63, with all their bits
    return [*segments, segment(Marker.SOS, bytes([len(lines)]) + b"".join(lines) + everything)]


def write_coefficients(coefficients: Coefficients, optimize: bool = True, restart_interval: int = 0) -> bytes:
    """Write quantised coefficients as a JPEG file: the lower half of the diagram, which loses nothing.

    With the coefficients of another file, it makes a baseline file of the same picture, as the program jpegtran does.

    Args:
        coefficients: greyscale, or YCbCr with one quantisation table for both Cb and Cr.
        optimize, restart_interval: see :func:`encode`.

    Raises:
        SettingError: other components, or numbers too large for a baseline file.
    """
    components = coefficients.components
    one_table = all(np.array_equal(c.quantisation, components[1].quantisation) for c in components[1:])
    if coefficients.colour_space not in ("grey", "YCbCr") or not one_table:
        raise SettingError("Only greyscale, or YCbCr with one quantisation table for Cb and Cr, can be written.")
    for c in components:
        dc, ac = c.coefficients[..., 0, 0], c.coefficients.reshape(-1, 64)[:, 1:]
        if c.quantisation.max() > 255 or dc.min() < -1024 or ac.min() < -1023 or c.coefficients.max() > 1023:
            raise SettingError(
                "A baseline file has steps up to 255 and coefficients of at most 10 bits, -1023 to 1023 "
                "(DC: from -1024); these go beyond."
            )
    symbols = run_length_symbols(*interleave(components, restart_interval))
    huffman = optimal_tables(symbols) if optimize else STANDARD_HUFFMAN[: 2 * min(len(components), 2)]
    header = header_segments(coefficients, huffman, restart_interval)
    data = scan_data(symbols, huffman, restart_interval)
    return b"".join([bytes([0xFF, Marker.SOI]), *header, data, bytes([0xFF, Marker.EOI])])
