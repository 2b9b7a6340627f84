r"""The JPEG decoder: any 8-bit Huffman-coded JPEG file, baseline or progressive, to a picture (ITU-T T.81).

::

    bytes --segments--> tables, headers      -----------------------------+
                        scan data --entropy--> quantised coefficients     | x quantisation table
                                               [rows, cols, 8, 8]         v
    image <--colour-- planes <--upsampling-- samples <-- +128, round <-- inverse DCT
    uint8 [H, W, 3]   [H, W] each            of each component

:func:`read_coefficients` ends in the middle, before anything is rounded: up to there decoding is exact, and two
programs must agree to the last bit. From there on T.81 leaves the arithmetic open (A.3.3 and the accuracy test of
T.83), so that decoders may differ by a grey level or so. How chroma is made larger again T.81 does not say at all;
we do what libjpeg does, and so what most viewers show: see :func:`upsample`.

A file from outside may be cut off, damaged, or made to hurt. The rules here: a picture comes out only if all of it
was there; everything else is a :class:`~edu_compress.errors.BitstreamError`; memory is allocated only when there are
enough bits of data for such a picture (a block costs at least one, or two); and the scans of a progressive file may go
over ``MAX_BLOCKS_IN_SCANS`` blocks in all, because the standard allows thousands of scans, and one costs a few bytes.

References: ITU-T T.81 (1992), A.1 to A.3 (blocks, MCUs, dequantisation, DCT), B.2 (syntax), E.2 (decoder control),
F.2, G.1.1 (the order of progressive scans); JFIF: T.871, clause 7 (colour); Adobe's colour transforms: T.872, 6.5.3.

Taught in lesson 01.
"""

from __future__ import annotations

from array import array
from functools import cached_property

import numpy as np

from ...dct import idct2
from ...errors import BitstreamError
from ...images import MAX_PIXELS, from_blocks, to_uint8, ycbcr_to_rgb
from . import segments as syntax
from .coefficients import Coefficients, Component
from .entropy import (
    Bits,
    CodedComponent,
    Lookup,
    decode_ac_first,
    decode_sequential,
    lookup_table,
    refine_ac,
    refine_dc,
)
from .segments import Frame, FrameComponent, Scan, Segment, read_segments
from .tables import ZIGZAG

__all__ = ["decode", "planes", "read_coefficients", "read_segments", "to_image", "upsample"]

MAX_BLOCKS_IN_SCANS = 50_000_000
"""How many blocks all scans together may go over: about twice what a progressive file of ``MAX_PIXELS`` has."""

_STRIP = 64
"""Rows of pixels that are worked on at a time, because all of a photograph in float64 would take much memory."""


def decode(data: bytes) -> np.ndarray:
    """Decode a JPEG file.

    Greyscale is repeated over the three channels. Four components are printing inks, inverted as Adobe's programs
    write them, and converted as Pillow does, without a colour profile. Rotation in EXIF data is not carried out.

    Args:
        data: the file.

    Returns:
        The picture, uint8 [H, W, 3].

    Raises:
        BitstreamError: damaged, incomplete, or of a kind that is not decoded (12 bits, lossless, arithmetic-coded ...).
    """
    return to_image(read_coefficients(data))


def read_coefficients(data: bytes) -> Coefficients:
    """Undo the entropy coding of a JPEG file, and nothing else.

    Raises:
        BitstreamError: as :func:`decode`.
    """
    return _Reader(read_segments(data)).read()


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


# --- from segments to coefficients --------------------------------------------------------------


class _Plane:
    """A component while the file is being read.

    Attributes:
        rows, columns: size in blocks.
        padded_rows, padded_columns: the same, rounded up to whole MCUs, as interleaved scans code it (A.2.4).
        zz: coefficients of all blocks, padding included, in zigzag order; None before the first scan.
        quantisation: int64 [8, 8]; the table that is valid at the first scan, whatever a later DQT says.
        lowest_bit: for each coefficient, Al of the last scan that coded it; None before the first.
    """

    def __init__(self, header: FrameComponent, frame: Frame):
        self.header = header
        self.rows = _ceil(_ceil(frame.height * header.v, frame.v_max), 8)
        self.columns = _ceil(_ceil(frame.width * header.h, frame.h_max), 8)
        self.padded_rows = frame.mcu_rows * header.v
        self.padded_columns = frame.mcu_columns * header.h
        self.zz: array | None = None
        self.quantisation: np.ndarray | None = None
        self.lowest_bit: list[int | None] = [None] * 64

    def _blocks(self) -> np.ndarray:
        """Where each block begins in ``zz``: [padded rows, padded columns]."""
        count = self.padded_rows * self.padded_columns
        return np.arange(0, 64 * count, 64).reshape(self.padded_rows, self.padded_columns)

    @cached_property
    def row_by_row(self) -> array:
        """Where the blocks begin, in the order of a scan of this component alone (A.2.2): without the padding."""
        return array("q", self._blocks()[: self.rows, : self.columns].tobytes())

    @property
    def mcu_by_mcu(self) -> array:
        """Where the blocks begin, in the order of an interleaved scan (A.2.3): V rows of H blocks for each MCU."""
        h, v = self.header.h, self.header.v
        mcus = self._blocks().reshape(self.padded_rows // v, v, self.padded_columns // h, h).swapaxes(1, 2)
        return array("q", mcus.tobytes())

    def component(self) -> Component:
        """Bring the coefficients into natural order, and leave the padding away."""
        zz = np.frombuffer(self.zz, dtype=np.int16).reshape(self.padded_rows, self.padded_columns, 64)
        coefficients = np.empty((self.rows, self.columns, 64), dtype=np.int16)
        coefficients[..., ZIGZAG] = zz[: self.rows, : self.columns]
        header, shape = self.header, (self.rows, self.columns, 8, 8)
        return Component(header.identifier, header.h, header.v, self.quantisation, coefficients.reshape(shape))


class _Reader:
    """Goes through the segments of a file and keeps what they define (E.2: the decoder control procedures)."""

    def __init__(self, segments: list[Segment]):
        self.segments = segments
        self.complete = any(segment.name == "EOI" for segment in segments)
        self.frame: Frame | None = None
        self.planes: list[_Plane] = []
        self.quantisation: dict[int, np.ndarray] = {}
        self.huffman: dict[tuple[str, int], syntax.HuffmanTable] = {}
        self.restart_interval = 0
        self.scan: Scan | None = None
        self.scans = 0
        self.blocks_in_scans = 0
        self.jfif = False
        self.adobe: int | None = None

    def read(self) -> Coefficients:
        for segment in self.segments:
            self._take(segment)
        if not self.complete:
            raise BitstreamError("The JPEG file is cut off: it has no end marker; get the complete file.")
        if self.frame is None:
            raise BitstreamError("The JPEG file has no picture in it: there is no frame header.")
        for plane in self.planes:
            if plane.zz is None:
                raise BitstreamError(
                    f"The JPEG file is damaged: component {plane.header.identifier} is not coded in it."
                )
        components = tuple(plane.component() for plane in self.planes)
        return Coefficients(self.frame.process, self.frame.height, self.frame.width, self._colour_space(), components)

    def _take(self, segment: Segment) -> None:
        match segment.name:
            case "DQT":
                self.quantisation |= syntax.parse_quantisation_tables(segment)
            case "DHT":
                self.huffman |= syntax.parse_huffman_tables(segment)
            case "DRI":
                self.restart_interval = syntax.parse_restart_interval(segment)
            case "APP0":
                self.jfif |= segment.payload[:5] == b"JFIF\0"
            case "APP14":
                self.adobe = syntax.parse_adobe(segment)
            case "SOS":
                self.scan = syntax.parse_scan(segment)
            case "scan data":
                self._decode_scan(self.scan, segment)
            case "DHP" | "EXP":
                raise BitstreamError(f"This JPEG file is hierarchical ({segment.name}); such files are not decoded.")
            case name if name.startswith("SOF"):
                self._start_frame(syntax.parse_frame(segment))

    def _start_frame(self, frame: Frame) -> None:
        if self.frame:
            raise BitstreamError("The JPEG file is damaged: it has two frame headers.")
        if frame.height * frame.width > MAX_PIXELS:
            raise BitstreamError(
                f"The JPEG file says it has {frame.height:,} x {frame.width:,} pixels; the limit is {MAX_PIXELS:,}."
            )
        self.frame = frame
        self.planes = [_Plane(component, frame) for component in frame.components]

    def _decode_scan(self, scan: Scan, segment: Segment) -> None:
        """Decode one scan into its planes, one restart interval after another (E.2.3, E.2.4)."""
        if self.frame is None:
            raise BitstreamError("The JPEG file is damaged: a scan stands before the frame header.")
        if not self.frame.progressive:
            scan = Scan(scan.components, start=0, end=63, high=0, low=0)  # some encoders write other, useless values
        planes = self._planes_of(scan)
        interleaved = len(planes) > 1
        blocks = [p.padded_rows * p.padded_columns if interleaved else p.rows * p.columns for p in planes]
        self._check_order(scan, planes)
        self._check_work(scan, sum(blocks), segment.length)
        components = []
        for plane, header in zip(planes, scan.components, strict=True):
            self._first_visit(plane)
            starts = plane.mcu_by_mcu if interleaved else plane.row_by_row
            blocks_per_mcu = plane.header.h * plane.header.v if interleaved else 1
            components.append(CodedComponent(plane.zz, starts, blocks_per_mcu, *self._lookup_tables(scan, header)))
        self._decode_intervals(scan, segment, components, mcus=blocks[0] // components[0].blocks_per_mcu)

    def _decode_intervals(self, scan: Scan, segment: Segment, components: list[CodedComponent], mcus: int) -> None:
        size = self.restart_interval or mcus
        intervals, markers = syntax.restart_intervals(segment)
        if len(intervals) > _ceil(mcus, size) or markers != [i % 8 for i in range(len(markers))]:
            raise BitstreamError(f"The JPEG file is damaged: scan {self.scans} has its restart markers out of order.")
        bits = Bits(intervals)
        for i, first in enumerate(range(0, mcus, size)):
            last = min(first + size, mcus)
            done = self._decode_interval(scan, bits, i, components, first, last) if i < len(intervals) else first
            if done < last:
                state = "damaged" if self.complete else "cut off"
                raise BitstreamError(
                    f"The JPEG file is {state}: scan {self.scans} can be decoded up to "
                    f"MCU {done:,} of {mcus:,} ({100 * done // mcus} %), and no further."
                )

    def _planes_of(self, scan: Scan) -> list[_Plane]:
        by_identifier = {plane.header.identifier: plane for plane in self.planes}
        unknown = [c.identifier for c in scan.components if c.identifier not in by_identifier]
        if unknown:
            raise BitstreamError(
                f"The JPEG file is damaged: a scan is of component {unknown[0]}, which does not exist."
            )
        return [by_identifier[component.identifier] for component in scan.components]

    def _check_order(self, scan: Scan, planes: list[_Plane]) -> None:
        """Check that this scan may come now (G.1.1.1): DC first, one bit more each time, nothing twice."""
        self.scans += 1
        ac_scan = scan.start > 0
        possible = scan.start <= scan.end <= 63 and scan.low <= 13 and scan.high in (0, scan.low + 1)
        if self.frame.progressive:
            possible = possible and (len(planes) == 1 if ac_scan else scan.end == 0)
        for plane in planes:
            before = plane.lowest_bit[scan.start : scan.end + 1]
            possible = possible and all(bit == (scan.high or None) for bit in before)  # Ah = 0: never coded before
            possible = possible and not (ac_scan and plane.lowest_bit[0] is None)
            plane.lowest_bit[scan.start : scan.end + 1] = [scan.low] * len(before)
        if not possible:
            raise BitstreamError(
                f"The JPEG file is damaged: scan {self.scans} (coefficients {scan.start} to {scan.end}, "
                f"Ah = {scan.high}, Al = {scan.low}) may not come here."
            )

    def _check_work(self, scan: Scan, blocks: int, size: int) -> None:
        """Check that ``size`` bytes can be so many blocks at all, before room is made for them, and time spent.

        No code is shorter than a bit. So a block costs a bit at least for its DC coefficient, and in a sequential scan
        another for its end. Only AC scans, where one symbol can end 32,767 blocks, may be shorter; but they come last.
        """
        least = blocks * (1 if self.frame.progressive else 2) if scan.start == 0 else 0
        if 8 * size < least:
            raise BitstreamError(
                f"The JPEG file is cut off or damaged: scan {self.scans} of its {self.frame.height:,} x "
                f"{self.frame.width:,} pixels needs {_ceil(least, 8):,} bytes at least, and has {size:,}."
            )
        self.blocks_in_scans += blocks
        if self.blocks_in_scans > MAX_BLOCKS_IN_SCANS:
            raise BitstreamError(
                f"The JPEG file goes over its blocks too often: {MAX_BLOCKS_IN_SCANS:,} in {self.scans} scans."
            )

    def _first_visit(self, plane: _Plane) -> None:
        """Make room for the coefficients of a component, and look up its quantisation table."""
        if plane.zz is not None:
            return
        number = plane.header.quantisation
        if number not in self.quantisation:
            raise BitstreamError(f"The JPEG file is damaged: quantisation table {number} is used and not defined.")
        plane.quantisation = self.quantisation[number]
        plane.zz = array("h", bytes(2 * 64 * plane.padded_rows * plane.padded_columns))

    def _lookup_tables(self, scan: Scan, header: syntax.ScanComponent) -> list[Lookup | None]:
        """Return the DC and the AC table of a component, None where the scan has no such codes."""
        dc = scan.start == 0 and scan.high == 0
        ac = scan.end > 0
        tables = []
        for kind, number, needed in (("DC", header.dc_table, dc), ("AC", header.ac_table, ac)):
            if needed and (kind, number) not in self.huffman:
                raise BitstreamError(
                    f"The JPEG file is damaged: {kind} Huffman table {number} is used and not defined."
                )
            tables.append(lookup_table(self.huffman[kind, number], kind, scan.low) if needed else None)
        return tables

    def _decode_interval(
        self, scan: Scan, bits: Bits, interval: int, components: list[CodedComponent], first: int, last: int
    ) -> int:
        """Choose among the four kinds of scan, see :mod:`.entropy`."""
        if scan.start > 0:
            decode_ac = refine_ac if scan.high else decode_ac_first
            return decode_ac(bits, interval, components[0], first, last, (scan.start, scan.end), scan.low)
        decode_dc = refine_dc if scan.high else decode_sequential
        return decode_dc(bits, interval, components, first, last, scan.low)

    def _colour_space(self) -> str:
        """What the components are. T.81 does not say; JFIF and Adobe do, and libjpeg has the rest of the customs."""
        identifiers = bytes(component.identifier for component in self.frame.components)
        if len(identifiers) == 1:
            return "grey"
        if len(identifiers) == 4:
            return "CMYK" if self.adobe in (0, None) else "YCCK"
        rgb = self.adobe == 0 or (self.adobe is None and identifiers == b"RGB")
        return "RGB" if rgb and not self.jfif else "YCbCr"


# --- from coefficients to the picture -----------------------------------------------------------


def to_image(picture: Coefficients) -> np.ndarray:
    """Turn coefficients into the picture, uint8 [H, W, 3]: the inverse of the encoder's ``to_coefficients``."""
    components = planes(picture)
    image = np.empty((picture.height, picture.width, 3), dtype=np.uint8)
    for top in range(0, picture.height, _STRIP):
        strip = np.stack([plane[top : top + _STRIP] for plane in components], axis=-1)
        image[top : top + _STRIP] = _to_rgb(strip, picture.colour_space)
    return image


def planes(picture: Coefficients) -> list[np.ndarray]:
    """Turn coefficients into components of the size of the picture (Y, Cb and Cr, most often): uint8 [H, W] each."""
    h_max = max(component.h for component in picture.components)
    v_max = max(component.v for component in picture.components)
    result = []
    for component in picture.components:
        rows, columns = _ceil(picture.height * component.v, v_max), _ceil(picture.width * component.h, h_max)
        samples = _samples(component)[:rows, :columns]
        result.append(upsample(samples, (component.v, v_max), (component.h, h_max), (picture.height, picture.width)))
    return result


def _samples(component: Component) -> np.ndarray:
    """Dequantise and transform back (A.3.4, A.3.3, A.3.1): uint8 [8 rows, 8 cols]."""
    rows, columns = component.coefficients.shape[:2]
    samples = np.empty((8 * rows, 8 * columns), dtype=np.uint8)
    for row in range(0, rows, _STRIP // 8):
        blocks = idct2(component.coefficients[row : row + _STRIP // 8] * component.quantisation)
        samples[8 * row : 8 * row + _STRIP] = from_blocks(to_uint8(blocks + 128))
    return samples


def upsample(
    samples: np.ndarray, vertical: tuple[int, int], horizontal: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Bring a component to the size of the picture, as libjpeg does.

    Samples of chroma lie in the middle of the two pixels that share them, so that the nearest pixels are a quarter of
    a sample away: they take 3/4 of this sample and 1/4 of the next one ("triangle filter"; viewers call it "fancy
    upsampling"). Factors other than 2 (libjpeg has no filter for them) repeat the samples.

    Args:
        samples: uint8 [rows, columns].
        vertical, horizontal: (sampling factor of the component, largest sampling factor of the file).
        size: (height, width) of the picture.

    Returns:
        uint8 [height, width].
    """
    height, width = size
    double_rows, double_columns = vertical[1] == 2 * vertical[0], horizontal[1] == 2 * horizontal[0]
    same_rows, same_columns = vertical[1] == vertical[0], horizontal[1] == horizontal[0]
    wide = samples.shape[1] > 2  # libjpeg's loops for double columns need three
    if same_rows and same_columns:
        larger = samples
    elif same_rows and double_columns and wide:
        larger = (_triangle(samples, axis=1) + _alternating(1, 2, 2 * samples.shape[1])) >> 2
    elif double_rows and same_columns:
        larger = (_triangle(samples, axis=0) + _alternating(1, 2, 2 * samples.shape[0])[:, None]) >> 2
    elif double_rows and double_columns and wide:
        both = _triangle(_triangle(samples, axis=0), axis=1)
        larger = (both + _alternating(8, 7, both.shape[1])) >> 4
    else:
        rows = np.arange(height) * vertical[0] // vertical[1]
        columns = np.arange(width) * horizontal[0] // horizontal[1]
        larger = samples[rows][:, columns]
    return larger[:height, :width].astype(np.uint8)


def _triangle(x: np.ndarray, axis: int) -> np.ndarray:
    """Double an axis: 3 * nearest + next nearest, that is 4 times the values; int16. The ends are repeated."""
    x = np.moveaxis(x, axis, -1).astype(np.int16)
    before = np.concatenate([x[..., :1], x[..., :-1]], axis=-1)
    after = np.concatenate([x[..., 1:], x[..., -1:]], axis=-1)
    doubled = np.stack([3 * x + before, 3 * x + after], axis=-1).reshape(*x.shape[:-1], -1)
    return np.moveaxis(doubled, -1, axis)


def _alternating(even: int, odd: int, count: int) -> np.ndarray:
    """What libjpeg adds before it shifts: not always half, so that the rounding errors of neighbours cancel."""
    return np.where(np.arange(count) % 2, odd, even).astype(np.int16)


def _to_rgb(samples: np.ndarray, colour_space: str) -> np.ndarray:
    """Convert uint8 [..., components] to uint8 [..., 3]."""
    if colour_space in ("YCbCr", "YCCK"):
        rgb = to_uint8(ycbcr_to_rgb(samples[..., :3]))
    elif colour_space == "grey":
        rgb = np.repeat(samples, 3, axis=-1)
    else:
        rgb = samples[..., :3]
    if samples.shape[-1] < 4:
        return rgb
    # Adobe's programs store all inks inverted, 255 for none, and so does everybody. In YCCK, YCbCr is made of the
    # inks that are not inverted (T.872, 6.5.3): what we have called red is cyan.
    light = samples[..., 3:].astype(np.int32)
    ink = (rgb if colour_space == "YCCK" else 255 - rgb).astype(np.int32)
    return (light - (ink * light + 127) // 255).astype(np.uint8)
